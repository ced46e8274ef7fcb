"""What spoils sound that is made block by block: hiss, seams, and a pulse at the blocks' rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dancetomusic.errors import InputError
from dancetomusic.types import Waveform

HIGH_HZ = 6000.0
FRAME_S = 0.01
PULSE_HZ = 0.25
AROUND_HZ = 3.0


@dataclass(frozen=True)
class BlockFaults:
    """Faults of a sound that was made in blocks.

    Attributes:
        hiss_db: Above 6 kHz, how far the quiet moments (a fifth of them) lie below the whole
            sound's level, in dB: near 0 for steady noise, low where cymbals end.
        seam_ratio: Mean step between neighbouring samples at the edges of blocks over that
            elsewhere; 1 without seams.
        pulse_db: How far the loudness beats at the blocks' own rate beyond the rates around
            it, in dB; 0 where the rhythm is not that of the blocks.
    """

    hiss_db: float
    seam_ratio: float
    pulse_db: float


def find_block_faults(sound: Waveform, block_s: float) -> BlockFaults:
    """Measure a sound made in blocks, the first of which begins at its first sample.

    Args:
        sound: At least two seconds.
        block_s: Length of a block, in seconds.

    Raises:
        InputError: If the sound is shorter, or silent.
    """
    samples = sound.to_mono().samples[0].astype(np.float64)
    if sound.duration_s < 2.0 or not samples.any():
        raise InputError(
            f"{sound.duration_s:g} s of sound, or silence, cannot be measured", "Give 2 s of sound."
        )
    return BlockFaults(
        hiss_db=_hiss_db(samples, sound.sample_rate),
        seam_ratio=_seam_ratio(samples, block_s * sound.sample_rate),
        pulse_db=_pulse_db(samples, sound.sample_rate, 1.0 / block_s),
    )


def _hiss_db(samples: Float[np.ndarray, " samples"], rate: int) -> float:
    from scipy.signal import butter, sosfilt

    high = sosfilt(butter(4, HIGH_HZ, "high", fs=rate, output="sos"), samples)
    return float(np.quantile(_levels_db(high, rate), 0.2) - 10 * np.log10(np.mean(samples**2)))


def _seam_ratio(samples: Float[np.ndarray, " samples"], block: float) -> float:
    # The change of slope: at a cut it is as large as the step, in a smooth wave it is small.
    steps = np.abs(np.diff(samples, n=2))
    edges = np.round(np.arange(1, (samples.size - 3) / block) * block).astype(int)
    at_edge = np.zeros(steps.size, bool)
    for offset in (-2, -1):
        at_edge[edges + offset] = True
    return float(steps[at_edge].mean() / steps[~at_edge].mean())


def _pulse_db(samples: Float[np.ndarray, " samples"], rate: int, block_rate: float) -> float:
    levels = np.abs(np.diff(_levels_db(samples, rate)))
    spectrum = np.abs(np.fft.rfft((levels - levels.mean()) * np.hanning(levels.size))) ** 2
    frequency = np.fft.rfftfreq(levels.size, FRAME_S)
    distance = np.abs(frequency - block_rate)
    at, around = distance <= PULSE_HZ, (distance > PULSE_HZ) & (distance <= AROUND_HZ)
    return float(10 * np.log10(spectrum[at].mean() / spectrum[around].mean()))


def _levels_db(samples: Float[np.ndarray, " samples"], rate: int) -> Float[np.ndarray, " frames"]:
    length = round(FRAME_S * rate)
    frames = samples[: samples.size // length * length].reshape(-1, length)
    return 10 * np.log10((frames**2).mean(axis=1) + 1e-9)
