"""Stacks of gated, dilated, causal convolutions, and the way of slow frames to their rate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn


class FrameUpsampler(nn.Module):
    """Brings frames to ``hop`` times their rate: frame ``k`` is at sample ``k · hop``.

    A transposed convolution with one kernel of two hops for all channels. It begins as the
    triangle that joins frames by straight lines, and stays that unless it is learned. As the
    channels share it, it can be applied before or after any linear map of them.
    """

    kernel: Tensor

    def __init__(self, hop: int, *, learned: bool) -> None:
        super().__init__()
        self.hop = hop
        triangle = 1 - (torch.arange(2 * hop) - hop).abs() / hop
        if learned:
            self.kernel = nn.Parameter(triangle)
        else:
            self.register_buffer("kernel", triangle, persistent=False)

    def forward(self, frames: Float[Tensor, "*lead frames"]) -> Float[Tensor, "*lead samples"]:
        """What lies between the first and the last frame, ``(frames - 1) · hop`` samples."""
        rising, falling = self.kernel.split(self.hop)
        before, after = frames[..., :-1, None], frames[..., 1:, None]
        return torch.addcmul(before * falling, after, rising).flatten(-2)


class GatedStack(nn.Module):
    """Residual layers of two taps each, ``z = tanh(f) · sigmoid(g)``, with summed skips.

    A layer of dilation ``d`` reads positions ``t - d`` and ``t``. Nothing is padded: the output
    is ``receptive_field - 1`` positions shorter than the input.

    References:
        van den Oord et al., "WaveNet: A Generative Model for Raw Audio", 2016.
    """

    def __init__(self, channels: int, skip_channels: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.channels, self.dilations = channels, tuple(dilations)
        self.filters = nn.ModuleList(
            nn.Conv1d(channels, 2 * channels, 2, dilation=d, bias=False) for d in self.dilations
        )
        self.residuals = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in self.dilations[1:])
        self.skips = nn.ModuleList(nn.Conv1d(channels, skip_channels, 1) for _ in self.dilations)

    @property
    def receptive_field(self) -> int:
        """Positions that an output depends on."""
        return 1 + sum(self.dilations)

    def forward(
        self,
        x: Float[Tensor, "batch channels positions"],
        gates: Float[Tensor, "batch layers twice frames"],
        upsampler: FrameUpsampler,
        ahead: int = 0,
    ) -> Float[Tensor, "batch skip outputs"]:
        """The sum of the skips.

        Args:
            x: Input.
            gates: What is added inside tanh, then inside sigmoid, in every layer, as frames.
            upsampler: Brings them to the rate of ``x``.
            ahead: How many positions they then end after ``x``.
        """
        n_outputs = x.shape[-1] - self.receptive_field + 1
        total = x.new_zeros(())
        for number, dilation in enumerate(self.dilations):
            added = upsampler(gates[:, number])
            hidden = self.filters[number](x)
            end = added.shape[-1] - ahead
            hidden = hidden + added[..., end - hidden.shape[-1] : end]
            filtered, gate = hidden.chunk(2, dim=1)
            gated = torch.tanh(filtered) * torch.sigmoid(gate)
            total = total + self.skips[number](gated[..., -n_outputs:])
            if number < len(self.residuals):
                x = x[..., dilation:] + self.residuals[number](gated)
        return total


class TimeConvolutions(nn.Module):
    """Residual dilated convolutions over frames, which keep their number.

    There is one layer of five taps for each of ``dilations``.
    """

    def __init__(self, channels: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in dilations)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, 5, dilation=d, padding=2 * d) for d in dilations
        )
        self.mixes = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in dilations)
        self.reach = 2 * sum(dilations)

    def forward(
        self, x: Float32[Tensor, "batch channels frames"]
    ) -> Float32[Tensor, "batch channels frames"]:
        """Each frame sees ``reach`` frames to either side."""
        for norm, convolution, mix in zip(self.norms, self.convolutions, self.mixes, strict=True):
            normed = norm(x.transpose(1, 2)).transpose(1, 2)
            x = x + mix(nn.functional.gelu(convolution(normed)))
        return x
