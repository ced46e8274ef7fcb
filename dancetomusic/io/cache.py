"""Where things that can be made again are kept between runs."""

from __future__ import annotations

import logging
import os
import stat
import tempfile
from functools import cache
from pathlib import Path

from dancetomusic.errors import OutputError

logger = logging.getLogger(__name__)

VARIABLE = "DANCETOMUSIC_CACHE"
_REMEDY = f"Set {VARIABLE} to a directory that you can write."


def cache_directory() -> Path:
    """The user's cache for this package, made if absent; ``$DANCETOMUSIC_CACHE`` overrides.

    Where the user's cache cannot be written, as with a home that is read-only, a folder of the
    user's own beside other temporary files stands in for it, with one warning.

    Raises:
        OutputError: If it cannot be made.
    """
    import platformdirs

    chosen = os.environ.get(VARIABLE)
    directory = Path(chosen or platformdirs.user_cache_dir("dancetomusic"))
    try:
        return _writable(directory)
    except OSError as error:
        if not chosen:
            return _temporary(directory)
        raise OutputError(
            f"cannot write to the cache {directory} ({error.strerror})", _REMEDY
        ) from error


def _writable(directory: Path, mode: int = 0o777) -> Path:
    directory.mkdir(mode, parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(0, "it is read-only")
    return directory


@cache
def _temporary(instead_of: Path) -> Path:
    """A folder that nobody else can have put anything into."""
    user = getattr(os, "getuid", int)()
    directory = Path(tempfile.gettempdir()) / f"dancetomusic-{user}"
    try:
        _writable(directory, 0o700)
        status = directory.lstat()
    except OSError as error:
        raise OutputError(
            f"neither {instead_of} nor {directory} can be written ({error.strerror})", _REMEDY
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != user or status.st_mode & 0o022:
        raise OutputError(f"{directory} belongs to somebody else", _REMEDY)
    logger.warning("%s cannot be written: the cache is %s", instead_of, directory)
    return directory
