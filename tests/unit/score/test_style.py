"""Styles as data: those that come along, those that a user writes, the choice among them."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.score.drums import common_fills
from dancetomusic.score.style import (
    DRUM_KEYS,
    TRACK_NAMES,
    choose_style,
    load_style,
    style_fit,
    style_names,
)
from dancetomusic.synthesis.groove import STYLES

NEW_STYLES = (
    *("house", "techno", "drum-and-bass", "trap", "reggaeton", "dancehall", "afrobeats"),
    *("amapiano", "salsa", "bachata", "merengue", "samba", "disco", "synth-pop", "k-pop"),
    *("swing", "lindy", "contemporary", "flamenco"),
)

MINIMAL = """
tempo: [100, 120, 140]
drums:
  patterns:
    - { kick: "X...x...X...x...", "hat@0.5": "..x." }
bass: { programs: [33], lines: ["R___5___R___5___"] }
chords: { programs: [0], lines: ["x_______x_______"] }
lead: { programs: [80], lines: ["x...x...x...x..."] }
harmony: { minor: { progressions: [[i, VI, III, VII]] } }
"""


@pytest.fixture
def own(tmp_path):
    def write(text: str):
        path = tmp_path / "own.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def strokes(style: str, voice: str, pattern: int = 0) -> list[float]:
    """Beats at which a voice of a style's pattern is struck."""
    found = load_style(style).patterns[pattern].strokes
    return [s.beat for s in found if s.key == DRUM_KEYS[voice]]


def test_every_style_of_before_and_every_new_one_comes_along():
    assert set(STYLES) | set(NEW_STYLES) == set(style_names())


@pytest.mark.parametrize("name", style_names())
def test_every_style_is_complete(name):
    style = load_style(name)
    low, usual, high = style.tempo
    assert 40 <= low <= usual <= high <= 260
    assert set(style.mix) == set(TRACK_NAMES)
    for metre in style.metres[:1]:
        assert any(p.metre == metre and not p.sections for p in style.patterns)
        for part in (style.bass, style.chords, style.lead):
            assert any(line.metre == metre for line in part.lines)
    for harmony in style.harmony.values():
        assert all(len(progression) == 4 for progression in harmony.progressions)


def test_idioms_are_in_their_places():
    assert strokes("house", "kick") == [0, 1, 2, 3]
    assert strokes("house", "ohat") == [0.5, 1.5, 2.5, 3.5]
    # Dembow: the snare's three-three-two against a bass drum on every beat.
    assert strokes("reggaeton", "kick") == [0, 1, 2, 3]
    assert strokes("reggaeton", "snare") == [0.75, 1.5, 2.75, 3.5]
    # Son clave, two side first, over two bars.
    assert strokes("salsa", "claves") == [1, 2, 4, 5.5, 7]
    # Two-step: bass drum on 1 and the and of 3, snare on 2 and 4.
    assert strokes("drum-and-bass", "kick") == [0, 2.5]
    assert strokes("drum-and-bass", "snare") == [1, 3]
    # One drop, and half-time backbeat.
    assert strokes("reggae", "kick") == [2]
    assert strokes("trap", "clap") == [2]
    # Guiro of the cha-cha: long on 1 and 3, short on 2, and, 4, and.
    assert strokes("cha-cha", "guiro_long") == [0, 2]
    assert strokes("cha-cha", "guiro") == [1, 1.5, 3, 3.5]
    # The waltz's bass drum is on 1 alone.
    assert strokes("waltz", "kick") == [0]
    # Twelve beats from "12": accents on 12, 3, 6, 8 and 10.
    compas = load_style("flamenco").patterns[1]
    assert compas.bars * compas.metre == 12
    accents = [s.beat for s in compas.strokes if s.key == DRUM_KEYS["clap"] and s.velocity > 100]
    assert accents == [0, 3, 6, 8, 10]


def test_bass_idioms_are_in_their_places():
    tumbao = next(line for line in load_style("salsa").bass.lines if line.level == 0.5)
    assert [(s.beat, s.symbol) for s in tumbao.steps] == [(1.5, "5"), (3.0, "N")]
    bachata = load_style("bachata").bass.lines[0]
    assert [s.beat for s in bachata.steps] == [0, 2, 3]


def test_fills_for_everybody_fit_both_metres():
    assert {fill.metre for fill in common_fills()} == {3, 4}
    assert all(fill.bars == 1 for fill in common_fills())


def test_a_user_can_write_a_style(own):
    style = load_style(own(MINIMAL))
    assert style.name == "own" and style.metres == (4,)
    assert style.layers["groove"]["drums"] == 0.0
    hats = [s for s in style.patterns[0].strokes if s.key == DRUM_KEYS["hat"]]
    assert [s.beat for s in hats] == [0.5, 1.5, 2.5, 3.5]
    assert all(s.least == 0.5 for s in hats)
    first = style.bass.lines[0].steps[0]
    assert (first.beat, first.length) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("tempo", [140, 120, 100], "tempo"),
        ("colour", "red", "colour"),
        ("scale", "lydian", "scale"),
        ("drums", {"patterns": []}, "drums.patterns"),
        ("drums", {"patterns": [{"gong": "x..."}]}, "gong"),
        ("drums", {"patterns": [{"kick": "x.."}]}, "kick"),
        ("bass", {"programs": [33], "lines": ["R..."]}, "bass.lines"),
        ("bass", {"programs": [333], "lines": ["R" + "." * 15]}, "bass.programs"),
        ("harmony", {"minor": {"progressions": [["xi"]]}}, "xi"),
        ("energy", 7, "energy"),
        ("layers", {"outro": {}}, "outro"),
        ("mix", {"bass": {"pan": 4}}, "mix.bass"),
    ],
)
def test_what_is_wrong_in_a_style_is_named(own, key, value, said):
    table = {**yaml.safe_load(MINIMAL), key: value}
    with pytest.raises(InputError, match=said):
        load_style(own(yaml.safe_dump(table)))


def test_unknown_names_and_unreadable_files_are_refused(own, tmp_path):
    with pytest.raises(InputError, match="house"):
        load_style("polka")
    with pytest.raises(InputError, match="cannot read"):
        load_style(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="cannot read"):
        load_style(own("tempo: [1, 2"))


def test_the_choice_follows_tempo_and_metre_and_says_why():
    assert choose_style(steady_grid(90.0, 20.0, beats_per_bar=3)).name == "waltz"
    slow, fast = choose_style(steady_grid(66.0, 20.0)), choose_style(steady_grid(174.0, 20.0))
    assert load_style(slow.name).tempo[0] <= 66 <= load_style(slow.name).tempo[2]
    assert load_style(fast.name).tempo[0] <= 174 <= load_style(fast.name).tempo[2]
    assert "174 BPM" in fast.reason and "\n" not in fast.reason
    assert choose_style(steady_grid(124.0, 20.0), names=["tango"]).name == "tango"


def test_with_a_generator_good_choices_alternate():
    rhythm = steady_grid(122.0, 20.0)
    rng = np.random.default_rng(0)
    names = {choose_style(rhythm, rng=rng).name for _ in range(40)}
    assert len(names) >= 3
    best = max(style_fit(load_style(n), 122.0, 4, 0.5) for n in style_names())
    assert all(style_fit(load_style(n), 122.0, 4, 0.5) >= best - 0.15 for n in names)
