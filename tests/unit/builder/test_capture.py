"""Takes: a camera that is a file, a sound card that is a list."""

import sys
import time

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from dancetomusic.builder.capture import (
    FILE_RATE,
    Microphone,
    PlayedFile,
    SoundCard,
    next_take,
    open_camera,
    paced_pictures,
    record_take,
)
from dancetomusic.errors import DependencyError, InputError, OutputError, VideoError
from dancetomusic.io.audio import read_audio
from dancetomusic.io.video import probe_video, read_frames
from tests.video_factory import clicks, write_video

RATE = 48_000


class Tape(SoundCard):
    """Gives a tone as it would have been recorded by the time of each picture."""

    sample_rate = RATE

    def __init__(self):
        self.given = 0

    def read(self):
        at = (self.given + np.arange(RATE // 30)) / RATE
        self.given += at.size
        return (0.3 * np.sin(2 * np.pi * 440 * at)).astype(np.float32)


def pictures(times):
    for number, time_s in enumerate(times):
        frame = np.full((48, 64, 3), 40, np.uint8)
        frame[:, : number % 64] = 200
        yield float(time_s), frame


def test_a_take_keeps_the_times_of_its_pictures_and_the_sound(tmp_path):
    times = 1000.0 + np.cumsum([0.0, *np.tile([1 / 30, 1 / 15], 30)])
    length_s = record_take(tmp_path / "take.mp4", pictures(times), 2.0, sound=Tape())
    assert 1.9 < length_s < 2.0
    info = probe_video(tmp_path / "take.mp4")
    assert info.has_audio and (info.width, info.height) == (64, 48)
    assert info.duration_s == pytest.approx(2.0, abs=0.1)
    with av.open(str(tmp_path / "take.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.pts is not None]
    shown = sorted(float(packet.pts * packet.time_base) for packet in packets)
    assert np.allclose(shown, times[: len(shown)] - 1000.0, atol=1e-3)
    sound = read_audio(tmp_path / "take.mp4")
    assert np.sqrt((sound.samples[0, 2400:12_000] ** 2).mean()) == pytest.approx(0.21, abs=0.02)


@pytest.mark.realtime
def test_a_file_stands_for_the_camera_at_its_own_pace(demo_dir, tmp_path):
    began_s = time.monotonic()
    with open_camera(demo_dir / "steps_128bpm.mp4", fps=24.0) as camera:
        length_s = record_take(tmp_path / "take.mp4", camera, 2.0)
    assert 1.8 < length_s <= 2.0 and time.monotonic() - began_s > 1.8
    taken = list(read_frames(tmp_path / "take.mp4", 2.0, n_frames=4))[3].astype(int)
    filmed = read_frames(demo_dir / "steps_128bpm.mp4", 24.0, n_frames=72)
    away = [np.abs(taken - frame).mean() for frame in filmed]
    assert min(away) < 4 and np.argmin(away) / 24 == pytest.approx(1.5, abs=0.35)
    assert not probe_video(tmp_path / "take.mp4").has_audio


def test_pictures_that_are_late_are_left_out(demo_dir):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    pictures = paced_pictures(
        demo_dir / "steps_128bpm.mp4", fps=10.0, max_side=64, clock=lambda: now[0], sleep=sleep
    )
    times, seen = [], []
    for taken_s, picture in pictures:
        times.append(taken_s)
        seen.append(picture)
        now[0] += {3: 0.5, 10: 4.0}.get(len(times), 0.0)
    assert np.allclose(times[:3], [0.0, 0.1, 0.2])
    assert times[3] == pytest.approx(0.6, abs=0.11)  # those of the half second are missing
    assert times[10] > times[9] + 3.9 and np.allclose(np.diff(times[10:]), 0.1)
    assert 11.5 < times[-1] < 12.1
    # After four seconds the video is where it would be.
    there = list(read_frames(demo_dir / "steps_128bpm.mp4", 10.0, max_side=64))
    for taken_s, picture in list(zip(times, seen, strict=True))[::7]:
        assert np.array_equal(picture, there[round(taken_s * 10)])


def test_a_videos_sound_comes_as_time_passes(tmp_path):
    now = [100.0]
    video = write_video(tmp_path / "v.mp4", sound=clicks([0.5], 2.0))
    sound = PlayedFile(video, clock=lambda: now[0])
    assert sound.read().size == 0
    pieces = []
    for seconds in (0.25, 0.5, 1.0, 5.0):
        now[0] = 100.0 + seconds
        pieces.append(sound.read())
    assert [piece.size for piece in pieces[:3]] == [
        FILE_RATE // 4,
        FILE_RATE // 4,
        FILE_RATE // 2,
    ]
    whole = np.concatenate(pieces)
    assert 1.9 < whole.size / FILE_RATE < 2.2
    assert np.abs(whole).argmax() / FILE_RATE == pytest.approx(0.5, abs=0.05)


def test_a_silent_video_stands_for_no_sound_card(tmp_path):
    with pytest.raises(VideoError, match="has no sound"):
        PlayedFile(write_video(tmp_path / "v.mp4"))


def test_takes_are_numbered(tmp_path):
    assert next_take(tmp_path / "new").name == "take_0001.mp4"
    (tmp_path / "take_0007.mp4").touch()
    (tmp_path / "take_last.mp4").touch()
    assert next_take(tmp_path).name == "take_0008.mp4"
    with pytest.raises(OutputError, match="cannot make"):
        next_take(tmp_path / "take_0007.mp4" / "folder")


@pytest.mark.parametrize(
    ("times", "seconds", "problem"),
    [([0.0, 0.1], 0.5, "too short"), ([], 2.0, "no picture")],
)
def test_no_take_leaves_no_file(tmp_path, times, seconds, problem):
    with pytest.raises(InputError, match=problem):
        record_take(tmp_path / "take.mp4", pictures(times), seconds)
    odd = iter([(0.0, np.zeros((47, 64, 3), np.uint8))])
    with pytest.raises(InputError, match="odd side"):
        record_take(tmp_path / "take.mp4", odd, 2.0)
    assert not list(tmp_path.iterdir())


def test_missing_parts_are_named(tmp_path, monkeypatch, capfd):
    for camera in (tmp_path / "none", 97):
        with pytest.raises(InputError, match="camera .* cannot be opened"), open_camera(camera):
            pass
    assert not capfd.readouterr().err  # OpenCV's own ten lines
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(DependencyError, match="sound cannot be recorded.*libportaudio2"):
        Microphone()


@pytest.mark.slow
def test_the_command_records_takes(demo_dir, tmp_path):
    import typer

    from dancetomusic.cli.capture import capture

    app = typer.Typer()
    app.command()(capture)
    folder = tmp_path / "takes"
    camera = str(demo_dir / "steps_128bpm.mp4")
    arguments = ["--takes_folder", str(folder), "--camera", camera, "--no_sound", "--seconds", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert [file.name for file in folder.iterdir()] == ["take_0001.mp4"]
    refused = CliRunner().invoke(app, [*arguments, "--output_path", str(tmp_path / "set")])
    assert isinstance(refused.exception, InputError)

    song = write_video(tmp_path / "song.mp4", sound=clicks([0.5], 2.0))
    arguments[4:5] = ["--sound_input", str(song)]  # in place of --no_sound
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    heard = read_audio(folder / "take_0002.mp4").samples[0]
    assert np.abs(heard).argmax() / FILE_RATE == pytest.approx(0.5, abs=0.1)
