"""Dances as a pose detector sees them: rendered in three dimensions, and read from the pictures."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from dancetomusic.data.dance import Dance
from dancetomusic.io.atomic import make_directory
from dancetomusic.pose.extract import extract_poses
from dancetomusic.pose.files import load_poses, save_poses
from dancetomusic.pose.landmarks import cut_poses, resample_poses
from dancetomusic.synthesis.scene import Camera, render_frames, stand_on_floor
from dancetomusic.types import POSE_FPS, PoseSequence

WIDTH, HEIGHT = 270, 360
MOST_YAW_DEG = 50.0
CAMERA_HEIGHTS_M = 0.8, 1.7


def film(dance: Dance, cache: Path | str, *, seconds: float, seed: int = 0) -> Dance:
    """The beginning of a dance, with poses that MediaPipe reads from a rendering of it.

    A second takes two or three on one core, so poses are kept in ``cache``.

    Args:
        dance: With poses that are exact.
        cache: Folder, made if there is none.
        seconds: Length of the beginning.
        seed: Chooses where the camera stands.

    Raises:
        PoseError: If MediaPipe finds nobody, or the dance is shorter than a second.
        DependencyError: If PyVista is not installed or MediaPipe cannot be loaded.
        OutputError: If ``cache`` cannot be made or written.
    """
    at_rate = resample_poses(dance.poses, POSE_FPS)
    shown = cut_poses(at_rate, slice(round(seconds * POSE_FPS)))
    digest = hashlib.sha256(shown.world.tobytes() + str(seed).encode())
    file = make_directory(cache) / f"{digest.hexdigest()[:20]}.npz"
    if not file.is_file():
        save_poses(file, _seen(shown, np.random.default_rng([seed, *dance.dance_id.encode()])))
    return replace(
        dance, poses=load_poses(file), beat_times=dance.beat_times[dance.beat_times < seconds]
    )


def _seen(poses: PoseSequence, rng: np.random.Generator) -> PoseSequence:
    camera = Camera(
        height=float(rng.uniform(*CAMERA_HEIGHTS_M)),
        yaw_deg=float(rng.uniform(-MOST_YAW_DEG, MOST_YAW_DEG)),
    )
    room = stand_on_floor(poses.world)
    frames = render_frames([room], width=WIDTH, height=HEIGHT, camera=camera)
    return extract_poses(frames, poses.fps)[0]
