"""The tone of a whole mix: four bands of an equaliser lean it towards that of released music."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from dancetomusic.io.spectrum import band_power
from dancetomusic.score.equaliser import Band
from dancetomusic.types import Waveform

EDGES_HZ = (45.0, 180.0, 720.0, 2_880.0, 11_520.0)
"""Regions of two octaves each: low, low middle, high middle, high."""
TILT_DB = -5.0
"""Of the average spectrum of released music, of power density, an octave."""

_SHARE, _MOST_DB = 0.5, 3.0  # of the difference; of any band
_UNPLAYED_DB = 20.0
_WINDOW, _HOP = 8_192, 32_768


def tone_bands(waveform: Waveform) -> tuple[Band, ...]:
    """Filters that make up for half of what a mix's regions lack or have too much of, 3 dB at most.

    A region more than 20 dB below what belongs to the others is none that is played in: it is left.

    Args:
        waveform: The whole mix, at 24 kHz or more; silence needs no filter.

    References:
        Pestana et al., "Spectral characteristics of popular commercial recordings 1950-2010", AES
        135, 2013; Ma, Reiss and Black, "Implementation of an intelligent equalization tool using
        Yule-Walker for music mixing and mastering", AES 134, 2013.
    """
    levels_db = region_levels_db(waveform)
    if np.isneginf(levels_db).all():
        return ()
    over_db = levels_db - 2 * (TILT_DB + 10 * np.log10(2)) * np.arange(levels_db.size)
    played = over_db > over_db.max() - _UNPLAYED_DB
    lacking_db = np.where(played, over_db[played].mean() - over_db, 0.0)
    gains_db = np.clip(_SHARE * lacking_db, -_MOST_DB, _MOST_DB)
    low, low_middle, high_middle, high = gains_db.tolist()
    return (
        Band("low_shelf", EDGES_HZ[1], low),
        Band("peak", (EDGES_HZ[1] * EDGES_HZ[2]) ** 0.5, low_middle),
        Band("peak", (EDGES_HZ[2] * EDGES_HZ[3]) ** 0.5, high_middle),
        Band("high_shelf", EDGES_HZ[3], high),
    )


def region_levels_db(waveform: Waveform) -> Float64[np.ndarray, " regions"]:
    """Mean power in each region over the whole sound, in decibels; minus infinity for silence."""
    frequencies = np.fft.rfftfreq(_WINDOW, 1 / waveform.sample_rate)
    edges = np.array(EDGES_HZ)[:, None]
    weights = ((frequencies >= edges[:-1]) & (frequencies < edges[1:])).astype(np.float32)
    n_frames = 1 + waveform.samples.shape[1] // _HOP
    power = sum(
        band_power(channel, weights, window=_WINDOW, hop=_HOP, n_frames=n_frames).mean(axis=0)
        for channel in waveform.samples
    )
    with np.errstate(divide="ignore"):
        return 10 * np.log10(np.asarray(power, np.float64))
