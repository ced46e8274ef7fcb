"""Several dancers: those of one tempo are read together, else the most prominent leads."""

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.models.pose_encoder.lead import choose_lead, same_tempo
from dancetomusic.rhythm.beats import TEMPI_BPM
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.types import PoseSequence


def dancer(bpm: float, seed: int, seconds: float = 12.0) -> PoseSequence:
    world = choreograph("steps", bpm, seconds, seed=seed, hold_share=0.0).world
    n_frames = world.shape[0]
    return PoseSequence(world, np.ones(n_frames, bool), np.ones((n_frames, 33), np.float32), 24.0)


def still(seconds: float = 12.0) -> PoseSequence:
    n_frames = round(seconds * 24)
    world = np.repeat(np.random.default_rng(0).normal(0, 0.2, (1, 33, 3)), n_frames, axis=0)
    present, visibility = np.ones(n_frames, bool), np.ones((n_frames, 33), np.float32)
    return PoseSequence(world.astype(np.float32), present, visibility, 24.0)


@pytest.fixture(scope="module")
def dancers() -> list[PoseSequence]:
    """Two at one tempo, and one between them who is slower."""
    return [dancer(116.0, 3), dancer(92.0, 8), dancer(116.0, 5)]


def test_those_of_another_tempo_do_not_lead(dancers: list[PoseSequence]) -> None:
    lead = choose_lead(dancers)
    assert lead.leaders == (0, 2)
    assert "dancers 1 and 3 of 3" in lead.reason and "dancer 2 at" in lead.reason
    assert "116" in lead.reason and "92" in lead.reason


def test_the_most_prominent_leads_whatever_their_tempo(dancers: list[PoseSequence]) -> None:
    assert choose_lead(dancers[1::-1]).leaders == (0,)
    assert choose_lead(dancers[:2]).leaders == (0,)


def test_one_tempo_is_read_together(dancers: list[PoseSequence]) -> None:
    lead = choose_lead([dancers[0], dancers[2]])
    assert lead.leaders == (0, 1) and "agree" in lead.reason
    assert choose_lead([dancers[0]]).leaders == (0,) and not choose_lead([dancers[0]]).reason


def test_who_stands_still_contradicts_nobody(dancers: list[PoseSequence]) -> None:
    assert choose_lead([dancers[0], still()]).leaders == (0, 1)


def test_a_choice_is_kept(dancers: list[PoseSequence]) -> None:
    assert choose_lead(dancers, "all").leaders == (0, 1, 2)
    assert choose_lead(dancers, "largest").leaders == (0,)
    assert choose_lead(dancers, "2").leaders == (1,)
    for follow in ("", "0", "-1", "tallest"):
        with pytest.raises(InputError, match="follow is"):
            choose_lead(dancers, follow)
    with pytest.raises(InputError, match="of 3 seen"):
        choose_lead(dancers, "4")


def test_evidence_is_compared_whatever_its_constant() -> None:
    peak = -0.5 * ((np.log2(TEMPI_BPM / 120.0)) / 0.05) ** 2
    other = -0.5 * ((np.log2(TEMPI_BPM / 90.0)) / 0.05) ** 2
    flat = np.zeros(TEMPI_BPM.size)
    assert same_tempo(peak, peak) > 1.0 > 0.0 > -2.0 > same_tempo(peak, other)
    assert same_tempo(peak, flat) == pytest.approx(0.0, abs=1e-9)
    assert same_tempo(peak + 7.0, other) == pytest.approx(same_tempo(peak, other))
