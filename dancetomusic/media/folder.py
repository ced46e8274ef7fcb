"""The videos of a folder."""

from __future__ import annotations

import os
from pathlib import Path

from dancetomusic.errors import InputError
from dancetomusic.media.mux import VIDEO_SUFFIXES

FOLDER_SUFFIXES = frozenset(VIDEO_SUFFIXES) | {
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".wmv"),
}
"""Suffixes, in lower case, of the files that a folder is searched for."""


def find_videos(folder: Path | str, *, leave_out: Path | str | None = None) -> list[Path]:
    """The videos in a folder and the folders below it, by suffix, in order of their names.

    Hidden files and folders are skipped, and so are links to folders or out of ``folder``.

    Args:
        folder: Where to look; the paths given begin with its absolute path.
        leave_out: A folder in ``folder`` that is not looked into.

    Raises:
        InputError: If there is no such folder, or it cannot be read.
    """
    root = Path(folder).absolute()
    if not root.is_dir():
        raise InputError(f"{folder} is not a folder", "Name a folder of videos.")
    real_root = root.resolve()
    avoided = None if leave_out is None else Path(leave_out).resolve()

    def refuse(error: OSError) -> None:
        raise InputError(
            f"cannot read {error.filename} ({error.strerror})", "Change its permissions."
        ) from error

    videos = []
    for parent, folders, files in os.walk(root, onerror=refuse):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and Path(parent, name).resolve() != avoided
        ]
        for name in files:
            file = Path(parent, name)
            if name.startswith(".") or file.suffix.lower() not in FOLDER_SUFFIXES:
                continue
            if file.is_file() and file.resolve().is_relative_to(real_root):
                videos.append(file)
    return sorted(videos, key=lambda file: file.relative_to(root).as_posix())
