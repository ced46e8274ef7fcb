"""Loudness of presets, measured by playing them, and levelled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from building_tools.soundfont.sounds import BASS, TARGET_LUFS, SoundSet, louder, role
from dancetomusic.io.loudness import frame_hop, weighted_power
from dancetomusic.score.notes import BeatClock, Notes, Score, Track
from dancetomusic.score.sampler import SAMPLE_RATE, render_stems
from dancetomusic.score.soundfont import DRUM_BANK, Gen, Preset, SoundFont
from dancetomusic.types import Waveform

WINDOW_S = 0.4
OFFSET_DB = -0.691  # of BS.1770
VELOCITY = 100
KICKS = (35, 36)
KICK_LESS_DB = 3.0
BASS_KEYS, OTHER_KEYS = (33, 38, 43), (60, 67, 72)
BAR = (36, 42, 38, 42, 36, 42, 38, 46)
"""A bar of eighth notes by which a kit's loudness is measured."""


def loudest(samples: Float32[np.ndarray, "channels samples"]) -> float:
    """Loudness of the loudest 400 ms, in LUFS, without gates (momentary loudness of EBU R 128)."""
    power = weighted_power(Waveform(samples, SAMPLE_RATE))
    length = round(WINDOW_S * SAMPLE_RATE / frame_hop(SAMPLE_RATE))
    summed = np.concatenate([[0.0], np.cumsum(np.pad(power, (0, length)))])
    mean = float((summed[length:] - summed[:-length]).max()) / length
    return OFFSET_DB + 10 * float(np.log10(mean + 1e-12))


def play(
    font: SoundFont, program: int, keys: Iterable[int], *, drums: bool, seconds: float = 1.0
) -> Float32[np.ndarray, "channels samples"]:
    """Keys of a preset one after another, each of some length, at velocity 100."""
    notes = Notes.of((place, 0.9, key, VELOCITY) for place, key in enumerate(keys))
    beats = np.arange(len(notes) + 2)
    clock = BeatClock(beats * seconds, (beats % 4 + 1).astype(np.int64))
    score = Score(clock, (Track("track", program, drums, notes),))
    [(_, sound)] = render_stems(score, font)
    return sound.samples


def loudness(font: SoundFont, bank: int, program: int) -> float:
    """How loud a preset is at velocity 100: of a kit, a bar; else the mean of three notes."""
    if bank == DRUM_BANK:
        return loudest(play(font, program, BAR, drums=True, seconds=0.25))
    keys = BASS_KEYS if program in BASS else OTHER_KEYS
    notes = [loudest(play(font, program, [key], drums=False)) for key in keys]
    return float(np.mean(notes))


def match_kits(sounds: SoundSet, font: SoundFont, kits: Iterable[int], model: int) -> None:
    """Give each stroke that a kit has of its own the loudness it has in the model kit.

    Kicks are matched by their peak, less 3 dB: loudness hardly counts the lowest octave, and
    electronic ones ring much longer.
    """
    shared = {id(region) for region in sounds.presets[DRUM_BANK, model].regions}
    shared_samples = {region.sample for region in sounds.presets[DRUM_BANK, model].regions}
    for kit in kits:
        preset = sounds.presets[DRUM_BANK, kit]
        gains: dict[int, float] = {}
        regions = []
        for region in preset.regions:
            key = region.keys[0]
            if id(region) not in shared and region.sample not in shared_samples:
                if key not in gains:
                    measure = _peak_db if key in KICKS else loudest
                    gains[key] = _difference(font, measure, key, model, kit)
                    gains[key] -= KICK_LESS_DB if key in KICKS else 0.0
                change = round(-gains[key] * 10 / 0.4)
                value = int(np.clip(region[Gen.ATTENUATION] + change, 0, 1440))
                region = replace(region, generators={**region.generators, Gen.ATTENUATION: value})
            regions.append(region)
        sounds.presets[DRUM_BANK, kit] = replace(preset, regions=tuple(regions))


def level(sounds: SoundSet, font: SoundFont) -> dict[tuple[int, int], float]:
    """Bring each preset to its role's loudness as far as its attenuation allows.

    Args:
        sounds: Changed in place.
        font: The same presets, written and opened.

    Returns:
        By bank and program, the loudness measured before, in LUFS.
    """
    measured = {place: loudness(font, *place) for place in sounds.presets}
    for (bank, program), found in measured.items():
        target = TARGET_LUFS["drums" if bank == DRUM_BANK else role(program)]
        preset: Preset = sounds.presets[bank, program]
        sounds.presets[bank, program] = louder(preset, target - found)
    return measured


def _peak_db(samples: np.ndarray) -> float:
    return float(20 * np.log10(np.abs(samples).max() + 1e-9))


def _difference(
    font: SoundFont, measure: Callable[[np.ndarray], float], key: int, model: int, kit: int
) -> float:
    """How much louder a key is in the model kit than in another, in dB."""
    ours = measure(play(font, kit, [key], drums=True))
    wanted = measure(play(font, model, [key], drums=True))
    return wanted - ours
