"""Scores as events and back, and the conditions beside them."""

from __future__ import annotations

import numpy as np
import pytest

from dancetomusic.models.pose2score.conditions import (
    CONDITION,
    CONDITIONS,
    GUIDED,
    conditions_of,
    withhold,
)
from dancetomusic.models.pose2score.events import (
    FIELD,
    FIELDS,
    NEEDS,
    TICKS_PER_BEAT,
    VELOCITIES,
    decode,
    drum_keys,
    encode,
    length_step,
    offset_of,
    offset_step,
    velocity_of,
    velocity_step,
)
from dancetomusic.models.pose2score.training_data import make_up_dance
from dancetomusic.score.accents import ACCENT, place_answers
from dancetomusic.score.arrange import Arrangement, write_arrangement
from dancetomusic.score.grooves import released_library
from dancetomusic.score.style import load_style, style_names


def arranged(name: str, seed: int = 0, bars: tuple[int, int] = (16, 24)) -> Arrangement:
    rng = np.random.default_rng(seed)
    style = load_style(name)
    clock, plan, _ = make_up_dance(style, bars, released_library(), rng)
    return write_arrangement(clock, plan, style, None, rng)


@pytest.mark.parametrize("name", ["house", "jazz", "salsa", "waltz", "flamenco", "samba", "trap"])
def test_a_piece_comes_back_from_its_events(name):
    piece = arranged(name)
    events = encode(piece.frame, piece.voicings, piece.parts)
    again = decode(events, piece.frame, piece.programs, np.random.default_rng(1))
    own_key = {key: keys[0] for keys in drum_keys(load_style(name)) for key in keys}
    for track, least in (("drums", 0.97), ("bass", 0.97), ("chords", 0.9), ("lead", 0.97)):
        what = {"drums": own_key.__getitem__, "chords": lambda pitch: pitch % 12}.get(track, int)
        end = piece.frame.plan.final_beat * TICKS_PER_BEAT
        before, after = (
            {(round(row[0] * TICKS_PER_BEAT), what(row[2])) for row in each.parts[track]}
            for each in (piece, again)
        )
        # Chords keep their notes; which octave each is in depends on the whole piece.
        before = {(tick, pitch) for tick, pitch in before if 0 <= tick < end}
        assert len(before & after) >= least * len(before | after), track
    assert again.score().style == name


def test_events_are_on_every_beat_and_in_range():
    piece = arranged("afrobeat", 3)
    events = encode(piece.frame, piece.voicings, piece.parts)
    assert (np.diff(events.ticks) > 0).all()
    beats = np.arange(piece.frame.plan.final_beat) * TICKS_PER_BEAT
    assert np.isin(beats, events.ticks).all()
    assert (events.values >= 0).all()
    assert (events.values < np.array(list(FIELDS.values()))).all()
    tracks = events.values[:, FIELD["tracks"]]
    for name, bit in NEEDS.items():
        silent = (tracks & bit) == 0
        assert not events.values[silent, FIELD[name]].any()
    ahead = events.values[:-1, FIELD["next"]]
    assert (ahead == events.ticks[1:] % TICKS_PER_BEAT).all()


def test_accents_stay_accents_and_nothing_else_becomes_one():
    rng = np.random.default_rng(0)
    for velocity in (1, 20, 60, 112, 115, ACCENT, 127):
        step = velocity_step(velocity)
        assert 0 <= step < VELOCITIES
        drawn = [velocity_of(step, rng) for _ in range(50)]
        assert all((value >= ACCENT) == (velocity >= ACCENT) for value in drawn)
        assert all(velocity_step(value) == step for value in drawn)


def test_offsets_and_lengths():
    for late in (-0.4, -0.2, 0.0, 0.2, 0.4):
        beat = (24 + late) / TICKS_PER_BEAT
        found = 2 + offset_of(offset_step(beat))
        assert found == pytest.approx(beat, abs=0.13 / TICKS_PER_BEAT)
    assert length_step(1.0) == length_step(0.98) < length_step(2.0)


def test_each_drum_of_a_style_has_one_place():
    for name in style_names():
        keys = [key for drum in drum_keys(load_style(name)) for key in drum]
        assert len(keys) == len(set(keys))


def test_conditions_follow_the_plan():
    piece = arranged("funk", 5)
    rows = conditions_of(piece.frame, style_names())
    assert len(rows) == piece.frame.plan.final_beat * TICKS_PER_BEAT
    sizes = np.array([size or len(style_names()) + 1 for size in CONDITIONS.values()])
    assert (rows >= 0).all()
    assert (rows < sizes).all()
    answered = np.flatnonzero(rows[:, CONDITION["hit"]])
    wanted = {round(answer.beat * TICKS_PER_BEAT) for answer in place_answers(piece.frame)}
    assert set(answered.tolist()) == {tick for tick in wanted if 0 <= tick < len(rows)}
    assert answered.size
    for tick in answered.tolist():
        assert rows[tick - 1, CONDITION["ticks to hit"]] == 1
    for bar in piece.frame.body:
        row = rows[bar.start * TICKS_PER_BEAT]
        assert row[CONDITION["bar in section"]] == min(bar.place, 8)
        assert row[CONDITION["intensity"]] == 1 + round(bar.intensity * 10)
    guided = [CONDITION[name] for name in GUIDED]
    withheld = withhold(rows)
    assert not withheld[:, guided].any()
    others = np.setdiff1d(np.arange(rows.shape[1]), guided)
    assert (withheld[:, others] == rows[:, others]).all()


def test_an_unknown_style_is_none_in_particular():
    piece = arranged("funk", 5)
    rows = conditions_of(piece.frame, ("house",))
    assert not rows[:, CONDITION["style"]].any()
