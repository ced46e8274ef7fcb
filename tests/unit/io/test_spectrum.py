import numpy as np

from dancetomusic.io.spectrum import band_power

WINDOW, HOP = 64, 16


def test_power_is_that_of_each_window(tiny_rng):
    samples = tiny_rng.normal(size=1000).astype(np.float32)
    weights = tiny_rng.random((3, WINDOW // 2 + 1)).astype(np.float32)
    power = band_power(samples, weights, window=WINDOW, hop=HOP, n_frames=60)
    padded = np.pad(samples, WINDOW)
    for frame in (0, 1, 30, 59):
        start = WINDOW + frame * HOP - WINDOW // 2
        spectrum = np.fft.rfft(padded[start : start + WINDOW] * np.hanning(WINDOW))
        np.testing.assert_allclose(power[frame], weights @ np.abs(spectrum) ** 2, rtol=1e-4)


def test_no_frame_has_no_power():
    weights = np.ones((2, WINDOW // 2 + 1), np.float32)
    assert band_power(
        np.zeros(0, np.float32), weights, window=WINDOW, hop=HOP, n_frames=0
    ).shape == (
        0,
        2,
    )
