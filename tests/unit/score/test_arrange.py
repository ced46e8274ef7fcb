"""The arranger: form, energy, hits, harmony, metres and lengths, seeds, speed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.metrics.score import (
    accent_times,
    bar_density,
    chord_tone_share,
    fill_rates,
    follows_energy,
    harmonic_form,
    hits_answered,
    in_key_share,
    likeness,
    register_overlap,
    self_likeness,
    semitone_rubs,
    tracks_playing,
)
from dancetomusic.pose.hits import Hits
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.score.accents import ACCENT
from dancetomusic.score.arrange import arrange
from dancetomusic.score.frame import LOUDEST, fit_bar
from dancetomusic.score.harmony import parse_key
from dancetomusic.score.notes import BeatClock, Score
from dancetomusic.score.plan import Plan, make_plan
from dancetomusic.score.style import DRUM_KEYS, load_style, style_names
from dancetomusic.types import RhythmTrack

SAMPLE = ("house", "salsa", "funk", "tango", "synth-pop", "swing")


def dance(n_bars: int, bpm: float = 120.0, bar: int = 4, seed: int = 0) -> RhythmTrack:
    """A steady rhythm whose energy rises and falls over phrases, and a little from bar to bar."""
    rng = np.random.default_rng(seed)
    duration_s = n_bars * bar * 60.0 / bpm
    steady = steady_grid(bpm, duration_s, beats_per_bar=bar)
    levels = 0.5 + 0.3 * np.sin(np.arange(n_bars) / 5.0) + rng.normal(0.0, 0.06, n_bars)
    times = np.arange(0, duration_s, 0.1)
    energy = levels[np.minimum((times / duration_s * n_bars).astype(int), n_bars - 1)]
    return RhythmTrack(
        steady.beat_times,
        steady.beat_numbers,
        np.clip(energy, 0, 1).astype(np.float32),
        10.0,
        duration_s,
    )


def planned(rhythm: RhythmTrack, hits_s: list[float] | None = None) -> tuple[BeatClock, Plan]:
    clock = BeatClock.from_rhythm(rhythm)
    plan = make_plan(clock, rhythm)
    if hits_s is not None:
        times = np.array(hits_s)
        plan = replace(plan, hits=Hits(times, np.linspace(0.5, 1.0, times.size)))
    return clock, plan


def piece(style: str, n_bars: int = 32, seed: int = 0, **rhythm: float) -> tuple[Score, Plan]:
    clock, plan = planned(dance(n_bars, **rhythm))  # type: ignore[arg-type]
    return arrange(clock, plan, style, None, seed), plan


@pytest.mark.slow(1)
@pytest.mark.parametrize("style", style_names())
def test_every_style_plays_all_four_tracks_in_its_key(style):
    tempo = load_style(style).tempo[1]
    metre = load_style(style).metres[0]
    score, plan = piece(style, 24, bpm=tempo, bar=metre)
    assert [track.name for track in score.tracks] == ["drums", "bass", "chords", "lead"]
    assert all(len(track.notes) > 20 for track in score.tracks)
    assert (score.style, score.sections) == (style, plan.sections)
    assert in_key_share(score) >= 0.85
    assert chord_tone_share(score) >= 0.6
    assert semitone_rubs(score) <= 0.12
    assert register_overlap(score) <= 0.3
    for track in score.tracks:
        starts_s, ends_s = score.seconds(track)
        assert (starts_s < score.duration_s).all() and starts_s.min() >= -0.02
        if not track.is_drum:
            assert ends_s.max() <= score.duration_s + 1e-6
    bass = score.track("bass").notes
    assert bass.pitch.max() <= 52 and (bass.start[1:] >= bass.end[:-1] - 1e-6).all()


@pytest.mark.slow(1)
@pytest.mark.parametrize("style", SAMPLE)
def test_form_fills_density_and_tracks(style):
    found = []
    for seed in range(2):
        score, plan = piece(style, 40, seed)
        body = score.clock.bar_of(plan.final_beat)
        rng = np.random.default_rng(0)
        found.append(
            (
                *harmonic_form(score),
                *fill_rates(score),
                follows_energy(bar_density(score)[:body], plan.energy[:body], rng),
                follows_energy(
                    tracks_playing(score)[:body].astype(np.float64), plan.energy[:body], rng
                ),
            )
        )
    again, sooner, fills, stray, density, tracks = np.mean(found, axis=0)
    assert again >= 0.85 and sooner <= again - 0.3
    assert fills >= 0.6 and stray <= 0.1
    assert density >= 0.5 and tracks >= 0.4


@pytest.mark.slow(1)
def test_hits_are_answered_on_the_grid_and_off_it():
    # On the beat, a little off a sixteenth, and at a slow tempo between two sixteenths.
    times = [4.0, 9.53, 14.0, 20.22, 25.0, 31.0, 36.28]
    clock, plan = planned(dance(40, bpm=100.0), times)
    for style in SAMPLE:
        score = arrange(clock, plan, style, None, 1)
        share, chance = hits_answered(score, np.array(times), np.random.default_rng(0))
        assert share == 1.0 and chance < 0.2, style
    drums = score.track("drums")
    answers = score.seconds(drums)[0][drums.notes.velocity >= ACCENT]
    assert np.abs(answers[:, None] - 4.0).min() < 1e-6
    assert np.abs(answers[:, None] - np.array(times)).min(axis=0).max() <= 0.0501


def test_no_answer_is_at_the_edge_of_what_counts_as_one():
    clock, plan = planned(dance(8), [4.25 + late for late in (0.0, 0.03, 0.049)])
    for hit in plan.hits.times:
        alone = replace(plan, hits=Hits(np.array([hit]), np.ones(1)))
        accents = accent_times(arrange(clock, alone, "salsa"))
        assert np.abs(accents - hit).min() <= 0.041


def test_a_calm_dance_is_not_left_without_a_note():
    rhythm = dance(8, bpm=load_style("contemporary").tempo[1])
    calm = replace(rhythm, energy=np.full_like(rhythm.energy, 0.1))
    clock, plan = planned(calm)
    for seed in range(4):
        score = arrange(clock, plan, "contemporary", None, seed)
        starts = np.concatenate([score.seconds(track)[0] for track in score.tracks])
        assert np.diff(np.sort(starts)).max() < 2.0


def test_all_stop_where_the_dancers_freeze():
    clock, plan = planned(dance(24), [])
    plan = replace(plan, rests=np.array([[13.0, 14.0]]))  # beats 26 to 28
    for style in ("house", "funk", "salsa"):
        score = arrange(clock, plan, style, None, 1)
        for track in score.tracks:
            inside = (track.notes.start > 26.01) & (track.notes.start < 27.8)
            assert not inside.any(), (style, track.name)
            if not track.is_drum:
                ringing = (track.notes.start < 26) & (track.notes.end > 26.6)
                assert not ringing.any(), (style, track.name)
        drums = score.track("drums").notes
        for beat in (26, 28):
            assert drums.velocity[np.abs(drums.start - beat) < 1e-6].max() >= ACCENT


@pytest.mark.slow(1)
def test_only_answers_are_louder_than_all_else():
    clock, plan = planned(dance(24), [])
    for style in SAMPLE:
        score = arrange(clock, plan, style)
        assert max(int(track.notes.velocity.max()) for track in score.tracks) <= LOUDEST


def test_the_piece_ends_with_a_hit_that_rings():
    score, plan = piece("house", 20)
    at = float(plan.final_beat)
    drums, bass = score.track("drums").notes, score.track("bass").notes
    last = drums.pitch[np.abs(drums.start - at) < 1e-6]
    assert {DRUM_KEYS["kick"], DRUM_KEYS["crash"]} <= set(last.tolist())
    assert drums.start.max() <= at
    key = parse_key(score.key)
    assert bass.pitch[-1] % 12 == key.tonic and bass.start[-1] == at
    chords = score.track("chords")
    assert score.seconds(chords)[1][-1] == pytest.approx(score.duration_s)
    assert at == score.clock.bar_starts[score.clock.bar_of(at)]


@pytest.mark.parametrize("seconds", [1.2, 2.0, 5.0, 7.3, 15.0])
@pytest.mark.parametrize("style", ["house", "rock", "waltz"])
def test_short_clips_have_a_groove_and_an_ending(seconds, style):
    rhythm = steady_grid(112.0, seconds, first_beat_s=0.31)
    clock, plan = planned(rhythm)
    score = arrange(clock, plan, style, None, 2)
    drums = score.track("drums")
    assert len(drums.notes) >= 2
    assert score.seconds(drums)[0].max() <= seconds
    assert len(score.track("chords").notes) >= 2


@pytest.mark.parametrize("bar", [2, 3, 5, 6, 7])
@pytest.mark.parametrize("style", ["house", "funk", "waltz", "flamenco"])
def test_any_metre_is_played_through(bar, style):
    score, plan = piece(style, 16, bar=bar, bpm=110.0)
    bars = score.clock.bar_of(score.track("drums").notes.start + 0.04)
    assert len(set(bars[bars < score.clock.bar_of(plan.final_beat)].tolist())) >= 12
    places = score.track("drums").notes.start % bar
    assert places.max() > bar - 1.3  # the last beat is not left empty


def test_a_tempo_that_drifts_is_followed():
    times = np.cumsum(np.linspace(0.6, 0.45, 64))
    rhythm = RhythmTrack(
        times, np.arange(64) % 4 + 1, np.full(400, 0.6, np.float32), 10.0, float(times[-1])
    )
    clock, plan = planned(rhythm)
    score = arrange(clock, plan, "house")
    kicks = score.track("drums")
    on_kick = kicks.notes.pitch == DRUM_KEYS["kick"]
    starts = score.seconds(kicks)[0][on_kick]
    assert np.mean(np.abs(starts[:, None] - times[None]).min(axis=1) < 0.02) > 0.8


@pytest.mark.slow(1)
def test_the_same_seed_is_the_same_piece_and_another_is_another():
    for style in ("house", "rock", "salsa"):
        first, again, other = (piece(style, 32, seed)[0] for seed in (3, 3, 4))
        for one, two in zip(first.tracks, again.tracks, strict=True):
            assert one.program == two.program
            assert (one.notes.start == two.notes.start).all()
            assert (one.notes.pitch == two.notes.pitch).all()
        assert likeness(first, again) == pytest.approx(1.0)
        assert likeness(first, other) < self_likeness(first)


def test_a_generator_serves_as_a_seed():
    clock, plan = planned(dance(8))
    rng = np.random.default_rng(0)
    first = arrange(clock, plan, "house", None, rng)
    assert first.tracks[0].notes.start.tolist() == (
        arrange(clock, plan, "house", None, np.random.default_rng(0)).tracks[0].notes.start.tolist()
    )


def test_the_key_is_the_one_asked_for():
    clock, plan = planned(dance(8))
    assert arrange(clock, plan, "house", "F# minor").key == "F# minor"
    assert arrange(clock, plan, "lindy", "F# minor").key == "F# major"  # it knows no minor
    with pytest.raises(InputError, match="Write it like"):
        arrange(clock, plan, "house", "H minor")
    with pytest.raises(InputError, match="no style"):
        arrange(clock, plan, "polka")


def test_a_pickup_leads_in_on_drums_alone():
    rhythm = steady_grid(120.0, 17.0, first_beat_s=1.0)
    clock, plan = planned(rhythm)
    assert clock.beat_numbers[0] == 3
    score = arrange(clock, plan, "house")
    first = score.clock.bar_starts[1]
    assert (score.track("drums").notes.start < first).any()
    for name in ("bass", "chords", "lead"):
        assert not (score.track(name).notes.start < first - 0.1).any()


def test_patterns_fit_bars_of_other_lengths():
    pattern = load_style("house").patterns[0]
    assert list(fit_bar(pattern, 0, 3)) == [(0, 0), (1, 1), (2, 2)]
    assert [source for _, source in fit_bar(pattern, 0, 5)] == [0, 1, 2, 3, 3]
    assert [source for _, source in fit_bar(pattern, 0, 7)] == [0, 1, 2, 3, 1, 2, 3]
    compas = load_style("flamenco").patterns[0]
    assert list(fit_bar(compas, 5, 3)) == [(0, 3), (1, 4), (2, 5)]
