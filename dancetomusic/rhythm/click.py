"""A click on every beat, to check a rhythm by ear."""

from __future__ import annotations

import numpy as np

from dancetomusic.io.audio import fit_length, peak_safe
from dancetomusic.types import RhythmTrack, Waveform

BEAT_HZ, DOWNBEAT_HZ = 1000.0, 1500.0
CLICK_S = 0.04
LEVEL = 0.5


def click_track(track: RhythmTrack, sample_rate: int) -> Waveform:
    """Short tones on the beats, higher on the first of a bar; mono, as long as the track.

    Beats outside the track are left out.
    """
    n_samples = round(track.duration_s * sample_rate)
    length = round(CLICK_S * sample_rate)
    seconds = np.arange(length) / sample_rate
    samples = np.zeros(n_samples + length, np.float32)
    for time, number in zip(track.beat_times, track.beat_numbers, strict=True):
        start = round(time * sample_rate)
        if not 0 <= start < n_samples:
            continue
        hertz = DOWNBEAT_HZ if number == 1 else BEAT_HZ
        click = LEVEL * np.sin(2 * np.pi * hertz * seconds) * np.exp(-seconds / (CLICK_S / 5))
        samples[start : start + length] += click.astype(np.float32)
    return Waveform(samples[None, :n_samples], sample_rate)


def add_clicks(sound: Waveform, track: RhythmTrack) -> Waveform:
    """Lay a click on every beat over a sound, turned down as a whole where it would clip."""
    clicks = fit_length(click_track(track, sound.sample_rate), sound.samples.shape[1])
    return peak_safe(Waveform(sound.samples + clicks.samples, sound.sample_rate))
