"""The motiongram sampler as an instrument for whole dances, played by poses."""

from __future__ import annotations

from pathlib import Path

from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.models.base import Conditions, ModelOptions, MusicModel, Sound, StageClock
from dancetomusic.models.motion_vae.network import MotionVae
from dancetomusic.models.motion_vae.sampler import DEFAULT_SAMPLING, play
from dancetomusic.nn.sampling import SamplingConfig


class MotionVaeModel(MusicModel):
    """Plays the quantity of motion of the most prominent dancer, on the beat.

    Args:
        network: A trained sampler.
        codec: The one it was trained on; the released one by default.
    """

    def __init__(self, network: MotionVae, codec: SpectralCodec | None = None) -> None:
        self.network = network.eval()
        self.codec = codec

    @property
    def options(self) -> ModelOptions:
        """Temperature alone."""
        return ModelOptions(DEFAULT_SAMPLING, ("temperature",))

    def generate(
        self, conditions: Conditions, sampling: SamplingConfig, stages: StageClock
    ) -> Sound:
        """Play block by block."""
        with stages.stage("sound"):
            waveform = play(
                self.network,
                conditions.dancers[0],
                seed=conditions.seed,
                rhythm=conditions.rhythm,
                temperature=sampling.temperature,
                codec=self.codec,
            )
        return Sound(waveform)


def open_model(directory: Path | str, codec: Path | str | None = None) -> MotionVaeModel:
    """Load a checkpoint and, where one is named, its codec.

    Raises:
        CheckpointError: If one is missing, corrupted, or holds another model.
    """
    embedded = None if codec is None else SpectralCodec.from_pretrained(codec)
    return MotionVaeModel(MotionVae.from_pretrained(directory), embedded)
