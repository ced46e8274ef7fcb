"""Pictures of a report: rows, onsets, and takes to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dancetomusic.evaluation.tasks.music.measure import Excerpt, Findings, Take
from dancetomusic.evaluation.tasks.music.rows import METRONOME_120, NOISE, TRUTH, TRUTH_STEM
from dancetomusic.evaluation.tasks.music.scores import TIME_COLUMNS
from dancetomusic.evaluation.tasks.music.summary import Summary
from dancetomusic.io.atomic import atomic_output

RANKED = ("f", "f_10s", "cmlt", "onset_f1")


def draw_plots(summary: Summary, findings: Findings, output: Path) -> list[str]:
    """Write every picture there is something for; gives their names.

    Raises:
        OutputError: If a file cannot be written.
    """
    names = [_draw_rows(summary, output / "rows.png")]
    names.append(_draw_onsets(summary, findings.takes, output / "onsets.png"))
    shown: dict[str, list[Excerpt]] = {}
    for take in findings.takes:
        if take.excerpt is not None:
            shown.setdefault(take.row.strip("*"), []).append(take.excerpt)
    for number, (model, excerpts) in enumerate(shown.items()):
        excerpts.sort(key=lambda excerpt: excerpt.piece)
        names.append(_draw_takes(model, excerpts, output / f"takes_{number}.png"))
        names.append(_draw_energy(model, excerpts, output / f"energy_{number}.png"))
    return names


def _draw_rows(summary: Summary, path: Path) -> str:
    plt = _pyplot()
    rows = list(summary.rows)[::-1]
    figure, axes = plt.subplots(
        1, len(RANKED), figsize=(14, 0.36 * len(rows) + 1.2), sharey=True, layout="constrained"
    )
    for axis, column in zip(axes, RANKED, strict=True):
        cells = [summary.rows[row][column] for row in rows]
        means = np.array([cell.mean for cell in cells])
        errors = [
            [cell.mean - cell.low for cell in cells],
            [cell.high - cell.mean for cell in cells],
        ]
        colours = ["tab:red" if row.startswith("**") else "tab:blue" for row in rows]
        axis.barh(range(len(rows)), means, color=colours, alpha=0.6)
        axis.errorbar(means, range(len(rows)), xerr=np.abs(errors), fmt="none", color="black")
        axis.set(title=TIME_COLUMNS[column], xlim=(0, 1.02))
        axis.set_yticks(range(len(rows)), [row.strip("*") for row in rows])
        axis.grid(axis="x", alpha=0.3)
    return _save(figure, path)


def _draw_onsets(summary: Summary, takes: Sequence[Take], path: Path) -> str:
    plt = _pyplot()
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.5), layout="constrained")
    pairs = (("density", "self_similarity"), ("low", "high"), ("density", "energy"))
    chosen = [
        row
        for row in summary.rows
        if row.startswith("**") or row in (TRUTH, TRUTH_STEM, NOISE, METRONOME_120)
    ]
    for axis, (across, up) in zip(axes, pairs, strict=True):
        for row in chosen:
            own = [take.scores for take in takes if take.row == row]
            points = [(scores[across], scores[up]) for scores in own]
            axis.scatter(*zip(*points, strict=True), s=18, alpha=0.7, label=row.strip("*"))
        for column, draw in ((across, axis.axvspan), (up, axis.axhspan)):
            if column in summary.groove_range:
                draw(*summary.groove_range[column], color="grey", alpha=0.15)
        axis.set(xlabel=across.replace("_", " "), ylabel=up.replace("_", " "))
    axes[0].legend(fontsize=8)
    axes[1].set_title("grey: 5 to 95 % of real grooves" if summary.groove_range else "")
    return _save(figure, path)


def _draw_takes(model: str, excerpts: Sequence[Excerpt], path: Path) -> str:
    """Spectrograms with the beats that were played on; downbeats are solid."""
    figure, axes = _one_below_another(excerpts, 2.0)
    for axis, excerpt in zip(axes, excerpts, strict=True):
        samples = excerpt.sound.to_mono().samples[0] + 1e-7
        with np.errstate(divide="ignore"):
            axis.specgram(samples, NFFT=1024, noverlap=768, Fs=excerpt.sound.sample_rate, vmin=-140)
        for time, number in zip(excerpt.beat_times, excerpt.beat_numbers, strict=True):
            axis.axvline(time, color="white", linestyle="-" if number == 1 else ":", linewidth=0.9)
        axis.set(yscale="symlog", ylim=(40, 12_000), ylabel=excerpt.piece)
        axis.set_xlim(0, excerpt.sound.duration_s)
    axes[0].set_title(f"{model}: first seconds of each take, Hz; lines are its grid")
    return _save(figure, path)


def _draw_energy(model: str, excerpts: Sequence[Excerpt], path: Path) -> str:
    figure, axes = _one_below_another(excerpts, 1.4)
    for axis, excerpt in zip(axes, excerpts, strict=True):
        for values, label in ((excerpt.motion, "movement"), (excerpt.loudness, "loudness")):
            spread = np.nanstd(values) or 1.0
            level = (values - np.nanmean(values)) / spread
            axis.plot(np.arange(values.size) / 2, level, label=label)
        axis.set_ylabel(excerpt.piece, fontsize=8)
    axes[0].set_title(f"{model}: movement and loudness in 0.5 s windows, standardised")
    axes[0].legend(loc="upper right")
    axes[-1].set_xlabel("s")
    return _save(figure, path)


def _one_below_another(excerpts: Sequence[Excerpt], height_in: float) -> tuple[Any, Any]:
    """A figure with one axis for each excerpt."""
    figure, axes = _pyplot().subplots(
        len(excerpts), 1, figsize=(14, height_in * len(excerpts) + 0.6), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    return figure, axes[:, 0]


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _save(figure: Any, path: Path) -> str:
    with atomic_output(path) as temporary:
        figure.savefig(temporary, dpi=90)
    _pyplot().close(figure)
    return path.name
