from __future__ import annotations

import pytest
from pydantic import ValidationError

from dancetomusic.app.beats import require_beats
from dancetomusic.app.limits import Refusal
from dancetomusic.app.server import TakeRequest

STEADY = [(0.1 + 0.5 * k, k % 4 + 1) for k in range(20)]


@pytest.mark.parametrize(
    "beats",
    [
        STEADY,
        STEADY[:2],
        [(0.0, 1), (3.0, 2)],  # 20 BPM
        [(0.0, 1), (0.15, 2)],  # 400 BPM
        [(0.1501 * k, k % 16 + 1) for k in range(67)],  # as many as fit into the video
    ],
)
def test_beats_that_can_be_played_are_taken(beats):
    require_beats(beats, 10.0)


@pytest.mark.parametrize(
    ("beats", "problem"),
    [
        ([], "0 beats"),
        (STEADY[:1], "1 beats"),
        ([(1.0, 1), (0.5, 2)], "do not increase"),
        ([(1.0, 1), (1.0, 2)], "do not increase"),
        ([(float("nan"), 1), (1.0, 2)], "run from nan"),
        ([(0.5, 1), (float("inf"), 2)], "to inf s"),
        ([(-0.2, 1), (0.5, 2)], r"run from -0.20"),
        ([(9.0, 1), (10.5, 2)], r"to 10.50 s"),
        ([(1.0, 1), (1.1, 2)], "600.0 BPM"),
        ([(1.0, 1), (4.5, 2)], "17.1"),
        ([(1.0, 0), (1.5, 1)], "numbered 0 to 1"),
        ([(1.0, 1), (1.5, 17)], "numbered 1 to 17"),
        ([(1.0, -(10**30)), (1.5, 10**30)], "numbered"),
        ([(0.001 * k, 1) for k in range(5000)], "5000 beats"),
    ],
)
def test_beats_that_cannot_be_played_are_refused_in_one_line(beats, problem):
    with pytest.raises(Refusal, match=problem) as refusal:
        require_beats(beats, 10.0)
    assert refusal.value.status == 422
    assert refusal.value.remedy and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "beats",
    ["1,2", [1.0, 2.0], [[1.0]], [[1.0, 1, 1]], [["x", 1]], [[1.0, 1.5]], [[None, 1]], {}],
)
def test_what_is_no_list_of_beats_is_no_request(beats):
    with pytest.raises(ValidationError):
        TakeRequest.model_validate({"beats": beats})


def test_a_take_has_its_beats_from_one_place():
    for wish in ({"beats": STEADY, "bpm": 120.0}, {"beats": STEADY, "reading": 1}):
        with pytest.raises(ValidationError, match="one of"):
            TakeRequest.model_validate(wish)
    assert TakeRequest.model_validate({"beats": STEADY}).beats == STEADY
