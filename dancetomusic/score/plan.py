"""The plan of a piece: its sections, its energy bar by bar, and the hits that it answers.

Boundaries follow the novelty of movement (Foote, "Automatic Audio Segmentation Using a Measure of
Audio Novelty", ICME 2000): a checkerboard kernel slid along the self-similarity of bars, each bar
described by how fast its limbs move in every eighth of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float64

from dancetomusic.pose.hits import Hits, find_hits, find_rests
from dancetomusic.pose.landmarks import LANDMARK, cut_poses
from dancetomusic.pose.motion import joint_speeds
from dancetomusic.score.notes import BeatClock, Section
from dancetomusic.types import PoseSequence, RhythmTrack

SLOTS_PER_BAR = 8
"""Moments of a bar at which the speed of limbs describes it."""

STILL_SPEED, STILL_ENERGY = 0.12, 0.12
"""Mean speed of the joints in m/s, and without poses energy, below which a dancer stands still."""

STILL_BARS, STILL_S = 2, 2.5
"""A rest of this many bars, or of one bar this long, is a break."""

PHRASE_BARS = 4
LONGEST_SECTION = 8
LENGTH_COST = {1: 3.0, 2: 0.9, 3: 1.5, 4: 0.15, 5: 1.5, 6: 0.6, 7: 1.6, 8: 0.0}
"""Cost of a section by its bars, against novelty in [0, 1] at its start."""

SHORT_PIECE, SHORT_PIECE_COST = 12, 0.7
"""Bars up to which a stretch is divided into phrases of four, by this cost of longer sections."""

INTRO_BODY_BARS = 12
"""Bars before the ending from which a piece has an introduction of its own."""

LIFT_ABOVE, BREAK_BELOW = 0.05, 0.1
"""How far a section's energy lies above the mean, or below it, to be a lift, or a break."""

RING_S, LONGEST_RING_S, STILL_RING_S = 0.9, 2.4, 7.0
"""Least time that the last chord rings; the most before it waits for a later beat; the most where
the dancer has come to rest."""

_LIMBS = tuple(
    tuple(LANDMARK[f"{side}_{joint}"] for joint in joints)
    for side in ("left", "right")
    for joints in (("elbow", "wrist", "index"), ("knee", "ankle", "foot_index"))
)
_TRUNK = (LANDMARK["nose"], LANDMARK["left_shoulder"], LANDMARK["right_shoulder"])


@dataclass(frozen=True)
class Plan:
    """What a piece shall do, from the dance alone.

    Attributes:
        sections: Cover all bars of the clock, in order; the last is the ending.
        energy: Strength of movement of each bar, in [0, 1].
        novelty: How new each bar is against those before, in [0, 1].
        hits: The dance's strongest hits.
        rests: Start and end in seconds of each moment in which all dancers freeze.
        final_beat: Beat of the last hit of the piece, after which its chord rings: a downbeat, or
            where that is too early another beat.
        push: How much more (or less) than by the dance alone happens in every bar, in [-1, 1].
    """

    sections: tuple[Section, ...]
    energy: Float64[np.ndarray, " bars"]
    novelty: Float64[np.ndarray, " bars"]
    hits: Hits
    rests: Float64[np.ndarray, "rests 2"]
    final_beat: int
    push: float = 0.0


def make_plan(clock: BeatClock, rhythm: RhythmTrack, dancers: Sequence[PoseSequence] = ()) -> Plan:
    """Plan a piece as long as the clock.

    Args:
        clock: Bars of the piece.
        rhythm: Its energy is followed.
        dancers: For novelty, rests and hits; without them novelty and rests are those of energy,
            and there are no hits.
    """
    energy = bar_energy(clock, rhythm)
    novelty = find_novelty(bar_features(clock, rhythm, dancers))
    still = _still_bars(clock, energy, dancers)
    final_beat = _final_beat(clock, still)
    final_bar = clock.bar_of(final_beat)
    first = int(clock.n_bars > 1 and clock.beat_numbers[0] != 1)  # bar 0 is a pick-up
    body_end = max(first, clock.n_bars - _ending_bars(clock.n_bars - first, final_bar - first))
    lengths = _divide(novelty, still, first, body_end)
    names = _name_sections(lengths, energy, still, first)
    sections, start = [], first
    for name, n_bars in zip(names, lengths, strict=True):
        sections.append(Section(name, start, n_bars))
        start += n_bars
    sections.append(Section("ending", start, clock.n_bars - start))
    if first:  # the pick-up goes with what it leads to
        head = sections[0]
        sections[0] = Section(head.name, 0, head.n_bars + 1)
    hits = find_hits(dancers)
    inside = hits.times < clock.duration_s
    return Plan(
        tuple(sections),
        energy,
        novelty,
        Hits(hits.times[inside], hits.strengths[inside]),
        find_rests(dancers),
        final_beat,
    )


def bar_energy(clock: BeatClock, rhythm: RhythmTrack) -> Float64[np.ndarray, " bars"]:
    """Mean energy of each bar, in [0, 1]; where the track has none, that of its last value."""
    edges = _bar_edges(clock)
    if rhythm.energy.size == 0:
        return np.full(clock.n_bars, 0.5)
    times = np.arange(rhythm.energy.size) / rhythm.energy_rate
    cumulated = np.concatenate([[0.0], np.cumsum(rhythm.energy.astype(np.float64))])
    places = np.interp(edges, np.append(times, times[-1] + 1 / rhythm.energy_rate), cumulated)
    spans = np.interp(edges, [0.0, times[-1] + 1 / rhythm.energy_rate], [0.0, cumulated.size - 1])
    width = np.diff(spans)
    nearest = np.interp((edges[:-1] + edges[1:]) / 2, times, rhythm.energy)
    mean = np.where(width > 0.5, np.diff(places) / np.maximum(width, 1e-9), nearest)
    return np.clip(mean, 0.0, 1.0)


def bar_features(
    clock: BeatClock, rhythm: RhythmTrack, dancers: Sequence[PoseSequence] = ()
) -> Float64[np.ndarray, "bars features"]:
    """What moves when in each bar: speeds of arms, legs and trunk at 8 places of the bar.

    Mean of the dancers who are there, on a logarithmic scale, each limb of unit variance; energy
    where there are no poses.
    """
    edges = _bar_edges(clock)
    share = (np.arange(SLOTS_PER_BAR) + 0.5) / SLOTS_PER_BAR
    at = edges[:-1, None] + np.diff(edges)[:, None] * share
    if not dancers or len(dancers[0]) < 2:
        times = np.arange(max(rhythm.energy.size, 1)) / rhythm.energy_rate
        energy = rhythm.energy if rhythm.energy.size else np.full(1, 0.5)
        return _standardised(np.interp(at, times, energy)[..., None])
    groups = _limb_speeds(dancers)
    # The mean over a slot, not a sample of it.
    cumulated = np.concatenate([np.zeros((1, groups.shape[1])), np.cumsum(groups, axis=0)])
    half = np.diff(edges)[:, None] / SLOTS_PER_BAR / 2
    fps = dancers[0].fps
    frames = np.arange(cumulated.shape[0]) / fps
    means = np.stack(
        [np.interp(at + half, frames, c) - np.interp(at - half, frames, c) for c in cumulated.T],
        axis=-1,
    ) / np.maximum(2 * half[..., None] * fps, 1e-9)
    return _standardised(np.log(0.05 + np.maximum(means, 0.0)))


def _limb_speeds(dancers: Sequence[PoseSequence]) -> Float64[np.ndarray, "frames limbs"]:
    """Speeds of arms, legs and trunk in m/s, the mean of those who are there; 0 where nobody is."""
    total = np.zeros((len(dancers[0]), len(_LIMBS) + 1))
    seen = np.zeros((len(dancers[0]), 1))
    for poses in dancers:
        step = np.gradient(poses.world.astype(np.float64), axis=0)
        speeds = np.linalg.norm(step, axis=-1) * poses.fps
        limbs = [speeds[:, list(limb)].mean(axis=1) for limb in (*_LIMBS, _TRUNK)]
        there = poses.present[:, None]
        total += np.stack(limbs, axis=1) * there
        seen += there
    return total / np.maximum(seen, 1.0)


def find_novelty(features: Float64[np.ndarray, "bars features"]) -> Float64[np.ndarray, " bars"]:
    """How much the bars from each bar on differ from those before it, at most 1.

    A checkerboard kernel with ``PHRASE_BARS`` bars on each side, tapered by a Gaussian, on the
    cosine similarity of bars; at the ends fewer bars count. Bar 0 has 0.
    """
    n_bars = features.shape[0]
    if n_bars < 2:
        return np.zeros(n_bars)
    norms = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    alike = (features / norms) @ (features / norms).T
    novelty = np.zeros(n_bars)
    for bar in range(1, n_bars):
        reach = min(PHRASE_BARS, bar, n_bars - bar)
        place = np.arange(-reach, reach) + 0.5
        taper = np.exp(-0.5 * (place / (0.6 * PHRASE_BARS)) ** 2)
        kernel = np.sign(np.outer(place, place)) * np.outer(taper, taper)
        window = alike[bar - reach : bar + reach, bar - reach : bar + reach]
        novelty[bar] = max(0.0, (kernel * window).sum() / np.abs(kernel).sum())
    return novelty / max(float(novelty.max()), 1e-3)


def _bar_edges(clock: BeatClock) -> Float64[np.ndarray, " edges"]:
    """Start of each bar in seconds, and the end of the music."""
    starts = clock.seconds(clock.bar_starts.astype(np.float64))
    return np.maximum.accumulate(np.append(np.maximum(starts, 0.0), clock.duration_s))


def _standardised(values: np.ndarray) -> Float64[np.ndarray, "bars features"]:
    """[bars, slots, signals] with each signal of zero mean and unit variance, as [bars, ...]."""
    centred = values - values.mean(axis=(0, 1))
    scaled = centred / np.maximum(centred.std(axis=(0, 1)), 1e-6)
    return scaled.reshape(values.shape[0], -1)


def _still_bars(
    clock: BeatClock, energy: Float64[np.ndarray, " bars"], dancers: Sequence[PoseSequence]
) -> Bool[np.ndarray, " bars"]:
    """Bars of rests long enough to be a break."""
    edges = _bar_edges(clock)
    if dancers and len(dancers[0]) > 1:
        still = np.array([_all_still(dancers, before, after) for before, after in pairwise(edges)])
    else:
        still = energy < STILL_ENERGY
    rests = np.zeros(still.size, bool)
    start = 0
    while start < still.size:
        end = start
        while end < still.size and still[end]:
            end += 1
        if end - start >= STILL_BARS or (end > start and edges[end] - edges[start] >= STILL_S):
            rests[start:end] = True
        start = end + 1
    return rests


def _all_still(dancers: Sequence[PoseSequence], start_s: float, end_s: float) -> bool:
    """Whether no dancer moves between two times; absence is rest."""
    for poses in dancers:
        steps = slice(int(start_s * poses.fps), max(int(end_s * poses.fps), 1))
        part = cut_poses(poses, steps)
        if len(part) < 2:
            continue
        speeds = joint_speeds(part)
        known = speeds[np.isfinite(speeds)]
        if known.size > speeds.size / 4 and known.mean() >= STILL_SPEED:
            return False
    return True


def _final_beat(clock: BeatClock, still: Bool[np.ndarray, " bars"]) -> int:
    """The last downbeat, else middle of a bar, else beat, that leaves time enough to ring.

    Where the dancer stands still in the last bars, and not for longer than ``STILL_RING_S``, it is
    the downbeat on which the rest begins.
    """
    ring_s = clock.duration_s - clock.beat_times[: clock.n_beats]
    numbers = clock.beat_numbers[: clock.n_beats]
    rest = still.size
    while rest > 1 and still[rest - 1]:
        rest -= 1
    if 1 < rest < still.size and RING_S <= ring_s[clock.bar_starts[rest]] <= STILL_RING_S:
        return int(clock.bar_starts[rest])
    within = clock.beat_times[: clock.n_beats] >= 0
    long_enough = np.flatnonzero(within & (ring_s >= RING_S))
    if not long_enough.size:
        return int(within.argmax())
    middle = clock.beats_per_bar // 2 + 1 if clock.beats_per_bar % 2 == 0 else 1
    for wanted in (1, middle):
        beats = long_enough[(numbers == wanted)[long_enough]]
        if beats.size and ring_s[beats[-1]] <= LONGEST_RING_S:
            return int(beats[-1])
    return int(long_enough[-1])


def _ending_bars(n_bars: int, final_bar: int) -> int:
    """Bars of the ending: the last hit is in it, and whole phrases come before."""
    least = n_bars - final_bar
    if n_bars <= 2 * PHRASE_BARS:
        return min(n_bars, least)
    return max(least, (n_bars - 1) % PHRASE_BARS + 1)


def _divide(
    novelty: Float64[np.ndarray, " bars"],
    still: Bool[np.ndarray, " bars"],
    first: int,
    end: int,
) -> list[int]:
    """Lengths of sections between two bars: phrases that start where movement is new.

    Rests are sections of their own; between them the cheapest division by ``LENGTH_COST`` and
    novelty is found by dynamic programming.
    """
    lengths: list[int] = []
    start = first
    while start < end:
        stop = start
        while stop < end and still[stop] == still[start]:
            stop += 1
        lengths.extend([stop - start] if still[start] else _divide_moving(novelty[start:stop]))
        start = stop
    return lengths


def _divide_moving(novelty: Float64[np.ndarray, " bars"]) -> list[int]:
    n_bars = novelty.size
    cost = np.full(n_bars + 1, np.inf)
    cost[0] = 0.0
    before = np.zeros(n_bars + 1, int)
    for end in range(1, n_bars + 1):
        for length in range(1, min(LONGEST_SECTION, end) + 1):
            start = end - length
            reward = novelty[start] if start else 0.0
            # A section that is not the last starts a phrase of four bars more often than not.
            off_phrase = 0.5 if start % PHRASE_BARS else 0.0
            long = SHORT_PIECE_COST if n_bars <= SHORT_PIECE and length > PHRASE_BARS else 0.0
            total = cost[start] + LENGTH_COST[length] + 0.3 - 0.8 * reward + off_phrase + long
            if total < cost[end]:
                cost[end], before[end] = total, start
    lengths = []
    end = n_bars
    while end > 0:
        lengths.append(int(end - before[end]))
        end = int(before[end])
    return lengths[::-1]


def _name_sections(
    lengths: Sequence[int],
    energy: Float64[np.ndarray, " bars"],
    still: Bool[np.ndarray, " bars"],
    first: int,
) -> list[str]:
    """Names by energy: an introduction if long enough and calm, lifts above, breaks below."""
    if not lengths:
        return []
    edges = first + np.concatenate([[0], np.cumsum(lengths)])
    means = np.array([energy[a:b].mean() for a, b in pairwise(edges)], np.float64)
    rests = np.array([bool(still[a]) for a in edges[:-1]])
    moving = means[~rests]
    usual = float(moving.mean()) if moving.size else 0.5
    names = ["break" if rest else "groove" for rest in rests]
    body = int(edges[-1] - edges[0])
    if (
        not rests[0]
        and body >= INTRO_BODY_BARS
        and lengths[0] <= PHRASE_BARS
        and means[0] <= usual + LIFT_ABOVE
    ):
        names[0] = "intro"
    open_sections = [k for k, name in enumerate(names) if name == "groove"]
    lifts = [k for k in open_sections if means[k] >= usual + LIFT_ABOVE]
    if not lifts and len(open_sections) > 1:
        lifts = [max(open_sections, key=lambda k: means[k])]
    for k in sorted(lifts, key=lambda k: -means[k])[: max(1, len(open_sections) // 2)]:
        names[k] = "lift"
    calm = [k for k in open_sections if names[k] == "groove" and 0 < k < len(names) - 1]
    if body >= 2 * INTRO_BODY_BARS and "break" not in names and calm:
        lowest = min(calm, key=lambda k: means[k])
        if means[lowest] <= usual - BREAK_BELOW and lengths[lowest] <= PHRASE_BARS:
            names[lowest] = "break"
    return names
