"""How far a sound is from its original, in spectrum, waveform, pitch and texture."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy import signal
from scipy.stats import entropy

from dancetomusic.errors import InputError
from dancetomusic.types import Waveform

FFT_LENGTH = 2048
MEL_HOP_S = 320 / 24_000
MEL_BANDS = 80
MEL_RANGE_DB = 70.0
BUZZ_LIMIT_HZ = 2000.0
PITCH_RANGE_HZ = (30.0, 200.0)
PITCH_RANGE_DB = 30.0
PITCH_TOLERANCE_CENTS = 50.0


def log_mel_distance_db(
    reference: Waveform, estimate: Waveform, *, below_hz: float = float("inf")
) -> float:
    """Mean absolute difference of two log-mel spectrograms, in dB; 0 is equal.

    Power in 80 mel bands from 0 Hz to half the rate (FFT 2048, Hann, hop 13.3 ms), in dB,
    floored 70 dB below the reference's loudest cell; the mean runs over all cells.

    Only bands centred below ``below_hz`` count.

    Raises:
        InputError: If rates or lengths differ, or the sounds are empty.
    """
    import librosa

    original, changed = _pair(reference, estimate)
    rate = reference.sample_rate
    hop = round(MEL_HOP_S * rate)
    bands = librosa.filters.mel(sr=rate, n_fft=FFT_LENGTH, n_mels=MEL_BANDS)
    centres = librosa.mel_frequencies(MEL_BANDS + 2, fmax=rate / 2)[1:-1]
    bands = bands[centres < below_hz]
    power = [
        bands @ np.abs(librosa.stft(samples, n_fft=FFT_LENGTH, hop_length=hop)) ** 2
        for samples in (original, changed)
    ]
    floor = max(float(power[0].max()) * 10 ** (-MEL_RANGE_DB / 10), 1e-10)
    levels = [10.0 * np.log10(np.maximum(cells, floor)) for cells in power]
    return float(np.abs(levels[0] - levels[1]).mean())


def si_sdr_db(reference: Waveform, estimate: Waveform) -> float:
    """Scale-invariant signal-to-distortion ratio, in dB; higher is closer.

    Infinite for a scaled copy, NaN for a silent reference.

    References:
        Le Roux et al., "SDR – half-baked or well done?", ICASSP 2019.
    """
    original, changed = (samples.astype(np.float64) for samples in _pair(reference, estimate))
    energy = float(original @ original)
    if energy == 0.0:
        return float("nan")
    target = (changed @ original) / energy * original
    noise = changed - target
    with np.errstate(divide="ignore"):
        return float(10.0 * np.log10((target @ target) / np.float64(noise @ noise)))


def hop_buzz(waveform: Waveform, lag: int = 320) -> float:
    """Normalised autocorrelation above 2 kHz at ``lag`` samples, in [-1, 1].

    A decoder that repeats itself every hop buzzes at the frame rate: the value at its hop
    length rises far above the original's. 0 for silence.
    """
    samples = waveform.to_mono().samples[0].astype(np.float64)
    if samples.size <= lag:
        raise InputError(
            f"the sound has {samples.size} samples", f"Give more than the lag of {lag}."
        )
    high_pass = signal.butter(8, BUZZ_LIMIT_HZ, "highpass", fs=waveform.sample_rate, output="sos")
    high = signal.sosfilt(high_pass, samples)
    early, late = high[:-lag], high[lag:]
    scale = np.sqrt((early @ early) * (late @ late))
    return float(early @ late / scale) if scale > 0 else 0.0


def bass_pitch_agreement(reference: Waveform, estimate: Waveform) -> float:
    """Share of frames with bass in which both pitches lie within 50 cents, in [0, 1].

    Pitch is YIN's on the part below 200 Hz, every 10 ms; a frame has bass when the
    reference's level there is within 30 dB of its loudest. NaN without such frames.

    References:
        de Cheveigné and Kawahara, "YIN, a fundamental frequency estimator", 2002.
    """
    original, changed = _pair(reference, estimate)
    (pitch, level), (other, _) = (
        low_pitch(Waveform(samples[None], reference.sample_rate)) for samples in (original, changed)
    )
    has_bass = level > max(float(level.max(initial=0.0)) * 10 ** (-PITCH_RANGE_DB / 20), 1e-5)
    if not has_bass.any():
        return float("nan")
    cents = 1200.0 * np.abs(np.log2(other[has_bass] / pitch[has_bass]))
    return float((cents <= PITCH_TOLERANCE_CENTS).mean())


def perplexity(
    codes: Int[np.ndarray, "codebooks frames"], codebook_size: int
) -> Float[np.ndarray, " codebooks"]:
    """Number of entries each codebook effectively uses, in [1, ``codebook_size``].

    Two to the entropy in bits of how often each entry occurs; ``n`` frames can show at
    most ``n``.

    Raises:
        InputError: If there are no codes or one lies outside the codebook.
    """
    if codes.size == 0 or codes.min() < 0 or codes.max() >= codebook_size:
        raise InputError("codes are empty or out of range", f"Give 0 … {codebook_size - 1}.")
    return np.exp([entropy(np.bincount(book)) for book in codes])


def _pair(
    reference: Waveform, estimate: Waveform
) -> tuple[Float[np.ndarray, " samples"], Float[np.ndarray, " samples"]]:
    if reference.sample_rate != estimate.sample_rate:
        raise InputError(
            f"rates are {reference.sample_rate} and {estimate.sample_rate} Hz",
            "Resample one of the sounds.",
        )
    original, changed = (wave.to_mono().samples[0] for wave in (reference, estimate))
    if original.size != changed.size or original.size == 0:
        raise InputError(
            f"lengths are {original.size} and {changed.size} samples", "Cut both to one length."
        )
    return original, changed


def low_pitch(
    waveform: Waveform,
) -> tuple[Float[np.ndarray, " frames"], Float[np.ndarray, " frames"]]:
    """Pitch in Hz and level below 200 Hz, every 10 ms."""
    import librosa
    import soxr

    low_rate = 2000
    samples, rate = waveform.to_mono().samples[0], waveform.sample_rate
    low_pass = signal.butter(4, PITCH_RANGE_HZ[1], fs=rate, output="sos")
    low = soxr.resample(signal.sosfiltfilt(low_pass, samples), rate, low_rate)
    frame_length, hop = 200, 20
    pitch = librosa.yin(
        low,
        fmin=PITCH_RANGE_HZ[0],
        fmax=PITCH_RANGE_HZ[1],
        sr=low_rate,
        frame_length=frame_length,
        hop_length=hop,
    )
    level = librosa.feature.rms(y=low, frame_length=frame_length, hop_length=hop)[0]
    return pitch, level[: pitch.size]
