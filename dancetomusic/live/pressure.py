"""What a live engine leaves out when the machine is too slow, so that the sound goes on."""

from __future__ import annotations

from dataclasses import dataclass

RISE_S = 0.5
"""Least time between two steps up."""

CALM_S = 10.0
"""So long without a shortage, one step down."""

SHORT = 0.5
"""Less sound ready than this share of what should be is a shortage."""


@dataclass(frozen=True)
class Relief:
    """One step of relief.

    Attributes:
        said: What is done, in words.
        look_pause_s: Pause after each picture that was looked at, in seconds.
        lead_s: Sound kept ready beyond the usual, in seconds; the beat is predicted farther.
        simple: Whether the composer leaves out what it can.
    """

    said: str
    look_pause_s: float
    lead_s: float
    simple: bool = False


RELIEFS = (
    Relief("", 0.0, 0.0),
    Relief("every other picture was left out", 1 / 24, 0.06),
    Relief("six pictures a second were looked at", 0.14, 0.15),
    Relief("music was composed without guidance, in larger blocks", 0.14, 0.3, True),
    Relief("two pictures a second were looked at", 0.4, 0.4, True),
)


class Pressure:
    """Chooses a step of ``RELIEFS`` by how much sound is ready; one thread notes, any may read."""

    def __init__(self) -> None:
        self.level = self.highest = 0
        self._short_before = False
        self._changed_s = self._short_s = float("-inf")

    @property
    def relief(self) -> Relief:
        """The step that is taken now."""
        return RELIEFS[self.level]

    def note(self, ready_s: float, wanted_s: float, now_s: float, *, underrun: bool) -> None:
        """Take how much sound is ready before a block is composed.

        ``wanted_s`` should be ready without any relief; ``now_s`` is of a steady clock, and
        ``underrun`` says whether sound was missing since the last call.
        """
        short = underrun or ready_s < SHORT * wanted_s
        if short:
            self._short_s = now_s
        rises = underrun or (short and self._short_before)  # one late block is no shortage
        self._short_before = short
        if rises and now_s - self._changed_s >= RISE_S and self.level + 1 < len(RELIEFS):
            self._change(self.level + 1, now_s)
        elif self.level and now_s - max(self._short_s, self._changed_s) >= CALM_S:
            self._change(self.level - 1, now_s)

    def _change(self, level: int, now_s: float) -> None:
        self.level, self._changed_s = level, now_s
        self.highest = max(self.highest, level)
