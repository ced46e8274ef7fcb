"""Tempo of dances in any style, from how often movement comes back.

The tempo head of the pose encoder knows the dances it was trained on. In others, read from video,
what is left is plain repetition: the mean autocorrelation of all body signals, at lags spaced in
octaves. One template, moved along the octaves, says how like a beat every tempo is: what counts is
how movement returns after one, two, four and eight beats. It has 41 numbers and is fitted by
``building_tools/fit_movement_tempo.py`` to real videos, street dance, ballroom and procedural
dances together.

References:
    Grosche, Müller and Kurth, "Cyclic tempogram", 2010.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from dancetomusic.models.pose_encoder.tempo import known_frames, rhythm_signals
from dancetomusic.pose.hits import SMOOTHING_FRAMES
from dancetomusic.rhythm.beats import TEMPI_BPM, TEMPI_PER_OCTAVE
from dancetomusic.types import PoseSequence

DETREND_S = 1.0
"""Standard deviation, in seconds, of the slow course that is taken off each signal."""

DANCE_BPM, DANCE_OCTAVES = 118.0, 0.6
"""Log-normal prior of the tempi that people dance to: its middle and its standard deviation."""

LONGEST_BEATS, SHORTEST_BEATS = 8.0, 0.25
"""Lags that the template weighs, in beats."""

KNOTS_PER_OCTAVE = 8
TEMPLATE = np.array(
    [
        *(1.31, -0.43, -0.35, 0.58, 0.06, -0.82, -1.18, -0.72),
        *(0.78, -1.15, -1.67, -0.59, -0.91, -1.78, -1.94, -1.11),
        *(0.03, -0.86, -2.00, -2.39, -2.46, -2.11, -1.24, -0.26),
        *(0.23, 0.06, -0.61, -1.26, -1.49, -1.26, -0.78, -0.33),
        *(-0.08, -0.05, -0.19, -0.45, -0.64, -0.55, -0.30, 0.05),
        0.34,
    ]
)
"""Nats per unit of autocorrelation, at lags from 8 beats down to 1/4 beat, eight an octave: one row
for each octave. Printed by ``python building_tools/fit_movement_tempo.py WILD STREET TANG2018``."""

FULL_EVIDENCE_S = 5.0
"""Length from which repetition counts in full against the prior of tempo; less in shorter dances,
where hardly a beat repeats."""

_UP = round(np.log2(LONGEST_BEATS) * TEMPI_PER_OCTAVE)
_DOWN = round(-np.log2(SHORTEST_BEATS) * TEMPI_PER_OCTAVE)
N_TAPS = _UP + _DOWN + 1
LAGS_S = (
    60.0 / TEMPI_BPM[0] * 2.0 ** ((_UP - np.arange(TEMPI_BPM.size + N_TAPS - 1)) / TEMPI_PER_OCTAVE)
)
"""Lags at which movement is compared with itself, in seconds, longest first."""

_LEAST_OVERLAP_S = 0.75


def body_signals(poses: PoseSequence) -> Float[np.ndarray, "frames signals"]:
    """``models.tempo.rhythm_signals`` of smoothed joints."""
    world = gaussian_filter1d(poses.world, SMOOTHING_FRAMES, axis=0)
    signals = rhythm_signals(torch.from_numpy(world)[None], poses.fps)
    return signals[0].numpy().astype(np.float64)


def detrend(
    signals: Float[np.ndarray, "frames signals"], known: Float[np.ndarray, " frames"], fps: float
) -> Float[np.ndarray, "frames signals"]:
    """Signals without their slow course, 0 where they are not known."""
    sigma = DETREND_S * fps
    share = np.maximum(gaussian_filter1d(known, sigma, mode="constant"), 1e-3)
    slow = gaussian_filter1d(signals * known[:, None], sigma, axis=0, mode="constant")
    return (signals - slow / share[:, None]) * known[:, None]


def repetition(dancers: Sequence[PoseSequence]) -> Float[np.ndarray, " lags"]:
    """How alike movement is to itself after each of ``LAGS_S``, in [-1, 1].

    Mean autocorrelation over all signals of a dancer, and over dancers by how long each is seen.
    Lags at which less than 0.75 s of movement overlaps are 0.
    """
    total, weight = np.zeros(LAGS_S.size), 0.0
    for poses in dancers:
        total += poses.present_share * _repetition(poses)
        weight += poses.present_share
    return total / max(weight, 1e-9)


def dance_logits(
    dancers: Sequence[PoseSequence], template: Float[np.ndarray, " knots"] | None = None
) -> Float[np.ndarray, " tempi"]:
    """Log-odds of ``rhythm.beats.TEMPI_BPM`` from the movement of dancers of one length."""
    evidence = min(1.0, dancers[0].duration_s / FULL_EVIDENCE_S)
    return template_logits(repetition(dancers), template) * evidence


def template_logits(
    likeness: Float[np.ndarray, " lags"], template: Float[np.ndarray, " knots"] | None = None
) -> Float[np.ndarray, " tempi"]:
    """Log-odds of ``rhythm.beats.TEMPI_BPM`` from what :func:`repetition` gives."""
    weights = template_taps() @ (TEMPLATE if template is None else template)
    scores: Float[np.ndarray, " tempi"] = (
        np.lib.stride_tricks.sliding_window_view(likeness, N_TAPS) @ weights
    )
    return scores


def template_taps() -> Float[np.ndarray, "taps knots"]:
    """Matrix that joins the knots of a template linearly, one row for each lag it weighs."""
    at = np.arange(N_TAPS) * KNOTS_PER_OCTAVE / TEMPI_PER_OCTAVE
    n_knots = round(at[-1]) + 1
    return np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(n_knots)))


def dance_prior(bpm: Float[np.ndarray, " candidates"]) -> Float[np.ndarray, " candidates"]:
    """Log-normal prior of the tempi that people dance to, in nats up to a constant."""
    prior: Float[np.ndarray, " candidates"] = -0.5 * (np.log2(bpm / DANCE_BPM) / DANCE_OCTAVES) ** 2
    return prior


def tempo_posterior(
    logits: Float[np.ndarray, " tempi"], bpm: Float[np.ndarray, " candidates"]
) -> Float[np.ndarray, " candidates"]:
    """Log-probability of each of ``bpm`` among them, from template and prior."""
    said = np.interp(np.log2(bpm), np.log2(TEMPI_BPM), logits)
    scores = said + dance_prior(bpm)
    posterior: Float[np.ndarray, " candidates"] = scores - np.logaddexp.reduce(scores)
    return posterior


def _repetition(poses: PoseSequence) -> Float[np.ndarray, " lags"]:
    n_frames = len(poses)
    known = known_frames(torch.from_numpy(poses.present)[None])[0].numpy().astype(np.float64)
    count = max(float(known.sum()), 1.0)
    signals = detrend(body_signals(poses), known, poses.fps)
    # Autocorrelation by the Wiener-Khinchin theorem, each lag over the frames that overlap there,
    # in parts of the variance.
    size = 1 << (2 * n_frames).bit_length()
    products = np.fft.irfft(np.abs(np.fft.rfft(signals, size, axis=0)) ** 2, axis=0)[:n_frames]
    overlap = np.fft.irfft(np.abs(np.fft.rfft(known, size)) ** 2)[:n_frames]
    variance = np.maximum(products[0] / count, 1e-6)
    likeness = (products / variance).mean(axis=1) / np.maximum(overlap, 1.0)
    likeness[overlap < _LEAST_OVERLAP_S * poses.fps] = 0.0
    return np.interp(LAGS_S * poses.fps, np.arange(n_frames), likeness, right=0.0)
