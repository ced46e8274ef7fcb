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
    all that follows later; it is bridged by the sound one ``period`` before, as lost packets are
    in telephony.

    Args:
        sample_rate: In Hz.
        latency_s: From a pull until its first sample is played back.

    References:
        ITU-T G.711 Appendix I, "A high quality low-complexity algorithm for packet loss
        concealment", 1999.
    """

    JUMP_S = 0.05
    DRIFT = 0.02
    KEPT_S = 8.0
    """Sound played last that a gap can be bridged with: a bar of four at 30 BPM."""

    JOIN_S = 0.004
    """Over which the step at a seam is spread."""

    def __init__(self, sample_rate: int, latency_s: float) -> None:
        self.changed = Condition()
        self._rate = sample_rate
        self._latency_s = latency_s
        self._blocks: deque[np.ndarray] = deque()
        self._head = 0  # samples of the first block that are gone
        self._pushed = 0
        self.pulled = 0
        """Samples played so far."""
        self._origin_s: float | None = None  # when sample 0 was played back, or would have been
        self._played = np.zeros(round(self.KEPT_S * sample_rate), np.float32)  # a ring
        self._heard = 0  # samples that were written into it
        self._bridging = False
        self.underruns = 0
        self.bridged_s = 0.0
        self.period = 0
        """Samples after which the music repeats, such as a bar; 0 bridges gaps with silence."""

    @property
    def waiting(self) -> int:
        """Samples that were pushed and not pulled."""
        return self._pushed - self.pulled

    @property
    def started(self) -> bool:
        """Whether anything was ever pulled."""
        return self._origin_s is not None

    def playback_time(self, sample: int, now_s: float) -> float:
        """Clock time at which a sample is played back, also of one not yet composed."""
        origin = self._origin_s
        if origin is None:
            origin = now_s + self._latency_s - self.pulled / self._rate
        return origin + sample / self._rate

    def push(self, samples: Float32[np.ndarray, " samples"]) -> None:
        """Add sound at the end."""
        with self.changed:
            self._blocks.append(samples)
            self._pushed += samples.size

    def pull(self, n_samples: int, now_s: float) -> Float32[np.ndarray, " n_samples"]:
        """Take sound from the front; what is missing is bridged and counts as one under-run."""
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
            if filled and self._bridging:
                self._bridging = False
                self._join(taken[:filled])
            self._keep(taken[:filled])
            self._keep_time(now_s)
            self.pulled += filled
            if filled < n_samples and self._pushed:
                self.underruns += 1
                self._bridge(taken[filled:])
                assert self._origin_s is not None
                self._origin_s += (n_samples - filled) / self._rate  # all that follows is later
            self.changed.notify_all()
        return taken

    def _bridge(self, gap: Float32[np.ndarray, " missing"]) -> None:
        """Fill a gap with what was played one period before, itself a bridge or not."""
        if not 0 < self.period <= min(self._heard, self._played.size):
            return
        before = self._heard - self.period + np.arange(gap.size) % self.period
        gap[:] = self._played[before % self._played.size]
        if not self._bridging:
            self._bridging = True
            self._join(gap)
        self._keep(gap)
        self.bridged_s += gap.size / self._rate

    def _join(self, sound: Float32[np.ndarray, " samples"]) -> None:
        """Let sound begin where the last sample was, and come to its own within ``JOIN_S``."""
        n = min(sound.size, round(self.JOIN_S * self._rate))
        step = self._played[(self._heard - 1) % self._played.size] - sound[0]
        sound[:n] += step * np.linspace(1.0, 0.0, n, endpoint=False, dtype=np.float32)

    def _keep(self, sound: Float32[np.ndarray, " samples"]) -> None:
        kept = sound[-self._played.size :]
        first = self._heard + sound.size - kept.size
        self._played[(first + np.arange(kept.size)) % self._played.size] = kept
        self._heard += sound.size

    def _keep_time(self, now_s: float) -> None:
        origin = now_s + self._latency_s - self.pulled / self._rate
        if self._origin_s is None or abs(origin - self._origin_s) > self.JUMP_S:
            self._origin_s = origin
        else:
            self._origin_s += self.DRIFT * (origin - self._origin_s)
