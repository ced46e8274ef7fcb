"""Tables and charts of a set of clips: what is in it, what was refused and why, one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np
from jaxtyping import Float

from dancetomusic.builder.quality import GateThresholds
from dancetomusic.data.clip import ACCEPTED, STATUSES, Clip, ClipQuality
from dancetomusic.data.manifest import Manifest
from dancetomusic.errors import InputError
from dancetomusic.types import CodeSequence

from .dance import (
    draw_code_rows,
    draw_moments,
    draw_spectrogram,
    mark_beats,
    new_figure,
)

N_BINS = 30
SCORES = tuple(f.name for f in fields(ClipQuality) if f.name != "picture_hash")
"""What the gate judges by number."""

_COLOURS = dict(zip(STATUSES, ("tab:green", "tab:orange", "tab:red"), strict=True))


def counts_table(manifest: Manifest) -> str:
    """Clips by split and status, with the hours that were accepted, as Markdown."""
    lines = [
        f"| split | {' | '.join(STATUSES)} | accepted, min |",
        "|---" * (len(STATUSES) + 2) + "|",
    ]
    columns = manifest.columns(["split", "status", "start_s", "end_s"])
    lasting = columns["end_s"] - columns["start_s"]
    for split, found in manifest.counts().items():
        kept = (columns["split"] == split) & (columns["status"] == ACCEPTED)
        cells = [str(found.get(status, 0)) for status in STATUSES]
        lines.append(f"| {split} | {' | '.join(cells)} | {lasting[kept].sum() / 60:.1f} |")
    return "\n".join(lines)


def reasons_table(manifest: Manifest) -> str:
    """Each reason for which clips are not accepted, and how often, as Markdown."""
    columns = manifest.columns(["status", "reason"])
    counted = Counter(
        reason
        for status, text in zip(columns["status"], columns["reason"], strict=True)
        if status != ACCEPTED
        for reason in text.split("; ")
    )
    lines = ["| clips | reason |", "|---|---|"]
    return "\n".join(
        lines + [f"| {count} | {_plain(why)} |" for why, count in counted.most_common()]
    )


def draw_gate(manifest: Manifest, gate: GateThresholds | None = None) -> Any:
    """What the gate judged, clip by clip; dashed lines are its limits.

    Args:
        manifest: Of the set.
        gate: Its limits; the default ones if not given.
    """
    limits = vars(gate or GateThresholds())
    columns = manifest.columns(["status", *(f"quality.{name}" for name in SCORES)])
    figure = new_figure(7.0)
    axes = figure.subplots(3, 4).ravel()
    for axis in axes[len(SCORES) :]:
        axis.remove()
    for axis, name in zip(axes, SCORES, strict=False):
        values = columns[f"quality.{name}"].astype(np.float64)
        what = name.removeprefix("n_")
        marks = [limits[key] for key in (f"min_{what}", f"max_{what}") if key in limits]
        low, high = min([*values, *marks]), max([*values, *marks])
        edges = np.linspace(low, high if high > low else low + 1, N_BINS + 1)
        parts = [values[columns["status"] == status] for status in STATUSES]
        axis.hist(parts, edges, stacked=True, color=list(_COLOURS.values()), label=list(STATUSES))
        for mark in marks:
            axis.axvline(mark, color="black", linestyle="--")
        axis.set_title(name, fontsize=9)
    axes[0].legend(fontsize=8)
    return figure


def draw_tempi(manifest: Manifest) -> Any:
    """Accepted clips: tempo, how strongly they are danced against how loud they are, and length."""
    names = ["status", "bpm", "beats_per_bar", "start_s", "end_s"]
    names += ["quality.motion_m_s", "quality.loudness_dbfs"]
    columns = manifest.columns(names)
    kept = columns["status"] == ACCEPTED
    bpm, metre = columns["bpm"][kept].astype(np.float64), columns["beats_per_bar"][kept]
    figure = new_figure(3.4)
    tempo, loud, length = figure.subplots(1, 3)
    metres = sorted(set(metre.tolist()))
    known = [bpm[(metre == beats) & np.isfinite(bpm)] for beats in metres]
    tempo.hist(known, N_BINS, stacked=True, label=[f"{beats} beats a bar" for beats in metres])
    tempo.set(xlabel="BPM", ylabel="clips")
    if metres:
        tempo.legend(fontsize=8)
    loud.plot(columns["quality.motion_m_s"][kept], columns["quality.loudness_dbfs"][kept], "k.")
    loud.set(xlabel="motion, m/s", ylabel="loudness, dBFS")
    length.hist((columns["end_s"] - columns["start_s"])[kept], N_BINS)
    length.set(xlabel="s", ylabel="clips")
    return figure


def code_counts(
    codes: Iterable[CodeSequence], codebook_size: int
) -> Float[np.ndarray, "codebooks classes"]:
    """How often each entry of each codebook occurs.

    Args:
        codes: Of one codec.
        codebook_size: Entries of each of its codebooks.

    Raises:
        InputError: If there are none, they come from several codecs, or one is out of range.
    """
    counts: np.ndarray | None = None
    codec_id = ""
    for sequence in codes:
        if counts is None:
            counts, codec_id = np.zeros((len(sequence.codes), codebook_size)), sequence.codec_id
        if sequence.codec_id != codec_id or len(sequence.codes) != len(counts):
            raise InputError(
                f"codes of {codec_id} and {sequence.codec_id} are mixed", "Give those of one codec."
            )
        if (
            sequence.codes.size
            and not 0 <= sequence.codes.min() <= sequence.codes.max() < codebook_size
        ):
            raise InputError(
                f"codes go to {sequence.codes.max()}", f"Give a codec of {codebook_size} entries."
            )
        for book, row in enumerate(sequence.codes):
            counts[book] += np.bincount(row, minlength=codebook_size)
    if counts is None:
        raise InputError("there are no codes", "Name a set with accepted clips.")
    return counts


def draw_code_use(counts: Float[np.ndarray, "codebooks classes"]) -> Any:
    """Entries of each codebook from the most frequent to the rarest, and how many are in use.

    Perplexity is the number of entries that would say as much, were they equally frequent.
    """
    figure = new_figure(3.4)
    axis = figure.subplots()
    for book, row in enumerate(counts):
        shares = np.sort(row)[::-1] / max(row.sum(), 1)
        used = shares[shares > 0]
        perplexity = float(np.exp(-(used * np.log(used)).sum()))
        label = f"codebook {book}: {used.size} of {row.size} used, perplexity {perplexity:.0f}"
        axis.plot(np.arange(1, used.size + 1), used, label=label)
    axis.set(xscale="log", yscale="log", xlabel="rank of the entry", ylabel="share of frames")
    axis.legend()
    return figure


def draw_clip(clip: Clip) -> Any:
    """One clip on one clock: the dancer, the sound as filmed, drums and bass, codes, energy."""
    figure = new_figure(10.0)
    dancer, mix, stem, codes, energy = axes = figure.subplots(
        5, 1, sharex=True, height_ratios=(2.2, 2, 2, 1, 1)
    )
    draw_moments(dancer, clip.poses, 16)
    for axis, sound, name in ((mix, clip.mix, "mix"), (stem, clip.stem, "drums and bass")):
        draw_spectrogram(axis, sound)
        axis.set_title(name, fontsize=9, loc="left")
    draw_code_rows(codes, clip.codes)
    at = np.arange(clip.rhythm.energy.size) / clip.rhythm.energy_rate
    energy.fill_between(at, clip.rhythm.energy, color="tab:green", alpha=0.4)
    energy.set(ylim=(0, 1), ylabel="energy", xlabel="s", xlim=(0, clip.poses.duration_s))
    for axis in axes:
        mark_beats(axis, clip.rhythm, "white" if axis in (mix, stem, codes) else "black")
    record = clip.record
    dancer.set_title(f"{record.key}: {record.bpm:.1f} BPM, beats {record.beats_from}", loc="left")
    return figure


def _plain(text: str) -> str:
    """Text of a source as a cell of a table: no column, no markup of its own."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#|!" else c for c in text)
