"""Whether the sampler is loud where the dancer moves much, and in time, beside other music.

Loudness is scored by Spearman's correlation of quantity of motion and loudness over windows of
0.5 s, minus the same with the motion shifted in time (``metrics/energy_fit.py``); rhythm by the
F-measure of the beats that librosa finds in the sound, against the annotated ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dancetomusic.codec.registry import load_codec
from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.data.dance import Dance
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import CheckpointError, InputError
from dancetomusic.evaluation.baselines import fit_duration, white_noise
from dancetomusic.evaluation.pieces import QUALITIES, piece_of_dance
from dancetomusic.evaluation.report import Cell, cell_text, mean_cell, table
from dancetomusic.metrics.beats import beat_f, track_beats
from dancetomusic.metrics.energy_fit import energy_correlation, loudness_db, quantity_of_motion
from dancetomusic.models.motion_vae.network import MotionVae
from dancetomusic.models.motion_vae.sampler import play, play_frames
from dancetomusic.pose.landmarks import cut_poses
from dancetomusic.pose.motion import joint_speeds
from dancetomusic.pose.silhouette import draw_silhouettes
from dancetomusic.released import locate_checkpoint
from dancetomusic.rhythm.beats import track_from_beats
from dancetomusic.types import PoseSequence, Waveform

BY_POSES = "sampler, by poses"
BY_MOTIONGRAM = "sampler, by the motiongram"
SHUFFLED = "sampler, by another dance's poses"
TRUTH = "original music"
TRUTH_STEM = "original music, drums and bass"
RANDOM_SONG = "random other song"
NOISE = "white noise"
ROWS = (BY_POSES, BY_MOTIONGRAM, SHUFFLED, TRUTH, TRUTH_STEM, RANDOM_SONG, NOISE)


def score_loudness(poses: PoseSequence, sound: Waveform) -> float:
    """Correlation of quantity of motion and loudness over that of shifted motion, in [-2, 2]."""
    motion = quantity_of_motion(joint_speeds(poses), poses.fps)
    return energy_correlation(motion, loudness_db(sound))


def score_sampler(
    model: MotionVae, codec: SpectralCodec, dances: Sequence[Dance], seeds: Sequence[int]
) -> dict[str, tuple[Cell, Cell]]:
    """Each row's loudness score and beat F: means over seeds, then dances.

    The sampler is conditioned on the annotated beats. Pictures are silhouettes of the dancer. For
    the shuffled row it plays to the next dance, and is scored against this one.

    Raises:
        InputError: If there are fewer than two dances, or one has no music.
    """
    if len(dances) < 2:
        raise InputError("one dance has no other to be shuffled with", "Give two or more.")
    songs = [piece_of_dance(dance) for dance in dances]
    means: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for number, dance in enumerate(dances):
        other = (number + 1) % len(dances)
        duration_s = dance.poses.duration_s
        sounds = [
            (TRUTH, songs[number].music()),
            (TRUTH_STEM, songs[number].drum_and_bass()),
            (RANDOM_SONG, fit_duration(songs[other].music(), duration_s)),
        ]
        for seed in seeds:
            sounds += _sampled(model, codec, dance, dances[other], seed)
            sounds.append((NOISE, white_noise(duration_s, seed)))
        scores: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for row, sound in sounds:
            beat_score = beat_f(dance.beat_times, track_beats(sound))
            scores[row].append((score_loudness(dance.poses, sound), beat_score))
        for row in ROWS:
            loudness, beats = np.mean(scores[row], axis=0)
            means[row].append((float(loudness), float(beats)))
    return {
        row: (mean_cell(v for v, _ in own), mean_cell(v for _, v in own))
        for row, own in means.items()
    }


def _sampled(
    model: MotionVae, codec: SpectralCodec, dance: Dance, other: Dance, seed: int
) -> Iterator[tuple[str, Waveform]]:
    poses = dance.poses
    numbers = np.arange(dance.beat_times.size) % dance.beats_per_bar + 1
    track = track_from_beats(dance.beat_times, numbers, poses.duration_s)
    pictures = draw_silhouettes(poses.world, np.random.default_rng(seed))
    yield BY_POSES, play(model, poses, seed=seed, rhythm=track, codec=codec)
    sound = play_frames(
        model, pictures, poses.fps, poses.duration_s, seed=seed, rhythm=track, codec=codec
    )
    yield BY_MOTIONGRAM, sound
    foreign = play(model, other.poses, seed=seed, rhythm=track, codec=codec)
    yield SHUFFLED, fit_duration(foreign, poses.duration_s)


def _beginning(dance: Dance, seconds: float) -> Dance:
    fps = dance.poses.fps
    n_frames = min(len(dance.poses), round(seconds * fps))
    return replace(
        dance,
        poses=cut_poses(dance.poses, slice(0, n_frames)),
        beat_times=dance.beat_times[dance.beat_times < n_frames / fps],
    )


def evaluate(
    data: Annotated[Path, typer.Option("--data", help="Folder with index.csv and audio.")],
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="Directory or released name.")
    ] = "motion_vae",
    codec: Annotated[str, typer.Option("--codec", help="Directory or released name.")] = "codec",
    split: Annotated[str, typer.Option("--split", help="Split of the index.")] = "val",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Takes of each dance.")] = 3,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Beginning of each dance; all by default.")
    ] = None,
) -> None:
    """Score how the loudness of the sampler follows movement."""
    embedded = load_codec(codec)
    if not isinstance(embedded, SpectralCodec):
        raise CheckpointError(f"{codec} is not the embedded codec", "Name that one.")
    model = MotionVae.from_pretrained(locate_checkpoint(checkpoint))
    dances = load_dances(data, split=split, qualities=QUALITIES)
    if seconds is not None:
        dances = [_beginning(dance, seconds) for dance in dances]
    length_s = sum(dance.poses.duration_s for dance in dances)
    print(f"{len(dances)} dances, {length_s:.0f} s in all, {seeds} seeds\n")
    cells = score_sampler(model, embedded, dances, range(seeds))
    rows = ([row, *map(cell_text, own)] for row, own in cells.items())
    print("\n".join(table(["row", "Spearman's ρ minus shuffled", "beat F"], rows)))
