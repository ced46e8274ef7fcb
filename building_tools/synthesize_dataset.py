"""Make clips of procedural dancers to rendered music with exact beats, or videos of the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dancetomusic.builder.settings import BuildSettings
from dancetomusic.builder.synthesize import SynthesisConfig, render_videos, synthesize
from dancetomusic.codec.registry import load_codec
from dancetomusic.errors import DanceToMusicError


def main(
    grooves: Annotated[Path, typer.Argument(help="Directory of the Groove MIDI Dataset.")],
    output: Annotated[Path, typer.Argument(help="Directory of the set, or of the videos.")],
    dancers: Annotated[int, typer.Option("--dancers", min=1, help="One dance each.")] = 20,
    seconds: Annotated[float, typer.Option("--seconds", help="Length of a dance.")] = 20.0,
    min_bpm: Annotated[float, typer.Option("--min_bpm", help="Slowest tempo.")] = 80.0,
    max_bpm: Annotated[float, typer.Option("--max_bpm", help="Fastest tempo.")] = 160.0,
    seed: Annotated[int, typer.Option("--seed", help="Chooses the dances.")] = 0,
    max_seq_len: Annotated[float, typer.Option("--max_seq_len", help="Clip, in s.")] = 5.0,
    fps: Annotated[float, typer.Option("--fps", help="Pose frames a second.")] = 24.0,
    codec: Annotated[str, typer.Option("--codec", help="Directory, name or hub id.")] = "codec",
    n_codebooks: Annotated[int, typer.Option("--n_codebooks", help="Used of the codec.")] = 2,
    render_video: Annotated[
        bool, typer.Option("--render_video", help="Write videos to build from, not clips.")
    ] = False,
    video_height: Annotated[
        int, typer.Option("--video_height", help="Of the videos, in pixels.")
    ] = 640,
) -> None:
    """Make up dances, with music on their beats."""
    config = SynthesisConfig(
        n_dancers=dancers,
        seconds=seconds,
        min_bpm=min_bpm,
        max_bpm=max_bpm,
        seed=seed,
        video_height=video_height,
    )
    if render_video:
        for path in render_videos(grooves, output, config):
            typer.echo(path)
        return
    manifest = synthesize(
        grooves,
        output,
        config,
        BuildSettings(max_seq_len=max_seq_len, fps=fps),
        codec=load_codec(codec, n_codebooks),
        on_clip=lambda clip: typer.echo(f"{clip.status} {clip.source} {clip.start_s:g} s"),
    )
    typer.echo(f"{manifest.n_clips} clips in {manifest.path}")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    try:
        app()
    except DanceToMusicError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(2)
