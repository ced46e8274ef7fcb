"""Which beats the music plays on, with the released encoder and beat network."""

import logging
from dataclasses import replace

import av
import numpy as np
import pytest

from dancetomusic.data.dance import fully_visible
from dancetomusic.errors import InputError, PoseError, VideoError
from dancetomusic.generate.beat_source import (
    AFTER_S,
    BeatChoice,
    choose_rhythm,
    estimate_rhythms,
    read_sound,
    sound_of,
)
from dancetomusic.generate.inputs import read_dancers
from dancetomusic.metrics.beats import beat_f
from dancetomusic.models.pose2audio.network import Pose2Audio
from dancetomusic.pose.landmarks import cut_poses
from dancetomusic.released import locate_checkpoint, released_checkpoints
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.rhythm.edit import shift_beats
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.synthesis.noises import make_noise
from dancetomusic.types import Waveform
from tests.sound_factory import RATE, drums
from tests.video_factory import click_times, clicks, write_video

pytestmark = pytest.mark.skipif(
    not {"pose2audio", "beat_network"} <= set(released_checkpoints()), reason="no released weights"
)
SECONDS = 12.0
ARRAYS = ("world", "present", "visibility")


@pytest.fixture(scope="module")
def encoder():
    return Pose2Audio.from_pretrained(locate_checkpoint("pose2audio")).eval().encoder


@pytest.fixture(scope="module")
def dancers():
    made = choreograph("steps", 100.0, SECONDS, seed=2)
    return [fully_visible(made.world, made.fps)]


def test_clear_beats_of_the_sound_are_taken(encoder, dancers):
    sound, beats = drums(124, SECONDS)
    _, readings = estimate_rhythms(encoder, dancers, sound)
    assert readings[0].source == "sound"
    assert beat_f(beats, readings[0].beat_times) > 0.9
    assert readings[-1].source == "movement"


def test_energy_is_that_of_the_movement(encoder, dancers):
    sound, _ = drums(124, SECONDS)
    _, heard = estimate_rhythms(encoder, dancers, sound)
    _, moved = estimate_rhythms(encoder, dancers)
    np.testing.assert_array_equal(heard[0].energy, moved[0].energy)
    assert heard[0].duration_s == moved[0].duration_s


@pytest.mark.parametrize("kind", ["speech", "rain", "handling", "silence"])
def test_without_a_pulse_the_movement_is_read(encoder, dancers, kind):
    if kind == "silence":
        sound = Waveform(np.zeros((1, round(SECONDS * RATE)), np.float32), RATE)
    else:
        sound = make_noise(kind, SECONDS, np.random.default_rng(4))
    _, readings = estimate_rhythms(encoder, dancers, sound)
    assert readings[0].source == "movement"


def test_the_movement_is_read_where_asked(encoder, dancers):
    sound, _ = drums(124, SECONDS)
    _, readings = estimate_rhythms(encoder, dancers, sound, beats_from="movement")
    assert {track.source for track in readings} == {"movement"}


def test_beats_cover_the_dance_where_the_sound_is_shorter(encoder, dancers):
    sound, _ = drums(120, 6)
    _, readings = estimate_rhythms(encoder, dancers, sound, beats_from="sound")
    times = readings[0].beat_times
    assert times[0] < 1.2 and times[-1] > dancers[0].duration_s - 1.2
    assert times[-1] < dancers[0].duration_s


def test_a_sound_without_a_beat_is_refused_where_its_beats_are_asked_for(encoder, dancers):
    silence = Waveform(np.zeros((1, RATE * 5), np.float32), RATE)
    with pytest.raises(InputError, match="no beat was found in the sound"):
        estimate_rhythms(encoder, dancers, silence, beats_from="sound")


def test_an_unknown_source_is_refused(encoder, dancers):
    with pytest.raises(InputError, match="'radio'"):
        estimate_rhythms(encoder, dancers, beats_from="radio")


def test_given_beats_are_kept_as_they_are(encoder, dancers):
    given = steady_grid(97.0, 30.0, first_beat_s=0.3)
    _, rhythm, readings = choose_rhythm(encoder, dancers, BeatChoice(beats=given))
    inside = given.beat_times[given.beat_times < rhythm.duration_s]
    np.testing.assert_allclose(rhythm.beat_times[: inside.size], inside)
    assert rhythm.source == "file" and rhythm.certainty == 1.0
    assert readings[0].source == "movement"
    np.testing.assert_array_equal(rhythm.energy, readings[0].energy)


def test_a_tempo_is_kept_and_corrections_are_applied(encoder, dancers):
    sound, _ = drums(120, SECONDS)
    choice = BeatChoice(beats_from="sound", tempo="half", offset_ms=100.0)
    _, rhythm, readings = choose_rhythm(encoder, dancers, choice, sound=sound)
    assert rhythm.bpm == pytest.approx(readings[0].bpm / 2, rel=0.02)
    later = np.isclose(rhythm.beat_times[:, None] - 0.1, readings[0].beat_times[None, :], atol=1e-6)
    assert later.any(axis=1).mean() > 0.9
    _, kept, _ = choose_rhythm(encoder, dancers, replace(choice, bpm=80.0, tempo=None), sound=sound)
    assert kept.bpm == pytest.approx(80.0, rel=0.05)


def test_poses_have_no_sound(encoder):
    assert sound_of(BeatChoice(), None) is None
    with pytest.raises(InputError, match="--sound FILE"):
        sound_of(BeatChoice(beats_from="sound"), None)
    assert sound_of(BeatChoice(beats="beats.csv", beats_from="auto"), "absent.mp4") is None


def test_sound_is_read_on_the_clock_of_the_picture(tmp_path):
    sound = clicks([1.0, 2.0], 3.0)
    video = write_video(tmp_path / "late.mp4", n_frames=96, sound=sound, sound_start_s=0.5)
    heard = read_sound(video)
    found = click_times(heard.samples[0], heard.sample_rate)
    np.testing.assert_allclose(found, [1.5, 2.5], atol=0.01)


def test_a_video_without_sound_has_none(tmp_path):
    video = write_video(tmp_path / "mute.mp4")
    assert read_sound(video) is None
    assert read_sound(video, "movement") is None
    with pytest.raises(VideoError, match="has no sound"):
        read_sound(video, "sound")


def test_sound_that_cannot_be_decoded_is_one_warning_or_an_error(tmp_path, caplog):
    broken = write_video(tmp_path / "broken.mp4", sound=clicks([0.5], 2.0))
    with av.open(str(broken)) as source:
        places = [(p.pos, p.size) for p in source.demux(audio=0) if p.size]
    content = bytearray(broken.read_bytes())
    for position, size in places:
        content[position : position + size] = b"\xff" * size
    broken.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert read_sound(broken) is None
    assert len(caplog.records) == 1
    assert "cannot be decoded" in caplog.text
    with pytest.raises(VideoError, match="cannot be decoded"):
        read_sound(broken, "sound")


@pytest.fixture(scope="module")
def long_dance(dancers):
    (dancer,) = dancers
    return [
        replace(
            dancer,
            **{name: np.concatenate([getattr(dancer, name)] * 6) for name in ARRAYS},
        )
    ]


@pytest.mark.slow(1)
@pytest.mark.parametrize("bpm", [97, 117, 133])
def test_beats_keep_their_tempo_where_the_sound_ends(encoder, long_dance, bpm):
    sound, _ = drums(bpm, 16.0)
    _, readings = estimate_rhythms(encoder, long_dance, sound, beats_from="sound")
    expected = np.arange(0.2, long_dance[0].duration_s, 60 / bpm)
    off = np.abs(readings[0].beat_times[:, None] - expected[None, :]).min(axis=1)
    assert off.max() < 0.05
    assert readings[0].bpm == pytest.approx(bpm, rel=0.003)


@pytest.mark.slow(1)
def test_beats_beyond_the_sound_are_less_certain(encoder, long_dance, dancers):
    sound, _ = drums(120, SECONDS)
    whole, part = (
        estimate_rhythms(encoder, people, sound, beats_from="sound")[1][0]
        for people in (dancers, long_dance)
    )
    assert part.certainty == pytest.approx(whole.certainty / 6, rel=0.01)


@pytest.mark.slow(1)
def test_what_follows_the_dance_is_not_analysed(encoder, dancers):
    sound, beats = drums(96, SECONDS + AFTER_S)
    after, _ = drums(132, 60.0)
    longer = Waveform(np.concatenate([sound.samples, after.samples], axis=1), RATE)
    _, alone = estimate_rhythms(encoder, dancers, sound)
    _, followed = estimate_rhythms(encoder, dancers, longer)
    np.testing.assert_array_equal(followed[0].beat_times, alone[0].beat_times)
    assert followed[0].certainty == alone[0].certainty
    assert beat_f(beats[beats < SECONDS], followed[0].beat_times) > 0.9


@pytest.mark.parametrize("seconds", [4.0, 40.0])
@pytest.mark.parametrize("first_s", [0.5, 3.3])
def test_given_beats_cover_the_dance(encoder, dancers, seconds, first_s):
    given = steady_grid(100.0, seconds, first_beat_s=first_s)
    given = shift_beats(given, 0.7 * 600)
    _, rhythm, _ = choose_rhythm(encoder, dancers, BeatChoice(beats=given))
    assert rhythm.beat_times[0] < 0.6 and SECONDS - 0.6 <= rhythm.beat_times[-1] < SECONDS
    np.testing.assert_allclose(np.diff(rhythm.beat_times), 0.6)
    places = np.diff(rhythm.beat_numbers) % 4
    assert (places == 1).all()


@pytest.mark.parametrize("offset_ms", [-1700.0, 1700.0])
@pytest.mark.parametrize("tempo", [None, "half", "double"])
def test_corrected_beats_cover_the_dance(encoder, dancers, offset_ms, tempo):
    given = steady_grid(100.0, SECONDS, first_beat_s=0.5)
    choice = BeatChoice(beats=given, tempo=tempo, offset_ms=offset_ms)
    _, rhythm, _ = choose_rhythm(encoder, dancers, choice)
    interval = {None: 0.6, "half": 1.2, "double": 0.3}[tempo]
    np.testing.assert_allclose(np.diff(rhythm.beat_times), interval)
    assert rhythm.beat_times[0] < interval
    assert SECONDS - interval <= rhythm.beat_times[-1] < SECONDS


def test_one_beat_is_no_rhythm(encoder, dancers):
    given = steady_grid(60.0, 1.0)
    one = replace(
        given,
        beat_times=given.beat_times[:1],
        beat_numbers=given.beat_numbers[:1],
        confidence=given.confidence[:1],
    )
    with pytest.raises(InputError, match="1 beats given"):
        choose_rhythm(encoder, dancers, BeatChoice(beats=one))


def test_dancers_have_to_be_of_one_length(dancers):
    shorter = cut_poses(dancers[0], slice(48))
    for people, words in (([], "no dancer"), ([dancers[0], shorter], "different lengths")):
        with pytest.raises(PoseError, match=words):
            read_dancers(people)
