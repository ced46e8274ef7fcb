"""A part of the Groove MIDI Dataset, for tests that need some real grooves and not all."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path


def link_short_grooves(source: Path, folder: Path, *, per_drummer: int) -> Path:
    """The shortest grooves of each drummer that are worth reading, and all that are in 3/4."""
    with (source / "info.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    kept: list[dict[str, str]] = []
    count: Counter[str] = Counter()
    for row in sorted(rows, key=lambda row: float(row["duration"])):
        in_three, in_four = (row["time_signature"] == metre for metre in ("3-4", "4-4"))
        bars = float(row["duration"]) * float(row["bpm"]) / 60 / (3 if in_three else 4)
        if row["beat_type"] != "beat" or bars < 5 or not (in_three or in_four):
            continue
        if in_three or count[row["drummer"]] < per_drummer:
            count[row["drummer"]] += in_four
            kept.append(row)
    for row in kept:
        file = folder / row["midi_filename"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.symlink_to(source / row["midi_filename"])
    with (folder / "info.csv").open("w", encoding="utf-8", newline="") as file_of_rows:
        writer = csv.DictWriter(file_of_rows, rows[0])
        writer.writeheader()
        writer.writerows(kept)
    return folder
