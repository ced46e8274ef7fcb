"""A report on rhythm from a folder: run, rendered, written as Markdown with its values as JSON."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from dancetomusic import __version__
from dancetomusic.errors import DependencyError, OutputError
from dancetomusic.evaluation.tasks.music.summary import to_json
from dancetomusic.evaluation.tasks.rhythm.estimators import (
    AUTO,
    BEATS_FROM,
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
from dancetomusic.evaluation.tasks.rhythm.set import RhythmSet, load_rhythm_set
from dancetomusic.evaluation.tasks.rhythm.task import (
    RhythmFindings,
    calibrate,
    evaluate_rhythm,
    summarise_row,
)
from dancetomusic.generate.one import DanceToMusic
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.folder import find_videos

Advance = Callable[[int], None]


@dataclass(frozen=True)
class RhythmPlan:
    """What is scored.

    Attributes:
        data: Folder of clips, of a layout that ``load_rhythm_set`` knows.
        beats_from: The package's estimators: ``sound``, ``movement``, ``auto``.
        checkpoint: Whose pose encoder reads the movement; ``None`` for the released one.
        held_out: Beat networks trained with folds of the real clips held out; each clip is then
            tracked by the one that did not learn from it. Empty for the released network.
        templates: File with tempo templates, each fitted without one group of dances, for the
            reader of movement; ``None`` for the released template.
        beats_dirs: Row to a folder of ``ID.csv`` written by another system.
        beats_output: Folder for ``ID.csv`` of the last of ``beats_from``; ``None`` for none.
        split: Of a ballroom folder.
        limit: Clips at most; ``None`` for no limit.
        whole: Whether stretches of clips are left out.
    """

    data: Path
    beats_from: tuple[str, ...] = BEATS_FROM
    checkpoint: str | None = None
    held_out: tuple[Path, ...] = ()
    templates: Path | None = None
    beats_dirs: Mapping[str, Path] = field(default_factory=dict)
    beats_output: Path | None = None
    split: str = "val"
    limit: int | None = None
    whole: bool = False


@dataclass(frozen=True)
class Report:
    """A page of Markdown, the same values for JSON, and lines for the terminal."""

    page: str
    values: dict[str, Any]
    lines: list[str]


def report_rhythm(plan: RhythmPlan, on_done: Advance = lambda total: None) -> Report:
    """Score estimated beats on the clips of a folder, beside the baselines.

    Torch computes in one thread from then on, so that times can be compared.

    Raises:
        DependencyError: If a package of the extra ``evaluate`` is missing.
        InputError: If the folder has no known layout, or a file is malformed.
        CheckpointError: If the checkpoint cannot be loaded.
        OutputError: If beats cannot be written.
    """
    _require_mir_eval()
    torch.set_num_threads(1)
    began = time.monotonic()
    rhythm_set = load_rhythm_set(plan.data, split=plan.split, limit=plan.limit)
    names = _that_differ(plan.beats_from, rhythm_set)
    network_of = networks_without(plan.data, plan.held_out) if plan.held_out else None
    if names != [MOVEMENT]:
        rhythm_set = replace(rhythm_set, note=f"{rhythm_set.note}\n{_sound_note(plan)}")
    if names != [SOUND]:
        rhythm_set = replace(rhythm_set, note=f"{rhythm_set.note}\n{_movement_note(plan)}")
    templates = None if plan.templates is None else load_templates(plan.templates)
    own = estimators_of(names, plan.checkpoint, network_of=network_of, templates=templates)
    others = {name: file_estimator(folder) for name, folder in plan.beats_dirs.items()}
    if plan.beats_output is not None:
        _make_folder(plan.beats_output)
    findings = evaluate_rhythm(
        rhythm_set,
        {**own, **others, **installed_trackers()},
        sound_tracker=estimate_sound if SOUND in own else None,
        windowed=() if plan.whole else [name for name in own if name != AUTO],
        beats_output=plan.beats_output,
        written=names[-1],
        on_done=on_done,
    )
    facts = {
        "data": f"{plan.data}, {len(findings.clips)} clips, "
        f"{sum(clip.duration_s for clip in findings.clips) / 60:.1f} min; "
        f"{sum(clip.scored for clip in findings.clips)} with a reference",
        **_common_facts(plan.checkpoint, began),
    }
    return Report(render_rhythm_page(findings, facts), _values(findings), headline(findings))


def report_generated(
    data: Path,
    *,
    checkpoint: str | None = None,
    limit: int | None = None,
    on_done: Advance = lambda total: None,
) -> Report:
    """Make music for the videos of a folder and compare its beats with those of their sound.

    Raises:
        DependencyError: If a package of the extra ``evaluate`` is missing.
        InputError: If the folder holds no video.
        CheckpointError: If the checkpoint cannot be loaded.
    """
    _require_mir_eval()
    began = time.monotonic()
    videos = find_videos(data)[:limit]
    model = DanceToMusic.from_pretrained(checkpoint, threads=1)
    rows = compare_generated(model.generate, videos, on_done=on_done)
    lines = render_generated(rows)
    facts = {"data": f"{data}, {len(rows)} videos", **_common_facts(checkpoint, began)}
    head = [f"- {name}: {value}" for name, value in facts.items()]
    page = "\n".join(["# Music for real videos", "", *head, "", *lines])
    return Report(page, {"generated": [to_json(row) for row in rows]}, lines)


def write_report(output: Path, report: Report) -> None:
    """Write the page to ``output``, and the values beside it with the suffix ``.json``.

    Raises:
        OutputError: If a file cannot be written.
    """
    _make_folder(output.parent)
    with atomic_output(output) as temporary:
        temporary.write_text(report.page, encoding="utf-8")
    values = json.dumps(report.values, indent=1, ensure_ascii=False)
    with atomic_output(output.with_suffix(".json")) as temporary:
        temporary.write_text(values, encoding="utf-8")


def _that_differ(names: Sequence[str], rhythm_set: RhythmSet) -> Sequence[str]:
    """Without any sound, movement alone: the other estimators read nothing, or the same."""
    if MOVEMENT in names and all(clip.sound_path is None for clip in rhythm_set.clips):
        return [MOVEMENT]
    return names


def _sound_note(plan: RhythmPlan) -> str:
    """By which network beats are found in sound, and whether it learned from real clips."""
    if plan.held_out:
        rest = "; the released\nnetwork learned from all of them" if learned_from_clips() else ""
        return (
            f"Beats in sound are found by the one of {len(plan.held_out)} networks that did not "
            f"learn from the clip's group{rest}."
        )
    if learned_from_clips():
        return (
            "Beats in sound are found by the released network, **which learned from real clips**: "
            "if these are among\nthem, name networks with folds held out (`--held_out`)."
        )
    return "Beats in sound are found by the released network, which learned from no real clip."


def _movement_note(plan: RhythmPlan) -> str:
    """What the reader of movement learned from these sets."""
    if plan.templates is not None:
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
        "rows": {row: to_json(summarise_row(own)) for row, own in findings.results.items()},
        "lengths": to_json(findings.lengths),
        "calibration": {row: to_json(calibrate(own)) for row, own in findings.results.items()},
        "beatless": to_json(findings.beatless),
        "seconds_per_minute": to_json(findings.seconds_per_minute),
        "clips": [to_json(result) for own in findings.results.values() for result in own],
        "unscored": [to_json(result) for own in findings.unscored.values() for result in own],
    }


def _common_facts(checkpoint: str | None, began: float) -> dict[str, str]:
    return {
        "checkpoint": checkpoint or "pose2audio",
        "version": f"dancetomusic {__version__}",
        "measured in": f"{time.monotonic() - began:.0f} s",
    }


def _require_mir_eval() -> None:
    for package in ("mir_eval",):
        if importlib.util.find_spec(package) is None:
            raise DependencyError(
                f"{package} is not installed", "Run: pip install 'dancetomusic[evaluate]'."
            )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make {folder} ({error.strerror})", "Choose another folder."
        ) from error
