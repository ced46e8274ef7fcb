"""Score the beats of five-second clips: each found alone, against those of its whole song."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from jaxtyping import Float

from dancetomusic.builder.stages.beats import find_song_beats
from dancetomusic.builder.stages.standardise import read_part, standardise
from dancetomusic.data.wild import TRUSTED_AGREEMENT, TRUSTED_PULSE, load_wild, wild_folds
from dancetomusic.metrics.beats import slice_beats
from dancetomusic.models.beat_network.audio_beats import beats_agreement, track_audio_beats
from dancetomusic.models.beat_network.network import load_beat_network
from dancetomusic.stems.base import Mix
from dancetomusic.stems.hpss import HpssSeparator

CLIP_S, RATE = 5.0, 24_000
RIGHT = 0.8
"""F-measure from which beats are right, and clips on one grid."""

Times = Float[np.ndarray, " _"]


def main(
    wild: Annotated[Path, typer.Argument(help="Folder of real clips with known beats.")],
    networks: Annotated[
        list[Path], typer.Argument(help="Beat networks trained with one fold each held out.")
    ],
) -> None:
    """Print how many clips are right, and how many lie on one grid with the next of their song."""
    held_out = [load_beat_network(path) for path in networks]
    clips = load_wild(wild)
    folds = wild_folds(clips, len(held_out))
    scores: dict[str, list[float]] = {}
    for clip in clips:
        if clip.agreement < TRUSTED_AGREEMENT or clip.pulse < TRUSTED_PULSE:
            continue
        network = held_out[folds[clip.group]]
        spans = [(k * CLIP_S, (k + 1) * CLIP_S) for k in range(int(clip.duration_s / CLIP_S))]
        with tempfile.TemporaryDirectory() as folder:
            sound = standardise(clip.sound_path, Path(folder) / "sound.flac", RATE)
            assert sound is not None
            mixes = [
                Mix("clip", read_part(sound, start, round(CLIP_S * RATE))) for start, _ in spans
            ]
            song = find_song_beats(sound, RATE, spans, network=network)
        stems = [HpssSeparator().drum_and_bass([mix])[0] for mix in mixes]
        own = [track_audio_beats(stem, network=network).beat_times for stem in stems]
        whole = [track.beat_times for track in song]
        for name, found in (("each clip alone", own), ("whole song", whole)):
            for (start, end), times in zip(spans, found, strict=True):
                reference = slice_beats(clip.beat_times, start, end)
                right, octave = beats_agreement(reference, times), at_any_level(reference, times)
                scores.setdefault(f"{name}: right", []).append(right)
                scores.setdefault(f"{name}: right at some metrical level", []).append(octave)
            scores.setdefault(f"{name}: on one grid with the next", []).extend(
                beats_agreement(continued(a), b) for a, b in itertools.pairwise(found)
            )
        confirmed = [beats_agreement(a, b) for a, b in zip(whole, own, strict=True)]
        for agreement, (start, end), times in zip(confirmed, spans, whole, strict=True):
            kind = "confirmed" if agreement >= RIGHT else "contradicted"
            reference = slice_beats(clip.beat_times, start, end)
            right = beats_agreement(reference, times)
            scores.setdefault(f"whole song, {kind} by the clip: right", []).append(right)
    for name, values in scores.items():
        share = np.mean(np.array(values) >= RIGHT)
        typer.echo(f"{name:50s} {share:.3f} of {len(values)}")


def at_any_level(reference: Times, times: Times) -> float:
    """Best agreement where every second beat of either may be left out."""
    pairs = [(reference, times)]
    for first in (0, 1):
        pairs += [(reference, times[first::2]), (reference[first::2], times)]
    return max(beats_agreement(a, b) for a, b in pairs)


def continued(times: Times) -> Times:
    """The beats of the next clip on a steady grid through those of this one."""
    if times.size < 3:
        return np.zeros(0)
    beat_s, first = np.polyfit(np.arange(times.size), times, 1)
    grid = first + beat_s * np.arange(-2, 2 + int(2 * CLIP_S / beat_s))
    return slice_beats(grid, CLIP_S, 2 * CLIP_S)


if __name__ == "__main__":
    typer.run(main)
