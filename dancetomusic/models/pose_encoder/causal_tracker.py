"""Beats of a dance while it is danced, each estimated from what came before it.

What live plays and what is scored as causal are this one class.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32

from dancetomusic.models.live import BeatEstimate
from dancetomusic.models.pose_encoder.network import STRIDE, PoseEncoder, encode_poses
from dancetomusic.models.pose_encoder.tempo import rhythm_signals
from dancetomusic.rhythm.beats import BAR_LENGTHS
from dancetomusic.rhythm.tracker import GridTracker
from dancetomusic.types import POSE_FPS, PoseSequence

TEMPO_EVERY_S, TEMPO_FROM_S, TEMPO_SPAN_S = 1.0, 2.0, 30.0
"""How often the tempo is estimated from how movement repeats, from when on, and how far back."""

BAR_MEMORY_BEATS = 32.0
BAR_MARGIN = 2.0
"""Nats by which another position of the downbeat has to be likelier to be taken up."""

DOWNBEAT_REACH_S = 0.04


class CausalBeatTracker:
    """Tracks beat, tempo and bars of a dance step by step.

    A step is some poses and then what a causal encoder estimates from them; once a second the
    encoder's tempo head estimates the tempo from the poses of the last half minute.

    Attributes:
        grid: Beats so far and their confidence; times from the first frame.

    The encoder is causal; ``begin_s`` is the time of the first pose, on the clock of ``estimate``.
    """

    def __init__(
        self, encoder: PoseEncoder, begin_s: float = 0.0, bpm: float | None = None
    ) -> None:
        self._encoder = encoder
        self._rate = encoder.config.frame_rate
        self._begin_s = begin_s
        self.grid = GridTracker(self._rate, bpm)
        kept = round(TEMPO_SPAN_S * POSE_FPS)
        self._world: deque[np.ndarray] = deque(maxlen=kept)
        self._present: deque[bool] = deque(maxlen=kept)
        self._poses = self._frames = 0
        self._downbeats: deque[float] = deque(maxlen=round(self._rate))
        self._judged = 0
        self._bars = {bar: np.zeros(bar) for bar in BAR_LENGTHS}
        self._bar, self._offset = BAR_LENGTHS[0], 0

    def push_poses(
        self, world: Float32[np.ndarray, "poses 33 3"], present: Bool[np.ndarray, " poses"]
    ) -> None:
        """Take the poses of a step, at 24 a second, before what is estimated from them."""
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
        self.grid.weigh_tempi(logits[0].float().numpy())

    def push(
        self,
        phase: Float32[np.ndarray, "frames 2"],
        downbeat_logits: Float32[np.ndarray, " frames"],
        trust: float,
    ) -> None:
        """Take the estimates of a step, at the encoder's frame rate.

        The phase is shorter where unsure; ``trust`` is in [0, 1], and 0 where no dancer is seen.
        """
        weights = np.full(len(phase), trust, np.float32)
        self.grid.push(np.ascontiguousarray(phase), weights)
        self._frames += len(phase)
        self._downbeats.extend((downbeat_logits * trust).tolist())
        self._judge_bars()

    def pause(self, seconds: float) -> None:
        """Let time pass in which nothing was seen."""
        frames = round(seconds * self._rate)
        self.push(np.zeros((frames, 2), np.float32), np.zeros(frames, np.float32), 0.0)
        self._begin_s += seconds - frames / self._rate

    def estimate(self) -> BeatEstimate:
        """Where the dance is at the end of the last step."""
        return BeatEstimate(
            time_s=self._begin_s + self._frames / self._rate,
            position=float(self.grid.position),
            bpm=self.grid.bpm,
            confidence=self.grid.agreement,
            beats_per_bar=self._bar,
            first_downbeat=self._offset,
        )

    def _judge_bars(self) -> None:
        """Score every bar length and offset by the log-odds of downbeats at its beats.

        The score is the log-likelihood of "downbeat" at the beats that begin a bar and "no
        downbeat" at the others, forgotten over ``BAR_MEMORY_BEATS``.
        """
        reach = round(DOWNBEAT_REACH_S * self._rate)
        while self._judged < len(self.grid.beat_times):
            frame = round(self.grid.beat_times[self._judged] * self._rate)
            ago = self._frames - frame
            if ago <= reach:
                return
            self._judged += 1
            if ago + reach > len(self._downbeats):
                continue
            end = len(self._downbeats) - ago
            odds = max(list(self._downbeats)[max(0, end - reach) : end + reach + 1])
            for bar, scores in self._bars.items():
                signed = np.where(np.arange(bar) == self._judged % bar, odds, -odds)
                scores *= np.exp(-1.0 / BAR_MEMORY_BEATS)
                scores -= np.logaddexp(0.0, -signed)
            self._choose_bar()

    def _choose_bar(self) -> None:
        best = {bar: int(scores.argmax()) for bar, scores in self._bars.items()}
        bar = max(best, key=lambda length: float(self._bars[length][best[length]]))
        gain = self._bars[bar][best[bar]] - self._bars[self._bar][self._offset]
        if gain > BAR_MARGIN:
            self._bar, self._offset = bar, best[bar]


def track_dance(
    encoder: PoseEncoder, poses: PoseSequence
) -> tuple[Float[np.ndarray, " beats"], Float[np.ndarray, " beats"]]:
    """Beats of a whole dance as they would be known while it is danced, and their confidence.

    The encoder is causal; poses are of one dancer at 24 frames a second.

    Raises:
        PoseError: If the poses are empty or at another frame rate.
    """
    rate = encoder.config.frame_rate
    encoding = encode_poses(encoder, poses)
    phase, downbeats = (
        values[0].float().numpy() for values in (encoding.phase, encoding.downbeat_logits)
    )
    tracker = CausalBeatTracker(encoder)
    for first in range(0, len(poses), STRIDE):
        step = slice(first, first + STRIDE)
        present = poses.present[step]
        tracker.push_poses(poses.world[step], present)
        begin, end = (
            min(phase.shape[0], int(np.ceil(at / POSE_FPS * rate - 1e-5)))
            for at in (first, first + STRIDE)
        )
        tracker.push(phase[begin:end], downbeats[begin:end], float(present.any()))
    grid = tracker.grid
    return np.array(grid.beat_times, np.float64), np.array(grid.confidence, np.float64)
