import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.io.video import read_frames
from dancetomusic.models.motion_vae.motiongram import BIN_PIXELS, N_BINS, MotiongramStream
from dancetomusic.pose.silhouette import SIDE, draw_silhouettes


def motiongram(frames, stream=None):
    """By row and by column, one row of either a picture."""
    stream = stream or MotiongramStream()
    return map(np.stack, zip(*map(stream.push, frames), strict=True))


def picture_with_square(row, column, size=8, side=N_BINS * BIN_PIXELS):
    picture = np.zeros((side, side, 3), np.uint8)
    picture[row : row + size, column : column + size] = 255
    return picture


def test_a_square_that_jumps_is_seen_where_it_was_and_where_it_is():
    by_row, by_column = motiongram([picture_with_square(0, 0), picture_with_square(40, 80)])
    assert not by_row[0].any() and not by_column[0].any()
    assert np.flatnonzero(by_row[1]).tolist() == [0, 1, 10, 11]
    assert np.flatnonzero(by_column[1]).tolist() == [0, 1, 20, 21]
    side = N_BINS * BIN_PIXELS
    assert by_row[1].mean() == pytest.approx(2 * 64 / side**2)


def test_row_and_column_profiles_are_the_means_of_the_frame_difference(tiny_rng):
    side = N_BINS * BIN_PIXELS
    frames = tiny_rng.integers(0, 256, (3, side, side), dtype=np.uint8)
    by_row, by_column = motiongram(np.repeat(frame[..., None], 3, axis=2) for frame in frames)
    change = np.abs(np.diff(frames.astype(int), axis=0))
    change = np.where(change > 10, change, 0) / 255
    rows = change.mean(axis=2).reshape(2, N_BINS, BIN_PIXELS).mean(axis=2)
    columns = change.mean(axis=1).reshape(2, N_BINS, BIN_PIXELS).mean(axis=2)
    assert np.allclose(by_row[1:], rows, atol=1e-5)
    assert np.allclose(by_column[1:], columns, atol=1e-5)


def test_a_stream_begins_again(demo_dir):
    frames = list(read_frames(demo_dir / "steps_128bpm.mp4", 24.0, n_frames=30))
    stream = MotiongramStream()
    first, _ = motiongram(frames, stream)
    assert first[1:].mean() > 0
    stream.reset()
    assert not np.any(stream.push(frames[0]))


def test_camera_noise_is_no_movement(tiny_rng):
    still = np.full((96, 96, 3), 120)
    frames = (still + tiny_rng.integers(-4, 5, still.shape) for _ in range(5))
    by_row, _ = motiongram(frame.astype(np.uint8) for frame in frames)
    assert not by_row.any()


def test_any_size_of_picture():
    _, by_column = motiongram([np.zeros((7, 5, 3), np.uint8)] * 2, MotiongramStream(3))
    assert by_column.shape == (2, 3)
    with pytest.raises(InputError, match="bands"):
        MotiongramStream(0)


def test_silhouettes_move_where_the_dancer_does(tiny_rng):
    world = np.zeros((4, 33, 3), np.float32)
    world[:, 11:13, 1], world[:, [11, 23], 0], world[:, [12, 24], 0] = -0.5, 0.15, -0.15
    world[:, 0, 1] = -0.75
    world[:, 25:29, 1] = 0.45
    world[2:, 15] = (0.6, -0.8, 0.0)
    frames = list(draw_silhouettes(world, tiny_rng))
    assert frames[0].shape == (SIDE, SIDE, 3)
    by_row, by_column = motiongram(frames)
    assert not by_row[1].any() and by_row[2].any() and not by_row[3].any()
    place = by_column[2] @ np.arange(N_BINS) / by_column[2].sum()
    assert place > N_BINS / 2
    moved = np.stack([np.linspace(0, 0.5, 4), np.zeros(4)], axis=1).astype(np.float32)
    walk, _ = motiongram(draw_silhouettes(world[:1].repeat(4, 0), tiny_rng, place_m=moved))
    assert walk[1:].any(axis=1).all()
