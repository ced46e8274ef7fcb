"""What makes beats of a movement a guess, and what makes them impossible."""

from dataclasses import replace

import numpy as np
import pytest

from dancetomusic.errors import PoseError
from dancetomusic.generate.beat_source import BeatChoice, choose_rhythm, estimate_rhythms
from dancetomusic.generate.doubts import is_still, movement_doubts
from dancetomusic.models.encoders import load_encoder
from dancetomusic.pose.landmarks import LANDMARK
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.types import PoseSequence


def _dancer(scale: float = 1.0, *, image: bool = True) -> PoseSequence:
    """A dancer who moves ``scale`` times as far as usual."""
    dance = choreograph("steps", 110, 8, seed=1)
    mean = dance.world.mean(axis=0)
    jitter = np.random.default_rng(0).normal(0, 0.01, dance.world.shape)
    world = (mean + scale * (dance.world - mean) + jitter).astype(np.float32)
    n_frames = len(world)
    picture = np.full((n_frames, 33, 3), 0.5, np.float32)
    return PoseSequence(
        world=world,
        image=picture if image else None,
        visibility=np.ones((n_frames, 33), np.float32),
        present=np.ones(n_frames, bool),
        fps=24.0,
    )


def _without_legs(dancer: PoseSequence) -> PoseSequence:
    assert dancer.image is not None
    image = dancer.image.copy()
    image[:, LANDMARK["left_knee"] :, 1] = 1.3
    return replace(dancer, image=image)


@pytest.mark.parametrize(
    ("dancer", "fps", "words"),
    [
        (_dancer(), 30.0, None),
        (_dancer(image=False), None, None),
        (_dancer(0.0), 30.0, "nobody moves"),
        (_dancer(0.25), 30.0, "little movement"),
        (_without_legs(_dancer()), 30.0, "legs are out of the picture"),
        (_dancer(), 1.0, "1 pictures a second"),
    ],
)
def test_doubts_are_said(dancer: PoseSequence, fps: float | None, words: str | None) -> None:
    doubts = movement_doubts([dancer], fps)
    assert not doubts if words is None else words in " ".join(doubts)


def test_who_moves_among_those_who_stand_is_enough() -> None:
    assert is_still([_dancer(0.0)]) and not is_still([_dancer(0.0), _dancer()])


def test_doubts_make_a_guess() -> None:
    encoder, dancers = load_encoder(), [_dancer()]
    _, sure = estimate_rhythms(encoder, dancers)
    _, unsure = estimate_rhythms(encoder, dancers, doubts=["the legs are out of the picture"])
    assert sure[0].certainty > unsure[0].certainty
    assert all(track.verdict == "guess" for track in unsure)
    assert np.array_equal(sure[0].beat_times, unsure[0].beat_times)


def test_nobody_moving_needs_a_tempo() -> None:
    encoder, dancers = load_encoder(), [_dancer(0.0)]
    doubts = movement_doubts(dancers)
    with pytest.raises(PoseError, match="nobody moves.*--bpm"):
        choose_rhythm(encoder, dancers, BeatChoice(), doubts=doubts)
    _, rhythm, _ = choose_rhythm(encoder, dancers, BeatChoice(bpm=100.0), doubts=doubts)
    assert rhythm.bpm == pytest.approx(100.0, abs=0.5) and rhythm.verdict == "guess"
