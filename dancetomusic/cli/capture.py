"""``dancetomusic capture``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dancetomusic.cli.options import device_of


def capture(
    takes_folder: Annotated[
        Path, typer.Option("--takes_folder", help="Where the takes go, as videos.")
    ],
    output_path: Annotated[
        Path | None,
        typer.Option("--output_path", help="The set of clips to make of all takes there."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=1.0, help="Length of a take, in seconds.")
    ] = 60.0,
    takes: Annotated[int, typer.Option("--takes", min=1, help="Takes, one after the other.")] = 1,
    camera: Annotated[
        str,
        typer.Option("--camera", help="The camera's number, its stream, or a video in its place."),
    ] = "0",
    fps: Annotated[float, typer.Option("--fps", min=1.0, help="Pictures a second.")] = 30.0,
    sound_input: Annotated[
        str | None,
        typer.Option(
            "--sound_input",
            help="The sound card's input, or a file played in its place; the system's by default.",
        ),
    ] = None,
    no_sound: Annotated[bool, typer.Option("--no_sound", help="Record pictures alone.")] = False,
) -> None:
    """Record a dancer and the music with camera and sound card, and make a set of clips of it."""
    from contextlib import ExitStack

    from dancetomusic.builder.capture import next_take, open_camera, open_sound, record_take
    from dancetomusic.errors import InputError

    if no_sound and output_path is not None:
        raise InputError("clips have sound", "Leave out --no_sound or --output_path.")
    with ExitStack() as opened:
        sound = None if no_sound else opened.enter_context(open_sound(sound_input))
        pictures = opened.enter_context(open_camera(device_of(camera), fps=fps))
        for _ in range(takes):
            path = next_take(takes_folder)
            length_s = record_take(path, pictures, seconds, sound=sound)
            print(f"wrote    {path}, {length_s:.1f} s")
    if output_path is not None:
        from dancetomusic.cli.build import build

        build(output_path=output_path, input_folder=takes_folder)
