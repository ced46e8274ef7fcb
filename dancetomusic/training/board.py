"""TensorBoard: curves, sounds with their spectrograms, and dancers with their beats."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from dancetomusic.types import Waveform


class Board:
    """Writes TensorBoard's event files; without the package, or if not wanted, nothing.

    Args:
        directory: Where to; ``None`` for nowhere.
        first: Step from which earlier events are to be forgotten.
    """

    def __init__(self, directory: Path | None, first: int = 0) -> None:
        self._writer: Any = None
        self.problem = ""
        if directory is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.problem = (
                "tensorboard is not installed, so nothing is drawn:"
                " pip install 'dancetomusic[train]'"
            )
            return
        self._writer = SummaryWriter(str(directory), purge_step=first or None)

    @property
    def is_open(self) -> bool:
        """Whether what is shown is seen; making pictures and sounds can be spared otherwise."""
        return self._writer is not None

    def curves(self, values: Mapping[str, float], step: int) -> None:
        """One point on the curve of each name."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def sound(
        self, name: str, sound: Waveform, beats: Float[np.ndarray, " beats"], step: int
    ) -> None:
        """A sound to listen to, and its spectrogram with the beats drawn, in seconds."""
        if self._writer is None:
            return
        from dancetomusic.training.pictures import draw_spectrogram

        samples = np.clip(sound.to_mono().samples, -1, 1)
        self._writer.add_audio(name, samples, step, sample_rate=sound.sample_rate)
        self.picture(f"{name}/spectrogram", draw_spectrogram(sound, beats), step)

    def picture(self, name: str, picture: UInt8[np.ndarray, "height width 3"], step: int) -> None:
        """A picture in RGB."""
        if self._writer is not None:
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Write out what is held back."""
        if self._writer is not None:
            self._writer.close()
