"""What synthesis plays and dances: drum patterns, positions of hands, and styles, as data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dancetomusic.config import load_config_values


def read_table(name: str) -> dict[str, Any]:
    """The plain values of the table ``NAME.yaml`` beside this module."""
    return load_config_values(Path(__file__).with_name(f"{name}.yaml"))


def steps_of(line: str) -> tuple[int, ...]:
    """The steps of a line at which it has an ``x``; blanks and ``|`` do not count.

    Example:
        >>> steps_of("x... ..x. | x...")
        (0, 6, 8)
    """
    line = line.replace(" ", "").replace("|", "")
    return tuple(step for step, sign in enumerate(line) if sign == "x")
