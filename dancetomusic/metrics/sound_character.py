"""What a listener notes of a sound whatever its rhythm: attacks, whistling lines, a kit that stays.

Sounds of codecs differ from instruments in all three: attacks are smeared over a frame, lines
stand in the spectrum at multiples of the frame rate, and a drum sounds different at every stroke.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import signal

from dancetomusic.metrics.drum_balance import register_onsets
from dancetomusic.types import Waveform

ATTACK_WINDOW_S, ATTACK_STEP_S = 0.005, 0.001
ATTACK_ABOVE_HZ = 1000.0
"""A period must be short against the window."""

BEFORE_S, AFTER_S = 0.04, 0.06
ATTACK_SHARES = (0.1, 0.9)
LEAST_RISE_DB = 6.0

LINE_RANGE_HZ = (1500.0, 9000.0)
LINE_WIDTH_HZ, SURROUNDINGS_HZ = 1.0, (4.0, 20.0)

STROKE_S = 0.06
KIT_BANDS = 32
KIT_RANGE_DB = 50.0
FEWEST_STROKES = 6


def attack_ms(waveform: Waveform) -> float:
    """Median time in which strokes rise from a tenth to nine tenths of their amplitude, in ms.

    Amplitude is that above 1 kHz in windows of 5 ms, between its lowest value in the 40 ms before
    a stroke and its highest in the 60 ms after. Nothing is shorter than the window allows, 4 ms.
    NaN without onsets of 6 dB.
    """
    rate = waveform.sample_rate
    samples = waveform.to_mono().samples[0].astype(np.float64)
    onsets = register_onsets(waveform)
    times = np.unique(np.concatenate([onsets["mid"], onsets["high"]]))
    if not times.size:
        return float("nan")
    # Amplitude above the corner frequency: root of the mean power in short windows.
    high = signal.sosfilt(signal.butter(4, ATTACK_ABOVE_HZ, "high", fs=rate, output="sos"), samples)
    step, length = round(ATTACK_STEP_S * rate), round(ATTACK_WINDOW_S * rate)
    power = np.convolve(high**2, np.full(length, 1.0 / length), "same")[::step]
    level = np.sqrt(power)
    step_s = step / rate
    rises = []
    for time in times:
        middle = round(time / step_s)
        part = level[max(0, middle - round(BEFORE_S / step_s)) : middle + round(AFTER_S / step_s)]
        # From the lowest level before the peak up to it.
        top = int(part.argmax()) if part.size else 0
        if top == 0:
            continue
        foot = int(part[:top].argmin())
        low, peak = part[foot], part[top]
        if peak < low * 10 ** (LEAST_RISE_DB / 20) or peak <= 0:
            continue
        # Made monotonic, and strictly so by a tiny slope, the rise is read at both shares.
        edge = np.maximum.accumulate(part[foot : top + 1])
        shares = (edge - low) / (peak - low)
        begin, end = np.interp(ATTACK_SHARES, shares + 1e-9 * np.arange(shares.size),
                               np.arange(shares.size))  # fmt: skip
        rises.append((end - begin) * step_s * 1000.0)
    return float(np.median(rises)) if rises else float("nan")


def frame_lines_db(waveform: Waveform, frame_rate: float = 75.0) -> float:
    """How far lines stand out at multiples of a frame rate, in dB; about 0 without.

    Height over the surroundings between 1.5 and 9 kHz, minus the same half-way between the
    multiples. NaN below 4 s, and for silence.
    """
    samples = waveform.to_mono().samples[0].astype(np.float64)
    rate = waveform.sample_rate
    if waveform.duration_s < 4.0 or not samples.any():
        return float("nan")
    frequencies, power = signal.welch(samples, rate, nperseg=2 * rate, noverlap=rate)
    level = 10.0 * np.log10(power + 1e-20)

    def height(hz: float) -> float:
        apart = np.abs(frequencies - hz)
        around = (apart > SURROUNDINGS_HZ[0]) & (apart < SURROUNDINGS_HZ[1])
        return float(level[apart <= LINE_WIDTH_HZ].max() - np.median(level[around]))

    low, high = LINE_RANGE_HZ
    multiples = frame_rate * np.arange(np.ceil(low / frame_rate), high / frame_rate)
    multiples = multiples[multiples < rate / 2 - frame_rate]
    on, between = ([height(hz + shift) for hz in multiples] for shift in (0.0, frame_rate / 2))
    return float(np.mean(on) - np.mean(between))


def kit_change_db(waveform: Waveform) -> float:
    """How much more the drums' sound differs from first to last third than from stroke to stroke.

    The mean spectrum of the 60 ms after the strokes of a register (mel bands in dB, level left
    out) in the first third against that in the last, mean absolute difference over bands, minus
    the same between every other stroke; the mean of the registers, weighted by strokes. About 0
    where one kit plays on, NaN where no register has six strokes in a third.
    """
    import librosa

    mono = waveform.to_mono()
    rate, samples = mono.sample_rate, mono.samples[0]
    length = round(STROKE_S * rate)
    bands = librosa.filters.mel(sr=rate, n_fft=length, n_mels=KIT_BANDS, fmin=40.0)
    changes, weights = [], []
    for times in register_onsets(waveform).values():
        starts = np.rint(times * rate).astype(int)
        starts = starts[starts + length <= samples.size]
        if not starts.size:
            continue
        # The level in mel bands of each stroke, which fades out to its end.
        strokes = samples[starts[:, None] + np.arange(length)] * np.hanning(2 * length)[length:]
        level = _levels(np.abs(np.fft.rfft(strokes, axis=1)) ** 2 @ bands.T)
        third = waveform.duration_s / 3
        at = starts / rate
        first, last = level[at < third], level[at >= 2 * third]
        if min(len(first), len(last)) < FEWEST_STROKES:
            continue
        # First against last third, less what every other stroke differs anyway.
        ends = np.concatenate([first, last])
        changes.append(_apart(first, last) - _apart(ends[::2], ends[1::2]))
        weights.append(len(ends))
    return float(np.average(changes, weights=weights)) if changes else float("nan")


def _levels(power: Float[np.ndarray, "strokes bands"]) -> Float[np.ndarray, "strokes bands"]:
    """Decibels below each stroke's strongest band."""
    strongest = np.maximum(power.max(axis=1, keepdims=True), 1e-20)
    return 10.0 * np.log10(np.maximum(power / strongest, 10 ** (-KIT_RANGE_DB / 10)))


def _apart(strokes: np.ndarray, others: np.ndarray) -> float:
    return float(np.abs(strokes.mean(axis=0) - others.mean(axis=0)).mean())
