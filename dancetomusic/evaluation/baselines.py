"""Music that knows nothing, or only the tempo, of the dance: what every score is read against."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dancetomusic.types import Waveform

CLICK_S = 0.05
CLICK_HZ = 1000.0
CLICK_DECAY_S = 0.01
LEVEL = 0.5
NOISE_LEVEL = 0.1


def render_clicks(
    times: Float[np.ndarray, " clicks"], duration_s: float, sample_rate: int = 24_000
) -> Waveform:
    """A metronome: a short decaying 1 kHz click at each time inside the duration."""
    samples = np.zeros(round(duration_s * sample_rate), dtype=np.float32)
    age = np.arange(round(CLICK_S * sample_rate)) / sample_rate
    click = LEVEL * np.exp(-age / CLICK_DECAY_S) * np.sin(2.0 * np.pi * CLICK_HZ * age)
    for start in np.round(times * sample_rate).astype(np.int64):
        if 0 <= start < samples.size:
            end = min(start + click.size, samples.size)
            samples[start:end] += click[: end - start].astype(np.float32)
    return Waveform(samples[None], sample_rate)


def metronome_times(
    bpm: float, duration_s: float, phase: float = 0.0
) -> Float[np.ndarray, " beats"]:
    """Even beats over a duration, the first one ``phase`` beats after 0 s (in [0, 1))."""
    interval = 60.0 / bpm
    return np.arange(phase * interval, duration_s, interval)


def shift_half_beat(waveform: Waveform, bpm: float) -> Waveform:
    """The sound half a beat late; its end moves to its start."""
    return Waveform(
        np.roll(waveform.samples, round(30.0 / bpm * waveform.sample_rate), axis=1),
        waveform.sample_rate,
    )


def fit_duration(waveform: Waveform, duration_s: float) -> Waveform:
    """Another song cut to a duration, or repeated from its start to fill it.

    Example:
        >>> song = Waveform(np.ones((1, 3), dtype=np.float32), 1)
        >>> fit_duration(song, 5.0).samples.shape
        (1, 5)
    """
    n_samples = round(duration_s * waveform.sample_rate)
    repeats = -(-n_samples // max(1, waveform.samples.shape[1]))
    samples = np.tile(waveform.samples, (1, repeats))[:, :n_samples]
    return Waveform(samples, waveform.sample_rate)


def white_noise(duration_s: float, seed: int, sample_rate: int = 24_000) -> Waveform:
    """Gaussian noise, 20 dB below full scale."""
    rng = np.random.default_rng(seed)
    samples = NOISE_LEVEL * rng.standard_normal((1, round(duration_s * sample_rate)))
    return Waveform(samples.astype(np.float32), sample_rate)
