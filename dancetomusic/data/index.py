"""The index of a folder of recordings: a row for each."""

from __future__ import annotations

import csv
from pathlib import Path

from dancetomusic.errors import InputError

INDEX = "index.csv"


def read_index(folder: Path, columns: set[str], remedy: str) -> list[dict[str, str]]:
    """The rows of a folder's ``index.csv``, at least one.

    ``remedy`` is what a user whose folder has no index should do.

    Raises:
        InputError: If it cannot be read, has no row, or lacks a column.
    """
    try:
        with (folder / INDEX).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"cannot read {folder / INDEX} ({error.strerror})", remedy) from error
    if not rows or not columns <= set(rows[0]):
        raise InputError(f"{folder / INDEX} lacks a column", f"It needs {sorted(columns)}.")
    return rows
