"""Standstill and copies, told from pictures alone."""

import itertools

import numpy as np
import pytest

from dancetomusic.builder.picture_watch import HASH_BITS, PictureWatch
from dancetomusic.io.video import read_frames
from dancetomusic.synthesis.scene import write_video


def watch(frames):
    seen = PictureWatch()
    for frame in frames:
        seen.add(frame)
    return seen


def distance(a, b):
    return (int(a, 16) ^ int(b, 16)).bit_count()


@pytest.fixture(scope="module")
def dance():
    from tests.conftest import REPOSITORY

    return list(read_frames(REPOSITORY / "data" / "demo" / "bounce_104bpm.mp4", 24.0))


@pytest.mark.slow(1)
def test_a_copy_of_another_size_rate_and_brightness_has_nearly_the_same_hash(dance, tmp_path):
    clip = dance[:120]
    original = watch(clip).picture_hash
    assert len(original) == HASH_BITS // 4
    smaller = [np.clip(f[::2, ::2] * 1.1 + 8, 0, 255).astype(np.uint8) for f in clip]
    write_video(tmp_path / "copy.mp4", iter(smaller), 24.0)
    copy = watch(read_frames(tmp_path / "copy.mp4", 24.0))
    assert distance(original, copy.picture_hash) <= 47
    assert copy.still_share < 0.1


def test_other_moments_of_one_fixed_camera_have_other_hashes(dance):
    hashes = [watch(dance[start : start + 120]).picture_hash for start in (0, 55, 111, 160)]
    for a, b in itertools.combinations(hashes, 2):
        assert distance(a, b) > 120


def test_a_still_picture_is_still_after_coding(dance, tmp_path):
    write_video(tmp_path / "still.mp4", iter([dance[10]] * 48), 24.0)
    seen = watch(read_frames(tmp_path / "still.mp4", 24.0))
    assert seen.still_share > 0.9


def test_nothing_that_moves_gives_no_hash(tiny_rng):
    picture = tiny_rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    for frames in ([], [picture], [picture] * 5):
        seen = watch(frames)
        assert (seen.still_share, seen.picture_hash) == (1.0, "")


def test_half_the_rate_is_half_still(dance):
    halved = [dance[k // 2 * 2] for k in range(49)]
    assert watch(halved).still_share == pytest.approx(0.5)


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 700, 3), (640, 20, 3)])
def test_any_size_is_taken(shape, tiny_rng):
    frames = [tiny_rng.integers(0, 255, shape, dtype=np.uint8) for _ in range(3)]
    assert len(watch(frames).picture_hash) == HASH_BITS // 4
