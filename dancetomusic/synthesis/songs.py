"""Songs with exact beats: what a beat tracker of real music learns from.

Drums are human grooves or programmed dance patterns, with bass, chords and a melody around them;
some stretches have no drums, tempi drift as a band's do, and the sound is coloured as a phone
records it in a room. Beats and bars are known exactly because the notes are generated on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, fftconvolve, sosfilt

from dancetomusic.score.style import DRUM_KEYS
from dancetomusic.synthesis.groove import (
    BASS_CHANNEL,
    BASSES,
    DRUM_CHANNEL,
    HARMONY_CHANNEL,
    HARMONY_PROGRAMS,
    KITS,
    LEAD_CHANNEL,
    Groove,
    Note,
    Sound,
    arrange,
    compose_bass,
    render,
    to_waltz,
)
from dancetomusic.synthesis.tables import read_table, steps_of
from dancetomusic.types import Waveform

LEAD_PROGRAMS = (0, 11, 21, 22, 25, 27, 40, 53, 54, 56, 61, 65, 68, 73, 75, 80, 81, 84, 104)
SLOWEST_BPM, FASTEST_BPM = 62.0, 190.0

_CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 3, 7, 10), (0, 4, 7, 11), (0, 7, 12))
_PROGRESSIONS = (
    (0, 7, 9, 5),
    (0, 5, 7, 0),
    (9, 5, 0, 7),
    (0, 0, 5, 7),
    (0, 10, 8, 7),
    (0, 8, 3, 10),
)


class Pattern(NamedTuple):
    """A programmed drum pattern.

    Attributes:
        bpm: Range of tempi that it is played at.
        onsets: Per General MIDI drum, the steps of the bar that it plays.
    """

    beats_per_bar: int
    steps_per_beat: int
    bpm: tuple[float, float]
    onsets: dict[int, tuple[int, ...]]


PATTERNS = {
    name: Pattern(
        *(metre["beats"], metre["steps"], tuple(metre["bpm"])),
        {DRUM_KEYS[drum]: steps_of(line) for drum, line in lines.items()},
    )
    for name, values in read_table("songs").items()
    for metre, lines in [(values.pop("metre"), values)]
}
"""Drum patterns that people dance to, beside the grooves that drummers played."""


@dataclass(frozen=True)
class Song:
    """A rendered song."""

    waveform: Waveform
    beat_times: Float[np.ndarray, " beats"]
    beat_numbers: Int[np.ndarray, " beats"]


def make_song(grooves: Sequence[Groove], seconds: float, rng: np.random.Generator) -> Song:
    """Compose and render a song of a random style, tempo, key and sound.

    Raises:
        DependencyError: If FluidSynth or its SoundFont is missing.
    """
    if rng.random() < 0.5:
        groove = grooves[int(rng.integers(len(grooves)))]
        groove = to_waltz(groove) if rng.random() < 0.1 else groove
        bpm = float(np.clip(groove.bpm * rng.uniform(0.8, 1.25), SLOWEST_BPM, FASTEST_BPM))
    else:
        names = sorted(PATTERNS)
        groove, bpm = program_groove(PATTERNS[names[rng.integers(len(names))]], rng)
    beat_times = wandering_beats(bpm, seconds, rng)
    offset = int(rng.integers(groove.beats_per_bar))
    numbers = (np.arange(beat_times.size) + offset) % groove.beats_per_bar + 1
    parts = [*compose_bass(groove, rng), *compose_chords(groove, rng), *compose_lead(groove, rng)]
    notes = arrange(groove, parts, beat_times, numbers)
    notes = _mute(notes, beat_times, groove.beats_per_bar, rng)
    sound = Sound(
        kit=int(rng.choice(KITS)),
        bass=int(rng.choice(BASSES)),
        harmony=int(rng.choice(HARMONY_PROGRAMS)),
        lead=int(rng.choice(LEAD_PROGRAMS)),
        reverb=bool(rng.random() < 0.6),
        gain=0.5,
    )
    rendered = render(_rebalance(notes, rng), sound, seconds)
    return Song(colour(rendered, rng), beat_times, numbers)


def program_groove(pattern: Pattern, rng: np.random.Generator) -> tuple[Groove, float]:
    """Eight bars of a drum pattern, each bar a little different, and a tempo for it."""
    steps = pattern.beats_per_bar * pattern.steps_per_beat
    loudness = {drum: rng.uniform(55, 115) for drum in pattern.onsets}
    missing = {drum: rng.random() < 0.15 for drum in pattern.onsets}
    looseness = rng.uniform(0.0, 0.012)
    notes = []
    for bar in range(8):
        fill = bar % 4 == 3 and rng.random() < 0.5
        for drum, onsets in pattern.onsets.items():
            varied = [s for s in onsets if rng.random() > 0.06]
            if rng.random() < 0.2:
                varied.append(int(rng.integers(steps)))
            if missing[drum] and len(pattern.onsets) > 2:
                continue
            for step in sorted(set(varied)):
                if fill and step >= steps - pattern.steps_per_beat:
                    continue
                accent = 1.0 if step % pattern.steps_per_beat == 0 else rng.uniform(0.6, 1.0)
                time = bar * pattern.beats_per_bar + step / pattern.steps_per_beat
                velocity = int(np.clip(loudness[drum] * accent + rng.normal(0, 5), 12, 127))
                notes.append(
                    Note(time + rng.normal(0, looseness), 0.2, drum, velocity, DRUM_CHANNEL)
                )
        if fill:
            for step in range(pattern.steps_per_beat):
                time = (bar + 1) * pattern.beats_per_bar - 1 + step / pattern.steps_per_beat
                drum = int(rng.choice([38, 41, 45, 48]))
                notes.append(Note(time, 0.2, drum, int(rng.integers(70, 120)), DRUM_CHANNEL))
    groove = Groove(
        notes=tuple(sorted(notes, key=lambda note: note.time)),
        n_beats=8 * pattern.beats_per_bar,
        beats_per_bar=pattern.beats_per_bar,
        bpm=0.0,
        style="",
        drummer="",
        name="",
    )
    return groove, float(rng.uniform(*pattern.bpm))


def wandering_beats(
    bpm: float, seconds: float, rng: np.random.Generator
) -> Float[np.ndarray, " beats"]:
    """Beats of a steady tempo, or of one that drifts by a few per cent as a band's does."""
    n_beats = int(seconds * bpm / 60 * 1.2) + 2
    spread = float(rng.choice([0.0, 0.0, 0.0, 0.005, 0.02, 0.05]))
    drift = gaussian_filter1d(rng.normal(size=n_beats), 16, mode="nearest")
    drift *= spread / max(float(np.abs(drift).max()), 1e-6)
    times = rng.uniform(0, 60 / bpm) + np.concatenate([[0.0], np.cumsum(60 / bpm * (1 + drift))])
    return times[times < seconds]


def compose_chords(groove: Groove, rng: np.random.Generator) -> list[Note]:
    """A chord for each bar, held, played on the beats or off them, or broken."""
    habit = str(rng.choice(["held", "beats", "off-beats", "eighths", "broken", "syncopated"]))
    key, chord = int(rng.integers(48, 62)), _CHORDS[rng.integers(len(_CHORDS))]
    progression = _PROGRESSIONS[rng.integers(len(_PROGRESSIONS))]
    bar_beats = groove.beats_per_bar
    places = {
        "held": [0.0],
        "beats": [float(k) for k in range(bar_beats)],
        "off-beats": [k + 0.5 for k in range(bar_beats)],
        "eighths": [k / 2 for k in range(2 * bar_beats)],
        "broken": [k / 4 for k in range(4 * bar_beats)],
        "syncopated": [k * 0.75 for k in range(int(bar_beats / 0.75))],
    }[habit]
    length = bar_beats * 0.95 if habit == "held" else 0.3
    notes = []
    for bar in range(groove.n_beats // bar_beats):
        root = key + progression[bar % 4]
        for count, place in enumerate(places):
            tones = [chord[count % len(chord)]] if habit == "broken" else chord
            start = bar * bar_beats + place
            notes += [
                Note(start, length, root + tone, int(rng.integers(48, 80)), HARMONY_CHANNEL)
                for tone in tones
            ]
    return notes


def compose_lead(groove: Groove, rng: np.random.Generator) -> list[Note]:
    """A two-bar motif that returns, varied, at some distance from the beat."""
    scale = np.array([0, 2, 3, 5, 7, 10, 12, 14]) + int(rng.integers(58, 72))
    bar_beats = groove.beats_per_bar
    unit = float(rng.choice([0.25, 0.5, 0.5, 1.0, 1 / 3]))
    slots = int(2 * bar_beats / unit)
    motif = rng.random(slots) < rng.uniform(0.2, 0.7)
    tones = rng.integers(0, scale.size, slots)
    notes = []
    for pair in range(groove.n_beats // bar_beats // 2):
        for slot in np.flatnonzero(motif):
            if rng.random() < 0.15:
                continue
            time = pair * 2 * bar_beats + slot * unit + rng.normal(0, 0.02)
            velocity = int(rng.integers(60, 105))
            length = unit * rng.uniform(0.5, 2.0)
            notes.append(
                Note(max(0.0, time), length, int(scale[tones[slot]]), velocity, LEAD_CHANNEL)
            )
    return notes


def colour(waveform: Waveform, rng: np.random.Generator) -> Waveform:
    """Sound as it reaches a video: compressed, in a room, through a loudspeaker and a phone."""
    samples = waveform.samples[0].astype(np.float64)
    rate = waveform.sample_rate
    samples /= np.abs(samples).max() + 1e-6
    if rng.random() < 0.5:  # side-chain-like compression and clipping of a loud master
        drive = rng.uniform(1.5, 6.0)
        samples = np.tanh(drive * samples) / np.tanh(drive)
    if rng.random() < 0.35:  # exponentially decaying noise as the room's impulse response
        decay_s, wet = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.8)
        t = np.arange(int(decay_s * rate)) / rate
        response = rng.normal(size=t.size) * np.exp(-6.9 * t / decay_s)
        response /= np.sqrt(np.square(response).sum())
        samples = (1 - wet) * samples + wet * fftconvolve(samples, response)[: samples.size]
    if rng.random() < 0.35:  # a small loudspeaker or a phone's microphone
        low, high = rng.uniform(60, 500), rng.uniform(3000, 10_000)
        samples = sosfilt(butter(2, [low, high], "bandpass", fs=rate, output="sos"), samples)
    if rng.random() < 0.4:
        noise = gaussian_filter1d(rng.normal(size=samples.size), rng.uniform(0.3, 3.0))
        noise *= np.sqrt(np.square(samples).mean() / np.square(noise).mean())
        samples = samples + 10 ** (rng.uniform(-40, -8) / 20) * noise
    samples *= rng.uniform(0.1, 0.95) / (np.abs(samples).max() + 1e-6)
    return Waveform(samples[None].astype(np.float32), rate)


def _mute(
    notes: list[Note],
    beat_times: Float[np.ndarray, " beats"],
    bar_beats: int,
    rng: np.random.Generator,
) -> list[Note]:
    """Leave instruments out for phrases of four bars, as introductions and breaks do."""
    phrase = 4 * bar_beats
    n_phrases = beat_times.size // phrase + 2
    chance = {DRUM_CHANNEL: 0.15, BASS_CHANNEL: 0.2, HARMONY_CHANNEL: 0.3, LEAD_CHANNEL: 0.45}
    silent = {channel: rng.random(n_phrases) < share for channel, share in chance.items()}
    # Something has to play: where all but the lead are silent, the chords are not.
    silent[HARMONY_CHANNEL] &= ~(silent[DRUM_CHANNEL] & silent[BASS_CHANNEL])
    starts = np.array([note.time for note in notes])
    phrases = np.maximum(np.searchsorted(beat_times, starts + 0.05) - 1, 0) // phrase
    return [
        note
        for note, number in zip(notes, phrases, strict=True)
        if not silent[note.channel][min(int(number), n_phrases - 1)]
    ]


def _rebalance(notes: list[Note], rng: np.random.Generator) -> list[Note]:
    """Mix the instruments at random levels."""
    gains = {
        channel: rng.uniform(0.45, 1.1)
        for channel in (DRUM_CHANNEL, BASS_CHANNEL, HARMONY_CHANNEL, LEAD_CHANNEL)
    }
    return [
        replace(note, velocity=int(np.clip(note.velocity * gains[note.channel], 8, 127)))
        for note in notes
    ]
