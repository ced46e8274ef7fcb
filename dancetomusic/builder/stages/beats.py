"""The beats of a clip are those of its song, found in all of it together.

Five seconds are little to find beats in: clips that are analysed one by one contradict their
neighbours. What a clip's own drums and bass say serves as a check.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import soundfile

from dancetomusic.builder.stages.standardise import read_part
from dancetomusic.data.clip import BEATS_FILE, STEM_FILE
from dancetomusic.io.audio import read_flac
from dancetomusic.models.beat_network.audio_beats import beats_agreement, track_audio_beats
from dancetomusic.models.beat_network.network import BeatNetwork
from dancetomusic.rhythm.files import save_beats
from dancetomusic.types import RhythmTrack

STRETCH_S = 600.0
"""Clips within this time are analysed together, in seconds: longer than a song."""

MARGIN_S = 10.0
"""Sound before and after them that is analysed, too, in seconds."""

SHORTEST_S = 4.0
"""Length from which the sound of a clip alone is a check, in seconds."""


def find_song_beats(
    sound: Path,
    sample_rate: int,
    spans: Sequence[tuple[float, float]],
    *,
    network: BeatNetwork | None = None,
) -> list[RhythmTrack]:
    """The beats of each clip, on one grid for all.

    ``spans`` are start and end of the clips in the standardised ``sound``, in seconds, in order.
    """
    length_s = soundfile.info(os.fsencode(sound)).duration
    tracks: list[RhythmTrack] = []
    while len(tracks) < len(spans):
        rest = spans[len(tracks) :]
        together = [span for span in rest if span[1] <= rest[0][0] + STRETCH_S] or rest[:1]
        start_s = max(0.0, together[0][0] - MARGIN_S)
        end_s = max(start_s, min(together[-1][1] + MARGIN_S, length_s))
        n_samples = round((end_s - start_s) * sample_rate)
        song = track_audio_beats(read_part(sound, start_s, n_samples), network=network)
        tracks += [track_within(song, a - start_s, b - start_s) for a, b in together]
    return tracks


def track_within(track: RhythmTrack, start_s: float, end_s: float) -> RhythmTrack:
    """The part of a track in [``start_s``, ``end_s``), counted from ``start_s``."""
    times = track.beat_times - start_s
    inside = (times >= 0) & (times < end_s - start_s)
    first, last = round(start_s * track.energy_rate), round(end_s * track.energy_rate)
    return replace(
        track,
        beat_times=times[inside],
        beat_numbers=track.beat_numbers[inside],
        confidence=track.confidence[inside],
        energy=track.energy[first:last],
        duration_s=end_s - start_s,
    )


def write_beats(track: RhythmTrack, work: Path) -> float:
    """Write the beats of a clip; gives how well its own stem agrees with them, in [0, 1].

    The agreement is an F-measure at 70 ms; 1 for what is too short to be a check.

    Raises:
        OutputError: If they cannot be written.
    """
    save_beats(work / BEATS_FILE, track)
    if track.duration_s < SHORTEST_S:
        return 1.0
    own = track_audio_beats(read_flac(work / STEM_FILE))
    return beats_agreement(track.beat_times, own.beat_times)
