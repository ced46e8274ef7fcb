"""A beat that is tapped or heard, in place of the movement's."""

import numpy as np
import pytest

from dancetomusic.io.audio import read_audio
from dancetomusic.live.lead import FEWEST_TAPS, SoundBeat, TapTempo
from dancetomusic.models.live import BeatEstimate

RATE = 24_000


def test_three_taps_give_the_tempo_and_the_bar() -> None:
    taps = TapTempo()
    for k in range(FEWEST_TAPS - 1):
        taps.tap(10.0 + 0.5 * k)
        assert taps.beat is None
    taps.tap(11.0)
    assert taps.beat is not None and taps.beat.bpm == pytest.approx(120)
    assert taps.beat.at(12.0) == pytest.approx(4.0)
    assert (round(taps.beat.at(12.0)) - taps.beat.first_downbeat) % taps.beat.beats_per_bar == 0


def test_uneven_taps_are_averaged_and_the_count_goes_on(tiny_rng: np.random.Generator) -> None:
    taps = TapTempo()
    for k in range(40):
        taps.tap(0.6 * k + tiny_rng.normal(0, 0.01))
    assert taps.beat is not None and taps.beat.bpm == pytest.approx(100, rel=0.01)
    assert taps.beat.at(0.6 * 40) == pytest.approx(40, abs=0.05)


def test_a_pause_begins_a_bar_and_keeps_the_tempo_until_it_is_known() -> None:
    taps = TapTempo()
    for k in range(4):
        taps.tap(0.5 * k)
    before = taps.beat
    for k in range(2):
        taps.tap(20.0 + 0.4 * k)
    assert taps.beat == before
    taps.tap(20.8)
    assert taps.beat is not None and taps.beat.bpm == pytest.approx(150)
    assert taps.beat.at(20.0) == pytest.approx(0.0, abs=1e-6)


def test_taps_that_are_no_tempo_are_ignored() -> None:
    taps = TapTempo()
    for k in range(10):
        taps.tap(0.01 * k)
    taps.tap(0.05)
    assert taps.beat is None


def test_an_estimate_is_counted_on_from_another() -> None:
    before = BeatEstimate(10.0, 100.0, 120.0)
    heard = BeatEstimate(11.0, 3.1, 118.0, beats_per_bar=4).continuing(before)
    assert heard.position == pytest.approx(102.1) and heard.first_downbeat == 99
    assert (102 - heard.first_downbeat) % 4 == (3 - 0) % 4


def _clicks(bpm: float, seconds: float, first_s: float) -> np.ndarray:
    """Drums: a low beat on one and three, a bright one on two and four, and hats between."""
    n_samples = round(seconds * RATE)
    sound, rng = np.zeros(n_samples, np.float32), np.random.default_rng(0)
    for k in range(int((seconds - first_s) * bpm / 30)):
        at = round((first_s + k * 30 / bpm) * RATE)
        span = np.arange(min(2400, n_samples - at))
        fade = np.exp(-span / (900 if k % 2 == 0 else 250))
        kind = np.sin(2 * np.pi * 60 * span / RATE) if k % 4 == 0 else rng.normal(0, 0.4, span.size)
        sound[at : at + span.size] += (0.9 if k % 2 == 0 else 0.15) * kind * fade
    return sound


def test_the_beat_of_a_sound_is_known_on_the_clock() -> None:
    bpm, first_s, began_s = 112.0, 0.37, 1000.0
    sound, beat = _clicks(bpm, 14.0, first_s), SoundBeat(RATE)
    for at in range(0, sound.size, 1000):
        piece = sound[at : at + 1000]
        late_s = 0.01 * (at // 1000 % 3)  # pieces arrive late, never early
        beat.push(piece, began_s + (at + piece.size) / RATE + late_s)
        if at == 24_000:
            assert beat.estimate() is None  # a second of sound is too little
    found = beat.estimate()
    assert found is not None and found.bpm == pytest.approx(bpm, rel=0.01)
    phase = (began_s + first_s + 4 * 60 / bpm - found.time_s) * found.bpm / 60 + found.position
    assert abs(phase - round(phase)) < 0.1


def test_noise_does_not_lead() -> None:
    beat = SoundBeat(RATE)
    beat.push(np.zeros(0, np.float32), 0.0)
    noise = np.random.default_rng(0).normal(0, 0.05, 8 * RATE).astype(np.float32)
    beat.push(noise, 8.0)
    assert beat.estimate() is None


@pytest.mark.slow(1)
def test_a_real_song_is_read_at_its_tempo(shared_data) -> None:  # type: ignore[no-untyped-def]
    sound = read_audio(shared_data / "videos" / "trio_portrait_360x640.mp4", RATE)
    assert sound is not None
    beat = SoundBeat(RATE)
    beat.push(sound.samples[0], sound.duration_s)
    found = beat.estimate()
    assert found is not None and found.bpm == pytest.approx(134, abs=2)
