"""Speech told from music."""

import shutil
import subprocess

import numpy as np
import pytest

from dancetomusic.builder.speech import speech_likeness
from dancetomusic.io.audio import read_audio
from dancetomusic.types import Waveform

RATE = 24_000


def drums(bpm=120.0, seconds=5.0):
    rng = np.random.default_rng(0)
    sound = 0.01 * rng.standard_normal(round(seconds * RATE))
    t = np.arange(RATE // 5) / RATE
    kick = np.sin(2 * np.pi * 55 * t) * np.exp(-t / 0.06)
    hat = rng.standard_normal(t.size) * np.exp(-t / 0.02)
    for k, start in enumerate(np.arange(0, seconds - 0.3, 30.0 / bpm)):
        at = round(start * RATE)
        sound[at : at + t.size] += kick if k % 2 == 0 else 0.4 * hat
    return Waveform(sound[None].astype(np.float32), RATE)


def babble(seconds=5.0):
    """Gliding harmonic syllables of irregular length with pauses."""
    rng = np.random.default_rng(1)
    parts = []
    while sum(map(len, parts)) < seconds * RATE:
        n = int(RATE * rng.uniform(0.09, 0.28))
        f0 = np.linspace(rng.uniform(110, 180), rng.uniform(90, 200), n)
        phase = 2 * np.pi * np.cumsum(f0) / RATE
        formant = rng.uniform(300, 900), rng.uniform(1000, 2500)
        voice = sum(
            sum(np.exp(-(((k * 140 - f) / 250) ** 2)) for f in formant) * np.sin(k * phase)
            for k in range(1, 25)
        )
        parts += [voice * np.hanning(n), np.zeros(int(RATE * rng.uniform(0.01, 0.12)))]
    sound = np.concatenate(parts)[: round(seconds * RATE)]
    return Waveform((0.2 * sound[None] / np.abs(sound).max()).astype(np.float32), RATE)


def test_drums_are_music_and_babble_is_speech():
    assert speech_likeness(drums()) < 0.01
    assert speech_likeness(babble()) > 0.98


def test_loudness_does_not_matter():
    loud = babble()
    soft = Waveform(loud.samples * np.float32(0.05), RATE)
    assert speech_likeness(soft) == pytest.approx(speech_likeness(loud), abs=1e-3)


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.9])
def test_what_is_too_short_is_not_judged(seconds):
    noise = np.random.default_rng(0).standard_normal((1, round(seconds * RATE)))
    assert speech_likeness(Waveform(noise.astype(np.float32), RATE)) == 0.0


@pytest.mark.parametrize("level", [0.0, 0.7])
def test_silence_and_a_constant_are_not_speech(level):
    assert speech_likeness(Waveform(np.full((1, 5 * RATE), level, np.float32), RATE)) == 0.0


def test_any_rate_and_channels_are_taken():
    rng = np.random.default_rng(0)
    for rate in (8_000, 44_100):
        sound = rng.standard_normal((2, 2 * rate)).astype(np.float32)
        assert 0.0 <= speech_likeness(Waveform(sound, rate)) <= 1.0


@pytest.mark.slow
def test_real_dance_music_is_music(shared_data):
    for name in ("DANCE_C_1", "DANCE_T_2", "DANCE_W_20"):
        sound = read_audio(shared_data / "tang2018" / "audio" / f"{name}.opus", RATE)
        part = Waveform(np.ascontiguousarray(sound.samples[:, 10 * RATE : 15 * RATE]), RATE)
        assert speech_likeness(part) < 0.5


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is absent")
@pytest.mark.parametrize("voice", ["en+m1", "fr+f2"])
def test_synthesised_speech_is_speech(voice, tmp_path):
    text = "Welcome back everybody, today we learn the basic step, so listen to the count. " * 2
    file = tmp_path / "speech.wav"
    subprocess.run(["espeak-ng", "-v", voice, "-w", str(file), text], check=True)
    sound = read_audio(file, RATE)
    part = Waveform(np.ascontiguousarray(sound.samples[:, : 5 * RATE]), RATE)
    assert speech_likeness(part) > 0.98
