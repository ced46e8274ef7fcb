"""One process at a time works on a directory."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dancetomusic.errors import OutputError

LOCK_FILE = ".lock"


@contextmanager
def exclusive(directory: Path | str) -> Iterator[None]:
    """Keep other processes out of ``directory`` for the length of the block.

    The kernel holds the lock on ``<directory>/.lock`` and releases it when the process ends,
    however it ends. The file stays, for removing it would let two processes lock two files
    of one name; it names the process that holds the lock and is empty while none does.

    Raises:
        OutputError: If another process holds it, or the directory cannot be written.
    """
    path = Path(directory) / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OutputError(
            f"cannot write in {directory} ({error.strerror})", "Choose another output path."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise OutputError(
                    f"{path} cannot be locked ({error.strerror})",
                    "Choose an output path on a file system with locks.",
                ) from error
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
            raise OutputError(
                f"another process works on {directory} ({holder or 'just started'})",
                "Wait until it has finished, or choose another output path.",
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
