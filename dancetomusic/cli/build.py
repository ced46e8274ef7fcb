"""``dancetomusic build``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancetomusic.cli.engine import (
    EngineName,
    EngineOption,
    RayAddressOption,
    WorkersOption,
    open_tasks,
)
from dancetomusic.cli.progress import build_lines, build_progress
from dancetomusic.cli.train import parse_override
from dancetomusic.errors import InputError

if TYPE_CHECKING:
    from dancetomusic.builder.pipeline import Listener, Summary
    from dancetomusic.builder.settings import BuildSettings
    from dancetomusic.builder.sources import Section


class SeparatorName(StrEnum):
    """What takes drums and bass out of the sound."""

    auto = "auto"
    spleeter = "spleeter"
    demucs = "demucs"
    hpss = "hpss"
    none = "none"
    stems_dir = "stems_dir"


def build(
    output_path: Annotated[
        Path, typer.Option("--output_path", help="The set of clips: a new one, or one to add to.")
    ],
    # Where the videos come from
    input_csv: Annotated[
        Path | None, typer.Option("--input_csv", help="Links: url,start,end lines.")
    ] = None,
    input_folder: Annotated[
        Path | None, typer.Option("--input_folder", help="A folder of videos.")
    ] = None,
    kinetics_csv: Annotated[
        Path | None,
        typer.Option("--kinetics_csv", help="An official list of the Kinetics data set."),
    ] = None,
    kinetics_class: Annotated[
        list[str] | None,
        typer.Option("--kinetics_class", help="A class to take of it; repeat for more."),
    ] = None,
    max_per_class: Annotated[
        int | None, typer.Option("--max_per_class", help="Sections of each class at most.")
    ] = None,
    # How clips are made
    max_seq_len: Annotated[
        float, typer.Option("--max_seq_len", help="Length of a clip, in seconds.")
    ] = 5.0,
    fps: Annotated[float, typer.Option("--fps", help="Poses a second.")] = 24.0,
    separator: Annotated[
        SeparatorName,
        typer.Option(
            "--separator",
            help="What takes drums and bass out of the sound; auto is the best that works here.",
        ),
    ] = SeparatorName.auto,
    stems_dir: Annotated[
        Path | None,
        typer.Option("--stems_dir", help="Folder of ready stems, for --separator stems_dir."),
    ] = None,
    codec: Annotated[
        str, typer.Option("--codec", help="Codec: a directory, released name or hub id.")
    ] = "codec",
    n_codebooks: Annotated[int, typer.Option("--n_codebooks", help="Codebooks used of it.")] = 2,
    pose_model: Annotated[
        Path | None, typer.Option("--pose_model", help="A MediaPipe pose .task file.")
    ] = None,
    val_share: Annotated[
        float, typer.Option("--val_share", help="Share of sources held out for validation.")
    ] = 0.15,
    test_share: Annotated[
        float, typer.Option("--test_share", help="Share of sources held out for a test.")
    ] = 0.0,
    gate: Annotated[
        list[str] | None,
        typer.Option(
            "--gate",
            metavar="KEY=VALUE",
            help="A threshold of the quality gate; 'help' lists them.",
        ),
    ] = None,
    download: Annotated[
        list[str] | None,
        typer.Option(
            "--download", metavar="KEY=VALUE", help="A setting of downloads; 'help' lists them."
        ),
    ] = None,
    # What a run does
    workers: WorkersOption = None,
    engine: EngineOption = EngineName.processes,
    ray_address: RayAddressOption = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry_failed", help="Try again what failed for good.")
    ] = False,
    keep_downloads: Annotated[
        bool, typer.Option("--keep_downloads", help="Keep the videos after their clips are made.")
    ] = False,
    allow_file_urls: Annotated[
        bool, typer.Option("--allow_file_urls", help="Let links name files of this machine.")
    ] = False,
    pack: Annotated[
        bool, typer.Option("--pack", help="Write the accepted clips as tar shards, too.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what happens as lines of JSON.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry_run", help="Say what there is to do, and do nothing.")
    ] = False,
) -> None:
    """Make a set of clips from a list of links, a Kinetics list or a folder of videos."""
    from dancetomusic.builder.download import DownloadSettings
    from dancetomusic.builder.quality import GateThresholds
    from dancetomusic.builder.settings import BuildSettings

    settings = BuildSettings(
        max_seq_len=max_seq_len,
        fps=fps,
        separator=separator.value,
        stems_dir=None if stems_dir is None else str(stems_dir),
        codec=codec,
        n_codebooks=n_codebooks,
        pose_model=None if pose_model is None else str(pose_model),
        val_share=val_share,
        test_share=test_share,
        gate=_settings_of(GateThresholds, "--gate", gate),
        download=_settings_of(DownloadSettings, "--download", download),
    )
    sections = _read_sections(
        input_csv, input_folder, kinetics_csv, allow_file_urls, kinetics_class, max_per_class
    )
    if dry_run:
        _print_plan(sections, output_path, settings, retry_failed, as_json, workers)
        return

    from dancetomusic.builder import pipeline

    with (
        _listener(len(sections), as_json) as on_event,
        open_tasks(engine, workers, ray_address) as tasks,
    ):
        summary = pipeline.build(
            sections,
            output_path,
            settings,
            tasks,
            retry_failed=retry_failed,
            keep_downloads=keep_downloads,
            on_event=on_event,
        )
    if pack:
        from dancetomusic.data.shards import pack as write_shards

        write_shards(output_path, output_path / "shards")
    _finish(summary, output_path, as_json, held_out=val_share > 0)


def _finish(summary: Summary, output: Path, as_json: bool, *, held_out: bool) -> None:
    """Print what came of it; ``held_out``: whether clips should be held out for validation.

    Raises:
        InputError: If the set has no accepted clip.
    """
    from dancetomusic.data.manifest import open_manifest

    counts = open_manifest(output).counts()
    accepted = sum(statuses.get("accepted", 0) for statuses in counts.values())
    if not as_json:
        _print_summary(summary, output, accepted)
        if accepted and held_out and not counts.get("val", {}).get("accepted"):
            print("note     no clip is held out for validation: training needs a second video")
    if not accepted:
        reason = next(iter(summary.reasons), "all of it was refused before")
        raise InputError(
            f"{output} has no clip that was accepted ({reason})",
            f"Look at them with: dancetomusic inspect {output}",
        )


def _settings_of(settings_class: type, option: str, texts: Sequence[str] | None) -> Any:
    """A dataclass of settings from KEY=VALUE texts."""
    from dataclasses import fields

    from dancetomusic.config import config_from_dict

    if texts and "help" in texts:
        for field in fields(settings_class):
            print(f"{option} {field.name}={field.default}")
        raise typer.Exit
    return config_from_dict(settings_class, dict(parse_override(text) for text in texts or ()))


def _read_sections(
    input_csv: Path | None,
    input_folder: Path | None,
    kinetics_csv: Path | None,
    allow_file_urls: bool,
    classes: Sequence[str] | None,
    max_per_class: int | None,
) -> list[Section]:
    from dancetomusic.builder.kinetics import read_kinetics
    from dancetomusic.builder.sources import read_folder, read_links

    if sum(source is not None for source in (input_csv, input_folder, kinetics_csv)) != 1:
        raise InputError(
            "one source of videos is needed",
            "Give one of --input_csv, --input_folder and --kinetics_csv.",
        )
    if kinetics_csv is not None:
        return read_kinetics(kinetics_csv, classes=classes or (), max_per_class=max_per_class)
    if classes or max_per_class is not None:
        raise InputError(
            "--kinetics_class and --max_per_class choose from a Kinetics list",
            "Give --kinetics_csv.",
        )
    if input_csv is not None:
        return list(read_links(input_csv, allow_file_urls=allow_file_urls))
    assert input_folder is not None
    return list(read_folder(input_folder))


def _print_plan(
    sections: Sequence[Section],
    output: Path,
    settings: BuildSettings,
    retry_failed: bool,
    as_json: bool,
    workers: int | None,
) -> None:
    from dataclasses import asdict

    from dancetomusic.builder.estimate import estimate
    from dancetomusic.builder.pipeline import pending_sections
    from dancetomusic.codec.registry import load_codec
    from dancetomusic.parallel import usable_cpus

    load_codec(settings.codec, settings.n_codebooks)  # one that cannot be had is refused here, too
    to_do = []
    for section, pending in pending_sections(sections, output, settings, retry_failed=retry_failed):
        to_do += [section] if pending else []
        if as_json:
            print(json.dumps(_plan_of(section, pending)))
        elif pending:
            end = "end" if section.end_s is None else f"{section.end_s:g} s"
            print(f"{section.source}  {section.start_s:g} s to {end}")
    workers = workers or usable_cpus()
    found = estimate(to_do, settings, workers=workers)
    if as_json:
        print(json.dumps({"event": "estimate", **asdict(found)}))
        return
    if found.unknown:
        print(f"{found.unknown} sections end with their video; what follows is of the others")
    print(f"{found.clips} clips ({found.hours:.1f} h), {found.disk_gb:.1f} GB of disk")
    print(f"{found.work_hours:.1f} h on {workers} cores, downloads not counted")
    print(f"{len(to_do)} of {len(sections)} sections to do; nothing was written")


def _plan_of(section: Section, pending: bool) -> dict[str, Any]:
    return {
        "event": "plan",
        "source": section.source,
        "start_s": section.start_s,
        "end_s": section.end_s,
        "pending": pending,
    }


@contextmanager
def _listener(n_sections: int, as_json: bool) -> Iterator[Listener]:
    """What is reported of a build: lines of JSON, bars on a terminal, or lines for a log."""
    if as_json:
        yield lambda event: print(json.dumps(event), flush=True)
    else:
        show = build_progress if sys.stderr.isatty() else build_lines
        with show(n_sections) as listener:
            yield listener


def _print_summary(summary: Summary, output: Path, accepted: int) -> None:
    print(f"sections {summary.sections}, of which {summary.skipped} were finished before")
    made = ", ".join(f"{count} {status}" for status, count in sorted(summary.clips.items()))
    print(f"clips    {made or 'none'} in this run; {accepted} accepted in the set")
    for reason, count in summary.reasons.items():
        print(f"         {count:5d}  {reason}")
    if summary.failed:
        print(
            f"failed   {sum(summary.failed.values())} in the set; --retry_failed tries them again"
        )
        for reason, count in summary.failed.items():
            print(f"         {count:5d}  {reason}")
    total = sum(summary.seconds.values()) or 1.0
    stages = " · ".join(
        f"{stage} {seconds:.1f} s ({seconds / total:.0%})"
        for stage, seconds in summary.seconds.items()
    )
    print(f"stages   {stages}")
    print(f"total    {summary.wall_s:.1f} s")
    print(f"wrote    {output}")
