"""``dancetomusic evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dancetomusic.cli.engine import EngineName, EngineOption, WorkersOption, open_tasks


def evaluate(
    data: Annotated[
        Path, typer.Option("--data", help="A ballroom folder, or a set made by `build`.")
    ],
    output: Annotated[Path, typer.Option("--output", help="Folder for the report.")],
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
        int, typer.Option("--seeds", min=1, help="Pieces a dance, and random draws.")
    ] = 3,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Pieces at most.")] = 200,
    codec: Annotated[str | None, typer.Option("--codec", help="Codec of the checkpoints.")] = None,
    grooves: Annotated[
        Path | None,
        typer.Option("--grooves", help="Groove MIDI Dataset: the range of real grooves."),
    ] = None,
    engine: EngineOption = EngineName.processes,
    workers: WorkersOption = None,
) -> None:
    """Score music against the dance it is for, beside what knows nothing of it."""
    import time

    from dancetomusic import __version__
    from dancetomusic.cli.progress import item_progress
    from dancetomusic.evaluation.pieces import load_pieces, load_songs
    from dancetomusic.evaluation.report import evaluate as measure
    from dancetomusic.evaluation.report import make_plan, require_packages
    from dancetomusic.evaluation.write import write_report

    require_packages()
    began = time.monotonic()
    plan = make_plan(
        checkpoint or [], _named(audio_dir or []), codec=codec, seeds=seeds, grooves=grooves
    )
    pieces = load_pieces(data, split, limit=limit)
    songs = load_songs(data)
    with open_tasks(engine, workers, None) as tasks, item_progress("evaluate") as advance:
        findings = measure(pieces, songs, plan, tasks, on_done=advance)
    facts = {
        "data": f"{data}, split {split}",
        "dances": f"{len({piece.dance for piece in pieces})}, in {len(pieces)} pieces of "
        f"{sum(piece.duration_s for piece in pieces):.0f} s in all",
        "seeds": str(seeds),
        "checkpoints": ", ".join(plan.readers) or "none",
        "version": f"dancetomusic {__version__}",
        "measured in": f"{time.monotonic() - began:.0f} s",
    }
    page = write_report(output, findings, plan, facts)
    print(f"wrote    {page}")


def _named(values: list[str]) -> dict[str, Path]:
    """``NAME=DIR`` options by name."""
    from dancetomusic.errors import InputError

    named: dict[str, Path] = {}
    for value in values:
        name, equals, folder = value.partition("=")
        if not (name and equals and folder) or name in named:
            raise InputError(f"--audio_dir is {value!r}", "Give NAME=DIR, each name once.")
        named[name] = Path(folder)
    return named
