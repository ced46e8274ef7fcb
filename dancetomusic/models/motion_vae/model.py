"""The motiongram sampler as an instrument for whole dances."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.errors import InputError
from dancetomusic.io.video import prefetch, probe_video, read_frames
from dancetomusic.models.base import Conditions, ModelOptions, MusicModel, Sound, StageClock
from dancetomusic.models.motion_vae.motion_input import SOURCES
from dancetomusic.models.motion_vae.network import MotionVae
from dancetomusic.models.motion_vae.sampler import DEFAULT_SAMPLING, play, play_frames
from dancetomusic.nn.sampling import SamplingConfig

MAX_FPS, MAX_SIDE = 30.0, 384
"""Pictures a second that motiongrams are read from, as in training, and their longer side."""


class MotionVaeModel(MusicModel):
    """Plays the motiongram of a video, or the poses of its most prominent dancer, on the beat.

    The codec is by default the released one.
    """

    def __init__(self, network: MotionVae, codec: SpectralCodec | None = None) -> None:
        self.network = network.eval()
        self.codec = codec

    @property
    def options(self) -> ModelOptions:
        """Temperature, and what it reads."""
        return ModelOptions(DEFAULT_SAMPLING, ("temperature",), conditions=SOURCES)

    def generate(
        self, conditions: Conditions, sampling: SamplingConfig, stages: StageClock
    ) -> Sound:
        """Play block by block.

        Raises:
            InputError: If motiongrams are asked for where there is no video.
        """
        poses, video = conditions.dancers[0], conditions.video
        if video is None and conditions.condition == "motiongram":
            raise InputError("poses have no motiongram", "Give a video, or --condition poses.")
        options: dict[str, Any] = {
            "seed": conditions.seed,
            "rhythm": conditions.rhythm,
            "temperature": sampling.temperature,
            "codec": self.codec,
        }
        with stages.stage("sound"):
            if video is None or conditions.condition == "poses":
                return Sound(play(self.network, poses, **options))
            fps = min(probe_video(video).source_fps, MAX_FPS)
            with closing(prefetch(read_frames(video, fps, max_side=MAX_SIDE))) as frames:
                sound = play_frames(self.network, frames, fps, poses.duration_s, **options)
            return Sound(sound)


def open_model(directory: Path | str, codec: Path | str | None = None) -> MotionVaeModel:
    """Load a checkpoint and, where one is named, its codec.

    Raises:
        CheckpointError: If one is missing, corrupted, or holds another model.
    """
    embedded = None if codec is None else SpectralCodec.from_pretrained(codec)
    return MotionVaeModel(MotionVae.from_pretrained(directory), embedded)
