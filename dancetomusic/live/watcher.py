"""From what the detector sees to what the dance says: the beat, its strength, and its memory."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from dancetomusic.live.beat import BeatListener, BeatView
from dancetomusic.live.composer import Movement
from dancetomusic.live.dancers import DancerTracker
from dancetomusic.live.movement import USUAL, MovementMeter
from dancetomusic.models.pose_encoder.network import STRIDE, PoseEncoder
from dancetomusic.models.pose_encoder.stream import STEP_RATE, EncodedStep, PoseEncoderStream
from dancetomusic.pose.mediapipe import Detection
from dancetomusic.types import POSE_FPS

GONE_S = 0.4
"""Unseen for longer, a dancer is gone."""

FIRST_S, AGAIN_S = 2.0, 0.25
"""How long somebody is seen before the music begins, and before it goes on."""

LONGEST_GAP_S = 2.0
"""After a longer gap between frames the encoders begin anew."""

FORGOTTEN_S = 60.0
"""After a longer gap the beat is forgotten, too."""

SIGHT_DELAY_S = 0.015
"""How late the encoder says a beat: the median over six procedural dances from 90 to 150 BPM,
read from their poses (``docs/live.md``)."""


@dataclass(frozen=True)
class Sight:
    """What is known after the newest frame.

    Attributes:
        view: The beat.
        energy: Strength of movement in [0, 1].
        accent: The same, quicker.
        present: Whether there is somebody to play for.
        dancers: People followed in the newest frame.
        landmarks: Of who leads, x and y as a share of the picture; ``None`` if unseen.
        arrived_s: When the frame arrived.
    """

    view: BeatView = field(default_factory=BeatView)
    energy: float = 0.0
    accent: float = USUAL
    present: bool = False
    dancers: int = 0
    landmarks: Float32[np.ndarray, "33 2"] | None = None
    arrived_s: float = float("-inf")


class Watcher:
    """Watches the dancers frame by frame.

    Args:
        encoder: Causal.
        num_dancers: Dancers followed at most.
        follow: Who leads; see ``DancerTracker``.
    """

    def __init__(self, encoder: PoseEncoder, *, num_dancers: int, follow: str) -> None:
        self._encoder = encoder
        self._tracker = DancerTracker(num_dancers, follow)
        self._streams = [PoseEncoderStream(encoder) for _ in self._tracker.places]
        self._meters = [MovementMeter() for _ in self._tracker.places]
        self._listener: BeatListener | None = None
        self._movements: deque[Movement] = deque(maxlen=64)
        self._step = 0
        self._begin_s = self._last_s = 0.0
        self._seen_since: float | None = None
        self._played_before = False

    def watch(self, found: list[Detection], time_s: float) -> Sight:
        """Take the people in a frame, and say what is known after it.

        Args:
            found: From the detector.
            time_s: Time of the frame, increasing.
        """
        if self._listener is None or time_s - self._last_s > FORGOTTEN_S:
            self._begin(time_s)
        elif time_s - self._last_s > LONGEST_GAP_S:
            self._skip_to(time_s)
        self._last_s = time_s
        for place in self._tracker.update(found, time_s):
            self._streams[place].reset()
            self._meters[place].reset()
        self._measure(time_s)
        while self._begin_s + ((self._step + 1) * STRIDE - 1) / POSE_FPS <= time_s + 1e-6:
            self._take_step()
        return self._sight(time_s)

    def movements(self) -> list[Movement]:
        """Steps of who leads that were not taken yet."""
        return [self._movements.popleft() for _ in range(len(self._movements))]

    def _begin(self, time_s: float) -> None:
        self._listener = BeatListener(self._encoder, time_s - SIGHT_DELAY_S)
        self._begin_s, self._step = time_s, 0
        self._played_before = False
        for stream in self._streams:
            stream.reset()

    def _skip_to(self, time_s: float) -> None:
        """Let the beat go on over a gap in the frames; the encoders begin anew after it."""
        assert self._listener is not None
        heard_s = self._begin_s + self._step / STEP_RATE
        self._listener.pause(max(0.0, time_s - heard_s))
        self._begin_s, self._step = time_s, 0
        for stream in self._streams:
            stream.reset()

    def _measure(self, time_s: float) -> None:
        for dancer, meter in zip(self._tracker.places, self._meters, strict=True):
            if dancer is not None and dancer.seen_s == time_s:
                meter.push(dancer.seen.world, time_s)
            elif dancer is None or time_s - dancer.seen_s > GONE_S:
                meter.reset()

    def _take_step(self) -> None:
        """Two more poses of everybody through the encoder, and what they say together."""
        assert self._listener is not None
        began_s = self._begin_s + self._step / STEP_RATE
        times_s = [began_s + k / POSE_FPS for k in range(STRIDE)]
        self._step += 1
        weights = self._tracker.weights(times_s[-1])
        leader = self._tracker.leader(times_s[-1])
        said_together: list[tuple[float, EncodedStep]] = []
        for place, (dancer, stream) in enumerate(
            zip(self._tracker.places, self._streams, strict=True)
        ):
            if dancer is None:
                world, present = np.zeros((STRIDE, 33, 3), np.float32), np.zeros(STRIDE, bool)
            else:
                world, present = dancer.poses(times_s)
            said = stream.step(world, present)
            said_together.append((weights[place] * said.seen, said))
            if place == leader or (leader is None and place == 0):
                self._listener.watch(world, present)
                self._movements.append(Movement(began_s, world, present, said.memory))
        shares = np.array([share for share, _ in said_together], np.float32)
        self._listener.listen(
            np.tensordot(shares, np.stack([said.phase for _, said in said_together]), 1),
            shares @ np.stack([said.downbeat_logits for _, said in said_together]),
            float(shares.sum()),
        )

    def _sight(self, time_s: float) -> Sight:
        assert self._listener is not None
        weights = self._tracker.weights(time_s)
        leader = self._tracker.leader(time_s)
        first = None if leader is None else self._tracker.places[leader]
        there = [
            d is not None and time_s - d.seen_s <= GONE_S and w > 0
            for d, w in zip(self._tracker.places, weights, strict=True)
        ]
        if not any(there):
            self._seen_since = None
        elif self._seen_since is None:
            self._seen_since = time_s
        wait_s = AGAIN_S if self._played_before else FIRST_S
        present = self._seen_since is not None and time_s - self._seen_since >= wait_s
        self._played_before |= present
        shares = [w * here for w, here in zip(weights, there, strict=True)]
        seen_now = first is not None and first.seen_s == time_s
        return Sight(
            view=self._listener.view(),
            energy=sum(w * meter.energy for w, meter in zip(shares, self._meters, strict=True)),
            accent=sum(w * meter.accent for w, meter in zip(shares, self._meters, strict=True)),
            present=present,
            dancers=sum(d is not None and d.seen_s == time_s for d in self._tracker.places),
            landmarks=first.seen.image[:, :2].copy() if first is not None and seen_now else None,
        )
