"""Beats and bars from activations: the most probable path of a bar-pointer model.

References:
    Krebs, Böck and Widmer, "An efficient state-space model for joint tempo and meter tracking",
    2015; Böck, Krebs and Widmer, "Joint beat and downbeat tracking", 2016.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

BAR_LENGTHS = (4, 3)
SLOWEST_BPM, FASTEST_BPM = 50.0, 215.0
TEMPO_STIFFNESS = 60.0
"""How much less likely a beat is for each share by which its length differs from the last."""

TEMPO_STEP = 0.015
"""Tempi to try differ by this share, or by a frame in the length of a beat."""

BEAT_WIDTH_S = 0.04
"""How long from its start on a beat's activation is expected."""

OFF_BEAT_PLACES = 7.0
"""Positions off the beat among which the absence of an activation is spread."""

PRIOR_BPM, PRIOR_OCTAVES = 115.0, 0.6
"""Log-normal prior of the first tempo, and its weight in nats below."""

PRIOR_NATS = 20.0
FLOOR = 1e-5
REFINE_S = 0.05
METRE_CHANGE = -6.0
"""Log-probability that a bar is followed by one of another length, or is cut short."""


@dataclass(frozen=True)
class _States:
    """All positions in beats of all lengths, one beat length after the other.

    Attributes:
        lengths: Frames of each beat length.
        first: Index of each beat's first position.
        last: Index of its last position.
        on_beat: Whether a position expects the beat's activation.
    """

    lengths: Int[np.ndarray, " tempi"]
    first: Int[np.ndarray, " tempi"]
    last: Int[np.ndarray, " tempi"]
    on_beat: Bool[np.ndarray, " states"]


def decode_beats(
    activation: Float32[np.ndarray, " frames"],
    frame_rate: float,
    *,
    slowest_bpm: float = SLOWEST_BPM,
    fastest_bpm: float = FASTEST_BPM,
) -> Float[np.ndarray, " beats"]:
    """The most probable beats in seconds, whose tempo may drift and change.

    100 frames a second resolve tempi well enough.
    """
    if activation.size < 2:
        return np.zeros(0)
    states = _build_states(frame_rate, slowest_bpm, fastest_bpm)
    positions = _viterbi(activation, states, frame_rate)
    beats = np.flatnonzero(np.isin(positions, states.first))
    # A beat is where the path is at a first position; one that began before the file is left out.
    return _refine(beats, activation, frame_rate)


def number_beats(
    downbeats: Float[np.ndarray, " beats"],
) -> Int[np.ndarray, " beats"]:
    """Positions, from 1, of beats in bars of four or three, by the most probable path.

    Args:
        downbeats: Probability of each beat that it is the first of its bar.
    """
    if downbeats.size == 0:
        return np.zeros(0, np.int64)
    bars = [(length, position) for length in BAR_LENGTHS for position in range(length)]
    is_first = np.array([position == 0 for _, position in bars])
    # Bars of three have to earn it: most dances are in four.
    start = np.array([0.0 if length == 4 else -2.0 for length, _ in bars])
    transition = np.full((len(bars), len(bars)), -np.inf)
    for origin, (length, position) in enumerate(bars):
        for target, (next_length, next_position) in enumerate(bars):
            if next_length == length and next_position == (position + 1) % length:
                transition[origin, target] = 0.0
            elif next_position == 0:
                transition[origin, target] = METRE_CHANGE
    p = np.clip(downbeats, 0.02, 0.98)
    score = np.where(is_first[None], np.log(p)[:, None], np.log(1 - p)[:, None])
    total, origins = start + score[0], np.zeros((downbeats.size, len(bars)), np.int64)
    for k in range(1, downbeats.size):
        arrivals = total[:, None] + transition
        origins[k] = arrivals.argmax(axis=0)
        total = arrivals.max(axis=0) + score[k]
    path = [int(total.argmax())]
    for k in range(downbeats.size - 1, 0, -1):
        path.append(int(origins[k, path[-1]]))
    return np.array([bars[state][1] for state in reversed(path)]) + 1


def _build_states(frame_rate: float, slowest_bpm: float, fastest_bpm: float) -> _States:
    shortest, longest = (60.0 * frame_rate / bpm for bpm in (fastest_bpm, slowest_bpm))
    steps = int(np.ceil(np.log(longest / shortest) / np.log1p(TEMPO_STEP)))
    lengths = np.unique(np.rint(np.geomspace(shortest, longest, steps + 1)).astype(int))
    last = np.cumsum(lengths) - 1
    first = last - lengths + 1
    position = np.arange(lengths.sum()) - np.repeat(first, lengths)
    return _States(lengths, first, last, position < round(BEAT_WIDTH_S * frame_rate))


def _viterbi(
    activation: Float32[np.ndarray, " frames"], states: _States, frame_rate: float
) -> Int[np.ndarray, " frames"]:
    """The most probable state of each frame.

    A position is followed by the next one; the last position of a beat by the first of any, with
    ``log p = -stiffness * |ratio of lengths - 1|``. On the beat the activation ``a`` is seen with
    probability ``a``, elsewhere with ``(1 - a) / OFF_BEAT_PLACES``.
    """
    # change[target, origin]: rows are contiguous, for the maximum over origins in every frame.
    ratio = states.lengths[:, None] / states.lengths[None, :]
    change = -TEMPO_STIFFNESS * np.abs(ratio - 1.0)
    change = (change - np.logaddexp.reduce(change, axis=0, keepdims=True)).astype(np.float32)
    beat = np.log(np.maximum(activation, FLOOR))
    other = np.log(np.maximum(1.0 - activation, FLOOR) / OFF_BEAT_PLACES)
    # Only positions on the beat need the activation: what the others see is common to all paths.
    gain = (beat - other).astype(np.float32)
    # Start: a log-normal prior over tempi, any position of a beat alike.
    bpm = 60.0 * frame_rate / states.lengths
    prior = -0.5 * PRIOR_NATS * (np.log2(bpm / PRIOR_BPM) / PRIOR_OCTAVES) ** 2
    score = np.repeat(prior - np.log(states.lengths), states.lengths).astype(np.float32)
    weight = states.on_beat.astype(np.float32)
    score += gain[0] * weight
    moved, arrivals = np.empty_like(score), np.empty_like(change)
    origins = np.zeros((activation.size, states.lengths.size), np.uint8)
    rows = np.arange(states.lengths.size)
    for k in range(1, activation.size):
        # Every position moves on; a first one is reached from the best of all last ones.
        np.add(change, score[states.last], out=arrivals)
        origins[k] = best = arrivals.argmax(axis=1)
        np.multiply(weight, gain[k], out=moved)
        moved[1:] += score[:-1]
        moved[states.first] = arrivals[rows, best] + gain[k]
        score, moved = moved, score
    # Backwards from the best last state; only at the first position of a beat is there a choice.
    state = int(score.argmax())
    tempo_of = np.repeat(rows, states.lengths)
    path = np.empty(activation.size, np.int64)
    for k in range(activation.size - 1, -1, -1):
        path[k] = state
        tempo = tempo_of[state]
        state = int(states.last[origins[k, tempo]]) if state == states.first[tempo] else state - 1
    return path


def _refine(
    beats: Int[np.ndarray, " beats"],
    activation: Float32[np.ndarray, " frames"],
    frame_rate: float,
) -> Float[np.ndarray, " beats"]:
    """Move beats to the centre of the activation near them; in seconds, increasing."""
    reach = round(REFINE_S * frame_rate)
    padded = np.pad(activation, reach)
    near = padded[beats[:, None] + np.arange(2 * reach + 1)]
    peak = near.argmax(axis=1)
    strong = near.max(axis=1) > 0.1
    offsets = np.arange(-2, 3)
    around = np.pad(near, ((0, 0), (2, 2)))[
        np.arange(beats.size)[:, None], peak[:, None] + 2 + offsets
    ]
    centre = peak + (around * offsets).sum(axis=1) / np.maximum(around.sum(axis=1), 1e-9)
    moved = beats + np.where(strong, centre - reach, 0.0)
    times = np.maximum(moved, 0.0) / frame_rate
    keep = np.concatenate([[True], np.diff(times) > 0.1])
    return times[keep]
