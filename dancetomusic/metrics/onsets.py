"""Note onsets of a sound, compared with those of another."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from dancetomusic.metrics.calibration import beats_right
from dancetomusic.types import Waveform

ONSET_TOLERANCE_S = 0.05
HOP_S = 0.01
MEL_RANGE_DB = 50.0
PEAK_MARGIN = 0.1
_FFT_LENGTH = 1024
_MEL_BANDS = 80
_FLUX_LAG = 2


def detect_onsets(waveform: Waveform) -> Float[np.ndarray, " onsets"]:
    """Times of the peaks of spectral flux, in seconds, increasing; none in silence.

    Flux is the mean rise over 20 ms in the top 50 dB of a log-mel spectrogram; a peak
    stands at least a tenth of the largest flux above its surroundings.

    References:
        Böck and Widmer, "Maximum filter vibrato suppression for onset detection", 2013.
    """
    import librosa

    mono = waveform.to_mono().samples[0]
    if not mono.any():
        return np.zeros(0)
    rate = waveform.sample_rate
    hop = round(HOP_S * rate)
    power = librosa.feature.melspectrogram(
        y=mono, sr=rate, n_fft=_FFT_LENGTH, hop_length=hop, n_mels=_MEL_BANDS
    )
    levels = librosa.power_to_db(power, ref=np.max, top_db=MEL_RANGE_DB)
    flux = librosa.onset.onset_strength(
        S=levels, sr=rate, hop_length=hop, n_fft=_FFT_LENGTH, lag=_FLUX_LAG
    )
    times = librosa.onset.onset_detect(
        onset_envelope=flux, sr=rate, hop_length=hop, delta=PEAK_MARGIN, units="time"
    )
    return np.asarray(times, dtype=np.float64)


def beats_with_onset(
    beat_times: Float[np.ndarray, " beats"],
    onset_times: Float[np.ndarray, " onsets"],
    duration_s: float,
) -> tuple[float, float]:
    """Share of beats with an onset within ±50 ms, and share of all times that have one.

    The second is what beats at random times would get. NaN without beats or duration.
    """
    if not beat_times.size or duration_s <= 0:
        return float("nan"), float("nan")
    on_beats, anywhere = (
        float(beats_right(onset_times, times, ONSET_TOLERANCE_S).mean())
        for times in (beat_times, np.arange(0.0, duration_s, ONSET_TOLERANCE_S / 5))
    )
    return on_beats, anywhere


def onset_f1(
    reference_times: Float[np.ndarray, " reference"],
    estimated_times: Float[np.ndarray, " estimated"],
    tolerance_s: float = ONSET_TOLERANCE_S,
) -> float:
    """F-measure of onsets matched one to one within ``tolerance_s``, in [0, 1].

    0 when either side is empty.

    References:
        Raffel et al., "mir_eval", ISMIR 2014.
    """
    import mir_eval

    if reference_times.size == 0 or estimated_times.size == 0:
        return 0.0
    scores = mir_eval.onset.f_measure(reference_times, estimated_times, window=tolerance_s)
    return float(scores[0])
