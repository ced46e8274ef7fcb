"""Drums and bass of a mix by harmonic-percussive separation, where no separator is at hand."""

from __future__ import annotations

import numpy as np

from dancetomusic.types import Waveform

BASS_LIMIT_HZ = 180.0
_FFT_LENGTH = 2048
_HOP = 512


def drum_and_bass(mix: Waveform) -> Waveform:
    """The percussive part of a mix plus its harmonic part below 180 Hz, as one channel.

    A rough separation: vocal consonants stay in, and drums lose their sustained tones.
    The output has the length, rate and level of the input. Needs the extra ``evaluate``.

    References:
        Fitzgerald, "Harmonic/percussive separation using median filtering", DAFx 2010.
    """
    import librosa

    mono = mix.to_mono().samples[0]
    spectrum = librosa.stft(mono, n_fft=_FFT_LENGTH, hop_length=_HOP)
    harmonic, percussive = librosa.decompose.hpss(spectrum)
    frequencies = librosa.fft_frequencies(sr=mix.sample_rate, n_fft=_FFT_LENGTH)
    harmonic[frequencies >= BASS_LIMIT_HZ] = 0.0
    part = librosa.istft(harmonic + percussive, hop_length=_HOP, length=mono.size)
    return Waveform(part[None].astype(np.float32), mix.sample_rate)
