"""Windows of sound as one vector per pose: three designs behind one interface.

Sound comes as bands at :data:`OVERSAMPLING` times the rate of poses; every design is made of
convolutions, so a vector depends on the window around its pose alone and a sound may be
taken piece by piece.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

OVERSAMPLING = 4
"""Frames of sound for each pose."""


class AudioWindows(nn.Module, ABC):
    """What all designs have.

    Attributes:
        reach: Frames of sound on either side that a vector may depend on.
    """

    reach: int

    @abstractmethod
    def forward(
        self, bands: Float[Tensor, "batch bands sound_frames"]
    ) -> Float[Tensor, "batch channels poses"]:
        """One vector for each whole group of ``OVERSAMPLING`` frames."""


class PlainWindows(AudioWindows):
    """One layer over a window of a sixth of a second, and one at each pose."""

    reach = 8

    def __init__(self, bands: int, channels: int) -> None:
        super().__init__()
        self.window = nn.Conv1d(bands, 2 * channels, 16, stride=OVERSAMPLING)
        self.mix = nn.Conv1d(2 * channels, channels, 1)

    def forward(
        self, bands: Float[Tensor, "batch bands sound_frames"]
    ) -> Float[Tensor, "batch channels poses"]:
        """See ``AudioWindows``."""
        padded = functional.pad(_whole(bands), (6, 6))
        return self.mix(functional.leaky_relu(self.window(padded), 0.2))


class WaveGanWindows(AudioWindows):
    """Long kernels and strides, as in the critic of WaveGAN.

    References:
        Donahue, McAuley and Puckette, "Adversarial audio synthesis", 2019.
    """

    reach = 12 + 2 * 12 + 4

    def __init__(self, bands: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(bands, channels, 25, stride=2, padding=12)
        self.second = nn.Conv1d(channels, 2 * channels, 25, stride=2, padding=12)
        self.mix = nn.Conv1d(2 * channels, channels, 1)

    def forward(
        self, bands: Float[Tensor, "batch bands sound_frames"]
    ) -> Float[Tensor, "batch channels poses"]:
        """See ``AudioWindows``."""
        hidden = functional.leaky_relu(self.first(_whole(bands)), 0.2)
        return self.mix(functional.leaky_relu(self.second(hidden), 0.2))


class UNetWindows(AudioWindows):
    """Down to an eighth of the poses' rate and up again, each level beside what it came from.

    References:
        Ronneberger, Fischer and Brox, "U-Net", 2015.
    """

    DEPTH = 3
    reach = 8 + 3 * OVERSAMPLING * 2 ** (DEPTH + 1)

    def __init__(self, bands: int, channels: int) -> None:
        super().__init__()
        self.window = nn.Conv1d(bands, channels, 16, stride=OVERSAMPLING)
        self.down = nn.ModuleList(
            nn.Conv1d(channels, channels, 4, stride=2, padding=1) for _ in range(self.DEPTH)
        )
        self.up = nn.ModuleList(
            nn.Conv1d(2 * channels, channels, 3, padding=1) for _ in range(self.DEPTH)
        )

    def forward(
        self, bands: Float[Tensor, "batch bands sound_frames"]
    ) -> Float[Tensor, "batch channels poses"]:
        """See ``AudioWindows``."""
        padded = functional.pad(_whole(bands), (6, 6))
        hidden = functional.leaky_relu(self.window(padded), 0.2)
        n_poses = hidden.shape[2]
        hidden = functional.pad(hidden, (0, -n_poses % 2**self.DEPTH))
        beside = []
        for layer in self.down:
            beside.append(hidden)
            hidden = functional.leaky_relu(layer(hidden), 0.2)
        for layer in self.up:
            wide = torch.cat([hidden.repeat_interleave(2, dim=2), beside.pop()], dim=1)
            hidden = functional.leaky_relu(layer(wide), 0.2)
        return hidden[:, :, :n_poses]


DESIGNS: dict[str, type[PlainWindows] | type[WaveGanWindows] | type[UNetWindows]] = {
    "plain": PlainWindows,
    "wavegan": WaveGanWindows,
    "unet": UNetWindows,
}


def _whole(bands: Float[Tensor, "batch bands sound_frames"]) -> Tensor:
    return bands[:, :, : bands.shape[2] // OVERSAMPLING * OVERSAMPLING]
