"""The frame of a piece: for each bar its section, intensity, chords, and who plays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dancetomusic.rhythm.swing import swing_beats
from dancetomusic.score.harmony import Chord, Key, lay_progression, lead_to, parse_bar
from dancetomusic.score.notes import BeatClock
from dancetomusic.score.plan import Plan
from dancetomusic.score.style import TRACK_NAMES, DrumPattern, Line, Step, Style

Row = tuple[float, float, int, int]
"""A note while it is being written: start and length in beats, pitch, velocity."""

SECTION_LIFT = {"intro": -0.1, "groove": 0.0, "lift": 0.12, "break": -0.3, "ending": 0.0}
"""What a section adds to the intensity that movement asks for."""

OWN_SHARE = 0.7
"""Share of a bar's own energy in its intensity; the rest is its section's."""

LEAST_SPREAD = 0.25
"""Between the 10th and the 90th percentile of energy, so that even movement stays even."""

PUSH_REACH = 0.5
"""What the plan's push of 1 adds to the intensity."""

LOUDEST = 112
"""Velocity above which only answers to hits are played."""


@dataclass(frozen=True)
class Bar:
    """One bar of the piece.

    Attributes:
        place: Bars of its section before it.
        left: Bars of its section after it.
        intensity: How much shall happen, in [0, 1].
        group: Mean intensity of the two bars that it belongs to, by which lines are chosen.
        chords: Its chords; they share it evenly.
        following: First chord of the next bar.
        playing: Names of the tracks that play.
        pickup: Whether it begins before the first downbeat.
    """

    index: int
    start: int
    length: int
    section: str
    place: int
    left: int
    intensity: float
    group: float
    chords: tuple[Chord, ...]
    following: Chord
    playing: frozenset[str]
    pickup: bool

    def chord_at(self, beat: float | int) -> Chord:
        """The chord at a position in the bar, in beats from its start."""
        share = int((beat + 1e-6) / max(self.length, 1) * len(self.chords))
        return self.chords[min(max(share, 0), len(self.chords) - 1)]

    def chord_after(self, beat: float | int) -> Chord:
        """The next chord after a position in the bar."""
        share = int((beat + 1e-6) / max(self.length, 1) * len(self.chords))
        here = self.chord_at(beat)
        later = [chord for chord in self.chords[share + 1 :] if chord != here]
        return later[0] if later else self.following


@dataclass(frozen=True)
class Frame:
    """All bars, with what they are made from.

    Attributes:
        end: End of the music, in beats.
        beat_s: Usual length of a beat, in seconds.
    """

    clock: BeatClock
    plan: Plan
    style: Style
    key: Key
    bars: tuple[Bar, ...]
    end: float
    beat_s: float

    @property
    def body(self) -> tuple[Bar, ...]:
        """Bars that begin before the last hit."""
        return tuple(bar for bar in self.bars if bar.start < self.plan.final_beat)

    @property
    def final(self) -> Bar:
        """The bar in which the last hit is."""
        return self.bars[self.clock.bar_of(self.plan.final_beat)]

    def swung(self, beat: float) -> float:
        """Where a written place is played in the style's swing; triplets stay."""
        if not self.style.swing or abs(beat * 4 - round(beat * 4)) > 1e-6:
            return beat
        unit = self.style.swing_unit / 8
        return float(swing_beats(np.array([beat * unit]), self.style.swing)[0] / unit)


def build_frame(
    clock: BeatClock, plan: Plan, style: Style, key: Key, rng: np.random.Generator
) -> Frame:
    """Lay sections, intensity, harmony and instrumentation over the bars of a clock."""
    intensity = bar_intensity(plan)
    starts = np.append(clock.bar_starts, clock.n_beats)
    pickup = clock.n_bars > 1 and int(clock.beat_numbers[0]) != 1
    chords = _lay_chords(clock, plan, style, key, rng)
    bars = []
    for section in plan.sections:
        lead_in = int(pickup and section.first_bar == 0)
        for offset in range(section.n_bars):
            index = section.first_bar + offset
            place = max(0, offset - lead_in)
            first, end = section.first_bar + lead_in, section.first_bar + section.n_bars
            n = 2 if clock.n_bars >= 12 else 1
            group = float(intensity[first + place // n * n : end][:n].mean())
            bars.append(
                Bar(
                    index=index,
                    start=int(starts[index]),
                    length=int(starts[index + 1] - starts[index]),
                    section=section.name,
                    place=place,
                    left=section.n_bars - 1 - offset,
                    intensity=float(intensity[index]),
                    group=group,
                    chords=chords[index],
                    following=chords[min(index + 1, len(chords) - 1)][0],
                    playing=_players(style, section.name, group),
                    pickup=bool(pickup and index == 0),
                )
            )
    return Frame(
        clock,
        plan,
        style,
        key,
        tuple(bars),
        clock.beats(clock.duration_s),
        float(np.median(np.diff(clock.beat_times))),
    )


def bar_intensity(plan: Plan) -> Float64[np.ndarray, " bars"]:
    """How much shall happen in each bar: its energy against the dance's own, and its section."""
    energy = plan.energy
    smooth = energy.copy()
    lift = np.zeros(energy.size)
    for section in plan.sections:
        bars = slice(section.first_bar, section.first_bar + section.n_bars)
        smooth[bars] = OWN_SHARE * energy[bars] + (1.0 - OWN_SHARE) * energy[bars].mean()
        lift[bars] = SECTION_LIFT.get(section.name, 0.0)
    low, high = np.percentile(energy, [10, 90])
    centre, spread = float(np.median(energy)), max(float(high - low), LEAST_SPREAD)
    danced = np.clip(0.55 + 0.75 * (smooth - centre) / spread + lift, 0.0, 1.0)
    return np.clip(danced + PUSH_REACH * plan.push, 0.0, 1.0)


def fit_bar(pattern: DrumPattern | Line, place: int, length: int) -> Iterator[tuple[int, int]]:
    """Which beat of a pattern each beat of a bar plays, as (beat of the bar, beat of the pattern).

    A bar shorter than the pattern's plays its first beats; in a longer one the pattern's last
    beats are played again.

    The pattern's bars follow one another; ``place`` is the number of bars of the section before
    this one.
    """
    first, metre = place % pattern.bars * pattern.metre, pattern.metre
    for beat in range(length):
        inside = beat if beat < metre else metre - 1 - (length - 1 - beat) % metre
        yield beat, first + inside


def choose_line(lines: Sequence[Line], bar: Bar, metre: int, order: Sequence[int]) -> Line | None:
    """The line at home nearest to a bar's intensity, of its section and metre if there is one.

    Args:
        lines: To choose from.
        bar: Its section and intensity count.
        metre: Beats of the piece's usual bar.
        order: A permutation of the lines; the first of equals in it is taken.
    """
    ordered = [lines[k] for k in order]
    ordered = [line for line in ordered if not line.sections or bar.section in line.sections]
    for wanted in (
        lambda line: line.metre == metre and bar.section in line.sections,
        lambda line: line.metre == metre,
        lambda line: True,
    ):
        fitting = [line for line in ordered if wanted(line)]
        if fitting:
            return min(fitting, key=lambda line: abs(line.level - bar.group))
    return None


def played_bars(
    frame: Frame, track: str, lines: Sequence[Line], order: Sequence[int]
) -> Iterator[tuple[Bar, Line]]:
    """Bars before the last hit in which a track plays, but no pick-up, and what it plays."""
    for bar in frame.body:
        line = choose_line(lines, bar, frame.clock.beats_per_bar, order)
        if track in bar.playing and line is not None and not bar.pickup:
            yield bar, line


def played_steps(line: Line, bar: Bar) -> Iterator[tuple[int, Step, float]]:
    """The steps of a line that a bar plays: number, step, and its place in the bar in beats."""
    for beat, source in fit_bar(line, bar.place, bar.length):
        for number, step in enumerate(line.steps):
            if source - 1e-9 <= step.beat < source + 1 - 1e-9:
                yield number, step, beat + step.beat - source


def loudness(velocity: float | int, intensity: float) -> int:
    """Velocity at an intensity, at most ``LOUDEST``."""
    return int(np.clip(round(velocity * (0.74 + 0.36 * intensity)), 12, LOUDEST))


def _players(style: Style, section: str, group: float) -> frozenset[str]:
    least = style.layers.get(section, {})
    playing = {name for name in TRACK_NAMES if group >= least.get(name, 0.0)}
    return frozenset(playing or {"chords"})


def _lay_chords(
    clock: BeatClock, plan: Plan, style: Style, key: Key, rng: np.random.Generator
) -> list[tuple[Chord, ...]]:
    """Chords of all bars: the progression by sections, a cadence before the final chord."""
    harmony = style.harmony[key.mode]
    written = harmony.progressions[rng.integers(len(harmony.progressions))]
    progression = [parse_bar(bar, key) for bar in written]
    cadence, final = parse_bar(harmony.cadence, key), parse_bar(harmony.final, key)
    pickup = clock.n_bars > 1 and int(clock.beat_numbers[0]) != 1
    lengths = [section.n_bars for section in plan.sections]
    if pickup:
        lengths[0] -= 1
    chords = lay_progression(progression, cadence, lengths, clock.beats_per_bar)
    if pickup:
        chords.insert(0, cadence)
    last = clock.bar_of(plan.final_beat)
    for index in range(last, len(chords)):
        chords[index] = final
    before = plan.final_beat - int(clock.bar_starts[last])
    if before:  # the last hit is within a bar: the cadence leads to it
        rest = clock.bar_length(last) - before
        share = [cadence[beat * len(cadence) // before] for beat in range(before)]
        chords[last] = (*share, *final * rest)
    elif last >= 2:
        chords[last - 1] = lead_to(chords[last - 1], cadence, clock.beats_per_bar)
    return chords
