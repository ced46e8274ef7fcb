"""Functional harmony: keys, chords in roman numerals, progressions with cadences, voice leading."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, pairwise

import numpy as np

from dancetomusic.errors import InputError

NOTE_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
"""Names of the twelve pitch classes as keys are spelt here."""

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "blues": (0, 3, 5, 6, 7, 10),
    "minor-pentatonic": (0, 3, 5, 7, 10),
    "major-pentatonic": (0, 2, 4, 7, 9),
}
"""Scales that melodies are drawn from, in semitones above the tonic."""

_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_DEGREES = {"i": 0, "ii": 1, "iii": 2, "iv": 3, "v": 4, "vi": 5, "vii": 6}
_NUMERAL = re.compile(r"^([b#]?)(VII|VI|IV|V|III|II|I|vii|vi|iv|v|iii|ii|i)(.*)$")
_KEY = re.compile(r"^\s*([A-Ga-g])([#b]?)\s+(major|minor)\s*$")

QUALITIES = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "5": (0, 7),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11),
    "mmaj7": (0, 3, 7, 11),
    "9": (0, 4, 7, 10, 14),
    "m9": (0, 3, 7, 10, 14),
    "maj9": (0, 4, 7, 11, 14),
    "add9": (0, 4, 7, 14),
    "madd9": (0, 3, 7, 14),
    "7b9": (0, 4, 7, 10, 13),
    "7sus4": (0, 5, 7, 10),
    "sus4": (0, 5, 7),
    "sus2": (0, 2, 7),
    "dim": (0, 3, 6),
    "dim7": (0, 3, 6, 9),
    "m7b5": (0, 3, 6, 10),
    "aug": (0, 4, 8),
}


@dataclass(frozen=True)
class Key:
    """A key.

    Attributes:
        tonic: Pitch class, 0 = C.
        mode: ``"major"`` or ``"minor"``.
    """

    tonic: int
    mode: str

    def __str__(self) -> str:
        return f"{NOTE_NAMES[self.tonic % 12]} {self.mode}"


@dataclass(frozen=True)
class Chord:
    """A chord of a key.

    Attributes:
        root: Pitch class.
        intervals: Semitones above the root, the root's 0 first.
        numeral: As it was written.
    """

    root: int
    intervals: tuple[int, ...]
    numeral: str

    @property
    def classes(self) -> tuple[int, ...]:
        """Pitch classes in the order of ``intervals``."""
        return tuple((self.root + interval) % 12 for interval in self.intervals)

    @property
    def clear(self) -> tuple[int, ...]:
        """Pitch classes of the chord that lie a semitone above none of its others.

        A melody may rest on these; the root over its own major seventh it should not.
        """
        classes = self.classes
        return tuple(c for c in classes if (c - 1) % 12 not in classes) or classes

    def degree(self, number: int) -> int:
        """Semitones from the root to the chord's third (3), fifth (5) or seventh (7).

        A chord without a third gives its fourth or second, one without a seventh its octave.
        """
        nearest = {3: (2, 5), 5: (6, 8), 7: (9, 11)}[number]
        inside = [i for i in self.intervals if nearest[0] <= i <= nearest[1]]
        if number == 7:
            return inside[-1] if inside and len(self.intervals) > 3 else 12
        return inside[0] if inside else {3: 7, 5: 7}[number]


Bar = tuple[Chord, ...]
"""Chords of one bar; they share it evenly."""


def parse_key(text: str) -> Key:
    """Read a key such as ``"A minor"``, ``"F# major"`` or ``"Bb minor"``.

    Raises:
        InputError: If it has another form.
    """
    found = _KEY.match(text)
    if found is None:
        raise InputError(f"key is {text!r}", "Write it like 'A minor' or 'F# major'.")
    letter, sign, mode = found.groups()
    return Key((_LETTERS[letter.upper()] + {"#": 1, "b": -1, "": 0}[sign]) % 12, mode)


def draw_key(mode: str, rng: np.random.Generator) -> Key:
    """A key of a mode, any tonic alike."""
    return Key(int(rng.integers(12)), mode)


def parse_chord(numeral: str, key: Key) -> Chord:
    """Read a roman numeral in a key.

    Upper case has a major third, lower case a minor one; degrees are those of the key's own
    (in minor the natural) scale, so ``VI`` in A minor is F; ``b`` and ``#`` move the root by a
    semitone. What follows is the kind of chord: ``7``, ``maj7``, ``9``, ``sus4``, ``dim``, ....

    Raises:
        InputError: If the numeral or its kind is unknown.
    """
    found = _NUMERAL.match(numeral)
    if found is None:
        raise InputError(f"chord is {numeral!r}", "Write a roman numeral such as 'ii7' or 'bVII'.")
    sign, degree, kind = found.groups()
    step = SCALES[key.mode][_DEGREES[degree.lower()]]
    root = (key.tonic + step + {"b": -1, "#": 1, "": 0}[sign]) % 12
    quality = kind
    if degree.islower() and not kind.startswith(("dim", "m7b5", "sus", "7sus", "5", "aug")):
        quality = "m" + kind
    if quality not in QUALITIES:
        raise InputError(
            f"chord {numeral!r} has the unknown kind {kind!r}",
            f"Use one of: {', '.join(q for q in QUALITIES if q)}.",
        )
    return Chord(root, QUALITIES[quality], numeral)


def parse_bar(text: str, key: Key) -> Bar:
    """Read the chords of one bar, separated by spaces.

    Raises:
        InputError: If there is none, or one is unknown.
    """
    bar = tuple(parse_chord(numeral, key) for numeral in text.split())
    if not bar:
        raise InputError("a bar of a progression is empty", "Write a roman numeral.")
    return bar


def lay_progression(
    progression: Sequence[Bar],
    cadence: Bar,
    section_bars: Sequence[int],
    beats_per_bar: int = 4,
) -> list[Bar]:
    """Chords for every bar of consecutive sections.

    The progression starts again with each section and goes round in it. The last beat of a section
    of a phrase or more is the last chord of the cadence, which leads into the next, unless the
    bar has that root already.

    ``cadence`` leads back to the progression's first chord; the metre says where the last beat is.
    """
    bars: list[Bar] = []
    for n_bars in section_bars:
        section = [progression[index % len(progression)] for index in range(n_bars)]
        if n_bars >= len(progression) and cadence[-1].root != section[-1][-1].root:
            section[-1] = lead_to(section[-1], cadence, beats_per_bar)
        bars.extend(section)
    return bars


def lead_to(bar: Bar, cadence: Bar, beats_per_bar: int) -> Bar:
    """A bar with the last chord of a cadence on its last beat."""
    beats = [bar[beat * len(bar) // beats_per_bar] for beat in range(beats_per_bar)]
    return (*beats[:-1], cadence[-1])


def voice_chords(
    chords: Sequence[Chord], low: int, high: int, size: int = 4
) -> list[tuple[int, ...]]:
    """Voicings of successive chords that move least, by dynamic programming.

    Common tones stay, others take the nearest one. A voicing keeps inside the range, prefers a
    place a little below its middle and a spread of about an octave, and has no minor second or
    minor ninth at its top. The fifth of a chord with more notes than voices is left out first,
    then the root: the bass has it.

    ``low`` and ``high`` are MIDI pitches at least 14 semitones apart, ``size`` is the most voices
    of a chord. Equal neighbours keep their voicing.

    Returns:
        Ascending MIDI pitches of each chord.
    """
    if not chords:
        return []
    choices = [_voicings(chord.classes, low, high, size) for chord in chords]
    total = choices[0][1].copy()
    origins: list[np.ndarray] = []
    for before, after in pairwise(choices):
        arrivals = total[:, None] + _motion(before[0], after[0])
        origins.append(arrivals.argmin(axis=0))
        total = arrivals.min(axis=0) + after[1]
    path = [int(total.argmin())]
    for origin in reversed(origins):
        path.append(int(origin[path[-1]]))
    picked = zip(choices, reversed(path), strict=True)
    return [tuple(int(p) for p in voicings[index] if p > 0) for (voicings, _), index in picked]


@lru_cache(maxsize=512)
def _voicings(
    classes: tuple[int, ...], low: int, high: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Candidates [voicings, size], padded with 0 at the end, and what each costs by itself."""
    # Where voices are too few, the fifth is left out first, then the root.
    kept = list(dict.fromkeys(classes))
    if len(kept) > size:
        kept.pop(2)
    if len(kept) > size:
        kept.pop(0)
    pitches = [p for p in range(low, high + 1) if p % 12 in kept]
    middle = low + 0.42 * (high - low)
    rows, costs = [], []
    # Each class once, within 16 semitones. Cost: far from the middle, too wide or too narrow,
    # seconds and minor ninths that rub, low seconds.
    for voicing in combinations(pitches, min(size, len(kept))):
        spread = voicing[-1] - voicing[0]
        if len({p % 12 for p in voicing}) < len(voicing) or spread > 16:
            continue
        steps = np.diff(voicing)
        rub = float(steps[-1] == 1) + float(spread == 13) if steps.size else 0.0
        rub += 0.3 * float((steps[:-1] == 1).sum()) + 1.0 * float((steps < 3).sum() > 1)
        crowd = float((steps[:1] < 3).any()) if voicing[0] < 55 else 0.0
        rows.append([*voicing, *[0] * (size - len(voicing))])
        costs.append(
            0.15 * abs(float(np.mean(voicing)) - middle)
            + 0.1 * abs(spread - 11)
            + 2.0 * rub
            + crowd
        )
    return np.array(rows), np.array(costs)


def _motion(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Mean distance in semitones from each voice to the nearest of the other voicing.

    Of all pairs of two sets of padded voicings.
    """
    apart = np.abs(before[:, None, :, None] - after[None, :, None, :]).astype(float)
    there = (before[:, None, :, None] > 0) & (after[None, :, None, :] > 0)
    apart = np.where(there, apart, np.inf)
    out, into = apart.min(axis=3), apart.min(axis=2)
    sums = np.where(np.isfinite(out), out, 0.0).sum(-1) / np.isfinite(out).sum(-1)
    return sums / 2 + np.where(np.isfinite(into), into, 0.0).sum(-1) / np.isfinite(into).sum(-1) / 2
