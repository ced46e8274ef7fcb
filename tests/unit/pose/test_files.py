from __future__ import annotations

from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest

from dancetomusic.data.dance import fully_visible
from dancetomusic.errors import InputError, OutputError, PoseError
from dancetomusic.pose.files import load_poses, save_poses
from dancetomusic.types import PoseQuality, PoseSequence


def walk(frames: int = 48) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.8, 0.8, (frames, 33, 3)).astype(np.float32)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    present = np.ones(48, bool)
    present[5:20] = False
    poses = PoseSequence(
        world=walk(),
        present=present,
        visibility=np.full((48, 33), 0.75, np.float32),
        fps=24.0,
        image=walk(),
        quality=PoseQuality(0.7, 0.75, 0.01),
    )
    path = tmp_path / "dance.npz"
    save_poses(path, poses)
    loaded = load_poses(path)
    for name in ("world", "present", "visibility", "image"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(poses, name))
    assert loaded.fps == 24.0 and loaded.quality is not None
    assert astuple(loaded.quality) == pytest.approx((0.7, 0.75, 0.01))


def test_saving_keeps_the_name_that_was_given(tmp_path: Path) -> None:
    poses = fully_visible(walk(), 24.0)
    save_poses(tmp_path / "dance.poses", poses)
    assert [p.name for p in tmp_path.iterdir()] == ["dance.poses"]
    with pytest.raises(OutputError):
        save_poses(tmp_path / "absent" / "dance.npz", poses)


@pytest.mark.parametrize(
    ("name", "rate_name", "rate"),
    [("poses", "fps", 30.0), ("mp33", "mp_fps", 30), ("mp33_24", "mp33_fps", 30.0)],
)
def test_known_layouts_come_at_24_hz(
    tmp_path: Path, name: str, rate_name: str, rate: float
) -> None:
    path = tmp_path / "x.npz"
    world = walk(60).astype(np.float16)
    np.savez(path, **{name: world, rate_name: rate, "other": np.array("words")})
    poses = load_poses(path)
    assert len(poses) == 48 and poses.fps == 24.0 and poses.present.all()
    np.testing.assert_array_equal(poses.world[::4], world[:60:5])


def test_nan_frames_are_absent_and_finite(tmp_path: Path) -> None:
    world = walk()
    world[0, 3, 1] = np.nan
    world[10:20] = np.inf
    np.savez(tmp_path / "x.npz", poses=world, fps=24)
    poses = load_poses(tmp_path / "x.npz")
    np.testing.assert_array_equal(np.flatnonzero(~poses.present), [0, *range(10, 20)])
    assert np.isfinite(poses.world).all()
    np.testing.assert_array_equal(poses.world[15], world[9])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"frames": np.zeros(3)}, "holds no poses but frames"),
        ({}, "holds no poses but nothing"),
        ({"poses": walk()}, "has no 'fps'"),
        ({"poses": walk()[:, :17], "fps": 24}, r"shape \(48, 17, 3\)"),
        ({"poses": walk()[:0], "fps": 24}, r"shape \(0, 33, 3\)"),
        ({"poses": walk(), "fps": 0}, "'fps' in .* is 0"),
        ({"poses": walk(), "fps": np.nan}, "'fps' in .* is nan"),
        ({"poses": walk(), "fps": np.ones(3)}, "'fps' in"),
        ({"poses": walk(), "fps": np.array("24")}, "holds no numbers"),
        ({"poses": walk() * 1000, "fps": 24}, "not in metres"),
        ({"poses": walk(12), "fps": 24}, r"lasts 0\.50 s"),
        ({"poses": walk() * np.nan, "fps": 24}, "no person"),
        ({"poses": walk(), "fps": 24, "present": np.arange(48) < 4}, r"only 8\.3%"),
        ({"poses": walk(), "fps": 24, "present": np.ones(4, bool)}, "'present'"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, arrays: dict, message: str) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, **arrays)
    with pytest.raises(PoseError, match=message) as refusal:
        load_poses(path)
    assert "\n" not in str(refusal.value)


def test_pickles_are_never_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return Path(tmp_path / "ran").touch, ()

    path = tmp_path / "x.npz"
    np.savez(path, poses=np.array([Trap()], dtype=object), fps=24)
    with pytest.raises(PoseError, match="plain arrays"):
        load_poses(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04broken", b"\x80\x04N."])
def test_files_that_are_no_archive_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(PoseError, match="plain arrays"):
        load_poses(path)


def test_a_truncated_archive_and_a_bare_array_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.npz"
    np.savez_compressed(whole, poses=walk(), fps=24)
    cut = tmp_path / "cut.npz"
    cut.write_bytes(whole.read_bytes()[:-200])
    damaged = tmp_path / "damaged.npz"
    content = bytearray(whole.read_bytes())
    content[2000:2100] = bytes(100)
    damaged.write_bytes(content)
    bare = tmp_path / "bare.npz"
    with bare.open("wb") as file:
        np.save(file, walk())
    for path in (cut, damaged, bare):
        with pytest.raises(PoseError):
            load_poses(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.npz does not exist"):
        load_poses(tmp_path / "absent.npz")


def test_the_sets_beside_the_checkout_load(shared_data: Path) -> None:
    ballroom = load_poses(shared_data / "tang2018" / "motion" / "DANCE_W_22.npz")
    street = load_poses(shared_data / "street" / "gBR_sBM_c01_d04_mBR0_ch02.npz")
    assert ballroom.fps == street.fps == 24.0
    assert len(street) == 288 and ballroom.present.all() and street.present.all()
