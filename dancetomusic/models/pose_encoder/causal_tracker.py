"""Beats of a dance as it goes on, each decided from what was danced before it.

What plays along and what is scored as causal are this one class.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32

from dancetomusic.models.pose_encoder.network import STRIDE, PoseEncoder, encode_poses
from dancetomusic.models.pose_encoder.tempo import rhythm_signals
from dancetomusic.rhythm.follow import GridFollower
from dancetomusic.types import POSE_FPS, PoseSequence

TEMPO_EVERY_S, TEMPO_FROM_S, TEMPO_SPAN_S = 1.0, 2.0, 30.0
"""How often a tempo is read from how movement repeats, from when on, and how far back."""


class CausalBeatTracker:
    """Follows the beat of a dance step by step.

    A step is some poses and then what a causal encoder says of them; once a second the encoder's
    tempo head reads the tempo from the poses of the last half minute.

    Args:
        encoder: Causal, in evaluation mode.
    """

    def __init__(self, encoder: PoseEncoder) -> None:
        self._encoder = encoder
        self._follower = GridFollower(encoder.config.frame_rate)
        kept = round(TEMPO_SPAN_S * POSE_FPS)
        self._world: deque[np.ndarray] = deque(maxlen=kept)
        self._present: deque[bool] = deque(maxlen=kept)
        self._poses = 0

    @property
    def beat_times(self) -> list[float]:
        """Beats so far, in seconds from the first frame."""
        return self._follower.beat_times

    @property
    def confidence(self) -> list[float]:
        """Of each beat so far, in [0, 1]."""
        return self._follower.confidence

    @property
    def bpm(self) -> float:
        """Tempo that leads now, in beats a minute."""
        return self._follower.bpm

    @property
    def position(self) -> float:
        """Beats so far, and the part of the next that has gone."""
        return self._follower.position

    @property
    def agreement(self) -> float:
        """How well the last half minute agrees with the tempo that leads, in [0, 1]."""
        return self._follower.agreement

    def push_poses(
        self, world: Float32[np.ndarray, "poses 33 3"], present: Bool[np.ndarray, " poses"]
    ) -> None:
        """Take the poses of a step, at 24 a second, before its phases."""
        self._world.extend(world)
        self._present.extend(present.tolist())
        before, self._poses = self._poses, self._poses + len(world)
        every = TEMPO_EVERY_S * POSE_FPS
        if self._poses // every == before // every or self._poses < TEMPO_FROM_S * POSE_FPS:
            return
        with torch.inference_mode():
            past = torch.from_numpy(np.stack(self._world))[None]
            there = torch.tensor(self._present)[None]
            logits = self._encoder.tempo(rhythm_signals(past, POSE_FPS), there, POSE_FPS)
        self._follower.weigh_tempi(logits[0].float().numpy())

    def push_phases(
        self, phase: Float32[np.ndarray, "frames 2"], weights: Float32[np.ndarray, " frames"]
    ) -> None:
        """Take the phases of a step, at the encoder's frame rate.

        Args:
            phase: Cosine and sine of the beat phase, shorter where unsure.
            weights: Trust in each frame in [0, 1]; 0 where no dancer is seen.
        """
        self._follower.push(np.ascontiguousarray(phase), weights)


def track_dance(
    encoder: PoseEncoder, poses: PoseSequence
) -> tuple[Float[np.ndarray, " beats"], Float[np.ndarray, " beats"]]:
    """Beats of a whole dance as they would be known while it goes on, and their confidence.

    Args:
        encoder: Causal, in evaluation mode.
        poses: One dancer at 24 frames a second.

    Raises:
        PoseError: If the poses are empty or at another frame rate.
    """
    rate = encoder.config.frame_rate
    with torch.inference_mode():
        phase = encode_poses(encoder, poses).phase[0].float().numpy()
    tracker = CausalBeatTracker(encoder)
    for first in range(0, len(poses), STRIDE):
        step = slice(first, first + STRIDE)
        present = poses.present[step]
        tracker.push_poses(poses.world[step], present)
        begin, end = (
            min(phase.shape[0], int(np.ceil(at / POSE_FPS * rate - 1e-5)))
            for at in (first, first + STRIDE)
        )
        weights = np.full(end - begin, float(present.any()), np.float32)
        tracker.push_phases(phase[begin:end], weights)
    return np.array(tracker.beat_times, np.float64), np.array(tracker.confidence, np.float64)
