"""Who is who from frame to frame: detections become one row of frames per dancer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dancetomusic.pose.mediapipe import Detection, body_distance

REACH = 0.75
"""Torso lengths that a body may move between neighbouring frames, detector noise included."""

REACH_PER_S = 4.0
"""Further torso lengths for each second unseen; about 2 m/s."""

SIZE_RATIO = 2.5
"""Between two sights of one dancer the body may grow or shrink this much at most."""

Track = list[Detection | None]
"""One dancer: the detection in each frame of the video, ``None`` where unseen."""


def track_dancers(frames: Sequence[Sequence[Detection]], fps: float) -> list[Track]:
    """Follow each person through the video; the most prominent, large and long seen, first.

    Neighbouring sights are matched by least total distance between the trunks in the
    picture, in torso lengths; who is unseen keeps the identity, and may reappear the
    farther away the longer the absence. Where nobody continues, at a cut, identities go
    on by rank of prominence.

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
    return sorted(_join_shots(tracks), key=prominence, reverse=True)


def prominence(track: Track) -> float:
    """How large and how long a dancer is seen: the sum of body heights over frames."""
    return sum(person.height for person in track if person is not None)


def _cost(track: Track, person: Detection, index: int, fps: float) -> float:
    """Distance in torso lengths plus seconds unseen; infinite if it cannot be the same."""
    last = next(k for k in range(index - 1, -1, -1) if track[k] is not None)
    seen = track[last]
    assert seen is not None
    unseen_s = (index - last - 1) / fps
    distance = body_distance(seen, person)
    ratio = max(seen.torso, person.torso) / min(seen.torso, person.torso)
    if distance > REACH + REACH_PER_S * unseen_s or ratio > SIZE_RATIO:
        return np.inf
    return distance + unseen_s


def _join_shots(tracks: list[Track]) -> list[Track]:
    """Join identities over the moments that no track spans, rank by rank."""
    spans = [_span(track) for track in tracks]
    starts = sorted({first for first, _ in spans})
    cuts = [k for k in starts if all(last < k or first >= k for first, last in spans)]
    joined: list[Track] = []
    for begin, end in zip(cuts, [*cuts[1:], np.inf], strict=True):
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
