from __future__ import annotations

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.score.equaliser import Band, equalised
from dancetomusic.types import Waveform

RATE = 44_100


def response_db(band: Band, frequency_hz: float, rate: int = RATE) -> float:
    sections = band.section(rate)
    z = np.exp(-2j * np.pi * frequency_hz / rate * np.arange(3))
    return float(20 * np.log10(abs(sections[:3] @ z / (sections[3:] @ z))))


@pytest.mark.parametrize(
    ("band", "frequency_hz", "level_db"),
    [
        (Band("peak", 1_000.0, 6.0), 1_000, 6),
        (Band("peak", 1_000.0, 6.0), 50, 0),
        (Band("low_shelf", 200.0, -8.0), 5, -8),
        (Band("low_shelf", 200.0, -8.0), 8_000, 0),
        (Band("low_shelf", 200.0, -8.0), 200, -4),
        (Band("high_shelf", 5_000.0, 3.0), 20_000, 3),
        (Band("high_shelf", 5_000.0, 3.0), 50, 0),
        (Band("low_cut", 100.0), 100, -3),
        (Band("low_cut", 100.0), 25, -24),
        (Band("low_cut", 100.0), 5_000, 0),
        (Band("high_cut", 5_000.0), 5_000, -3),
        (Band("high_cut", 5_000.0), 50, 0),
    ],
)
def test_filters_have_their_levels(band: Band, frequency_hz: float, level_db: float) -> None:
    assert response_db(band, frequency_hz) == pytest.approx(level_db, abs=0.3)


def test_equaliser_filters_each_channel() -> None:
    time = np.arange(2 * RATE) / RATE
    tones = np.sin(2 * np.pi * np.array([[50.0], [5_000.0]]) * time)
    sound = Waveform(tones.astype(np.float32), RATE)
    low, high = equalised(sound, [Band("low_cut", 800.0), Band("peak", 9_000.0, 0.0)]).samples
    assert np.std(low) < 0.03 * np.std(high)
    assert equalised(sound, []) is sound


def test_a_corner_above_the_sound_is_no_failure() -> None:
    sound = Waveform(np.ones((1, 100), np.float32), 8_000)
    assert np.isfinite(equalised(sound, [Band("high_cut", 20_000.0)]).samples).all()


@pytest.mark.parametrize("value", [{"frequency_hz": -3.0}, {"q": 0.0}, {"gain_db": 30.0}])
def test_values_out_of_range_are_refused(value: dict[str, float]) -> None:
    with pytest.raises(InputError, match="Give"):
        Band("peak", **{"frequency_hz": 100.0, **value})
