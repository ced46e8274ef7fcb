"""``dancetomusic evaluate rhythm``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dancetomusic.cli.options import CheckpointOption, named_folders


class BeatsFrom(StrEnum):
    """Where the evaluated beats come from."""

    sound = "sound"
    movement = "movement"
    auto = "auto"


def evaluate_rhythm(
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="Folder of clips with known beats, or of videos with NAME.beats.csv beside them.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", help="The report, a Markdown file.")],
    beats_from: Annotated[
        list[BeatsFrom] | None,
        typer.Option("--beats_from", help="Estimator to score; repeat for more; all by default."),
    ] = None,
    held_out: Annotated[
        list[Path] | None,
        typer.Option(
            "--held_out",
            help="Beat network trained with a fold of the clips held out; repeat for each fold.",
        ),
    ] = None,
    templates: Annotated[
        Path | None,
        typer.Option(
            "--templates",
            help="Tempo templates with groups held out, by building_tools/hold_out_tempo.py.",
        ),
    ] = None,
    beats_output: Annotated[
        Path | None,
        typer.Option("--beats_output", help="Folder for ID.csv: the last estimator's beats."),
    ] = None,
    beats_dir: Annotated[
        list[str] | None,
        typer.Option(
            "--beats_dir", metavar="NAME=DIR", help="ID.csv of another system; repeat for more."
        ),
    ] = None,
    generate: Annotated[
        bool,
        typer.Option(
            "--generate", help="Make music for the videos of a folder and score its beats instead."
        ),
    ] = False,
    checkpoint: CheckpointOption = None,
    split: Annotated[str, typer.Option("--split", help="Of a ballroom folder.")] = "val",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Clips at most, the first ones.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Whole clips only, no stretches of 5, 10 and 20 s.")
    ] = False,
) -> None:
    """Score estimated beats where the beats are known, beside baselines."""
    from dancetomusic.cli.progress import item_progress
    from dancetomusic.evaluation.tasks.rhythm.report import (
        RhythmPlan,
        report_generated,
        report_rhythm,
        write_report,
    )

    plan = RhythmPlan(
        data=data,
        beats_from=tuple(str(source) for source in beats_from or BeatsFrom),
        checkpoint=checkpoint,
        held_out=tuple(held_out or ()),
        templates=templates,
        beats_dirs=named_folders("--beats_dir", beats_dir or []),
        beats_output=beats_output,
        split=split,
        limit=limit,
        whole=whole,
    )
    with item_progress("evaluate") as advance:
        if generate:
            report = report_generated(data, checkpoint=checkpoint, limit=limit, on_done=advance)
        else:
            report = report_rhythm(plan, on_done=advance)
    write_report(output, report)
    print("\n".join([*report.lines, f"wrote    {output}"]))
