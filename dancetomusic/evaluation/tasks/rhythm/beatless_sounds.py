"""Sounds without a beat, of which no beat tracker may be sure."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator

import numpy as np
import soundfile
from jaxtyping import Float

from dancetomusic.evaluation.baselines import LEVEL, white_noise
from dancetomusic.io.audio import fit_length, peak_safe, resample
from dancetomusic.types import Waveform

SAMPLE_RATE = 24_000
DURATION_S = 15.0
SEEDS = 3

SENTENCES = (
    "The lift is out of order today, so please take the stairs at the end of the corridor.",
    "She had left her umbrella on the train, and that was not for the first time.",
    "Three of the windows face north; the fourth, above the door, was bricked up years ago.",
    "When the kettle had boiled he poured the water away, and started once more.",
    "There is a market on Saturdays. It opens early, and by noon most of the bread is gone.",
    "Nobody could say who had moved the chairs, or why, but there were now seven of them.",
)
ESPEAK = "espeak-ng"
VOICES = ("en-us", "en-gb", "de")


def beatless_sounds() -> Iterator[tuple[str, Waveform]]:
    """Kind and sound: fifteen seconds each, three of most kinds; speech where espeak-ng is."""
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        if shutil.which(ESPEAK) is not None:
            yield "speech", _speech(rng, VOICES[seed % len(VOICES)])
        yield "applause", _claps(rng, rate_hz=80.0)
        yield "random claps", _claps(rng, rate_hz=4.0)
        yield "rain", _rain(rng)
        yield "white noise", white_noise(DURATION_S, seed, SAMPLE_RATE)
        yield "hum", _hum(50.0 + 10.0 * seed)
    yield "silence", Waveform(np.zeros((1, _samples()), np.float32), SAMPLE_RATE)


def _samples() -> int:
    return round(DURATION_S * SAMPLE_RATE)


def _speech(rng: np.random.Generator, voice: str) -> Waveform:
    """Sentences in random order at a random speed, by espeak-ng."""
    text = " ".join(rng.permutation(SENTENCES))
    command = [ESPEAK, "--stdout", "-v", voice, "-s", str(int(rng.integers(130, 190))), text]
    done = subprocess.run(command, check=True, capture_output=True)
    samples, rate = soundfile.read(io.BytesIO(done.stdout), dtype="float32")
    spoken = resample(Waveform(samples[None], rate), SAMPLE_RATE)
    return peak_safe(fit_length(spoken, _samples()))


def _claps(rng: np.random.Generator, rate_hz: float) -> Waveform:
    """Hands that clap at times which know nothing of each other: a Poisson process."""
    clap_s = 0.03
    age = np.arange(round(clap_s * SAMPLE_RATE)) / SAMPLE_RATE
    return _scattered(rng, rate_hz, np.exp(-age / 0.006))


def _rain(rng: np.random.Generator) -> Waveform:
    """Drops as a Poisson process over a hiss."""
    age = np.arange(round(0.004 * SAMPLE_RATE)) / SAMPLE_RATE
    drops = _scattered(rng, 400.0, np.exp(-age / 0.001)).samples
    hiss = 0.02 * rng.standard_normal(drops.shape).astype(np.float32)
    return Waveform(drops + hiss, SAMPLE_RATE)


def _scattered(
    rng: np.random.Generator, rate_hz: float, envelope: Float[np.ndarray, " samples"]
) -> Waveform:
    """Bursts of noise of random loudness at random times."""
    samples = np.zeros(_samples())
    for start in rng.integers(0, samples.size, rng.poisson(rate_hz * DURATION_S)):
        end = min(start + envelope.size, samples.size)
        burst = envelope * rng.standard_normal(envelope.size) * rng.uniform(0.2, 1.0)
        samples[start:end] += burst[: end - start]
    samples *= LEVEL / np.abs(samples).max()
    return Waveform(samples.astype(np.float32)[None], SAMPLE_RATE)


def _hum(hz: float) -> Waveform:
    """Mains hum: a tone and its overtones."""
    seconds = np.arange(_samples()) / SAMPLE_RATE
    tone = sum(np.sin(2.0 * np.pi * k * hz * seconds) / k for k in range(1, 6))
    return Waveform((0.1 * np.asarray(tone)).astype(np.float32)[None], SAMPLE_RATE)
