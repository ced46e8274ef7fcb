"""Make clips of the ballroom dances of Tang et al., with their annotated beats.

No licence is stated for the recordings: the clips are for training and evaluation on one's own
machine, and each says so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dancetomusic.builder.settings import BuildSettings
from dancetomusic.builder.stages.assemble import Performance, add_performances
from dancetomusic.codec.base import Codec
from dancetomusic.codec.registry import load_codec
from dancetomusic.data.clip import ClipRecord
from dancetomusic.data.dance import Dance
from dancetomusic.data.manifest import Manifest
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import DanceToMusicError, InputError
from dancetomusic.io.audio import read_audio
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.rhythm.energy import danced_rhythm
from dancetomusic.stems.base import Separator
from dancetomusic.stems.choose import choose_separator
from dancetomusic.types import Waveform

LICENCE = "none stated: train and evaluate only"


def import_tang2018(
    source: Path,
    output: Path,
    settings: BuildSettings,
    *,
    separator: Separator,
    codec: Codec,
    on_clip: Callable[[ClipRecord], None] = lambda record: None,
) -> Manifest:
    """Add the dances of a folder to the set at ``output``; what is there already is skipped.

    The split is the data's own, by dance. Where the first downbeat of a dance is not known, its
    first beat counts as one.

    Args:
        source: Folder as :mod:`dancetomusic.data.tang2018` describes it, with its audio.
        output: Directory of the set; made if it is absent.
        settings: Length and rates of the clips, and the gate; the rest is not used.
        separator: What makes the stems.
        codec: What makes the codes.
        on_clip: Called with each new clip.

    Returns:
        The manifest of the whole set.

    Raises:
        InputError: If the folder has another layout or a file is unreadable.
        ConfigError: If the set was made by another separator or codec.
        DependencyError: If the separator does not work.
        OutputError: If the set cannot be written, or another process works on it.
    """
    return add_performances(
        _performances(load_dances(source), settings),
        output,
        settings,
        separator=separator,
        codec=codec,
        on_clip=on_clip,
    )


def _performances(dances: list[Dance], settings: BuildSettings) -> Iterator[Performance]:
    for dance in dances:
        poses = resample_poses(dance.poses, settings.fps)
        yield Performance(
            source=f"tang2018/{dance.dance_id}",
            licence=LICENCE,
            split=dance.split,
            poses=poses,
            track=danced_rhythm(
                poses,
                dance.beat_times,
                np.arange(dance.beat_times.size) % dance.beats_per_bar + 1,
            ),
            play=_Music(dance.audio_path, settings.sample_rate),
        )


class _Music:
    """Reads the music of a dance when it is called."""

    def __init__(self, path: Path, sample_rate: int) -> None:
        self.path, self.sample_rate = path, sample_rate

    def __call__(self) -> Waveform:
        music = read_audio(self.path, self.sample_rate)
        if music is None:
            raise InputError(f"{self.path} has no sound", "Name a folder with the music.")
        return music


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
