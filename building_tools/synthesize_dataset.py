"""Make clips of procedural dancers to rendered music with exact beats, or videos of the same."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dancetomusic.builder.settings import BuildSettings
from dancetomusic.builder.stages.assemble import Performance, add_performances
from dancetomusic.codec.base import Codec
from dancetomusic.codec.registry import load_codec
from dancetomusic.data.clip import ClipRecord, source_id, split_of
from dancetomusic.data.dance import fully_visible
from dancetomusic.data.manifest import Manifest
from dancetomusic.errors import ConfigError, DanceToMusicError
from dancetomusic.io.mux import mux
from dancetomusic.rhythm.energy import danced_rhythm
from dancetomusic.rhythm.files import save_beats
from dancetomusic.stems.none import NoSeparator
from dancetomusic.synthesis.choreography import MAX_BPM, MIN_BPM, STYLES, Choreography, choreograph
from dancetomusic.synthesis.corpus import SAMPLE_RATE
from dancetomusic.synthesis.dance_music import play_for_dance
from dancetomusic.synthesis.demo import render_dances
from dancetomusic.synthesis.groove import Groove, load_grooves, select_grooves
from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

LICENCE = "made by this project; music from Groove MIDI (CC BY 4.0)"
VIDEO_FPS = 30.0
VIDEO_SHAPE = 0.75
"""Width of a video over its height."""


@dataclass(frozen=True)
class SynthesisConfig:
    """Which dances are made up."""

    n_dancers: int = 20
    """Dances, each by another dancer; the styles take turns."""
    seconds: float = 20.0
    """Length of a dance."""
    min_bpm: float = 80.0
    """Slowest tempo."""
    max_bpm: float = 160.0
    """Fastest tempo."""
    seed: int = 0
    """Chooses everything else; a larger ``n_dancers`` only adds dances."""
    video_height: int = 640
    """Of the pictures of videos, in pixels, a multiple of 8: half takes half the time to render."""

    def __post_init__(self) -> None:
        if self.n_dancers < 1 or not 1.0 <= self.seconds <= 600.0 or self.seed < 0:
            raise ConfigError(
                f"{self.n_dancers} dancers of {self.seconds} s with seed {self.seed}",
                "Give at least one dancer, 1 to 600 s, and no negative seed.",
            )
        if self.video_height < 64 or self.video_height % 8:
            raise ConfigError(
                f"videos are {self.video_height} pixels high", "Give a multiple of 8 from 64."
            )
        if not MIN_BPM <= self.min_bpm <= self.max_bpm <= MAX_BPM:
            raise ConfigError(
                f"tempi go from {self.min_bpm} to {self.max_bpm} BPM",
                f"Give a range within {MIN_BPM:g} to {MAX_BPM:g}.",
            )


@dataclass(frozen=True)
class _Plan:
    """One dance before it is worked out; the same at every frame rate."""

    name: str
    style: str
    bpm: float
    seconds: float
    seed: int
    intensity: float
    yaw_deg: float

    def dance(self, fps: float) -> Choreography:
        return choreograph(
            self.style,
            self.bpm,
            self.seconds,
            self.seed,
            fps=fps,
            intensity=self.intensity,
            yaw_deg=self.yaw_deg,
        )


def synthesize(
    grooves: Path,
    output: Path,
    config: SynthesisConfig,
    settings: BuildSettings,
    *,
    codec: Codec,
    on_clip: Callable[[ClipRecord], None] = lambda record: None,
) -> Manifest:
    """Make up dances, play for them, and add their clips to the set at ``output``.

    A clip that is in the set already is skipped. The sound is drum and bass alone, so it is its
    own stem.

    Args:
        grooves: Directory of the Groove MIDI Dataset.
        output: Directory of the set; made if it is absent.
        config: Which dances.
        settings: Length and rates of the clips, the gate, and the shares of the splits.
        codec: What makes the codes.
        on_clip: Called with each new clip.

    Returns:
        The manifest of the whole set.

    Raises:
        InputError: If the grooves are missing.
        ConfigError: If a dance is shorter than a clip, or the set was made by another codec.
        DependencyError: If FluidSynth or its sound font is missing.
        OutputError: If the set cannot be written, or another process works on it.
    """
    if config.seconds < settings.max_seq_len:
        raise ConfigError(
            f"dances of {config.seconds:g} s are shorter than clips of {settings.max_seq_len:g} s",
            "Make longer dances or shorter clips.",
        )
    pool = select_grooves(load_grooves(grooves), held_out=False)
    return add_performances(
        _performances(config, pool, settings),
        output,
        settings,
        separator=NoSeparator(),
        codec=codec,
        on_clip=on_clip,
    )


def render_videos(grooves: Path, folder: Path, config: SynthesisConfig) -> Iterator[Path]:
    """Write each dance as ``NAME.mp4`` with its music, and its beats as ``NAME.beats.csv``.

    A video that is there already is kept.

    Yields:
        The video's path, once both files are there.

    Raises:
        InputError: If the grooves are missing.
        DependencyError: If FluidSynth, its sound font or PyVista is missing.
        OutputError: If the folder cannot be written.
    """
    pool = select_grooves(load_grooves(grooves), held_out=False)
    folder.mkdir(parents=True, exist_ok=True)
    for plan in _plans(config):
        video = folder / f"{plan.name}.mp4"
        if not video.is_file():
            dance = plan.dance(VIDEO_FPS)
            _, track = _worked_out(dance)
            save_beats(folder / f"{plan.name}.beats.csv", track)
            with tempfile.TemporaryDirectory() as scratch:
                silent = Path(scratch) / "silent.mp4"
                height = config.video_height
                render_dances(silent, [dance], width=round(VIDEO_SHAPE * height), height=height)
                mux(silent, _play(plan, track, pool, SAMPLE_RATE), video)
        yield video


def _plans(config: SynthesisConfig) -> Iterator[_Plan]:
    for number in range(config.n_dancers):
        rng = np.random.default_rng([config.seed, number])
        style = STYLES[number % len(STYLES)]
        bpm = round(float(np.exp(rng.uniform(np.log(config.min_bpm), np.log(config.max_bpm)))), 2)
        yield _Plan(
            name=f"{config.seed}-{number:05d}-{style}-{bpm:.2f}bpm-{config.seconds:g}s",
            style=style,
            bpm=bpm,
            seconds=config.seconds,
            seed=int(rng.integers(2**31)),
            intensity=float(rng.uniform(0.6, 1.2)),
            yaw_deg=float(rng.uniform(-40.0, 40.0)),
        )


def _performances(
    config: SynthesisConfig, pool: Sequence[Groove], settings: BuildSettings
) -> Iterator[Performance]:
    for plan in _plans(config):
        source = f"synthetic/{plan.name}"
        poses, track = _worked_out(plan.dance(settings.fps))
        yield Performance(
            source=source,
            licence=LICENCE,
            split=split_of(
                source_id(source), val_share=settings.val_share, test_share=settings.test_share
            ),
            poses=poses,
            track=track,
            play=partial(_play, plan, track, pool, settings.sample_rate),
        )


def _worked_out(dance: Choreography) -> tuple[PoseSequence, RhythmTrack]:
    poses = fully_visible(dance.world, dance.fps)
    return poses, danced_rhythm(poses, dance.beat_times, dance.beat_numbers)


def _play(plan: _Plan, track: RhythmTrack, pool: Sequence[Groove], sample_rate: int) -> Waveform:
    return play_for_dance(
        track, pool, np.random.default_rng([plan.seed, 1]), sample_rate=sample_rate
    )


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
