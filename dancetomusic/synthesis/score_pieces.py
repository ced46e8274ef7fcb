"""Pieces of the arranger, played by the sampler: music to learn from, with its score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int16
from scipy.ndimage import gaussian_filter1d

from dancetomusic.config import check_ranges
from dancetomusic.io.audio import fit_length, resample
from dancetomusic.rhythm.energy import ENERGY_RATE
from dancetomusic.score.arrange import arrange
from dancetomusic.score.mix import sum_stems
from dancetomusic.score.notes import BeatClock, Score
from dancetomusic.score.performance import perform
from dancetomusic.score.plan import make_plan
from dancetomusic.score.style import choose_style, load_style, style_names
from dancetomusic.synthesis.corpus import load_or_render_sounds
from dancetomusic.synthesis.groove import BASSES, HELD_OUT_BASSES, HELD_OUT_KITS, KITS
from dancetomusic.synthesis.songs import wandering_beats
from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

SAMPLE_RATE = 24_000
PEAK = 0.7
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


def load_or_play_sounds(
    config: ScoreCorpusConfig, cache: Path
) -> Int16[np.ndarray, "pieces samples"]:
    """The sounds of all pieces as 16-bit integers, memory-mapped, from ``cache`` or played into it.

    Raises:
        InputError: If a SoundFont is unusable or lacks a preset.
        OutputError: If a file cannot be written.
    """
    shape = (config.n_pieces, round(config.seconds * SAMPLE_RATE))
    settings, defaults = asdict(config), asdict(ScoreCorpusConfig())
    render = partial(_sound_row, config)
    return load_or_render_sounds(cache, settings, defaults, lambda: render, shape)[0]


def _sound_row(
    config: ScoreCorpusConfig, number: int
) -> tuple[Int16[np.ndarray, " samples"], None]:
    sound, _, _ = play_piece(config, number)
    whole = fit_length(sound, round(config.seconds * SAMPLE_RATE))
    return (whole.samples[0] * 32767).astype(np.int16), None


def play_piece(config: ScoreCorpusConfig, number: int) -> tuple[Waveform, RhythmTrack, Score]:
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
    sound, score = play_score(track, (), style.name, rng, config)
    return sound, track, score


def play_score(
    track: RhythmTrack,
    dancers: Sequence[PoseSequence],
    style: str | None,
    rng: np.random.Generator,
    config: ScoreCorpusConfig,
) -> tuple[Waveform, Score]:
    """A piece for a rhythm and those who dance to it, in mono, and its score as it is played.

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
    tracks = (replace(t, program=programs.get(t.name, t.program)) for t in score.tracks)
    return Waveform(mono.samples * np.float32(level), SAMPLE_RATE), replace(
        score, tracks=tuple(tracks)
    )


def _energy(seconds: float, rng: np.random.Generator) -> Float32[np.ndarray, " energy_frames"]:
    """A smooth random curve over most of [0, 1]."""
    n = round(seconds * ENERGY_RATE)
    curve = gaussian_filter1d(rng.normal(size=n), ENERGY_CHANGE_S * ENERGY_RATE / 2, mode="wrap")
    curve = (curve - curve.mean()) / max(float(curve.std()), 1e-6)
    return np.clip(rng.uniform(0.35, 0.65) + 0.2 * curve, 0, 1).astype(np.float32)
