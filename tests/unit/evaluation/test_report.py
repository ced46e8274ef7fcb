"""The parts of all reports: cells, tables, targets, and the files they go into."""

import json
import math

import numpy as np
import pytest

from dancetomusic.errors import DependencyError, OutputError
from dancetomusic.evaluation.report import (
    Cell,
    Target,
    calibration_table,
    cell_text,
    mean_cell,
    number_text,
    require_packages,
    table,
    targets_table,
    to_json,
    write_report,
)
from dancetomusic.evaluation.tasks.registry import TASKS, load_task
from dancetomusic.metrics.calibration import CalibrationBin

NAN = math.nan


def test_a_cell_leaves_out_what_was_not_measured():
    cell = mean_cell([0.0, 1.0, NAN])
    assert (cell.mean, cell.low, cell.high, cell.dances) == (0.5, 0.0, 1.0, 2)
    empty = mean_cell([])
    assert math.isnan(empty.mean) and empty.dances == 0
    assert mean_cell(np.array([2.0])) == Cell(2.0, 2.0, 2.0, 1)


def test_texts_have_a_dash_for_what_is_unknown():
    assert cell_text(Cell(0.5, 0.25, 0.75, 3)) == "0.50 [0.25, 0.75]"
    assert cell_text(Cell(1.5, -2.0, 3.0, 3), "+.0f") == "+2 [-2, +3]"
    assert cell_text(mean_cell([])) == cell_text(None) == number_text(NAN) == "–"
    assert number_text(120.04, ".1f") == "120.0"


def test_tables_are_rows_below_titles():
    assert table(["", "F"], []) == ["|  | F |", "|---|---|"]
    rows = targets_table("m", [Target("x", "1", "≤ 2", True), Target("y", "3", "≤ 2", False)])
    assert rows[2:] == ["| x | 1 | ≤ 2 | holds |", "| y | 3 | ≤ 2 | **fails** |"]
    curves = {"a": [CalibrationBin(0.2, 0.4, 1), CalibrationBin(0.9, 0.9, 1)], "b": []}
    assert calibration_table("c", curves)[2:] == [
        "| a | 0.20 → 0.40 | 0.90 → 0.90 | 0.10 |",
        "| b | – | – | – |",
    ]


def test_a_report_is_a_page_and_its_values(tmp_path):
    page = tmp_path / "new" / "page.md"
    write_report(page, "text\n", {("a", "b"): mean_cell([]), "n": np.float64(1.0)})
    assert page.read_text(encoding="utf-8") == "text\n"
    nothing = {"mean": None, "low": None, "high": None, "dances": 0}
    assert json.loads(page.with_suffix(".json").read_text()) == {"a over b": nothing, "n": 1.0}
    assert to_json([{1: (NAN, "x")}]) == [{"1": [None, "x"]}]
    with pytest.raises(OutputError, match="cannot make"):
        write_report(page / "below.md", "", {})


def test_a_missing_package_is_named():
    require_packages("json")
    with pytest.raises(DependencyError, match="no_such_package"):
        require_packages("json", "no_such_package")


@pytest.mark.parametrize("name", TASKS)
def test_every_task_can_be_run_and_says_what_it_does(name):
    pytest.importorskip("librosa")
    pytest.importorskip("mir_eval")
    assert load_task(name).__doc__
    assert len(TASKS[name].summary) < 70
