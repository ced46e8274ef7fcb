"""Who is who from frame to frame: detections become one row of frames per dancer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from dancetomusic.pose.limbs import limb_range
from dancetomusic.pose.mediapipe import Detection, body_distance

REACH = 0.75
"""Torso lengths that a body may move between neighbouring frames, detector noise included."""

REACH_PER_S = 4.0
"""Further torso lengths for each second unseen; about 2 m/s."""

MAX_REACH = 2.0
"""Farther away than this many torso lengths, who reappears among others is somebody else."""

SIZE_RATIO = 2.5
"""Between two sights of one dancer the body may grow or shrink this much at most."""

SAME_PLACE = 1.25
"""Torso lengths by which a misread body is off at most, where two dancers are farther apart."""

MAX_SHARED = 0.2
"""Two identities seen together in more than this share of frames are two people."""

MOVING_M, LEAST_MOVING = 0.25, 0.1
"""Range of the limbs, in metres, that nearly every dancer reaches (``pose.limbs``), and the least
that somebody who does not move counts for, as a share."""

Track = list[Detection | None]
"""One dancer: the detection in each frame of the video, ``None`` where unseen."""


def track_dancers(frames: Sequence[Sequence[Detection]], fps: float) -> list[Track]:
    """Follow each person through the video; the most prominent, large and long seen, first.

    Neighbouring sights are matched by least total distance between the trunks in the
    picture, in torso lengths; who is unseen keeps the identity, and may reappear
    nearby, the farther away the longer the absence. Where nobody continues, at a cut or
    after an empty stage, identities continue by rank of prominence.

    References:
        Kuhn, "The Hungarian Method for the assignment problem", 1955.
    """
    from scipy.optimize import linear_sum_assignment

    tracks: list[Track] = []
    for index, found in enumerate(frames):
        for track in tracks:
            track.append(None)
        if not found:
            continue
        cost = np.array(
            [[_cost(track, person, index, fps) for person in found] for track in tracks]
        ).reshape(len(tracks), len(found))
        possible = np.isfinite(cost)
        born = set(range(len(found)))
        for row, column in zip(*linear_sum_assignment(np.where(possible, cost, 1e6)), strict=True):
            if possible[row, column]:
                tracks[row][index] = found[column]
                born.discard(int(column))
        tracks += [[*[None] * index, found[column]] for column in sorted(born)]
    return _join_shots(_join_fragments(tracks))


def prominence(track: Track) -> float:
    """How large and how long a dancer is seen, and moves: the sum of body heights over frames.

    Who moves less than a dancer counts less by as much, down to ``LEAST_MOVING``, so that a
    poster does not lead.
    """
    seen = [person for person in track if person is not None]
    moves = limb_range(np.stack([person.world for person in seen])) if seen else 0.0
    return float(np.clip(moves / MOVING_M, LEAST_MOVING, 1.0)) * sum(
        person.height for person in seen
    )


def _cost(track: Track, person: Detection, index: int, fps: float) -> float:
    """Distance in torso lengths plus seconds unseen; infinite if it cannot be the same."""
    last = next(k for k in range(index - 1, -1, -1) if track[k] is not None)
    seen = track[last]
    assert seen is not None
    unseen_s = (index - last - 1) / fps
    distance = body_distance(seen, person)
    ratio = max(seen.torso, person.torso) / min(seen.torso, person.torso)
    if distance > min(REACH + REACH_PER_S * unseen_s, MAX_REACH) or ratio > SIZE_RATIO:
        return np.inf
    return distance + unseen_s


def _join_fragments(tracks: list[Track]) -> list[Track]:
    """Give back to a dancer the frames in which a misread body began another identity."""
    whole: list[Track] = []
    for track in sorted(tracks, key=prominence, reverse=True):
        for k, other in enumerate(whole):
            if _is_fragment(track, other):
                whole[k] = [a or b for a, b in zip(other, track, strict=True)]
                break
        else:
            whole.append(track)
    return whole


def _is_fragment(track: Track, other: Track) -> bool:
    """Whether ``track`` is where and when ``other`` is, but hardly ever in the same frame."""
    frames = np.flatnonzero([person is not None for person in track])
    seen = np.flatnonzero([person is not None for person in other])
    apart = frames[-1] < seen[0] or seen[-1] < frames[0]
    if apart or np.isin(frames, seen).mean() > MAX_SHARED:
        return False
    nearest = seen[np.abs(frames[:, None] - seen).argmin(axis=1)]
    distances = [
        body_distance(a, b)
        for a, b in ((track[k], other[n]) for k, n in zip(frames, nearest, strict=True))
        if a is not None and b is not None
    ]
    return float(np.median(distances)) < SAME_PLACE


def _join_shots(tracks: list[Track]) -> list[Track]:
    """Join identities over the moments that no track spans, rank by rank."""
    spans = [_span(track) for track in tracks]
    starts = sorted({first for first, _ in spans})
    cuts = [k for k in starts if all(last < k or first >= k for first, last in spans)]
    joined: list[Track] = []
    for begin, end in pairwise([*cuts, np.inf]):
        shot = [t for t, (first, _) in zip(tracks, spans, strict=True) if begin <= first < end]
        shot.sort(key=prominence, reverse=True)
        for rank, track in enumerate(shot):
            if rank < len(joined):
                joined[rank] = [a or b for a, b in zip(joined[rank], track, strict=True)]
            else:
                joined.append(track)
        joined.sort(key=prominence, reverse=True)
    return joined


def _span(track: Track) -> tuple[int, int]:
    seen = [k for k, person in enumerate(track) if person is not None]
    return seen[0], seen[-1]
