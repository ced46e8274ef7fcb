"""From detected people to what is known of the dance: its beat, its energy, and its movement."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float32

from dancetomusic.live.dancers import DancerTracker
from dancetomusic.models.live import BeatEstimate, MovementStep
from dancetomusic.models.pose_encoder.causal_tracker import CausalBeatTracker
from dancetomusic.models.pose_encoder.network import STEP_RATE, STRIDE, PoseEncoder
from dancetomusic.pose.mediapipe import Detection
from dancetomusic.rhythm.energy import USUAL, CausalEnergy
from dancetomusic.types import POSE_FPS

GONE_S = 0.4
"""Unseen for longer, a dancer is gone."""

FIRST_S, AGAIN_S = 2.0, 0.25
"""How long somebody is seen before the music begins, and before it resumes."""

LONGEST_GAP_S = 2.0
"""After a longer gap between frames the encoders begin again."""

FORGOTTEN_S = 60.0
"""After a longer gap the beat is forgotten, too."""

ENCODER_DELAY_S = 0.015
"""How late the encoder estimates a beat: the median over six procedural dances from 90 to 150 BPM
(``docs/live.md``)."""


@dataclass(frozen=True)
class Observation:
    """What is known after the newest frame.

    Attributes:
        accent: The same, quicker.
        landmarks: Of the dancer followed, x and y as a share of the picture; ``None`` if unseen.
        leader: Who leads the movement, in words; empty where one is followed.
        arrived_s: When the frame arrived.
    """

    beat: BeatEstimate = field(default_factory=BeatEstimate)
    energy: float = 0.0
    accent: float = USUAL
    present: bool = False
    dancers: int = 0
    landmarks: Float32[np.ndarray, "33 2"] | None = None
    leader: str = ""
    arrived_s: float = float("-inf")


class Watcher:
    """Watches the dancers frame by frame.

    The encoder is causal; ``follow`` is as for ``DancerTracker``.
    """

    def __init__(
        self, encoder: PoseEncoder, *, num_dancers: int, follow: str, bpm: float | None = None
    ) -> None:
        self._encoder, self._bpm = encoder, bpm
        self._tracker = DancerTracker(num_dancers, follow)
        self._states = [encoder.initial_state() for _ in self._tracker.places]
        self._energies = [CausalEnergy() for _ in self._tracker.places]
        self._beats: CausalBeatTracker | None = None
        self._movements: deque[MovementStep] = deque(maxlen=64)
        self._step = 0
        self._begin_s = self._last_s = 0.0
        self._seen_since: float | None = None
        self._played_before = False

    def watch(self, found: list[Detection], time_s: float) -> Observation:
        """Take the people in a frame, and return what is known after it."""
        if self._beats is None or time_s - self._last_s > FORGOTTEN_S:
            self._begin(time_s)
        elif time_s - self._last_s > LONGEST_GAP_S:
            self._skip_to(time_s)
        self._last_s = time_s
        for place in self._tracker.update(found, time_s):
            self._states[place] = self._encoder.initial_state()
            self._energies[place].reset()
        self._measure(time_s)
        while self._begin_s + ((self._step + 1) * STRIDE - 1) / POSE_FPS <= time_s + 1e-6:
            self._take_step()
        return self._observation(time_s)

    def movements(self) -> list[MovementStep]:
        """Steps of who leads, with the memory of all followed, that were not taken yet."""
        return [self._movements.popleft() for _ in range(len(self._movements))]

    def _begin(self, time_s: float) -> None:
        self._beats = CausalBeatTracker(self._encoder, time_s - ENCODER_DELAY_S, self._bpm)
        self._begin_s, self._step = time_s, 0
        self._played_before = False
        self._reset_encoders()

    def _skip_to(self, time_s: float) -> None:
        """Continue the beat over a gap in the frames; the encoders begin again after it."""
        assert self._beats is not None
        known_s = self._begin_s + self._step / STEP_RATE
        self._beats.pause(max(0.0, time_s - known_s))
        self._begin_s, self._step = time_s, 0
        self._reset_encoders()

    def _reset_encoders(self) -> None:
        self._states = [self._encoder.initial_state() for _ in self._states]

    def _measure(self, time_s: float) -> None:
        for dancer, energy in zip(self._tracker.places, self._energies, strict=True):
            if dancer is not None and dancer.seen_s == time_s:
                energy.push(dancer.seen.world, time_s)
            elif dancer is None or time_s - dancer.seen_s > GONE_S:
                energy.reset()

    def _take_step(self) -> None:
        """Encode two more poses of everybody, and track the beat by all, weighted."""
        assert self._beats is not None
        began_s = self._begin_s + self._step / STEP_RATE
        times_s = [began_s + k / POSE_FPS for k in range(STRIDE)]
        self._step += 1
        weights = self._tracker.weights(times_s[-1])
        shown = self._tracker.leader(times_s[-1]) or 0
        shares = np.zeros(len(weights), np.float32)
        phases, downbeats, memories, poses = [], [], [], []
        for place, dancer in enumerate(self._tracker.places):
            if dancer is None:
                world, present = np.zeros((STRIDE, 33, 3), np.float32), np.zeros(STRIDE, bool)
            else:
                world, present = dancer.poses(times_s)
            with torch.inference_mode():
                encoding, self._states[place] = self._encoder.stream(
                    torch.from_numpy(world)[None],
                    torch.from_numpy(present)[None],
                    self._states[place],
                )
            shares[place] = weights[place] * present.any()
            phases.append(encoding.phase[0].numpy())
            downbeats.append(encoding.downbeat_logits[0].numpy())
            memories.append(encoding.memory[0, 0].numpy())
            poses.append((world, present))
        self._beats.push_poses(*poses[shown])
        memory = memories[shown]
        if shares.any():
            memory = np.tensordot(shares / shares.sum(), np.stack(memories), 1)
        self._movements.append(MovementStep(began_s, *poses[shown], memory))
        self._beats.push(
            np.tensordot(shares, np.stack(phases), 1),
            shares @ np.stack(downbeats),
            float(shares.sum()),
        )

    def _observation(self, time_s: float) -> Observation:
        assert self._beats is not None
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
        return Observation(
            beat=self._beats.estimate(),
            energy=sum(w * e.energy for w, e in zip(shares, self._energies, strict=True)),
            accent=sum(w * e.accent for w, e in zip(shares, self._energies, strict=True)),
            present=present,
            dancers=sum(d is not None and d.seen_s == time_s for d in self._tracker.places),
            landmarks=first.seen.image[:, :2].copy() if first is not None and seen_now else None,
            leader=self._tracker.describe_lead(time_s),
        )
