"""Grooves for ballroom dances, composed: Groove MIDI has hardly any of them.

Each is what a drummer plays on a kit where a dance orchestra has its own percussion: the bell
and the toms of a cha-cha for cowbell and congas, the cross-stick of a rumba for the clave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dancetomusic.score.style import DRUM_KEYS
from dancetomusic.synthesis.groove import DRUM_CHANNEL, STYLES, Groove, Note, to_waltz
from dancetomusic.synthesis.tables import read_table, steps_of

N_BARS = 8
PLAYED_SHARE = 0.25
"""Share of ballroom grooves that a drummer played, where some fit."""

_KIN = {
    "cha-cha": ("cha-cha", "latin", "afrocuban"),
    "rumba": ("latin", "afrocuban"),
    "tango": (),
    "waltz": STYLES,
}
SIXTEENTHS = 4
"""Steps a beat of the table."""

FILL_DRUMS = ("snare", "tom2", "tom4", "floor")


@dataclass(frozen=True)
class _Line:
    """What one piece of the kit plays.

    Attributes:
        onsets: In beats, over two bars.
        share: Share of grooves in which it plays.
    """

    pitch: int
    velocity: int
    onsets: tuple[float, ...]
    share: float


@dataclass(frozen=True)
class _Pattern:
    """Two bars of a dance: beats a bar, slowest and fastest tempo, lines."""

    beats_per_bar: int
    bpm: tuple[float, float]
    lines: tuple[_Line, ...]


_PATTERNS = {
    name: _Pattern(
        *(values["beats"], tuple(values["bpm"])),
        tuple(
            _Line(DRUM_KEYS[drum], velocity, tuple(k / SIXTEENTHS for k in steps_of(line)), share)
            for drum, velocity, share, line in values["lines"]
        ),
    )
    for name, values in read_table("ballroom").items()
}


def ballroom_groove(style: str, grooves: Sequence[Groove], rng: np.random.Generator) -> Groove:
    """A groove for a ballroom dance: one that fits of those given, more often a composed one.

    Latin and Afro-Cuban grooves fit cha-cha and rumba, three beats of any bar a waltz; for
    tango there are none.

    ``style`` is one of ``dancetomusic.synthesis.groove.BALLROOM_STYLES``.
    """
    kin = [groove for groove in grooves if groove.style in _KIN[style]]
    if not kin or rng.random() >= PLAYED_SHARE:
        return compose_ballroom(style, rng)
    groove = kin[rng.integers(len(kin))]
    return replace(to_waltz(groove) if style == "waltz" else groove, style=style)


def compose_ballroom(style: str, rng: np.random.Generator) -> Groove:
    """Eight bars of a ballroom style, each time a little different.

    Lines come and go between grooves, hits vary in strength and time as a drummer's do,
    and the fourth and eighth bar may end in a fill.

    ``style`` is one of ``dancetomusic.synthesis.groove.BALLROOM_STYLES``.
    """
    pattern = _PATTERNS[style]
    bar = pattern.beats_per_bar
    lines = [line for line in pattern.lines if rng.random() < line.share]
    fill_every = int(rng.choice([4, 8]))
    notes = []

    def strike(pitch: int, velocity: int, onset: float) -> None:
        time = max(0.0, onset + rng.normal(0, 0.008))
        strength = int(np.clip(velocity * rng.normal(1.0, 0.07), 20, 127))
        notes.append(Note(time, 0.2, pitch, strength, DRUM_CHANNEL))

    for start in range(0, N_BARS * bar, 2 * bar):
        for line in lines:
            for onset in line.onsets:
                if rng.random() > 0.04:
                    strike(line.pitch, line.velocity, start + onset)
    for number in range(fill_every, N_BARS + 1, fill_every):
        if rng.random() < 0.6:
            last = number * bar - 1
            for step, drum in enumerate(rng.choice(FILL_DRUMS, 4)):
                strike(DRUM_KEYS[str(drum)], 70 + 8 * step, last + step / 4)
    return Groove(
        notes=tuple(sorted(notes, key=lambda note: note.time)),
        n_beats=N_BARS * bar,
        beats_per_bar=bar,
        bpm=float(rng.uniform(*pattern.bpm)),
        style=style,
        drummer="composed",
        name=style,
    )
