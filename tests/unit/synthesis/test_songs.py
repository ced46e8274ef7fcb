import shutil

import numpy as np
import pytest

from dancetomusic.synthesis.groove import SOUND_FONT
from dancetomusic.synthesis.noises import KINDS, make_noise
from dancetomusic.synthesis.songs import (
    PATTERNS,
    colour,
    compose_chords,
    compose_lead,
    make_song,
    program_groove,
    wandering_beats,
)
from dancetomusic.types import Waveform

can_render = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUND_FONT.is_file(), reason="no fluidsynth"
)


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_patterns_fit_their_bars_and_have_an_onset_on_one(name):
    pattern = PATTERNS[name]
    steps = pattern.beats_per_bar * pattern.steps_per_beat
    onsets = [step for steps_of in pattern.onsets.values() for step in steps_of]
    assert min(onsets) >= 0 and max(onsets) < steps
    assert 0 in onsets
    assert 60 <= pattern.bpm[0] < pattern.bpm[1] <= 200


def test_a_programmed_groove_lasts_eight_bars():
    rng = np.random.default_rng(0)
    groove, bpm = program_groove(PATTERNS["waltz"], rng)
    assert groove.n_beats == 24 and groove.beats_per_bar == 3
    assert 84 <= bpm <= 160
    assert all(-0.1 < note.time < 24.1 for note in groove.notes)
    for part in (compose_chords(groove, rng), compose_lead(groove, rng)):
        assert all(0 <= note.time < 24.5 and 0 <= note.pitch <= 127 for note in part)


def test_beats_wander_by_a_few_per_cent():
    for seed in range(10):
        beats = wandering_beats(120.0, 30.0, np.random.default_rng(seed))
        tempi = 60.0 / np.diff(beats)
        assert np.abs(tempi / 120.0 - 1).max() < 0.08
        assert beats[0] >= 0 and beats[-1] < 30.0


def test_colour_keeps_length_and_range():
    sound = Waveform(np.random.default_rng(0).normal(size=(1, 24_000)).astype(np.float32), 24_000)
    for seed in range(6):
        coloured = colour(sound, np.random.default_rng(seed))
        assert coloured.samples.shape == sound.samples.shape
        assert np.abs(coloured.samples).max() <= 1.0


@pytest.mark.slow(1)
@can_render
def test_a_song_sounds_and_is_the_same_for_the_same_seed():
    grooves = [program_groove(PATTERNS["pop"], np.random.default_rng(3))[0]]
    one, two = (
        make_song(
            [g.__class__(**{**vars(g), "bpm": 110.0}) for g in grooves],
            8.0,
            np.random.default_rng(5),
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(one.beat_times, two.beat_times)
    assert one.waveform.duration_s == 8.0
    assert one.waveform.samples.std() > 1e-4
    assert one.beat_times.size == one.beat_numbers.size


@pytest.mark.parametrize("kind", KINDS)
def test_noises_sound_and_stay_in_range(kind):
    noise = make_noise(kind, 3.0, np.random.default_rng(1))
    assert noise.duration_s == 3.0
    assert 1e-4 < np.abs(noise.samples).max() < 1.0


def test_an_unknown_noise_is_refused():
    with pytest.raises(ValueError, match="birdsong"):
        make_noise("birdsong", 1.0, np.random.default_rng(0))
