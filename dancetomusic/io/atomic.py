"""Files are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dancetomusic.errors import OutputError

_LONGEST_STEM = 16  # of a temporary name, so that the longest legal name leaves room for it


@contextmanager
def atomic_output(path: Path | str) -> Iterator[Path]:
    """Give a temporary path that replaces ``path`` when the block succeeds.

    The temporary name keeps the suffix, so writers that choose a format by it work. A symbolic
    link is written through, a file that exists keeps its permissions, and a pipe or device is
    written to once the block has succeeded. On any exception the temporary file is removed and
    ``path`` stays as it was.

    Raises:
        OutputError: If the directory is missing or not writable, or ``path`` is a directory.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise OutputError(f"{path} is a directory", "Name a file.")
    special = target.exists() and not target.is_file()
    parent = Path(tempfile.gettempdir()) if special else target.parent
    if not parent.is_dir():
        raise OutputError(f"directory {parent} does not exist", "Create it first.")
    prefix = f".{target.stem[:_LONGEST_STEM]}."
    try:
        handle, name = tempfile.mkstemp(dir=parent, prefix=prefix, suffix=target.suffix)
    except OSError as error:
        raise OutputError(
            f"cannot write in {parent} ({error.strerror})", "Choose another output path."
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        if special:
            with temporary.open("rb") as written, target.open("wb") as opened:
                shutil.copyfileobj(written, opened)
            return
        temporary.chmod(_mode(target))
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(
            f"writing {path} failed ({error.strerror or error})",
            "Free some disk space or choose another output path.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _mode(target: Path) -> int:
    """Permissions of the file that is there, else those of a new one."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
