"""The command ``dancetomusic evaluate music``: generated music beside baselines, in one page."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from dancetomusic import __version__
from dancetomusic.evaluation.options import named_folders
from dancetomusic.evaluation.pieces import load_pieces, load_songs
from dancetomusic.evaluation.report import make_folder, require_packages, write_report
from dancetomusic.evaluation.tasks.music.measure import Findings, Plan, make_plan, measure
from dancetomusic.evaluation.tasks.music.page import render_page
from dancetomusic.evaluation.tasks.music.plots import draw_plots
from dancetomusic.evaluation.tasks.music.summary import summarise
from dancetomusic.parallel import Engine

PAGE_FILE = "report.md"
VALUES_FILE = "report.json"


def evaluate(
    data: Annotated[
        Path, typer.Option("--data", help="A ballroom folder, or a set made by `build`.")
    ],
    output: Annotated[Path, typer.Option("--output", help="Folder for the report.")],
    engine: Engine,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option("--checkpoint", help="Directory or released name; repeat for more."),
    ] = None,
    audio_dir: Annotated[
        list[str] | None,
        typer.Option(
            "--audio_dir",
            metavar="NAME=DIR",
            help="Sounds of another system, named by dance; repeat for more.",
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="train, val, test, or figures-N.")] = "val",
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Pieces a dance, and random samples.")
    ] = 3,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Pieces at most.")] = 200,
    codec: Annotated[str | None, typer.Option("--codec", help="Codec of the checkpoints.")] = None,
    grooves: Annotated[
        Path | None,
        typer.Option("--grooves", help="Groove MIDI Dataset: the range of real grooves."),
    ] = None,
    musicnn: Annotated[
        Path | None,
        typer.Option(
            "--musicnn",
            metavar="WHEEL",
            help="Wheel that `pip download --no-deps musicnn` fetches: Fréchet distance by a "
            "network not trained here.",
        ),
    ] = None,
    on_done: Callable[[int], None] = lambda total: None,
) -> None:
    """Score music against the dance it is for, beside baselines that know nothing of it."""
    require_packages("librosa", "mir_eval", "matplotlib")
    began = time.monotonic()
    sounds = named_folders("--audio_dir", audio_dir or [])
    plan = make_plan(
        checkpoint or [], sounds, codec=codec, seeds=seeds, grooves=grooves, musicnn=musicnn
    )
    pieces = load_pieces(data, split, limit=limit)
    findings = measure(pieces, load_songs(data), plan, engine, on_done=on_done)
    facts = {
        "data": f"{data}, split {split}",
        "dances": f"{len({piece.dance for piece in pieces})}, in {len(pieces)} pieces of "
        f"{sum(piece.duration_s for piece in pieces):.0f} s in all",
        "seeds": str(seeds),
        "checkpoints": ", ".join(plan.models) or "none",
        "version": f"dancetomusic {__version__}",
        "measured in": f"{time.monotonic() - began:.0f} s",
    }
    print(f"wrote    {_write(output, findings, plan, facts)}")


def _write(output: Path, findings: Findings, plan: Plan, facts: Mapping[str, str]) -> Path:
    """Write ``report.md``, ``report.json`` and the pictures; gives the page's path."""
    make_folder(output)
    summary = summarise(findings, list(plan.models))
    plots = draw_plots(summary, findings, output)
    takes = [{"row": t.row, "piece": t.piece, "scores": t.scores} for t in findings.takes]
    values = {"facts": facts, "summary": summary, "takes": takes}
    page = output / PAGE_FILE
    write_report(page, render_page(summary, facts, plots), values)
    return page
