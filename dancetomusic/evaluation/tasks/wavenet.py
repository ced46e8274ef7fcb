"""Whether a WaveNet's sound depends on the movement, and a piece on its latent vector.

Each crop of sound is predicted four times by the same weights: with the movement at its time, with
that of the same dance at another time, with that of another dance, and with none (as a share of the
crops in training). Where no onset begins, a sample follows from those before it, so the gain from
movement is counted a second, too, and near onsets alone. A model with a bottleneck is given the
same latent vector under all conditions: that of another stretch of the same sound.

What a latent vector decides is heard by playing the same movement with two of them, and twice with
one of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import Bool, Float, Float32, Int64
from scipy.stats import entropy
from torch import Tensor
from torch.nn import functional

from dancetomusic.codec.mulaw import encode_mulaw
from dancetomusic.data.dance import Dance
from dancetomusic.data.dance_sound import DanceSound, cut, songs_of_dances
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import InputError
from dancetomusic.evaluation.pieces import QUALITIES
from dancetomusic.evaluation.report import DASH, cell_text, mean_cell, table
from dancetomusic.io.atomic import make_directory
from dancetomusic.metrics.audio_distance import log_mel_distance_db
from dancetomusic.metrics.beats import beat_f, track_beats
from dancetomusic.metrics.drum_balance import register_onset_times
from dancetomusic.metrics.sound_faults import find_pauses
from dancetomusic.models.wavenet.generation import play
from dancetomusic.models.wavenet.network import (
    ANY_GENRE,
    FRAME_RATE,
    MOVEMENT_FPS,
    STEPS_PER_FRAME,
    WaveNet,
    history_frames,
    hold_frames,
    read_movement,
)
from dancetomusic.models.wavenet.training_data import movement_of, reference_of
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.released import locate_checkpoint
from dancetomusic.synthesis.danced_grooves import danced_grooves
from dancetomusic.synthesis.filmed import film
from dancetomusic.types import Waveform

TRUE = "the movement at its time"
OTHER_TIME = "the same dance at another time"
SHUFFLED = "another dance's movement"
NONE = "no movement"
CONDITIONS = (TRUE, OTHER_TIME, SHUFFLED, NONE)
CROP_S = 0.5
LEAST_SHIFT_S = 3.0
BEFORE_ONSET_S, AFTER_ONSET_S = 0.01, 0.04
"""Samples so close to an onset of the true sound are near it."""

PLAYED_S = 30.0
HELD_OUT_SEED = 1
"""Of the grooves; another than in training."""

_BATCH = 8


@dataclass(frozen=True)
class Likelihood:
    """What was measured of one model.

    Attributes:
        bits: Condition to the mean bits a sample of each dance, in their order.
        bits_near: The same of the samples near onsets.
        near_share: Share of samples that are near onsets, of each dance.
        entropy: Entropy of each dance's classes regardless of order, in bits.
        beat_error: Mean distance of the beat read from movement, in beats, of each dance.
    """

    bits: dict[str, Float[np.ndarray, " dances"]]
    bits_near: dict[str, Float[np.ndarray, " dances"]]
    near_share: Float[np.ndarray, " dances"]
    entropy: Float[np.ndarray, " dances"]
    beat_error: Float[np.ndarray, " dances"]


def score_likelihood(
    model: WaveNet, dances: Sequence[DanceSound], *, crops: int = 40
) -> Likelihood:
    """Bits a sample of held-out sound under every condition, on the same crops.

    At least two ``dances`` have poses and beats at the model's rates; pictures are drawn of the
    poses, and no genre is given. Of each, ``crops`` of half a second are taken.

    Raises:
        InputError: If there are fewer than two dances, one is too short, or the model is not
            conditioned on movement.
    """
    if model.config.movement == "none":
        raise InputError("the model is not conditioned on movement", "Name another.")
    if len(dances) < 2:
        raise InputError("one dance cannot be shuffled", "Give at least two.")
    reads = []
    for dance in dances:
        if dance.poses is None or dance.duration_s < 2 * LEAST_SHIFT_S + 1:
            raise InputError(f"{dance.name} is too short or has no poses", "Leave it out.")
        reads.append(read_movement(model, movement_of(model.config, dance)))
    near = [_near_onsets(dance) for dance in dances]
    bits = np.stack(
        [
            _bits_of_dance(model, dances, reads, number, near[number], crops)
            for number in range(len(dances))
        ]
    )
    errors = [_beat_error(model, d, read) for d, read in zip(dances, reads, strict=True)]
    counts = [np.bincount(encode_mulaw(dance.samples / 32767)) for dance in dances]
    return Likelihood(
        bits={name: bits[:, index, 0] for index, name in enumerate(CONDITIONS)},
        bits_near={name: bits[:, index, 1] for index, name in enumerate(CONDITIONS)},
        near_share=np.array([mask.mean() for mask in near]),
        entropy=np.array([entropy(count, base=2) for count in counts]),
        beat_error=np.array(errors),
    )


def _near_onsets(dance: DanceSound) -> Bool[np.ndarray, " samples"]:
    """Samples from just before an onset of the sound to just after it."""
    sound = Waveform((dance.samples / 32768).astype(np.float32)[None], dance.sample_rate)
    near = np.zeros(dance.samples.size, bool)
    for time_s in register_onset_times(sound):
        first, last = time_s - BEFORE_ONSET_S, time_s + AFTER_ONSET_S
        near[max(0, round(first * dance.sample_rate)) : round(last * dance.sample_rate)] = True
    return near


@torch.no_grad()
def _bits_of_dance(
    model: WaveNet,
    dances: Sequence[DanceSound],
    reads: Sequence[Tensor],
    number: int,
    near: Bool[np.ndarray, " samples"],
    crops: int,
) -> Float[np.ndarray, "conditions parts"]:
    """Mean bits a sample under each condition: of all samples, and of those near onsets."""
    config, rng = model.config, np.random.default_rng([0, number])
    latent = None
    if model.posterior is not None:
        reference = reference_of(dances[number], np.random.default_rng([0, number, 1]))
        latent = model.posterior(torch.from_numpy(reference)[None])[0]
    n_samples = round(CROP_S * FRAME_RATE) * config.hop_length
    sums, counts = np.zeros((len(CONDITIONS), 2)), np.zeros(2)
    for start in range(0, crops, _BATCH):
        steps, shown = _sample_crops(model, reads, number, min(_BATCH, crops - start), rng)
        sounds = [
            cut(
                dances[number],
                first_frame=0,
                n_frames=1,
                crop_step=int(step),
                steps_per_frame=STEPS_PER_FRAME,
                history=config.receptive_field,
                n_samples=n_samples,
            ).classes
            for step in steps
        ]
        classes = torch.from_numpy(np.stack(sounds).astype(np.int64))
        firsts = [int(step) * config.hop_length for step in steps]
        parts = np.stack([near[first : first + n_samples] for first in firsts])
        counts += parts.size, parts.sum()
        genre = torch.full((len(sounds),), ANY_GENRE)
        for index, condition in enumerate(CONDITIONS):
            given = None if latent is None else latent.expand(len(sounds), -1)
            logits = model(classes[:, :-1], model.gates_of(shown[condition], genre, given))
            nats = functional.cross_entropy(
                logits, classes[:, config.receptive_field :], reduction="none"
            ).numpy()
            sums[index] += nats.sum(dtype=np.float64), nats[parts].sum(dtype=np.float64)
    return sums / np.maximum(counts, 1) / np.log(2)


def _sample_crops(
    model: WaveNet, reads: Sequence[Tensor], number: int, count: int, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " crops"], dict[str, Float32[Tensor, "crops frames channels"]]]:
    """Where crops of a dance begin, in steps of the condition, and what is shown with them."""
    own, steps, before = reads[number], round(CROP_S * FRAME_RATE), history_frames(model.config)
    others = [index for index in range(len(reads)) if index != number]
    first = rng.integers(round(FRAME_RATE), own.shape[1] - steps, count)
    turn = rng.integers(round(LEAST_SHIFT_S * FRAME_RATE), own.shape[1] // 2, count)
    moved = (first + turn * rng.choice([-1, 1], count)) % (own.shape[1] - steps)
    other = rng.choice(others, count)
    elsewhere = [int(rng.integers(round(FRAME_RATE), reads[o].shape[1] - steps)) for o in other]

    def stretch(read: Tensor, at: int) -> Float32[Tensor, "1 frames channels"]:
        return hold_frames(read, torch.tensor([at - before]), before + steps + 1)

    shown = {
        TRUE: torch.cat([stretch(own, int(at)) for at in first]),
        OTHER_TIME: torch.cat([stretch(own, int(at)) for at in moved]),
        SHUFFLED: torch.cat(
            [stretch(reads[o], at) for o, at in zip(other, elsewhere, strict=True)]
        ),
    }
    shown[NONE] = model.unseen.expand_as(shown[TRUE])
    return first, shown


@torch.no_grad()
def _beat_error(model: WaveNet, dance: DanceSound, read: Tensor) -> float:
    """Mean distance between the phase read and the annotated one, in beats; 0.25 by chance."""
    beats = dance.beat_times
    seconds = np.arange(read.shape[1]) / FRAME_RATE
    known = (seconds >= beats[0]) & (seconds <= beats[-1]) if beats.size > 1 else seconds < 0
    phase = model.phase(read)[0].numpy()[known]
    position = np.interp(seconds[known], beats, np.arange(beats.size))
    apart = np.arctan2(phase[:, 1], phase[:, 0]) / (2 * np.pi) - position
    return float(np.abs(apart - np.rint(apart)).mean()) if known.any() else float("nan")


def likelihood_table(found: Likelihood, sample_rate: int) -> str:
    """Markdown: bits a sample, and what each condition costs beyond the true movement."""
    titles = [
        "", "bits a sample", "beyond the true movement: millibits a sample", "bits a second",
        "near onsets: bits a sample", "beyond: millibits a sample",
    ]  # fmt: skip
    rows = []
    for condition in CONDITIONS:
        beyond, near_beyond = (
            bits[condition] - bits[TRUE] for bits in (found.bits, found.bits_near)
        )
        excess = [
            _text(1000 * beyond, "+.1f"),
            _text(sample_rate * beyond, "+.0f"),
            _text(1000 * near_beyond, "+.1f"),
        ]
        own = [DASH] * 3 if condition == TRUE else excess
        bits = [_text(bits[condition]) for bits in (found.bits, found.bits_near)]
        rows.append([condition, bits[0], *own[:2], bits[1], own[2]])
    rows.append(["frequency of the classes alone", _text(found.entropy), *[DASH] * 4])
    rows.append(["all classes alike", "8.000", DASH, DASH, "8.000", DASH])
    return "\n".join(table(titles, rows))


@torch.no_grad()
def latent_distances(
    model: WaveNet, dances: Sequence[DanceSound], *, pieces: int = 2, seconds: float = 8.0
) -> tuple[Float[np.ndarray, " dances"], Float[np.ndarray, " dances"]]:
    """How far apart two playings of one movement are, in dB of their log-mel spectrograms.

    The model has a bottleneck. The first ``seconds`` of each dance are played, with ``pieces``
    pairs of latent vectors.

    Returns:
        Mean distance of each dance between playings of two latent vectors, and between two
        samplings of one.
    """
    between, within = np.zeros((2, len(dances), pieces))
    for number, dance in enumerate(dances):
        movement = movement_of(model.config, dance)
        listen = partial(play, model, movement, duration_s=min(seconds, dance.duration_s))
        for piece in range(pieces):
            first, second = 2 * piece, 2 * piece + 1
            here = listen(seed=first, latent_seed=first)
            for apart, latent in ((within, first), (between, second)):
                there = listen(seed=second, latent_seed=latent)
                apart[number, piece] = log_mel_distance_db(here, there)
    return between.mean(1), within.mean(1)


def played_scores(
    sounds: Sequence[Waveform], dances: Sequence[DanceSound]
) -> Float[np.ndarray, "dances 3"]:
    """Beat F by librosa, longest pause in seconds and share of pauses of what is played to each."""
    rows = []
    for sound, dance in zip(sounds, dances, strict=True):
        beats = dance.beat_times[dance.beat_times < sound.duration_s]
        rows.append((beat_f(beats, track_beats(sound)), *find_pauses(sound)))
    return np.array(rows)


def played_table(
    model: WaveNet, shown: Mapping[str, Sequence[DanceSound]], *, seconds: float = PLAYED_S
) -> str:
    """Markdown of how the first ``seconds`` of dances sound when played, seed 0.

    They are played on the beats that the model reads, and once more on the annotated ones.

    Args:
        model: Reads their movement.
        shown: What a row is called, to the dances as they are shown to the model; the sound
            beside those of the first is measured, too.
        seconds: At most so much of each.
    """
    rows = []
    for name, dances in shown.items():
        moves = [movement_of(model.config, dance) for dance in dances]
        errors = [
            _beat_error(model, dance, read_movement(model, move))
            for dance, move in zip(dances, moves, strict=True)
        ]
        for row, read, on_beats in (
            (name, _text(np.array(errors)), False),
            (f"{name}, on given beats", DASH, True),
        ):
            played = [
                play(
                    model, move, beat_times=dance.beat_times if on_beats else None,
                    duration_s=min(seconds, dance.duration_s),
                )
                for dance, move in zip(dances, moves, strict=True)
            ]  # fmt: skip
            rows.append([row, read, *_score_cells(played, dances)])
    dances = next(iter(shown.values()))
    sounds = [
        Waveform(
            dance.samples[None, : round(seconds * dance.sample_rate)] / np.float32(32768),
            dance.sample_rate,
        )
        for dance in dances
    ]
    rows.append(["the held-out sound", DASH, *_score_cells(sounds, dances)])
    head = [
        f"first {seconds:g} s", "beat read, beats off", "beat F, librosa", "longest pause, s",
        "share of pauses",
    ]  # fmt: skip
    return "\n".join(table(head, rows))


def _score_cells(sounds: Sequence[Waveform], dances: Sequence[DanceSound]) -> list[str]:
    return [_text(column, ".2f") for column in played_scores(sounds, dances).T]


def _text(values: Float[np.ndarray, " dances"], spec: str = ".3f") -> str:
    return cell_text(mean_cell(values), spec)


def evaluate(
    data: Annotated[Path, typer.Option("--data", help="Folder of the dances.")],
    checkpoint: Annotated[
        list[str] | None,
        typer.Option("--checkpoint", help="Directory or released name; repeat for several."),
    ] = None,
    grooves: Annotated[
        Path | None,
        typer.Option("--grooves", help="Groove MIDI Dataset; without, the dances' own songs."),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Split of the dances.")] = "val",
    crops: Annotated[
        int, typer.Option("--crops", min=1, help="Half-second crops of each dance.")
    ] = 40,
    filmed: Annotated[
        Path | None,
        typer.Option(
            "--filmed",
            help="Play to what MediaPipe reads from renderings, too; it is kept in this folder.",
        ),
    ] = None,
) -> None:
    """Measure how likely held-out sound is under the true movement, and what is played to it."""
    if filmed is not None:
        make_directory(filmed)
    names = checkpoint or ["wavenet", "wavenet_frames"]
    models = {name: WaveNet.from_pretrained(locate_checkpoint(name)) for name in names}
    dances = load_dances(data, split=split, qualities=QUALITIES)
    music = "their songs" if grooves is None else "held-out grooves on their beats"
    print(f"{len(dances)} dances, {split}, {music}; {crops} crops each")
    sounds: dict[int, list[DanceSound]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            rate = model.config.sample_rate
            if rate not in sounds:
                sounds[rate] = (
                    list(songs_of_dances(dances, sample_rate=rate, fps=MOVEMENT_FPS))
                    if grooves is None
                    else danced_grooves(
                        dances, grooves, folder, sample_rate=rate, fps=MOVEMENT_FPS,
                        held_out=True, seed=HELD_OUT_SEED,
                    )
                )  # fmt: skip
            print(f"\n{name}, on {model.config.movement}\n")
            _print_likelihood(score_likelihood(model, sounds[rate], crops=crops), rate)
            shown = {
                "exact poses" if model.config.movement == "pose" else "drawn pictures": sounds[rate]
            }
            if filmed is not None and model.config.movement == "pose":
                shown["poses by MediaPipe"] = _filmed(sounds[rate], dances, filmed)
            print(f"\n{played_table(model, shown)}\n")
            if model.posterior is not None:
                between, within = latent_distances(model, sounds[rate])
                print(
                    f"Log-mel distance of two playings of a movement: {_text(between, '.2f')} dB"
                    f" with two latent vectors, {_text(within, '.2f')} dB with one,"
                    f" {_text(between - within, '+.2f')} dB beyond"
                )


def _filmed(
    sounds: Sequence[DanceSound], dances: Sequence[Dance], folder: Path
) -> list[DanceSound]:
    """The sounds beside what MediaPipe reads from renderings of the dances' beginnings."""
    seen = [film(dance, folder, seconds=PLAYED_S).poses for dance in dances]
    return [
        replace(sound, poses=resample_poses(poses, sound.fps))
        for sound, poses in zip(sounds, seen, strict=True)
    ]


def _print_likelihood(found: Likelihood, rate: int) -> None:
    print(likelihood_table(found, rate))
    before_ms, after_ms = 1000 * BEFORE_ONSET_S, 1000 * AFTER_ONSET_S
    print(
        f"\nNear onsets: {before_ms:g} ms before one of the true sound to {after_ms:g} ms after,"
        f" {found.near_share.mean():.0%} of the samples. Beat estimated from the movement:"
        f" {_text(found.beat_error)} beats off (chance 0.25)"
    )
