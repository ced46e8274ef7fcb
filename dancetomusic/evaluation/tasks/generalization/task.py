"""The command ``dancetomusic evaluate generalization``: every table and target in one page.

What a run has not seen is in the metadata of its checkpoint: the held-out dances (``hold_out``
none), a block of figures, or a genre. Runs that differ by their seed or block alone are averaged
clip by clip. Only estimating needs models; scores are in ``scores.py`` and need arrays alone.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from dancetomusic.checkpoint import load_checkpoint
from dancetomusic.data.captures import CAPTURES
from dancetomusic.data.dance import Dance
from dancetomusic.data.figures import FIGURES, N_BLOCKS
from dancetomusic.data.street import StreetClip, load_street
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import InputError, OutputError
from dancetomusic.evaluation.clips import (
    METRONOME,
    RETIMINGS,
    SPEED_MINIMA,
    TRUE_TEMPO,
    MovementClip,
    length_name,
)
from dancetomusic.evaluation.pieces import QUALITIES, Song
from dancetomusic.evaluation.report import (
    DASH,
    Target,
    calibration_table,
    cell_text,
    table,
    write_report,
)
from dancetomusic.evaluation.tasks.generalization.scores import (
    WITH_DEPTH,
    ClipScore,
    Pooled,
    Reading,
    StreetRow,
    dance_clips,
    held_out_clips,
    join,
    per_dance,
    pool,
    score_baselines,
    score_clips,
    score_street,
)
from dancetomusic.metrics.beats import Times
from dancetomusic.metrics.calibration import CalibrationBin, calibration_curve
from dancetomusic.types import POSE_FPS, PoseSequence

if TYPE_CHECKING:
    from dancetomusic.models.pose_encoder.network import PoseEncoder

TITLE = "Beats estimated from movement that a run has not seen"
SEEN, UNSEEN = "seen figures", "unseen figures"
WHOLE, RETIMED = "whole", ", retimed"
SEEDS = 3
"""Training seeds that a target is asked of."""

WANTED: Mapping[tuple[str, str], tuple[float, float]] = {
    (SEEN, "5 s"): (0.80, 0.70),
    (SEEN, "20 s"): (0.94, 0.80),
    (SEEN, WHOLE): (0.99, 0.97),
    (UNSEEN, "5 s"): (0.50, 0.50),
    (UNSEEN, "10 s"): (0.58, 0.58),
    (UNSEEN, "20 s"): (0.65, 0.65),
    ("cha-cha left out", WHOLE): (0.65, 0.65),
    ("waltz left out", WHOLE): (0.65, 0.65),
}
"""Beat F to reach, non-causally and causally."""

WANTED_RETIMED = 0.05
WANTED_STREET_TEMPO = 0.60
CALIBRATED = ((SEEN, "10 s"), (UNSEEN, "5 s"), (UNSEEN, "10 s"))

SETTLING = ((SEEN, "5 s"), (SEEN, WHOLE), (UNSEEN, "10 s"))
SETTLING_S = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, np.inf)

NOTE = """\
Beat F at ±70 ms of beats estimated from movement alone, every clip cut before, and the share
of clips whose tempo is within 4 %. Means over seeds, clips and then dances; brackets are 95 %
bootstrap intervals over dances. Retimed: played at 0.75, 0.85, 1.2 and 1.35 times the speed. A
causal encoder is followed beat by beat, and its tempo is read from the past alone. Where a target
names one figure it is asked of both readings."""
SEEN_NOTE = """\
Dances of `val`: their figures are danced in training dances too, and three in four of their windows
of four beats are the very captures of training dances (`data/captures.py`). A run that holds
out `captures` was trained without those."""
UNSEEN_NOTE = """\
Stretches in which only figures of the block are danced that a run was trained without, in dances
of every split. Clips of the same figures in the same order are counted once: dances share takes."""
STREET_NOTE = """\
Fragments joined at seams, where nobody is seen; intervals are over clips. Tempo: half and double
are right too. F: the nominal grid of each genre may be late by one constant part of a beat, the one
that suits its clips best; rows of random phase have the same freedom."""

SETTLING_NOTE = """\
Share of annotated beats that were found, by seconds since the clip or the dance began. Before a
beat has been danced twice nothing causal can know it."""


@dataclass(frozen=True)
class Run:
    """One trained encoder.

    Attributes:
        causal: Whether it looks at the past only.
        hold_out: What it has not learned from besides ``val``; ``None``, a genre, a block, or
            ``captures``.
    """

    directory: str
    causal: bool
    hold_out: str | None
    seed: int
    trained_on: frozenset[str]

    @property
    def reading(self) -> str:
        """How it is read."""
        return "causal" if self.causal else "non-causal"

    @property
    def section(self) -> str:
        """Which runs its scores are averaged with, if they read alike."""
        if self.hold_out is None:
            return SEEN
        return UNSEEN if self.hold_out.startswith(FIGURES) else f"{self.hold_out} left out"


@dataclass(frozen=True)
class RunsTarget(Target):
    """A target that is asked of several training runs.

    Attributes:
        complete: Whether these are as many as it is asked of.
    """

    runs: str
    complete: bool


@dataclass(frozen=True)
class Group:
    """Runs that are averaged, with the scores of their clips and of the baselines on them.

    Scores are by kind of clip (``"5 s"``, ``"5 s, retimed"``).
    """

    section: str
    reading: str
    runs: str
    complete: bool
    scores: dict[str, list[ClipScore]]
    baselines: dict[str, dict[str, list[ClipScore]]]


def read_clip(encoder: PoseEncoder, poses: PoseSequence) -> Reading:
    """Beats that an encoder estimates from 24 poses a second.

    Those of a causal encoder come from the causal beat tracker, as in a live session.
    """
    from dancetomusic.models.pose_encoder.causal_tracker import track_dance
    from dancetomusic.models.pose_encoder.network import read_rhythm

    if encoder.config.causal:
        return Reading(*track_dance(encoder, poses))
    rhythm = read_rhythm(encoder, poses)
    return Reading(rhythm.beat_times.astype(np.float64), rhythm.confidence.astype(np.float64))


def find_runs(directories: Sequence[str]) -> list[Run]:
    """What the checkpoints say of themselves.

    Raises:
        CheckpointError: If a directory holds no pose encoder.
        InputError: If two runs of a kind have one seed.
    """
    runs = []
    for directory in directories:
        checkpoint = load_checkpoint(directory, model="pose_encoder")
        known = checkpoint.metadata
        held = known.get("hold_out")
        runs.append(
            Run(
                directory=directory,
                causal=bool(checkpoint.config.get("causal", False)),
                hold_out=f"{FIGURES}-0" if held == FIGURES else held,
                seed=int(known.get("seed", 0)),
                trained_on=frozenset(known.get("dances", ())),
            )
        )
        kinds = [(run.causal, run.hold_out, run.seed) for run in runs]
        if kinds[-1] in kinds[:-1]:
            other = runs[kinds.index(kinds[-1])].directory
            raise InputError(
                f"{other} and {directory} have one seed", "Name one run of each kind and seed."
            )
    return runs


def score_runs(
    runs: Sequence[Run], dances: Sequence[Dance], street: Sequence[StreetClip]
) -> tuple[list[Group], dict[str, list[list[Times]]]]:
    """Score every run on what it has not seen.

    Returns:
        Scores by group, and by reading the beats of every street clip for each run without
        anything held out.

    Raises:
        InputError: If a run was trained on dances that it would be scored on, or holds out what
            there is not.
    """
    from dancetomusic.models.pose_encoder.network import PoseEncoder

    songs = [
        Song(dance.dance_id, dance.genre, dance.bpm, dance.audio_path)
        for dance in dances
        if dance.split == "train"
    ]
    clips: dict[str | None, dict[str, list[MovementClip]]] = {}
    baselines: dict[str | None, dict[str, dict[str, list[ClipScore]]]] = {}
    scores: dict[Run, dict[str, list[ClipScore]]] = {}
    estimated: dict[str, list[list[Times]]] = defaultdict(list)
    for run in runs:
        if run.hold_out not in clips:
            kinds = unseen_clips(dances, run.hold_out)
            rows = {kind: score_baselines(songs, own) for kind, own in kinds.items()}
            clips[run.hold_out], baselines[run.hold_out] = kinds, rows
        _check_unseen(run, clips[run.hold_out])
    for run in runs:
        began = time.monotonic()
        reader = partial(read_clip, PoseEncoder.from_pretrained(run.directory))
        scores[run] = {kind: score_clips(reader, own) for kind, own in clips[run.hold_out].items()}
        if run.hold_out is None:
            estimated[run.reading].append([reader(clip.poses).beat_times for clip in street])
        took = f"{time.monotonic() - began:.0f} s"
        print(f"read     {run.directory}, {run.reading}, {run.section}: {took}", file=sys.stderr)
    groups = [
        _group([run for run in runs if (run.section, run.reading) == key], scores, baselines)
        for key in dict.fromkeys((run.section, run.reading) for run in runs)
    ]
    return groups, dict(estimated)


def unseen_clips(dances: Sequence[Dance], hold_out: str | None) -> dict[str, list[MovementClip]]:
    """Clips, by kind, of what a run that holds out ``hold_out`` has not learned from.

    Raises:
        InputError: If there is no such block or genre.
    """
    speeds = {"": (1.0,), RETIMED: RETIMINGS}
    good = [dance for dance in dances if dance.sync_quality in QUALITIES]
    if hold_out is None or hold_out == CAPTURES:
        val = [dance for dance in good if dance.split == "val"]
        return {
            length_name(length) + how: dance_clips(val, length, speed)
            for how, speed in speeds.items()
            for length in (5.0, 10.0, 20.0, None)
        }
    if hold_out.startswith(FIGURES):
        return {
            length_name(length) + how: held_out_clips(dances, hold_out, length, speed)
            for how, speed in speeds.items()
            for length in (5.0, 10.0, 20.0)
        }
    of_genre = [dance for dance in good if dance.genre == hold_out]
    if not of_genre:
        raise InputError(f"a run holds out {hold_out!r}", "Name the data that it was trained on.")
    return {WHOLE: dance_clips(of_genre, None)}


def targets_of(group: Group) -> list[RunsTarget]:
    """The targets of a group; the lower end must also lie above the best baseline."""
    targets = []

    def add(name: str, value: str, wanted: str, holds: bool) -> None:
        targets.append(RunsTarget(name, value, wanted, holds, group.runs, group.complete))

    for kind, scores in group.scores.items():
        if (group.section, kind) not in WANTED or not scores:
            continue
        name = f"{group.section}, {kind}, {group.reading}"
        wanted = WANTED[group.section, kind][group.reading == "causal"]
        cell = pool(scores).f
        add(name, cell_text(cell), f"≥ {wanted:.2f}", cell.mean >= wanted)
        row, best = max(
            ((row, pool(own).f.mean) for row, own in group.baselines[kind].items()),
            key=lambda item: item[1],
        )
        lower = f"{name}: lower end above {row}"
        add(lower, f"{cell.low:.2f}", f"> {best:.2f}", cell.low > best)
        retimed = pool(group.scores.get(kind + RETIMED, ())).f
        if group.section == UNSEEN and retimed.dances:
            apart = retimed.mean - cell.mean
            near = abs(apart) <= WANTED_RETIMED
            add(f"{name}: retimed apart", f"{apart:+.2f}", f"±{WANTED_RETIMED}", near)
    return targets


def street_targets(rows: Sequence[StreetRow], readings: Sequence[str]) -> list[RunsTarget]:
    """The targets of street dance, on all clips with depth."""
    targets = []
    rows = [row for row in rows if row.clips == WITH_DEPTH]
    baselines = {row.row: row.tempo for row in rows if row.row in (SPEED_MINIMA, METRONOME)}
    for row in rows:
        if row.row not in readings:
            continue
        best = max(baselines, key=lambda other: baselines[other].mean)
        limit = baselines[best].mean
        for what, value, wanted, holds in (
            (
                "tempo within 4 %, octaves allowed",
                cell_text(row.tempo),
                f"≥ {WANTED_STREET_TEMPO:.2f}",
                row.tempo.mean >= WANTED_STREET_TEMPO,
            ),
            (
                f"tempo, lower end above {best}",
                f"{row.tempo.low:.2f}",
                f"> {limit:.2f}",
                row.tempo.low > limit,
            ),
            (
                f"beat F, offset free, above {TRUE_TEMPO.replace(',', ' with')}: lower end",
                cell_text(row.lead),
                "> 0",
                row.lead.low > 0,
            ),
        ):
            name, runs = f"street, {row.row}: {what}", _count(row.seeds, "seed")
            targets.append(RunsTarget(name, value, wanted, holds, runs, row.seeds >= SEEDS))
    return targets


def render(
    groups: Sequence[Group],
    street: Sequence[StreetRow],
    targets: Sequence[RunsTarget],
    facts: Sequence[str],
) -> str:
    """The page."""
    lines = [f"# {TITLE}", "", *(f"- {fact}" for fact in facts), "", NOTE, ""]
    reached = {(True, True): "yes", (True, False): "so far"}
    rows = (
        [t.name, t.value, t.wanted, t.runs, reached.get((t.holds, t.complete), "**no**")]
        for t in targets
    )
    lines += ["## Targets", "", *table(["", "measured", "target", "from", "reached"], rows)]
    lines += ["", f"Targets are asked of {SEEDS} seeds and all blocks: with fewer, `so far`.", ""]
    for section in dict.fromkeys(group.section for group in groups):
        note = {SEEN: SEEN_NOTE, UNSEEN: UNSEEN_NOTE, f"{CAPTURES} left out": SEEN_NOTE}.get(
            section, "All its dances, whole."
        )
        lines += [f"## {section.capitalize()}", "", note, ""]
        for group in groups:
            if group.section == section:
                lines += [*_group_table(group), ""]
    if street:
        lines += ["## Street dance", "", STREET_NOTE, "", *_street_table(street), ""]
    curves = {
        f"{group.reading}, {group.section}, {kind}": curve_of(group.scores[kind])
        for group, kind in _kinds_of(groups, CALIBRATED)
    }
    lines += ["## Confidence", "", "Beats in order of confidence, in fifths: share right.", ""]
    curves = {name: curve for name, curve in curves.items() if curve}
    lines += [*calibration_table("confidence → right", curves), "", "## Settling", ""]
    lines += [SETTLING_NOTE, "", *_settling_table(groups)]
    return "\n".join(lines) + "\n"


def values_of(
    groups: Sequence[Group],
    street: Sequence[StreetRow],
    targets: Sequence[RunsTarget],
    facts: Sequence[str],
) -> dict[str, Any]:
    """The same as plain values, with the mean beat F of every dance."""
    return {
        "facts": facts,
        "goals": [
            {"measured" if key == "value" else key: value for key, value in vars(target).items()}
            for target in targets
        ],
        "groups": [
            {
                "section": group.section,
                "reading": group.reading,
                "runs": group.runs,
                "scores": {kind: pool(own) for kind, own in group.scores.items()},
                "f_per_dance": {
                    kind: per_dance(own, lambda score: score.f)
                    for kind, own in group.scores.items()
                },
                "trivial": {
                    kind: {row: pool(own) for row, own in rows.items()}
                    for kind, rows in group.baselines.items()
                },
                "calibration": {
                    kind: curve_of(group.scores[kind]) for _, kind in _kinds_of([group], CALIBRATED)
                },
            }
            for group in groups
        ],
        "street": street,
    }


def curve_of(scores: Sequence[ClipScore]) -> list[CalibrationBin]:
    """Share of beats right, by fifths of confidence."""
    confidence = np.concatenate([np.zeros(0), *(score.confidence for score in scores)])
    right = np.concatenate([np.zeros(0, bool), *(score.right for score in scores)])
    return calibration_curve(confidence, right)


def _kinds_of(
    groups: Sequence[Group], chosen: Sequence[tuple[str, str]]
) -> list[tuple[Group, str]]:
    """The groups and kinds of clip that are among chosen sections and kinds."""
    return [
        (group, kind) for group in groups for section, kind in chosen if section == group.section
    ]


def _check_unseen(run: Run, clips: Mapping[str, Sequence[MovementClip]]) -> None:
    scored = {item.dance for own in clips.values() for item in own}
    seen = sorted(scored & run.trained_on)
    if seen and run.section != UNSEEN:
        raise InputError(
            f"{run.directory} was trained on {seen[0]}, which it would be scored on",
            "Name a run that was trained on the split `train` without what it holds out.",
        )


def _group(
    runs: Sequence[Run],
    scores: Mapping[Run, Mapping[str, list[ClipScore]]],
    baselines: Mapping[str | None, Mapping[str, Mapping[str, list[ClipScore]]]],
) -> Group:
    seeds: dict[str | None, int] = defaultdict(int)
    for run in runs:
        seeds[run.hold_out] += 1
    fewest, most = min(seeds.values()), max(seeds.values())
    basis = _count(fewest, "seed") if fewest == most else f"{fewest} to {most} seeds"
    complete = fewest >= SEEDS
    if runs[0].section == UNSEEN:
        basis += f", {len(seeds)} of {N_BLOCKS} blocks"
        complete = complete and len(seeds) == N_BLOCKS
    kinds = scores[runs[0]]
    return Group(
        section=runs[0].section,
        reading=runs[0].reading,
        runs=basis,
        complete=complete,
        scores=join(scores[run] for run in runs),
        baselines={kind: join(baselines[hold_out][kind] for hold_out in seeds) for kind in kinds},
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _group_table(group: Group) -> list[str]:
    lengths = [kind for kind in group.scores if not kind.endswith(RETIMED)]
    rows = []
    for how in ("", RETIMED):
        kinds = [length + how for length in lengths if length + how in group.scores]
        if not kinds:
            continue
        pooled = [pool(group.scores[kind]) for kind in kinds]
        rows.append([f"dances · clips{how}", *(f"{p.f.dances} · {p.clips}" for p in pooled)])
        rows.append([f"**{group.reading}**{how}", *map(_pooled_text, pooled)])
        for row in next(iter(group.baselines.values())):
            own = (pool(group.baselines[kind][row]) for kind in kinds)
            rows.append([f"{row}{how}", *map(_pooled_text, own)])
    return table([f"{group.reading}, {group.runs}", *lengths], rows)


def _pooled_text(pooled: Pooled) -> str:
    return f"{cell_text(pooled.f)} · {pooled.tempo.mean:.2f}" if pooled.clips else "–"


def _street_table(rows: Sequence[StreetRow]) -> list[str]:
    titles = ["seeds", "clips", "tempo", "beat F, offset free", f"F above {TRUE_TEMPO}"]
    texts = []
    for row in rows:
        own = row.seeds > 0 and "random phase" not in row.row
        name = f"{row.clips}: {f'**{row.row}**' if own else row.row}"
        lead = DASH if row.row == TRUE_TEMPO else cell_text(row.lead)
        counts = [str(row.seeds or DASH), str(row.tempo.dances)]
        texts.append([name, *counts, cell_text(row.tempo), cell_text(row.f), lead])
    return table(["clips, row", *titles], texts)


def _settling_table(groups: Sequence[Group]) -> list[str]:
    spans = list(itertools.pairwise(SETTLING_S))
    titles = [f"{a:g}–{b:g} s" if np.isfinite(b) else f"{a:g} s on" for a, b in spans]
    rows = []
    for group, kind in _kinds_of(groups, SETTLING):
        if group.scores[kind]:
            at = np.concatenate([score.beat_times for score in group.scores[kind]])
            found = np.concatenate([score.found for score in group.scores[kind]])
            inside = [found[(at >= a) & (at < b)] for a, b in spans]
            texts = [f"{part.mean():.2f}" if part.size else DASH for part in inside]
            rows.append([f"{group.reading}, {group.section}, {kind}", *texts])
    return table(["beats found", *titles], rows)


def _load(data: Path) -> list[Dance]:
    """The dances at the rate that encoders read."""
    from dancetomusic.pose.landmarks import resample_poses

    return [
        replace(dance, poses=resample_poses(dance.poses, POSE_FPS)) for dance in load_dances(data)
    ]


def evaluate(
    run: Annotated[list[str], typer.Argument(metavar="RUN", help="Checkpoints of a pose encoder.")],
    data: Annotated[Path, typer.Option("--data", help="Folder with index.csv and motion.")],
    output: Annotated[Path, typer.Option("--output", help="Markdown file to write.")],
    street: Annotated[
        Path | None, typer.Option("--street", help="Folder of street dance fragments.")
    ] = None,
) -> None:
    """Score beats estimated from movement that a run has not seen, in one page."""
    began = time.monotonic()
    if output.suffix == ".json" or not output.parent.is_dir():
        raise OutputError(f"cannot write {output}", "Name a Markdown file in an existing folder.")
    runs = find_runs(run)
    fragments = load_street(street) if street is not None else []
    groups, estimated = score_runs(runs, _load(data), fragments)
    rows = score_street(fragments, estimated) if estimated else []
    targets = [target for group in groups for target in targets_of(group)]
    targets += street_targets(rows, list(estimated))
    facts = [
        f"data: {data}" + (f", {street}" if fragments else ""),
        f"measured in: {time.monotonic() - began:.0f} s",
        *(f"{run.directory}: {run.reading}, {run.section}, seed {run.seed}" for run in runs),
    ]
    text = render(groups, rows, targets, facts)
    write_report(output, text, values_of(groups, rows, targets, facts))
    print(text)
