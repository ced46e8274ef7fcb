"""What the machine refuses (memory, disk, files) in one line, whatever library met it first."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from dancetomusic.errors import DanceToMusicError

_MEMORY_PHRASES = (
    *("cannot allocate memory", "can't allocate memory", "not enough memory", "bad_alloc"),
    *("out of memory", "failed to map segment", "can't start new thread", "unable to mmap"),
    "errno=12",
)
_OF_MACHINE = frozenset({
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE),
})  # fmt: skip


def explain(error: BaseException) -> DanceToMusicError | None:
    """What to say of an error: itself if a user can repair it, or what of the machine caused it.

    What led to the error is looked at, too. ``None`` stands for a bug.
    """
    for cause in _causes(error):
        said = str(cause).lower()
        if isinstance(cause, MemoryError) or any(phrase in said for phrase in _MEMORY_PHRASES):
            return DanceToMusicError(
                "there is not enough memory",
                "Close other programs, raise the limit (ulimit -v), or take a shorter video.",
            )
        if isinstance(error, DanceToMusicError):
            continue  # says better than its cause what was written where
        if isinstance(cause, OSError) and cause.errno in _OF_MACHINE:
            where = f"{cause.filename}: " if cause.filename else ""
            return DanceToMusicError(
                f"a file cannot be read or written ({where}{cause.strerror})",
                "Free some disk space, or choose another place.",
            )
    return error if isinstance(error, DanceToMusicError) else None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it, the outermost first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
