"""The shipped demo videos with the truth about them, and videos made to order."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dancetomusic.io.atomic import atomic_output
from dancetomusic.synthesis.choreography import Choreography, choreograph
from dancetomusic.synthesis.scene import (
    Camera,
    Points,
    fit_camera,
    place_dancers,
    project,
    render_frames,
    write_video,
)


@dataclass(frozen=True)
class DemoClip:
    """One demo video; ``seeds`` has one entry per dancer, left to right in the picture."""

    name: str
    style: str
    bpm: float
    duration_s: float
    first_beat_s: float
    seeds: tuple[int, ...]
    width: int
    height: int


DEMO_FPS = 30.0
DEMO_CLIPS = (
    DemoClip("bounce_104bpm", "bounce", 104.0, 12.0, 0.30, (4,), 480, 640),
    DemoClip("steps_128bpm", "steps", 128.0, 12.0, 0.15, (8,), 480, 640),
    DemoClip("duo_116bpm", "disco", 116.0, 12.0, 0.40, (21, 22), 640, 480),
)


def make_demo(folder: Path | str) -> list[Path]:
    """Write every demo clip with its beats and poses; gives the videos' paths.

    Raises:
        OutputError: If ``folder`` does not exist or cannot be written.
    """
    paths = []
    for clip in DEMO_CLIPS:
        dances = [
            choreograph(
                clip.style,
                clip.bpm,
                clip.duration_s,
                seed,
                fps=DEMO_FPS,
                first_beat_s=clip.first_beat_s,
                hold_share=0.0,
            )
            for seed in clip.seeds
        ]
        paths.append(Path(folder) / f"{clip.name}.mp4")
        render_dances(paths[-1], dances, width=clip.width, height=clip.height)
    return paths


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
