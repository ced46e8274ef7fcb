"""What a model made of a dance: its sound, and what it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dancetomusic.errors import OutputError
from dancetomusic.io.audio import mix, read_audio, write_wav
from dancetomusic.io.mux import VIDEO_SUFFIXES, mux
from dancetomusic.models.pose_encoder.network import POSE_FPS
from dancetomusic.pose.draw import draw_skeleton
from dancetomusic.rhythm.click import add_clicks
from dancetomusic.types import CodeSequence, PoseSequence, RhythmTrack, Waveform


@dataclass(frozen=True)
class Music:
    """What was made of a dance.

    Attributes:
        waveform: The music, as long as the dance.
        rhythm: The beats it plays on.
        dancers: All dancers followed, the most prominent first.
        timings: Seconds spent in each stage.
        video: The video it was made for; ``None`` for poses.
        codes: What the codec decoded it from; ``None`` from a model without a codec's codes.
        readings: What the dance's rhythm may be, the likeliest first; empty if not estimated.
    """

    waveform: Waveform
    rhythm: RhythmTrack
    dancers: tuple[PoseSequence, ...]
    timings: dict[str, float]
    video: Path | None = None
    codes: CodeSequence | None = None
    readings: tuple[RhythmTrack, ...] = ()

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
        """Write the sound as ``.wav``, or the video with its new sound.

        Args:
            path: ``.wav``, or a video suffix.
            overlay_skeleton: Draw the dancers' poses; the pictures are then coded anew.
            mix_original: Gain of the video's own sound in the mix, from 0 to 1.
            click: Mix a click on every beat into the sound, to check the rhythm.

        Raises:
            OutputError: If the file cannot be written or its suffix is unknown.
        """
        target = Path(path)
        sound = self.waveform
        if mix_original and self.video is not None:
            sound = mix(sound, read_audio(self.video, sound.sample_rate), mix_original)
        if click:
            sound = add_clicks(sound, self.rhythm)
        if target.suffix.lower() == ".wav":
            write_wav(target, sound)
            return
        if target.suffix.lower() not in VIDEO_SUFFIXES:
            raise OutputError(
                f"output {target} has extension {target.suffix or '(none)'!r}",
                f"Use .wav or one of {', '.join(VIDEO_SUFFIXES)}.",
            )
        if self.video is None:
            raise OutputError(f"poses have no picture for {target}", "Name a .wav file.")
        draw = self._draw if overlay_skeleton else None
        mux(self.video, sound, target, draw=draw, fps=POSE_FPS)

    def _draw(
        self, index: int, frame: UInt8[np.ndarray, "height width 3"]
    ) -> UInt8[np.ndarray, "height width 3"]:
        for dancer in self.dancers:
            if dancer.image is not None and index < len(dancer) and dancer.present[index]:
                frame = draw_skeleton(frame, dancer.image[index])
        return frame
