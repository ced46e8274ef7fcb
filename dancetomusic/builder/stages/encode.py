"""Codes of the clips' stems."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dancetomusic.codec.base import Codec
from dancetomusic.data.clip import CODES_FILE, STEM_FILE
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.audio import read_flac


def encode(work: Path, codec: Codec) -> None:
    """Write the codes of a clip's stem as int16; codes that are there already are kept.

    Raises:
        OutputError: If they cannot be written.
    """
    target = work / CODES_FILE
    if target.is_file():
        return
    codes = codec.encode(read_flac(work / STEM_FILE)).codes
    with atomic_output(target) as temporary, temporary.open("wb") as file:
        np.save(file, codes.astype(np.int16))
