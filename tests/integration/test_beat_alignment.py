"""Beats of a video's sound lie on the clock of its picture, however the file keeps both."""

from fractions import Fraction

import av
import numpy as np
import pytest

from dancetomusic.generate.beat_source import read_sound
from dancetomusic.models.beat_network.audio_beats import sound_rhythms
from dancetomusic.released import released_checkpoints
from tests.sound_factory import drums
from tests.video_factory import cut_in, numbered, write_video

pytestmark = pytest.mark.skipif(
    "beat_network" not in released_checkpoints(), reason="no released weights"
)
SECONDS = 12.0
BPM = 117


def sound_and_beats(rate):
    sound, beats = drums(BPM, SECONDS, first_s=0.31, rate=rate)
    return sound.samples[0] * np.float32(0.8), beats


def assert_on_the_picture(path, beats):
    track = sound_rhythms(read_sound(path))[0]
    off = track.beat_times[None, :] - beats[:, None]
    nearest = off[np.arange(beats.size), np.abs(off).argmin(axis=1)]
    assert abs(np.median(nearest)) < 0.02
    assert np.mean(np.abs(nearest) < 0.07) > 0.9


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.mp4", "aac", 48_000),
        ("a.mp4", "aac", 8_000),
        ("a.mp4", "aac", 96_000),
        ("a.mkv", "aac", 44_100),
        ("a.mp4", "libmp3lame", 48_000),
        ("a.mkv", "libmp3lame", 44_100),
        ("a.mp4", "libopus", 48_000),
        ("a.mov", "pcm_s16le", 48_000),
        ("a.mkv", "pcm_u8", 8_000),
        ("a.mov", "pcm_mulaw", 8_000),
        ("a.mkv", "ac3", 48_000),
    ],
)
def test_every_kind_of_sound(tmp_path, name, codec, rate):
    sound, beats = sound_and_beats(rate)
    path = write_kind(tmp_path / name, sound, codec, rate, "stereo")
    assert_on_the_picture(path, beats)


@pytest.mark.parametrize("silent", [0, 1])
def test_a_channel_that_is_silent(tmp_path, silent):
    sound, beats = sound_and_beats(48_000)
    path = write_kind(tmp_path / "a.mp4", sound, "aac", 48_000, "stereo", silent=silent)
    assert_on_the_picture(path, beats)


@pytest.mark.slow
def test_six_channels(tmp_path):
    sound, beats = sound_and_beats(48_000)
    assert_on_the_picture(write_kind(tmp_path / "a.mp4", sound, "aac", 48_000, "5.1"), beats)


@pytest.mark.slow(1)
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize("late_s", [0.7, 3.2])
def test_sound_that_starts_late(tmp_path, name, late_s):
    sound, beats = sound_and_beats(48_000)
    path = write_video(tmp_path / name, n_frames=400, sound=sound, sound_start_s=late_s)
    assert_on_the_picture(path, beats + late_s)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_gap_in_the_sound(tmp_path, name):
    sound, beats = sound_and_beats(48_000)
    path = write_video(tmp_path / name, n_frames=400, sound=sound, sound_gap_s=1.3)
    assert_on_the_picture(path, beats + 1.3 * (beats > 1.0))


def test_a_beginning_that_an_edit_list_hides(tmp_path):
    sound, beats = sound_and_beats(48_000)
    path = cut_in(write_video(tmp_path / "a.mp4", n_frames=288, sound=sound, gop=1), 1.2)
    assert_on_the_picture(path, beats[beats > 1.3] - 1.2)


def test_pictures_at_an_uneven_rate(tmp_path):
    sound, beats = sound_and_beats(48_000)
    gaps = np.random.default_rng(0).choice([10, 25, 50, 80], 280)
    times = [Fraction(int(ms), 1000) for ms in np.cumsum(gaps) - gaps[0]]
    path = write_video(tmp_path / "a.mp4", times=times, fps=60, sound=sound)
    assert_on_the_picture(path, beats)


def test_a_file_in_fragments(tmp_path):
    sound, beats = sound_and_beats(48_000)
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
    path = write_video(
        tmp_path / "a.mp4",
        n_frames=300,
        sound=sound,
        sound_start_s=0.7,
        options={"bf": "0"},
        container_options=options,
    )
    assert_on_the_picture(path, beats + 0.7)


def write_kind(path, sound, codec, rate, layout, silent=None):
    """A short picture with the sound on all channels, or on all but one."""
    channels = np.tile(sound, (av.AudioLayout(layout).nb_channels, 1))
    if silent is not None:
        channels[silent] = 0.0
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        audio = output.add_stream(codec, rate=rate)
        audio.layout = layout
        for number in range(48):
            picture = av.VideoFrame.from_ndarray(numbered(number), format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, 24)
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
        converter = av.AudioResampler(format=audio.format.name, layout=layout, rate=rate)
        block = rate // 50
        for start in range(0, channels.shape[1], block):
            part = np.ascontiguousarray(channels[:, start : start + block])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
            frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), start
            for converted in converter.resample(frame):
                output.mux(audio.encode(converted))
        output.mux(audio.encode(None))
    return path
