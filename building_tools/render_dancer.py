"""Render videos of a procedural dancer, of given poses, or the shipped demo clips."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dancetomusic.errors import DanceToMusicError, InputError


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
    from dancetomusic.synthesis.choreography import choreograph
    from dancetomusic.synthesis.demo import render_dances

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


def main(
    output: Annotated[Path | None, typer.Argument(help="Video to write (.mp4).")] = None,
    demo: Annotated[Path | None, typer.Option(help="Make the demo clips in here.")] = None,
    poses: Annotated[Path | None, typer.Option(help="Render this pose file (.npz).")] = None,
    style: Annotated[str, typer.Option(help="Style of the dance.")] = "bounce",
    bpm: Annotated[float, typer.Option(help="Beats a minute, 70 to 180.")] = 120.0,
    seconds: Annotated[float, typer.Option(help="Length of the dance.")] = 20.0,
    dancers: Annotated[int, typer.Option(help="Dancers side by side, 1 to 4.")] = 1,
    seed: Annotated[int, typer.Option(help="Chooses the movement.")] = 0,
    fps: Annotated[float, typer.Option(help="Frames a second.")] = 30.0,
    width: Annotated[int, typer.Option(help="Of the picture, in pixels.")] = 640,
    height: Annotated[int, typer.Option(help="Of the picture, in pixels.")] = 480,
    camera_distance: Annotated[
        float | None, typer.Option("--camera_distance", help="In metres; fits if not given.")
    ] = None,
    camera_height: Annotated[
        float, typer.Option("--camera_height", help="Above the floor, in metres.")
    ] = 1.25,
    camera_yaw: Annotated[
        float, typer.Option("--camera_yaw", help="Way round the dancers, in degrees.")
    ] = 0.0,
) -> None:
    """Render a dance, or the poses in a file, or the demo clips."""
    from dancetomusic.synthesis import choreography, scene
    from dancetomusic.synthesis import demo as demos

    if demo is not None:
        for path in make_demo(demo):
            typer.echo(path)
        return
    if output is None:
        raise InputError("no output is named", "Name a video to write, or use --demo FOLDER.")
    camera = scene.Camera(camera_distance, camera_height, yaw_deg=camera_yaw)
    if poses is not None:
        from dancetomusic.pose.files import load_poses

        sequence = load_poses(poses)
        room = scene.stand_on_floor(sequence.world)
        demos.render_poses(output, [room], sequence.fps, width=width, height=height, camera=camera)
        return
    first = choreography.choreograph(style, bpm, seconds, seed, fps=fps)
    start = float(first.beat_times[0]) if len(first.beat_times) else 0.0
    others = [
        choreography.choreograph(style, bpm, seconds, seed + i, fps=fps, first_beat_s=start)
        for i in range(1, dancers)
    ]
    demos.render_dances(output, [first, *others], width=width, height=height, camera=camera)


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except DanceToMusicError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)
