"""What every report is made of: means with intervals, targets, Markdown tables, and their files."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dancetomusic.errors import DependencyError, OutputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.metrics.bootstrap import bootstrap_interval, known_mean
from dancetomusic.metrics.calibration import CalibrationBin, calibration_error

DASH = "–"
"""Stands where nothing was measured."""


@dataclass(frozen=True)
class Cell:
    """A mean with its 95 % bootstrap interval; NaN where nothing was measured.

    Attributes:
        mean: Mean over dances, or over whatever else is independent.
        dances: How many values the mean is taken over.
    """

    mean: float
    low: float
    high: float
    dances: int


@dataclass(frozen=True)
class Target:
    """A limit that a model must keep."""

    name: str
    value: str
    wanted: str
    holds: bool


def mean_cell(values: Iterable[float]) -> Cell:
    """Mean and interval of one value for each dance; NaN values are left out."""
    known = [float(value) for value in values if not math.isnan(value)]
    return Cell(known_mean(known), *bootstrap_interval(known), len(known))


def cell_text(cell: Cell | None, spec: str = ".2f") -> str:
    """``mean [low, high]``, each formatted by ``spec``, or a dash where nothing was measured."""
    if cell is None or math.isnan(cell.mean):
        return DASH
    return f"{cell.mean:{spec}} [{cell.low:{spec}}, {cell.high:{spec}}]"


def number_text(value: float, spec: str = ".2f") -> str:
    """A number formatted by ``spec``, or a dash for NaN."""
    return DASH if math.isnan(value) else f"{value:{spec}}"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table; the first cell of each row is its name.

    Example:
        >>> table(["", "F"], [["sound", "0.95"]])
        ['|  | F |', '|---|---|', '| sound | 0.95 |']
    """
    head, *body = (f"| {' | '.join(cells)} |" for cells in (titles, *rows))
    return [head, "|---" * len(titles) + "|", *body]


def targets_table(title: str, targets: Iterable[Target]) -> list[str]:
    """The lines of a table of targets, headed by what must keep them."""
    return table(
        [title, "measured", "wanted", ""],
        ([t.name, t.value, t.wanted, "holds" if t.holds else "**fails**"] for t in targets),
    )


def calibration_table(title: str, curves: Mapping[str, Sequence[CalibrationBin]]) -> list[str]:
    """The lines of a table of calibration curves: mean confidence → share right, part by part."""
    parts = max((len(curve) for curve in curves.values()), default=0)
    rows = []
    for name, curve in curves.items():
        texts = [f"{part.confidence:.2f} → {part.right:.2f}" for part in curve]
        texts += [DASH] * (parts - len(texts))
        rows.append([name, *texts, number_text(calibration_error(curve))])
    return table([title, *(str(k + 1) for k in range(parts)), "mean error"], rows)


def page_head(title: str, facts: Mapping[str, str]) -> list[str]:
    """The first lines of a page: its title, and a list of what was measured on what."""
    return [f"# {title}", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]


def to_json(value: Any) -> Any:
    """The same values as JSON knows them: dicts with text keys, ``None`` for NaN."""
    if hasattr(value, "__dataclass_fields__"):
        return to_json(vars(value))
    if isinstance(value, Mapping):
        return {
            " over ".join(key) if isinstance(key, tuple) else str(key): to_json(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [to_json(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def write_report(page: Path, text: str, values: Any) -> None:
    """Write a page of Markdown, and its values beside it with the suffix ``.json``.

    Raises:
        OutputError: If a file cannot be written.
    """
    make_folder(page.parent)
    content = json.dumps(to_json(values), indent=1, ensure_ascii=False)
    for file, written in ((page.with_suffix(".json"), content), (page, text)):
        with atomic_output(file) as temporary:
            temporary.write_text(written, encoding="utf-8")


def make_folder(folder: Path) -> None:
    """Make a folder for results, with those above it.

    Raises:
        OutputError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make {folder} ({error.strerror})", "Choose another folder."
        ) from error


def require_packages(*packages: str) -> None:
    """Refuse at once what would otherwise fail after minutes of work.

    Raises:
        DependencyError: If a package of the extra ``evaluate`` is not installed.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise DependencyError(
                f"{package} is not installed", "Run: pip install 'dancetomusic[evaluate]'."
            )
