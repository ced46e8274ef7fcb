"""A corpus of rendered drum-and-bass pieces with exact beats, cached on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Int16

from dancetomusic.io.atomic import atomic_output
from dancetomusic.synthesis.ballroom import ballroom_groove, compose_ballroom
from dancetomusic.synthesis.groove import (
    BALLROOM_STYLES,
    BASSES,
    HARMONY_PROGRAMS,
    HELD_OUT_BASSES,
    HELD_OUT_KITS,
    KITS,
    STYLES,
    Groove,
    Sound,
    arrange,
    compose_bass,
    compose_harmony,
    load_grooves,
    plays_straight,
    render,
    select_grooves,
    style_of_label,
    to_waltz,
)
from dancetomusic.types import Waveform

SAMPLE_RATE = 24_000


@dataclass(frozen=True)
class CorpusConfig:
    """What is rendered."""

    n_pieces: int = 270
    seconds: float = 40.0
    """Length of each piece."""
    held_out: bool = False
    """Render held-out drummers, kits and basses instead of the training ones."""
    waltz_share: float = 0.25
    """Share of pieces in 3/4: waltzes, and other grooves cut to three beats."""
    harmony_share: float = 0.0
    """Share of pieces with chords and a melody."""
    balanced_share: float = 0.0
    """Share of pieces of which the style is chosen first, evenly and with the composed ballroom
    grooves; of the others it is a groove."""
    swing_share: float = 0.0
    """Share of pieces whose off-beats are delayed, of those that do not swing by themselves."""
    seed: int = 0


@dataclass(frozen=True)
class Corpus:
    """Rendered pieces.

    Attributes:
        samples: Sound as 16-bit integers at 24 kHz, memory-mapped.
        swings: Per piece, how late its off-beats were made, from 0 to 1.
    """

    samples: Int16[np.ndarray, "pieces samples"]
    beat_times: list[Float[np.ndarray, " _"]]
    beat_numbers: list[Int[np.ndarray, " _"]]
    styles: list[str]
    swings: list[float]


def load_or_render(config: CorpusConfig, grooves: Path | str, cache: Path | str) -> Corpus:
    """Read the corpus from ``cache``, or render it with every core and keep it there."""

    def prepare() -> Callable[[int], tuple[np.ndarray, Any]]:
        pool = select_grooves(load_grooves(grooves), held_out=config.held_out)
        return partial(_render_piece, config, pool)

    shape = (config.n_pieces, round(config.seconds * SAMPLE_RATE))
    samples, pieces = load_or_render_sounds(
        Path(cache), vars(config), vars(CorpusConfig()), prepare, shape
    )
    return Corpus(
        samples=samples,
        beat_times=[np.array(p["beat_times"]) for p in pieces],
        beat_numbers=[np.array(p["beat_numbers"]) for p in pieces],
        styles=[style_of_label(p["style"]) for p in pieces],
        swings=[p.get("swing", 0.0) for p in pieces],
    )


def load_or_render_sounds(
    directory: Path,
    settings: Mapping[str, Any],
    defaults: Mapping[str, Any],
    prepare: Callable[[], Callable[[int], tuple[np.ndarray, Any]]],
    shape: tuple[int, ...],
) -> tuple[Int16[np.ndarray, "pieces samples"], list[Any]]:
    """Read sounds and what is known of each from a directory, or render them and keep them there.

    Args:
        directory: Made if it is absent.
        settings: Plain values that decide the sounds; those of other settings are replaced.
        defaults: Of settings that a directory from before them does not name.
        prepare: Gives what ``render_rows`` renders with; called if there is something to render.
        shape: How many sounds of how many samples.
    """
    directory.mkdir(parents=True, exist_ok=True)
    sound_file, index_file = directory / "samples.npy", directory / "index.json"
    wanted = json.loads(json.dumps(settings))
    index = json.loads(index_file.read_text()) if index_file.is_file() else {}
    if not index or {**defaults, **index["config"]} != wanted:
        index_file.unlink(missing_ok=True)  # it would be that of other sounds
        index = {"config": wanted, "pieces": render_rows(sound_file, prepare(), shape, np.int16)}
        with atomic_output(index_file) as temporary:
            temporary.write_text(json.dumps(index))
    return np.load(sound_file, mmap_mode="r"), index["pieces"]


def render_rows(
    file: Path,
    render: Callable[[int], tuple[np.ndarray, Any]],
    shape: tuple[int, ...],
    dtype: type[np.generic],
) -> list[Any]:
    """Render the rows of an array with every core into an ``.npy`` file.

    ``render`` gives a row by its number, and what is to be known about it; the latter are returned.
    """
    entries = []
    with atomic_output(file) as temporary, ProcessPoolExecutor() as executor:
        rows = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=shape)
        rendered = executor.map(render, range(shape[0]), chunksize=4)
        for number, (row, entry) in enumerate(rendered):
            rows[number] = row
            entries.append(entry)
        rows.flush()
    return entries


def waveform_of_piece(corpus: Corpus, number: int) -> Waveform:
    """One piece of the corpus as sound."""
    return Waveform(corpus.samples[number][None].astype(np.float32) / 32768, SAMPLE_RATE)


def _render_piece(
    config: CorpusConfig, pool: list[Groove], number: int
) -> tuple[Int16[np.ndarray, " samples"], dict[str, object]]:
    rng = np.random.default_rng([config.seed, number])
    balanced = config.balanced_share > 0 and rng.random() < config.balanced_share
    groove = _choose_of_any_style(pool, rng) if balanced else pool[rng.integers(len(pool))]
    if rng.random() < config.waltz_share:
        groove = ballroom_groove("waltz", pool, rng) if balanced else to_waltz(groove)
    if groove.n_beats > 64:
        groove = replace(groove, notes=tuple(n for n in groove.notes if n.time < 63.9), n_beats=(
            64 // groove.beats_per_bar * groove.beats_per_bar))  # fmt: skip
    sound = random_sound(rng, held_out=config.held_out)
    parts = list(compose_bass(groove, rng))
    if rng.random() < config.harmony_share:
        sound = replace(sound, harmony=int(rng.choice(HARMONY_PROGRAMS)))
        parts += compose_harmony(groove, rng)
    period = 60.0 / float(np.clip(groove.bpm * rng.uniform(0.75, 1.35), 60, 190))
    beat_times = rng.uniform(0, period) + np.arange(int(config.seconds / period)) * period
    offset = int(rng.integers(groove.beats_per_bar))
    beat_numbers = (np.arange(beat_times.size) + offset) % groove.beats_per_bar + 1
    dynamics = random_dynamics(beat_times.size, rng) if rng.random() < 0.6 else None
    swing = 0.0
    if config.swing_share and plays_straight(groove):
        swing = float(rng.uniform()) * (rng.random() < config.swing_share)
    notes = arrange(
        groove, parts, beat_times, beat_numbers, dynamics=dynamics, rng=rng, swing=swing
    )
    samples = render(notes, sound, config.seconds, sample_rate=SAMPLE_RATE).samples[0]
    loudest = np.abs(samples).max() + 1e-6
    scaled = samples * (rng.uniform(0.5, 0.95) / loudest)
    entry = {
        "beat_times": beat_times.round(6).tolist(),
        "beat_numbers": beat_numbers.tolist(),
        "style": groove.style,
        "groove": groove.name,
        "swing": round(swing, 4),
    }
    return (scaled * 32767).astype(np.int16), entry


def _choose_of_any_style(pool: list[Groove], rng: np.random.Generator) -> Groove:
    """A groove of a style chosen first; most ballroom grooves are composed."""
    style = STYLES[rng.integers(len(STYLES))]
    played = [groove for groove in pool if groove.style == style]
    if style in BALLROOM_STYLES and (not played or rng.random() < 0.8):
        return compose_ballroom(style, rng)
    if not played:
        return pool[rng.integers(len(pool))]
    return played[rng.integers(len(played))]


def random_sound(rng: np.random.Generator, *, held_out: bool = False) -> Sound:
    """A kit and a bass, from the training instruments or from the held-out ones."""
    kits = HELD_OUT_KITS if held_out else tuple(set(KITS) - set(HELD_OUT_KITS))
    basses = HELD_OUT_BASSES if held_out else tuple(set(BASSES) - set(HELD_OUT_BASSES))
    return Sound(
        kit=int(rng.choice(sorted(kits))),
        bass=int(rng.choice(sorted(basses))),
        reverb=bool(rng.random() < 0.6),
    )


def random_dynamics(n_beats: int, rng: np.random.Generator) -> Float[np.ndarray, " beats"]:
    """A slowly wandering intensity in [0, 1], one value a beat."""
    knots = rng.uniform(0, 1, max(2, n_beats // 8 + 2))
    return np.interp(np.linspace(0, knots.size - 1, n_beats), np.arange(knots.size), knots)
