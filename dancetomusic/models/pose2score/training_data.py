"""Pieces that the arranger writes for dances that it makes up, as events.

Human performances are those of the Groove MIDI Dataset, whole: of each piece in a style that has
them the energy follows the density of one performance, so that its bars come in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor

from dancetomusic.config import check_ranges
from dancetomusic.models.pose2score.conditions import conditions_of
from dancetomusic.models.pose2score.events import encode
from dancetomusic.pose.hits import Hits
from dancetomusic.score.arrange import write_arrangement
from dancetomusic.score.grooves import (
    GrooveLibrary,
    choose_performance,
    read_library,
    released_library,
)
from dancetomusic.score.notes import BeatClock
from dancetomusic.score.plan import Plan, make_plan
from dancetomusic.score.style import Style, load_style, style_names
from dancetomusic.training.config import LoopConfig
from dancetomusic.training.dataset import Sample, TrainingSet
from dancetomusic.training.prepared import hash_arrays, load_or_make
from dancetomusic.types import RhythmTrack

ENERGY_RATE = 12.0
"""Values of energy a second of a dance that is made up."""

NO_HITS, RESTS, OWN_ENERGY, PICKUPS, FADED = 0.15, 0.15, 0.6, 0.2, 0.2
"""Shares of pieces without hits, with rests, following the density of a human performance,
beginning within a bar, and whose energy hardly changes."""


@dataclass(frozen=True)
class ComposerTrainingConfig(LoopConfig):
    """Settings of the composer's training.

    Raises:
        ConfigError: If a value is out of range.
    """

    max_steps: int = 2000
    batch_size: int = 8
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    ema_decay: float = 0.995
    log_every: int = 20
    validate_every: int = 200
    save_every: int = 100
    n_pieces: int = 3000
    """Pieces that the arranger writes once, before the first step."""
    n_held_out: int = 60
    """Pieces of other seeds, on other human performances where there are some."""
    held_out_grooves: str = ""
    """Archive of performances for them, as ``building_tools/pack_grooves.py`` writes it; without,
    those that come along."""
    bars: tuple[int, int] = (8, 72)
    """Fewest and most bars of a piece."""
    events: int = 512
    """Events of a training sample."""
    withheld: float = 0.12
    """Share of samples without the conditions that guide."""
    d_model: int = 192
    n_layers: int = 4
    n_heads: int = 6
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self,
            counts="n_pieces n_held_out events d_model n_layers n_heads",
            shares="withheld dropout",
        )


@dataclass(frozen=True)
class EventBatch:
    """Crops of pieces.

    Attributes:
        before: Values of the event before each; zeros before the first of a piece.
        present: Events that are of the piece.
    """

    ticks: Int64[Tensor, "batch events"]
    values: Int64[Tensor, "batch events fields"]
    before: Int64[Tensor, "batch events fields"]
    conditions: Int64[Tensor, "batch events conditions"]
    present: Bool[Tensor, "batch events"]


@dataclass(frozen=True)
class Piece:
    """A piece as events, beside its conditions."""

    ticks: np.ndarray
    values: np.ndarray
    conditions: np.ndarray


@dataclass
class PieceSet(TrainingSet):
    """Crops of pieces; longer pieces are drawn more often."""

    pieces: list[Piece]
    config: ComposerTrainingConfig
    seed: int
    batch_type: type[EventBatch] = EventBatch
    content_hash: str = field(init=False)
    epoch_size: int = field(init=False)

    def __post_init__(self) -> None:
        lengths = np.array([piece.ticks.size for piece in self.pieces])
        self._odds = lengths / lengths.sum()
        self.content_hash = hash_arrays(piece.values for piece in self.pieces)
        self.epoch_size = max(1, int(lengths.sum()) // self.config.events)

    def sample(self, rng: np.random.Generator, step: int = 0) -> Sample:
        """A crop that begins anywhere, often enough where the piece does."""
        piece = self.pieces[rng.choice(self._odds.size, p=self._odds)]
        length = self.config.events
        start = int(rng.integers(-length // 4, max(1, piece.ticks.size - length // 2)))
        start = max(0, start)
        kept = slice(start, start + length)
        count = piece.ticks[kept].size

        def crop(values: np.ndarray) -> np.ndarray:
            padding = [(0, length - count)] + [(0, 0)] * (values.ndim - 1)
            return np.pad(values[kept].astype(np.int64), padding)

        before = np.concatenate([np.zeros_like(piece.values[:1]), piece.values[:-1]])
        return (
            crop(piece.ticks),
            crop(piece.values),
            crop(before),
            crop(piece.conditions),
            np.arange(length) < count,
        )


def open_pieces(config: ComposerTrainingConfig, output: Path) -> tuple[PieceSet, PieceSet]:
    """Pieces to learn from and held out; written once and kept in the run's directory.

    Raises:
        CheckpointError: If the archive of held-out performances is unusable.
    """
    held_out = read_library(config.held_out_grooves) if config.held_out_grooves else None
    sets = []
    for name, count, first, library in (
        ("pieces", config.n_pieces, 0, released_library()),
        ("held_out", config.n_held_out, 10_000_000, held_out or released_library()),
    ):
        source = {
            "count": count,
            "first": first,
            "bars": list(config.bars),
            "grooves": hash_arrays([library.tick, library.key]),
            "styles": list(style_names()),
        }
        pieces = load_or_make(
            output / f"{name}.npz",
            source,
            lambda count=count, first=first, library=library: write_pieces(  # type: ignore[misc]
                config, range(first, first + count), library
            ),
            lambda piece: {
                "ticks": piece.ticks.astype(np.int32),
                "values": piece.values.astype(np.uint8),
                "conditions": piece.conditions.astype(np.uint8),
            },
            lambda arrays: Piece(arrays["ticks"], arrays["values"], arrays["conditions"]),
        )
        sets.append(PieceSet(pieces, config, config.seed))
    return sets[0], sets[1]


def write_pieces(
    config: ComposerTrainingConfig, numbers: range, library: GrooveLibrary
) -> Iterator[Piece]:
    """A piece for each number, each in another style than the one before."""
    names = style_names()
    for number in numbers:
        rng = np.random.default_rng([config.seed, number])
        style = load_style(names[number % len(names)])
        clock, plan, performance = make_up_dance(style, config.bars, library, rng)
        engaged = library if performance is None else only(library, performance)
        piece = write_arrangement(clock, plan, style, None, rng, library=engaged)
        events = encode(piece.frame, piece.voicings, piece.parts)
        if not events.ticks.size:
            continue
        rows = conditions_of(piece.frame, names)[events.ticks]
        yield Piece(events.ticks, events.values, rows)


def make_up_dance(
    style: Style, bars: tuple[int, int], library: GrooveLibrary, rng: np.random.Generator
) -> tuple[BeatClock, Plan, int | None]:
    """Beats and a plan as a dance in a style might have them.

    Returns:
        The clock, the plan, and the human performance whose density is its energy, if one is.
    """
    n_bars = int(np.exp(rng.uniform(np.log(bars[0]), np.log(bars[1]))))
    metre = int(style.metres[0] if rng.random() < 0.8 else rng.choice(style.metres))
    low, _, high = style.tempo
    bpm = float(np.exp(rng.uniform(np.log(0.9 * low), np.log(1.1 * high))))
    beat_s = 60.0 / bpm
    first = int(rng.integers(metre)) if rng.random() < PICKUPS else 0
    n_beats = n_bars * metre + int(rng.integers(metre))
    numbers = (np.arange(n_beats) + first) % metre + 1
    times = beat_s * (np.arange(n_beats) - rng.uniform(0.0, 0.9))
    duration = float(times[-1] + beat_s * rng.uniform(0.3, 1.0))
    performance = None
    if style.grooves and rng.random() < OWN_ENERGY:
        performance = choose_performance(
            library, style.grooves, bpm=bpm, beats_per_bar=metre, n_bars=n_bars, rng=rng
        )
    levels = (
        _random_energy(n_bars + 2, rng)
        if performance is None
        else np.resize(library.density(performance), n_bars + 2)
    )
    at = np.arange(0.0, duration, 1.0 / ENERGY_RATE)
    energy = levels[np.clip((at / (beat_s * metre)).astype(int), 0, levels.size - 1)]
    rhythm = RhythmTrack(times, numbers, energy.astype(np.float32), ENERGY_RATE, duration)
    clock = BeatClock.from_rhythm(rhythm)
    plan = make_plan(clock, rhythm)
    rests = np.zeros((0, 2))
    if rng.random() < RESTS:
        start = rng.uniform(2.0, max(2.1, duration - 4.0))
        rests = np.array([[start, start + rng.uniform(0.5, 2.5)]])
    return clock, replace(plan, hits=_random_hits(clock, rng), rests=rests), performance


def only(library: GrooveLibrary, performance: int) -> GrooveLibrary:
    """The library with one performance to groove on, and all fills."""
    others = np.arange(library.label.size) != performance
    return replace(library, fills_only=library.fills_only | others)


def _random_energy(n_bars: int, rng: np.random.Generator) -> Float32[np.ndarray, " bars"]:
    """A walk around levels that change every few bars, in [0, 1]."""
    level = float(rng.uniform(0.2, 0.8))
    levels: list[float] = []
    while len(levels) < n_bars:
        levels += [level] * int(rng.choice([4, 4, 8, 8, 6, 3]))
        level = float(np.clip(level + rng.normal(0.0, 0.3), 0.05, 0.95))
    walk = np.convolve(rng.normal(0.0, 0.12, n_bars + 2), [0.5, 0.7, 0.5], "valid")
    spread = 0.2 if rng.random() < FADED else 1.0
    energy = 0.5 + spread * (np.array(levels[:n_bars]) - 0.5 + walk)
    return np.clip(energy, 0.0, 1.0).astype(np.float32)


def _random_hits(clock: BeatClock, rng: np.random.Generator) -> Hits:
    """Hits at times near sixteenths, or anywhere, as dense as dancers make them."""
    if rng.random() < NO_HITS:
        return Hits(np.zeros(0), np.zeros(0))
    count = int(clock.duration_s * rng.uniform(0.1, 0.5))
    beats = rng.uniform(0.0, clock.n_beats, count)
    weights = np.array([0.45, 0.12, 0.28, 0.15])  # on the beat, and on the sixteenths after it
    grid = np.floor(beats) + rng.choice(4, count, p=weights) / 4
    beats = np.where(rng.random(count) < 0.85, grid, beats)
    times: Float64[np.ndarray, " hits"] = clock.seconds(beats) + rng.normal(0.0, 0.02, count)
    times = np.sort(times[(times > 0) & (times < clock.duration_s)])
    apart = np.concatenate([[True], np.diff(times) > 0.45]) if times.size else np.zeros(0, bool)
    times = times[apart]
    return Hits(times, np.clip(rng.beta(2.0, 2.0, times.size), 0.05, 1.0))
