"""Measures of scores: on pieces made by hand, perfect, empty and wrong."""

from __future__ import annotations

import numpy as np
import pytest

from dancetomusic.metrics import score as measures
from dancetomusic.score.notes import BeatClock, Notes, Score, Section, Track

ROOTS = (57, 53, 48, 55)
KICK, SNARE, HAT = 36, 38, 42


def clock(n_bars: int) -> BeatClock:
    beats = np.arange(4 * n_bars)
    return BeatClock(beats * 0.5, (beats % 4 + 1).astype(np.int64))


def made(
    n_bars: int = 16,
    *,
    loop: int = 4,
    drums: list[tuple[float, float, int, int]] | None = None,
    lead: list[tuple[float, float, int, int]] | None = None,
) -> Score:
    """Triads in A minor, a chord a bar, going round after ``loop`` bars."""
    bass, chords, strokes = [], [], []
    for bar in range(n_bars):
        root = ROOTS[bar % loop]
        third = 3 if root == 57 else 4
        bass.append((4.0 * bar, 3.5, root - 24, 90))
        chords += [(4.0 * bar, 4.0, root + step, 80) for step in (0, third, 7)]
        strokes += [(4.0 * bar + beat, 0.2, KICK, 100) for beat in (0, 2)]
        strokes += [(4.0 * bar + beat, 0.2, SNARE, 90) for beat in (1, 3)]
    tracks = (
        Track("drums", 0, True, Notes.of([*strokes, *(drums or [])])),
        Track("bass", 33, False, Notes.of(bass)),
        Track("chords", 0, False, Notes.of(chords)),
        Track("lead", 80, False, Notes.of(lead or [])),
    )
    sections = (Section("groove", 0, n_bars // 2), Section("lift", n_bars // 2, n_bars // 2))
    return Score(clock(n_bars), tracks, sections, "A minor", "by hand")


def test_chords_are_named_as_they_sound():
    assert measures.bar_chords(made(4)).tolist() == [9 + 12, 5, 0, 7]
    silent = Score(clock(4), tuple(Track(n, 0, False, Notes.empty()) for n in ("bass", "chords")))
    assert measures.bar_chords(silent).tolist() == [-1] * 4


def test_a_loop_of_four_comes_again_after_four_bars():
    assert measures.harmonic_form(made(16)) == (1.0, 0.0)
    again, sooner = measures.harmonic_form(made(16, loop=1))
    assert again == sooner == 1.0
    again, _ = measures.harmonic_form(made(16, loop=3))
    assert again == 0.0
    assert np.isnan(measures.harmonic_form(made(4))[0])


def test_what_is_in_key():
    assert measures.in_key_share(made(8)) == 1.0
    outside = made(8, lead=[(0.0, 4.0, 70, 80)])  # B flat
    assert measures.in_key_share(outside) < 1.0


def test_fills_are_found_where_they_are():
    roll = [(28 + 2 + k / 4, 0.2, SNARE, 100) for k in range(8)]
    stray = [(12 + 2 + k / 4, 0.2, 45, 100) for k in range(8)]
    assert np.flatnonzero(measures.fill_bars(made(16, drums=roll))).tolist() == [7]
    assert measures.fill_rates(made(16, drums=roll)) == (1.0, 0.0)
    ends, others = measures.fill_rates(made(16, drums=stray))
    assert ends == 0.0 and others == pytest.approx(1 / 7)


def test_density_and_tracks_count_what_is_struck():
    busy = made(4, drums=[(4 + k / 4 + 0.1, 0.2, HAT, 80) for k in range(16)])
    density = measures.bar_density(busy)
    assert density[0] == pytest.approx((4 + 1 + 1) / 4)
    assert density[1] == pytest.approx((4 + 16 + 1 + 1) / 4)
    assert measures.tracks_playing(busy).tolist() == [3, 3, 3, 3]


def test_following_energy_is_measured_against_chance():
    rng = np.random.default_rng(0)
    energy = np.linspace(0, 1, 24)
    assert measures.follows_energy(energy**2, energy, rng) == pytest.approx(1.0, abs=0.15)
    assert measures.follows_energy(-energy, energy, rng) == pytest.approx(-1.0, abs=0.15)
    assert np.isnan(measures.follows_energy(np.ones(24), energy, rng))
    assert np.isnan(measures.follows_energy(energy[:3], energy[:3], rng))


def test_hits_are_answered_by_accents_within_reach():
    rng = np.random.default_rng(0)
    hits = np.array([2.0, 5.0, 9.0, 12.5])
    accents = [(2 * t + 0.08, 0.2, 49, 120) for t in (2.0, 5.0, 9.0)]  # 40 ms late
    share, chance = measures.hits_answered(made(16, drums=accents), hits, rng)
    assert share == 0.75 and chance < 0.1
    late = [(2 * t + 0.2, 0.2, 49, 120) for t in hits]
    assert measures.hits_answered(made(16, drums=late), hits, rng)[0] == 0.0
    assert measures.hits_answered(made(16), hits, rng) == (0.0, 0.0)
    assert np.isnan(measures.hits_answered(made(16), np.zeros(0), rng)[0])


def test_likeness_is_one_for_the_same_music_and_less_for_another():
    one, other = made(16), made(16, loop=3)
    assert measures.likeness(one, one) == pytest.approx(1.0)
    assert measures.likeness(one, other) < measures.self_likeness(one) == pytest.approx(1.0)
    assert np.isnan(measures.self_likeness(made(4)))


def test_bass_is_with_the_bass_drum():
    with_kick, with_bass = measures.bass_on_kick(made(8))
    assert with_kick == 1.0 and with_bass == 0.5


def test_lead_on_chord_tones_and_rubs():
    good = made(4, lead=[(0.0, 1.0, 76, 80), (4.0, 1.0, 77, 80)])  # E over A minor, F over F
    assert measures.chord_tone_share(good) == 1.0
    assert measures.semitone_rubs(good) == 0.0
    assert measures.register_overlap(good) == 0.0
    bad = made(4, lead=[(0.0, 1.0, 58, 80)])  # B flat a semitone above A
    assert measures.chord_tone_share(bad) == 0.0
    assert measures.semitone_rubs(bad) == 1.0
    assert measures.register_overlap(bad) == 1.0
    assert np.isnan(measures.chord_tone_share(made(4)))
