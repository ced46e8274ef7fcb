from __future__ import annotations

import numpy as np
import pytest

from dancetomusic.app.worker import LOUDNESS_HZ, SKELETON_RANGE, loudness, write_skeletons
from dancetomusic.types import PoseSequence, Waveform


def dancer(image: np.ndarray | None, present: np.ndarray) -> PoseSequence:
    frames = present.size
    return PoseSequence(
        world=np.zeros((frames, 33, 3), np.float32),
        present=present,
        visibility=np.ones((frames, 33), np.float32),
        fps=24.0,
        image=image,
    )


def read(path, dancers: int, frames: int) -> np.ndarray:
    return np.frombuffer(path.read_bytes(), "<u2").reshape(dancers, frames, 33, 2)


def test_skeletons_keep_places_and_absence(tmp_path, tiny_rng):
    image = tiny_rng.uniform(-0.5, 1.5, (5, 33, 3)).astype(np.float32)
    present = np.array([True, True, False, True, True])
    path = tmp_path / "s.bin"
    write_skeletons(path, [dancer(image, present), dancer(None, present)])
    values = read(path, 2, 5)
    assert (values[0, 2] == 0).all() and (values[1] == 0).all()
    assert (values[0, present] > 0).all()
    low, high = SKELETON_RANGE
    places = low + (values[0, present].astype(float) - 1) / 65534 * (high - low)
    assert np.abs(places - image[present, :, :2]).max() < 1e-4


def test_places_far_outside_stay_in_range(tmp_path):
    image = np.full((1, 33, 3), 50.0, np.float32)
    image[:, :, 1] = -50.0
    path = tmp_path / "s.bin"
    write_skeletons(path, [dancer(image, np.array([True]))])
    assert read(path, 1, 1)[0, 0, 0].tolist() == pytest.approx([65535, 1])


def test_loudness_is_told_in_percent_of_the_loudest():
    samples = np.zeros((1, 24_000), np.float32)
    samples[0, 12_000] = -0.5
    samples[0, 18_100] = 0.25
    values = loudness(Waveform(samples, 24_000), 10.0)
    assert len(values) == LOUDNESS_HZ
    assert {k: value for k, value in enumerate(values) if value} == {50: 100, 75: 50}
    assert len(loudness(Waveform(samples, 24_000), 0.5)) == 50
    assert loudness(Waveform(samples[:, :10], 24_000), 1.0) == []
    assert set(loudness(Waveform(samples * 0, 24_000), 1.0)) == {0}
