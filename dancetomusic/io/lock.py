"""One process at a time works on a directory."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from dancetomusic.errors import OutputError

LOCK_FILE = ".lock"


@contextmanager
def exclusive(directory: Path | str) -> Iterator[None]:
    """Keep other processes out of ``directory`` for the length of the block.

    The operating system holds the lock on ``<directory>/.lock`` and releases it when the process
    ends, however it ends. The file stays, for removing it would let two processes lock two files
    of one name; it names the process that holds the lock and is empty while none does.

    Raises:
        OutputError: If another process holds it, or the directory cannot be written.
    """
    path = Path(directory) / LOCK_FILE
    lock = FileLock(path, blocking=False)
    try:
        path.parent.stat()  # FileLock would make a folder that is absent
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"another process works on {directory} ({_holder(path) or 'just started'})",
            "Wait until it has finished, or choose another output path.",
        ) from None
    except (OSError, NotImplementedError) as error:  # the latter: a file system without locks
        raise OutputError(
            f"cannot write in {directory} ({getattr(error, 'strerror', None) or error})",
            "Choose another output path.",
        ) from error
    try:
        _write(path, f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        _write(path, "")
        lock.release()


def _write(path: Path, holder: str) -> None:
    with suppress(OSError):  # Windows lets nobody write to a locked file
        path.write_text(holder, encoding="utf-8")


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()[:200]
    except OSError:
        return ""
