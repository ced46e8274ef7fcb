"""Sections of the Kinetics data set: its official list of YouTube ids, times and classes.

Kay et al., "The Kinetics Human Action Video Dataset", 2017. The lists
(``label,youtube_id,time_start,time_end,split``) are the data set's own; nothing of the videos is
in them.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from dancetomusic.builder.sources import Section, parse_time, refuse_lines
from dancetomusic.errors import InputError

COLUMNS = ("label", "youtube_id", "time_start", "time_end")
_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_SHOWN_CLASSES = 8


def read_kinetics(
    path: Path | str, *, classes: Sequence[str] = (), max_per_class: int | None = None
) -> list[Section]:
    """Read a Kinetics list as sections to download.

    The column ``split`` is not used: the builder splits by video. Repeated sections are skipped.
    All lines are checked, also of classes that are not wanted.

    Args:
        path: CSV in UTF-8 with at least the columns of ``COLUMNS``, in any order.
        classes: Labels to take, such as ``breakdancing``; case and ``_`` for a space do not
            matter. All by default.
        max_per_class: Sections of each label to take at most, the first ones of the list.

    Raises:
        InputError: If the file cannot be read, is no such list, a line cannot be used, a class
            is not in it, or nothing is left; the first such lines or known classes are named.
    """
    if max_per_class is not None and max_per_class < 1:
        raise InputError(f"max_per_class is {max_per_class}", "Give at least 1.")
    wanted = {_label(name): name for name in classes}
    taken: dict[Section, None] = {}
    counts: Counter[str] = Counter()
    known: dict[str, None] = {}
    refused: list[str] = []
    for line, row in _rows(path):
        try:
            section = _section(row)
        except ValueError as error:
            refused.append(f"line {line}: {error}")
            continue
        label = _label(row["label"])
        known[label] = None
        full = max_per_class is not None and counts[label] >= max_per_class
        if (wanted and label not in wanted) or full or section in taken:
            continue
        taken[section] = None
        counts[label] += 1
    refuse_lines(path, refused, "Take the official list, or remove the lines.")
    absent = [name for label, name in wanted.items() if label not in known]
    if absent:
        some = ", ".join(sorted(known)[:_SHOWN_CLASSES]) or "none"
        raise InputError(f"{path} has no class {absent[0]!r}", f"It has {some}, …")
    if not taken:
        raise InputError(f"{path} has no sections", "Take the official list.")
    return list(taken)


def _rows(path: Path | str) -> list[tuple[int, dict[str, str]]]:
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True, restval="")
            missing = sorted(set(COLUMNS) - set(reader.fieldnames or ()))
            if missing:
                raise InputError(
                    f"{path} lacks the column {missing[0]}",
                    f"A Kinetics list begins with {','.join(COLUMNS)},split.",
                )
            return [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path} ({error})", "Name a Kinetics list.") from error


def _section(row: dict[str, str]) -> Section:
    """One line as a section.

    Raises:
        ValueError: If it cannot be used.
    """
    label, video = row["label"].strip(), row["youtube_id"].strip()
    if not label or not label.isprintable():
        raise ValueError("it has no label")
    if _ID.fullmatch(video) is None:
        raise ValueError(f"{video[:40]!r} is not a YouTube id")
    start_s, end_s = (parse_time(row[key].strip()) for key in ("time_start", "time_end"))
    if start_s >= end_s:
        raise ValueError(f"its start, {start_s:g} s, is not before its end, {end_s:g} s")
    return Section(f"https://www.youtube.com/watch?v={video}", start_s, end_s)


def _label(name: str) -> str:
    return " ".join(name.replace("_", " ").lower().split())
