"""How much of a score is heard: in the sampler's sound of it, of another, and of a part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("librosa")
pytest.importorskip("mir_eval")

from dancetomusic.metrics.played_score import bass_heard, drums_told_apart, onsets_heard
from dancetomusic.score.mix import sum_stems
from dancetomusic.score.notes import BeatClock, Notes, Score, Track
from dancetomusic.score.sampler import render_stems, shipped_soundfont
from dancetomusic.types import Waveform

N_BARS = 16
KICK, SNARE, HAT = 36, 38, 42


def piece(shift: float = 0.0, up: int = 0) -> Score:
    """Kick, snare and hat in quavers and a walking bass; all later, or the bass higher."""
    strokes, bass = [], []
    for beat in range(4 * N_BARS):
        strokes.append((beat + shift, 0.2, (KICK, SNARE)[beat % 2], 100))
        strokes.append((beat + 0.5 + shift, 0.2, HAT, 90))
        bass.append((beat + 0.25 + shift, 0.7, (33, 36, 38, 40)[beat % 4] + up, 100))
    times = np.arange(4 * N_BARS + 4)
    clock = BeatClock(times * 0.5, (times % 4 + 1).astype(np.int64))
    tracks = (
        Track("drums", 0, True, Notes.of(strokes)),
        Track("bass", 33, False, Notes.of(bass)),
    )
    return Score(clock, tracks, (), "A minor", "by hand")


def played(score: Score) -> Waveform:
    return sum_stems(dict(render_stems(score, shipped_soundfont())))


def heard(score: Score, sound: Waveform) -> dict[str, tuple[float, float]]:
    return {
        "onsets": onsets_heard(score, sound, np.random.default_rng(0)),
        "drums": drums_told_apart(score, sound),
        "bass": bass_heard(score, sound, np.random.default_rng(0)),
    }


@pytest.fixture(scope="module")
def sound() -> Waveform:
    return played(piece())


@pytest.mark.slow(2)
def test_a_score_is_heard_in_its_own_sound(sound):
    found = heard(piece(), sound)
    assert found["onsets"][0] > 0.95
    assert found["drums"][0] > 0.95
    assert found["bass"][0] > 0.85
    assert found["onsets"][1] < 0.4 and found["bass"][1] < 0.45
    assert found["drums"][1] == pytest.approx(1 / 3)


@pytest.mark.slow(1)
def test_another_score_is_not_heard(sound):
    assert heard(piece(shift=0.12), sound)["onsets"][0] < 0.5
    assert heard(piece(up=3), sound)["bass"][0] < 0.3


def test_drums_that_are_named_at_random_are_not_told_apart(sound):
    score = piece()
    drums = score.track("drums").notes
    named = replace(drums, pitch=np.random.default_rng(0).permutation(drums.pitch))
    tracks = (replace(score.track("drums"), notes=named), score.track("bass"))
    assert drums_told_apart(replace(score, tracks=tracks), sound)[0] < 0.5


def test_what_is_not_there_is_not_scored(sound):
    score = piece()
    empty = replace(score, tracks=tuple(replace(t, notes=Notes.empty()) for t in score.tracks))
    found = heard(empty, sound)
    assert found["onsets"] == (0.0, 0.0)
    assert np.isnan([*found["drums"], *found["bass"]]).all()
    silence = Waveform(np.zeros_like(sound.samples), sound.sample_rate)
    assert onsets_heard(score, silence, np.random.default_rng(0)) == (0.0, 0.0)
    assert bass_heard(score, silence, np.random.default_rng(0))[0] < 0.2
