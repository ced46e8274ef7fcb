"""WaveNet as an instrument: a dancer's poses, or the pictures of a video, to raw samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dancetomusic.data.dance_sound import read_pictures
from dancetomusic.errors import InputError
from dancetomusic.models.base import Conditions, ModelOptions, MusicModel, Sound, StageClock
from dancetomusic.models.wavenet.generation import DEFAULT_SAMPLING, play
from dancetomusic.models.wavenet.network import MOVEMENT_FPS, PICTURE_SIDE, WaveNet
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.types import PoseSequence


class WaveNetModel(MusicModel):
    """Writes raw samples, conditioned on movement.

    Args:
        network: Reads the poses of the most prominent dancer, or pictures.
    """

    def __init__(self, network: WaveNet) -> None:
        self.network = network.eval()

    @property
    def options(self) -> ModelOptions:
        """Temperature, guidance, and the genres it was trained on."""
        config = self.network.config
        condition = "frames" if config.movement == "pictures" else "poses"
        return ModelOptions(
            DEFAULT_SAMPLING,
            ("temperature", "cfg_scale"),
            config.genres,
            conditions=(condition,),
        )

    def generate(
        self, conditions: Conditions, sampling: SamplingConfig, stages: StageClock
    ) -> Sound:
        """Write the samples one by one, on the beats of the rhythm if it reads movement."""
        dancer, beats = conditions.dancers[0], conditions.rhythm.beat_times
        follows = beats.size > 1 and self.network.config.movement != "none"
        movement: PoseSequence | UInt8[np.ndarray, "frames side side"] = dancer
        if self.network.config.movement == "pictures":
            if conditions.video is None:
                raise InputError("this model reads pictures, not poses", "Name a video.")
            with stages.stage("pictures"):
                movement = read_pictures(conditions.video, fps=MOVEMENT_FPS, side=PICTURE_SIDE)
        with stages.stage("sound") as report:
            waveform = play(
                self.network,
                movement,
                beat_times=beats if follows else None,
                seed=conditions.seed,
                sampling=sampling,
                genre=conditions.style,
                duration_s=dancer.duration_s,
                on_progress=report,
            )
        return Sound(waveform)


def open_model(directory: Path | str, codec: Path | str | None = None) -> WaveNetModel:
    """Load a checkpoint; there is no codec.

    Raises:
        CheckpointError: If it is missing, corrupted or holds another model.
    """
    return WaveNetModel(WaveNet.from_pretrained(directory))
