"""The beat read from bodies never seen: every table and target in one page.

Run
``python -m dancetomusic.evaluation.tasks.generalization --data DIR --output PAGE.md RUN...``,
where each RUN is a checkpoint of a ``pose_encoder`` as ``train.py`` wrote it. What a run has not
seen is in its metadata: the held-out dances (``hold_out`` none), a block of figures, or a genre.
Runs that differ by their seed or block alone are averaged clip by clip. Only reading knows models;
the rest is in ``evaluation/tasks/generalization_clips.py`` and knows arrays.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dancetomusic.checkpoint import load_checkpoint
from dancetomusic.data.captures import CAPTURES
from dancetomusic.data.dance import Dance
from dancetomusic.data.figures import FIGURES, N_BLOCKS
from dancetomusic.data.street import StreetClip, load_street
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import DanceToMusicError, InputError, OutputError
from dancetomusic.evaluation.tasks.generalization_clips import (
    ClipScore,
    DanceClip,
    Pooled,
    Reader,
    Reading,
    StreetRow,
    dance_clips,
    held_out_clips,
    join,
    per_dance,
    pool,
    score_clips,
    score_street,
    score_trivial,
)
from dancetomusic.evaluation.tasks.music.grid import RETIMINGS
from dancetomusic.evaluation.tasks.music.page import cell_text
from dancetomusic.evaluation.tasks.music.pieces import QUALITIES, Song
from dancetomusic.evaluation.tasks.music.summary import to_json
from dancetomusic.io.atomic import atomic_output
from dancetomusic.metrics.beats import Times
from dancetomusic.metrics.calibration import (
    BINS,
    CalibrationBin,
    calibration_curve,
    calibration_error,
)
from dancetomusic.types import POSE_FPS, PoseSequence

if TYPE_CHECKING:
    from dancetomusic.models.pose_encoder.network import PoseEncoder

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
"""Beat F to reach, read with the future and causally."""

WANTED_RETIMED = 0.05
WANTED_STREET_TEMPO = 0.60
CALIBRATED = ((SEEN, "10 s"), (UNSEEN, "5 s"), (UNSEEN, "10 s"))

SETTLING = ((SEEN, "5 s"), (SEEN, WHOLE), (UNSEEN, "10 s"))
SETTLING_S = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, np.inf)

NOTE = """\
Beat F at ±70 ms of beats read from movement alone, every clip cut before it is read, and the share
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
Share of annotated beats that were read, by seconds since the clip or the dance began. Before a body
has shown a beat twice nothing causal can know it."""


@dataclass(frozen=True)
class Run:
    """One trained encoder.

    Attributes:
        directory: Where it lies.
        causal: Whether it looks at the past only.
        hold_out: What it has not learned from besides ``val``; ``None``, a genre, a block, or
            ``captures``.
        seed: Of its training.
        trained_on: Names of its dances.
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
class Goal:
    """A target: what was measured from which runs, and whether it is enough.

    ``complete`` says that they are as many as the target is asked of.
    """

    name: str
    measured: str
    wanted: str
    holds: bool
    runs: str
    complete: bool


@dataclass(frozen=True)
class Group:
    """Runs that are averaged, and what they and the trivial rows made of their clips.

    Scores are by kind of clip (``"5 s"``, ``"5 s, retimed"``).
    """

    section: str
    reading: str
    runs: str
    complete: bool
    scores: dict[str, list[ClipScore]]
    trivial: dict[str, dict[str, list[ClipScore]]]


def open_reader(directory: str) -> Reader:
    """What reads beats from poses with the encoder of a checkpoint.

    Raises:
        CheckpointError: If the directory holds no intact pose encoder.
    """
    from dancetomusic.models.pose_encoder.network import load_pose_encoder

    encoder = load_pose_encoder(directory)
    return lambda poses: read_clip(encoder, poses)


def read_clip(encoder: PoseEncoder, poses: PoseSequence) -> Reading:
    """Beats that an encoder reads from 24 poses a second.

    A causal encoder is followed beat by beat, as it is while a dance is played to.
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
    """Let every run read what it has not seen.

    Returns:
        Scores by group, and by reading the beats of every street clip for each run without
        anything held out.

    Raises:
        InputError: If a run was trained on dances that it would be scored on, or holds out what
            there is not.
    """
    songs = [
        Song(dance.dance_id, dance.genre, dance.bpm, dance.audio_path)
        for dance in dances
        if dance.split == "train"
    ]
    clips: dict[str | None, dict[str, list[DanceClip]]] = {}
    trivial: dict[str | None, dict[str, dict[str, list[ClipScore]]]] = {}
    scores: dict[Run, dict[str, list[ClipScore]]] = {}
    heard: dict[str, list[list[Times]]] = defaultdict(list)
    for run in runs:
        if run.hold_out not in clips:
            kinds = unseen_clips(dances, run.hold_out)
            rows = {kind: score_trivial(songs, own) for kind, own in kinds.items()}
            clips[run.hold_out], trivial[run.hold_out] = kinds, rows
        _check_unseen(run, clips[run.hold_out])
    for run in runs:
        began = time.monotonic()
        reader = open_reader(run.directory)
        scores[run] = {kind: score_clips(reader, own) for kind, own in clips[run.hold_out].items()}
        if run.hold_out is None:
            heard[run.reading].append([reader(clip.poses).beat_times for clip in street])
        took = f"{time.monotonic() - began:.0f} s"
        print(f"read     {run.directory}, {run.reading}, {run.section}: {took}", file=sys.stderr)
    groups = [
        _group([run for run in runs if (run.section, run.reading) == key], scores, trivial)
        for key in dict.fromkeys((run.section, run.reading) for run in runs)
    ]
    return groups, dict(heard)


def unseen_clips(dances: Sequence[Dance], hold_out: str | None) -> dict[str, list[DanceClip]]:
    """Clips, by kind, of what a run that holds out ``hold_out`` has not learned from.

    Raises:
        InputError: If there is no such block or genre.
    """
    speeds = {"": (1.0,), RETIMED: RETIMINGS}
    good = [dance for dance in dances if dance.sync_quality in QUALITIES]
    if hold_out is None or hold_out == CAPTURES:
        val = [dance for dance in good if dance.split == "val"]
        return {
            _length(length) + how: dance_clips(val, length, speed)
            for how, speed in speeds.items()
            for length in (5.0, 10.0, 20.0, None)
        }
    if hold_out.startswith(FIGURES):
        return {
            _length(length) + how: held_out_clips(dances, hold_out, length, speed)
            for how, speed in speeds.items()
            for length in (5.0, 10.0, 20.0)
        }
    of_genre = [dance for dance in good if dance.genre == hold_out]
    if not of_genre:
        raise InputError(f"a run holds out {hold_out!r}", "Name the data that it was trained on.")
    return {WHOLE: dance_clips(of_genre, None)}


def goals_of(group: Group) -> list[Goal]:
    """The targets of a group; the lower end must also lie above the best trivial row."""
    goals = []
    for kind, scores in group.scores.items():
        if (group.section, kind) not in WANTED or not scores:
            continue
        name = f"{group.section}, {kind}, {group.reading}"
        wanted = WANTED[group.section, kind][group.reading == "causal"]
        cell = pool(scores).f
        goals.append(_goal(name, cell_text(cell), f"≥ {wanted:.2f}", cell.mean >= wanted, group))
        row, best = max(
            ((row, pool(own).f.mean) for row, own in group.trivial[kind].items()),
            key=lambda item: item[1],
        )
        goals.append(
            _goal(
                f"{name}: lower end above {row}",
                f"{cell.low:.2f}",
                f"> {best:.2f}",
                cell.low > best,
                group,
            )
        )
        retimed = pool(group.scores.get(kind + RETIMED, ())).f
        if group.section == UNSEEN and retimed.dances:
            apart = retimed.mean - cell.mean
            near = abs(apart) <= WANTED_RETIMED
            goals.append(
                _goal(f"{name}: retimed apart", f"{apart:+.2f}", f"±{WANTED_RETIMED}", near, group)
            )
    return goals


def street_goals(rows: Sequence[StreetRow], readings: Sequence[str]) -> list[Goal]:
    """The targets of street dance, on all clips with depth."""
    goals = []
    rows = [row for row in rows if row.clips == "with depth"]
    trivial = {row.row: row.tempo.mean for row in rows if row.row in ("speed minima", "120 BPM")}
    for row in rows:
        if row.row not in readings:
            continue
        runs = _count(row.seeds, "seed")
        name = f"street, {row.row}"
        best = max(trivial, key=lambda other: trivial[other])
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
                f"> {trivial[best]:.2f}",
                row.tempo.low > trivial[best],
            ),
            (
                "beat F, offset free, above true tempo with random phase: lower end",
                cell_text(row.lead),
                "> 0",
                row.lead.low > 0,
            ),
        ):
            goals.append(Goal(f"{name}: {what}", value, wanted, holds, runs, row.seeds >= SEEDS))
    return goals


def render(
    groups: Sequence[Group],
    street: Sequence[StreetRow],
    goals: Sequence[Goal],
    facts: Sequence[str],
) -> str:
    """The page."""
    lines = ["# The beat read from bodies never seen", "", *(f"- {fact}" for fact in facts), ""]
    lines += [NOTE, "", "## Targets", "", *_head("", ["measured", "target", "from", "reached"])]
    for goal in goals:
        reached = ("yes" if goal.complete else "so far") if goal.holds else "**no**"
        lines.append(f"| {goal.name} | {goal.measured} | {goal.wanted} | {goal.runs} | {reached} |")
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
    lines += ["## Confidence", "", "Beats in order of confidence, in fifths: share right.", ""]
    lines += [*_calibration_table(groups), "", "## Settling", "", SETTLING_NOTE, ""]
    lines += _settling_table(groups)
    return "\n".join(lines) + "\n"


def values_of(
    groups: Sequence[Group],
    street: Sequence[StreetRow],
    goals: Sequence[Goal],
    facts: Sequence[str],
) -> dict[str, Any]:
    """The same as plain values, with the mean beat F of every dance."""
    return {
        "facts": list(facts),
        "goals": [asdict(goal) for goal in goals],
        "groups": [
            {
                "section": group.section,
                "reading": group.reading,
                "runs": group.runs,
                "scores": {kind: to_json(pool(own)) for kind, own in group.scores.items()},
                "f_per_dance": {
                    kind: per_dance(own, lambda score: score.f)
                    for kind, own in group.scores.items()
                },
                "trivial": {
                    kind: {row: to_json(pool(own)) for row, own in rows.items()}
                    for kind, rows in group.trivial.items()
                },
                "calibration": {
                    kind: [asdict(part) for part in curve_of(group.scores[kind])]
                    for section, kind in CALIBRATED
                    if section == group.section
                },
            }
            for group in groups
        ],
        "street": [to_json(row) for row in street],
    }


def curve_of(scores: Sequence[ClipScore]) -> list[CalibrationBin]:
    """Share of beats right, by fifths of confidence."""
    confidence = np.concatenate([np.zeros(0), *(score.confidence for score in scores)])
    right = np.concatenate([np.zeros(0, bool), *(score.right for score in scores)])
    return calibration_curve(confidence, right)


def _length(length_s: float | None) -> str:
    return WHOLE if length_s is None else f"{length_s:g} s"


def _check_unseen(run: Run, clips: Mapping[str, Sequence[DanceClip]]) -> None:
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
    trivial: Mapping[str | None, Mapping[str, Mapping[str, list[ClipScore]]]],
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
        trivial={kind: join(trivial[hold_out][kind] for hold_out in seeds) for kind in kinds},
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _goal(name: str, measured: str, wanted: str, holds: bool, group: Group) -> Goal:
    return Goal(name, measured, wanted, holds, group.runs, group.complete)


def _head(first: str, titles: Sequence[str]) -> list[str]:
    return [f"| {first} | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]


def _group_table(group: Group) -> list[str]:
    lengths = [kind for kind in group.scores if not kind.endswith(RETIMED)]
    lines = _head(f"{group.reading}, {group.runs}", lengths)
    for how in ("", RETIMED):
        pooled = {
            length: pool(group.scores[length + how])
            for length in lengths
            if length + how in group.scores
        }
        if not pooled:
            continue
        counts = [f"{item.f.dances} · {item.clips}" for item in pooled.values()]
        lines.append(f"| dances · clips{how} | {' | '.join(counts)} |")
        cells = [_pooled_text(item) for item in pooled.values()]
        lines.append(f"| **{group.reading}**{how} | {' | '.join(cells)} |")
        for row in next(iter(group.trivial.values())):
            cells = [_pooled_text(pool(group.trivial[length + how][row])) for length in pooled]
            lines.append(f"| {row}{how} | {' | '.join(cells)} |")
    return lines


def _pooled_text(pooled: Pooled) -> str:
    return f"{cell_text(pooled.f)} · {pooled.tempo.mean:.2f}" if pooled.clips else "–"


def _street_table(rows: Sequence[StreetRow]) -> list[str]:
    titles = ["seeds", "clips", "tempo", "beat F, offset free", "F above true tempo, random phase"]
    lines = _head("clips, row", titles)
    for row in rows:
        own = row.seeds > 0 and "random phase" not in row.row
        lead = "–" if row.row == "true tempo, random phase" else cell_text(row.lead)
        lines.append(
            f"| {row.clips}: {f'**{row.row}**' if own else row.row} | {row.seeds or '–'} | "
            f"{row.tempo.dances} | {cell_text(row.tempo)} | {cell_text(row.f)} | {lead} |"
        )
    return lines


def _calibration_table(groups: Sequence[Group]) -> list[str]:
    lines = _head("confidence → right", [str(part + 1) for part in range(BINS)] + ["mean error"])
    for group in groups:
        for section, kind in CALIBRATED:
            curve = curve_of(group.scores[kind]) if section == group.section else []
            if curve:
                texts = [f"{part.confidence:.2f} → {part.right:.2f}" for part in curve]
                texts += ["–"] * (BINS - len(texts)) + [f"{calibration_error(curve):.2f}"]
                name = f"{group.reading}, {section}, {kind}"
                lines.append(f"| {name} | {' | '.join(texts)} |")
    return lines


def _settling_table(groups: Sequence[Group]) -> list[str]:
    spans = list(itertools.pairwise(SETTLING_S))
    titles = [f"{a:g}–{b:g} s" if np.isfinite(b) else f"{a:g} s on" for a, b in spans]
    lines = _head("beats found", titles)
    for group in groups:
        for section, kind in SETTLING:
            own = group.scores[kind] if section == group.section else []
            if not own:
                continue
            at = np.concatenate([score.beat_times for score in own])
            found = np.concatenate([score.found for score in own])
            inside = [found[(at >= a) & (at < b)] for a, b in spans]
            texts = [f"{part.mean():.2f}" if part.size else "–" for part in inside]
            lines.append(f"| {group.reading}, {section}, {kind} | {' | '.join(texts)} |")
    return lines


def _load(data: Path) -> list[Dance]:
    """The dances at the rate that encoders read."""
    from dancetomusic.pose.landmarks import resample_poses

    return [
        replace(dance, poses=resample_poses(dance.poses, POSE_FPS)) for dance in load_dances(data)
    ]


def measure(options: argparse.Namespace) -> None:
    """Score all runs and write the page and its values.

    Raises:
        DanceToMusicError: If anything given cannot be used.
    """
    began = time.monotonic()
    page: Path = options.output
    if page.suffix == ".json" or not page.parent.is_dir():
        raise OutputError(f"cannot write {page}", "Name a Markdown file in an existing folder.")
    runs = find_runs(options.run)
    street = load_street(options.street) if options.street is not None else []
    groups, heard = score_runs(runs, _load(options.data), street)
    rows = score_street(street, heard) if heard else []
    goals = [goal for group in groups for goal in goals_of(group)]
    goals += street_goals(rows, list(heard))
    facts = [
        f"data: {options.data}" + (f", {options.street}" if street else ""),
        f"measured in: {time.monotonic() - began:.0f} s",
        *(f"{run.directory}: {run.reading}, {run.section}, seed {run.seed}" for run in runs),
    ]
    values = json.dumps(values_of(groups, rows, goals, facts), indent=1, ensure_ascii=False)
    with atomic_output(page.with_suffix(".json")) as temporary:
        temporary.write_text(values, encoding="utf-8")
    with atomic_output(page) as temporary:
        temporary.write_text(text := render(groups, rows, goals, facts), encoding="utf-8")
    print(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command and print the page."""
    parser = argparse.ArgumentParser(description="Score the beat read from bodies never seen.")
    parser.add_argument("--data", type=Path, required=True, help="folder with index.csv and motion")
    parser.add_argument("--street", type=Path, help="folder of street dance fragments")
    parser.add_argument("--output", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("run", nargs="+", metavar="RUN", help="checkpoint of a pose encoder")
    try:
        measure(parser.parse_args(arguments))
    except DanceToMusicError as error:
        parser.exit(2, f"error: {' '.join(str(error).split())}\n")


if __name__ == "__main__":
    main()
