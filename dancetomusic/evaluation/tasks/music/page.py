"""The report as one page of Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dancetomusic.evaluation.tasks.music.scores import (
    GROOVE_COLUMNS,
    LEGACY_COLUMNS,
    TIME_COLUMNS,
)
from dancetomusic.evaluation.tasks.music.summary import GROOVE_RANGE, LEAD_COLUMNS, Cell, Summary

GRID_NOTE = "Cells: beat F at ±70 ms [95 % over dances] · CMLt · share of tempi within 4 %."
TIME_NOTE = """\
Beats are tracked in the sound of the whole piece and scored against the annotated beats
(±70 ms); onsets against those of the true music (±50 ms). Beat evidence is the mean cosine of
the beat phase that the first checkpoint sees in the movement, at the beats of the sound: no proof
for music that plays on what the same network read. A metronome on the beats read scores as well
as music: these columns say whether the time is right, not whether the groove is good."""
GROOVE_NOTE = """\
Strokes are rises of 6 dB in three registers; low, mid and high are their shares. Bars alike:
mean correlation of a piece's bars (1: one loop); seeds alike: of the same bars of two seeds.
Energy: Spearman's ρ of movement and loudness in 0.5 s windows, minus that with the movement
shifted in time; where the interval of the true music holds 0, it says nothing of real music.
Accents: level at annotated beats 1 minus that at 2 and 3, where downbeats are certain. Drone: the
longest audible stretch without a stroke. Bars of a model are those of its own grid, of other rows
the annotated ones. Real grooves: performances of held-out drummers with a bass line of ours."""
FRECHET_NOTE = """\
Fréchet distance between embeddings of half seconds (encoder of the released codec, all sounds at
one level), extrapolated to infinitely many. Its unit is its own: compare rows of one run. The
true drums and bass are the reference themselves."""
LEGACY_NOTE = """\
**Do not optimise for these.** Papers report them; they do not tell music from noise. Coverage
and hit scores compare whole seconds, and a metronome that knows nothing hits them all. Beat
alignment and motion-beat coverage reward whatever strikes often: on ballroom dances white noise
and metronomes beat the music that was danced to."""
HELD_OUT_NOTE = """\
Means over seeds, windows, pieces and then dances; brackets are 95 % bootstrap intervals over
dances. Held-out dances of a ballroom set share captures with training dances, their synchrony is
partly by construction, and the movement of the waltz carries an imposed delay of a quarter of a
beat; the split `figures` holds figures out."""


def render_page(summary: Summary, facts: Mapping[str, str], plots: Sequence[str]) -> str:
    """The whole report.

    Args:
        summary: Its content.
        facts: Lines of its head: what was measured on what.
        plots: Names of pictures beside the page.
    """
    parts = ["# Does the music fit the dance?", ""]
    parts += [f"- {name}: {value}" for name, value in facts.items()]
    parts += ["", HELD_OUT_NOTE, ""]
    if summary.targets:
        parts += _targets(summary)
    parts += ["## In time", "", *_table(summary, TIME_COLUMNS), "", TIME_NOTE, ""]
    if summary.leads:
        parts += _leads(summary)
    parts += ["## As a groove", "", *_table(summary, GROOVE_COLUMNS), *_range(summary), ""]
    parts += [GROOVE_NOTE, ""]
    if summary.frechet:
        parts += _frechet(summary)
    if summary.grids:
        parts += ["## The beat read from movement", "", GRID_NOTE, ""]
        parts += [*_grids(summary.grids), "", "Danced at 0.75 to 1.35 times the speed:", ""]
        parts += [*_grids(summary.grids_retimed), ""]
    if summary.calibration:
        parts += _calibration(summary)
    if summary.long:
        parts += _long(summary)
    parts += [f"![{name}]({name})\n" for name in plots]
    parts += ["## Legacy scores, for comparison with papers", "", LEGACY_NOTE, ""]
    parts += _table(summary, LEGACY_COLUMNS)
    return "\n".join(parts) + "\n"


def cell_text(cell: Cell, digits: int = 2) -> str:
    """``mean [low, high]``, or a dash where nothing was measured."""
    if math.isnan(cell.mean):
        return "–"
    return f"{cell.mean:.{digits}f} [{cell.low:.{digits}f}, {cell.high:.{digits}f}]"


def table_head(first: str, titles: Sequence[str]) -> list[str]:
    """The first two lines of a Markdown table: the title of its first column, then the others."""
    return [f"| {first} | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]


def _table(summary: Summary, columns: Mapping[str, str]) -> list[str]:
    lines = table_head("", list(columns.values()))
    for row, cells in summary.rows.items():
        texts = [cell_text(cells[column]) for column in columns]
        lines.append(f"| {row} | {' | '.join(texts)} |")
    return lines


def _range(summary: Summary) -> list[str]:
    if not summary.groove_range:
        return []
    low, high = (f"{percent:.0f}" for percent in GROOVE_RANGE)
    texts = [
        "{:.2f} … {:.2f}".format(*summary.groove_range[column])
        if column in summary.groove_range
        else "–"
        for column in GROOVE_COLUMNS
    ]
    return [f"| real grooves, {low} to {high} % | {' | '.join(texts)} |"]


def _targets(summary: Summary) -> list[str]:
    lines = ["## What a groove must hold", ""]
    for model, targets in summary.targets.items():
        lines += table_head(model, ["measured", "wanted", ""])
        lines += [
            f"| {t.name} | {t.value} | {t.wanted} | {'holds' if t.holds else '**fails**'} |"
            for t in targets
        ]
        lines.append("")
    return lines


def _leads(summary: Summary) -> list[str]:
    lines = table_head("lead, dance by dance", [TIME_COLUMNS[column] for column in LEAD_COLUMNS])
    for (model, rival), cells in summary.leads.items():
        texts = [cell_text(cells[column]) for column in LEAD_COLUMNS]
        lines.append(f"| {model} over {rival} | {' | '.join(texts)} |")
    return [*lines, ""]


def _frechet(summary: Summary) -> list[str]:
    titles = ["to the songs' real drums and bass"]
    if summary.frechet_grooves:
        titles.append("to held-out real grooves")
    lines = ["## As a sound", "", *table_head("Fréchet distance", titles)]
    for row, cell in sorted(summary.frechet.items(), key=lambda item: item[1].mean):
        texts = [cell_text(cell, 1)]
        if summary.frechet_grooves:
            texts.append(f"{summary.frechet_grooves[row]:.1f}")
        lines.append(f"| {row} | {' | '.join(texts)} |")
    return [*lines, "", FRECHET_NOTE, ""]


def _grids(grids: Mapping[str, Mapping[str, Mapping[str, Cell]]]) -> list[str]:
    lengths = list(next(iter(grids.values())))
    lines = table_head("F · CMLt · tempo", lengths)
    for reader, cells in sorted(grids.items(), key=lambda item: -item[1][lengths[-1]]["f"].mean):
        texts = [
            "–"
            if math.isnan(cells[length]["f"].mean)
            else f"{cell_text(cells[length]['f'])} · {cells[length]['cmlt'].mean:.2f} · "
            f"{cells[length]['tempo'].mean:.2f}"
            for length in lengths
        ]
        lines.append(f"| {reader} | {' | '.join(texts)} |")
    return lines


def _calibration(summary: Summary) -> list[str]:
    lines = ["Beats of clips of 5 and 10 s in order of confidence, in fifths: share right", ""]
    n_parts = max(len(curve) for curve in summary.calibration.values())
    lines += table_head("confidence → right", [str(k + 1) for k in range(n_parts)] + ["mean error"])
    for reader, curve in summary.calibration.items():
        texts = [f"{part['confidence']:.2f} → {part['right']:.2f}" for part in curve]
        error = summary.calibration_errors[reader]
        lines.append(f"| {reader} | {' | '.join(texts)} | {error:.2f} |")
    return [*lines, ""]


def _long(summary: Summary) -> list[str]:
    names = list(next(iter(summary.long.values())))
    lines = ["## Three minutes without a break", "", *table_head("", names)]
    for model, scores in summary.long.items():
        lines.append(f"| {model} | {' | '.join(f'{scores[name]:.3g}' for name in names)} |")
    return [*lines, ""]
