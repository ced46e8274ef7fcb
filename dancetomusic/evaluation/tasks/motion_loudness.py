"""Whether a sampler is loud where the dancer moves much, and in time, beside music that is not.

Run
``python -m dancetomusic.evaluation.tasks.motion_loudness --checkpoint motion_vae --data DIR`` for a
Markdown table. Loudness is scored by Spearman's correlation of quantity of motion and loudness
over windows of 0.5 s, minus the same with the motion turned round in time (``energy_fit``);
rhythm by the F-measure of the beats that librosa finds in the sound, against the annotated ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dancetomusic.codec.registry import load_codec
from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.data.dance import Dance
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import CheckpointError, InputError
from dancetomusic.evaluation.baselines import fit_duration, white_noise
from dancetomusic.io.audio import read_audio
from dancetomusic.metrics.beats import beat_f, track_beats
from dancetomusic.metrics.bootstrap import bootstrap_interval
from dancetomusic.metrics.energy_fit import energy_correlation, loudness_db, quantity_of_motion
from dancetomusic.models.motion_vae.network import MotionVae, load_motion_vae
from dancetomusic.models.motion_vae.sampler import play, play_frames
from dancetomusic.pose.motion import joint_speeds
from dancetomusic.pose.silhouette import draw_silhouettes
from dancetomusic.released import locate_checkpoint
from dancetomusic.rhythm.beats import track_from_beats
from dancetomusic.stems.base import Mix
from dancetomusic.stems.hpss import HpssSeparator
from dancetomusic.types import PoseSequence, Waveform

BY_POSES = "sampler, by poses"
BY_MOTIONGRAM = "sampler, by the motiongram"
SHUFFLED = "sampler, by another dance's poses"
TRUTH = "original music"
TRUTH_STEM = "original music, drums and bass"
RANDOM_SONG = "random other song"
NOISE = "white noise"
ROWS = (BY_POSES, BY_MOTIONGRAM, SHUFFLED, TRUTH, TRUTH_STEM, RANDOM_SONG, NOISE)
TARGET = 0.3


@dataclass(frozen=True)
class SamplerScore:
    """One row: the scores of each dance, means over its seeds.

    Attributes:
        name: One of ``ROWS``.
        loudness: Spearman's correlation minus that of shuffled motion, for each dance.
        beats: F-measure of the beats found in the sound, for each dance.
    """

    name: str
    loudness: tuple[float, ...]
    beats: tuple[float, ...]


def score_loudness(poses: PoseSequence, sound: Waveform) -> float:
    """Correlation of quantity of motion and loudness over that of shuffled motion, in [-2, 2]."""
    motion = quantity_of_motion(joint_speeds(poses), poses.fps)
    return energy_correlation(motion, loudness_db(sound))


def score_sampler(
    model: MotionVae,
    codec: SpectralCodec,
    dances: Sequence[Dance],
    seeds: Sequence[int] = (0, 1, 2),
) -> list[SamplerScore]:
    """All rows, on dances with their own music.

    The sampler is told the annotated beats. Pictures are silhouettes of the dancer. For the
    shuffled row it plays to the next dance, and is scored against this one.

    Raises:
        InputError: If there are fewer than two dances, or one has no music.
    """
    if len(dances) < 2:
        raise InputError("one dance has no other to be shuffled with", "Give two or more.")
    songs = [_music_of(dance) for dance in dances]
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in ROWS}
    for number, dance in enumerate(dances):
        other = (number + 1) % len(dances)
        drawn: dict[str, list[tuple[float, float]]] = {name: [] for name in ROWS}
        for seed in seeds:
            sounds = _sounds(model, codec, dance, dances[other], seed)
            for name, sound in sounds:
                drawn[name].append(_score(dance, sound))
            noise = white_noise(dance.poses.duration_s, seed)
            drawn[NOISE].append(_score(dance, noise))
        (stem,) = HpssSeparator().drum_and_bass([Mix("song", songs[number])])
        foreign = fit_duration(songs[other], dance.poses.duration_s)
        for name, sound in ((TRUTH, songs[number]), (TRUTH_STEM, stem), (RANDOM_SONG, foreign)):
            drawn[name].append(_score(dance, sound))
        for name in ROWS:
            loudness, beats = np.mean(drawn[name], axis=0)
            scores[name].append((float(loudness), float(beats)))
    return [SamplerScore(name, *zip(*scores[name], strict=True)) for name in ROWS]


def _score(dance: Dance, sound: Waveform) -> tuple[float, float]:
    return score_loudness(dance.poses, sound), beat_f(dance.beat_times, track_beats(sound))


def _sounds(
    model: MotionVae, codec: SpectralCodec, dance: Dance, other: Dance, seed: int
) -> Iterator[tuple[str, Waveform]]:
    numbers = np.arange(dance.beat_times.size) % dance.beats_per_bar + 1
    track = track_from_beats(dance.beat_times, numbers, dance.poses.duration_s)
    pictures = draw_silhouettes(dance.poses.world, np.random.default_rng(seed))
    poses = dance.poses
    yield BY_POSES, play(model, poses, seed=seed, rhythm=track, codec=codec)
    yield (
        BY_MOTIONGRAM,
        play_frames(
            model, pictures, poses.fps, poses.duration_s, seed=seed, rhythm=track, codec=codec
        ),
    )
    yield (
        SHUFFLED,
        fit_duration(
            play(model, other.poses, seed=seed, rhythm=track, codec=codec), poses.duration_s
        ),
    )


def _cell(values: Sequence[float]) -> str:
    low, high = bootstrap_interval(values)
    return f"{np.nanmean(values):.2f} [{low:.2f}, {high:.2f}]"


def _beginning(dance: Dance, seconds: float) -> Dance:
    poses = dance.poses
    n = min(len(poses), round(seconds * poses.fps))
    cut = PoseSequence(poses.world[:n], poses.present[:n], poses.visibility[:n], poses.fps)
    return replace(dance, poses=cut, beat_times=dance.beat_times[dance.beat_times < n / poses.fps])


def _music_of(dance: Dance) -> Waveform:
    music = read_audio(dance.audio_path)
    if music is None:
        raise InputError(f"{dance.audio_path} has no sound", "Restore the file.")
    n_samples = round(dance.poses.duration_s * music.sample_rate)
    return Waveform(music.samples[:, :n_samples], music.sample_rate)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Score how loudness follows movement.")
    parser.add_argument("--checkpoint", default="motion_vae", help="directory or released name")
    parser.add_argument("--codec", default="codec", help="directory or released name")
    parser.add_argument("--data", type=Path, required=True, help="folder with index.csv and audio")
    parser.add_argument("--split", default="val", help="split of the index to score")
    parser.add_argument("--seeds", type=int, default=3, help="takes of each dance")
    parser.add_argument("--seconds", type=float, help="beginning of each dance; all by default")
    options = parser.parse_args(arguments)
    codec = load_codec(options.codec)
    if not isinstance(codec, SpectralCodec):
        raise CheckpointError(f"{options.codec} is not the embedded codec", "Name that one.")
    model = load_motion_vae(locate_checkpoint(options.checkpoint))
    dances = load_dances(options.data, split=options.split, qualities=("A", "B"))
    if options.seconds is not None:
        dances = [_beginning(dance, options.seconds) for dance in dances]
    length_s = sum(dance.poses.duration_s for dance in dances)
    print(f"{len(dances)} dances, {length_s:.0f} s in all, {options.seeds} seeds\n")
    print("| row | Spearman's ρ minus shuffled | beat F |\n|---|---|---|")
    rows = score_sampler(model, codec, dances, range(options.seeds))
    for row in rows:
        print(f"| {row.name} | {_cell(row.loudness)} | {_cell(row.beats)} |")


if __name__ == "__main__":
    main()
