"""Causal beat tracking: a beat grid that at each frame depends on the past alone.

A bank of damped resonators, one for every tempo, turns with the predicted beat phase (Scheirer,
"Tempo and beat analysis of acoustic musical signals", 1998). The tempo that best explains the
last half minute leads, and another takes over only when it explains clearly more. The beat is
pulled to the phase of the last second at that tempo, held by the phase of the last half minute:
a stretch without evidence keeps the beat.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from dancetomusic.rhythm.beats import MAX_BPM, MIN_BPM, log_tempo_prior

BANK_BPM = np.geomspace(MIN_BPM, MAX_BPM, 901)
EVIDENCE_PER_S = 8.0
TEMPO_MEMORY_S = 30.0
PHASE_MEMORY_S = 1.0
HELD_BY_PAST = 0.3
SETTLING_S = 6.0
SWITCH_MARGIN = 0.5
NEIGHBOURS = 9
PULL_S = 0.05
SHORTEST_BEAT = 0.5


class GridTracker:
    """Tracks the beat frame by frame.

    Args:
        frame_rate: Frames a second of the phases to come, in Hz.
        bpm: Tempo to keep; only the phase is then tracked.

    Attributes:
        beat_times: Beats so far, in seconds from the first frame.
        confidence: Of each of them, in [0, 1]: how well the last seconds agree with the grid.

    Example:
        >>> tracker = GridTracker(75.0)
        >>> turns = 2 * np.pi * 2.0 * np.arange(750) / 75
        >>> beats = tracker.push(np.stack([np.cos(turns), np.sin(turns)], 1).astype(np.float32))
        >>> round(tracker.bpm)
        120
    """

    def __init__(self, frame_rate: float, bpm: float | None = None) -> None:
        self.frame_rate = frame_rate
        self.beat_times: list[float] = []
        self.confidence: list[float] = []
        self._bank_bpm = BANK_BPM if bpm is None else np.array([bpm])
        self._beats_per_frame = self._bank_bpm / 60.0 / frame_rate
        keep = np.exp(-1.0 / (np.array([[PHASE_MEMORY_S], [TEMPO_MEMORY_S]]) * frame_rate))
        self._keep = float(keep[1, 0])
        self._turn = keep * np.exp(2j * np.pi * self._beats_per_frame)
        self._bank = np.zeros(self._turn.shape, complex)
        self._weight = 0.0
        self._log_prior = log_tempo_prior(self._bank_bpm)
        self._lead = int(self._log_prior.argmax())
        self._cycles = 0.0
        self._frame = 0
        self._last_beat = -np.inf

    @property
    def bpm(self) -> float:
        """Tempo that leads now, in beats a minute."""
        return float(self._bank_bpm[self._lead])

    @property
    def position(self) -> float:
        """Beats so far, and the part of the next that has gone."""
        return len(self.beat_times) + self._cycles

    @property
    def agreement(self) -> float:
        """How well the last half minute agrees with the tempo that leads, in [0, 1]."""
        return float(np.clip(abs(self._bank[1, self._lead]) / max(self._weight, 1.0), 0.0, 1.0))

    def weigh_tempi(self, logits: Float32[np.ndarray, " tempi"]) -> None:
        """Take new log-odds of ``rhythm.beats.TEMPI_BPM``, estimated from the past."""
        self._log_prior = log_tempo_prior(self._bank_bpm, logits)

    def push(
        self,
        phase: Float32[np.ndarray, "frames 2"],
        weights: Float32[np.ndarray, " frames"] | None = None,
    ) -> list[float]:
        """Take the next frames.

        The phase is shorter where unsure; ``weights`` is the trust in each frame in [0, 1], such as
        0 where no dancer is seen.

        Returns:
            Times of the beats that fell into these frames, in seconds.
        """
        trust = np.ones(phase.shape[0]) if weights is None else weights.astype(float)
        vectors = (phase[:, 0].astype(float) + 1j * phase[:, 1]) * trust
        n_before = len(self.beat_times)
        for vector, weight in zip(vectors, trust, strict=True):
            self._bank = self._bank * self._turn + vector
            self._weight = self._weight * self._keep + weight
            self._choose_tempo()
            self._advance()
            self._frame += 1
        return self.beat_times[n_before:]

    def _choose_tempo(self) -> None:
        scores = EVIDENCE_PER_S * np.abs(self._bank[1]) / self.frame_rate + self._log_prior
        best = int(scores.argmax())
        settled = self._frame > SETTLING_S * self.frame_rate
        margin = SWITCH_MARGIN if settled and abs(best - self._lead) > NEIGHBOURS else 0.0
        if scores[best] > scores[self._lead] + margin:
            self._lead = best

    def _advance(self) -> None:
        recent, past = self._bank[:, self._lead]
        leader, step = recent + HELD_BY_PAST * past, self._beats_per_frame[self._lead]
        self._cycles += step
        if abs(leader) > 1e-6:
            ahead = np.angle(leader) / (2 * np.pi) - self._cycles
            error = (ahead + 0.5) % 1.0 - 0.5
            pull = min(1.0, 1.0 / (PULL_S * self.frame_rate) + 1.0 / (1.0 + self._frame))
            self._cycles += max(pull * error, -step)
        passed = np.floor(self._cycles + 1e-9)
        if passed < 1.0:
            return
        self._cycles -= passed
        beat = self._frame - self._cycles / step
        if beat - self._last_beat < SHORTEST_BEAT / step:
            return
        self._last_beat = beat
        self.beat_times.append(max(0.0, beat / self.frame_rate))
        self.confidence.append(float(np.clip(abs(past) / max(self._weight, 1.0), 0.0, 1.0)))
