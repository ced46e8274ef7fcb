import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.io.video import probe_video, read_frames
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.synthesis.scene import (
    OUTFITS,
    Camera,
    fit_camera,
    place_dancers,
    project,
    render_frames,
    stand_on_floor,
    write_video,
)

SIZE = {"width": 160, "height": 120}
CAMERA = Camera(distance=4.0)


@pytest.fixture(scope="module")
def rooms():
    dances = [choreograph("bounce", 120.0, 1.0, s, first_beat_s=0.0) for s in range(2)]
    return place_dancers(dances)


def test_projection_keeps_left_and_right_and_up_and_down():
    points = np.array([[0.0, -0.95, 0.0], [1.0, -0.95, 0.0], [0.0, -1.9, 0.0], [1.0, -0.95, 5.0]])
    middle, right, above, far = project(points, CAMERA, **SIZE)
    np.testing.assert_allclose(middle, 0.5, atol=1e-9)
    assert right[0] > 0.6
    assert above[1] < 0.4
    assert 0.5 < far[0] < right[0]


def test_a_camera_on_the_right_sees_what_is_near_it_larger():
    points = np.array([[1.0, -0.95, -0.5], [1.0, -0.95, 0.5], [-1.0, -0.95, 0.5]])
    seen = project(points, Camera(distance=4.0, yaw_deg=90.0), **SIZE)
    assert seen[0, 0] < 0.5 < seen[1, 0]  # from its right, the front is on the picture's left
    assert abs(seen[1, 0] - 0.5) > abs(seen[2, 0] - 0.5)


def test_the_fitted_camera_sees_everything(rooms):
    camera = fit_camera(rooms, Camera(), **SIZE)
    seen = project(np.concatenate(rooms).astype(float), camera, **SIZE)
    assert seen.min() > 0.05
    assert seen.max() < 0.95


def test_dancers_stand_side_by_side(rooms):
    assert rooms[0][..., 0].mean() < -0.4
    assert rooms[1][..., 0].mean() > 0.4


def test_given_landmarks_stand_on_the_floor():
    world = choreograph("steps", 100.0, 1.0, 0).world
    standing = stand_on_floor(world)
    np.testing.assert_allclose(standing[..., 1].max(axis=1), 0.0, atol=1e-6)
    np.testing.assert_array_equal(standing[..., [0, 2]], world[..., [0, 2]])


@pytest.mark.slow
def test_each_dancer_is_drawn_where_its_landmarks_are(rooms):
    pytest.importorskip("pyvista")
    camera = fit_camera(rooms, Camera(), width=320, height=240)
    frames = list(
        render_frames([r[:6] for r in rooms], width=320, height=240, camera=camera)
    )  # fmt: skip
    assert [f.shape for f in frames] == [(240, 320, 3)] * 6
    assert np.abs(frames[0].astype(int) - frames[5]).max() > 30
    for points, outfit in zip(rooms, OUTFITS, strict=False):
        chest = points[:, [11, 12, 23, 24]].mean(axis=1) + np.array([0, -0.1, 0])
        at = project(chest.astype(float), camera, width=320, height=240)
        hue = np.array(outfit.shirt) / np.linalg.norm(outfit.shirt)
        for frame, (x, y) in zip(frames, at[:6], strict=True):
            pixel = frame[int(y * 240), int(x * 320)].astype(float)
            assert pixel @ hue / np.linalg.norm(pixel) > 0.95


def test_the_same_dance_gives_the_same_picture(rooms):
    pytest.importorskip("pyvista")
    first, again = (next(render_frames(rooms[:1], camera=CAMERA, **SIZE)) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_rendering_refuses_no_dancers_five_dancers_and_unequal_ones(rooms):
    for dancers in ([], rooms[:1] * 5, [rooms[0], rooms[1][:3]]):
        with pytest.raises(InputError):
            next(render_frames(dancers, **SIZE))


def test_a_written_video_comes_back(tmp_path):
    ramp = [np.full((48, 64, 3), 20 * k, np.uint8) for k in range(10)]
    write_video(tmp_path / "ramp.mp4", ramp, 30.0)
    info = probe_video(tmp_path / "ramp.mp4")
    assert (info.width, info.height, info.has_audio, info.source_fps) == (64, 48, False, 30.0)
    back = list(read_frames(tmp_path / "ramp.mp4", 30.0))
    assert [round(float(f.mean()) / 20) for f in back] == list(range(10))


def test_writing_refuses_odd_sizes_and_nothing(tmp_path):
    for frames in ([], [np.zeros((47, 64, 3), np.uint8)]):
        with pytest.raises(InputError):
            write_video(tmp_path / "x.mp4", frames, 30.0)
    assert list(tmp_path.iterdir()) == []
