"""Rhythm tracks as CSV: one line per beat, its time and its place in the bar."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from dancetomusic.atomic import atomic_output
from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import track_from_beats
from dancetomusic.types import RhythmTrack

LEEWAY_S = 3.0
"""How far outside the dance a beat may lie: players' clocks and cut ends differ."""

HEADER = ("time_s", "beat", "source", "certainty")
_REMEDY = "Write one line per beat: its time in seconds, then its place in the bar."


def save_beats(path: Path | str, track: RhythmTrack) -> None:
    """Write a line for each beat: its time to the millisecond, and its place in the bar.

    Each line also says where the beats come from, and how certain they are as a whole.

    Raises:
        OutputError: If the file cannot be written.
    """
    with atomic_output(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for time, number in zip(track.beat_times, track.beat_numbers, strict=True):
            writer.writerow((f"{time:.3f}", int(number), track.source, f"{track.certainty:.2f}"))


def load_beats(path: Path | str, duration_s: float) -> RhythmTrack:
    """Read beats and spread them over ``duration_s`` seconds.

    A header, blank lines and ``#`` comments are skipped, commas, semicolons, tabs and
    spaces separate. Without the second column beats count 1 2 3 4; further columns are
    ignored. Beats are extrapolated with the neighbouring interval to cover the whole duration.
    The energy is level, 0.5.

    Raises:
        InputError: If the file cannot be read, has fewer than two beats, a line without
            numbers, a time that does not increase, an interval outside 20-400 BPM, or a beat
            outside the duration; with the number of the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read beats from {path} ({error})", _REMEDY) from error
    times: list[float] = []
    numbers: list[int] = []
    header_allowed = True
    for count, line in enumerate(lines, start=1):
        fields = line.split("#")[0].replace(",", " ").replace(";", " ").split()
        if not fields:
            continue
        try:
            time = float(fields[0])
            number = int(float(fields[1])) if len(fields) > 1 else len(times) % 4 + 1
        except (ValueError, OverflowError) as error:
            if header_allowed:
                header_allowed = False
                continue
            raise InputError(f"{path} line {count} is {line!r}", _REMEDY) from error
        header_allowed = False
        _check_beat(f"{path} line {count}", time, times[-1] if times else None, duration_s)
        times.append(time)
        numbers.append(number)
    if len(times) < 2:
        raise InputError(f"{path} has {len(times)} beats", "Give at least two.")
    return track_from_beats(np.array(times), np.array(numbers, np.int64), duration_s)


def _check_beat(where: str, time: float, before: float | None, duration_s: float) -> None:
    if not math.isfinite(time):
        raise InputError(f"{where}: the time is {time}", _REMEDY)
    if before is not None and time <= before:
        raise InputError(
            f"{where}: {time:g} s does not come after {before:g} s", "Sort the beats by time."
        )
    if not -LEEWAY_S <= time <= duration_s + LEEWAY_S:
        raise InputError(
            f"{where}: a beat at {time:g} s is outside the dance of {duration_s:.1f} s",
            "Give times in seconds from the start of the video.",
        )
