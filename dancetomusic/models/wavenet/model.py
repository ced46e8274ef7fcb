"""WaveNet as an instrument: the movement of the most prominent dancer to raw samples."""

from __future__ import annotations

from pathlib import Path

from dancetomusic.models.base import Conditions, ModelOptions, MusicModel, Sound, StageClock
from dancetomusic.models.wavenet.generation import DEFAULT_SAMPLING, play
from dancetomusic.models.wavenet.network import WaveNet
from dancetomusic.nn.sampling import SamplingConfig


class WaveNetModel(MusicModel):
    """Writes raw samples, conditioned on movement.

    Args:
        network: Reads poses.
    """

    def __init__(self, network: WaveNet) -> None:
        self.network = network.eval()

    @property
    def options(self) -> ModelOptions:
        """Temperature, guidance, and the genres it was trained on."""
        return ModelOptions(
            DEFAULT_SAMPLING, ("temperature", "cfg_scale"), self.network.config.genres
        )

    def generate(
        self, conditions: Conditions, sampling: SamplingConfig, stages: StageClock
    ) -> Sound:
        """Write the samples one by one; the rhythm is not among the conditions."""
        with stages.stage("sound") as report:
            waveform = play(
                self.network,
                conditions.dancers[0],
                seed=conditions.seed,
                sampling=sampling,
                genre=conditions.style,
                on_progress=report,
            )
        return Sound(waveform)


def open_model(directory: Path | str, codec: Path | str | None = None) -> WaveNetModel:
    """Load a checkpoint; there is no codec.

    Raises:
        CheckpointError: If it is missing, corrupted or holds another model.
    """
    return WaveNetModel(WaveNet.from_pretrained(directory))
