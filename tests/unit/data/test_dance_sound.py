"""Movement and sound are cut at the same instants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dancetomusic.codec.mulaw import SILENCE, decode_mulaw
from dancetomusic.data.dance import fully_visible
from dancetomusic.data.dance_sound import (
    DanceSound,
    cut,
    dance_sound,
    read_pictures,
    songs_of_dances,
    sounds_of_videos,
)
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import InputError
from dancetomusic.types import Waveform
from tests.video_factory import write_video

RATE, FPS, STEPS = 16_000, 25.0, 4


def clock(seconds, fps=24.0, with_pictures=False):
    """A dance in which x of every landmark, and loudness, tell the time."""
    frames, n = round(seconds * fps), round(seconds * RATE)
    world = np.zeros((frames, 33, 3), np.float32)
    world[..., 0] = (np.arange(frames) / fps)[:, None]
    poses = fully_visible(world, fps)
    ramp = (np.arange(n) / RATE / seconds).astype(np.float32)
    pictures = None
    if with_pictures:
        grey = (np.arange(round(seconds * FPS)) / FPS * 10).astype(np.uint8)
        pictures = np.broadcast_to(grey[:, None, None], (grey.size, 64, 64)).copy()
    return dance_sound(
        "clock", Waveform(ramp[None], RATE), sample_rate=RATE, fps=FPS, poses=poses,
        pictures=pictures, beat_times=np.arange(0.2, seconds, 0.5),
    )  # fmt: skip


@pytest.mark.parametrize(("first_frame", "crop_step"), [(0, 0), (10, 3), (37, 101), (100, 57)])
def test_audio_and_movement_are_cut_at_the_same_time(first_frame, crop_step):
    dance = clock(10.0, with_pictures=True)
    crop = cut(
        dance, first_frame=first_frame, n_frames=50, crop_step=crop_step, steps_per_frame=STEPS,
        history=400, n_samples=1600,
    )  # fmt: skip
    said_s = crop.world[:, 0, 0]
    np.testing.assert_allclose(said_s, (first_frame + np.arange(50)) / FPS, atol=1e-3)
    np.testing.assert_allclose(crop.pictures[:, 0, 0], np.floor(said_s * 10 + 1e-3), atol=1)
    start_s = first_frame / FPS + crop_step / (FPS * STEPS)
    heard_s = decode_mulaw(crop.classes[400:]) * 10.0
    np.testing.assert_allclose(heard_s, start_s + np.arange(1600) / RATE, rtol=0.025, atol=2e-3)
    step_s = first_frame / FPS + np.arange(200) / (FPS * STEPS)
    angle = 2 * np.pi * (step_s - 0.2) / 0.5
    known = crop.phase_known
    np.testing.assert_allclose(crop.phase[known, 0], np.cos(angle)[known], atol=1e-4)
    np.testing.assert_allclose(crop.phase[known, 1], np.sin(angle)[known], atol=1e-4)
    assert known.sum() == np.sum((step_s >= 0.2 - 1e-9) & (step_s <= 9.7))


def test_beyond_the_ends_there_is_silence_and_nobody():
    dance = clock(2.0)
    crop = cut(
        dance, first_frame=40, n_frames=50, crop_step=10, steps_per_frame=STEPS, history=100,
        n_samples=8000,
    )  # fmt: skip
    assert crop.present.tolist() == [True] * 9 + [False] * 41
    assert (crop.classes[100 + round(0.3 * RATE) :] == SILENCE).all()
    early = cut(
        dance, first_frame=0, n_frames=5, crop_step=0, steps_per_frame=STEPS, history=100,
        n_samples=160,
    )  # fmt: skip
    assert (early.classes[:100] == SILENCE).all()
    assert early.pictures.size == 0


def test_silent_and_short_sound_is_refused():
    sound = clock(2.0)
    with pytest.raises(InputError, match="silent"):
        replace(sound, samples=np.zeros_like(sound.samples))
    with pytest.raises(InputError, match=r"lasts 0\.50 s"):
        replace(sound, samples=sound.samples[: RATE // 2])
    with pytest.raises(InputError, match="not finite"):
        Waveform(np.full((1, RATE), np.nan, np.float32), RATE)


def test_a_video_gives_its_pictures_beside_its_sound(tmp_path):
    seconds, fps = 2, 25

    def picture(k):
        return np.full((48, 96, 3), 255 * (k // fps), np.uint8)

    sound = np.repeat([0.01, 0.5], 48_000) * np.sin(np.arange(96_000) * 0.05)
    write_video(
        tmp_path / "a.mp4", n_frames=seconds * fps, size=(96, 48), picture=picture,
        sound=sound.astype(np.float32),
    )  # fmt: skip
    (found,) = sounds_of_videos(tmp_path, sample_rate=RATE, fps=FPS, side=64)
    assert isinstance(found, DanceSound) and found.name == "a"
    assert found.pictures.shape[1:] == (64, 64)
    bright = found.pictures.mean(axis=(1, 2)) > 128
    loud = np.abs(found.samples[: len(bright) * 640].reshape(-1, 640)).max(axis=1) > 3000
    assert abs(int(bright.argmax()) - int(loud.argmax())) <= 2
    assert read_pictures(tmp_path / "a.mp4", fps=5.0, side=16).shape[1:] == (16, 16)
    with pytest.raises(InputError):
        list(sounds_of_videos(tmp_path / "none", sample_rate=RATE, fps=FPS, side=64))


def test_a_dance_brings_its_song(shared_data):
    (dance,) = load_dances(shared_data / "tang2018", split="val")[:1]
    (found,) = songs_of_dances([dance], sample_rate=RATE, fps=FPS)
    assert abs(found.duration_s - dance.poses.duration_s) < 0.5
    assert found.genre == dance.genre and found.poses.fps == FPS
    absent = replace(dance, audio_path=dance.audio_path.with_name("absent.opus"))
    with pytest.raises(InputError):
        list(songs_of_dances([absent], sample_rate=RATE, fps=FPS))
