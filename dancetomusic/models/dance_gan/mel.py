"""Inputs of the dance generator: mel band levels of the music, and its beats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from dancetomusic.errors import InputError
from dancetomusic.io.audio import resample
from dancetomusic.io.spectrum import band_power
from dancetomusic.models.beat_network.audio_beats import track_audio_beats
from dancetomusic.models.dance_gan.audio_windows import OVERSAMPLING
from dancetomusic.types import POSE_FPS, RhythmTrack, Waveform

SOUND_RATE = POSE_FPS * OVERSAMPLING
"""Frames of sound a second, in Hz."""

SAMPLE_RATE = 24_000
N_BANDS = 32
LOWEST_HZ, HIGHEST_HZ = 40.0, 10_000.0
WINDOW = 1024
FLOOR = 1e-4
"""Power below which a band is silent, as a share of the loudest band's mean."""

MIN_SOUND_S = 1.0
SILENCE = 1e-4
FASTEST_DANCED_BPM = 140.0
"""Above it, dancers take every second beat: no dance of the ballroom set is faster than 129."""


def mel_levels(waveform: Waveform) -> Float32[np.ndarray, "sound_frames 32"]:
    """Levels of bands of sound, ``SOUND_RATE`` frames a second, in [0, 1] for most.

    Frame ``k`` is around ``k / SOUND_RATE`` seconds. Loudness of the whole does not matter:
    0 is 40 dB below the mean power of the loudest band.

    Raises:
        InputError: If there is less than a second, or nothing but silence.
    """
    if waveform.duration_s < MIN_SOUND_S:
        raise InputError(
            f"the music lasts {waveform.duration_s:.2f} s",
            f"Give at least {MIN_SOUND_S:g} s of music.",
        )
    samples = resample(waveform.to_mono(), SAMPLE_RATE).samples[0]
    if np.abs(samples).max() < SILENCE:
        raise InputError("the music is silent", "Give audible music.")
    hop = round(SAMPLE_RATE / SOUND_RATE)
    n_frames = int(waveform.duration_s * SOUND_RATE + 1e-6)
    power = band_power(samples, _band_weights(), window=WINDOW, hop=hop, n_frames=n_frames)
    level = power / max(float(power.mean(axis=0).max()), 1e-12)
    return (1.0 + np.log10(np.maximum(level, FLOOR)) / -np.log10(FLOOR)).astype(np.float32)


def dancing_beats(waveform: Waveform) -> RhythmTrack:
    """The beats of music at the level that is danced; see :func:`danced_level`.

    Raises:
        InputError: If no beat is found.
    """
    track = track_audio_beats(waveform)
    if track.beat_times.size < 2:
        raise InputError("no beat was found in the music", "Give --bpm, or other music.")
    return danced_level(track)


def danced_level(track: RhythmTrack) -> RhythmTrack:
    """Beats that are not faster than ``FASTEST_DANCED_BPM``.

    Of a faster pulse every second beat is taken, those that the tracker is surer of: in a rumba the
    bass stresses the others.
    """
    while track.bpm > FASTEST_DANCED_BPM and track.beat_times.size >= 4:
        confidence = track.confidence
        first = int(confidence[1::2].mean() > confidence[::2].mean())
        kept = np.arange(first, track.beat_times.size, 2)
        track = replace(
            track,
            beat_times=track.beat_times[kept],
            beat_numbers=np.arange(kept.size) % track.beats_per_bar + 1,
            confidence=confidence[kept],
        )
    return track


def _band_weights() -> Float32[np.ndarray, "32 bins"]:
    """Triangles on a scale of mels, each of unit sum."""
    frequencies = np.fft.rfftfreq(WINDOW, 1 / SAMPLE_RATE)
    ends = _mel(np.array([LOWEST_HZ, HIGHEST_HZ]))
    edges = np.linspace(ends[0], ends[1], N_BANDS + 2)
    at = _mel(frequencies)
    rising = (at - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - at) / np.diff(edges)[1:, None]
    weights = np.maximum(np.minimum(rising, falling), 0.0)
    middles = np.argmin(np.abs(at - edges[1:-1, None]), axis=1)
    weights[np.arange(N_BANDS), middles] += weights.sum(axis=1) == 0
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _mel(hz: np.ndarray) -> np.ndarray:
    return 2595.0 * np.log10(1.0 + hz / 700.0)
