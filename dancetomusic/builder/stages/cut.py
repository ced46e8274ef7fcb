"""A section of a video becomes clips of one length, side by side."""

from __future__ import annotations

from dataclasses import dataclass

from dancetomusic.builder.sources import Section
from dancetomusic.errors import InputError
from dancetomusic.types import RhythmTrack

ROUNDING_S = 0.05
"""A section this much shorter than its clips together still gives all of them."""


@dataclass(frozen=True)
class ClipTask:
    """One clip to be made.

    Attributes:
        sound: Its whole sound as FLAC, standardised; ``None`` where it has none.
        offset_s: Time of the source at the start of ``media``, in seconds.
    """

    key: str
    section: Section
    start_s: float
    end_s: float
    media: str = ""
    sound: str | None = None
    offset_s: float = 0.0
    beats: RhythmTrack | None = None


def cut(start_s: float, end_s: float, length_s: float) -> list[tuple[float, float]]:
    """Start and end of the clips of a section, in seconds; the rest at its end is left out.

    Raises:
        InputError: If it is too short for one.
    """
    n_clips = int((end_s - start_s + ROUNDING_S) / length_s)
    if n_clips < 1:
        raise InputError(
            f"the section lasts {max(0.0, end_s - start_s):.2f} s, a clip {length_s:g} s",
            "Give a longer section or shorter clips.",
        )
    starts = [round(start_s + k * length_s, 3) for k in range(n_clips)]
    return [(start, round(start + length_s, 3)) for start in starts]
