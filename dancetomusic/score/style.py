"""Styles of music as data: one YAML file each, read and checked here.

A style says which drums, bass, chords and lead play, on which sounds, over which harmony. Its file
is ``styles/NAME.yaml``, or any file that a user names; ``styles/house.yaml`` explains each key.

Patterns are strings, one character a step, ``steps`` steps a beat: 4 for sixteenths, 3 for
triplets, 2 for eighths, 12 for both. Blanks and ``|`` are for the eye. A line is one bar or several
bars of its ``metre`` long (beats a bar, by default the style's first), or goes round within them.

Drums, ``voice: "pattern"``:

    ``X`` accent, ``x`` stroke, ``o`` soft stroke, ``g`` ghost note, ``?`` perhaps (the likelier the
    stronger the dance moves), ``.`` rest. ``ohat@0.5`` plays from intensity 0.5 on. Voices are the
    names in ``DRUM_KEYS``.

Bass:

    ``R`` root, ``3 5 6 7`` degrees of the chord, ``8`` octave, ``L`` the fifth below, ``a`` a step
    towards the next chord's root, ``N`` the next chord's root early, ``x`` dead note, ``_`` hold,
    ``.`` rest; ``kick: true`` in place of a line plays with the bass drum, ``walk: true`` walks.

Chords:

    ``X`` accent, ``x`` all voices, ``b`` the lowest, ``u`` all but the lowest, ``1`` to ``5`` one
    voice from below, ``o`` lowest and highest, ``N`` the next chord early, ``_`` hold, ``.`` rest.

Lead, rhythm only (pitches are composed): ``X`` accent, ``x`` note, ``_`` hold, ``.`` rest.

Each line may have a ``level``, the intensity in [0, 1] at which it is at home (of several the
nearest plays), and ``sections``, the only ones it is for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dancetomusic.errors import InputError
from dancetomusic.score.harmony import SCALES, Key, parse_bar
from dancetomusic.score.mix import EQUALISERS, Channel
from dancetomusic.types import RhythmTrack

TRACK_NAMES = ("drums", "bass", "chords", "lead")
SECTION_NAMES = ("intro", "groove", "lift", "break", "ending")

DRUM_KEYS = {
    **{"kick": 36, "kick2": 35, "snare": 38, "snare2": 40, "rim": 37, "clap": 39},
    **{"hat": 42, "pedal": 44, "ohat": 46, "ride": 51, "bell": 53, "ride2": 59},
    **{"crash": 49, "crash2": 57, "splash": 55, "china": 52},
    **{"tom1": 50, "tom2": 48, "tom3": 47, "tom4": 45, "floor": 43, "floor2": 41},
    **{"cowbell": 56, "tambourine": 54, "shaker": 82, "maracas": 70, "cabasa": 69, "guiro": 73},
    **{"guiro_long": 74, "claves": 75, "block": 76, "block2": 77, "triangle": 81, "triangle2": 80},
    **{"conga_mute": 62, "conga": 63, "conga_low": 64, "bongo": 60, "bongo_low": 61},
    **{"timbale": 65, "timbale_low": 66, "agogo": 67, "agogo_low": 68, "cuica": 78, "cuica2": 79},
    **{"vibraslap": 58, "whistle": 71, "surdo_mute": 86, "surdo": 87},
}
"""General MIDI percussion keys by the names that patterns use."""

STROKES = {"X": 108, "x": 90, "o": 70, "g": 42, "?": 62}
"""Velocities of the characters of a drum pattern."""

BASS_SYMBOLS, CHORD_SYMBOLS, LEAD_SYMBOLS = "R35678LaNx", "Xxbu12345oN", "Xx"
HOLD, REST = "_", "."

DEFAULT_LAYERS = {
    "intro": {"drums": 0.0, "bass": 0.45, "chords": 0.2, "lead": 0.9},
    "groove": {"drums": 0.0, "bass": 0.15, "chords": 0.33, "lead": 0.5},
    "lift": {"drums": 0.0, "bass": 0.0, "chords": 0.15, "lead": 0.4},
    "break": {"drums": 0.35, "bass": 0.5, "chords": 0.0, "lead": 0.75},
    "ending": {"drums": 0.0, "bass": 0.0, "chords": 0.0, "lead": 0.65},
}
"""Intensity from which a track plays in a section, unless the style says otherwise."""

DEFAULT_MIX = {
    "drums": {"gain_db": 0.0, "pan": 0.0, "room": 0.12, "width": 0.2, "duck_db": 0.0},
    "bass": {"gain_db": -2.0, "pan": 0.0, "room": 0.0, "width": 0.0, "duck_db": 2.0},
    "chords": {"gain_db": -5.0, "pan": -0.2, "room": 0.25, "width": 0.5, "duck_db": 0.0},
    "lead": {"gain_db": -3.5, "pan": 0.2, "room": 0.3, "width": 0.3, "duck_db": 0.0},
}
"""How each track stands in the mix, unless the style says otherwise."""


@dataclass(frozen=True)
class Stroke:
    """One stroke of a drum pattern.

    Attributes:
        beat: From the pattern's start.
        least: Intensity from which it is played.
        perhaps: Played with a chance that grows with intensity.
    """

    beat: float
    key: int
    velocity: int
    least: float
    perhaps: bool


@dataclass(frozen=True)
class DrumPattern:
    """A written pattern: ``bars`` bars of ``metre`` beats; ``sections`` empty means any."""

    metre: int
    bars: int
    strokes: tuple[Stroke, ...]
    sections: tuple[str, ...] = ()
    level: float = 0.5


@dataclass(frozen=True)
class Step:
    """A symbol of a melodic line, with its place and length in beats."""

    beat: float
    length: float
    symbol: str


@dataclass(frozen=True)
class Line:
    """A written line: ``bars`` bars of ``metre`` beats, at home at intensity ``level``.

    Attributes:
        metre: Beats a bar.
        bars: Its length.
        steps: In order; empty where ``kind`` makes the notes.
        level: Intensity at which it is at home.
        sections: The only ones it is for; empty means any.
        kind: ``"written"``, or for the bass ``"kick"`` or ``"walk"``.
    """

    metre: int
    bars: int
    steps: tuple[Step, ...]
    level: float = 0.5
    sections: tuple[str, ...] = ()
    kind: str = "written"


@dataclass(frozen=True)
class Part:
    """A melodic track: its sounds, its range in MIDI pitches, and its lines.

    Attributes:
        programs: General MIDI programs, one of which is drawn.
        voices: Most notes of a chord.
        legato: Share of its written length that a note sounds.
    """

    programs: tuple[int, ...]
    low: int
    high: int
    lines: tuple[Line, ...]
    voices: int = 4
    legato: float = 0.9


@dataclass(frozen=True)
class Harmony:
    """Progressions of one mode, in roman numerals, one string a bar.

    Attributes:
        progressions: Each usually four bars.
        cadence: Bar that leads back to the first chord of a progression.
        final: Last chord of the piece.
    """

    progressions: tuple[tuple[str, ...], ...]
    cadence: str
    final: str


@dataclass(frozen=True)
class Style:
    """A style of music.

    Attributes:
        tempo: Slowest, usual and fastest tempo, in beats a minute.
        metres: Beats a bar that it is at home in, the usual first.
        energy: How strong the movement is that it suits, in [0, 1].
        common: How good a guess it is where only tempo and metre are known, in [0, 1].
        swing: How late off-beats come: 0 straight to 1 triplets.
        swing_unit: What swings: 8 for eighths, 16 for sixteenths.
        kits: Drum kit programs, one of which is drawn.
        grooves: Labels of human performances to play; empty for written patterns only.
        fills: Written fills, one bar each.
        scale: Scale of the melody, one of ``harmony.SCALES``; that of the key if empty.
        harmony: By mode, ``"minor"`` or ``"major"``.
        mix: How each track stands in the mix, against stems of one loudness.
        layers: Intensity from which a track plays, by section and track.
    """

    name: str
    title: str
    tempo: tuple[float, float, float]
    metres: tuple[int, ...]
    energy: float
    common: float
    swing: float
    swing_unit: int
    kits: tuple[int, ...]
    grooves: tuple[str, ...]
    patterns: tuple[DrumPattern, ...]
    fills: tuple[DrumPattern, ...]
    bass: Part
    chords: Part
    lead: Part
    scale: str
    harmony: Mapping[str, Harmony]
    mix: Mapping[str, Channel] = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


_FOLDER = Path(__file__).parent / "styles"


def style_names() -> tuple[str, ...]:
    """Names of the styles that come with the package, in alphabetical order."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("[!_]*.yaml")))


def load_style(name: str | Path) -> Style:
    """A style by its name, or from a YAML file.

    Args:
        name: One of ``style_names()``; a ``Path`` is that of a file.

    Raises:
        InputError: If there is no such style, or its file is not understood.
    """
    if isinstance(name, Path):
        return read_style(name)
    if name not in style_names():
        raise InputError(
            f"there is no style {name!r}",
            f"Name a YAML file or one of: {', '.join(style_names())}.",
        )
    return _packaged(name)


@lru_cache(maxsize=64)
def _packaged(name: str) -> Style:
    return read_style(_FOLDER / f"{name}.yaml")


def read_style(path: Path) -> Style:
    """Read a style's file.

    Raises:
        InputError: If the file is missing or not understood; the message names the key.
    """
    return _Reader(path).style(_read_yaml(path))


def read_fills(path: Path) -> tuple[DrumPattern, ...]:
    """Read a file that is a list of fills, written as drum patterns of one bar.

    Raises:
        InputError: If the file is missing or not understood.
    """
    given = _read_yaml(path)
    if not isinstance(given, list):
        raise InputError(f"{path} is not a list", "Write a list of fills.")
    reader = _Reader(path)
    return tuple(reader.drums(fill, "fills") for fill in given)


def _read_yaml(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"cannot read {path} ({error})", "Give a style's YAML file.") from error


@dataclass(frozen=True)
class StyleChoice:
    """A style chosen for a dance, and why, in one line."""

    name: str
    reason: str


def choose_style(
    rhythm: RhythmTrack,
    *,
    names: Sequence[str] | None = None,
    rng: np.random.Generator | None = None,
) -> StyleChoice:
    """The style that suits a dance's tempo, metre and strength of movement best.

    ``rng`` draws among those that suit nearly as well; without it the best is taken.

    Raises:
        InputError: If no style is given to choose from.
    """
    known = list(style_names() if names is None else names)
    if not known:
        raise InputError("there is no style to choose from", "Name at least one.")
    metre = rhythm.beats_per_bar
    bpm = rhythm.bpm if np.isfinite(rhythm.bpm) else 120.0
    energy = float(rhythm.energy.mean()) if rhythm.energy.size else 0.5
    styles = [load_style(name) for name in known]
    fits = np.array([style_fit(style, bpm, metre, energy) for style in styles])
    if rng is None:
        best = int(fits.argmax())
    else:
        odds = np.where(fits >= fits.max() - 0.15, np.exp(fits / 0.05 - fits.max() / 0.05), 0.0)
        best = int(rng.choice(fits.size, p=odds / odds.sum()))
    style = styles[best]
    strength = "calm" if energy < 0.4 else "strong" if energy > 0.6 else "moderate"
    low, _, high = style.tempo
    reason = (
        f"{metre} beats a bar at {bpm:.0f} BPM, {strength} movement "
        f"(it is at home at {low:.0f}-{high:.0f} BPM)"
    )
    return StyleChoice(style.name, reason)


def style_fit(style: Style, bpm: float, metre: int, energy: float) -> float:
    """How well a style suits, 1 at most: less by tempo, metre, energy, and for being rare."""
    low, usual, high = style.tempo
    outside = max(0.0, float(np.log2(low / bpm)), float(np.log2(bpm / high)))
    metre_cost = 0.0 if metre == style.metres[0] else 0.1 if metre in style.metres else 0.4
    return float(
        1.0
        - 3.0 * outside
        - 0.4 * abs(np.log2(bpm / usual))
        - metre_cost
        - 0.3 * abs(style.energy - energy)
        - 0.3 * (1.0 - style.common)
    )


_KEYS = {
    "style": "title tempo metres energy common swing swing_unit scale drums bass chords lead "
    "harmony mix layers",
    "drums": "kits grooves patterns fills",
    "part": "programs range lines voices legato",
    "harmony": "progressions cadence final",
}


class _Reader:
    """Turns the YAML of one file into a style; every complaint names the file and the key."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metre = 4

    def style(self, given: Any) -> Style:
        table = self.table(given, "the file", _KEYS["style"])
        tempo = [float(v) for v in self.sequence(table, "tempo", float)]
        if len(tempo) != 3 or not 0 < tempo[0] <= tempo[1] <= tempo[2]:
            raise self.wrong("tempo", "Give slowest, usual and fastest, in BPM.")
        metres = tuple(int(v) for v in self.sequence(table, "metres", int, [4]))
        self.metre = metres[0]
        drums = self.table(table.get("drums"), "drums", _KEYS["drums"])
        scale = str(table.get("scale", ""))
        if scale and scale not in SCALES:
            raise self.wrong("scale", f"Use one of: {', '.join(SCALES)}.")
        patterns = tuple(self.drums(p, "drums.patterns") for p in drums.get("patterns", []))
        if not patterns:
            raise self.wrong("drums.patterns", "Write at least one.")
        return Style(
            name=self.path.stem,
            title=str(table.get("title", self.path.stem)),
            tempo=(tempo[0], tempo[1], tempo[2]),
            metres=metres,
            energy=self.share(table, "energy", 0.5),
            common=self.share(table, "common", 0.5),
            swing=self.share(table, "swing", 0.0),
            swing_unit=int(table.get("swing_unit", 8)),
            kits=tuple(int(v) for v in self.sequence(drums, "kits", int, [0])),
            grooves=tuple(str(v) for v in self.sequence(drums, "grooves", str, [])),
            patterns=patterns,
            fills=tuple(self.drums(p, "drums.fills") for p in drums.get("fills", [])),
            bass=self.part(table.get("bass"), "bass", BASS_SYMBOLS, (28, 45)),
            chords=self.part(table.get("chords"), "chords", CHORD_SYMBOLS, (52, 74)),
            lead=self.part(table.get("lead"), "lead", LEAD_SYMBOLS, (67, 86)),
            scale=scale,
            harmony=self.harmony(table.get("harmony")),
            mix=self.mix(table.get("mix", {})),
            layers=self.layers(table.get("layers", {})),
        )

    def wrong(self, key: str, remedy: str) -> InputError:
        return InputError(f"style {self.path.name}: {key} is not understood", remedy)

    def table(self, given: Any, where: str, keys: str | None) -> dict[str, Any]:
        if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
            raise self.wrong(where, "Give a mapping; see styles/house.yaml.")
        unknown = set(given) - set(keys.split()) if keys is not None else set()
        if unknown:
            raise self.wrong(f"{where}: {min(unknown)}", f"Use only: {keys}.")
        return given

    def sequence(
        self, table: dict[str, Any], key: str, kind: type, default: list[Any] | None = None
    ) -> list[Any]:
        given = table.get(key, default)
        try:
            return [kind(v) for v in given]  # type: ignore[union-attr]
        except (TypeError, ValueError) as error:
            raise self.wrong(key, f"Give a list of {kind.__name__}.") from error

    def share(self, table: dict[str, Any], key: str, default: float) -> float:
        value = table.get(key, default)
        if not isinstance(value, (int, float)) or not 0.0 <= value <= 1.0:
            raise self.wrong(key, "Give a number in [0, 1].")
        return float(value)

    def sections(self, table: dict[str, Any], where: str) -> tuple[str, ...]:
        names = tuple(str(v) for v in self.sequence(table, "sections", str, []))
        if set(names) - set(SECTION_NAMES):
            raise self.wrong(f"{where}: sections", f"Use: {', '.join(SECTION_NAMES)}.")
        return names

    def drums(self, given: Any, where: str) -> DrumPattern:
        table = self.table(given, where, None)
        metre, steps = int(table.get("metre", self.metre)), int(table.get("steps", 4))
        lines = {
            name: "".join(str(text).replace("|", " ").split())
            for name, text in table.items()
            if name not in ("metre", "steps", "sections", "level")
        }
        length = max((len(text) for text in lines.values()), default=0)
        bars = max(1, -(-length // (metre * steps)))
        strokes = []
        for name, text in lines.items():
            voice, _, least = name.partition("@")
            if voice not in DRUM_KEYS:
                raise self.wrong(f"{where}: {name}", f"Use: {', '.join(DRUM_KEYS)}.")
            if not text or (bars * metre * steps) % len(text) or set(text) - {*STROKES, REST}:
                raise self.wrong(
                    f"{where}: {name}: {text!r}", f"Write X x o g ? . over {bars} bars."
                )
            for step in range(bars * metre * steps):
                symbol = text[step % len(text)]
                if symbol != REST:
                    strokes.append(
                        Stroke(
                            step / steps,
                            DRUM_KEYS[voice],
                            STROKES[symbol],
                            float(least or 0.0),
                            symbol == "?",
                        )
                    )
        level = self.share(table, "level", 0.5)
        strokes.sort(key=lambda s: (s.beat, s.key))
        return DrumPattern(metre, bars, tuple(strokes), self.sections(table, where), level)

    def part(self, given: Any, where: str, symbols: str, span: tuple[int, int]) -> Part:
        table = self.table(given, where, _KEYS["part"])
        low, high = [*self.sequence(table, "range", int, list(span)), 0, 0][:2]
        if not 0 <= low < high - 11 <= 116:
            raise self.wrong(
                f"{where}.range", "Give a lowest and a highest pitch, 12 or more apart."
            )
        programs = tuple(int(v) for v in self.sequence(table, "programs", int))
        if not programs or not all(0 <= p <= 127 for p in programs):
            raise self.wrong(f"{where}.programs", "Give General MIDI programs, 0 to 127.")
        lines = table.get("lines")
        if not isinstance(lines, list) or not lines:
            raise self.wrong(f"{where}.lines", "Write at least one.")
        return Part(
            programs,
            low,
            high,
            tuple(self.line(line, f"{where}.lines", symbols) for line in lines),
            int(table.get("voices", 4)),
            self.share(table, "legato", 0.9),
        )

    def line(self, given: Any, where: str, symbols: str) -> Line:
        if isinstance(given, str):
            given = {"line": given}
        table = self.table(given, where, "line steps metre level sections kick walk")
        metre, steps = int(table.get("metre", self.metre)), int(table.get("steps", 4))
        level, sections = self.share(table, "level", 0.5), self.sections(table, where)
        for kind in ("kick", "walk"):
            if table.get(kind):
                return Line(metre, 1, (), level, sections, kind)
        text = "".join(str(table.get("line", "")).replace("|", " ").split())
        if not text or set(text) - {*symbols, HOLD, REST} or len(text) % (metre * steps):
            raise self.wrong(
                f"{where}: {text!r}",
                f"Write whole bars of {metre * steps} of: {symbols}{HOLD}{REST}",
            )
        found = []
        for index, symbol in enumerate(text):
            if symbol not in (HOLD, REST):
                held = len(text[index + 1 :]) - len(text[index + 1 :].lstrip(HOLD))
                found.append(Step(index / steps, (1 + held) / steps, symbol))
        return Line(metre, len(text) // (metre * steps), tuple(found), level, sections)

    def harmony(self, given: Any) -> dict[str, Harmony]:
        table = self.table(given, "harmony", "minor major")
        found = {}
        for mode, entry in table.items():
            row = self.table(entry, f"harmony.{mode}", _KEYS["harmony"])
            progressions = tuple(
                tuple(str(bar) for bar in progression)
                for progression in row.get("progressions", [])
            )
            home = "i" if mode == "minor" else "I"
            cadence, final = str(row.get("cadence", "V7")), str(row.get("final", home))
            if not progressions:
                raise self.wrong(f"harmony.{mode}.progressions", "Write at least one.")
            for bar in [cadence, final, *(bar for bars in progressions for bar in bars)]:
                parse_bar(bar, Key(0, mode))
            found[mode] = Harmony(progressions, cadence, final)
        if not found:
            raise self.wrong("harmony", "Give minor, major or both.")
        return found

    def mix(self, given: Any) -> dict[str, Channel]:
        table = self.table(given, "mix", " ".join(TRACK_NAMES))
        found = {}
        for name, usual in DEFAULT_MIX.items():
            row = self.table(table.get(name, {}), f"mix.{name}", " ".join(usual))
            try:
                values = {key: float(row.get(key, value)) for key, value in usual.items()}
                found[name] = Channel(**values, equaliser=EQUALISERS[name])
            except (TypeError, ValueError, InputError) as error:
                raise self.wrong(
                    f"mix.{name}",
                    "Give gain_db in -60..24, pan in -1..1, room, width in 0..1, duck_db in 0..12.",
                ) from error
        return found

    def layers(self, given: Any) -> dict[str, dict[str, float]]:
        table = self.table(given, "layers", " ".join(SECTION_NAMES))
        return {
            section: {
                track: float(
                    self.table(
                        table.get(section, {}), f"layers.{section}", " ".join(TRACK_NAMES)
                    ).get(track, least)
                )
                for track, least in tracks.items()
            }
            for section, tracks in DEFAULT_LAYERS.items()
        }
