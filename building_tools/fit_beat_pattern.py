"""Fit the pattern of ``dancetomusic.rhythm.onset_pattern.py`` and print it as its source.

Windows of music with known beats are scored at every tempo and phase, as tracking does, and the
pattern is moved so that the grids it prefers have a high F-measure. Its square counts, so that
half and double tempo, at two thirds, are not nearly good enough.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import Complex64, Float, Float32, Int

from dancetomusic.data.tang2018 import load_dances
from dancetomusic.io.audio import read_audio
from dancetomusic.metrics.beats import BEAT_TOLERANCE_S
from dancetomusic.rhythm.onset_pattern import (
    FRAME_RATE,
    STEPS_PER_BEAT,
    beat_rates,
    onset_bands,
    pattern_spectra,
    tempo_prior,
)
from dancetomusic.stems.base import Mix
from dancetomusic.stems.hpss import HpssSeparator
from dancetomusic.synthesis.corpus import CorpusConfig, load_or_render, waveform_of_piece
from dancetomusic.types import Waveform


@dataclass(frozen=True)
class Song:
    """Drums and bass with known beats.

    Attributes:
        waveform: The sound.
        beat_times: In seconds.
        beat_numbers: Position of each beat in its bar; empty where it is not known.
    """

    waveform: Waveform
    beat_times: Float[np.ndarray, " beats"]
    beat_numbers: Int[np.ndarray, " numbers"]


@dataclass(frozen=True)
class BeatPatternConfig:
    """How the pattern is fitted."""

    window_s: float = 5.0
    windows_per_min: float = 5.0
    steps: int = 600
    batch_size: int = 48
    learning_rate: float = 0.01
    weight_decay: float = 0.003
    seed: int = 0


def fit_beat_pattern(
    songs: Iterable[Song], config: BeatPatternConfig
) -> tuple[Float32[np.ndarray, "bands positions"], Float32[np.ndarray, " weights"]]:
    """Fit the pattern of two beats, and the log-odds of downbeats, to songs.

    Returns:
        What ``rhythm.onset_pattern`` has as ``PATTERN`` and ``DOWNBEAT``.
    """
    rng = np.random.default_rng(config.seed)
    rates = beat_rates(config.window_s)
    spectra, gains, at_beats, first = [], [], [], []
    for song in songs:
        onsets = onset_bands(song.waveform)
        seconds = onsets.shape[1] / FRAME_RATE
        if song.beat_numbers.size:
            at_beats.append(onsets_at(onsets, song.beat_times))
            first.append(song.beat_numbers == 1)
        n_windows = max(1, round(config.windows_per_min * seconds / 60))
        length = round(config.window_s * FRAME_RATE)
        for start in rng.integers(0, max(1, onsets.shape[1] - length), n_windows):
            window = onsets[:, start : start + length]
            beats = song.beat_times - (start + length // 2) / FRAME_RATE
            beats = beats[np.abs(beats) < config.window_s / 2]
            if beats.size >= 3 and window.shape[1] == length:
                spectra.append(pattern_spectra(window, rates))
                gains.append(grid_f(beats, rates, config.window_s) ** 2)
    pattern = _fit_pattern(np.stack(spectra), np.stack(gains), rates, config)
    return pattern, _fit_downbeat(np.concatenate(at_beats, axis=1), np.concatenate(first))


def grid_f(
    beat_times: Float[np.ndarray, " beats"], rates: Float[np.ndarray, " tempi"], window_s: float
) -> Float32[np.ndarray, "tempi phases"]:
    """F-measure at ±70 ms of steady beats at every tempo and phase, in a window around 0 s.

    Phase ``p`` has a beat ``p`` sixteenths of a beat after 0 s.
    """
    half = window_s / 2
    reach = int(np.ceil(half * rates.max())) + 1
    beats = np.arange(-reach, reach + 1) + np.arange(STEPS_PER_BEAT)[:, None] / STEPS_PER_BEAT
    times = beats[None] / rates[:, None, None]
    inside = np.abs(times) < half
    grid = np.arange(-half, half, 0.001)
    near = np.abs(grid[:, None] - beat_times).min(axis=1) <= BEAT_TOLERANCE_S
    at = np.clip(((times + half) * 1000).astype(int), 0, grid.size - 1)
    hits = (near[at] & inside).sum(axis=2)
    return (2 * hits / (inside.sum(axis=2) + beat_times.size)).astype(np.float32)


def _fit_pattern(
    spectra: Complex64[np.ndarray, "windows bands tempi harmonics"],
    gains: Float32[np.ndarray, "windows tempi phases"],
    rates: Float[np.ndarray, " tempi"],
    config: BeatPatternConfig,
) -> Float32[np.ndarray, "bands positions"]:
    """Maximise the expected gain of a grid sampled by its score: Σ softmax(scores) · gains."""
    n_positions = 2 * STEPS_PER_BEAT
    start = np.tile(np.cos(2 * np.pi * np.arange(n_positions) / STEPS_PER_BEAT), (4, 1))
    pattern = torch.tensor(0.1 * start, dtype=torch.float32, requires_grad=True)
    k = torch.arange(1, STEPS_PER_BEAT + 1)
    angles = 2 * torch.pi * k[:, None] * torch.arange(n_positions) / n_positions
    phases = torch.polar(torch.ones_like(angles), angles)
    prior = torch.from_numpy(tempo_prior(rates))[:, None]
    optimizer = torch.optim.Adam([pattern], lr=config.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    generator = torch.Generator().manual_seed(config.seed)
    for _ in range(config.steps):
        chosen = torch.randint(len(spectra), (config.batch_size,), generator=generator).numpy()
        # Score of each tempo and phase: correlation of the pattern with the onsets, by Fourier
        # series, plus the log prior of the tempo.
        coefficients = torch.fft.rfft(pattern).conj()[:, 1:] * (2 / n_positions)
        windows = torch.from_numpy(spectra[chosen])
        scores = (torch.einsum("wbfk,bk->wfk", windows, coefficients) @ phases).real + prior
        shares = scores.flatten(1).softmax(1)
        gain = (shares * torch.from_numpy(np.tile(gains[chosen], 2)).flatten(1)).sum(1).mean()
        optimizer.zero_grad()
        (config.weight_decay * (pattern**2).sum() - gain).backward()
        optimizer.step()
        schedule.step()
    return (pattern - pattern.mean(dim=1, keepdim=True)).detach().numpy()


def onsets_at(
    onsets: Float32[np.ndarray, "bands frames"], times: Float[np.ndarray, " beats"]
) -> Float32[np.ndarray, "bands beats"]:
    """The strongest onset in each band within 40 ms of each beat."""
    frames = np.rint(times * FRAME_RATE).astype(int)[:, None] + np.arange(-4, 5)
    return onsets[:, np.clip(frames, 0, onsets.shape[1] - 1)].max(axis=2)


def _fit_downbeat(
    onsets: Float32[np.ndarray, "bands beats"], first: np.ndarray
) -> Float32[np.ndarray, " weights"]:
    """Logistic regression by Newton's method; a weight a band, then the constant."""
    inputs = np.vstack([onsets, np.ones(onsets.shape[1])]).T.astype(float)
    weights = np.zeros(inputs.shape[1])
    for _ in range(20):
        expected = 1.0 / (1.0 + np.exp(-inputs @ weights))
        curvature = (inputs.T * (expected * (1 - expected))) @ inputs
        weights += np.linalg.solve(curvature, inputs.T @ (first - expected))
    return weights.astype(np.float32)


def main(
    grooves: Annotated[Path, typer.Argument(help="Directory of the Groove MIDI Dataset.")],
    dances: Annotated[Path, typer.Argument(help="Directory of Tang et al.'s dances.")],
    cache: Annotated[Path, typer.Argument(help="Directory that keeps the rendered music.")],
    pieces: Annotated[int, typer.Option("--pieces", min=1)] = 480,
    seed: Annotated[int, typer.Option("--seed")] = 1,
) -> None:
    """Fit to rendered grooves and to the training dances' music."""
    corpus = load_or_render(CorpusConfig(n_pieces=pieces, seed=seed), grooves, cache)
    songs = [
        Song(waveform_of_piece(corpus, number), times, numbers)
        for number, (times, numbers) in enumerate(
            zip(corpus.beat_times, corpus.beat_numbers, strict=True)
        )
    ]
    separator = HpssSeparator()
    for dance in load_dances(dances, split="train"):
        mix = read_audio(dance.audio_path)
        if mix is not None:
            count = np.arange(dance.beat_times.size if dance.downbeat_known else 0)
            numbers = count % dance.beats_per_bar + 1
            stem = separator.drum_and_bass([Mix("dance", mix)])[0]
            songs += 3 * [Song(stem, dance.beat_times, numbers)]  # real music is scarce
    pattern, downbeat = fit_beat_pattern(songs, BeatPatternConfig())
    for band in np.rint(100 * pattern).astype(int):
        typer.echo("    " + " ".join(f"{value:d}" for value in band))
    typer.echo(" ".join(f"{value:.2f}" for value in downbeat))


if __name__ == "__main__":
    typer.run(main)
