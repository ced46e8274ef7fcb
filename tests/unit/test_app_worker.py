from __future__ import annotations

import numpy as np
import pytest

from dancetomusic.app.worker import SKELETON_RANGE, write_skeletons
from dancetomusic.types import PoseSequence


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
