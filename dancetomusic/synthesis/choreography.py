"""A procedural dancer: original movement on an exact beat, as MediaPipe world landmarks.

A dance is a row of figures of one or two bars. Each figure writes *keys* (a value that a limb
reaches at a beat) on tracks for feet, hands and body; a movement ends on its key, so foot
strikes and arm stops fall on the beat, and the pelvis is lowest there. Planted feet stay where
they are; knees and elbows follow by two-bone inverse kinematics.

Internally the axes are left, up and forward of a dancer who faces the camera (metres, floor at
height 0); the result has the landmarks' axes, which is half a turn about the first axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from dancetomusic.errors import InputError
from dancetomusic.synthesis.tables import read_table

STYLES = ("bounce", "steps", "arms", "turns", "disco", "groove", "waltz")
MIN_BPM, MAX_BPM = 70.0, 180.0

LEFT, RIGHT = 1, -1
_LANDMARK_AXES = np.array([1.0, -1.0, -1.0])
_ROOM_RADIUS = 0.4  # the dancer is pulled back when further from the middle, in metres
_MAX_HAND_SPEED = 6.5  # relative to the shoulder, in m/s
_SOLE_HEIGHT = 0.02  # of the heel and toe landmarks above the floor, in metres


@dataclass(frozen=True)
class Choreography:
    """A dance whose beats are known; frame ``k`` is at ``k / fps`` seconds.

    Attributes:
        world: Landmarks in metres, hip-centred, x right in the image, y down, z away from
            the camera.
        root: Middle of the hips in the room, same axes, with the floor at y = 0;
            ``world + root[:, None]`` is the dancer in the room.
        yaw: Heading in radians; 0 faces the camera, positive turns to the dancer's left.
        beat_times: In seconds, at exactly ``bpm``.
        beat_numbers: Position of each beat in its bar; 1 is the downbeat.
        style: One of ``STYLES``.
        bpm: Beats a minute.
        fps: Frames a second.
    """

    world: Float32[np.ndarray, "frames 33 3"]
    root: Float32[np.ndarray, "frames 3"]
    yaw: Float32[np.ndarray, " frames"]
    beat_times: Float[np.ndarray, " beats"]
    beat_numbers: Int[np.ndarray, " beats"]
    style: str
    bpm: float
    fps: float


def choreograph(
    style: str,
    bpm: float | int,
    duration_s: float | int,
    seed: int,
    *,
    fps: float | int = 24.0,
    first_beat_s: float | int | None = None,
    intensity: float | int = 1.0,
    timing_jitter_ms: float | int = 8.0,
    syncopation: float | int = 0.1,
    hold_share: float | int = 0.05,
    yaw_deg: float | int = 0.0,
) -> Choreography:
    """Make up a dance.

    The same arguments give the same dance at any ``fps``.

    Args:
        style: One of ``STYLES``; ``waltz`` has three beats in a bar, the others four.
        bpm: Beats a minute, 70 to 180.
        duration_s: Length in seconds.
        seed: Chooses figures, sizes of movement and the dancer's proportions.
        fps: Frames a second.
        first_beat_s: Time of the first beat, which is a downbeat; chosen by the seed within
            the first beat interval when ``None``.
        intensity: Size of the movement; 1 is usual, 0.3 small, 1.5 large.
        timing_jitter_ms: Standard deviation of a limb's arrival about its beat.
        syncopation: Share of arm accents danced half a beat early.
        hold_share: Share of figures that freeze in a pose for their length.
        yaw_deg: Heading at the start; 0 faces the camera.

    Raises:
        InputError: If the style is unknown or a value is out of range.

    Example:
        >>> choreograph("bounce", 120, 4, seed=1).world.shape
        (96, 33, 3)
    """
    if style not in STYLES:
        raise InputError(f"there is no style {style!r}", f"Choose one of {', '.join(STYLES)}.")
    if not MIN_BPM <= bpm <= MAX_BPM:
        raise InputError(f"tempo is {bpm} BPM", f"Give {MIN_BPM:g} to {MAX_BPM:g}.")
    if not (duration_s > 0 and fps > 0 and 0 < intensity <= 2 and timing_jitter_ms >= 0):
        raise InputError(
            f"duration {duration_s} s, {fps} fps, intensity {intensity} or jitter "
            f"{timing_jitter_ms} ms is out of range",
            "Give positive values, intensity up to 2.",
        )
    rng = np.random.default_rng([seed, STYLES.index(style)])
    beat_s = 60.0 / bpm
    if first_beat_s is None:
        first_beat_s = float(rng.uniform(0.0, beat_s))
    meter = 3 if style == "waltz" else 4
    dance = _Dance(
        rng=rng,
        body=_Body.random(rng),
        meter=meter,
        beat_s=beat_s,
        size=float(intensity),
        stride=intensity * min(1.0, (110.0 / bpm) ** 0.7),
        jitter=timing_jitter_ms / 1000.0 / beat_s,
        syncopation=float(syncopation),
        heading=math.radians(yaw_deg),
    )
    last_beat = math.ceil((duration_s - first_beat_s) / beat_s) + 1
    _compose(dance, _STYLES[style], last_beat, float(hold_share))

    times = np.arange(max(1, round(duration_s * fps))) / fps
    room, heading = _pose_body(
        dance, times, (times - first_beat_s) / beat_s, _STYLES[style], float(fps)
    )
    room *= _LANDMARK_AXES
    root = (room[:, 23] + room[:, 24]) / 2
    n_beats = max(0, math.ceil((duration_s - first_beat_s) / beat_s - 1e-9))
    return Choreography(
        world=(room - root[:, None]).astype(np.float32),
        root=root.astype(np.float32),
        yaw=heading.astype(np.float32),
        beat_times=first_beat_s + beat_s * np.arange(n_beats),
        beat_numbers=np.arange(n_beats) % meter + 1,
        style=style,
        bpm=float(bpm),
        fps=float(fps),
    )


@dataclass(frozen=True)
class _Body:
    """Lengths in metres."""

    hip: float = 0.095
    thigh: float = 0.42
    shin: float = 0.41
    foot: float = 0.21
    ankle_back: float = 0.155
    ankle_up: float = 0.06
    waist: float = 0.22
    chest: float = 0.27
    shoulder: float = 0.175
    upper_arm: float = 0.285
    forearm: float = 0.25
    neck: float = 0.18
    head: float = 1.0

    @classmethod
    def random(cls, rng: np.random.Generator) -> _Body:
        """A person between about 1.5 and 1.9 m with proportions of their own."""
        height = rng.uniform(0.9, 1.1)
        lengths = {
            name: value * height * rng.uniform(0.96, 1.04) for name, value in vars(cls()).items()
        }
        lengths["head"] = float(rng.uniform(0.95, 1.05))
        return cls(**lengths)

    @property
    def leg(self) -> float:
        return self.thigh + self.shin

    @property
    def arm(self) -> float:
        return self.upper_arm + self.forearm


class _Track:
    """Keys in beats; between two keys the value rests, then moves so as to arrive on the key."""

    def __init__(self, *start: float) -> None:
        self.beats: list[float] = [-1e6]
        self.values: list[tuple[float, ...]] = [start]
        self.travels: list[float] = [1.0]

    @property
    def last(self) -> tuple[float, ...]:
        return self.values[-1]

    def key(self, beat: float, *value: float, travel: float = 1.0) -> None:
        """Arrive at ``value`` on ``beat`` after at most ``travel`` beats of movement."""
        if beat <= self.beats[-1] + 0.05:
            return
        self.travels.append(min(travel, beat - self.beats[-1]))
        self.beats.append(beat)
        self.values.append(value)

    def sample(
        self, phase: Float[np.ndarray, " frames"], skew: float = 1.0
    ) -> tuple[
        Float[np.ndarray, "frames channels"],
        Float[np.ndarray, "frames channels"],
        Float[np.ndarray, " frames"],
        Float[np.ndarray, " frames"],
    ]:
        """Values before and after, eased share of the way, and share of its time."""
        beats, travels = np.array(self.beats), np.array(self.travels)
        values = np.array(self.values, dtype=float)
        after = np.clip(np.searchsorted(beats, phase, side="left"), 1, len(beats) - 1)
        if len(beats) == 1:
            still = np.repeat(values, len(phase), axis=0)
            return still, still, np.ones_like(phase), np.ones_like(phase)
        time = np.clip(1.0 - (beats[after] - phase) / travels[after], 0.0, 1.0)
        eased = _minimum_jerk(time**skew)
        return values[after - 1], values[after], eased, time

    def at(self, phase: Float[np.ndarray, " frames"]) -> Float[np.ndarray, "frames channels"]:
        before, after, eased, _ = self.sample(phase)
        return before + (after - before) * eased[:, None]


def _between(
    before: Float[np.ndarray, "*frames 4"],
    after: Float[np.ndarray, "*frames 4"],
    share: Float[np.ndarray, "*frames"],
) -> Float[np.ndarray, "*frames 4"]:
    """A hand on its way: the direction turns along the great circle, the reach is blended."""
    cosine = (before[..., :3] * after[..., :3]).sum(axis=-1)
    angle = np.arccos(np.clip(cosine, -0.9999, 0.9999))
    direction = (
        np.sin((1.0 - share) * angle)[..., None] * before[..., :3]
        + np.sin(share * angle)[..., None] * after[..., :3]
    ) / np.sin(angle)[..., None]
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    reach = before[..., 3:] + (after[..., 3:] - before[..., 3:]) * share[..., None]
    return np.concatenate([direction, reach], axis=-1)


def _minimum_jerk(u: Float[np.ndarray, " frames"]) -> Float[np.ndarray, " frames"]:
    """Flash and Hogan 1985: the smoothest reach from 0 to 1."""
    return u**3 * (10.0 - 15.0 * u + 6.0 * u**2)


_TABLE = read_table("dances")


def _unit_hand(name: str) -> tuple[float, ...]:
    x, y, z, reach = _TABLE["hands"][name]
    length = math.hypot(x, y, z)
    return x / length, y / length, z / length, reach


_ELBOW_POLE = np.array([0.7, -0.5, -0.4])


@dataclass
class _Dance:
    """What figures write on. ``mirror`` swaps left and right of everything written."""

    rng: np.random.Generator
    body: _Body
    meter: int
    beat_s: float
    size: float
    stride: float
    jitter: float
    syncopation: float
    heading: float
    mirror: int = 1
    centre: np.ndarray = field(default_factory=lambda: np.zeros(2))
    depths: dict[float, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.feet = {side: _Track(*self._stance(side, 0.0), 0.0, 0.0, 0.0) for side in (1, -1)}
        self.hands = {side: _Track(*_unit_hand("loose")) for side in (1, -1)}
        self.weight = _Track(0.0)
        self.facing = _Track(self.heading)
        self.rise = _Track(0.0)
        self.body_track = {name: _Track(0.0) for name in ("twist", "lean", "bow", "look", "tilt")}

    def _when(self, beat: float) -> float:
        return beat + float(self.rng.normal(0.0, self.jitter))

    def _stance(self, side: int, spread: float, forward: float = 0.0) -> tuple[float, ...]:
        """Toe position on the floor and foot yaw for a foot beside the centre."""
        out = side * (self.body.hip + 0.03 + spread)
        ahead = 0.12 + forward
        sin, cos = math.sin(self.heading), math.cos(self.heading)
        x = self.centre[0] + out * cos + ahead * sin
        z = self.centre[1] - out * sin + ahead * cos
        return x, z, self.heading + side * 0.18

    def step(
        self,
        beat: float,
        side: int,
        *,
        left: float = 0.0,
        forward: float = 0.0,
        turn: float = 0.0,
        spread: float = 0.02,
        ahead: float = 0.0,
        lift: float = 0.07,
        weight: float = 0.7,
        height: float = 0.0,
        pitch: float = 0.0,
        travel: float = 0.62,
    ) -> None:
        """Put a foot down on ``beat``.

        The dancer's centre moves by ``left`` and ``forward`` (metres times stride) and turns by
        ``turn`` (radians); the foot lands beside it. ``height`` keeps the foot in the air (a
        kick), ``pitch`` raises the heel (a tap), ``weight`` is how far the body follows.
        """
        side, left, turn = side * self.mirror, left * self.mirror, turn * self.mirror
        sin, cos = math.sin(self.heading), math.cos(self.heading)
        self.centre = self.centre + self.stride * np.array(
            [left * cos + forward * sin, -left * sin + forward * cos]
        )
        self.centre *= 1.0 - max(0.0, 1.0 - _ROOM_RADIUS / max(np.hypot(*self.centre), 1e-9)) / 2
        self.heading += turn
        travel = min(travel, 0.5 / self.beat_s)
        strike = self._when(beat)
        lift *= 0.6 + 0.4 * self.size
        position = self._stance(side, spread * self.stride, ahead * self.stride)
        self.feet[side].key(strike, *position, height, pitch, lift, travel=travel)
        self.weight.key(beat + 0.12, side * weight, travel=max(0.75, 0.4 / self.beat_s))
        if turn:
            self.facing.key(beat + 0.2, self.heading, travel=0.9)

    def together(self, beat: float) -> None:
        """Both feet under the body, weight in the middle."""
        self.step(beat, LEFT, spread=0.06, weight=0.0)
        self.step(beat + 0.5, RIGHT, spread=0.06, weight=0.0, travel=0.45)

    def arms(
        self, beat: float, left: str, right: str | None = None, *, travel: float = 0.6
    ) -> None:
        """Bring the hands to named positions on ``beat``; ``right`` defaults to the left one."""
        if self.rng.random() < self.syncopation:
            beat -= 0.5
        for side, name in ((LEFT, left), (RIGHT, right or left)):
            hand = self.hands[side * self.mirror]
            rest, wanted = np.array(_unit_hand("guard_low")), np.array(_unit_hand(name))
            wanted = rest + (wanted - rest) * min(1.0, 0.2 + 0.8 * self.size)
            wanted[:3] += self.rng.normal(0.0, 0.04, 3)
            wanted[:3] /= np.linalg.norm(wanted[:3])
            arrival, last = self._when(beat), np.array(hand.last)
            path = self.body.arm * (math.acos(np.clip(wanted[:3] @ last[:3], -1, 1)) + 0.1)
            needed = 1.875 * path / _MAX_HAND_SPEED / self.beat_s  # peak of a minimum jerk
            share = min(1.0, max(arrival - hand.beats[-1], 0.1) / needed)
            hand.key(arrival, *_between(last, wanted, np.array(share)), travel=max(travel, needed))

    def pose(self, beat: float, *, travel: float = 0.9, **angles: float) -> None:
        """Bring body angles (radians) to values on ``beat``; left is positive."""
        for name, angle in angles.items():
            sign = 1 if name == "bow" else self.mirror
            self.body_track[name].key(beat, sign * angle * self.size, travel=travel)


Figure = Callable[[_Dance, float, int], None]
ArmFigure = Callable[[_Dance, float, int, float], None]


# ---- Figures: each fills ``n`` beats from ``b``; ``rate`` is arm movements a beat. ----


def _sides(n: int, every: int = 1) -> list[tuple[int, int]]:
    """Offsets in steps of ``every`` beats with the side that begins there."""
    return [(i, LEFT if (i // every) % 2 == 0 else RIGHT) for i in range(0, n, every)]


def _stand(dance: _Dance, b: float, n: int) -> None:
    dance.together(b)
    every = int(dance.rng.choice([1, 2]))
    for i, side in _sides(n, every):
        if i > 0:
            dance.weight.key(b + i + 0.05, side * dance.mirror * 0.7, travel=0.9)


def _march(dance: _Dance, b: float, n: int) -> None:
    lift = float(dance.rng.uniform(0.08, 0.16))
    for i, side in _sides(n):
        dance.step(b + i, side, lift=lift, weight=0.55)


def _step_touch(dance: _Dance, b: float, n: int) -> None:
    width = float(dance.rng.uniform(0.22, 0.36))
    for i, side in _sides(n, 2):
        dance.step(b + i, side, left=side * width, spread=0.05)
        dance.step(b + i + 1, -side, spread=-0.01, pitch=0.35, weight=-0.7)


def _grapevine(dance: _Dance, b: float, n: int) -> None:
    for i, side in _sides(n, 4):
        dance.step(b + i, side, left=side * 0.24, spread=0.06)
        dance.step(b + i + 1, -side, left=side * 0.12, spread=0.0)
        dance.step(b + i + 2, side, left=side * 0.22, spread=0.05)
        dance.step(b + i + 3, -side, spread=0.0, pitch=0.35, weight=-0.6)


def _rock_step(dance: _Dance, b: float, n: int) -> None:
    reach = float(dance.rng.choice([0.26, -0.2]))
    for i, side in _sides(n, 4):
        dance.step(b + i, side, ahead=reach, weight=0.6)
        dance.step(b + i + 1, -side, weight=0.6, lift=0.05)
        dance.step(b + i + 2, side, weight=0.6)
        dance.step(b + i + 3, -side, weight=0.3, lift=0.09)


def _taps(dance: _Dance, b: float, n: int) -> None:
    out = float(dance.rng.choice([0.0, 0.18]))
    for i, side in _sides(n, 2):
        dance.step(b + i, side, ahead=0.22 - out, spread=out, pitch=0.25, weight=-0.7)
        dance.step(b + i + 1, side, weight=0.3)


def _kicks(dance: _Dance, b: float, n: int) -> None:
    height = float(dance.rng.uniform(0.15, 0.35)) * dance.size
    for i, side in _sides(n, 2):
        dance.step(b + i, side, ahead=0.38, height=height, pitch=0.3, weight=-0.9, lift=0.05)
        dance.step(b + i + 1, side, weight=0.3)


def _chasse(dance: _Dance, b: float, n: int) -> None:
    if dance.beat_s < 0.4:
        return _step_touch(dance, b, n)
    for i, side in _sides(n, 2):
        dance.step(b + i, side, left=side * 0.18, spread=0.05, travel=0.45)
        dance.step(b + i + 0.5, -side, left=side * 0.06, spread=0.0, travel=0.42, lift=0.04)
        dance.step(b + i + 1, side, left=side * 0.14, spread=0.04, travel=0.45)


def _turn(dance: _Dance, b: float, n: int) -> None:
    for i, side in _sides(n):
        turn = math.pi / 2 if i < 4 else 0.0
        dance.step(b + i, side, turn=turn, weight=0.5)


def _slow_turn(dance: _Dance, b: float, n: int) -> None:
    for i, side in _sides(n):
        dance.step(b + i, side, turn=2 * math.pi / n, weight=0.5)


def _quarter_turns(dance: _Dance, b: float, n: int) -> None:
    angle = float(dance.rng.uniform(0.4, 0.9))
    for i, side in _sides(n):
        turn = (angle, 0.0, -angle, 0.0)[i % 4]
        dance.step(b + i, side, turn=turn if i + 4 - i % 4 <= n else 0.0, weight=0.55)


def _waltz_rise(dance: _Dance, b: float) -> None:
    for i, height in enumerate((-0.035, 0.02, 0.04)):
        dance.rise.key(b + i, height * dance.size, travel=0.95)


def _box(dance: _Dance, b: float, n: int, turn: float = 0.0) -> None:
    for i, side in _sides(n, 3):
        dance.step(b + i, side, forward=0.28 * side, turn=turn, weight=0.7)
        dance.step(b + i + 1, -side, left=-0.24 * side, spread=0.05, weight=0.6)
        dance.step(b + i + 2, side, spread=0.0, weight=0.4, lift=0.04)
        _waltz_rise(dance, b + i)


def _turning_box(dance: _Dance, b: float, n: int) -> None:
    _box(dance, b, n, turn=math.pi / 4)


def _balance(dance: _Dance, b: float, n: int) -> None:
    for i, side in _sides(n, 3):
        dance.step(b + i, side, left=0.26 * side, spread=0.04, weight=0.8)
        dance.step(b + i + 1, -side, ahead=-0.1, spread=-0.02, weight=-0.3, pitch=0.3)
        dance.step(b + i + 2, side, spread=0.03, weight=0.6, lift=0.03)
        _waltz_rise(dance, b + i)


def _alternate(*pairs: tuple[str, str], smooth: bool = False) -> ArmFigure:
    """Arms that go round a list of (left, right) positions."""

    def figure(dance: _Dance, b: float, n: int, rate: float) -> None:
        travel = 1.0 if smooth else float(dance.rng.uniform(0.45, 0.75))
        for i in range(int(n * rate)):
            left, right = pairs[i % len(pairs)]
            dance.arms(b + i / rate, left, right, travel=travel / rate)

    return figure


def _held(*positions: str) -> ArmFigure:
    """Arms that rest in one position, chosen at random."""

    def figure(dance: _Dance, b: float, n: int, rate: float) -> None:
        dance.arms(b, str(dance.rng.choice(positions)), travel=1.2)

    return figure


def _sway(channel: str, angle: float, every: int) -> Figure:
    """A body angle to one side and the other, arriving every ``every`` beats."""

    def figure(dance: _Dance, b: float, n: int) -> None:
        size = angle * float(dance.rng.uniform(0.6, 1.2))
        for i, side in _sides(n, every):
            dance.pose(b + i, **{channel: side * size}, travel=0.9)

    return figure


def _pulse(dance: _Dance, b: float, n: int) -> None:
    """The chest dips on each beat and comes back between."""
    size = float(dance.rng.uniform(0.06, 0.14))
    for i in range(n):
        dance.pose(b + i, bow=size, travel=0.45)
        dance.pose(b + i + 0.5, bow=-0.3 * size, travel=0.5)


def _upright(dance: _Dance, b: float, n: int) -> None:
    dance.pose(b, twist=0.0, lean=0.0, bow=0.02)


@dataclass(frozen=True)
class _Style:
    """What a style chooses from; ``bounce`` in metres, ``accents`` by position in the bar."""

    legs: tuple[Figure, ...]
    arms: tuple[ArmFigure, ...]
    body: tuple[Figure, ...]
    bounce: float
    sharpness: float = 1.2
    nod: float = 0.06
    accents: Sequence[float] = (1.2, 0.9, 1.05, 0.9)


_LEGS = {
    figure.__name__.removeprefix("_"): figure
    for figure in (
        *(_stand, _march, _step_touch, _grapevine, _rock_step, _taps, _kicks, _chasse),
        *(_turn, _slow_turn, _quarter_turns, _box, _turning_box, _balance),
    )
}
_ARMS = {
    name: _alternate(*map(tuple, pairs), smooth=kind == "even")
    for kind in ("abrupt", "even")
    for name, pairs in _TABLE[kind].items()
}
_BODY = {"pulse": _pulse, "upright": _upright}


def _style(
    legs: list[str], arms: list[Any], body: list[Any], *, bounce: float, **further: Any
) -> _Style:
    """A style of the table; a list in place of a name is an arm held or a body that sways."""
    return _Style(
        legs=tuple(_LEGS[name] for name in legs),
        arms=tuple(_held(*name) if isinstance(name, list) else _ARMS[name] for name in arms),
        body=tuple(_sway(*name) if isinstance(name, list) else _BODY[name] for name in body),
        bounce=bounce,
        **further,
    )


_STYLES = {name: _style(**values) for name, values in _TABLE["styles"].items()}


def _compose(dance: _Dance, style: _Style, last_beat: int, hold_share: float) -> None:
    """Fill the dance with figures from two bars before its first beat."""
    rng, beat = dance.rng, -2.0 * dance.meter
    slowness = min(1.0, dance.beat_s / 0.5) ** 1.5  # quick bounces are small
    legs, arms, body = style.legs[0], style.arms[0], style.body[0]
    while beat < last_beat:
        n = dance.meter * int(rng.choice([1, 2], p=[0.35, 0.65]))
        if rng.random() < 0.4:
            dance.mirror = -dance.mirror
        else:
            dance.mirror = int(rng.choice([1, -1]))
            legs = style.legs[rng.integers(len(style.legs))]
            arms = style.arms[rng.integers(len(style.arms))]
            body = style.body[rng.integers(len(style.body))]
        if abs(dance.centre[0]) > 0.3:
            dance.mirror = -int(np.sign(dance.centre[0] * math.cos(dance.heading)) or 1)
        rate = _limb_rate(dance)
        strength = float(rng.uniform(0.75, 1.2))
        if rng.random() < hold_share and beat >= 0:
            strength = 0.15
            dance.together(beat)
            _held("up_out", "hip", "side", "across")(dance, beat, n, rate)
        else:
            legs(dance, beat, n)
            arms(dance, beat, n, rate)
            body(dance, beat, n)
        dance.pose(
            beat,
            look=float(np.clip(rng.normal(0.0, 0.15), -0.3, 0.3)),
            tilt=float(rng.normal(0.0, 0.06)),
        )
        for i in range(n):
            accent = style.accents[i % dance.meter] * float(rng.uniform(0.85, 1.15))
            dance.depths[beat + i] = style.bounce * dance.size * slowness * strength * accent
        beat += n


def _limb_rate(dance: _Dance) -> float:
    """Arm movements a beat, chosen figure by figure."""
    quick = 2.0 if dance.beat_s > 0.55 else 1.0
    slow = 0.5 if dance.beat_s < 0.6 else 1.0
    return float(dance.rng.choice([slow, 1.0, 1.0, 1.0, quick]))


# ---- From tracks to landmarks ----

Vectors = Float[np.ndarray, "frames 3"]


def _axes(
    yaw: Float[np.ndarray, " frames"],
    bow: Float[np.ndarray, " frames"],
    lean: Float[np.ndarray, " frames"],
) -> tuple[Vectors, Vectors, Vectors]:
    """Left, up and forward of a body part that turns left, then leans left, then bows."""
    zero, one = np.zeros_like(yaw), np.ones_like(yaw)
    left = np.stack([np.cos(yaw), zero, -np.sin(yaw)], axis=1)
    forward = np.stack([np.sin(yaw), zero, np.cos(yaw)], axis=1)
    vertical = np.stack([zero, one, zero], axis=1)
    up = np.cos(lean)[:, None] * vertical + np.sin(lean)[:, None] * left
    left = np.cos(lean)[:, None] * left - np.sin(lean)[:, None] * vertical
    cos, sin = np.cos(bow)[:, None], np.sin(bow)[:, None]
    return left, cos * up + sin * forward, cos * forward - sin * up


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _perpendicular(vectors: Vectors, axis: Vectors) -> Vectors:
    return _unit(vectors - (vectors * axis).sum(axis=1, keepdims=True) * axis)


def _two_bones(
    start: Vectors, target: Vectors, upper: float, lower: float, pole: Vectors
) -> tuple[Vectors, Vectors, Vectors]:
    """Middle joint, end and bending direction of a limb that reaches for ``target``."""
    reach = target - start
    distance = np.clip(
        np.linalg.norm(reach, axis=1, keepdims=True),
        abs(upper - lower) + 0.05,
        (upper + lower) * 0.999,
    )
    axis = _unit(reach)
    bend = _perpendicular(pole, axis)
    along = (upper**2 - lower**2 + distance**2) / (2 * distance)
    middle = start + along * axis + np.sqrt(np.maximum(upper**2 - along**2, 0.0)) * bend
    return middle, start + distance * axis, bend


def _drift(
    rng: np.random.Generator, times: Float[np.ndarray, " frames"], size: float
) -> Float[np.ndarray, " frames"]:
    """Slow random movement about zero with a new aim every 0.8 s."""
    knots = rng.normal(0.0, size, math.ceil(float(times[-1]) / 0.8) + 2)
    at = times / 0.8
    index = at.astype(int)
    return knots[index] + (knots[index + 1] - knots[index]) * _minimum_jerk(at - index)


def _smooth(values: Vectors, fps: float, sigma_s: float) -> Vectors:
    """Gaussian smoothing along time, without delay."""
    half = math.ceil(3 * sigma_s * fps)
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / (sigma_s * fps)) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(values, ((half, half), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], axis=1)


@dataclass(frozen=True)
class _Foot:
    toe: Vectors
    heel: Vectors
    ankle: Vectors
    forward: Vectors


def _pose_foot(
    dance: _Dance,
    side: int,
    phase: Float[np.ndarray, " frames"],
    rise: Float[np.ndarray, " frames"],
) -> _Foot:
    body = dance.body
    before, after, eased, time = dance.feet[side].sample(phase, skew=1.2)
    x, z, yaw, height, pitch, _ = (before + (after - before) * eased[:, None]).T
    late = time**1.4
    arc = 4.0 * late * (1.0 - late)
    lift = after[:, 5] * arc
    pitch = pitch + 4.0 * lift * (1.0 - time) + np.maximum(rise, 0.0) / body.ankle_back
    _, up, forward = _axes(yaw, np.zeros_like(yaw), np.zeros_like(yaw))
    toe = np.stack([x, _SOLE_HEIGHT + height + lift, z], axis=1)
    cos, sin = np.cos(pitch)[:, None], np.sin(pitch)[:, None]
    back, upward = sin * up - cos * forward, cos * up + sin * forward
    ankle = toe + body.ankle_back * back + body.ankle_up * upward
    return _Foot(toe, toe + body.foot * back, ankle, forward)


def _pose_body(
    dance: _Dance,
    times: Float[np.ndarray, " frames"],
    phase: Float[np.ndarray, " frames"],
    style: _Style,
    fps: float,
) -> tuple[Float[np.ndarray, "frames 33 3"], Float[np.ndarray, " frames"]]:
    """Landmarks in the room (left, up, forward at heading 0) and the heading."""
    rng, body = dance.rng, dance.body
    angles = {
        name: track.at(phase)[:, 0] + _drift(rng, times, 0.02)
        for name, track in dance.body_track.items()
    }
    # Heading, height, weight from foot to foot, and how deep the body dips on each beat.
    heading = dance.facing.at(phase)[:, 0]
    rise = dance.rise.at(phase)[:, 0]
    weight = dance.weight.at(phase)[:, 0]
    beat = phase + _drift(rng, times, dance.jitter)
    pulse = ((1.0 + np.cos(2.0 * np.pi * beat)) / 2.0) ** style.sharpness
    depth = np.array([dance.depths.get(k, 0.0) for k in np.round(beat)])

    # The pelvis between the feet, nearer to the one that bears the weight, as low as legs reach.
    feet = {side: _pose_foot(dance, side, phase, rise) for side in (LEFT, RIGHT)}
    pelvis_axes = _axes(
        heading + 0.25 * angles["twist"], 0.3 * angles["bow"], -0.10 * weight * min(1, dance.size)
    )
    under = {side: foot.toe - 0.10 * foot.forward for side, foot in feet.items()}
    share = 0.5 + 0.4 * weight[:, None]
    pelvis = _smooth(under[RIGHT] + share * (under[LEFT] - under[RIGHT]), fps, 0.10)
    pelvis += (0.02 * weight + _drift(rng, times, 0.006))[:, None] * pelvis_axes[0]
    pelvis[:, 1] = _pelvis_height(body, pelvis, pelvis_axes[0], feet, rise - depth * pulse)

    # Chest and head above it, each with its share of the angles.
    chest_axes = _axes(
        heading + angles["twist"],
        angles["bow"] + 0.6 * depth * pulse + 0.03,
        angles["lean"] + 0.04 * weight,
    )
    neck = pelvis + body.waist * pelvis_axes[1] + body.chest * chest_axes[1]
    head_axes = _axes(
        heading + 0.4 * angles["twist"] + angles["look"],
        0.3 * angles["bow"]
        + angles["tilt"] * 0.5
        + style.nod * pulse * np.minimum(depth / 0.05, 1),
        0.4 * angles["lean"] + angles["tilt"],
    )
    # Landmarks: the head, then each leg from hip to ankle and each arm by inverse kinematics.
    room = np.zeros((len(times), 33, 3))
    room[:, :11] = _head(body, neck + body.neck * _unit(chest_axes[1] + head_axes[1]), head_axes)
    for side, offset in ((LEFT, 0), (RIGHT, 1)):
        hip = pelvis + side * body.hip * pelvis_axes[0]
        foot = feet[side]
        pole = foot.forward + pelvis_axes[2] + 0.25 * side * pelvis_axes[0]
        knee, ankle, _ = _two_bones(hip, foot.ankle, body.thigh, body.shin, pole)
        slip = ankle - foot.ankle
        for index, joint in zip(
            (23, 25, 27, 29, 31), (hip, knee, ankle, foot.heel + slip, foot.toe + slip), strict=True
        ):
            room[:, index + offset] = joint
        room[:, 11 + offset : 23 : 2] = _arm(dance, side, neck, chest_axes, phase, times)
    return room, heading


def _pelvis_height(
    body: _Body,
    pelvis: Vectors,
    left: Vectors,
    feet: dict[int, _Foot],
    offset: Float[np.ndarray, " frames"],
) -> Float[np.ndarray, " frames"]:
    """Standing height plus ``offset``, lower where a leg would not reach its foot."""
    heights = [_SOLE_HEIGHT + body.ankle_up + 0.985 * body.leg + offset]
    for side, foot in feet.items():
        hip = pelvis + side * body.hip * left
        away = ((hip - foot.ankle)[:, [0, 2]] ** 2).sum(axis=1)
        reach = np.sqrt(np.maximum((0.993 * body.leg) ** 2 - away, (0.3 * body.leg) ** 2))
        heights.append(foot.ankle[:, 1] + reach - side * body.hip * left[:, 1])
    softness = 0.01
    return -softness * np.log(np.exp(-np.stack(heights) / softness).sum(axis=0))


# Landmarks 0 to 10 from the middle of the ears: left, up, forward, in metres.
_FACE = np.array(
    [
        [0.000, 0.000, 0.115],
        [0.017, 0.036, 0.090],
        [0.032, 0.037, 0.086],
        [0.046, 0.036, 0.078],
        [-0.017, 0.036, 0.090],
        [-0.032, 0.037, 0.086],
        [-0.046, 0.036, 0.078],
        [0.075, 0.000, 0.000],
        [-0.075, 0.000, 0.000],
        [0.026, -0.042, 0.090],
        [-0.026, -0.042, 0.090],
    ]
)


def _head(
    body: _Body, centre: Vectors, axes: tuple[Vectors, Vectors, Vectors]
) -> Float[np.ndarray, "frames 11 3"]:
    return centre[:, None] + np.einsum("lc,ctx->tlx", body.head * _FACE, np.stack(axes))


def _arm(
    dance: _Dance,
    side: int,
    neck: Vectors,
    chest: tuple[Vectors, Vectors, Vectors],
    phase: Float[np.ndarray, " frames"],
    times: Float[np.ndarray, " frames"],
) -> Float[np.ndarray, "frames 6 3"]:
    """Shoulder, elbow, wrist, little finger, index finger, thumb."""
    body = dance.body
    to_room = np.stack([side * chest[0], chest[1], chest[2]], axis=1)
    shoulder = neck + side * body.shoulder * chest[0]
    # Where the hand is to be, seen from the shoulder in the axes of the chest.
    before, after, eased, _ = dance.hands[side].sample(phase)
    hand = _between(before, after, eased)
    aim = hand[:, :3] + np.stack([_drift(dance.rng, times, 0.04) for _ in range(3)], axis=1)
    target = shoulder + (hand[:, 3:] * body.arm) * np.einsum("tc,tcx->tx", _unit(aim), to_room)
    # Two-bone inverse kinematics, the elbow towards its pole; the hand continues the forearm.
    pole = np.einsum("c,tcx->tx", _ELBOW_POLE, to_room)
    elbow, wrist, bend = _two_bones(shoulder, target, body.upper_arm, body.forearm, pole)
    fingers = _unit(wrist - elbow)
    thumb_side = _perpendicular(-bend, fingers)
    size = body.forearm / 0.25
    return np.stack(
        [
            shoulder,
            elbow,
            wrist,
            wrist + size * (0.080 * fingers - 0.030 * thumb_side),
            wrist + size * (0.090 * fingers + 0.015 * thumb_side),
            wrist + size * (0.045 * fingers + 0.040 * thumb_side),
        ],
        axis=1,
    )
