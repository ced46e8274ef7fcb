"""Rendered scores to learn from: pieces of the arranger, played by the sampler, as codes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int
from scipy.ndimage import gaussian_filter1d

from dancetomusic.codec.base import Codec
from dancetomusic.config import check_ranges
from dancetomusic.io.audio import resample
from dancetomusic.models.pose2audio.score_condition import TimedNotes, timed_notes
from dancetomusic.rhythm.energy import ENERGY_RATE
from dancetomusic.score.arrange import arrange
from dancetomusic.score.mix import sum_stems
from dancetomusic.score.notes import BeatClock
from dancetomusic.score.performance import perform
from dancetomusic.score.plan import make_plan
from dancetomusic.score.style import choose_style, load_style, style_names
from dancetomusic.synthesis.groove import BASSES, HELD_OUT_BASSES, HELD_OUT_KITS, KITS
from dancetomusic.synthesis.songs import wandering_beats
from dancetomusic.training.prepared import load_or_make
from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

SAMPLE_RATE = 24_000
PEAK = 0.7
PIECES_A_FILE = 16
ENERGY_CHANGE_S = 6.0


@dataclass(frozen=True)
class ScoreCorpusConfig:
    """What is rendered."""

    n_pieces: int = 0
    """None by default."""
    seconds: float = 40.0
    """Length of each piece."""
    held_out: bool = False
    """Play the held-out kits and basses of ``synthesis.groove``, which training never plays."""
    varied_share: float = 0.5
    """Share of pieces with any kit and bass that is not held out, in place of the style's own."""
    soundfonts: tuple[str, ...] = ()
    """Files to play from; the one that comes along by default."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, shares="varied_share", weights="n_pieces seed", positive="seconds")


@dataclass(frozen=True)
class PlayedScore:
    """A piece as it is learned from."""

    codes: Int[np.ndarray, "codebooks frames"]
    track: RhythmTrack
    notes: TimedNotes


def load_or_play(
    config: ScoreCorpusConfig, codec: Codec, folder: Path, processes: int
) -> list[PlayedScore]:
    """The pieces of a corpus, from ``folder`` or rendered into it, a file for every 16 of them.

    Rendering that was interrupted goes on with the first file that is missing.

    More pieces of the same settings keep those that are there; ``folder`` is made if it is absent.

    Raises:
        InputError: If a SoundFont is unusable or lacks a preset.
        OutputError: If a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = {**asdict(config), "n_pieces": None}
    pieces: list[PlayedScore] = []
    with ProcessPoolExecutor(processes) as executor:
        for first in range(0, config.n_pieces, PIECES_A_FILE):
            numbers = range(first, min(first + PIECES_A_FILE, config.n_pieces))
            source = [codec.identity, codec.n_codebooks, settings, list(numbers)]

            def render(numbers: Sequence[int] = numbers) -> Iterator[PlayedScore]:
                for sound, track, notes in executor.map(partial(play_piece, config), numbers):
                    yield PlayedScore(codec.encode(sound).codes, track, notes)

            file = folder / f"{first // PIECES_A_FILE:05d}.npz"
            pieces += load_or_make(file, source, render, _pack, _unpack)
    return pieces


def play_piece(config: ScoreCorpusConfig, number: int) -> tuple[Waveform, RhythmTrack, TimedNotes]:
    """A piece in a random style at a tempo of it, with an energy that rises and falls."""
    rng = np.random.default_rng([config.seed, config.held_out, number])
    style = load_style(str(rng.choice(style_names())))
    bpm = float(np.exp(rng.uniform(np.log(style.tempo[0]), np.log(style.tempo[2]))))
    times = wandering_beats(bpm, config.seconds, rng)
    metre = style.metres[0]
    track = RhythmTrack(
        beat_times=times,
        beat_numbers=(np.arange(times.size) + rng.integers(metre)) % metre + 1,
        energy=_energy(config.seconds, rng),
        energy_rate=ENERGY_RATE,
        duration_s=config.seconds,
    )
    sound, notes = play_score(track, (), style.name, rng, config)
    return sound, track, notes


def play_score(
    track: RhythmTrack,
    dancers: Sequence[PoseSequence],
    style: str | None,
    rng: np.random.Generator,
    config: ScoreCorpusConfig,
) -> tuple[Waveform, TimedNotes]:
    """A piece for a rhythm and those who dance to it, in mono, and its notes.

    The style is by default one that suits the rhythm.
    """
    if style is None:
        style = choose_style(track, rng=rng).name
    clock = BeatClock.from_rhythm(track, track.duration_s)
    score = arrange(clock, make_plan(clock, track, dancers), style, None, rng)
    programs = {}
    varied = rng.random() < config.varied_share
    for name, known, held_out in (
        ("drums", KITS, HELD_OUT_KITS),
        ("bass", BASSES, HELD_OUT_BASSES),
    ):
        heard = [program for program in known if program not in held_out]
        if config.held_out:
            programs[name] = int(rng.choice(held_out))
        elif varied or score.track(name).program in held_out:
            programs[name] = int(rng.choice(heard))
    soundfont = str(rng.choice(config.soundfonts)) if config.soundfonts else None
    mix = sum_stems(perform(score, load_style(style), soundfont=soundfont, programs=programs))
    mono = resample(mix.to_mono(), SAMPLE_RATE)
    level = PEAK / max(float(np.abs(mono.samples).max()), 1e-6)
    return Waveform(mono.samples * np.float32(level), SAMPLE_RATE), timed_notes(score, programs)


def _energy(seconds: float, rng: np.random.Generator) -> Float32[np.ndarray, " energy_frames"]:
    """A smooth random curve over most of [0, 1]."""
    n = round(seconds * ENERGY_RATE)
    curve = gaussian_filter1d(rng.normal(size=n), ENERGY_CHANGE_S * ENERGY_RATE / 2, mode="wrap")
    curve = (curve - curve.mean()) / max(float(curve.std()), 1e-6)
    return np.clip(rng.uniform(0.35, 0.65) + 0.2 * curve, 0, 1).astype(np.float32)


def pack_notes(notes: TimedNotes) -> dict[str, np.ndarray]:
    """The arrays of notes by name."""
    return {f"notes_{field.name}": getattr(notes, field.name) for field in fields(notes)}


def unpack_notes(arrays: Mapping[str, np.ndarray]) -> TimedNotes:
    """What ``pack_notes`` was given."""
    return TimedNotes(*(arrays[f"notes_{field.name}"] for field in fields(TimedNotes)))


def _pack(piece: PlayedScore) -> dict[str, np.ndarray]:
    track = piece.track
    return {
        "codes": piece.codes.astype(np.int16),
        "beat_times": track.beat_times,
        "beat_numbers": track.beat_numbers.astype(np.uint8),
        "energy": track.energy.astype(np.float16),
        "duration_s": np.array(track.duration_s),
        **pack_notes(piece.notes),
    }


def _unpack(arrays: Mapping[str, np.ndarray]) -> PlayedScore:
    track = RhythmTrack(
        beat_times=arrays["beat_times"],
        beat_numbers=arrays["beat_numbers"].astype(np.int64),
        energy=arrays["energy"].astype(np.float32),
        energy_rate=ENERGY_RATE,
        duration_s=float(arrays["duration_s"]),
    )
    return PlayedScore(arrays["codes"], track, unpack_notes(arrays))
