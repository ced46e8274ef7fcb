"""Beats of the music made for real videos against the beats of the videos' own sound.

The beats of the generated sound are found by trackers that know nothing of the rhythm it was
made on: by librosa's, and by the package's own from the sound alone. The reference is what the
package's own tracker and librosa find in the video's sound; no one annotated it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dancetomusic.errors import DanceToMusicError
from dancetomusic.evaluation.report import DASH, table
from dancetomusic.generate.result import Music
from dancetomusic.io.audio import read_audio
from dancetomusic.metrics.beats import Times, track_beats
from dancetomusic.metrics.rhythm_scores import f_measure, metrical_levels
from dancetomusic.models.beat_network.audio_beats import track_audio_beats
from dancetomusic.types import FAIR, RhythmTrack, Waveform

TRACKERS = ("librosa", "own")


@dataclass(frozen=True)
class GeneratedBeats:
    """How the beats of one video's music compare with those of its own sound.

    Attributes:
        pulse: Verdict of the package's tracker on the video's own sound; ``no sound`` without.
        scores: Tracker of the generated sound and tracker of the own sound to F and to F at the
            best metrical level; empty where the video has no sound.
        problem: Why no music was made; empty otherwise.
    """

    video: str
    source: str = ""
    verdict: str = ""
    bpm: float = float("nan")
    pulse: str = ""
    scores: dict[tuple[str, str], tuple[float, float]] | None = None
    problem: str = ""

    @property
    def has_pulse(self) -> bool:
        """Whether the own sound has a beat to compare with."""
        return self.pulse not in ("", NO_SOUND, NO_PULSE)


NO_SOUND, NO_PULSE = "no sound", "no pulse"


def compare_generated(
    generate: Callable[[Path], Music],
    videos: Sequence[Path],
    *,
    on_done: Callable[[int], None] = lambda total: None,
) -> list[GeneratedBeats]:
    """Make music for each video and compare its beats; a video that cannot be used says why."""
    rows = []
    for video in videos:
        try:
            rows.append(compare_one(video, generate(video)))
        except DanceToMusicError as error:
            rows.append(GeneratedBeats(video.name, problem=str(error)))
        on_done(len(videos))
    return rows


def compare_one(video: Path, music: Music) -> GeneratedBeats:
    """The beats of one piece of music against those of the sound of the video it is for."""
    rhythm = music.rhythm
    own = read_audio(video)
    scores: dict[tuple[str, str], tuple[float, float]] = {}
    pulse = NO_SOUND
    if own is not None:
        track = track_audio_beats(own)
        pulse = _pulse(track)
        made = _beats(music.waveform, track_audio_beats(music.waveform))
        for reference_name, reference in _beats(own, track).items():
            for made_name, estimated in made.items():
                scores[made_name, reference_name] = _compare(reference, estimated)
    return GeneratedBeats(
        video=video.name,
        source=rhythm.source,
        verdict=rhythm.verdict,
        bpm=rhythm.bpm,
        pulse=pulse,
        scores=scores,
    )


def render_generated(rows: Sequence[GeneratedBeats]) -> list[str]:
    """The table as lines of Markdown, with the means over videos whose sound has a pulse."""
    pairs = [(made, own) for own in ("own", "librosa") for made in TRACKERS]
    titles = ["video", "own sound", "beats from", "verdict", "BPM"]
    titles += [f"{_NAMES[made]} against {_NAMES[own]}" for made, own in pairs]
    texts = []
    for row in rows:
        if row.problem:
            texts.append([row.video, row.problem, *[""] * (len(titles) - 2)])
            continue
        own = [row.pulse, row.source, row.verdict, f"{row.bpm:.1f}"]
        texts.append([row.video, *own, *(_score_text(row, pair) for pair in pairs)])
    compared = [row for row in rows if row.has_pulse and row.scores]
    if compared:
        means = [_mean_text(compared, pair) for pair in pairs]
        texts.append([f"**mean of {len(compared)} with a pulse**", *[""] * 4, *means])
    return ["## Beats of the generated sound", "", *table(titles, texts), "", NOTE, ""]


_NAMES = {"librosa": "librosa", "own": "own tracker"}
NOTE = """\
F at ±70 ms / F at the best metrical level, of the beats that the first tracker finds in the
generated sound against those that the second finds in the video's own. Librosa's tracker shares
nothing with what made the music; the own tracker may have read the same sound already. `no pulse`:
the own tracker calls its beats a guess, so there is nothing to compare with, and the scores are in
brackets."""


def _pulse(track: RhythmTrack) -> str:
    if track.beat_times.size < 2 or track.certainty < FAIR:
        return NO_PULSE
    return f"{track.verdict}, {track.bpm:.1f} BPM"


def _beats(sound: Waveform, track: RhythmTrack) -> dict[str, Times]:
    return {"librosa": track_beats(sound), "own": track.beat_times.astype(np.float64)}


def _compare(reference: Times, estimated: Times) -> tuple[float, float]:
    levels = [f_measure(level, estimated) for level in metrical_levels(reference)]
    return levels[0], max(levels)


def _score_text(row: GeneratedBeats, pair: tuple[str, str]) -> str:
    if not row.scores:
        return DASH
    text = "{:.2f} / {:.2f}".format(*row.scores[pair])
    return text if row.has_pulse else f"({text})"


def _mean_text(rows: Sequence[GeneratedBeats], pair: tuple[str, str]) -> str:
    values = np.array([row.scores[pair] for row in rows if row.scores])
    return "{:.2f} / {:.2f}".format(*values.mean(axis=0))
