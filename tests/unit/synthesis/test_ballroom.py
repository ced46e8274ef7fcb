import numpy as np
import pytest

from dancetomusic.synthesis.ballroom import N_BARS, ballroom_groove, compose_ballroom
from dancetomusic.synthesis.groove import (
    BALLROOM_STYLES,
    DRUM_CHANNEL,
    KICKS,
    Groove,
    Note,
    compose_bass,
)

SNARE = 38


def strokes(groove: Groove, pitches: tuple[int, ...]) -> list[tuple[int, float]]:
    """Position in the bar, to the nearest sixteenth, of each stroke on some pieces of the kit."""
    return [
        round(note.time % groove.beats_per_bar * 4) / 4 % groove.beats_per_bar
        for note in groove.notes
        if note.pitch in pitches
    ]


@pytest.mark.parametrize("style", BALLROOM_STYLES)
def test_grooves_are_whole_bars_of_drums_and_no_two_are_alike(style: str) -> None:
    grooves = [compose_ballroom(style, np.random.default_rng(seed)) for seed in range(10)]
    for groove in grooves:
        assert groove.style == style
        assert groove.beats_per_bar == (3 if style == "waltz" else 4)
        assert groove.n_beats == N_BARS * groove.beats_per_bar
        assert all(note.channel == DRUM_CHANNEL for note in groove.notes)
        assert all(0 <= note.time < groove.n_beats for note in groove.notes)
        times = [note.time for note in groove.notes]
        assert times == sorted(times)
    assert len({groove.notes for groove in grooves}) == 10


def test_a_waltz_has_its_kick_on_one() -> None:
    waltz = compose_ballroom("waltz", np.random.default_rng(0))
    assert set(strokes(waltz, KICKS)) == {0.0}


def test_a_tango_marks_the_beats_and_leads_into_the_bar() -> None:
    tango = compose_ballroom("tango", np.random.default_rng(0))
    assert {0.0, 1.0, 2.0, 3.0, 3.5} <= set(strokes(tango, (SNARE,)))
    loud = [n.velocity for n in tango.notes if n.pitch == SNARE and abs(n.time % 4 - 3.5) < 0.1]
    soft = [n.velocity for n in tango.notes if n.pitch == SNARE and abs(n.time % 4 - 2) < 0.1]
    assert np.mean(loud) > np.mean(soft) + 15


@pytest.mark.parametrize(
    ("style", "places"),
    [
        ("tango", {0.0, 1.0, 2.0, 3.0, 1.5}),
        ("rumba", {0.0, 1.5, 2.0, 3.0}),
        ("waltz", {0.0, 2.0}),
    ],
)
def test_the_bass_has_the_habits_of_the_dance(style: str, places: set[float]) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        groove = compose_ballroom(style, rng)
        bass = compose_bass(groove, rng)
        assert {note.time % groove.beats_per_bar for note in bass} <= places


def test_a_drummers_groove_is_taken_now_and_then_where_one_fits() -> None:
    samba = Groove((Note(0.0, 0.2, 36, 90, DRUM_CHANNEL),), 16, 4, 120.0, "latin", "d", "samba")
    rng = np.random.default_rng(0)
    made = [ballroom_groove("rumba", [samba], rng) for _ in range(80)]
    assert {groove.style for groove in made} == {"rumba"}
    assert 0.1 < np.mean([groove.name == "samba" for groove in made]) < 0.4
    waltzes = [ballroom_groove("waltz", [samba], rng) for _ in range(20)]
    assert {groove.beats_per_bar for groove in waltzes} == {3}
    assert {ballroom_groove("tango", [samba], rng).drummer for _ in range(20)} == {"composed"}
