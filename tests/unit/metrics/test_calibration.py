import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.metrics.calibration import beats_right, calibration_curve, calibration_error


def test_calibrated_confidence_has_no_error(tiny_rng):
    confidence = tiny_rng.random(20_000)
    right = tiny_rng.random(20_000) < confidence
    curve = calibration_curve(confidence, right)
    assert [part.count for part in curve] == [4000] * 5
    np.testing.assert_allclose([part.right for part in curve], [0.1, 0.3, 0.5, 0.7, 0.9], atol=0.03)
    assert calibration_error(curve) < 0.02


def test_boasting_is_an_error():
    curve = calibration_curve(np.full(10, 0.9), np.arange(10) < 4, bins=1)
    assert calibration_error(curve) == pytest.approx(0.5)


def test_few_and_bad_values():
    assert calibration_curve(np.zeros(0), np.zeros(0, bool)) == []
    assert np.isnan(calibration_error([]))
    assert len(calibration_curve(np.array([0.1, 0.2]), np.array([False, True]))) == 2
    with pytest.raises(InputError, match="not finite"):
        calibration_curve(np.array([np.nan]), np.array([True]))


def test_right_is_within_70_ms():
    reference = np.array([1.0, 2.0])
    estimated = np.array([0.92, 0.94, 2.07, 2.08])
    assert beats_right(reference, estimated).tolist() == [False, True, True, False]
    assert beats_right(np.zeros(0), estimated).tolist() == [False] * 4
    assert beats_right(reference, np.zeros(0)).size == 0
