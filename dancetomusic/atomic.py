"""Files are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dancetomusic.errors import OutputError


@contextmanager
def atomic_output(path: Path | str) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that replaces it when the block succeeds.

    The temporary name keeps the suffix, so writers that choose a format by it work.
    On any exception the temporary file is removed and ``path`` stays as it was.

    Raises:
        OutputError: If the directory is missing or not writable, or ``path`` is a directory.
    """
    target = Path(path)
    parent = target.parent
    if target.is_dir():
        raise OutputError(f"{target} is a directory", "Name a file.")
    if not parent.is_dir():
        raise OutputError(f"directory {parent} does not exist", "Create it first.")
    try:
        handle, name = tempfile.mkstemp(dir=parent, prefix=f".{target.stem}.", suffix=target.suffix)
    except OSError as error:
        raise OutputError(
            f"cannot write in {parent} ({error.strerror})", "Choose another output path."
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(
            f"writing {target} failed ({error.strerror or error})",
            "Free some disk space or choose another output path.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
