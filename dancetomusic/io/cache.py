"""Where things that can be made again are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

from dancetomusic.errors import OutputError


def cache_directory() -> Path:
    """The user's cache for this package, made if absent; ``$DANCETOMUSIC_CACHE`` overrides.

    Raises:
        OutputError: If it cannot be made.
    """
    import platformdirs

    chosen = os.environ.get("DANCETOMUSIC_CACHE") or platformdirs.user_cache_dir("dancetomusic")
    directory = Path(chosen)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the cache {directory} ({error.strerror})",
            "Set DANCETOMUSIC_CACHE to a directory that you can write.",
        ) from error
    return directory
