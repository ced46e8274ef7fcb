"""Corrections of a rhythm by the person who knows the music: half, double, later, earlier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dancetomusic.errors import InputError
from dancetomusic.types import RhythmTrack

TEMPO_CHANGES = ("half", "double")
LARGEST_OFFSET_MS = 2000.0
FASTEST_BPM = 400.0


def change_tempo(track: RhythmTrack, change: str) -> RhythmTrack:
    """The same rhythm counted half or twice as fast.

    Half as fast, every second beat stays, downbeats among them where there are any; twice as
    fast, a beat is added in the middle of each interval. Bars keep their number of beats.

    Raises:
        InputError: If the change is unknown, or there are too few beats.
    """
    if change not in TEMPO_CHANGES:
        raise InputError(f"the tempo change is {change!r}", "Give half or double.")
    if track.beat_times.size < 2:
        raise InputError("there are fewer than two beats", "Give beats or a tempo.")
    bar = track.beats_per_bar
    if change == "double" and track.bpm > FASTEST_BPM / 2:
        raise InputError(
            f"twice {track.bpm:.0f} BPM is more than {FASTEST_BPM:.0f}", "Leave the tempo as it is."
        )
    if change == "double":
        times, confidence = (
            np.interp(np.arange(2 * v.size - 1) / 2, np.arange(v.size), v)
            for v in (track.beat_times, track.confidence)
        )
        last = times[-1] + (times[-1] - times[-2])
        if last < track.duration_s:
            times, confidence = np.append(times, last), np.append(confidence, confidence[-1])
        # A downbeat stays one where it opened every second new bar: count from the first.
        first = _first_downbeat(track)
        return replace(
            track,
            beat_times=times,
            beat_numbers=(np.arange(times.size) - 2 * first) % bar + 1,
            confidence=confidence,
        )
    first = _first_downbeat(track)
    kept = np.arange(first % 2, track.beat_times.size, 2)
    if kept.size < 2:
        raise InputError("half the tempo leaves fewer than two beats", "Leave the tempo as it is.")
    return replace(
        track,
        beat_times=track.beat_times[kept],
        beat_numbers=(np.arange(kept.size) - first // 2) % bar + 1,
        confidence=track.confidence[kept],
    )


def shift_beats(track: RhythmTrack, offset_ms: float) -> RhythmTrack:
    """Move all beats later (positive) or earlier; those that leave the dance are dropped.

    Raises:
        InputError: If the offset is not finite or larger than two seconds.
    """
    if not np.isfinite(offset_ms) or abs(offset_ms) > LARGEST_OFFSET_MS:
        raise InputError(
            f"the offset is {offset_ms:g} ms", f"Give at most {LARGEST_OFFSET_MS:.0f} either way."
        )
    times = track.beat_times + offset_ms / 1000.0
    inside = (times >= 0) & (times < track.duration_s)
    return replace(
        track,
        beat_times=times[inside],
        beat_numbers=track.beat_numbers[inside],
        confidence=track.confidence[inside],
    )


def _first_downbeat(track: RhythmTrack) -> int:
    downbeats = np.flatnonzero(track.beat_numbers == 1)
    return int(downbeats[0]) if downbeats.size else 0
