"""Scalars, sounds with their spectrograms, and pictures, for TensorBoard and Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from dancetomusic.types import Waveform


class Logger:
    """Writes TensorBoard's event files, and to Weights & Biases where that is asked for.

    What is not installed is left out; ``problem`` is then a line for the user.

    Args:
        directory: Where to; ``None`` for nowhere.
        first_step: Earlier events from this step on are discarded.
        tensorboard: Whether TensorBoard is wanted.
        wandb: Whether Weights & Biases is. Its own environment variables say who and where;
            with ``WANDB_MODE=offline`` it writes into the directory alone.
    """

    def __init__(
        self,
        directory: Path | None,
        first_step: int = 0,
        *,
        tensorboard: bool = True,
        wandb: bool = False,
    ) -> None:
        self._writer: Any = None
        self._run: Any = None
        self.problem = ""
        if directory is None:
            return
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                self.problem = (
                    "tensorboard is not installed, so no event files are written:"
                    " pip install 'dancetomusic[train]'"
                )
            else:
                self._writer = SummaryWriter(str(directory), purge_step=first_step or None)
        if wandb:
            try:
                import wandb as weights_and_biases
            except ImportError:
                self.problem = "wandb is not installed, so nothing is sent: pip install wandb"
            else:
                self._wandb = weights_and_biases
                self._run = weights_and_biases.init(
                    project="dancetomusic", name=directory.name, dir=str(directory)
                )

    @property
    def is_open(self) -> bool:
        """Whether anything is logged; making pictures and sounds can be skipped otherwise."""
        return self._writer is not None or self._run is not None

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """One value of each name."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)
        if self._run is not None:
            self._run.log(dict(values), step=step)

    def audio(
        self, name: str, sound: Waveform, beats: Float[np.ndarray, " beats"], step: int
    ) -> None:
        """A sound, and its spectrogram with a line at each beat, in seconds."""
        if not self.is_open:
            return
        from dancetomusic.training.pictures import draw_spectrogram

        samples = np.clip(sound.to_mono().samples, -1, 1)
        if self._writer is not None:
            self._writer.add_audio(name, samples, step, sample_rate=sound.sample_rate)
        if self._run is not None:
            audio = self._wandb.Audio(samples[0], sample_rate=sound.sample_rate)
            self._run.log({name: audio}, step=step)
        self.image(f"{name}/spectrogram", draw_spectrogram(sound, beats), step)

    def image(self, name: str, image: UInt8[np.ndarray, "height width 3"], step: int) -> None:
        """A picture in RGB."""
        if self._writer is not None:
            self._writer.add_image(name, image, step, dataformats="HWC")
        if self._run is not None:
            self._run.log({name: self._wandb.Image(image)}, step=step)

    def close(self) -> None:
        """Write what is buffered."""
        if self._writer is not None:
            self._writer.close()
        if self._run is not None:
            self._run.finish()
