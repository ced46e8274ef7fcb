"""The drum part: human bars or written patterns, with fills where sections end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from dancetomusic.score.frame import LOUDEST, Bar, Frame, Row, fit_bar, loudness
from dancetomusic.score.grooves import (
    FILL_EXCESS,
    GrooveLibrary,
    choose_bars,
    choose_fill,
    choose_performance,
    released_library,
)
from dancetomusic.score.style import DRUM_KEYS, DrumPattern, Stroke, read_fills

STROKE_BEATS = 0.2
"""Written length of a drum stroke; drums ring as long as they do."""

FILL_SHARE = 0.95
"""Share of section ends that get a fill."""

FILL_INTENSITY = 0.7
"""A fill is clearly audible: it is played at this intensity at least."""

ELECTRONIC_KITS = (24, 25)
"""Kits that are programmed, not played: their strokes are on time."""

JITTER_S = 0.005
"""Standard deviation of the time of a played stroke."""

OMITTED, THRESHOLD_SPREAD, ACCENT_SPREAD = 0.2, 0.06, 0.12
"""How far one piece's pattern differs from the written one: share of optional voices left out,
spread of the intensity from which they play, and of each stroke's velocity."""

OPEN_HAT_SHARE = 0.8
"""Velocity of a human's open hi-hat in this kit, against that of the recording."""

_OPEN_HATS = (DRUM_KEYS["ohat"], DRUM_KEYS["pedal"])
_LIGHT = tuple(
    DRUM_KEYS[name] for name in ("hat", "pedal", "ohat", "ride", "bell", "rim", "shaker", "cabasa")
)
_BEAT_KEYS = tuple(DRUM_KEYS[name] for name in ("kick", "kick2", "snare", "snare2", "clap"))
_ACCENT_KEYS = tuple(
    DRUM_KEYS[name]
    for name in ("snare", "snare2", "clap", "timbale", "conga", "bongo_low", "tom4", "rim")
)

Strokes = list[tuple[float, int, float | int]]
"""Place in a bar in beats, key and velocity."""


class Drummer(Protocol):
    """Whoever plays bars and fills."""

    def bar(self, bar: Bar) -> Strokes:
        """Strokes of a bar at its intensity."""

    def fill(self, bar: Bar) -> Strokes:
        """Strokes of a bar that leads into the next section."""


@dataclass(frozen=True)
class DrumPart:
    """What the drums play.

    Attributes:
        accent_key: Key of the drum that accents, by style.
    """

    rows: list[Row]
    kit: int
    accent_key: int


def play_drums(
    frame: Frame, rng: np.random.Generator, library: GrooveLibrary | None = None
) -> DrumPart:
    """Play all bars that begin before the last hit.

    ``library`` are human performances, by default those that come with the package.
    """
    style = frame.style
    kit = int(rng.choice(style.kits))
    drummer: Drummer | None = None
    if style.grooves:
        drummer = _engage(frame, library or released_library(), rng)
    written = WrittenDrums(frame, rng)
    if drummer is None:
        drummer = written
        accent = next((key for key in _ACCENT_KEYS if key in written.keys), _ACCENT_KEYS[0])
    else:
        accent = _ACCENT_KEYS[0]
    jitter = 0.0 if kit in ELECTRONIC_KITS or drummer is not written else JITTER_S / frame.beat_s
    rows: list[Row] = []
    for bar in frame.body:
        if "drums" not in bar.playing and not bar.pickup:
            continue
        strokes = drummer.fill(bar) if _wants_fill(frame, bar, rng) else drummer.bar(bar)
        if drummer is written:
            strokes = [(frame.swung(beat), key, velocity) for beat, key, velocity in strokes]
        if _opens(bar):
            strokes = [*strokes, (0.0, DRUM_KEYS["crash"], 104.0), (0.0, DRUM_KEYS["kick"], 106.0)]
        rows.extend(_rows(bar, strokes, jitter, rng))
    return DrumPart(rows, kit, accent)


class WrittenDrums:
    """Plays the patterns of a style, each voice from its own intensity on."""

    def __init__(self, frame: Frame, rng: np.random.Generator) -> None:
        self.rng = rng
        metre = frame.clock.beats_per_bar
        own = [p for p in frame.style.patterns if p.metre == metre]
        patterns = own or list(frame.style.patterns)
        self.special = [p for p in patterns if p.sections]
        general = [p for p in patterns if not p.sections] or patterns
        picked = rng.permutation(len(general))
        self.main = vary_pattern(general[picked[0]], rng)
        other = vary_pattern(general[picked[-1]], rng)
        self.lift = other if rng.random() < 0.5 else self.main
        fills = [f for f in frame.style.fills if f.metre == metre]
        fills = fills or [f for f in common_fills() if f.metre == metre]
        self.fills = fills or [f for f in common_fills() if f.metre == 4]
        self.keys = {stroke.key for stroke in self.main.strokes}

    def bar(self, bar: Bar) -> Strokes:
        """Strokes of a bar at its intensity."""
        special = [p for p in self.special if bar.section in p.sections]
        pattern = special[0] if special else self.lift if bar.section == "lift" else self.main
        return self._played(pattern, bar)

    def fill(self, bar: Bar) -> Strokes:
        """The bar's pattern up to the first stroke of a fill, then the fill."""
        pattern = self.fills[self.rng.integers(len(self.fills))]
        bar = replace(bar, intensity=max(bar.intensity, FILL_INTENSITY))
        if bar.pickup:  # the end of the fill leads in
            late = pattern.metre - bar.length
            return [
                (s.beat - late, s.key, loudness(s.velocity, bar.intensity))
                for s in pattern.strokes
                if s.beat >= late
            ]
        fill = self._played(pattern, bar)
        if not fill:
            return self.bar(bar)
        first = min(beat for beat, _, _ in fill)
        kept = [stroke for stroke in self.bar(bar) if stroke[0] < first - 1e-6]
        return [*kept, *fill]

    def _played(self, pattern: DrumPattern, bar: Bar) -> Strokes:
        played: Strokes = []
        steady = (bar.intensity + bar.group) / 2  # voices do not come and go with every bar
        for beat, source in fit_bar(pattern, bar.place, bar.length):
            for stroke in pattern.strokes:
                inside = stroke.beat - source
                if not -1e-9 <= inside < 1.0 - 1e-9 or stroke.least > steady:
                    continue
                if stroke.perhaps and self.rng.random() > 0.15 + 0.75 * bar.intensity:
                    continue
                velocity = stroke.velocity + self.rng.normal(0.0, 4.0)
                played.append((beat + inside, stroke.key, loudness(velocity, bar.intensity)))
        return played


class HumanDrums:
    """Plays bars of one human performance, in an order that follows intensity."""

    def __init__(
        self,
        library: GrooveLibrary,
        performance: int,
        frame: Frame,
        rng: np.random.Generator,
    ) -> None:
        self.library, self.performance, self.rng = library, performance, rng
        self.labels = frame.style.grooves
        density = np.array([bar.intensity for bar in frame.bars])
        starts = np.array([bar.place % 4 == 0 for bar in frame.bars])
        self.bars = choose_bars(library, performance, density, starts, rng)
        self.metre = int(library.beats_per_bar[performance])
        usual = [library.fill_strokes(bar) for bar in self.bars.tolist()]
        self.fill_strokes = int(np.median(usual or [0])) + FILL_EXCESS

    def bar(self, bar: Bar) -> Strokes:
        """Strokes of a bar at its intensity; calm ones lose what drives."""
        strokes = self._bar(int(self.bars[bar.index]), bar)
        if bar.section == "break" and bar.intensity < 0.5:
            strokes = [stroke for stroke in strokes if stroke[1] not in _BEAT_KEYS]
        elif bar.intensity < 0.3:
            strokes = [s for s in strokes if s[1] in (*_BEAT_KEYS, *_LIGHT) and s[2] > 28]
        return strokes

    def fill(self, bar: Bar) -> Strokes:
        """A fill of the same drummer, or of another in the same style."""
        calm = self.rng.random() > bar.intensity
        bar = replace(bar, intensity=max(bar.intensity, FILL_INTENSITY))
        found = choose_fill(
            self.library, self.performance, self.labels, self.rng, least=self.fill_strokes + 1
        )
        if bar.pickup:
            late = self.metre - bar.length
            return [(b - late, k, v) for b, k, v in self._all(found, bar) if b >= late - 0.05]
        fill = self._bar(found, bar) if found is not None else []
        if not fill:
            return self.bar(bar)
        if calm:  # the fill takes the second half only
            half = bar.length / 2 - 0.1
            groove = [stroke for stroke in self.bar(bar) if stroke[0] < half]
            fill = [*groove, *(stroke for stroke in fill if stroke[0] >= half)]
        return fill

    def _all(self, index: int | None, bar: Bar) -> Strokes:
        if index is None:
            return []
        beats, keys, velocities = self.library.bar(index)
        # The recording kit's open hi-hat is softer than a sampled one.
        softer = np.where(np.isin(keys, _OPEN_HATS), OPEN_HAT_SHARE, 1.0)
        scaled = (loudness(v, bar.intensity) for v in (velocities * softer).tolist())
        return list(zip(beats.tolist(), keys.tolist(), scaled, strict=True))

    def _bar(self, index: int, bar: Bar) -> Strokes:
        """A bar cut to the length wanted, or with its last beats once more."""
        strokes = self._all(index, bar)
        kept = [s for s in strokes if s[0] < min(bar.length, self.metre) - 0.06]
        more = bar.length - self.metre
        if more > 0:
            late = self.metre - more % self.metre
            kept += [(b - late + self.metre, k, v) for b, k, v in strokes if b >= late - 0.05]
        return kept


def vary_pattern(pattern: DrumPattern, rng: np.random.Generator) -> DrumPattern:
    """A pattern as one drummer would play it: other thresholds, voices left out, other accents.

    Voices that play at every intensity stay; each of the others is left out one time in five. Half
    the time a soft stroke of the bass drum leads into one that is there.
    """
    keys = sorted({(stroke.key, stroke.least) for stroke in pattern.strokes})
    left_out = {k for k in keys if k[1] > 0 and rng.random() < OMITTED}
    shift = {k: float(rng.normal(0.0, THRESHOLD_SPREAD)) if k[1] > 0 else 0.0 for k in keys}
    accent = {
        (key, place): float(rng.normal(1.0, ACCENT_SPREAD))
        for key in sorted({k[0] for k in keys})
        for place in range(pattern.metre * 12)
    }
    strokes = [
        replace(
            s,
            velocity=int(np.clip(s.velocity * accent[s.key, _tick(pattern, s)], 20, LOUDEST)),
            least=max(0.0, s.least + shift[s.key, s.least]),
        )
        for s in pattern.strokes
        if (s.key, s.least) not in left_out
    ]
    kicks = [s for s in strokes if s.key == DRUM_KEYS["kick"]]
    straight = all(abs(s.beat * 4 - round(s.beat * 4)) < 1e-6 for s in strokes)
    if kicks and straight and rng.random() < 0.5:
        led = kicks[rng.integers(len(kicks))]
        early = led.beat - float(rng.choice([0.25, 0.5, 0.5]))
        taken = {round(s.beat * 4) for s in kicks}
        if early >= 0 and round(early * 4) not in taken:
            strokes.append(Stroke(early, led.key, 64, max(0.35, led.least), False))
    return replace(pattern, strokes=tuple(sorted(strokes, key=lambda s: (s.beat, s.key))))


def _tick(pattern: DrumPattern, stroke: Stroke) -> int:
    """Place of a stroke in its bar, in twelfths of a beat."""
    return round(stroke.beat * 12) % (pattern.metre * 12)


@lru_cache(maxsize=1)
def common_fills() -> tuple[DrumPattern, ...]:
    """Written fills for styles that have none of their own."""
    return read_fills(Path(__file__).parent / "styles" / "_fills.yaml")


def _engage(frame: Frame, library: GrooveLibrary, rng: np.random.Generator) -> HumanDrums | None:
    performance = choose_performance(
        library,
        frame.style.grooves,
        bpm=60.0 / frame.beat_s,
        beats_per_bar=frame.clock.beats_per_bar,
        n_bars=len(frame.bars),
        rng=rng,
    )
    if performance is None:
        return None
    return HumanDrums(library, performance, frame, rng)


def _wants_fill(frame: Frame, bar: Bar, rng: np.random.Generator) -> bool:
    """At the end of a section, before the final bar, and in a pick-up."""
    if bar.pickup:
        return True
    leads_out = bar.start < frame.plan.final_beat <= bar.start + bar.length
    if leads_out and (bar.section != "ending" or bar.place > 0):
        return bool(rng.random() < FILL_SHARE)
    long_enough = bar.place + bar.left >= 1
    return bar.left == 0 and long_enough and bool(rng.random() < FILL_SHARE)


def _opens(bar: Bar) -> bool:
    """Whether a bar opens a section that is greeted by a crash."""
    loud = bar.section in ("groove", "lift") or (bar.section == "intro" and bar.intensity > 0.5)
    return bar.place == 0 and loud and not bar.pickup


def _rows(
    bar: Bar,
    strokes: Sequence[tuple[float, int, float | int]],
    jitter: float,
    rng: np.random.Generator,
) -> list[Row]:
    """Notes of a bar; of strokes on one drum at one time the louder is played."""
    loudest: dict[tuple[int, int], tuple[float, float]] = {}
    for beat, key, velocity in strokes:
        at = (round(beat * 24), key)
        if at not in loudest or velocity > loudest[at][1]:
            loudest[at] = (beat, velocity)
    moved = rng.normal(0.0, jitter, len(loudest)) if jitter else np.zeros(len(loudest))
    return [
        (
            bar.start + beat + float(move),
            STROKE_BEATS,
            key,
            int(np.clip(round(velocity), 1, LOUDEST)),
        )
        for ((_, key), (beat, velocity)), move in zip(loudest.items(), moved, strict=True)
    ]
