"""Sounds with known beats, and sounds without any."""

import numpy as np

from dancetomusic.types import Waveform

RATE = 24_000


def drums(bpm, seconds, *, first_s=0.2, rate=RATE, seed=0):
    """Kick on 1 and 3, snare on 2 and 4, hats on eighths, and a bass note with each kick."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(round((seconds + 1) * rate))
    t = np.arange(round(0.25 * rate)) / rate
    kick = np.sin(2 * np.pi * (50 * t - 8 * np.exp(-t / 0.02))) * np.exp(-t / 0.08)
    kick += 0.4 * np.sin(2 * np.pi * 55 * t) * np.exp(-t / 0.2)
    snare = 0.6 * rng.standard_normal(t.size) * np.exp(-t / 0.05)
    hat = 0.15 * np.diff(rng.standard_normal(t.size + 1)) * np.exp(-t / 0.015)
    half = 30.0 / bpm
    for count, time in enumerate(np.arange(first_s, seconds, half)):
        at = round(time * rate)
        hit = hat + (count % 4 == 0) * kick + (count % 4 == 2) * snare
        sound[at : at + t.size] += hit
    samples = sound[: round(seconds * rate)] / np.abs(sound).max()
    return Waveform(samples[None].astype(np.float32), rate), np.arange(first_s, seconds, 2 * half)
