"""Make clips of the ballroom dances of Tang et al., with their annotated beats."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dancetomusic.builder.import_tang2018 import import_tang2018
from dancetomusic.builder.settings import BuildSettings
from dancetomusic.codec.registry import load_codec
from dancetomusic.errors import DanceToMusicError
from dancetomusic.stems.choose import choose_separator


def main(
    source: Annotated[Path, typer.Argument(help="Folder with index.csv, motion and audio.")],
    output: Annotated[Path, typer.Argument(help="Directory of the set.")],
    max_seq_len: Annotated[float, typer.Option("--max_seq_len", help="Clip, in s.")] = 5.0,
    fps: Annotated[float, typer.Option("--fps", help="Pose frames a second.")] = 24.0,
    separator: Annotated[
        str, typer.Option("--separator", help="auto, spleeter, demucs, hpss or none.")
    ] = "auto",
    codec: Annotated[str, typer.Option("--codec", help="Directory, name or hub id.")] = "codec",
    n_codebooks: Annotated[int, typer.Option("--n_codebooks", help="Used of the codec.")] = 2,
) -> None:
    """Add every dance of the folder to the set; clips that are there already are skipped."""
    manifest = import_tang2018(
        source,
        output,
        BuildSettings(max_seq_len=max_seq_len, fps=fps),
        separator=choose_separator(separator),
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
