"""Drums and bass of the clips' sounds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dancetomusic.data.clip import MIX_FILE, STEM_FILE
from dancetomusic.io.audio import read_flac, write_flac
from dancetomusic.stems.base import Mix, Separator


def separate(works: Sequence[Path], separator: Separator) -> None:
    """Write the stem of each clip's mix, in one call of the separator.

    Stems that are there already are kept.

    Raises:
        DependencyError: If the separator does not work.
        OutputError: If a stem cannot be written.
    """
    missing = [work for work in works if not (work / STEM_FILE).is_file()]
    mixes = [Mix(work.name, read_flac(work / MIX_FILE)) for work in missing]
    if mixes:
        for work, stem in zip(missing, separator.drum_and_bass(mixes), strict=True):
            write_flac(work / STEM_FILE, stem)
