"""The reference rhythm of a clip: the beats of its drums and bass."""

from __future__ import annotations

from pathlib import Path

from dancetomusic.data.clip import BEATS_FILE, STEM_FILE
from dancetomusic.io.audio import read_flac
from dancetomusic.models.beat_network.audio_beats import track_audio_beats
from dancetomusic.rhythm.files import save_beats


def find_beats(work: Path) -> None:
    """Write the beats of a clip's stem; beats that are there already are kept.

    Raises:
        OutputError: If they cannot be written.
    """
    target = work / BEATS_FILE
    if not target.is_file():
        save_beats(target, track_audio_beats(read_flac(work / STEM_FILE)))
