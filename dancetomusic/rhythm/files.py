"""Rhythm tracks as CSV: one line per beat, its time and its position in the bar."""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dancetomusic.errors import InputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.rhythm.beats import track_from_beats
from dancetomusic.types import RhythmTrack

LEEWAY_S = 3.0
"""How far outside the dance a beat may lie: players' clocks and cut ends differ."""

MOST_BEATS = 16
"""Beats of the longest bar."""

LARGEST_BYTES = 8_000_000
"""Several hours of beats; a file that is larger is something else."""

_SHOWN = 60  # characters of a line that a message repeats

_PAIR = re.compile(r"\d+,\d+")

HEADER = ("time_s", "beat", "source", "certainty")
_REMEDY = "Write one line per beat: its time in seconds, then its position in the bar."


def save_beats(path: Path | str, track: RhythmTrack) -> None:
    """Write a line for each beat: its time to the millisecond, and its position in the bar.

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
    separate, and where something else does, a comma may be the decimal point. Quotes are left
    out; UTF-8 and, with its mark, UTF-16 are read. Labels as Audacity exports them (start, end,
    text, separated by tabs) are read, too. Without positions in the bar, or with a text instead,
    beats count 1 2 3 4; further columns are ignored. Beats are extrapolated with the neighbouring
    interval to cover the whole duration. The energy is level, 0.5.

    Raises:
        InputError: If the file cannot be read, has fewer than two beats or an interval outside
            20-400 BPM; and, with the number of the line, if a line has no time, a time does not
            increase or lies outside the duration, or a position is no whole number from 1 to 16.
    """
    rows = {
        number: line.split("#")[0].replace('"', "").strip()
        for number, line in enumerate(_read_text(path).splitlines(), 1)
    }
    # Audacity writes the frequencies of a selection on a line of their own, after a backslash.
    rows = {number: row for number, row in rows.items() if row and not row.startswith("\\")}
    decimal_comma = _has_decimal_commas(rows.values())
    times: list[float] = []
    numbers: list[int] = []
    header_allowed = True
    for count, row in rows.items():
        fields = _split(row, decimal_comma)
        if header_allowed and not _is_number(fields[0]):
            header_allowed = False
            continue
        header_allowed = False
        try:
            time, position = _read_fields(fields, labels="\t" in row)
        except ValueError as error:
            raise InputError(f"{path} line {count} is {row[:_SHOWN]!r}", _REMEDY) from error
        _check_beat(f"{path} line {count}", time, times[-1] if times else None, duration_s)
        times.append(time)
        numbers.append(len(times) % 4 or 4 if position is None else position)
    if len(times) < 2:
        raise InputError(f"{path} has {len(times)} beats", "Give at least two.")
    return track_from_beats(np.array(times), np.array(numbers, np.int64), duration_s)


def _read_text(path: Path | str) -> str:
    """The whole file; bytes that are no text stand as replacement characters."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read beats from {path} ({error})", _REMEDY) from error
    if len(content) > LARGEST_BYTES:
        raise InputError(f"{path} is larger than any list of beats", _REMEDY)
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def _has_decimal_commas(rows: Iterable[str]) -> bool:
    """Whether lines of two numbers joined by a comma are each one number.

    They are where the second cannot be a position in a bar: ``0,500`` is half a second.
    """
    pairs = [row.split(",") for row in rows if _PAIR.fullmatch(row)]
    return any(len(part) > 2 or not 1 <= int(part) <= MOST_BEATS for _, part in pairs)


def _split(row: str, decimal_comma: bool) -> list[str]:
    """The fields of a line, with points in their numbers."""
    if ";" in row or "\t" in row:
        return [field.strip().replace(",", ".") for field in re.split("[;\t]", row)]
    if decimal_comma and _PAIR.fullmatch(row):
        return [row.replace(",", ".")]
    if "," not in row:
        return row.split()
    spaced = " " in row and ", " not in row and " ," not in row
    if spaced and "." not in row.split(",")[0]:
        return row.replace(",", ".").split()
    return [field.strip() for field in row.split(",")]


def _read_fields(fields: list[str], *, labels: bool) -> tuple[float, int | None]:
    """The time of a beat in seconds, and its position in the bar where it is given.

    ``labels`` says whether they may be a label of Audacity: start, end, text.
    """
    time, position = float(fields[0]), fields[1] if len(fields) > 1 else ""
    if labels and "." in position:
        text = fields[2] if len(fields) > 2 else ""
        return time, int(text) if text.isdecimal() and 1 <= int(text) <= MOST_BEATS else None
    if not _is_number(position):
        return time, None
    number = float(position)
    if not 1 <= number <= MOST_BEATS or number % 1.0:
        raise ValueError(f"the position in the bar is {position}")
    return time, int(number)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
