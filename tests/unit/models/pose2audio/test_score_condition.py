"""The piano roll that the decoder is conditioned on, and what a part that is not given adds."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from dancetomusic.models.pose2audio.score_condition import (
    DRUM_PITCHES,
    N_COLUMNS,
    N_DRUMS,
    N_PARTS,
    N_PITCHES,
    PITCHES,
    ScoreCondition,
    ScoreRoll,
    TimedNotes,
    piano_roll,
    roll_of_notes,
    timed_notes,
)
from dancetomusic.models.pose2audio.token_decoder import TokenDecoder, TokenDecoderConfig
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.score.notes import BeatClock, Notes, Score, Track

RATE = 75.0
KICK = N_PARTS + 36 - DRUM_PITCHES[0]
BASS = N_PARTS + 2 * N_DRUMS
CHORDS = BASS + 2 * N_PITCHES + 1


def score_of(*tracks):
    """At 60 BPM, so that a beat is a second."""
    clock = BeatClock(np.arange(5.0), np.arange(5) % 4 + 1, 4.0)
    return Score(clock, tuple(tracks))


def drums(*rows):
    return Track("drums", 25, True, Notes.of(rows))


def bass(*rows):
    return Track("bass", 33, False, Notes.of(rows))


def test_an_onset_stands_in_its_frame_with_its_velocity_and_place():
    at = (10 + 0.75) / RATE
    notes = timed_notes(score_of(drums((at, 0.1, 36, 127))))
    roll = piano_roll(notes, RATE, 20)
    assert roll.shape == (20, N_COLUMNS)
    assert np.flatnonzero(roll[:, KICK]).tolist() == [10]
    assert roll[10, KICK] == 1.0
    assert roll[10, KICK + N_DRUMS] == pytest.approx(0.5, abs=1e-4)
    assert roll[:, N_PARTS:].any(1).sum() == 1
    # A window that begins later has the same frames.
    np.testing.assert_array_equal(piano_roll(notes, RATE, 12, 8), roll[8:])


def test_a_note_is_sustained_until_it_ends_and_starts_once():
    notes = timed_notes(score_of(bass((0.2, 0.4, 40, 64))))
    roll = piano_roll(notes, RATE, 75)
    key = 40 - PITCHES[0]
    assert np.flatnonzero(roll[:, BASS + key]).tolist() == [15]
    assert np.flatnonzero(roll[:, BASS + N_PITCHES + key]).tolist() == list(range(15, 45))
    assert roll[20, BASS + N_PITCHES + key] == pytest.approx(64 / 127)
    # Within a window that begins while it sounds it has no onset.
    later = piano_roll(notes, RATE, 75, 30)
    assert not later[:, BASS + key].any()
    assert np.flatnonzero(later[:, BASS + N_PITCHES + key]).tolist() == list(range(15))


def test_instruments_and_parts_of_any_track():
    lead = Track("melody", 73, False, Notes.of([(0, 1, 5, 90)]))
    unnamed = Track("low", 38, False, Notes.of([(0, 1, 120, 90)]))
    notes = timed_notes(score_of(drums((0, 0.1, 36, 90)), lead, unnamed), {"melody": 12})
    assert notes.instruments.tolist() == [26, 39, 13, 0]
    assert notes.given.all()
    roll = piano_roll(notes, RATE, 2)
    sounding = np.flatnonzero(roll[0, BASS + N_PITCHES : BASS + 2 * N_PITCHES])
    assert sounding.size == 1 and (PITCHES[0] + sounding[0]) % 12 == 120 % 12
    sounding = np.flatnonzero(roll[0, CHORDS + N_PITCHES : CHORDS + 2 * N_PITCHES])
    assert sounding.size == 1 and (PITCHES[0] + sounding[0]) % 12 == 5


def test_a_part_that_is_left_out_is_not_one_that_rests():
    notes = timed_notes(score_of(drums((0, 0.1, 36, 90)), bass((0, 1, 40, 90))))
    no_drums = notes.without(np.array([True, False, False, False]), np.zeros(4, bool))
    roll = piano_roll(no_drums, RATE, 10)
    assert roll[:, :N_PARTS].tolist() == [[0, 1, 1, 1]] * 10
    assert not roll[:, KICK : KICK + 1].any() and roll[:, BASS:CHORDS].any()
    assert no_drums.instruments.tolist() == [0, 34, 0, 0]
    nothing = notes.without(np.ones(4, bool), np.zeros(4, bool))
    assert not piano_roll(nothing, RATE, 10).any()
    np.testing.assert_array_equal(
        piano_roll(nothing, RATE, 10), piano_roll(TimedNotes.none(), RATE, 10)
    )


def test_no_score_adds_nothing_once_trained():
    torch.manual_seed(0)
    condition = ScoreCondition(16, 5)
    given = roll_of_notes(timed_notes(score_of(bass((0, 1, 40, 90)))), RATE, 30)
    assert not condition(given).any()  # as it begins
    for parameter in condition.parameters():
        torch.nn.init.normal_(parameter)
    assert not condition(roll_of_notes(TimedNotes.none(), RATE, 30)).any()
    assert condition(given).any()
    other = given._replace(instruments=given.instruments * 0)
    assert not torch.equal(condition(given), condition(other))


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    config = TokenDecoderConfig(
        9, 8, codebook_size=16, d_model=32, n_layers=2, n_heads=2, dropout=0.0, rhythm_span=5,
        score=True,
    )  # fmt: skip
    decoder = TokenDecoder(config).eval()
    torch.nn.init.normal_(decoder.score.out.weight)
    return decoder


def random_roll(batch, frames):
    columns = (torch.rand(batch, frames, N_COLUMNS) < 0.02).float()
    return ScoreRoll(columns, torch.randint(0, 129, (batch, N_PARTS)))


@torch.no_grad()
def test_the_decoder_plays_it_unless_it_is_unconditional(decoder):
    codes, rhythm = torch.randint(0, 16, (2, 2, 20)), torch.randn(2, 20, 9)
    score = random_roll(2, 20)
    one = torch.tensor([True, False])
    without = decoder(codes, rhythm, unconditional=one)
    with_score = decoder(codes, rhythm, unconditional=one, score=score)
    torch.testing.assert_close(without[0], with_score[0])
    assert not torch.allclose(without[1], with_score[1], atol=0.1)


def test_what_is_generated_is_what_forward_predicts(decoder):
    """Greedy codes are the likeliest of one forward pass over them."""
    rhythm, score = torch.randn(1, 20, 9), random_roll(1, 20)
    codes = decoder.generate(rhythm, score=score, sampling=SamplingConfig(temperature=0.0))
    with torch.no_grad():
        likeliest = decoder(codes, rhythm, score=score).argmax(-1)
    assert torch.equal(codes, likeliest)
    other = decoder.generate(rhythm, sampling=SamplingConfig(temperature=0.0))
    assert not torch.equal(codes, other)


def test_guidance_leads_away_from_the_rhythm_without_the_score_in_all_books(decoder):
    rhythm, score = torch.randn(1, 20, 9), random_roll(1, 20)
    sampling = SamplingConfig(temperature=0.0, cfg_scale=2.5)
    codes = decoder.generate(rhythm, score=score, sampling=sampling)
    with torch.no_grad():
        given, without = decoder(codes, rhythm, score=score), decoder(codes, rhythm)
    assert torch.equal(codes, torch.lerp(without, given, 2.5).argmax(-1))
    assert not torch.equal(codes, given.argmax(-1))


def test_a_decoder_without_score_is_the_same_as_before(decoder):
    plain = TokenDecoder(dataclasses.replace(decoder.config, score=False))
    assert not [name for name in plain.state_dict() if "score" in name]
    codes, rhythm = torch.randint(0, 16, (1, 2, 8)), torch.randn(1, 8, 9)
    with torch.no_grad():
        plain.eval()
        ignored = plain(codes, rhythm, score=random_roll(1, 8))
        torch.testing.assert_close(plain(codes, rhythm), ignored)
