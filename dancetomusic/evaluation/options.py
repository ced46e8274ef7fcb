"""Options that several tasks share."""

from __future__ import annotations

from pathlib import Path

from dancetomusic.errors import InputError


def named_folders(option: str, values: list[str]) -> dict[str, Path]:
    """``NAME=DIR`` values of an option by name.

    Raises:
        InputError: If one has another form, or a name comes twice.
    """
    named: dict[str, Path] = {}
    for value in values:
        name, equals, folder = value.partition("=")
        if not (name and equals and folder) or name in named:
            raise InputError(f"{option} is {value!r}", "Give NAME=DIR, each name once.")
        named[name] = Path(folder)
    return named
