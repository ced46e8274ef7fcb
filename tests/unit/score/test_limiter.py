from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dancetomusic.io.loudness import true_peak
from dancetomusic.score.limiter import limited, limiting_db
from dancetomusic.types import Waveform

RATE = 44_100


def strokes() -> Waveform:
    """A low tone struck twice a second: high peaks, then a body."""
    since = np.arange(4 * RATE) / RATE % 0.5
    tone = np.sin(2 * np.pi * 55 * since + 8 * (1 - np.exp(-since / 0.02))) * np.exp(-since / 0.1)
    return Waveform(tone[None].astype(np.float32), RATE)


def crest_db(sound: Waveform) -> float:
    return true_peak(sound) - 20 * float(np.log10(np.std(sound.samples)))


def distortion_db(samples: np.ndarray, frequency_hz: float) -> float:
    """All but the tone, against the tone."""
    spectrum = np.abs(np.fft.rfft(samples * np.blackman(samples.size))) ** 2
    frequencies = np.fft.rfftfreq(samples.size, 1 / RATE)
    tone = np.abs(frequencies - frequency_hz) < 6 * RATE / samples.size
    rest = spectrum[~tone & (frequencies > 10)].sum()
    return float(10 * np.log10(rest / spectrum[tone].sum()))


@pytest.mark.parametrize("frequency_hz", [30, 50, 110, 997, 10_007])
@pytest.mark.parametrize("over_db", [0.9, 5.9])
def test_the_limiter_does_not_distort_a_tone(frequency_hz: float, over_db: float) -> None:
    t = np.arange(3 * RATE) / RATE
    tone = 10 ** (-0.1 / 20) * np.sin(2 * np.pi * frequency_hz * t)
    sound = limited(Waveform(tone[None].astype(np.float32), RATE), -0.1 - over_db)
    assert -0.1 - over_db - 0.4 < true_peak(sound) <= -0.1 - over_db
    assert distortion_db(sound.samples[0, RATE:], frequency_hz) < -100
    assert distortion_db(sound.samples[0], frequency_hz) < -59  # with its beginning


def test_the_limiter_keeps_the_dynamics_of_strokes() -> None:
    sound = strokes()
    after = limited(sound, true_peak(sound) - 3)
    assert 0.5 < crest_db(sound) - crest_db(after) < 3
    body = [np.std(s.samples[:, 2_205:8_820]) for s in (sound, after)]  # behind the first peak
    assert body[1] / body[0] > 10 ** (-1.5 / 20)


def test_the_limiter_leaves_what_is_below_it() -> None:
    sound = Waveform(0.8 * strokes().samples, RATE)
    assert limited(sound) is sound


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-60, 20), min_size=1, max_size=300), st.sampled_from([3_000.0, 3_150.0]))
def test_limiting_is_never_less_than_asked(over_db: list[float], frame_rate: float) -> None:
    asked = np.maximum(np.array(over_db), 0)
    given_db = limiting_db(np.array(over_db), frame_rate)
    assert given_db.shape == asked.shape
    padded = np.pad(asked, 1)
    for neighbour in (padded[:-2], asked, padded[2:]):
        assert (given_db >= neighbour - 1e-9).all()
    assert given_db.max() <= asked.max() + 1e-9
