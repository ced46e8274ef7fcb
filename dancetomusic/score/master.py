"""The last stage of every sound: even loudness, peaks within limits, no click at either end."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64
from scipy.signal import butter, sosfilt

from dancetomusic.errors import InputError
from dancetomusic.io.loudness import (
    frame_hop,
    gated_loudness,
    power_to_lufs,
    true_peak,
    true_peaks,
    weighted_power,
)
from dancetomusic.score.gain import released, smoothed, with_gain_db
from dancetomusic.score.limiter import MARGIN_DB, TRUE_PEAK_DB, limiting_db
from dancetomusic.score.mix import sum_stems
from dancetomusic.types import Waveform

logger = logging.getLogger(__name__)

LOUDNESS_LUFS = -14.0
"""What the large streaming services play music at."""
FADE_IN_S, FADE_OUT_S = 0.002, 0.03

_DRIFT_HZ = 10.0  # below is no sound
_MOST_RAISED_LU = 40.0  # what is below -54 LUFS is mostly noise
_MOST_LIMITED_DB = 30.0  # of single peaks
_TOLERANCE_LU = 0.5

# Glue: a compressor on the sum that holds loud passages back by about 2 dB.
_GLUE_BELOW_LU, _GLUE_RATIO, _GLUE_KNEE_DB, _GLUE_MOST_DB = 1.0, 2.0, 6.0, 3.0
_GLUE_LEVEL_S, _GLUE_ATTACK_S, _GLUE_RELEASE_S = 0.03, 0.02, 0.15


def master(
    waveform: Waveform,
    loudness_lufs: float | None = LOUDNESS_LUFS,
    *,
    true_peak_db: float = TRUE_PEAK_DB,
    fade_in_s: float = FADE_IN_S,
    fade_out_s: float = FADE_OUT_S,
) -> Waveform:
    """Bring a sound to a loudness, with its peaks below a limit and its ends faded.

    Inaudible low frequencies are removed (a constant offset, too), a compressor holds loud passages
    back by about 2 dB, and a limiter that looks ahead catches the peaks. Silence stays silence, a
    sound below -54 LUFS is raised by 40 LU at most, and one whose peaks would have to be limited
    by more than 30 dB ends up quieter than asked, with a warning. Rate, channels and length stay.

    Args:
        waveform: Any rate, any number of channels.
        loudness_lufs: Integrated loudness wanted, in [-60, 0] LUFS; ``None`` gives the sound back
            as it is.
        true_peak_db: Highest true peak, in [-20, 0] dBTP.
        fade_in_s: Length of the rise at the start; a fade is never longer than half the sound.
        fade_out_s: Length of the fall at the end.

    Raises:
        InputError: If a value is out of its range.

    References:
        ITU-R BS.1770-4, 2015, defines both measures; Giannoulis et al., "Digital Dynamic Range
        Compressor Design", 2012, the compressor's knee.
    """
    _check(loudness_lufs, true_peak_db, fade_in_s, fade_out_s)
    if loudness_lufs is None or not waveform.samples.size:
        return waveform
    sound = _cleaned(waveform, fade_in_s, fade_out_s)
    return with_gain_db(sound, _gain_db(sound, loudness_lufs, true_peak_db))


def master_stems(
    stems: Mapping[str, Waveform], loudness_lufs: float | None = LOUDNESS_LUFS
) -> dict[str, Waveform]:
    """Stems as they stand in their mastered sum: they add up to what ``master`` makes of it.

    Args:
        stems: By name; one or more, of one rate, number of channels and length.
        loudness_lufs: As for ``master``.

    Raises:
        InputError: If there is none, they differ, or the loudness is out of its range.
    """
    _check(loudness_lufs, TRUE_PEAK_DB, FADE_IN_S, FADE_OUT_S)
    if loudness_lufs is None:
        return dict(stems)
    cleaned = {name: _cleaned(stem, FADE_IN_S, FADE_OUT_S) for name, stem in stems.items()}
    gain_db = _gain_db(sum_stems(cleaned), loudness_lufs, TRUE_PEAK_DB)
    return {name: with_gain_db(stem, gain_db) for name, stem in cleaned.items()}


def _gain_db(
    sound: Waveform, loudness_lufs: float, true_peak_db: float
) -> Float64[np.ndarray, " frames"]:
    """Gain of each frame that masters a sound: compressor, level and limiter."""
    frame_rate = sound.sample_rate / frame_hop(sound.sample_rate)
    power = weighted_power(sound)
    loudness = gated_loudness(power, frame_rate)
    if loudness == -math.inf:
        return np.zeros(power.size)
    gain_db = -glue_db(power, loudness, frame_rate)
    with np.errstate(divide="ignore"):
        peaks_db = 20 * np.log10(true_peaks(sound).astype(np.float64))
    ceiling_db = true_peak_db - MARGIN_DB
    gain_db += _level_db(
        power * 10 ** (gain_db / 10),
        peaks_db + gain_db - ceiling_db,
        min(loudness_lufs, loudness + _MOST_RAISED_LU),
        frame_rate,
    )
    # A gain that moves makes new peaks between the samples, if tiny ones.
    excess_db = true_peak(with_gain_db(sound, gain_db)) - ceiling_db
    return gain_db - max(excess_db, 0.0)


def glue_db(
    power: Float64[np.ndarray, " frames"], loudness_lufs: float, frame_rate: float
) -> Float64[np.ndarray, " frames"]:
    """Decibels by which the bus compressor turns each frame down, in [0, 3].

    Args:
        power: K-weighted, see ``weighted_power``.
        loudness_lufs: Of the whole sound; the threshold lies 1 dB below it.
        frame_rate: Frames a second.
    """
    level_lufs = power_to_lufs(smoothed(power, _GLUE_LEVEL_S, frame_rate))
    over = np.maximum(level_lufs - loudness_lufs + _GLUE_BELOW_LU + _GLUE_KNEE_DB / 2, 0)
    bent = np.where(over < _GLUE_KNEE_DB, over**2 / (2 * _GLUE_KNEE_DB), over - _GLUE_KNEE_DB / 2)
    wanted = _GLUE_MOST_DB * np.tanh(bent * (1 - 1 / _GLUE_RATIO) / _GLUE_MOST_DB)
    return smoothed(released(wanted, _GLUE_RELEASE_S, frame_rate), _GLUE_ATTACK_S, frame_rate)


def _level_db(
    power: Float64[np.ndarray, " frames"],
    over_db: Float64[np.ndarray, " frames"],
    wanted_lufs: float,
    frame_rate: float,
) -> Float64[np.ndarray, " frames"]:
    """Gain of each frame that gives the loudness wanted behind the limiter, by secants."""
    loudness = gated_loudness(power, frame_rate)
    most_db = _MOST_LIMITED_DB - float(over_db.max())
    level_db, slope = 0.0, 1.0
    for _ in range(10):
        last_db, last = level_db, loudness
        level_db = min(level_db + (wanted_lufs - loudness) / slope, most_db)
        gain_db = level_db - limiting_db(over_db + level_db, frame_rate)
        loudness = gated_loudness(power * 10 ** (gain_db / 10), frame_rate)
        if abs(wanted_lufs - loudness) < 0.02 or level_db == last_db:
            break
        slope = float(np.clip((loudness - last) / (level_db - last_db), 0.2, 1.0))
    if loudness < wanted_lufs - _TOLERANCE_LU:
        logger.warning(
            "the sound is mastered to %.1f LUFS, not %.1f: its peaks are too far above the rest",
            loudness,
            wanted_lufs,
        )
    return gain_db


def _cleaned(waveform: Waveform, fade_in_s: float, fade_out_s: float) -> Waveform:
    """A copy without offset and drift, its ends faded."""
    n_samples = waveform.samples.shape[1]
    samples = np.empty_like(waveform.samples)
    sections = butter(
        2, min(_DRIFT_HZ, waveform.sample_rate / 4), "high", output="sos", fs=waveform.sample_rate
    )
    for cleaned, channel in zip(samples, waveform.samples, strict=True):
        cleaned[:] = sosfilt(sections, channel - channel.mean(dtype=np.float64))
    for length_s, ends in ((fade_in_s, samples), (fade_out_s, samples[:, ::-1])):
        length = min(round(length_s * waveform.sample_rate), n_samples // 2)
        ends[:, :length] *= np.sin(np.pi / 2 * np.arange(length) / max(length, 1)) ** 2
    return Waveform(samples, waveform.sample_rate)


def _check(
    loudness_lufs: float | None, true_peak_db: float, fade_in_s: float, fade_out_s: float
) -> None:
    if loudness_lufs is not None and not -60 <= loudness_lufs <= 0:
        raise InputError(f"loudness is {loudness_lufs:g} LUFS", "Give -60 to 0 LUFS, or none.")
    if not -20 <= true_peak_db <= 0:
        raise InputError(f"true peak is {true_peak_db:g} dBTP", "Give -20 to 0 dBTP.")
    if not (0 <= fade_in_s < math.inf and 0 <= fade_out_s < math.inf):
        raise InputError(f"fades are {fade_in_s:g} s and {fade_out_s:g} s", "Give 0 s or more.")
