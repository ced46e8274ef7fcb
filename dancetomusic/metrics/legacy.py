"""Scores that papers report and that do not separate music from noise: for comparison only.

Coverage and hit scores count seconds with an onset; beat alignment and motion-beat coverage reward
whatever has many onsets. Baselines reach their top.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dancetomusic.metrics.beats import Times
from dancetomusic.metrics.calibration import beats_right
from dancetomusic.types import Waveform

CLIP_S = 5.0
"""Length of the clips that coverage and hit scores are taken over."""

ALIGNMENT_SIGMA_S = 3 / 60


@dataclass(frozen=True)
class CoverageScores:
    """Beats coverage and beats hit scores; means over clips and their spread.

    Attributes:
        bcs_d2m: Seconds with an onset in the generated over those in the true music, ≥ 0.
        bhs_d2m: Seconds with an onset in both over those in the true music, in [0, 1].
        bcs_loris: Seconds with an onset in both over those in the generated music, in [0, 1].
        bhs_loris: The same as ``bhs_d2m``.
        csd: Standard deviation of ``bcs_loris`` over clips.
        hsd: Standard deviation of ``bhs_loris`` over clips.
    """

    bcs_d2m: float
    bhs_d2m: float
    bcs_loris: float
    bhs_loris: float
    csd: float
    hsd: float


def onset_seconds(waveform: Waveform) -> Float[np.ndarray, " seconds"]:
    """1 for each second of a sound in which librosa finds an onset, else 0.

    At 22 050 Hz with the peak picking that the papers' programs use.
    """
    import librosa

    from dancetomusic.io.audio import resample

    mono = resample(waveform.to_mono(), 22_050).samples[0]
    onsets = np.zeros(int(np.ceil(waveform.duration_s)))
    if mono.any():
        times = librosa.onset.onset_detect(
            y=mono, sr=22_050, wait=1, delta=0.2, pre_avg=1, post_avg=1, post_max=1, units="time"
        )
        onsets[np.minimum(times.astype(int), onsets.size - 1)] = 1.0
    return onsets


def coverage_scores(
    true: Float[np.ndarray, " _seconds"], generated: Float[np.ndarray, " _others"]
) -> CoverageScores:
    """Both papers' scores over clips of 5 s, each second having an onset (1) or not.

    NaN without a clip in which the true music has an onset.

    References:
        Zhu et al., "Quantized GAN for complex music generation from dance videos" (D2M-GAN),
        2022; Zhu et al., "Discrete contrastive diffusion for cross-modal music and image
        generation" (CDCD), 2023; Yu et al., "Long-term rhythmic video soundtracker" (LORIS),
        2023, which keeps the names and divides coverage by the generated beats.
    """
    rows = []
    size = min(true.size, generated.size)
    true, generated = true[:size], generated[:size]
    for start in range(0, size, int(CLIP_S)):
        clip = slice(start, start + int(CLIP_S))
        wanted, got = true[clip].sum(), generated[clip].sum()
        both = (true[clip] * generated[clip]).sum()
        if wanted:
            rows.append((got / wanted, both / wanted, both / got if got else 0.0))
    if not rows:
        return CoverageScores(*[float("nan")] * 6)
    coverage, hits, precision = np.array(rows).T
    return CoverageScores(
        bcs_d2m=float(coverage.mean()),
        bhs_d2m=float(hits.mean()),
        bcs_loris=float(precision.mean()),
        bhs_loris=float(hits.mean()),
        csd=float(precision.std()),
        hsd=float(hits.std()),
    )


def beat_alignment(motion_beats: Times, music_beats: Times) -> float:
    """Mean closeness of every motion beat to its nearest music beat, in [0, 1].

    A Gaussian of 50 ms; 0 when either is empty.

    References:
        Li et al., "AI choreographer: music conditioned 3D dance generation with AIST++", 2021.
    """
    if motion_beats.size == 0 or music_beats.size == 0:
        return 0.0
    apart = np.abs(motion_beats[:, None] - music_beats[None]).min(axis=1)
    return float(np.exp(-(apart**2) / (2 * ALIGNMENT_SIGMA_S**2)).mean())


def motion_beat_coverage(motion_beats: Times, music_beats: Times) -> float:
    """Share of motion beats with a music beat within 70 ms, in [0, 1]; 0 when either is empty."""
    hits = beats_right(music_beats, motion_beats)
    return float(hits.mean()) if hits.size else 0.0
