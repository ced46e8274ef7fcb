"""Keys, roman numerals, progressions with cadences, voice leading."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.score.harmony import (
    Chord,
    Key,
    draw_key,
    lay_progression,
    parse_bar,
    parse_chord,
    parse_key,
    voice_chords,
)

A_MINOR, C_MAJOR = Key(9, "minor"), Key(0, "major")


@pytest.mark.parametrize(
    ("text", "key", "named"),
    [
        ("A minor", Key(9, "minor"), "A minor"),
        ("F# major", Key(6, "major"), "F# major"),
        ("bb minor", Key(10, "minor"), "Bb minor"),
        ("Db major", Key(1, "major"), "C# major"),
        ("Cb major", Key(11, "major"), "B major"),
    ],
)
def test_keys_are_read_and_named(text, key, named):
    assert parse_key(text) == key
    assert str(key) == named


@pytest.mark.parametrize("text", ["H minor", "A", "A dorian", ""])
def test_other_keys_are_refused(text):
    with pytest.raises(InputError, match="Write it like"):
        parse_key(text)


@pytest.mark.parametrize(
    ("numeral", "key", "classes"),
    [
        ("i", A_MINOR, (9, 0, 4)),
        ("VI", A_MINOR, (5, 9, 0)),
        ("V7", A_MINOR, (4, 8, 11, 2)),
        ("iim7b5", A_MINOR, (11, 2, 5, 9)),
        ("bVII", C_MAJOR, (10, 2, 5)),
        ("ii7", C_MAJOR, (2, 5, 9, 0)),
        ("I6", C_MAJOR, (0, 4, 7, 9)),
        ("V7sus4", C_MAJOR, (7, 0, 2, 5)),
        ("i5", A_MINOR, (9, 4)),
    ],
)
def test_numerals_mean_the_chords_that_musicians_mean(numeral, key, classes):
    assert parse_chord(numeral, key).classes == classes


@pytest.mark.parametrize("numeral", ["viii", "X", "I13#11", ""])
def test_unknown_numerals_are_refused(numeral):
    with pytest.raises(InputError):
        parse_bar(numeral, C_MAJOR)


def test_degrees_of_a_chord_are_its_own():
    minor, suspended = parse_chord("i7", A_MINOR), parse_chord("Vsus4", A_MINOR)
    assert [minor.degree(n) for n in (3, 5, 7)] == [3, 7, 10]
    assert [suspended.degree(n) for n in (3, 5, 7)] == [5, 7, 12]
    assert parse_chord("iim7b5", A_MINOR).degree(5) == 6


def test_a_melody_may_not_rest_on_the_root_over_its_major_seventh():
    assert 0 not in parse_chord("Imaj7", C_MAJOR).clear
    assert 0 in parse_chord("I", C_MAJOR).clear


def test_a_progression_starts_again_with_each_section_and_turns_at_its_end():
    loop = [parse_bar(bar, A_MINOR) for bar in ("i", "VI", "III", "VII")]
    cadence = parse_bar("iv V7", A_MINOR)
    bars = lay_progression(loop, cadence, [8, 2, 4])
    assert len(bars) == 14
    assert [bar[0].numeral for bar in bars[:4]] == ["i", "VI", "III", "VII"]
    assert bars[8] == bars[10] == loop[0]
    assert bars[9] == loop[1]  # two bars are no phrase
    for last in (7, 13):
        assert [chord.numeral for chord in bars[last]] == ["VII", "VII", "VII", "V7"]


def test_a_loop_that_ends_on_the_dominant_keeps_its_last_bar():
    loop = [parse_bar(bar, A_MINOR) for bar in ("i", "VII", "VI", "V7")]
    bars = lay_progression(loop, parse_bar("V7b9", A_MINOR), [8])
    assert bars[7] == loop[3]


def motion_between(before, after) -> float:
    """Mean distance in semitones from each voice to the nearest of the other voicing."""
    apart = np.abs(np.array(before)[:, None] - np.array(after))
    return (apart.min(axis=1).mean() + apart.min(axis=0).mean()) / 2


def test_voices_move_little_stay_in_range_and_keep_the_chord():
    chords = [parse_chord(n, A_MINOR) for n in ("i7", "iv9", "VII7", "IIImaj7", "V7b9", "i")] * 4
    voicings = voice_chords(chords, 52, 76)
    stacked = [[57 + (c.root - 57) % 12 + i for i in c.intervals] for c in chords]

    def motion(line):
        return np.mean([motion_between(a, b) for a, b in pairwise(line)])

    for chord, voicing in zip(chords, voicings, strict=True):
        assert min(voicing) >= 52 and max(voicing) <= 76
        assert {pitch % 12 for pitch in voicing} <= set(chord.classes)
        assert (chord.root + chord.degree(3)) % 12 in {pitch % 12 for pitch in voicing}
        assert voicing[-1] - voicing[-2] > 1
    assert motion(voicings) <= 1.5
    assert motion(voicings) < 0.7 * motion(stacked)


def test_every_chord_of_every_key_can_be_voiced():
    for tonic in range(12):
        chords = [Chord(tonic, (0, 4, 7, 11, 14), "Imaj9"), Chord(tonic, (0, 7), "I5")]
        assert all(voice_chords(chords, 57, 71))


def test_keys_are_drawn_evenly():
    rng = np.random.default_rng(0)
    assert {draw_key("minor", rng).tonic for _ in range(200)} == set(range(12))
