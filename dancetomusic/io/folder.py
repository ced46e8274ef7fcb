"""The videos of a folder."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dancetomusic.errors import InputError
from dancetomusic.io.mux import VIDEO_SUFFIXES

logger = logging.getLogger(__name__)

FOLDER_SUFFIXES = frozenset(VIDEO_SUFFIXES) | {
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".wmv"),
}
"""Suffixes, in lower case, of the files that a folder is searched for."""

_NOWHERE = "lead nowhere that can be read"
_AROUND = "lead to a folder around them"
_KNOWN = "lead to what is found elsewhere in it"


def find_videos(folder: Path | str, *, leave_out: Path | str | None = None) -> list[Path]:
    """The videos in a folder and the folders below it, by suffix, in order of their names.

    Hidden files and folders are skipped. Links to files and folders are followed, but no file is
    given twice: by its own name if it lies in ``folder`` itself, else by its first name. Links
    that are left out for this, or that lead nowhere, are counted in one warning.

    The paths begin with the absolute path of ``folder``; ``leave_out`` is a folder in it that is
    not looked into.

    Raises:
        InputError: If there is no such folder, or it cannot be read.
    """
    root = Path(folder).absolute()
    if not root.is_dir():
        raise InputError(f"{folder} is not a folder", "Name a folder of videos.")
    search = _Search(root, None if leave_out is None else os.path.realpath(leave_out))
    videos = search.run()
    if search.skipped:
        reasons = ", ".join(f"{count} {reason}" for reason, count in search.skipped.items())
        logger.warning("%s: links that are left out: %s", folder, reasons)
    return sorted(videos.values(), key=lambda file: file.relative_to(root).as_posix())


class _Search:
    """One search: real folders first, so that nothing is known by a link that has a name."""

    def __init__(self, root: Path, avoided: str | None) -> None:
        self.skipped: Counter[str] = Counter()
        self._root = root
        self._avoided = avoided
        self._looked_into: set[str] = set()
        self._links: list[Path] = []

    def run(self) -> dict[str, Path]:
        """The videos by where they really lie."""
        videos: dict[str, Path] = {}
        file_links: list[Path] = []
        folders = [self._root]
        while folders:
            for file in (file for folder in folders for file in self._files(folder)):
                if file.is_symlink():
                    file_links.append(file)
                elif os.path.isfile(file):
                    self._take(file, videos)
            folders, self._links = self._links, []
            folders.sort()
        for link in sorted(file_links):
            if os.path.isfile(link):  # False where it may not be looked at
                self._take(link, videos)
            elif not os.path.exists(link):
                self.skipped[_NOWHERE] += 1
        return videos

    def _take(self, file: Path, videos: dict[str, Path]) -> None:
        real = os.path.realpath(file)
        if self._is_avoided(real):
            return
        if real not in videos:
            videos[real] = file
        elif file.is_symlink():
            self.skipped[_KNOWN] += 1

    def _is_avoided(self, real: str) -> bool:
        return self._avoided is not None and Path(real).is_relative_to(self._avoided)

    def _files(self, top: Path) -> Iterator[Path]:
        """Files with the suffix of a video; links to folders are kept for later."""
        real_top = os.path.realpath(top)
        if top != self._root:
            around = (os.path.realpath(folder) for folder in (self._root, top.parent))
            if any(Path(folder).is_relative_to(real_top) for folder in around):
                self.skipped[_AROUND] += 1
                return
            if real_top in self._looked_into:
                self.skipped[_KNOWN] += 1
                return
        for parent, folders, files in os.walk(top, onerror=_refuse):
            self._looked_into.add(os.path.realpath(parent))
            kept = []
            for name in sorted(folders):
                inner = Path(parent, name)
                real = os.path.realpath(inner)
                if name.startswith(".") or self._is_avoided(real):
                    continue
                if inner.is_symlink():
                    self._links.append(inner)
                elif real not in self._looked_into:
                    kept.append(name)
            folders[:] = kept
            for name in sorted(files):
                file = Path(parent, name)
                if not name.startswith(".") and file.suffix.lower() in FOLDER_SUFFIXES:
                    yield file


def _refuse(error: OSError) -> None:
    raise InputError(
        f"cannot read {error.filename} ({error.strerror})", "Change its permissions."
    ) from error
