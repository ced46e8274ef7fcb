from __future__ import annotations

import numpy as np

from dancetomusic.pose.landmarks import LANDMARK
from dancetomusic.pose.mediapipe import Detection, distinct_bodies
from dancetomusic.pose.tracking import track_dancers


def person(x: float, size: float = 0.5, name: float = 0.0, visibility: float = 0.9) -> Detection:
    """Someone standing at ``x``, ``size`` of the picture high; ``name`` marks the world pose."""
    image = np.zeros((33, 3), np.float32)
    image[:, 0] = x
    image[:, 1] = 0.9 - size * np.linspace(1, 0, 33)
    for side, sign in (("left", 1), ("right", -1)):
        image[LANDMARK[f"{side}_shoulder"], 0] += sign * 0.1 * size
        image[LANDMARK[f"{side}_hip"], 0] += sign * 0.07 * size
    world = np.full((33, 3), name, np.float32)
    return Detection(image, world, np.full(33, visibility, np.float32), 16 / 9)


def names(track: list[Detection | None]) -> list[float | None]:
    return [None if p is None else float(p.world[0, 0]) for p in track]


def test_identities_survive_shuffled_order_and_gaps(tiny_rng: np.random.Generator) -> None:
    frames = []
    for k in range(120):
        people = [person(0.2 + 0.001 * k, 0.6, 1), person(0.8 - 0.001 * k, 0.5, 2)]
        people = [p for p in people if tiny_rng.random() > 0.3]
        frames.append([people[i] for i in tiny_rng.permutation(len(people))])
    tracks = track_dancers(frames, 24.0)
    assert len(tracks) == 2
    for track, name in zip(tracks, (1.0, 2.0), strict=True):
        assert len(track) == 120 and set(names(track)) == {name, None}


def test_dancers_that_pass_each_other_keep_their_identities() -> None:
    # They pass at different depth, so one is larger.
    frames = [
        [person(0.2 + 0.005 * k, 0.7, 1), person(0.8 - 0.005 * k, 0.4, 2)] for k in range(120)
    ]
    assert [set(names(t)) for t in track_dancers(frames, 24.0)] == [{1.0}, {2.0}]


def test_the_first_is_seen_largest_and_longest() -> None:
    frames = [[person(0.2, 0.3, 1)] + ([person(0.7, 0.6, 2)] if k >= 20 else []) for k in range(96)]
    assert names(track_dancers(frames, 24.0)[0])[50] == 2.0
    frames = [[person(0.2, 0.3, 1)] + ([person(0.7, 0.6, 2)] if k < 10 else []) for k in range(96)]
    assert names(track_dancers(frames, 24.0)[0])[50] == 1.0


def test_a_larger_poster_does_not_lead(tiny_rng: np.random.Generator) -> None:
    frames = []
    for k in range(96):
        poster, dancer = person(0.2, 0.8, 1), person(0.7, 0.4, 2)
        poster.world[:] += tiny_rng.normal(0, 0.01, (33, 3))
        dancer.world[LANDMARK["left_wrist"] :] += 0.3 * np.sin(k / 4)
        frames.append([poster, dancer])
    leading = track_dancers(frames, 24.0)[0][50]
    assert leading is not None and leading.image[0, 0] > 0.5


def test_a_stranger_far_off_does_not_take_over_a_short_absence() -> None:
    frames = [[person(0.2, 0.5, 1)] if k != 30 else [person(0.8, 0.5, 2)] for k in range(60)]
    tracks = track_dancers(frames, 24.0)
    assert names(tracks[0])[30] is None and names(tracks[1])[30] == 2.0


def test_a_misread_body_stays_with_its_dancer() -> None:
    # For six frames the trunk is seen one torso length away from where it is.
    frames = [[person(0.25 if 30 <= k < 36 else 0.2, 0.5, k)] for k in range(60)]
    frames = [[*found, person(0.8, 0.4, -1)] for found in frames]
    tracks = track_dancers(frames, 24.0)
    assert len(tracks) == 2 and names(tracks[0]) == list(range(60))


def test_identities_go_on_after_a_cut_by_rank() -> None:
    before = [[person(0.2, 0.6, 1), person(0.7, 0.3, 2)]] * 30
    after = [[person(0.9, 0.8, 1), person(0.45, 0.3, 2)]] * 30
    tracks = track_dancers([*before, *after], 24.0)
    assert [set(names(t)) for t in tracks] == [{1.0}, {2.0}]
    assert all(len(t) == 60 for t in tracks)


def test_nobody_gives_no_tracks() -> None:
    assert track_dancers([[]] * 10, 24.0) == []


def test_one_body_seen_twice_is_kept_once_and_neighbours_twice() -> None:
    twice = [person(0.50, visibility=0.5), person(0.51, visibility=0.9)]
    assert distinct_bodies(twice) == [twice[1]]
    assert len(distinct_bodies([person(0.4), person(0.6)])) == 2
