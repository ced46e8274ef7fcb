"""Dances that share takes of motion capture, and splits in which they do not.

Dances of one set are often cut from the same takes and paired with other music: a dance held out by
its name alone has then been seen in training, movement for movement. Two windows of four beats
are the same capture where their joints, turned to one view and sampled at the same positions within
the beat, lie within 10 mm of each other on average. Captures are the connected components of that
relation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dancetomusic.data.dance import Dance

CAPTURES = "captures"
"""Name of what is held out where no capture may be shared."""

WINDOW_BEATS = 4
SAME_CAPTURE_M = 0.010
"""Mean distance of the joints of two windows below which they are one capture, in metres."""

_SAMPLES_PER_BEAT = 4
_JOINTS = np.array([0, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28])
_LEFT_HIP, _RIGHT_HIP = 7, 8  # within _JOINTS
_BLOCK = 500  # windows compared with all others at a time
_RMS_OVER_MEAN = 1.5  # pairs whose quadratic mean distance is this far above are not measured


@dataclass(frozen=True)
class Captures:
    """Which capture each window of four beats is.

    Attributes:
        dance: Index of its dance.
        first_beat: Index of its first beat.
        capture: Number of its capture; windows of one number are the same movement.
    """

    dance: Int[np.ndarray, " windows"]
    first_beat: Int[np.ndarray, " windows"]
    capture: Int[np.ndarray, " windows"]

    def shared_with(
        self, dances: Sequence[int], others: Sequence[int]
    ) -> Bool[np.ndarray, " windows"]:
        """Windows of ``dances`` whose capture also occurs in one of ``others``."""
        known = np.unique(self.capture[np.isin(self.dance, others)])
        shared: Bool[np.ndarray, " windows"] = np.isin(self.dance, dances) & np.isin(
            self.capture, known
        )
        return shared


def find_captures(dances: Sequence[Dance]) -> Captures:
    """Number the captures of all windows of four beats, one beginning at every beat."""
    windows, dance, first = [], [], []
    for index, item in enumerate(dances):
        whole = item.beat_times[item.beat_times < item.poses.duration_s]
        for beat in range(whole.size - WINDOW_BEATS):
            windows.append(_window(item, whole[beat : beat + WINDOW_BEATS + 1]))
            dance.append(index)
            first.append(beat)
    if not windows:
        empty = np.zeros(0, np.int64)
        return Captures(empty, empty, empty)
    pairs = _same(np.stack(windows))
    size = len(windows)
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(size, size))
    _, capture = connected_components(graph, directed=False)
    return Captures(np.array(dance), np.array(first), capture.astype(np.int64))


def capture_disjoint(dances: Sequence[Dance], held_out: Sequence[Dance]) -> list[Dance]:
    """Dances with nobody present wherever they show a capture of a held-out dance.

    Returns:
        The same dances, in order; those that share nothing are unchanged.
    """
    known = find_captures([*dances, *held_out])
    tested = range(len(dances), len(dances) + len(held_out))
    shared = known.shared_with(range(len(dances)), tested)
    kept = []
    for index, dance in enumerate(dances):
        seconds = np.arange(len(dance.poses)) / dance.poses.fps
        present = dance.poses.present.copy()
        for beat in known.first_beat[shared & (known.dance == index)]:
            start_s, end_s = dance.beat_times[[beat, beat + WINDOW_BEATS]]
            present &= (seconds < start_s) | (seconds >= end_s)
        kept.append(dance.showing(present))
    return kept


def _window(dance: Dance, beats: np.ndarray) -> Float32[np.ndarray, "samples joints 3"]:
    """Joints at sixteen positions in four beats, turned so that the hips first face one way."""
    count = np.arange(WINDOW_BEATS * _SAMPLES_PER_BEAT) / _SAMPLES_PER_BEAT
    # Joints at those beats, linearly between frames.
    at = np.interp(count, np.arange(WINDOW_BEATS + 1), beats) * dance.poses.fps
    below = np.minimum(at.astype(int), len(dance.poses) - 2)
    share = (at - below)[:, None, None]
    world = dance.poses.world[:, _JOINTS]
    joints = world[below] * (1 - share) + world[below + 1] * share
    # Turned about the vertical by the heading of the hips in the first sample.
    across = joints[0, _RIGHT_HIP] - joints[0, _LEFT_HIP]
    angle = np.arctan2(across[2], across[0])
    cos, sin = np.cos(angle), np.sin(angle)
    turned = np.stack(
        [
            cos * joints[..., 0] + sin * joints[..., 2],
            joints[..., 1],
            cos * joints[..., 2] - sin * joints[..., 0],
        ],
        axis=-1,
    )
    return turned.astype(np.float32)


def _same(windows: Float32[np.ndarray, "windows samples joints 3"]) -> np.ndarray:
    """Pairs of windows, [pairs, 2], that are one capture."""
    flat = windows.reshape(len(windows), -1)
    squares = (flat**2).sum(axis=1)
    points = windows.shape[1] * windows.shape[2]
    limit = points * (_RMS_OVER_MEAN * SAME_CAPTURE_M) ** 2
    pairs: list[tuple[int, int]] = []
    for first in range(0, len(windows), _BLOCK):
        block = slice(first, first + _BLOCK)
        # |a - b|² = |a|² + |b|² - 2 a·b rules out nearly all pairs before distances are measured.
        apart = squares[block, None] + squares[None] - 2 * flat[block] @ flat.T
        for row, column in zip(*np.nonzero(apart < limit), strict=True):
            a, b = first + int(row), int(column)
            if a >= b:
                continue
            if np.linalg.norm(windows[a] - windows[b], axis=-1).mean() < SAME_CAPTURE_M:
                pairs.append((a, b))
    return np.array(pairs, np.int64).reshape(-1, 2)
