"""The files of a report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from dancetomusic.errors import OutputError
from dancetomusic.evaluation.tasks.music.page import render_page
from dancetomusic.evaluation.tasks.music.plots import draw_plots
from dancetomusic.evaluation.tasks.music.report import Findings, Plan
from dancetomusic.evaluation.tasks.music.summary import summarise, to_json
from dancetomusic.io.atomic import atomic_output

PAGE_FILE = "report.md"
VALUES_FILE = "report.json"


def write_report(output: Path, findings: Findings, plan: Plan, facts: Mapping[str, str]) -> Path:
    """Write ``report.md``, ``report.json`` and the pictures; gives the page's path.

    Raises:
        OutputError: If a file cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make {output} ({error.strerror})", "Choose another folder."
        ) from error
    summary = summarise(findings, list(plan.models))
    plots = draw_plots(summary, findings, output)
    values = {
        "facts": dict(facts),
        "summary": to_json(summary),
        "takes": [
            {"row": take.row, "piece": take.piece, "scores": to_json(take.scores)}
            for take in findings.takes
        ],
    }
    with atomic_output(output / VALUES_FILE) as temporary:
        temporary.write_text(json.dumps(values, indent=1, ensure_ascii=False), encoding="utf-8")
    page = output / PAGE_FILE
    with atomic_output(page) as temporary:
        temporary.write_text(render_page(summary, facts, plots), encoding="utf-8")
    return page
