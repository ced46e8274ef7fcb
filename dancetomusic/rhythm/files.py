"""Rhythm tracks as CSV: one line per beat, its time and its place in the bar."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dancetomusic.atomic import atomic_output
from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import track_from_beats
from dancetomusic.types import RhythmTrack

LEEWAY_S = 3.0
"""How far outside the dance a beat may lie: players' clocks and cut ends differ."""

MOST_BEATS = 16
"""Beats of the longest bar."""

_PAIR = re.compile(r"\d+,\d+")

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

    A header, blank lines and ``#`` comments are skipped; commas, semicolons, tabs and spaces
    separate, and where something else does, a comma may be the decimal point. Labels as Audacity
    exports them (start, end, text, separated by tabs) are read, too. Without places in the bar
    beats count 1 2 3 4; further columns are ignored. Beats are extrapolated with the neighbouring
    interval to cover the whole duration. The energy is level, 0.5.

    Raises:
        InputError: If the file cannot be read, has fewer than two beats, a line without
            numbers, a time that does not increase, an interval outside 20-400 BPM, or a beat
            outside the duration; with the number of the line.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read beats from {path} ({error})", _REMEDY) from error
    rows = {
        number: line.split("#")[0].strip() for number, line in enumerate(lines, 1) if line.strip()
    }
    decimal_comma = _has_decimal_commas(rows.values())
    times: list[float] = []
    numbers: list[int] = []
    header_allowed = True
    for count, row in rows.items():
        if not row:
            continue
        try:
            time, place = _read_row(row, decimal_comma)
        except (ValueError, OverflowError) as error:
            if header_allowed:
                header_allowed = False
                continue
            raise InputError(f"{path} line {count} is {row!r}", _REMEDY) from error
        header_allowed = False
        _check_beat(f"{path} line {count}", time, times[-1] if times else None, duration_s)
        times.append(time)
        numbers.append(len(times) % 4 or 4 if place is None else place)
    if len(times) < 2:
        raise InputError(f"{path} has {len(times)} beats", "Give at least two.")
    return track_from_beats(np.array(times), np.array(numbers, np.int64), duration_s)


def _has_decimal_commas(rows: Iterable[str]) -> bool:
    """Whether lines of two numbers joined by a comma are each one number.

    They are where the second cannot be a place in a bar: ``0,500`` is half a second.
    """
    pairs = [row.split(",") for row in rows if _PAIR.fullmatch(row)]
    return any(len(part) > 2 or not 1 <= int(part) <= MOST_BEATS for _, part in pairs)


def _read_row(row: str, decimal_comma: bool) -> tuple[float, int | None]:
    """The time of a beat in seconds, and its place in the bar where it is given."""
    if ";" in row or "\t" in row:
        fields = [field.strip().replace(",", ".") for field in re.split("[;\t]", row)]
    elif decimal_comma and _PAIR.fullmatch(row):
        fields = [row.replace(",", ".")]
    elif " " in row and "," in row and ", " not in row and " ," not in row:
        fields = row.replace(",", ".").split()
    else:
        fields = row.replace(",", " ").split()
    time = float(fields[0])
    if "\t" in row and len(fields) > 1 and "." in fields[1]:  # Audacity: start, end, text
        text = fields[2] if len(fields) > 2 else ""
        return time, int(text) if text.isdecimal() and 1 <= int(text) <= MOST_BEATS else None
    return time, int(float(fields[1])) if len(fields) > 1 and fields[1] else None


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
