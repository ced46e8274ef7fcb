"""Outputs are checked before the work: they can be written, and replace nothing that is read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dancetomusic.errors import OutputError


def check_output(output: Path, suffixes: Sequence[str]) -> None:
    """Refuse an output of another kind, or one that could not be written.

    Raises:
        OutputError: If its suffix is none of ``suffixes``, it is a directory, or its directory
            is missing or not writable.
    """
    if output.suffix.lower() not in suffixes:
        raise OutputError(
            f"output {output} has extension {output.suffix or '(none)'!r}",
            f"Use {', '.join(suffixes)}.",
        )
    if output.is_dir():
        raise OutputError(f"output {output} is a directory", "Name a file.")
    parent = output.absolute().parent
    if not parent.is_dir():
        raise OutputError(f"directory {output.parent} does not exist", "Create it first.")
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write in {output.parent} ({error.strerror})", "Choose another output path."
        ) from error


def check_directory(output: Path) -> None:
    """Refuse a directory that could not be made or written.

    Raises:
        OutputError: If it, or what it would lie in, is a file or not writable.
    """
    nearest = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise OutputError(f"{nearest} is a file", "Name a directory.")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write in {nearest}", "Choose another output path.")


def check_distinct(outputs: Sequence[Path | None], inputs: Sequence[Path | None]) -> None:
    """Refuse an output that is an input, by whatever name, and two outputs that are one file.

    ``None`` is skipped.

    Raises:
        OutputError: If one file would be replaced while or after it is read, or written twice.
    """
    written: list[Path] = []
    for output in outputs:
        if output is None:
            continue
        if any(read is not None and _same(output, read) for read in inputs):
            raise OutputError(f"output {output} is the input", "Name another file.")
        if any(_same(output, other) for other in written):
            raise OutputError(f"output {output} is named twice", "Name each output once.")
        written.append(output)


def _same(one: Path, other: Path) -> bool:
    """Whether two names are of one file: by what is there, else by where the names lead."""
    try:
        return one.samefile(other)
    except OSError:
        return os.path.realpath(one) == os.path.realpath(other)
