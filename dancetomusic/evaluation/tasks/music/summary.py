"""Means, intervals and targets from what was measured; plain values that JSON can hold."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dancetomusic.evaluation.tasks.music.report import Findings, GridReading, Take
from dancetomusic.evaluation.tasks.music.rows import (
    METRONOME_120,
    NOISE,
    RIVALS,
    TRUTH,
    TRUTH_STEM,
    metronome_on,
)
from dancetomusic.evaluation.tasks.music.scores import COLUMNS
from dancetomusic.metrics.bootstrap import bootstrap_interval
from dancetomusic.metrics.calibration import calibration_curve, calibration_error
from dancetomusic.metrics.frechet import frechet_distance_unbiased, frechet_resamples

GROOVE_RANGE = (5.0, 95.0)
"""Percentiles of real performances that count as their range."""

LEAD_COLUMNS = ("f_20s", "f", "cmlt")
BARS_ALIKE = "self_similarity"
MAX_SEEDS_ALIKE = 0.9
"""Where no real groove was measured."""


@dataclass(frozen=True)
class Cell:
    """A mean over dances with its 95 % bootstrap interval; NaN where nothing was measured."""

    mean: float
    low: float
    high: float
    dances: int


@dataclass(frozen=True)
class Target:
    """Something a groove must hold, and whether this model does."""

    name: str
    value: str
    wanted: str
    holds: bool


@dataclass(frozen=True)
class Summary:
    """The content of the report.

    Attributes:
        rows: Row, then column, to its cell; the best beat F first.
        frechet: Row to its distance to the dances' real drums and bass.
        frechet_grooves: Row to its distance to rendered held-out grooves; empty without.
        groove_range: Column to the range of real performances, where measured.
        leads: Model and rival to how far it lies above, dance by dance, in ``LEAD_COLUMNS``.
        grids: Reader, then length of clip, then score to its cell; as danced.
        grids_retimed: The same at other speeds.
        calibration: Reader to the parts of its beats by confidence.
        calibration_errors: Reader to its mean distance of confidence from the truth.
        long: Model to the scores of its piece of three minutes.
        targets: Model to what it must hold.
    """

    rows: dict[str, dict[str, Cell]]
    frechet: dict[str, Cell]
    frechet_grooves: dict[str, float]
    groove_range: dict[str, tuple[float, float]]
    leads: dict[tuple[str, str], dict[str, Cell]]
    grids: dict[str, dict[str, dict[str, Cell]]]
    grids_retimed: dict[str, dict[str, dict[str, Cell]]]
    calibration: dict[str, list[dict[str, Any]]]
    calibration_errors: dict[str, float]
    long: dict[str, dict[str, float]]
    targets: dict[str, list[Target]]


def summarise(findings: Findings, models: Sequence[str]) -> Summary:
    """Take means over seeds, then pieces, then dances; intervals over dances.

    Args:
        findings: What was measured.
        models: Names of the rows whose targets are wanted.
    """
    dance_of = {piece.name: piece.dance for piece in findings.pieces}
    per_dance = _per_dance(findings.takes, dance_of)
    rows = {
        row: {column: _cell(values[column].values()) for column in COLUMNS}
        for row, values in per_dance.items()
    }
    rows = dict(sorted(rows.items(), key=lambda item: -_rank(item[1]["f"].mean)))
    frechet, frechet_grooves = _frechet(findings, dance_of)
    groove_range = _groove_range([take.scores for take in findings.grooves])
    grids, retimed = _grid_tables(findings.readings, dance_of)
    curves = {
        reading: calibration_curve(*_calibration_of(findings.readings, reading))
        for reading in dict.fromkeys(r.reader for r in findings.readings if r.confidence.size)
    }
    summary = Summary(
        rows=rows,
        frechet=frechet,
        frechet_grooves=frechet_grooves,
        groove_range=groove_range,
        leads=_leads(per_dance, models),
        grids=grids,
        grids_retimed=retimed,
        calibration={name: [asdict(part) for part in curve] for name, curve in curves.items()},
        calibration_errors={name: calibration_error(curve) for name, curve in curves.items()},
        long={take.model: take.scores for take in findings.long},
        targets={},
    )
    summary.targets.update({model: targets_of(summary, model) for model in models})
    return summary


def targets_of(summary: Summary, model: str) -> list[Target]:
    """What the music of a model must hold, each with what it was measured to be."""
    own, grid, truth = (summary.rows[row] for row in (f"**{model}**", metronome_on(model), TRUTH))
    targets = []

    def add(name: str, value: str, wanted: str, holds: bool) -> None:
        targets.append(Target(name, value, wanted, holds))

    drop = grid["f"].mean - own["f"].mean
    add("beat F of the sound below that of its grid", f"{drop:+.3f}", "≤ 0.05", drop <= 0.05)
    heard = own["grid_f"].mean
    add("beat F of the sound against its grid", f"{heard:.3f}", "≥ 0.95", heard >= 0.95)
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
    alike = own["seed_similarity"].mean
    _, most = summary.groove_range.get(BARS_ALIKE, (0.0, MAX_SEEDS_ALIKE))
    add("seeds alike, no more than one real groove's bars", f"{alike:.2f}", f"≤ {most:.2f}",
        alike <= most)  # fmt: skip
    energy, own_truth = own["energy"].mean, truth["energy"].mean
    wanted = min(0.2, own_truth)
    add("energy ρ − shuffled", f"{energy:.2f}", f"≥ 0.2 or {own_truth:.2f}", energy >= wanted)
    for column, where in (("waltz_accent_low", "annotated"), ("waltz_own_accent_low", "own")):
        accent = own[column]
        if not math.isnan(accent.mean):
            name = f"waltz: bass of {where} downbeats above the other beats, lower end"
            add(name, f"{accent.low:.1f} dB", "> 0", accent.low > 0)
    distance = summary.frechet.get(f"**{model}**")
    for rival in (NOISE, METRONOME_120):
        if distance is not None and rival in summary.frechet:
            ratio = distance.mean / max(summary.frechet[rival].mean, 1e-9)
            add(f"Fréchet distance, of that of {rival}", f"{ratio:.2f}", "≤ 0.25", ratio <= 0.25)
    if model in summary.long:
        long = summary.long[model]
        silence, drone = long["longest_silence_s"], long["longest_drone_s"]
        add("3 min: longest silence", f"{silence:.1f} s", "≤ 2 s", silence <= 2.0)
        add("3 min: longest sound without a stroke", f"{drone:.1f} s", "≤ 2 s", drone <= 2.0)
        share = long["clipped_share"]
        add("3 min: share of samples clipped", f"{share:.1e}", "≤ 1e-4", share <= 1e-4)
        last = long["grid_f_last_minute"]
        add("3 min: last minute's beat F against the grid", f"{last:.2f}", "≥ 0.95", last >= 0.95)
    return targets


def to_json(value: Any) -> Any:
    """The same values as JSON knows them: dicts with text keys, ``None`` for NaN."""
    if hasattr(value, "__dataclass_fields__"):
        return to_json(vars(value))
    if isinstance(value, Mapping):
        return {
            " over ".join(key) if isinstance(key, tuple) else str(key): to_json(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [to_json(inner) for inner in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


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
            for piece, drawn in pieces.items():
                values[dance_of[piece]].append(_mean(take.scores[column] for take in drawn))
            table[row][column] = {dance: _mean(of) for dance, of in values.items()}
    return table


def _frechet(
    findings: Findings, dance_of: Mapping[str, str]
) -> tuple[dict[str, Cell], dict[str, float]]:
    """Distances of every row; the first to the songs' own drums and bass."""
    by_row: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    for take in findings.takes:
        by_row[take.row][dance_of[take.piece]].append(take.embeddings)
    joined = {
        row: {dance: np.concatenate(parts) for dance, parts in dances.items()}
        for row, dances in by_row.items()
    }
    if TRUTH_STEM not in joined:
        return {}, {}
    reference = np.concatenate(list(joined[TRUTH_STEM].values()))
    real = [take.embeddings for take in findings.grooves]
    real_grooves = np.concatenate(real) if real else None
    songs: dict[str, Cell] = {}
    grooves: dict[str, float] = {}
    for row, dances in joined.items():
        parts = list(dances.values())
        everything = np.concatenate(parts)
        spread = frechet_resamples(reference, parts)
        low, high = np.quantile(spread, [0.025, 0.975])
        mean = frechet_distance_unbiased(reference, everything)
        # Drawing dances with replacement makes sets poorer and distances larger: the spread
        # about its own middle is the error.
        middle = float(np.median(spread))
        songs[row] = Cell(
            mean,
            max(0.0, mean + float(low) - middle),
            max(0.0, mean + float(high) - middle),
            len(parts),
        )
        if real_grooves is not None:
            grooves[row] = frechet_distance_unbiased(real_grooves, everything)
    return songs, grooves


def _groove_range(scores: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    columns = sorted({column for row in scores for column in row})
    ranges = {}
    for column in columns:
        values = np.array([row[column] for row in scores if column in row])
        values = values[np.isfinite(values)]
        if values.size:
            low, high = np.percentile(values, GROOVE_RANGE)
            ranges[column] = (float(low), float(high))
    return ranges


def _leads(
    per_dance: Mapping[str, Mapping[str, Mapping[str, float]]], models: Sequence[str]
) -> dict[tuple[str, str], dict[str, Cell]]:
    """How far each model lies above each rival, for the dances that both have."""
    leads = {}
    for model in models:
        for rival in RIVALS:
            if rival in per_dance:
                own, other = per_dance[f"**{model}**"], per_dance[rival]
                leads[model, rival] = {
                    column: _cell(
                        value - other[column][dance]
                        for dance, value in own[column].items()
                        if dance in other[column]
                    )
                    for column in LEAD_COLUMNS
                }
    return leads


def _grid_tables(
    readings: Sequence[GridReading], dance_of: Mapping[str, str]
) -> tuple[dict[str, dict[str, dict[str, Cell]]], dict[str, dict[str, dict[str, Cell]]]]:
    tables = []
    for name in ("scores", "retimed"):
        values: dict[str, dict[str, dict[str, dict[str, list[float]]]]] = {}
        for reading in readings:
            for length, scores in getattr(reading, name).items():
                for metric, value in scores.items():
                    row = values.setdefault(reading.reader, {}).setdefault(length, {})
                    row.setdefault(metric, {}).setdefault(dance_of[reading.piece], []).append(value)
        tables.append(
            {
                reader: {
                    length: {
                        metric: _cell(_mean(of) for of in dances.values())
                        for metric, dances in metrics.items()
                    }
                    for length, metrics in lengths.items()
                }
                for reader, lengths in values.items()
            }
        )
    return tables[0], tables[1]


def _calibration_of(readings: Sequence[GridReading], reader: str) -> tuple[np.ndarray, np.ndarray]:
    own = [reading for reading in readings if reading.reader == reader]
    return (
        np.concatenate([reading.confidence for reading in own]),
        np.concatenate([reading.right for reading in own]),
    )


def _cell(values: Iterable[float]) -> Cell:
    of = [value for value in values if not math.isnan(value)]
    return Cell(_mean(of), *bootstrap_interval(of), len(of))


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _rank(mean: float) -> float:
    return -1.0 if math.isnan(mean) else mean
