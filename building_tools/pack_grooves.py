"""Pack the training performances of the Groove MIDI Dataset for the arranger's drums."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from jaxtyping import Float64, Int64

from dancetomusic.errors import InputError
from dancetomusic.score.grooves import (
    OFFSET_STEPS,
    TICKS_PER_BEAT,
    GrooveLibrary,
    fill_strokes,
    find_fills,
)
from dancetomusic.synthesis.groove import PAD_TO_GM

METRES = {"3-4": 3, "4-4": 4, "5-4": 5}
"""Time signatures in quarters; the others' beat is not the metronome's."""


@dataclass(frozen=True)
class Performance:
    """One file: its notes, and a row of the data set's index."""

    beats: Float64[np.ndarray, " notes"]
    keys: Int64[np.ndarray, " notes"]
    velocities: Int64[np.ndarray, " notes"]
    row: dict[str, str]


def main(
    grooves: Annotated[Path, typer.Argument(help="Directory of the Groove MIDI Dataset.")],
    output: Annotated[Path, typer.Argument(help="The archive to write, .npz.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
) -> None:
    """Pack every performance and fill of a split."""
    library = pack(list(read_performances(grooves, split)))
    library.save(output)
    beats = np.diff(library.first_bar) * library.beats_per_bar
    hours = float((beats * 60.0 / library.bpm)[~library.fills_only].sum() / 3600.0)
    fills = int(library.bar_is_fill.sum())
    typer.echo(
        f"{library.label.size} performances ({hours:.1f} h), {library.tick.size} strokes, "
        f"{library.bar_is_fill.size} bars, {fills} of them fills, "
        f"{output.stat().st_size / 1e6:.1f} MB"
    )


def read_performances(directory: Path, split: str = "train") -> Iterator[Performance]:
    """Performances of a split, in the order of the index.

    Raises:
        InputError: If the directory has no ``info.csv``.
    """
    import mido

    index = directory / "info.csv"
    if not index.is_file():
        raise InputError(f"{directory} has no info.csv", "Name the Groove MIDI directory.")
    with index.open(encoding="utf-8") as lines:
        rows = [
            row
            for row in csv.DictReader(lines)
            if row["split"] == split and row["time_signature"] in METRES
        ]
    for row in rows:
        midi = mido.MidiFile(directory / row["midi_filename"])
        strokes = []
        for track in midi.tracks:
            ticks = 0
            for message in track:
                ticks += message.time
                if message.type == "note_on" and message.velocity > 0:
                    key = PAD_TO_GM.get(message.note, message.note)
                    strokes.append((ticks / midi.ticks_per_beat, key, message.velocity))
        if strokes:
            beats, keys, velocities = zip(*sorted(strokes), strict=True)
            yield Performance(
                np.array(beats), np.array(keys, np.int64), np.array(velocities, np.int64), row
            )


def pack(performances: list[Performance]) -> GrooveLibrary:
    """Quantise performances and lay their bars end to end."""
    ticks, offsets, keys, velocities = [], [], [], []
    bar_notes: list[int] = []
    is_fill, n_bars = [], []
    for performance in performances:
        metre = METRES[performance.row["time_signature"]]
        exact = performance.beats * TICKS_PER_BEAT
        nearest = np.rint(exact).astype(np.int64)
        bar, tick = np.divmod(nearest, metre * TICKS_PER_BEAT)
        bars = int(bar.max()) + 1
        # A performance ends with a stroke on the next downbeat: that is no bar of its own.
        if bars > 1 and (tick[bar == bars - 1] == 0).all():
            bars -= 1
        kept = bar < bars
        order = np.lexsort((performance.keys[kept], nearest[kept]))
        ticks.append(tick[kept][order])
        offsets.append(np.rint((exact - nearest)[kept][order] * 2 * OFFSET_STEPS))
        keys.append(performance.keys[kept][order])
        velocities.append(performance.velocities[kept][order])
        bar_notes.extend(np.bincount(bar[kept], minlength=bars).tolist())
        only = performance.row["beat_type"] == "fill"
        strokes = [
            fill_strokes(
                tick[bar == k] / TICKS_PER_BEAT,
                performance.keys[bar == k],
                performance.velocities[bar == k],
                metre,
            )
            for k in range(bars)
        ]
        is_fill.append(np.full(bars, True) if only else find_fills(np.array(strokes)))
        n_bars.append(bars)
    rows = [performance.row for performance in performances]
    return GrooveLibrary(
        tick=np.concatenate(ticks).astype(np.uint8),
        offset=np.concatenate(offsets).astype(np.int8),
        key=np.concatenate(keys).astype(np.uint8),
        velocity=np.concatenate(velocities).astype(np.uint8),
        bar_start=np.concatenate([[0], np.cumsum(bar_notes)]).astype(np.int32),
        bar_is_fill=np.concatenate(is_fill),
        first_bar=np.concatenate([[0], np.cumsum(n_bars)]).astype(np.int32),
        label=np.array([row["style"] for row in rows]),
        drummer=np.array([row["drummer"] for row in rows]),
        bpm=np.array([float(row["bpm"]) for row in rows], np.float32),
        beats_per_bar=np.array([METRES[row["time_signature"]] for row in rows], np.uint8),
        fills_only=np.array([row["beat_type"] == "fill" for row in rows]),
    )


if __name__ == "__main__":
    typer.run(main)
