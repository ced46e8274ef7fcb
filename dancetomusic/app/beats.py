"""Beats that a client gives: checked before a take is put in line for them."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from dancetomusic.app.limits import Refusal
from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import track_from_beats

MAX_BPM = 400
"""Of beats that ``track_from_beats`` takes."""

_SLACK_S = 0.1  # pictures and containers disagree on where a video ends


def require_beats(beats: Sequence[tuple[float, int]], duration_s: float) -> None:
    """Refuse beats that no music can be made for.

    Each beat is its time in seconds and its position in the bar, in order.

    Raises:
        Refusal: If there are too few or too many, one lies outside the video, or they are
            such as ``track_from_beats`` refuses.
    """
    most = ceil(duration_s * MAX_BPM / 60) + 1
    if len(beats) > most:
        raise Refusal(
            422, f"{len(beats)} beats given", f"Give at most {most} for {duration_s:.1f} s."
        )
    times = np.array([time for time, _ in beats], float)
    if times.size and not (times.min() >= 0 and times.max() <= duration_s + _SLACK_S):
        raise Refusal(
            422,
            f"beats run from {times.min():.2f} to {times.max():.2f} s",
            f"Give times in the video, from 0 to {duration_s:.2f} s.",
        )
    numbers = np.array([min(max(number, 0), 1000) for _, number in beats], np.int64)
    try:
        track_from_beats(times, numbers, duration_s)
    except InputError as error:
        raise Refusal(422, error.problem, error.remedy) from error
