"""Who is who while the camera runs, and everybody's poses at a steady 24 a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32

from dancetomusic.errors import InputError
from dancetomusic.pose.cleaning import MAX_GAP_S
from dancetomusic.pose.mediapipe import Detection, body_distance
from dancetomusic.pose.tracking import MAX_REACH, REACH, REACH_PER_S, SIZE_RATIO
from dancetomusic.types import POSE_FPS

FORGET_S = 5.0
"""Who is unseen for longer gives up the place to whoever comes."""

LARGER = 1.25
"""Another dancer is followed who is this much larger, as a running mean."""

SIZE_MEMORY_S = 1.0


@dataclass
class Dancer:
    """One person followed.

    Attributes:
        size: Running mean of the height in the picture; falls while unseen.
    """

    seen: Detection
    seen_s: float
    size: float
    _past: list[tuple[float, Detection]] = field(default_factory=list)

    def poses(
        self, times_s: Sequence[float]
    ) -> tuple[Float32[np.ndarray, "poses 33 3"], Bool[np.ndarray, " poses"]]:
        """Poses at moments up to the newest frame, interpolated over gaps of half a second."""
        found = [self._pose(time_s) for time_s in times_s]
        world = np.stack([self._past[0][1].world if pose is None else pose for pose in found])
        present = np.array([pose is not None for pose in found])
        self._past = [
            detection for detection in self._past if detection[0] > times_s[-1] - MAX_GAP_S
        ] or (self._past[-1:])
        return world, present

    def see(self, person: Detection, time_s: float) -> None:
        """Take the detection in a new frame."""
        share = 1.0 - float(np.exp(-(time_s - self.seen_s) / SIZE_MEMORY_S))
        self.size += share * (person.height - self.size)
        self.seen, self.seen_s = person, time_s
        self._past.append((time_s, person))

    def _pose(self, time_s: float) -> Float32[np.ndarray, "33 3"] | None:
        before = [detection for detection in self._past if detection[0] <= time_s + 1e-6]
        after = [detection for detection in self._past if detection[0] > time_s + 1e-6]
        if not before or not after:
            near = [s for s in (*before[-1:], *after[:1]) if abs(s[0] - time_s) < 1.5 / POSE_FPS]
            return near[0][1].world if near else None
        (began, first), (ended, last) = before[-1], after[0]
        if ended - began > MAX_GAP_S:
            return None
        share = np.float32((time_s - began) / (ended - began))
        return first.world + share * (last.world - first.world)


class DancerTracker:
    """Gives every person a place, and says who is followed.

    A detection belongs to whose trunk was nearest, within the reach of ``pose.tracking``; with one
    place, whoever is there takes it.

    ``follow`` is ``"largest"``, ``"all"``, or the number of a place from 1.

    Raises:
        InputError: If there is no place, or ``follow`` means nothing.
    """

    def __init__(self, num_dancers: int, follow: str) -> None:
        if num_dancers < 1:
            raise InputError(f"{num_dancers} dancers are to be followed", "Give at least 1.")
        if follow not in ("largest", "all") and not (follow.isdecimal() and int(follow) >= 1):
            raise InputError(f"follow is {follow!r}", "Give largest, all, or a number from 1.")
        self._follow = follow
        n_places = max(num_dancers, int(follow)) if follow.isdecimal() else num_dancers
        self.places: list[Dancer | None] = [None] * n_places
        self._leader = 0

    def update(self, found: Sequence[Detection], time_s: float) -> list[int]:
        """Take the people in a frame; give the places that now hold somebody else."""
        waiting = sorted(found, key=lambda person: -person.height)
        for _, number, person in sorted(self._matches(waiting, time_s), key=lambda match: match[0]):
            dancer = self.places[number]
            free = dancer is not None and dancer.seen_s < time_s
            if free and any(person is other for other in waiting):
                assert dancer is not None
                dancer.see(person, time_s)
                waiting = [other for other in waiting if other is not person]
        fresh = []
        for number, dancer in enumerate(self.places):
            if dancer is not None and time_s - dancer.seen_s > FORGET_S:
                self.places[number] = dancer = None
            if dancer is None and waiting:
                person = waiting.pop(0)
                self.places[number] = Dancer(person, time_s, person.height, [(time_s, person)])
                fresh.append(number)
        return fresh

    def leader(self, time_s: float) -> int | None:
        """The place that is followed; ``None`` if none is."""
        if self._follow.isdecimal():
            number = int(self._follow) - 1
            return number if self.places[number] is not None else None
        sizes = {
            number: dancer.size * float(np.exp(-(time_s - dancer.seen_s) / SIZE_MEMORY_S))
            for number, dancer in enumerate(self.places)
            if dancer is not None
        }
        if not sizes:
            return None
        largest = max(sizes, key=lambda number: sizes[number])
        if sizes[largest] > LARGER * sizes.get(self._leader, 0.0):
            self._leader = largest
        return self._leader

    def describe_lead(self, time_s: float) -> str:
        """Who leads and why, in words; empty where there is one place, or nobody."""
        leader = self.leader(time_s)
        if len(self.places) == 1 or leader is None:
            return ""
        seen = sum(dancer is not None for dancer in self.places)
        if self._follow == "all":
            return f"all {seen} dancers together"
        why = "as asked" if self._follow.isdecimal() else f"the largest of {seen}"
        return f"dancer {leader + 1}, {why}"

    def weights(self, time_s: float) -> list[float]:
        """Weight of each place; they add up to 1, or are all 0."""
        leader = self.leader(time_s)
        if self._follow != "all":
            return [float(number == leader) for number in range(len(self.places))]
        there = [
            dancer is not None and time_s - dancer.seen_s < MAX_GAP_S for dancer in self.places
        ]
        return [here / max(1, sum(there)) for here in there]

    def _matches(
        self, found: Sequence[Detection], time_s: float
    ) -> list[tuple[float, int, Detection]]:
        """Who could be whom: distance in torso lengths, place, detection."""
        possible = []
        for number, dancer in enumerate(self.places):
            if dancer is None:
                continue
            unseen_s = time_s - dancer.seen_s
            for person in found:
                distance = body_distance(dancer.seen, person)
                sizes = sorted((dancer.seen.torso, person.torso))
                near = distance < min(REACH + REACH_PER_S * unseen_s, MAX_REACH)
                if len(self.places) == len(found) == 1 or (
                    near and sizes[1] < SIZE_RATIO * sizes[0]
                ):
                    possible.append((distance, number, person))
        return possible
