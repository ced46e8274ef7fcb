"""Retrieval of drum bars from packed human performances.

The performances are those of the Groove MIDI Dataset (Gillick et al., "Learning to Groove with
Inverse Sequence Transformations", 2019, CC BY 4.0), training split, quantised to 12 ticks a beat
with what each stroke deviates from its tick. They were played to a metronome, so a bar of the
file is a bar of the music.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer

from dancetomusic.errors import CheckpointError, InputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.released import released_folder

TICKS_PER_BEAT = 12
"""Divides a beat into sixteenths and into eighth-note triplets alike."""

OFFSET_STEPS = 127
"""Steps of a stroke's deviation in half a tick, the most that is left after quantising."""

FILL_EXCESS = 3
"""Strokes more than usual in the second half of a bar that make it a fill."""

FILL_VELOCITY = 45
"""Softest stroke that counts for a fill: ghost notes do not."""

FILL_KEYS = (38, 40, 39, 41, 43, 45, 47, 48, 50, 65, 66, 60, 61)
"""General MIDI keys that fills are played on: snares, hand clap, toms, timbales, bongos."""

FILLS_DRAWN = 3
"""Fills that are compared when one is chosen."""

TEMPO_OCTAVES = 0.25
"""A performance this far from the tempo wanted, in octaves, is taken e^-½ times as often."""

JUMP_COST, PHRASE_JUMP_COST, REPEAT_COST = 0.6, 0.15, 0.02
"""Cost of leaving the order of a performance inside a phrase, and at its start; of playing on."""

_FILE = "grooves.npz"


@dataclass(frozen=True)
class GrooveLibrary:
    """Performances bar by bar; a note belongs to the bar that its tick lies in.

    Attributes:
        tick: Position in the bar in twelfths of a beat.
        offset: How much later than its tick a note was played, in ``OFFSET_STEPS`` of half a tick.
        bar_start: First note of each bar, and the number of notes.
        bar_is_fill: Bars in which a fill is played.
        first_bar: First bar of each performance, and the number of bars.
        label: Style and substyle as the data set names them.
        fills_only: Performances that are a fill and nothing else.

    Raises:
        InputError: If lengths disagree.
    """

    tick: Integer[np.ndarray, " notes"]
    offset: Integer[np.ndarray, " notes"]
    key: Integer[np.ndarray, " notes"]
    velocity: Integer[np.ndarray, " notes"]
    bar_start: Integer[np.ndarray, " bars_and_end"]
    bar_is_fill: Bool[np.ndarray, " bars"]
    first_bar: Integer[np.ndarray, " performances_and_end"]
    label: np.ndarray
    drummer: np.ndarray
    bpm: np.ndarray
    beats_per_bar: Integer[np.ndarray, " performances"]
    fills_only: Bool[np.ndarray, " performances"]

    def __post_init__(self) -> None:
        n_performances = self.label.size
        if (
            self.bar_start.size != self.bar_is_fill.size + 1
            or int(self.bar_start[-1]) != self.tick.size
            or self.first_bar.size != n_performances + 1
            or int(self.first_bar[-1]) != self.bar_is_fill.size
        ):
            raise InputError("packed grooves disagree in length", "Pack them again.")

    def bars_of(self, performance: int) -> range:
        """Bars of one performance."""
        return range(int(self.first_bar[performance]), int(self.first_bar[performance + 1]))

    def bar(
        self, bar: int
    ) -> tuple[Float64[np.ndarray, " n"], Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """Starts in beats from the bar's first (a little below 0 if early), keys, velocities."""
        notes = slice(int(self.bar_start[bar]), int(self.bar_start[bar + 1]))
        late = self.offset[notes].astype(np.float64) / OFFSET_STEPS / 2.0
        return (
            (self.tick[notes] + late) / TICKS_PER_BEAT,
            self.key[notes].astype(np.int64),
            self.velocity[notes].astype(np.int64),
        )

    def density(self, performance: int) -> Float64[np.ndarray, " bars"]:
        """Rank of each bar's sum of velocities among the bars of its performance, in [0, 1]."""
        bars = self.bars_of(performance)
        sums = np.concatenate([[0.0], np.cumsum(self.velocity, dtype=np.float64)])
        edges = self.bar_start[bars.start : bars.stop + 1]
        loud = np.diff(sums[edges])
        return loud.argsort().argsort() / max(1, loud.size - 1)

    def fill_strokes(self, bar: int) -> int:
        """As :func:`fill_strokes`, of one bar."""
        owner = int(np.searchsorted(self.first_bar, bar, side="right")) - 1
        return fill_strokes(*self.bar(bar), float(self.beats_per_bar[owner]))

    def save(self, path: Path | str) -> None:
        """Write the library as one compressed archive of arrays."""
        with atomic_output(path) as temporary:
            np.savez_compressed(temporary, **{f.name: getattr(self, f.name) for f in fields(self)})


def read_library(path: Path | str) -> GrooveLibrary:
    """Read what :meth:`GrooveLibrary.save` wrote.

    Raises:
        CheckpointError: If the file is missing or not a library.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return GrooveLibrary(**{f.name: arrays[f.name] for f in fields(GrooveLibrary)})
    except (OSError, KeyError, ValueError, InputError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"cannot read {path} ({error})", "Restore the file.") from error


@lru_cache(maxsize=1)
def released_library() -> GrooveLibrary:
    """The performances that come with the package; read once.

    Raises:
        CheckpointError: If the package came without them.
    """
    return read_library(released_folder("grooves") / _FILE)


def fill_strokes(
    beats: Float64[np.ndarray, " notes"],
    keys: Int64[np.ndarray, " notes"],
    velocities: Int64[np.ndarray, " notes"],
    beats_per_bar: float | int,
) -> int:
    """Strokes on drums that fills are played on, in the second half of a bar.

    A bar is a fill where this exceeds the usual number of its piece by ``FILL_EXCESS``.

    ``beats`` count from the bar's first.
    """
    late = beats >= beats_per_bar / 2 - 0.05
    return int((late & np.isin(keys, FILL_KEYS) & (velocities >= FILL_VELOCITY)).sum())


def find_fills(strokes: Int64[np.ndarray, " bars"]) -> Bool[np.ndarray, " bars"]:
    """Bars with clearly more of :func:`fill_strokes` than is usual in a piece."""
    if strokes.size == 0:
        return np.zeros(0, bool)
    return strokes >= np.median(strokes) + FILL_EXCESS


def choose_performance(
    library: GrooveLibrary,
    labels: Sequence[str],
    *,
    bpm: float,
    beats_per_bar: int,
    n_bars: int,
    rng: np.random.Generator,
) -> int | None:
    """Draw a performance of a style, preferring its metre, the tempo, and one long enough.

    ``labels`` are beginnings of the labels that belong to the style, such as ``"latin/brazilian"``.
    Longer bars are played where no performance has the metre; those shorter than ``n_bars`` are
    less likely.

    Returns:
        Index of the performance; ``None`` if the style has none whose bars are long enough.
    """
    named = _named(library, labels)
    bars = np.diff(library.first_bar)
    usable = named & ~library.fills_only & (bars >= 2) & (library.beats_per_bar >= beats_per_bar)
    if (usable & (library.beats_per_bar == beats_per_bar)).any():
        usable &= library.beats_per_bar == beats_per_bar
    if not usable.any():
        return None
    octaves = np.log2(np.maximum(library.bpm, 1.0) / max(bpm, 1.0))
    weight = np.exp(-0.5 * (octaves / TEMPO_OCTAVES) ** 2) * np.minimum(1.0, bars / max(n_bars, 1))
    weight = np.where(usable, np.maximum(weight, 1e-12), 0.0)
    return int(rng.choice(weight.size, p=weight / weight.sum()))


def choose_bars(
    library: GrooveLibrary,
    performance: int,
    density: Float64[np.ndarray, " bars"],
    phrase_starts: Bool[np.ndarray, " bars"],
    rng: np.random.Generator,
) -> Int64[np.ndarray, " bars"]:
    """Bars of one performance in an order that follows a density, continuing where it can.

    The cheapest path (Viterbi) over the bars of the performance: a bar costs how far its rank of
    density is from the one wanted, a jump costs more within a phrase than at its start.

    ``density`` is wanted, in [0, 1], for each bar; at ``phrase_starts`` a jump is hardly audible.
    ``rng`` breaks ties, so that two seeds play different bars.

    Returns:
        A bar of the library for each bar wanted; none is a fill unless all are.
    """
    bars = np.array(library.bars_of(performance))
    rank = library.density(performance)
    groove = ~library.bar_is_fill[bars]
    if groove.any():
        bars, rank = bars[groove], rank[groove]
    # Viterbi: cost of the cheapest path to each bar, and where it comes from.
    taste = 0.3 * rng.random(bars.size)
    follows = bars[None, :] == bars[:, None] + 1
    total = np.abs(rank - density[0]) + taste if density.size else np.zeros(bars.size)
    origins = np.zeros((density.size, bars.size), np.int64)
    for step in range(1, density.size):
        jump = PHRASE_JUMP_COST if phrase_starts[step] else JUMP_COST
        arrivals = total[:, None] + np.where(follows, REPEAT_COST, jump)
        origins[step] = arrivals.argmin(axis=0)
        total = arrivals.min(axis=0) + np.abs(rank - density[step]) + taste
    # Backwards from the cheapest end.
    path = np.zeros(density.size, np.int64)
    if density.size:
        path[-1] = int(total.argmin())
    for step in range(density.size - 1, 0, -1):
        path[step - 1] = origins[step, path[step]]
    return bars[path].astype(np.int64)


def choose_fill(
    library: GrooveLibrary,
    performance: int,
    labels: Sequence[str],
    rng: np.random.Generator,
    *,
    least: int = FILL_EXCESS,
) -> int | None:
    """Draw a bar with a fill: of the same performance, else of the same style, else of any.

    The metre is that of ``performance``. ``least`` is the fewest of :func:`fill_strokes` that count
    as a fill in the piece; of several fills that are drawn the one that has least more is taken, so
    that none is a storm.
    """
    metre = library.beats_per_bar[performance]
    owner = np.repeat(np.arange(library.label.size), np.diff(library.first_bar))
    named = _named(library, labels)
    own = np.arange(library.label.size) == performance
    for candidates in (own, named & ~own, np.ones(own.size, bool)):
        fitting = library.bar_is_fill & (candidates & (library.beats_per_bar == metre))[owner]
        drawn: dict[int, int] = {}
        for bar in rng.permutation(np.flatnonzero(fitting)).tolist():
            strokes = library.fill_strokes(bar)
            if strokes >= least:
                drawn[bar] = strokes
            if len(drawn) == FILLS_DRAWN:
                break
        if drawn:
            return min(drawn, key=lambda bar: drawn[bar])
    return None


def _named(library: GrooveLibrary, labels: Sequence[str]) -> Bool[np.ndarray, " performances"]:
    return np.array([any(_belongs(str(name), label) for label in labels) for name in library.label])


def _belongs(name: str, label: str) -> bool:
    """Whether a label is the one asked for, or a substyle of it."""
    return name == label or name.startswith((label + "/", label + "-"))
