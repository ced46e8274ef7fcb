"""Files are written whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dancetomusic.errors import DanceToMusicError, OutputError

_LONGEST_STEM = 16  # of a temporary name, so that the longest legal name leaves room for it
_MARK = ".dancetomusic-"  # of a temporary name, so that no file of the user's is taken for one
_TRIED_BYTES = 1 << 20
_FULL_REMEDY = "Free some disk space or choose another output path."


@contextmanager
def atomic_output(path: Path | str) -> Iterator[Path]:
    """Give a temporary path that replaces ``path`` when the block succeeds.

    The temporary name keeps the suffix, so writers that choose a format by it work. A symbolic
    link is written through, a file that exists keeps its permissions, and a pipe or device is
    written to once the block has succeeded. On any exception the temporary file is removed and
    ``path`` stays as it was. One that a killed process left is removed when ``path`` is written
    again.

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
    try:
        handle, temporary = _open_temporary(parent, target)
    except OSError as error:
        raise OutputError(
            f"cannot write in {parent} ({error.strerror})", "Choose another output path."
        ) from error
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
            f"writing {path} failed ({error.strerror or error})", _FULL_REMEDY
        ) from error
    except DanceToMusicError:
        raise
    except Exception as error:  # libraries hide a full disk behind errors of their own
        reason = _refused(temporary)
        if reason is None:
            raise
        raise OutputError(f"writing {path} failed ({reason})", _FULL_REMEDY) from error
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


def _open_temporary(parent: Path, target: Path) -> tuple[int, Path]:
    """A new temporary file, locked; those for the same target that nobody locks are removed."""
    prefix = f".{target.stem[:_LONGEST_STEM]}{_MARK}"
    with os.scandir(parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(target.suffix):
                _remove_abandoned(entry.path)
    while True:
        handle, name = tempfile.mkstemp(dir=parent, prefix=prefix, suffix=target.suffix)
        with suppress(OSError):  # a file system without locks: nothing is removed there
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # removed by another process before it was locked


def _remove_abandoned(path: str) -> None:
    """Remove a temporary file whose lock went with the process that wrote it."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(handle)


def make_directory(path: Path | str) -> Path:
    """Make a directory, and those above it, where it is absent.

    Raises:
        OutputError: If it cannot be made, or something else has its name.
    """
    directory = Path(path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{path} is a file", "Name a directory.") from error
    except OSError as error:
        raise OutputError(
            f"cannot make directory {path} ({error.strerror})", "Choose another output path."
        ) from error
    return directory


def _refused(temporary: Path) -> str | None:
    """Why a file takes no more bytes; ``None`` if it does."""
    try:
        with temporary.open("ab") as file:
            file.write(bytes(_TRIED_BYTES))
    except OSError as error:
        return error.strerror or str(error)
    return None


def _mode(target: Path) -> int:
    """Permissions of the file that is there, else those of a new one."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
