"""A limiter that looks ahead and keeps all peaks, those between samples too, below a limit."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from dancetomusic.io.loudness import frame_hop, true_peak, true_peaks
from dancetomusic.score.gain import eased, held, released, smoothed, with_gain_db
from dancetomusic.types import Waveform

TRUE_PEAK_DB = -1.0
"""Leaves room for what lossy coding adds."""
MARGIN_DB = 0.3
"""Meters differ in what they read between samples."""

# A peak is turned down on its own; where peaks follow one another, the gain holds for
# longer than half a period of the lowest tone and so follows no waveform.
_LOOK_AHEAD_S, _RELEASE_S = 0.003, 0.02
_HOLD_S, _SUSTAIN_S, _SLOW_RELEASE_S = 0.025, 0.15, 0.1


def limited(waveform: Waveform, true_peak_db: float = TRUE_PEAK_DB) -> Waveform:
    """The sound with its true peaks turned down to a limit, in dBTP, and nothing else changed."""
    ceiling_db = true_peak_db - MARGIN_DB
    with np.errstate(divide="ignore"):
        over_db = 20 * np.log10(true_peaks(waveform).astype(np.float64)) - ceiling_db
    if over_db.max(initial=0.0) <= 0:
        return waveform
    gain_db = -limiting_db(over_db, waveform.sample_rate / frame_hop(waveform.sample_rate))
    # A gain that moves makes new peaks between the samples, if tiny ones.
    excess_db = true_peak(with_gain_db(waveform, gain_db)) - ceiling_db
    return with_gain_db(waveform, gain_db - max(excess_db, 0.0))


def limiting_db(
    over_db: Float64[np.ndarray, " frames"], frame_rate: float
) -> Float64[np.ndarray, " frames"]:
    """Decibels by which the limiter turns each frame down, never less than ``over_db`` asks.

    It begins 3 ms before a peak. Behind a peak that stands alone it lets go in 20 ms; behind
    peaks that follow one another for 0.15 s and more, in 0.1 s.

    ``over_db`` is negative below the limit.
    """
    ahead = max(1, round(_LOOK_AHEAD_S * frame_rate))
    asked = np.maximum(over_db, 0)
    alone = released(held(asked, 1, ahead + 1), _RELEASE_S, frame_rate)
    together = held(asked, round(_HOLD_S * frame_rate), ahead + 1)
    sustained = released(smoothed(together, _SUSTAIN_S, frame_rate), _SLOW_RELEASE_S, frame_rate)
    # What is held that far ahead and then eased falls below neither what a frame asks nor what
    # its neighbours ask, so that gains may be interpolated.
    return eased(np.maximum(alone, sustained), ahead)
