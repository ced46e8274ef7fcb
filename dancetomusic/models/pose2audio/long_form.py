"""Codes of any length: overlapping windows on one rhythm, each continuing the codes before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from dancetomusic.models.pose2audio.score_condition import ScoreRoll


def hop_seconds(window_s: int) -> int:
    """What is newly written in each window but the first; the rest is context."""
    return max(1, window_s // 2)


def generate_codes(
    generate: Callable[..., Tensor],
    rhythm: Float32[np.ndarray, "frames features"],
    memory: Float[Tensor, "1 memory channels"],
    memory_mask: Tensor,
    *,
    frame_rate: float,
    memory_rate: float,
    window_s: int,
    seed: int,
    score: ScoreRoll | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Int64[np.ndarray, "codebooks frames"]:
    """Write codes for every frame of ``rhythm``; the working memory does not grow with it.

    ``generate`` is ``TokenDecoder.generate`` or its like, with the sampling options bound; it
    writes ``window_s``, whole seconds, at once. Rhythm, memory and score are of the whole piece,
    and the same seed gives the same codes.
    """
    n_frames = rhythm.shape[0]
    source = torch.Generator().manual_seed(seed)
    done = np.zeros((0, 0), np.int64)
    start_s = 0
    while done.shape[1] < n_frames:
        start, end = (round(s * frame_rate) for s in (start_s, start_s + window_s))
        seen = slice(round(start_s * memory_rate), round((start_s + window_s) * memory_rate))
        prefix = torch.from_numpy(done[None, :, start:]) if done.size else None
        window = generate(
            torch.from_numpy(rhythm[None, start:end]),
            memory[:, seen],
            memory_mask[:, seen],
            prefix_codes=prefix,
            score=None if score is None else score.window(slice(start, end)),
            generator=source,
        )[0].numpy()
        fresh = window[:, done.shape[1] - start :] if done.size else window
        done = np.concatenate([done, fresh], axis=1) if done.size else fresh
        start_s += hop_seconds(window_s)
        if on_progress is not None:
            on_progress(done.shape[1] / n_frames)
    return done
