"""Fit the certainty of beats found in sound and print the constants of ``audio_beats.py``.

It is fitted to recordings that the network did not learn from.

References:
    Platt, "Probabilistic outputs for support vector machines", 1999: a logistic regression from
    scores to probabilities.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from jaxtyping import Bool, Float
from scipy.optimize import minimize

from dancetomusic.data.tang2018 import load_dances
from dancetomusic.data.wild import load_wild
from dancetomusic.io.audio import read_audio
from dancetomusic.metrics.beats import beat_f
from dancetomusic.metrics.rhythm_scores import RIGHT_F
from dancetomusic.models.beat_network.audio_beats import EVIDENCE, sound_evidence
from dancetomusic.models.beat_network.held_out import HeldOutNetworks
from dancetomusic.models.beat_network.network import SAMPLE_RATE, BeatNetwork
from dancetomusic.synthesis.noises import KINDS, make_noise
from dancetomusic.types import SURE, Waveform

PIECE_S = 15.0
RIDGE = 0.002
N_NOISES = 56


@dataclass(frozen=True)
class Evidence:
    """What was measured on recordings.

    Attributes:
        values: One row of ``models.beat_network.audio_beats.EVIDENCE`` per recording.
        right: Whether its beats have an F-measure of at least ``RIGHT_F``.
        groups: Recordings of one group share a song or a dancer.
    """

    values: Float[np.ndarray, "recordings evidence"]
    right: Bool[np.ndarray, " recordings"]
    groups: tuple[str, ...]

    @property
    def weights(self) -> Float[np.ndarray, " recordings"]:
        """Each group counts like three recordings at most."""
        sizes = {group: self.groups.count(group) for group in self.groups}
        return np.array([min(1.0, 3.0 / sizes[group]) for group in self.groups])


def gather_evidence(wild: Path | str, dances: Path | str, networks: Sequence[Path]) -> Evidence:
    """Measure real clips, songs of held-out dances, and sounds without a beat.

    Args:
        wild: Folder of real clips; those whose two references agree are used.
        dances: Folder of dances; the songs of ``val`` are used, in pieces.
        networks: Checkpoints trained with folds of the real clips held out.

    Raises:
        InputError: If a clip's group was held out by none of the networks.
    """
    rows: list[tuple[Float[np.ndarray, " evidence"], bool, str]] = []

    def add(
        sound: Waveform, beats: Float[np.ndarray, " beats"], group: str, net: BeatNetwork
    ) -> None:
        times, evidence = sound_evidence(sound, network=net)
        rows.append((evidence, beat_f(beats, times) >= RIGHT_F, group))

    clips = load_wild(wild)
    held_out = HeldOutNetworks(clips, networks)
    for clip in clips:
        sound = read_audio(clip.sound_path, SAMPLE_RATE)
        if clip.trusted and sound is not None:
            add(sound, clip.beat_times, clip.group, held_out.of(clip.group))
    network = held_out.of("")  # no network learned from these
    for dance in load_dances(dances, split="val"):
        sound = dance.music(SAMPLE_RATE)
        length = round(PIECE_S * SAMPLE_RATE)
        for first in range(0, sound.samples.shape[1] - length, 2 * length):
            start = first / SAMPLE_RATE
            inside = (dance.beat_times >= start) & (dance.beat_times < start + PIECE_S)
            piece = Waveform(sound.samples[:, first : first + length], SAMPLE_RATE)
            add(piece, dance.beat_times[inside] - start, dance.dance_id, network)
    for number in range(N_NOISES):
        rng = np.random.default_rng([number, 2])
        noise = make_noise(KINDS[number % len(KINDS)], PIECE_S, rng)
        add(noise, np.zeros(0), KINDS[number % len(KINDS)], network)
    values, right, groups = zip(*rows, strict=True)
    return Evidence(np.stack(values), np.array(right), groups)


def fit_certainty(evidence: Evidence) -> tuple[Float[np.ndarray, " evidence"], float]:
    """Weights and bias of a ridge logistic regression; weights are not negative."""
    x, y, w = evidence.values, evidence.right.astype(float), evidence.weights

    def loss(parameters: Float[np.ndarray, " parameters"]) -> float:
        odds = x @ parameters[:-1] + parameters[-1]
        entropy = np.logaddexp(0.0, odds) - y * odds
        return float((w * entropy).sum() / w.sum() + RIDGE * (parameters[:-1] ** 2).mean())

    n = x.shape[1]
    bounds = [(0.0, None)] * n + [(None, None)]
    found = minimize(loss, np.r_[np.ones(n), -2.0], bounds=bounds, method="L-BFGS-B")
    return found.x[:-1], float(found.x[-1])


def cross_validated(evidence: Evidence) -> Float[np.ndarray, " recordings"]:
    """The certainty of each recording as fitted without its group."""
    certainty = np.zeros(evidence.right.size)
    groups = np.array(evidence.groups)
    for group in sorted(set(evidence.groups)):
        inside = groups == group
        rest = Evidence(
            evidence.values[~inside], evidence.right[~inside], tuple(groups[~inside].tolist())
        )
        weights, bias = fit_certainty(rest)
        odds = evidence.values[inside] @ weights + bias
        certainty[inside] = np.where(
            evidence.values[inside].any(axis=1), 1.0 / (1.0 + np.exp(-odds)), 0.0
        )
    return certainty


def main(
    wild: Annotated[Path, typer.Argument(help="Folder of real clips with known beats.")],
    dances: Annotated[Path, typer.Argument(help="Directory of Tang et al.'s dances.")],
    networks: Annotated[
        list[Path], typer.Argument(help="Checkpoints trained with one fold each held out.")
    ],
) -> None:
    """Fit to all recordings; print the calibration, cross-validated by song and dancer."""
    evidence = gather_evidence(wild, dances, networks)
    weights, bias = fit_certainty(evidence)
    for name, weight in zip(EVIDENCE, weights, strict=True):
        typer.echo(f"{name:10s} {weight:.2f}")
    typer.echo(f"bias       {bias:.2f}")
    certainty = cross_validated(evidence)
    typer.echo("certainty  recordings  right")
    edges = np.array([0.0, 0.2, 0.4, 0.6, SURE, 0.9, 1.001])
    for low, high in itertools.pairwise(edges):
        inside = (certainty >= low) & (certainty < high)
        share = f"{evidence.right[inside].mean():.2f}" if inside.any() else "-"
        typer.echo(f"{low:.1f}-{min(high, 1):.1f}    {inside.sum():10d}  {share}")
    sure = certainty >= SURE
    typer.echo(f"sure       {sure.sum():10d}  {evidence.right[sure].mean():.2f}")


if __name__ == "__main__":
    typer.run(main)
