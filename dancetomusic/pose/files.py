"""Pose sequences as ``.npz`` files."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dancetomusic.errors import InputError, PoseError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.pose.cleaning import hold, require_dancer
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.types import N_LANDMARKS, POSE_FPS, PoseQuality, PoseSequence

LAYOUTS = {"poses": "fps", "mp33": "mp_fps", "mp33_24": "mp33_fps"}
"""Names under which poses are found in a file, each with that of its frame rate."""

MAX_EXTENT_M = 5.0
"""A pose that reaches farther than this from its origin is not in metres."""

QUALITY = ("detected_share", "mean_visibility", "repaired_share")

FORMAT_REMEDY = (
    "Give an .npz with 'poses' [frames, 33, 3] in metres, hip-centred, and 'fps' (a number)."
)


def save_poses(path: Path | str, poses: PoseSequence) -> None:
    """Write ``poses``, ``fps``, ``present``, ``visibility``, and what else is known.

    Raises:
        OutputError: If the file cannot be written.
    """
    arrays: dict[str, Any] = {
        "poses": poses.world,
        "fps": np.float64(poses.fps),
        "present": poses.present,
        "visibility": poses.visibility,
    }
    if poses.image is not None:
        arrays["image"] = poses.image
    if poses.quality is not None:
        arrays |= {name: np.float64(getattr(poses.quality, name)) for name in QUALITY}
    with atomic_output(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_poses(path: Path | str, fps: float = POSE_FPS) -> PoseSequence:
    """Read poses at ``fps`` from a file of ``save_poses`` or another known layout.

    Besides ``poses`` and ``fps``, the names ``mp33`` and ``mp_fps``, or ``mp33_24`` and
    ``mp33_fps``, are understood. Frames with a coordinate that is not finite are absent.
    Nothing is ever unpickled.

    Raises:
        InputError: If the file does not exist or cannot be opened.
        PoseError: If it holds no poses in a known form, or no dance: shorter than a second,
            or nobody there in 90 % of the frames.
    """
    arrays = _read(Path(path))
    name = next((name for name in LAYOUTS if name in arrays), None)
    if name is None:
        found = ", ".join(sorted(arrays)[:5]) or "nothing"
        raise PoseError(f"{path} holds no poses but {found}", FORMAT_REMEDY)
    world = _numbers(path, arrays, name)
    if world.ndim != 3 or world.shape[1:] != (N_LANDMARKS, 3) or not len(world):
        raise PoseError(f"'{name}' in {path} has shape {world.shape}", FORMAT_REMEDY)
    seen = np.isfinite(world).all(axis=(1, 2))
    if seen.any() and np.median(np.abs(world[seen]).max(axis=(1, 2))) > MAX_EXTENT_M:
        raise PoseError(f"'{name}' in {path} is not in metres", FORMAT_REMEDY)
    present = seen & _optional(path, arrays, "present", (len(world),), True).astype(bool)
    visibility = _optional(path, arrays, "visibility", world.shape[:2], 1.0)
    image = quality = None
    if "image" in arrays:
        image = hold(_optional(path, arrays, "image", world.shape, 0.0), seen)
    if arrays.keys() >= set(QUALITY):
        quality = PoseQuality(*(float(_optional(path, arrays, name, (), 0.0)) for name in QUALITY))
    poses = PoseSequence(
        world=hold(np.where(seen[:, None, None], world, np.float32(0)), seen),
        present=present,
        visibility=np.clip(visibility, 0.0, 1.0) * seen[:, None].astype(np.float32),
        fps=_rate(path, arrays, name),
        image=image,
        quality=quality,
    )
    require_dancer(poses)
    return resample_poses(poses, fps)


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays that poses may consist of, and the names of the others."""
    known = {*LAYOUTS, *LAYOUTS.values(), "present", "visibility", "image", *QUALITY}
    if not path.is_file():
        raise InputError(f"{path} does not exist", "Name an .npz file of poses.")
    try:
        with path.open("rb") as content:
            file = np.load(content, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise PoseError(f"{path} is a bare array", FORMAT_REMEDY)
            with file:
                return {n: file[n] if n in known else np.empty(0) for n in file.files}
    except PermissionError as error:
        raise InputError(f"cannot open {path} ({error.strerror})", "Allow reading it.") from error
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise PoseError(f"{path} is not a file of plain arrays", FORMAT_REMEDY) from error


def _numbers(path: Path | str, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if arrays[name].dtype.kind not in "fiub":
        raise PoseError(f"'{name}' in {path} holds no numbers", FORMAT_REMEDY)
    with np.errstate(over="ignore"):
        return arrays[name].astype(np.float32)


def _optional(
    path: Path | str,
    arrays: dict[str, np.ndarray],
    name: str,
    shape: tuple[int, ...],
    default: float | bool,
) -> np.ndarray:
    if name not in arrays:
        return np.full(shape, default, np.float32)
    values = _numbers(path, arrays, name)
    if values.shape != shape or not np.isfinite(values).all():
        raise PoseError(
            f"'{name}' in {path} does not fit the poses (shape {values.shape})",
            f"Give {list(shape)} finite values, or leave it out.",
        )
    return values


def _rate(path: Path | str, arrays: dict[str, np.ndarray], name: str) -> float:
    rate_name = LAYOUTS[name]
    if rate_name not in arrays:
        if name == "mp33_24":
            return POSE_FPS
        raise PoseError(f"{path} has no '{rate_name}'", FORMAT_REMEDY)
    rate = _numbers(path, arrays, rate_name)
    if rate.size != 1 or not 1 <= rate.item() <= 1000:
        raise PoseError(f"'{rate_name}' in {path} is {arrays[rate_name]}", FORMAT_REMEDY)
    return float(arrays[rate_name].item())
