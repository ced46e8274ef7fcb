"""Sounds without a beat: what a beat tracker has to refuse."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfilt

from dancetomusic.io.process import run_program
from dancetomusic.types import Waveform

KINDS = ("speech", "applause", "rain", "hum", "noise", "chatter", "handling")

_WORDS = [
    "and", "then", "we", "go", "to", "the", "left", "again", "so", "watch", "my", "feet",
    "hello", "everybody", "welcome", "back", "one", "more", "time", "today", "this", "step",
    "is", "easy", "turn", "around", "slowly", "keep", "your", "arms", "up", "what", "do", "you",
    "think", "about", "it", "maybe", "tomorrow", "the", "weather", "in", "the", "mountains",
    "was", "cold", "yesterday", "evening", "please", "subscribe", "because", "I", "never",
    "know", "where", "people", "come", "from", "when", "they", "walk", "into", "a", "room",
    "full", "of", "music", "teachers",
]  # fmt: skip


def make_noise(kind: str, seconds: float, rng: np.random.Generator) -> Waveform:
    """One of ``KINDS``, mono, at 24 kHz, peaking below full scale.

    Speech needs the program ``espeak-ng``; without it babble of modulated noise stands in.

    Raises:
        ValueError: If the kind is unknown.
    """
    sample_rate = 24_000
    n = round(seconds * sample_rate)
    if kind == "speech" or kind == "chatter":
        voices = 1 if kind == "speech" else 4
        samples = sum((_speech(seconds, sample_rate, rng) for _ in range(voices)), np.zeros(n))
    elif kind == "applause":
        samples = _claps(seconds, sample_rate, rate_hz=rng.uniform(5, 60), rng=rng)
    elif kind == "rain":
        drops = _claps(seconds, sample_rate, rate_hz=rng.uniform(100, 400), rng=rng)
        samples = drops / drops.std() + rng.normal(size=n)
    elif kind == "hum":
        t = np.arange(n) / sample_rate
        tones = rng.uniform(50, 1500, 6)
        samples = sum((rng.uniform(0, 1) * np.sin(2 * np.pi * f * t) for f in tones), np.zeros(n))
        samples = samples * (1 + 0.3 * _wander(n, sample_rate, 0.7, rng)) + 0.05 * rng.normal(
            size=n
        )
    elif kind == "noise":
        low = rng.uniform(40, 2000)
        band = butter(2, [low, min(low * 20, 11_000)], "bandpass", fs=sample_rate, output="sos")
        samples = sosfilt(band, rng.normal(size=n)) * (1.5 + _wander(n, sample_rate, 0.4, rng))
    elif kind == "handling":
        samples = _claps(seconds, sample_rate, rate_hz=rng.uniform(0.5, 4), rng=rng)
        low = butter(2, rng.uniform(200, 2500), fs=sample_rate, output="sos")
        samples = sosfilt(low, samples) + 0.01 * rng.normal(size=n)
    else:
        raise ValueError(f"no kind of noise is called {kind!r}")
    samples = samples * (rng.uniform(0.05, 0.9) / (np.abs(samples).max() + 1e-9))
    return Waveform(samples[None].astype(np.float32), sample_rate)


def _wander(
    n: int, rate: int, seconds: float, rng: np.random.Generator
) -> Float[np.ndarray, " samples"]:
    """Slow random changes of about unit size, interpolated from one value every ``seconds``."""
    knots = rng.normal(size=int(n / rate / seconds) + 2)
    return np.interp(np.arange(n) / rate / seconds, np.arange(knots.size), knots)


def _claps(
    seconds: float, rate: int, *, rate_hz: float, rng: np.random.Generator
) -> Float[np.ndarray, " samples"]:
    """Short bursts of noise at random times (a Poisson process)."""
    n = round(seconds * rate)
    samples = np.zeros(n + rate)
    for at in rng.integers(0, n, rng.poisson(rate_hz * seconds)):
        length = int(rng.uniform(0.003, 0.04) * rate)
        burst = rng.normal(size=length) * np.exp(-5 * np.arange(length) / length)
        samples[at : at + length] += rng.lognormal(0, 0.6) * burst
    return samples[:n]


def _speech(seconds: float, rate: int, rng: np.random.Generator) -> Float[np.ndarray, " samples"]:
    n = round(seconds * rate)
    program = shutil.which("espeak-ng")
    if program is None:
        syllables = np.maximum(gaussian_filter1d(_wander(n, rate, 0.12, rng), 200), 0)
        formant = butter(2, [250, 3200], "bandpass", fs=rate, output="sos")
        return sosfilt(formant, rng.normal(size=n)) * syllables
    import soundfile

    from dancetomusic.io.audio import resample

    count = int(seconds * 3) + 8
    words = rng.choice(_WORDS, count)
    stops = rng.choice(["", "", "", ",", ".", "..."], count)
    text = " ".join(f"{word}{stop}" for word, stop in zip(words, stops, strict=True))
    voice = str(rng.choice(["en", "en-us", "es", "de", "fr", "en+f2", "en+f4", "en+m3"]))
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "speech.wav")
        run_program(
            [
                *(program, "-v", voice, "-w", str(file)),
                *("-s", str(int(rng.integers(120, 210))), "-p", str(int(rng.integers(20, 80)))),
                text,
            ],
        )
        samples, own_rate = soundfile.read(file, dtype="float32", always_2d=True)
    spoken = resample(Waveform(np.ascontiguousarray(samples.T), own_rate), rate).samples[0]
    result = np.zeros(n)
    result[: min(n, spoken.size)] = spoken[:n]
    return result
