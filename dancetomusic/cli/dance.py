"""``dancetomusic dance``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dancetomusic.cli.options import check_seed
from dancetomusic.cli.outputs import check_distinct, check_output

POSES_SUFFIX, CAPTURE_SUFFIX = ".npz", ".bvh"


def dance(
    song: Annotated[Path, typer.Argument(metavar="SONG", help="Music, or a video with sound.")],
    output: Annotated[
        Path,
        typer.Argument(
            metavar="OUTPUT", help="A video, or poses: .npz, or .bvh for Blender and the like."
        ),
    ],
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="Directory or released name.")
    ] = "dance_gan",
    seed: Annotated[
        list[int] | None,
        typer.Option(
            "--seed", callback=check_seed, help="Another seed, another dance; repeat for several."
        ),
    ] = None,
    bpm: Annotated[
        float | None, typer.Option("--bpm", help="Dance on steady beats from the start.")
    ] = None,
    beats: Annotated[
        Path | None, typer.Option("--beats", help="CSV of beats to dance on: time_s,beat.")
    ] = None,
    variety: Annotated[
        float, typer.Option("--variety", min=0.0, help="Above 1 bolder, below 1 safer.")
    ] = 1.0,
) -> None:
    """Make a dance for a piece of music, as long as it is."""
    from dancetomusic.errors import InputError
    from dancetomusic.generate.beat_source import read_beats
    from dancetomusic.io.audio import read_audio
    from dancetomusic.io.mux import VIDEO_SUFFIXES
    from dancetomusic.models.dance_gan.generation import dance_to, render_dance
    from dancetomusic.models.dance_gan.network import load_dance_gan
    from dancetomusic.pose.bvh import save_bvh
    from dancetomusic.pose.files import save_poses
    from dancetomusic.released import locate_checkpoint
    from dancetomusic.rhythm.beats import steady_grid

    several = seed is not None and len(seed) > 1
    targets = [numbered(output, number) for number in seed or []] if several else [output]
    for target in targets:
        check_output(target, (POSES_SUFFIX, CAPTURE_SUFFIX, *VIDEO_SUFFIXES))
    check_distinct(targets, [song, beats])
    if bpm is not None and beats is not None:
        raise InputError("--bpm and --beats are both given", "Give one of them.")
    model = load_dance_gan(locate_checkpoint(checkpoint), stage=None)
    music = read_audio(song)
    if music is None:
        raise InputError(f"{song} has no sound", "Name a file with music.")
    rhythm = None if bpm is None else steady_grid(bpm, music.duration_s)
    if beats is not None:
        rhythm = read_beats(beats, music.duration_s)
    for number, target in zip(seed or [0], targets, strict=True):
        poses = dance_to(model, music, seed=number, rhythm=rhythm, variety=variety)
        if target.suffix.lower() == POSES_SUFFIX:
            save_poses(target, poses)
        elif target.suffix.lower() == CAPTURE_SUFFIX:
            save_bvh(target, poses)
        else:
            render_dance(target, poses, music)
        print(f"wrote    {target}")


def numbered(path: Path, number: int) -> Path:
    """A file beside ``path`` with a number in its name.

    Example:
        >>> numbered(Path("out/dance.mp4"), 3).name
        'dance_3.mp4'
    """
    return path.with_name(f"{path.stem}_{number}{path.suffix}")
