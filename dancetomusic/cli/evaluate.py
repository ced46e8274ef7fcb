"""``dancetomusic evaluate [TASK]``; the task is ``music`` where none is named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from dancetomusic.cli.engine import EngineName, EngineOption, WorkersOption, open_tasks
from dancetomusic.cli.evaluate_rhythm import evaluate_rhythm
from dancetomusic.cli.options import named_folders

MUSIC, RHYTHM = "music", "rhythm"


class _MusicByDefault(TyperGroup):
    """Takes options without a task for those of ``music``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, with the task put in front where none is named."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = [MUSIC, *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


evaluate = typer.Typer(
    name="evaluate",
    cls=_MusicByDefault,
    help="Score music (the default task) or estimated beats, beside baselines.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def evaluate_music(
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
    from dancetomusic.evaluation.tasks.music.pieces import load_pieces, load_songs
    from dancetomusic.evaluation.tasks.music.report import evaluate as measure
    from dancetomusic.evaluation.tasks.music.report import make_plan, require_packages
    from dancetomusic.evaluation.tasks.music.write import write_report

    require_packages()
    began = time.monotonic()
    plan = make_plan(
        checkpoint or [],
        named_folders("--audio_dir", audio_dir or []),
        codec=codec,
        seeds=seeds,
        grooves=grooves,
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


evaluate.command(MUSIC)(evaluate_music)
evaluate.command(RHYTHM)(evaluate_rhythm)
