import tracemalloc

import numpy as np
import pytest

from dancetomusic.io.audio import read_audio
from dancetomusic.metrics.beats import beat_f
from dancetomusic.models.beat_network.audio_beats import (
    EVIDENCE,
    QUIET_CERTAINTY,
    TOLERANCE_S,
    beat_evidence,
    sound_evidence,
    sound_rhythms,
)
from dancetomusic.released import released_checkpoints
from dancetomusic.synthesis.noises import KINDS, make_noise
from dancetomusic.types import FAIR, SURE, Waveform
from tests.sound_factory import RATE, drums

pytestmark = pytest.mark.skipif(
    "beat_network" not in released_checkpoints(), reason="no released weights"
)


def joined(*parts):
    return Waveform(np.concatenate([part.samples for part in parts], axis=1), RATE)


@pytest.mark.parametrize("bpm", [84, 100, 124, 140])
def test_beats_of_drums_are_found(bpm):
    waveform, beats = drums(bpm, 12)
    track = sound_rhythms(waveform)[0]
    assert beat_f(beats, track.beat_times) > 0.9
    assert track.source == "sound"
    assert track.certainty > 0.5


def test_beats_are_placed_within_twenty_milliseconds():
    waveform, beats = drums(120, 20)
    found = sound_rhythms(waveform)[0].beat_times
    off = np.abs(found[:, None] - beats[None, :]).min(axis=1)
    assert np.median(off) < 0.02


def test_readings_differ_in_tempo_and_the_best_is_first():
    readings = sound_rhythms(drums(110, 15)[0])
    assert len(readings) >= 2
    certainties = [track.certainty for track in readings]
    assert certainties == sorted(certainties, reverse=True)
    tempi = [track.bpm for track in readings]
    assert all(abs(np.log2(a / b)) > 0.3 for k, a in enumerate(tempi) for b in tempi[k + 1 :])


def test_a_given_tempo_is_kept():
    (track,) = sound_rhythms(drums(120, 12)[0], bpm=60.0)
    assert track.bpm == pytest.approx(60.0, rel=0.05)


def test_a_change_of_tempo_is_followed():
    first, beats = drums(96, 14)
    second, later = drums(132, 14)
    track = sound_rhythms(joined(first, second))[0]
    assert beat_f(beats, track.beat_times[track.beat_times < 14]) > 0.9
    after = track.beat_times[track.beat_times >= 16] - 14
    assert beat_f(later[later >= 2], after) > 0.9


def test_beats_go_on_through_a_pause():
    before, _ = drums(120, 12)
    pause = Waveform(np.zeros((1, 3 * RATE), np.float32), RATE)
    track = sound_rhythms(joined(before, pause, before))[0]
    assert np.diff(track.beat_times).max() < 0.8


def test_beats_do_not_depend_on_level_or_channels():
    waveform, _ = drums(112, 10)
    expected = sound_rhythms(waveform)[0].beat_times
    quiet = Waveform(np.repeat(waveform.samples, 2, axis=0) * np.float32(0.01), RATE)
    np.testing.assert_allclose(sound_rhythms(quiet)[0].beat_times, expected, atol=0.01)


@pytest.mark.slow(1)
@pytest.mark.parametrize("kind", KINDS)
def test_sounds_without_a_beat_are_never_sure(kind):
    for seed in range(2):
        noise = make_noise(kind, 12.0, np.random.default_rng([seed, 77]))
        assert sound_rhythms(noise)[0].certainty < SURE


def test_a_room_that_is_hardly_heard_is_a_guess():
    waveform, _ = drums(112, 10)
    level = np.sqrt(np.mean(waveform.samples**2))
    room = Waveform(waveform.samples * np.float32(10 ** (-46 / 20) / level), RATE)
    assert sound_rhythms(room)[0].certainty < FAIR
    assert sound_rhythms(waveform)[0].certainty >= FAIR


@pytest.mark.parametrize("n_samples", [0, 100, RATE // 2, 10 * RATE])
def test_silence_and_a_moment_have_no_beat(n_samples):
    silence = Waveform(np.zeros((1, n_samples), np.float32), RATE)
    (track,) = sound_rhythms(silence)
    assert track.beat_times.size == 0
    assert track.certainty == 0.0
    times, evidence = sound_evidence(silence)
    assert times.size == 0 and not evidence.any()


def test_evidence_is_stronger_for_drums_than_for_noise():
    _, of_drums = sound_evidence(drums(120, 12)[0])
    _, of_noise = sound_evidence(make_noise("noise", 12.0, np.random.default_rng(0)))
    strength = EVIDENCE.index("strength")
    assert of_drums[strength] > of_noise[strength] + 0.3


def test_real_music_is_tracked(shared_data):
    beats = np.load(shared_data / "wild" / "12268594.npz")["beats"]
    sound = read_audio(shared_data / "wild" / "12268594.opus")
    track = sound_rhythms(sound)[0]
    assert beat_f(beats, track.beat_times) > 0.9
    assert track.certainty >= SURE


def test_a_constant_offset_does_not_make_a_room_loud():
    waveform, _ = drums(112, 10)
    level = np.sqrt(np.mean(waveform.samples**2))
    room = waveform.samples * np.float32(10 ** (-46 / 20) / level) + np.float32(0.05)
    assert sound_rhythms(Waveform(room, RATE))[0].certainty <= QUIET_CERTAINTY


def test_agreement_is_that_of_the_nearest_beats_and_needs_no_table():
    rng = np.random.default_rng(3)
    one, other = (np.cumsum(rng.uniform(0.1, 0.9, size)) for size in (200, 170))
    near = (np.abs(one[:, None] - other[None, :]).min(axis=1) <= TOLERANCE_S).sum()
    beat = np.zeros(20_000, np.float32)
    agreement = beat_evidence(beat, 100.0, one, other)[EVIDENCE.index("agreement")]
    assert agreement == pytest.approx(2 * near / (one.size + other.size))
    many = np.arange(0.0, 100_000.0)
    tracemalloc.start()
    beat_evidence(beat, 100.0, many, many)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200e6
