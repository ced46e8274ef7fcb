"""Grooves for ballroom dances, composed: Groove MIDI has hardly any of them.

Each is what a drummer plays on a kit where a dance orchestra has its own percussion: the bell
and the toms of a cha-cha for cowbell and congas, the cross-stick of a rumba for the clave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dancetomusic.synthesis.groove import DRUM_CHANNEL, STYLES, Groove, Note, to_waltz

N_BARS = 8
PLAYED_SHARE = 0.25
"""Share of ballroom grooves that a drummer played, where some fit."""

_KIN = {
    "cha-cha": ("cha-cha", "latin", "afrocuban"),
    "rumba": ("latin", "afrocuban"),
    "tango": (),
    "waltz": STYLES,
}
KICK, STICK, SNARE, HAT, LOW_TOM, PEDAL, TOM, HIGH_TOM, RIDE, BELL = (
    *(36, 37, 38, 42, 43),
    *(44, 45, 48, 51, 53),
)


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
    share: float = 1.0


@dataclass(frozen=True)
class _Pattern:
    """Two bars of a dance: beats a bar, slowest and fastest tempo, lines."""

    beats_per_bar: int
    bpm: tuple[float, float]
    lines: tuple[_Line, ...]


_BEATS = tuple(float(beat) for beat in range(8))
_OFFBEATS = tuple(beat + 0.5 for beat in range(8))
_EIGHTHS = tuple(beat / 2 for beat in range(16))
_PATTERNS = {
    "cha-cha": _Pattern(
        4,
        (108.0, 130.0),
        (
            _Line(BELL, 88, _BEATS),
            _Line(KICK, 100, (0.0, 2.0, 4.0, 6.0)),
            _Line(KICK, 84, (1.5, 5.5), 0.5),
            _Line(STICK, 94, (1.0, 5.0)),
            _Line(TOM, 96, (3.0, 3.5, 7.0, 7.5)),
            _Line(HIGH_TOM, 78, (5.5, 6.0), 0.4),
            _Line(HAT, 58, _OFFBEATS, 0.6),
        ),
    ),
    "rumba": _Pattern(
        4,
        (92.0, 112.0),
        (
            _Line(HAT, 62, _EIGHTHS),
            _Line(STICK, 96, (0.0, 1.5, 3.0, 5.0, 6.0)),
            _Line(KICK, 92, (0.0, 2.0, 4.0, 6.0)),
            _Line(KICK, 78, (3.0, 7.0), 0.5),
            _Line(LOW_TOM, 88, (3.0, 3.5, 7.0, 7.5)),
            _Line(HIGH_TOM, 72, (1.0, 5.0), 0.5),
        ),
    ),
    "tango": _Pattern(
        4,
        (116.0, 136.0),
        (
            _Line(KICK, 104, (0.0, 2.0, 4.0, 6.0)),
            _Line(KICK, 90, (1.0, 3.0, 5.0, 7.0), 0.7),
            _Line(SNARE, 62, _BEATS),
            _Line(SNARE, 98, (3.5, 7.5)),
            _Line(SNARE, 56, (3.75, 7.75), 0.5),
            _Line(STICK, 84, (1.5, 5.5), 0.4),
            _Line(PEDAL, 70, (1.0, 3.0, 5.0, 7.0), 0.5),
        ),
    ),
    "waltz": _Pattern(
        3,
        (84.0, 150.0),
        (
            _Line(KICK, 106, (0.0, 3.0)),
            _Line(PEDAL, 86, (1.0, 2.0, 4.0, 5.0)),
            _Line(SNARE, 56, (1.0, 2.0, 4.0, 5.0), 0.7),
            _Line(RIDE, 72, (0.0, 1.0, 2.0, 3.0, 4.0, 5.0), 0.6),
            _Line(RIDE, 60, (2.5, 5.5), 0.4),
        ),
    ),
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
            for step, pitch in enumerate(rng.choice([SNARE, HIGH_TOM, TOM, LOW_TOM], 4)):
                strike(int(pitch), 70 + 8 * step, last + step / 4)
    return Groove(
        notes=tuple(sorted(notes, key=lambda note: note.time)),
        n_beats=N_BARS * bar,
        beats_per_bar=bar,
        bpm=float(rng.uniform(*pattern.bpm)),
        style=style,
        drummer="composed",
        name=style,
    )
