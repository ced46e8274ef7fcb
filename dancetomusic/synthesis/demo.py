"""Videos of procedural dancers with the truth about them, and of given poses."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dancetomusic.io.atomic import atomic_output
from dancetomusic.synthesis.choreography import Choreography
from dancetomusic.synthesis.scene import (
    Camera,
    Points,
    fit_camera,
    place_dancers,
    project,
    render_frames,
    write_video,
)


def render_dances(
    path: Path | str,
    dances: Sequence[Choreography],
    *,
    width: int = 640,
    height: int = 480,
    camera: Camera | None = None,
) -> None:
    """Write a video of dancers side by side, its beats (.csv) and poses (.npz) beside it.

    The camera is by default in front and far enough away.

    Raises:
        OutputError: If the files cannot be written.
    """
    path = Path(path)
    rooms = place_dancers(dances)
    camera = fit_camera(rooms, camera or Camera(), width=width, height=height)
    frames = render_frames(rooms, width=width, height=height, camera=camera)
    write_video(path, frames, dances[0].fps)
    _write_beats(path.with_suffix(".csv"), dances[0])
    for i, (dance, room) in enumerate(zip(dances, rooms, strict=True), start=1):
        name = path.stem if len(dances) == 1 else f"{path.stem}_{i}"
        image = project(room.astype(float), camera, width=width, height=height)
        _write_poses(path.with_name(f"{name}.npz"), dance, image.astype(np.float32))


def render_poses(
    path: Path | str,
    dancers: Sequence[Points],
    fps: float,
    *,
    width: int = 640,
    height: int = 480,
    camera: Camera | None = None,
) -> None:
    """Write a video of given landmarks in the room (see ``render_frames``)."""
    write_video(path, render_frames(dancers, width=width, height=height, camera=camera), fps)


def _write_beats(path: Path, dance: Choreography) -> None:
    with atomic_output(path) as temporary, temporary.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["time_s", "beat"])
        beats = zip(dance.beat_times, dance.beat_numbers, strict=True)
        rows.writerows([f"{time:.6f}", int(number)] for time, number in beats)


def _write_poses(path: Path, dance: Choreography, image: np.ndarray) -> None:
    with atomic_output(path) as temporary:
        np.savez_compressed(
            temporary,
            poses=dance.world,
            fps=np.float32(dance.fps),
            beats=dance.beat_times,
            beat_numbers=dance.beat_numbers,
            bpm=np.float32(dance.bpm),
            image_xy=image,
        )
