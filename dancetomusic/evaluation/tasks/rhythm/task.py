"""The command ``dancetomusic evaluate rhythm``: estimated beats of clips beside baselines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from dancetomusic import __version__
from dancetomusic.evaluation.options import named_folders
from dancetomusic.evaluation.report import make_folder, page_head, require_packages, write_report
from dancetomusic.evaluation.tasks.rhythm.estimators import (
    AUTO,
    MOVEMENT,
    SOUND,
    estimate_sound,
    estimators_of,
    file_estimator,
    installed_trackers,
    learned_from_clips,
    load_templates,
    networks_without,
)
from dancetomusic.evaluation.tasks.rhythm.generated_beats import compare_generated, render_generated
from dancetomusic.evaluation.tasks.rhythm.page import headline, render_rhythm_page
from dancetomusic.evaluation.tasks.rhythm.score import (
    RhythmFindings,
    calibrate,
    evaluate_rhythm,
    summarise_row,
)
from dancetomusic.evaluation.tasks.rhythm.set import RhythmSet, load_rhythm_set
from dancetomusic.generate.one import DanceToMusic
from dancetomusic.io.folder import find_videos


class BeatsFrom(StrEnum):
    """Where the evaluated beats come from."""

    sound = SOUND
    movement = MOVEMENT
    auto = AUTO


def evaluate(
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
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Model: a directory or a released name.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Of a ballroom folder.")] = "val",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Clips at most, the first ones.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Whole clips only, no stretches of 5, 10 and 20 s.")
    ] = False,
    on_done: Callable[[int], None] = lambda total: None,
) -> None:
    """Score estimated beats where the beats are known, beside baselines."""
    require_packages("mir_eval")
    began = time.monotonic()
    if generate:
        _report_generated(data, output, checkpoint, limit, on_done)
        return
    # In one thread, so that times can be compared.
    torch.set_num_threads(1)
    others = named_folders("--beats_dir", beats_dir or [])
    rhythm_set = load_rhythm_set(data, split=split, limit=limit)
    names = _that_differ([str(source) for source in beats_from or BeatsFrom], rhythm_set)
    network_of = networks_without(data, held_out) if held_out else None
    notes = [rhythm_set.note]
    if names != [MOVEMENT]:
        notes.append(_sound_note(held_out or ()))
    if names != [SOUND]:
        notes.append(_movement_note(templates))
    fitted = None if templates is None else load_templates(templates)
    own = estimators_of(names, checkpoint, network_of=network_of, templates=fitted)
    if beats_output is not None:
        make_folder(beats_output)
    findings = evaluate_rhythm(
        replace(rhythm_set, note="\n".join(notes)),
        own
        | {name: file_estimator(folder) for name, folder in others.items()}
        | installed_trackers(),
        sound_tracker=estimate_sound if SOUND in own else None,
        windowed=() if whole else [name for name in own if name != AUTO],
        beats_output=beats_output,
        written=names[-1],
        on_done=on_done,
    )
    facts = {
        "data": f"{data}, {len(findings.clips)} clips, "
        f"{sum(clip.duration_s for clip in findings.clips) / 60:.1f} min; "
        f"{sum(clip.scored for clip in findings.clips)} with a reference",
        **_common_facts(checkpoint, began),
    }
    write_report(output, render_rhythm_page(findings, facts), _values(findings))
    print("\n".join([*headline(findings), f"wrote    {output}"]))


def _report_generated(
    data: Path,
    output: Path,
    checkpoint: str | None,
    limit: int | None,
    on_done: Callable[[int], None],
) -> None:
    """Make music for the videos of a folder and compare its beats with those of their sound."""
    began = time.monotonic()
    videos = find_videos(data)[:limit]
    model = DanceToMusic.from_pretrained(checkpoint, threads=1)
    rows = compare_generated(model.generate, videos, on_done=on_done)
    facts = {"data": f"{data}, {len(rows)} videos", **_common_facts(checkpoint, began)}
    lines = render_generated(rows)
    page = "\n".join([*page_head("Music for real videos", facts), *lines])
    write_report(output, page, {"generated": rows})
    print("\n".join([*lines, f"wrote    {output}"]))


def _that_differ(names: Sequence[str], rhythm_set: RhythmSet) -> Sequence[str]:
    """Without any sound, movement alone: the other estimators have no input, or the same."""
    if MOVEMENT in names and all(clip.sound_path is None for clip in rhythm_set.clips):
        return [MOVEMENT]
    return names


def _sound_note(held_out: Sequence[Path]) -> str:
    """Which network tracks beats in sound, and whether it learned from real clips."""
    if held_out:
        rest = "; the released\nnetwork learned from all of them" if learned_from_clips() else ""
        return (
            f"Beats in sound are found by the one of {len(held_out)} networks that did not "
            f"learn from the clip's group{rest}."
        )
    if learned_from_clips():
        return (
            "Beats in sound are found by the released network, **which learned from real clips**: "
            "if these are among\nthem, name networks with folds held out (`--held_out`)."
        )
    return "Beats in sound are found by the released network, which learned from no real clip."


def _movement_note(templates: Path | None) -> str:
    """What the reader of movement learned from these sets."""
    if templates is not None:
        return (
            "Movement is read with a tempo template that was fitted without the clip's group; "
            "three constants of\nthe reader were chosen while looking at these sets."
        )
    return (
        "The tempo template of the reader of movement, 41 numbers, was fitted to real clips, "
        "street dance and ballroom\ndances, its constants chosen on them: where these are among "
        "them, `--templates` holds them out."
    )


def _values(findings: RhythmFindings) -> dict[str, Any]:
    return {
        "rows": {row: summarise_row(own) for row, own in findings.results.items()},
        "lengths": findings.lengths,
        "calibration": {row: calibrate(own) for row, own in findings.results.items()},
        "beatless": findings.beatless,
        "seconds_per_minute": findings.seconds_per_minute,
        "clips": [result for own in findings.results.values() for result in own],
        "unscored": [result for own in findings.unscored.values() for result in own],
    }


def _common_facts(checkpoint: str | None, began: float) -> dict[str, str]:
    return {
        "checkpoint": checkpoint or "pose2audio",
        "version": f"dancetomusic {__version__}",
        "measured in": f"{time.monotonic() - began:.0f} s",
    }
