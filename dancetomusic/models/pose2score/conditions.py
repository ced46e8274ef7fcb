"""What a score is written for, as classes at every tick of a piece."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from dancetomusic.models.pose2score.events import TICKS_PER_BEAT
from dancetomusic.score.accents import place_answers
from dancetomusic.score.arrange import ARRANGED
from dancetomusic.score.frame import Frame
from dancetomusic.score.style import SECTION_NAMES

LEVELS = 10
"""Steps of intensity."""

LONGEST_BAR = 16
NEAREST_BARS = 8
"""Bars from which the position in a section counts as far."""

CONDITIONS: dict[str, int] = {
    "tick": TICKS_PER_BEAT,
    "beat": LONGEST_BAR,
    "bar length": LONGEST_BAR + 1,
    "bar in section": NEAREST_BARS + 1,
    "bars left": NEAREST_BARS + 1,
    "section": len(SECTION_NAMES),
    "mode": 2,
    "tonic": 12,
    "tempo": 14,
    "pickup": 2,
    "beats to last hit": LONGEST_BAR + 1,
    "style": 0,
    "intensity": LEVELS + 2,
    "group intensity": LEVELS + 2,
    "playing": 17,
    "hit": 4,
    "ticks to hit": TICKS_PER_BEAT + 1,
}
"""Classes of each; the number of styles is the model's. 0 means unknown of those in ``GUIDED``."""

CONDITION = {name: index for index, name in enumerate(CONDITIONS)}
GUIDED = ("style", "intensity", "group intensity", "playing", "hit", "ticks to hit")
"""Withheld now and then in training, so that they can guide."""


def conditions_of(frame: Frame, styles: Sequence[str]) -> Int64[np.ndarray, "ticks conditions"]:
    """The class of each condition at each tick up to the last hit.

    A style that is not among ``styles`` counts as none in particular.
    """
    beats = frame.plan.final_beat
    table = np.zeros((beats, len(CONDITIONS)), np.int64)

    def fill(name: str, values: np.ndarray | Sequence[int] | int) -> None:
        table[:, CONDITION[name]] = values

    bar_of = np.array([bar.index for bar in frame.bars for _ in range(bar.length)])[:beats]
    bars = [frame.bars[index] for index in bar_of.tolist()]
    starts = np.array([bar.start for bar in bars])
    lengths = np.array([bar.length for bar in bars])
    # A pick-up bar's beats are its last ones.
    usual = frame.clock.beats_per_bar
    shift = np.array([usual - bar.length if bar.pickup else 0 for bar in bars])
    fill("beat", np.clip(np.arange(beats) - starts + shift, 0, LONGEST_BAR - 1))
    fill("bar length", np.minimum(np.maximum(lengths, shift + lengths), LONGEST_BAR))
    fill("bar in section", [min(bar.place, NEAREST_BARS) for bar in bars])
    fill("bars left", [min(bar.left, NEAREST_BARS) for bar in bars])
    fill("section", [SECTION_NAMES.index(bar.section) for bar in bars])
    fill("mode", int(frame.key.mode == "major"))
    fill("tonic", frame.key.tonic)
    fill("tempo", int(np.clip(round(3 * np.log2(60.0 / frame.beat_s / 40.0)), 0, 13)))
    fill("pickup", [int(bar.pickup) for bar in bars])
    fill("beats to last hit", np.minimum(beats - np.arange(beats), LONGEST_BAR))
    name = frame.style.name
    fill("style", 1 + list(styles).index(name) if name in styles else 0)
    fill("intensity", [1 + round(bar.intensity * LEVELS) for bar in bars])
    fill("group intensity", [1 + round(bar.group * LEVELS) for bar in bars])
    fill("playing", [1 + _players(bar.playing) for bar in bars])
    ticks = np.repeat(table, TICKS_PER_BEAT, axis=0)
    ticks[:, CONDITION["tick"]] = np.arange(len(ticks)) % TICKS_PER_BEAT
    _add_hits(ticks, frame)
    return ticks


def withhold(rows: Int64[np.ndarray, "*lead conditions"]) -> Int64[np.ndarray, "*lead conditions"]:
    """The conditions without those that guide."""
    rows = rows.copy()
    rows[..., [CONDITION[name] for name in GUIDED]] = 0
    return rows


def _add_hits(ticks: np.ndarray, frame: Frame) -> None:
    """Whether a hit is answered at a tick, more strongly by 2 and 3, and how soon the next is."""
    answers = place_answers(frame)
    usual = float(np.median([answer.strength for answer in answers])) if answers else 0.0
    for answer in answers:
        tick = round(answer.beat * TICKS_PER_BEAT)
        if 0 <= tick < len(ticks):
            kind = 3 if answer.crash else 2 if answer.strength >= usual else 1
            ticks[tick, CONDITION["hit"]] = max(kind, ticks[tick, CONDITION["hit"]])
            for ahead in range(1, min(TICKS_PER_BEAT, tick) + 1):
                soonest = ticks[tick - ahead, CONDITION["ticks to hit"]]
                if soonest == 0 or ahead < soonest:
                    ticks[tick - ahead, CONDITION["ticks to hit"]] = ahead


def _players(playing: frozenset[str]) -> int:
    return sum(1 << bit for bit, name in enumerate(ARRANGED) if name in playing)
