"""What a model made of a dance: its sound, and what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dancetomusic.errors import OutputError
from dancetomusic.io.audio import SOUND_SUFFIXES, read_audio, write_audio, write_stems
from dancetomusic.io.mux import VIDEO_SUFFIXES, mux
from dancetomusic.pose.draw import draw_skeleton
from dancetomusic.rhythm.click import add_clicks
from dancetomusic.score.midi import write_midi
from dancetomusic.score.mix import duck_under
from dancetomusic.score.notes import Score
from dancetomusic.types import POSE_FPS, CodeSequence, PoseSequence, RhythmTrack, Waveform

MIDI_SUFFIX = ".mid"
OUTPUT_SUFFIXES = (*SOUND_SUFFIXES, MIDI_SUFFIX, *VIDEO_SUFFIXES)
"""Every kind of file that music can be written to."""

MADE = "Music made with dancetomusic, yours to use and to post."
RIGHTS = (
    f"{MADE} Sounds that come with it: MIT. Drum performances: Groove MIDI Dataset (Gillick et al. "
    "2019), CC BY 4.0."
)
"""Written into files that play the score; into others ``MADE``."""
MIXED = "Mixed with the video's own sound, whose rights are its owners'."


@dataclass(frozen=True)
class Music:
    """What was made of a dance.

    Attributes:
        dancers: All dancers followed, the most prominent first.
        codes: What the codec decoded it from; ``None`` from a model without a codec's codes.
        readings: What the dance's rhythm may be, the likeliest first; empty if not estimated.
        score: The notes, from a model that plays a score.
        stems: Its tracks as they stand in the mix, before it is mastered; empty without.
        about: What was chosen for the dance, in one line; may be empty.
        doubts: Why the beats of the movement that are played are a guess; may be empty.
        lead: Whose beats of the movement are played, and why; empty with one dancer.
    """

    waveform: Waveform
    rhythm: RhythmTrack
    dancers: tuple[PoseSequence, ...]
    timings: dict[str, float]
    video: Path | None = None
    codes: CodeSequence | None = None
    readings: tuple[RhythmTrack, ...] = ()
    score: Score | None = None
    stems: Mapping[str, Waveform] = field(default_factory=dict)
    about: str = ""
    doubts: tuple[str, ...] = ()
    lead: str = ""

    @property
    def poses(self) -> PoseSequence:
        """The most prominent dancer."""
        return self.dancers[0]

    def save(
        self,
        path: Path | str,
        *,
        overlay_skeleton: bool = False,
        mix_original: float = 0.0,
        click: bool = False,
    ) -> None:
        """Write the sound, the video with its new sound, or the score.

        Args:
            path: With one of ``OUTPUT_SUFFIXES``.
            overlay_skeleton: Draw the dancers' poses; the video is then re-encoded.
            mix_original: Gain of the video's own sound, ducked under the music, from 0 to 1, where
                it is as loud.
            click: Mix a click on every beat into the sound, to check the rhythm.

        Raises:
            OutputError: If the file cannot be written or its suffix is unknown.
        """
        target = Path(path)
        suffix = target.suffix.lower()
        if suffix == MIDI_SUFFIX:
            if self.score is None:
                raise no_score(target)
            write_midi(self.score, target, credit=RIGHTS)
            return
        sound, rights = self.waveform, MADE if self.score is None else RIGHTS
        if mix_original and self.video is not None:
            rights = f"{rights} {MIXED}"
            own = read_audio(self.video, sound.sample_rate, sound.samples.shape[0])
            sound = duck_under(sound, own, mix_original)
        if click:
            sound = add_clicks(sound, self.rhythm)
        tags = {"comment": rights}
        if suffix in SOUND_SUFFIXES:
            write_audio(target, sound, tags=tags)
            return
        if suffix not in VIDEO_SUFFIXES:
            raise OutputError(
                f"output {target} has extension {target.suffix or '(none)'!r}",
                f"Use one of {', '.join(OUTPUT_SUFFIXES)}.",
            )
        if self.video is None:
            raise OutputError(f"poses have no picture for {target}", "Name a .wav file.")
        draw = self._draw if overlay_skeleton else None
        mux(self.video, sound, target, draw=draw, fps=POSE_FPS, tags=tags)

    def save_stems(self, folder: Path | str) -> list[Path]:
        """Write each track as it stands in the mix, ``NAME.wav``; gives the files.

        Raises:
            OutputError: If there are no tracks, or a file cannot be written.
        """
        if not self.stems:
            raise no_stems()
        return write_stems(folder, self.stems, tags={"comment": RIGHTS})

    def _draw(
        self, index: int, frame: UInt8[np.ndarray, "height width 3"]
    ) -> UInt8[np.ndarray, "height width 3"]:
        for dancer in self.dancers:
            if dancer.image is not None and index < len(dancer) and dancer.present[index]:
                frame = draw_skeleton(frame, dancer.image[index])
        return frame


def no_score(target: Path) -> OutputError:
    """What is said where a model without a score is asked for one."""
    return OutputError(f"this model plays no score for {target}", "Name a sound file.")


def no_stems() -> OutputError:
    """What is said where a model without tracks is asked for them."""
    return OutputError("this model plays no tracks", "Leave the stems out.")
