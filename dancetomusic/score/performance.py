"""A score as sound: each track played, placed in the mix, ready to be mastered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dancetomusic.score.equaliser import equalised
from dancetomusic.score.mix import levelled, mix_stems, sum_stems
from dancetomusic.score.notes import Score
from dancetomusic.score.sampler import render_stems
from dancetomusic.score.style import Style
from dancetomusic.score.tone import tone_bands
from dancetomusic.types import Waveform

KICKS = (35, 36)
"""General MIDI keys of the bass drum."""


def perform(
    score: Score,
    style: Style,
    *,
    soundfont: Path | str | None = None,
    programs: Mapping[str, int] | None = None,
) -> dict[str, Waveform]:
    """The tracks of a score as they stand in the mix; their sum is the mix.

    Tracks that ``style`` does not name stand in the middle; ``programs`` play in place of the own
    ones of the tracks that it names.

    Raises:
        InputError: If the SoundFont is unusable or lacks a preset, or a track is unknown.
    """
    drums = [track.notes for track in score.tracks if track.is_drum]
    kicks = [notes.start[np.isin(notes.pitch, KICKS)] for notes in drums]
    times = score.clock.seconds(np.sort(np.concatenate(kicks))) if kicks else np.zeros(0)
    stems: dict[str, Waveform] = {}
    for name, stem in render_stems(score, soundfont, programs):
        stems |= mix_stems({name: levelled(stem)}, style.mix, kick_times_s=times)
    # What tone the mix needs, each track is given alike, so that tracks still add up to it.
    bands = tone_bands(sum_stems(stems))
    return {name: equalised(stem, bands) for name, stem in stems.items()}
