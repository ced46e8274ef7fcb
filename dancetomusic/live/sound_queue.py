"""Sound between who composes and who plays: neither waits for the other."""

from __future__ import annotations

from collections import deque
from threading import Condition

import numpy as np
from jaxtyping import Float32


class SoundQueue:
    """Samples in order, and the clock time at which each is played back.

    The clock is read from the pulls: sound cards and sockets pull in bursts, so their mean rate
    counts, and a jump only where a pull is out by more than ``JUMP_S``. A gap in the sound makes
    all that follows later.

    Args:
        sample_rate: In Hz.
        latency_s: From a pull until its first sample is played back.
    """

    JUMP_S = 0.05
    DRIFT = 0.02

    def __init__(self, sample_rate: int, latency_s: float) -> None:
        self.changed = Condition()
        self._rate = sample_rate
        self._latency_s = latency_s
        self._blocks: deque[np.ndarray] = deque()
        self._head = 0  # samples of the first block that are gone
        self._pushed = self._pulled = 0
        self._origin_s: float | None = None  # when sample 0 was played back, or would have been
        self.underruns = 0

    @property
    def waiting(self) -> int:
        """Samples that were pushed and not pulled."""
        return self._pushed - self._pulled

    @property
    def pulled(self) -> int:
        """Samples played so far."""
        return self._pulled

    @property
    def started(self) -> bool:
        """Whether anything was ever pulled."""
        return self._origin_s is not None

    def playback_time(self, sample: int, now_s: float) -> float:
        """Clock time at which a sample is played back, also of one not yet composed."""
        origin = self._origin_s
        if origin is None:
            origin = now_s + self._latency_s - self._pulled / self._rate
        return origin + sample / self._rate

    def push(self, samples: Float32[np.ndarray, " samples"]) -> None:
        """Add sound at the end."""
        with self.changed:
            self._blocks.append(samples)
            self._pushed += samples.size

    def pull(self, n_samples: int, now_s: float) -> Float32[np.ndarray, " n_samples"]:
        """Take sound from the front; what is missing is silence and counts as one under-run."""
        taken = np.zeros(n_samples, np.float32)
        with self.changed:
            filled = 0
            while filled < n_samples and self._blocks:
                block = self._blocks[0]
                part = block[self._head : self._head + n_samples - filled]
                taken[filled : filled + part.size] = part
                filled += part.size
                self._head += part.size
                if self._head == block.size:
                    self._blocks.popleft()
                    self._head = 0
            self._keep_time(now_s)
            self._pulled += filled
            if filled < n_samples and self._pushed:
                self.underruns += 1
                assert self._origin_s is not None
                self._origin_s += (n_samples - filled) / self._rate  # all that follows is later
            self.changed.notify_all()
        return taken

    def _keep_time(self, now_s: float) -> None:
        origin = now_s + self._latency_s - self._pulled / self._rate
        if self._origin_s is None or abs(origin - self._origin_s) > self.JUMP_S:
            self._origin_s = origin
        else:
            self._origin_s += self.DRIFT * (origin - self._origin_s)
