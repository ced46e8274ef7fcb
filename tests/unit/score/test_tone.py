from __future__ import annotations

import numpy as np
import pytest

from dancetomusic.score.equaliser import equalised
from dancetomusic.score.tone import TILT_DB, region_levels_db, tone_bands
from dancetomusic.types import Waveform

RATE = 44_100
SLOPE_DB = 2 * (TILT_DB + 10 * np.log10(2))  # of power, a region of two octaves


def tilted(db_per_octave: float, seconds: float = 10.0) -> Waveform:
    """Noise whose power density falls by so much an octave."""
    n = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal((2, n)))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20))
    sound = np.fft.irfft(spectrum * 10 ** (db_per_octave * octaves / 20), n)
    return Waveform((0.1 * sound / sound.std()).astype(np.float32), RATE)


def test_typical_music_is_left_as_it_is() -> None:
    sound = tilted(TILT_DB)
    assert np.diff(region_levels_db(sound)) == pytest.approx(SLOPE_DB, abs=0.3)
    assert all(abs(band.gain_db) < 0.2 for band in tone_bands(sound))


@pytest.mark.parametrize("lean_db", [-1.0, 1.0])
def test_half_of_a_lean_is_taken_back(lean_db: float) -> None:
    sound = tilted(TILT_DB + lean_db)
    after = np.diff(region_levels_db(equalised(sound, tone_bands(sound))))
    assert after.mean() == pytest.approx(SLOPE_DB + lean_db, abs=0.5)


def test_no_band_changes_by_more_than_3_db() -> None:
    gains_db = [band.gain_db for band in tone_bands(tilted(TILT_DB + 3))]
    assert max(gains_db) == 3 and min(gains_db) == -3


def test_a_lone_instrument_is_no_mix() -> None:
    tone = 0.2 * np.sin(2 * np.pi * 1_000 * np.arange(2 * RATE) / RATE)
    bands = tone_bands(Waveform(tone[None].astype(np.float32), RATE))
    assert [band.gain_db for band in bands] == [0, 0, 0, 0]


def test_silence_and_emptiness_need_no_filter() -> None:
    for n in (0, RATE):
        assert tone_bands(Waveform(np.zeros((2, n), np.float32), RATE)) == ()
