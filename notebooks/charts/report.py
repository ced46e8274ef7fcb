"""A report of ``dancetomusic evaluate`` as tables and charts, from the values of its JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dancetomusic.errors import InputError
from dancetomusic.evaluation.report import Cell, Target, cell_text
from dancetomusic.evaluation.report import table as table_lines
from dancetomusic.evaluation.report import targets_table as target_lines
from dancetomusic.evaluation.tasks.music.scores import COLUMNS
from dancetomusic.evaluation.tasks.music.task import VALUES_FILE

from .dance import new_figure

SHOWN = ("f", "cmlt", "onset_f1", "density")
"""Columns that say whether the time is right, and how much is played."""


def read_report(path: Path | str) -> dict[str, Any]:
    """Read the values of a report, given its folder or its JSON file.

    Raises:
        InputError: If the file is missing or is no report.
    """
    file = Path(path)
    if file.is_dir():
        file = file / VALUES_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        if values["summary"]["rows"] and values["takes"]:
            return dict(values)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"cannot read a report in {file} ({type(error).__name__})"
        raise InputError(problem, "Make one with `dancetomusic evaluate`.") from error
    raise InputError(f"{file} is a report of nothing", "Make one with `dancetomusic evaluate`.")


def scores_table(values: Mapping[str, Any], columns: Sequence[str] = SHOWN) -> str:
    """Every row and some columns as Markdown, ``mean [95 % interval over dances]``.

    Args:
        values: Of a report.
        columns: Keys of ``dancetomusic.evaluation.tasks.music.scores.COLUMNS``.

    Raises:
        InputError: If there is no such column.
    """
    _require_columns(columns)
    rows = []
    for row, cells in values["summary"]["rows"].items():
        found = [_cell(cells[column]) for column in columns]
        rows.append([row, *map(cell_text, found), str(max(cell.dances for cell in found))])
    titles = ["", *(COLUMNS[column] for column in columns), "dances"]
    return "\n".join(table_lines(titles, rows))


def targets_table(values: Mapping[str, Any]) -> str:
    """What each model's music must hold, and whether it does, as Markdown; empty without."""
    lines = []
    for model, targets in values["summary"]["targets"].items():
        lines += [*target_lines(model, (Target(**target) for target in targets)), ""]
    return "\n".join(lines)


def draw_scores(values: Mapping[str, Any], columns: Sequence[str] = SHOWN) -> Any:
    """Rows by mean with its interval, and a dot for every take; models are red.

    Args:
        values: Of a report.
        columns: One panel each.

    Raises:
        InputError: If there is no such column.
    """
    _require_columns(columns)
    rows = list(values["summary"]["rows"])[::-1]
    figure = new_figure(0.34 * len(rows) + 1.2)
    axes = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axis, column in zip(axes, columns, strict=True):
        for place, row in enumerate(rows):
            colour = "tab:red" if row.startswith("**") else "tab:blue"
            cell = _cell(values["summary"]["rows"][row][column])
            axis.plot([cell.low, cell.high], [place, place], color=colour, linewidth=5, alpha=0.4)
            axis.plot(cell.mean, place, marker="|", markersize=16, color=colour)
            dots = [
                take["scores"][column]
                for take in values["takes"]
                if take["row"] == row and take["scores"].get(column) is not None
            ]
            axis.plot(dots, np.full(len(dots), place), "k.", markersize=4, alpha=0.5)
        axis.set_title(COLUMNS[column], fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(rows)), [row.strip("*") for row in rows])
    return figure


def _require_columns(columns: Sequence[str]) -> None:
    unknown = sorted(set(columns) - COLUMNS.keys())
    if unknown or not columns:
        raise InputError(
            f"a report has no column {', '.join(unknown) or 'without a name'}",
            f"Choose of {', '.join(COLUMNS)}.",
        )


def _cell(values: Mapping[str, Any]) -> Cell:
    mean, low, high = (
        math.nan if values[key] is None else float(values[key]) for key in ("mean", "low", "high")
    )
    return Cell(mean, low, high, int(values["dances"]))
