"""What a live engine says of itself: where it is in the music, and how late it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from threading import Lock
from typing import Any

import numpy as np
from jaxtyping import Float32

KEPT = 4096
"""Newest measurements of a stage that its percentiles are of."""


@dataclass(frozen=True)
class Percentiles:
    """How long something takes, in milliseconds; NaN before the first measurement."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    count: int


@dataclass(frozen=True)
class LiveStatus:
    """One look at a running engine.

    Attributes:
        beat_phase: Phase between the beats of the sound that is played back now, in [0, 1).
        energy: Strength of movement in [0, 1]; 0.5 is usual for this dancer.
        level: Root mean square of the sound pulled last, in [0, 1].
        landmarks: The followed dancer's 33 landmarks in the newest picture, x and y as a share
            of its width and height; ``None`` if nobody is seen.
        movement_to_sound: From a frame's arrival until what was composed after it is played back,
            the latency of the output included.
        accent_to_sound: From a frame's arrival until its strength changes the loudness.
        frames_dropped: Those never looked at, because newer ones came.
        underruns: Pulls that found too little sound.
        error: What ended the engine, if something did.
        bridged_s: Sound missing that was bridged by the bar before, in seconds.
        lead: Whose beat is played: ``"movement"``, ``"sound"`` or ``"taps"``.
        leader: Of several dancers, who leads the movement and why, in words.
        relief: Highest step of ``pressure.RELIEFS`` that was taken, 0 for none.
    """

    bpm: float
    beat_phase: float
    beat_number: int
    beats_per_bar: int
    confidence: float
    energy: float
    level: float
    present: bool
    dancers: int
    landmarks: Float32[np.ndarray, "33 2"] | None
    movement_to_sound: Percentiles
    accent_to_sound: Percentiles
    frames_in: int
    frames_dropped: int
    underruns: int
    error: str | None = None
    bridged_s: float = 0.0
    lead: str = "movement"
    leader: str = ""
    relief: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a socket or a file; what is not known is ``None``."""
        values = asdict(self)
        if self.landmarks is not None:
            values["landmarks"] = self.landmarks.round(4).tolist()
        return {key: _known(value) for key, value in values.items()}


def _known(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _known(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and value != value else value


class StageTimes:
    """Durations by stage, the newest of each; any thread may add."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[str, deque[float]] = {}
        self._count: dict[str, int] = {}
        self._total: dict[str, float] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Note that ``stage`` took so long."""
        with self._lock:
            self._kept.setdefault(stage, deque(maxlen=KEPT)).append(seconds)
            self._count[stage] = self._count.get(stage, 0) + 1
            self._total[stage] = self._total.get(stage, 0.0) + seconds

    def mean(self, stage: str) -> float:
        """Mean duration of a stage in seconds since the beginning; 0 before the first."""
        with self._lock:
            return self._total.get(stage, 0.0) / max(1, self._count.get(stage, 0))

    def of(self, stage: str) -> Percentiles:
        """Percentiles of a stage."""
        with self._lock:
            values = np.array(self._kept.get(stage, ()))
            count = self._count.get(stage, 0)
        if not values.size:
            return Percentiles(float("nan"), float("nan"), float("nan"), 0)
        p50, p95, p99 = (1000.0 * np.percentile(values, [50, 95, 99])).round(2).tolist()
        return Percentiles(p50, p95, p99, count)

    def table(self) -> dict[str, Percentiles]:
        """Percentiles of every stage met."""
        with self._lock:
            stages = list(self._kept)
        return {stage: self.of(stage) for stage in stages}
