"""Means, intervals and targets from what was measured; plain values that JSON can hold."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dancetomusic.evaluation.report import Cell, Target, mean_cell
from dancetomusic.evaluation.sound_scores import frechet_cells
from dancetomusic.evaluation.tasks.music.measure import CODEC, MUSICNN, Findings, Take
from dancetomusic.evaluation.tasks.music.rows import (
    BASELINES,
    METRONOME_120,
    NOISE,
    TRUTH,
    TRUTH_STEM,
    metronome_on,
)
from dancetomusic.evaluation.tasks.music.scores import COLUMNS
from dancetomusic.metrics.bootstrap import known_mean
from dancetomusic.metrics.frechet import frechet_distance_unbiased

GROOVE_RANGE = (5.0, 95.0)
"""Percentiles of real performances that count as their range."""

LEAD_COLUMNS = ("f_20s", "f", "cmlt")
BARS_ALIKE = "self_similarity"
MAX_SEEDS_ALIKE = 0.9
"""Where no real groove was measured."""


@dataclass(frozen=True)
class Summary:
    """The content of the report.

    Attributes:
        rows: Row, then column, to its cell; the best beat F first.
        frechet: Row to its distance to the dances' real drums and bass, by the codec.
        frechet_songs: Row to its distance to the songs, by musicnn; empty without.
        frechet_grooves: Row to its distance to rendered held-out grooves; empty without.
        groove_range: Column to the range of real performances, where measured.
        leads: Model and baseline to how far it lies above, dance by dance, in ``LEAD_COLUMNS``.
        long: Model to the scores of its piece of three minutes.
        targets: Model to what it must hold.
    """

    rows: dict[str, dict[str, Cell]]
    frechet: dict[str, Cell]
    frechet_songs: dict[str, Cell]
    frechet_grooves: dict[str, float]
    groove_range: dict[str, tuple[float, float]]
    leads: dict[tuple[str, str], dict[str, Cell]]
    long: dict[str, dict[str, float]]
    targets: dict[str, list[Target]]


def summarise(findings: Findings, models: Sequence[str]) -> Summary:
    """Take means over seeds, then pieces, then dances; intervals over dances.

    ``models`` are the rows whose targets are wanted.
    """
    dance_of = {piece.name: piece.dance for piece in findings.pieces}
    per_dance = _per_dance(findings.takes, dance_of)
    rows = {
        row: {column: mean_cell(values[column].values()) for column in COLUMNS}
        for row, values in per_dance.items()
    }
    rows = dict(sorted(rows.items(), key=lambda item: -_rank(item[1]["f"].mean)))
    by_codec, by_musicnn = (_joined(findings.takes, dance_of, name) for name in (CODEC, MUSICNN))
    summary = Summary(
        rows=rows,
        frechet=frechet_cells(by_codec, TRUTH_STEM),
        frechet_songs=frechet_cells(by_musicnn, TRUTH),
        frechet_grooves=_to_grooves(by_codec, findings),
        groove_range=_groove_range([take.scores for take in findings.grooves]),
        leads=_leads(per_dance, models),
        long={take.model: take.scores for take in findings.long},
        targets={},
    )
    summary.targets.update({model: targets_of(summary, model) for model in models})
    return summary


def targets_of(summary: Summary, model: str) -> list[Target]:
    """The targets of a model's music, each with its measured value."""
    own, grid, truth = (summary.rows[row] for row in (f"**{model}**", metronome_on(model), TRUTH))
    targets = []

    def add(name: str, value: str, wanted: str, holds: bool) -> None:
        targets.append(Target(name, value, wanted, holds))

    drop = grid["f"].mean - own["f"].mean
    add("beat F of the sound below that of its grid", f"{drop:+.3f}", "≤ 0.05", drop <= 0.05)
    on_grid = own["librosa_f"].mean
    add("beat F of the sound against its grid", f"{on_grid:.3f}", "≥ 0.95", on_grid >= 0.95)
    kept = own["grid_tempo"].mean
    add("pieces with tempo within 2 % of the grid", f"{kept:.2f}", "1.00", kept >= 0.999)
    for column in ("density", "low", "mid", "high", BARS_ALIKE):
        if column in summary.groove_range:
            low, high = summary.groove_range[column]
            value = own[column].mean
            add(
                f"{COLUMNS[column]}, range of real grooves",
                f"{value:.2f}",
                f"{low:.2f} to {high:.2f}",
                low <= value <= high,
            )
    alike = own["rhythm_seeds"].mean
    _, most = summary.groove_range.get(BARS_ALIKE, (0.0, MAX_SEEDS_ALIKE))
    if not math.isnan(alike):
        add("rhythm of two seeds alike, no more than one real groove's bars", f"{alike:.2f}",
            f"≤ {most:.2f}", alike <= most)  # fmt: skip
    energy, own_truth = own["energy"].mean, truth["energy"].mean
    wanted = min(0.2, own_truth)
    add("energy ρ − shuffled", f"{energy:.2f}", f"≥ 0.2 or {own_truth:.2f}", energy >= wanted)
    for column, where in (("waltz_accent_low", "annotated"), ("waltz_own_accent_low", "own")):
        accent = own[column]
        if not math.isnan(accent.mean):
            name = f"waltz: bass of {where} downbeats above the other beats, lower end"
            add(name, f"{accent.low:.1f} dB", "> 0", accent.low > 0)
    distance = summary.frechet.get(f"**{model}**")
    for baseline in (NOISE, METRONOME_120):
        if distance is not None and baseline in summary.frechet:
            ratio = distance.mean / max(summary.frechet[baseline].mean, 1e-9)
            add(f"Fréchet distance, of that of {baseline}", f"{ratio:.2f}", "≤ 0.25", ratio <= 0.25)
    if model in summary.long:
        long = summary.long[model]
        silence, drone = long["longest_silence_s"], long["longest_drone_s"]
        add("3 min: longest silence", f"{silence:.1f} s", "≤ 2 s", silence <= 2.0)
        add("3 min: longest sound without an onset", f"{drone:.1f} s", "≤ 2 s", drone <= 2.0)
        share = long["clipped_share"]
        add("3 min: share of samples clipped", f"{share:.1e}", "≤ 1e-4", share <= 1e-4)
        last = long["grid_f_last_minute"]
        add("3 min: last minute's beat F against the grid", f"{last:.2f}", "≥ 0.95", last >= 0.95)
    return targets


def _per_dance(
    takes: Iterable[Take], dance_of: Mapping[str, str]
) -> dict[str, dict[str, dict[str, float]]]:
    """Row, column and dance to the mean over its pieces of the mean over takes."""
    grouped: dict[str, dict[str, list[Take]]] = defaultdict(lambda: defaultdict(list))
    for take in takes:
        grouped[take.row][take.piece].append(take)
    table: dict[str, dict[str, dict[str, float]]] = {}
    for row, pieces in grouped.items():
        table[row] = {}
        for column in COLUMNS:
            values: dict[str, list[float]] = defaultdict(list)
            for piece, own in pieces.items():
                mean = known_mean([take.scores[column] for take in own])
                values[dance_of[piece]].append(mean)
            table[row][column] = {dance: known_mean(of) for dance, of in values.items()}
    return table


def _joined(
    takes: Iterable[Take], dance_of: Mapping[str, str], network: str
) -> dict[str, list[np.ndarray]]:
    """Embeddings by one network: row to those of each dance."""
    by_row: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    for take in takes:
        if network in take.embeddings:
            by_row[take.row][dance_of[take.piece]].append(take.embeddings[network])
    return {
        row: [np.concatenate(parts) for parts in dances.values()] for row, dances in by_row.items()
    }


def _to_grooves(joined: Mapping[str, Sequence[np.ndarray]], findings: Findings) -> dict[str, float]:
    """Distance of every row to real performances; empty without."""
    if not findings.grooves:
        return {}
    real = np.concatenate([take.embeddings[CODEC] for take in findings.grooves])
    return {
        row: frechet_distance_unbiased(real, np.concatenate(dances))
        for row, dances in joined.items()
    }


def _groove_range(scores: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    ranges = {}
    for column in sorted({column for row in scores for column in row}):
        values = np.array([row[column] for row in scores if column in row])
        values = values[np.isfinite(values)]
        if values.size:
            low, high = np.percentile(values, GROOVE_RANGE)
            ranges[column] = (float(low), float(high))
    return ranges


def _leads(
    per_dance: Mapping[str, Mapping[str, Mapping[str, float]]], models: Sequence[str]
) -> dict[tuple[str, str], dict[str, Cell]]:
    """How far each model lies above each baseline, for the dances that both have."""
    leads = {}
    for model in models:
        for baseline in BASELINES:
            if baseline in per_dance:
                own, other = per_dance[f"**{model}**"], per_dance[baseline]
                leads[model, baseline] = {
                    column: mean_cell(
                        value - other[column][dance]
                        for dance, value in own[column].items()
                        if dance in other[column]
                    )
                    for column in LEAD_COLUMNS
                }
    return leads


def _rank(mean: float) -> float:
    return -1.0 if math.isnan(mean) else mean
