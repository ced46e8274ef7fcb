"""A performance from a paced video: sound, beats, files, and what a user can get wrong."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dancetomusic.cli.live import live
from dancetomusic.errors import CheckpointError, DependencyError, InputError, OutputError
from dancetomusic.io.video import probe_video, read_frames
from dancetomusic.live.engine import LiveEngine
from dancetomusic.live.perform import CardPlayer, PlayedSound, list_devices
from dancetomusic.synthesis.scene import write_video


@pytest.mark.realtime
def test_a_paced_video_becomes_sound_and_a_recording(
    demo_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {key: tmp_path / f"out.{key}" for key in ("wav", "mp4", "json")}
    live(
        video=demo_dir / "steps_128bpm.mp4",
        output=names["wav"],
        record=names["mp4"],
        latency_json=names["json"],
        seconds=6.0,
    )
    sound, rate = soundfile.read(names["wav"])
    assert rate == 24_000 and 5.5 < sound.size / rate < 8.0
    info = probe_video(names["mp4"])
    assert info.has_audio and info.duration_s == pytest.approx(6.0, abs=1.0)
    figures = json.loads(names["json"].read_text())
    assert figures["error"] is None
    assert figures["frames_in"] > 100
    assert 40 <= figures["bpm"] <= 240
    assert figures["accent_to_sound"]["count"] > 0
    # On the clock of the recording: within it, from the first music on.
    assert all(0 < time_s <= sound.size / rate + 0.1 for time_s, _ in figures["beats"])
    first_s = np.flatnonzero(np.abs(sound) > 1e-3)[0] / rate
    assert figures["beats"][0][0] > first_s - 0.6
    printed = capsys.readouterr().out
    assert "p95" in printed and "dropped" in printed


@pytest.mark.realtime
def test_an_engine_plays_through_late_frames_and_after_its_end(demo_dir: Path) -> None:
    frames = list(read_frames(demo_dir / "bounce_104bpm.mp4", 24.0, max_side=256, n_frames=120))
    with LiveEngine(output_latency_s=0.0) as engine:
        assert engine.styles
        heard, began_s, pulled = [], time.monotonic(), 0
        number = 0
        while (now_s := time.monotonic() - began_s) < 6.0:
            if number < len(frames) and number / 24 <= min(now_s, 4.0):
                engine.push_frame(frames[number], number / 24)
                engine.push_frame(frames[number], number / 24)  # time stands still: dropped
                number += 1
            while pulled / 24_000 <= now_s:
                heard.append(engine.pull(480))
                pulled += 480
            time.sleep(0.004)
        status = engine.status()
        assert status.error is None
        assert status.frames_dropped >= number
        assert 0 <= status.beat_phase < 1
        assert json.dumps(status.to_json())
    sound = np.concatenate(heard)
    assert sound.dtype == np.float32 and np.abs(sound).max() <= 1.0
    assert np.abs(sound[:24_000]).max() == 0.0
    assert np.abs(sound[-24_000:]).max() > 0.0  # frames have ended, the music has not
    assert engine.pull(100).shape == (100,)
    engine.close()


@pytest.mark.realtime
def test_the_sampler_plays_on_the_beat_of_the_dance(demo_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    live(video=demo_dir / "steps_128bpm.mp4", output=out, checkpoint="motion_vae", seconds=6.0)
    sound, _ = soundfile.read(out)
    assert np.abs(sound[-48_000:]).max() > 0.0


@pytest.mark.realtime
def test_black_frames_are_silent(tmp_path: Path) -> None:
    video = tmp_path / "black.mp4"
    write_video(video, (np.zeros((64, 64, 3), np.uint8) for _ in range(48)), 24.0)
    live(video=video, output=tmp_path / "out.wav")
    sound, _ = soundfile.read(tmp_path / "out.wav")
    assert not sound.any()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({}, InputError),
        ({"camera": "0", "video": Path("x.mp4")}, InputError),
        ({"video": Path("absent.mp4"), "output": Path("out.wav")}, InputError),
        ({"camera": "99", "output": Path("out.mp3")}, OutputError),
        ({"camera": "99", "output": Path("no/where/out.wav")}, OutputError),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    options: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error) as told:
        live(**options)
    assert "\n" not in str(told.value)


def test_senseless_engines_are_refused() -> None:
    with pytest.raises(CheckpointError, match="sees ahead"):
        LiveEngine("pose2audio")
    with pytest.raises(InputError, match="style is"):
        LiveEngine(style="gregorian")
    with pytest.raises(InputError, match="latency"):
        LiveEngine(output_latency_s=-1.0)
    with pytest.raises(InputError, match="tempo is 500"):
        LiveEngine(bpm=500.0)


def test_without_a_sound_card_the_remedy_names_a_file() -> None:
    lines = list_devices()
    assert lines and all("\n" not in line for line in lines)
    try:
        CardPlayer(device=10_000)
    except DependencyError as error:
        assert "--output file.wav" in str(error) and "libportaudio2" in str(error)
    except InputError as error:
        assert "--list_devices" in str(error)


def test_a_recording_begins_with_the_latency_of_the_card() -> None:
    played = PlayedSound(1000, 5)
    played.take(np.ones(3, np.float32))
    assert played.read().size == 0
    played.take(np.ones(3, np.float32))
    assert played.read().tolist() == [0.0] * 5 + [1.0] * 3
