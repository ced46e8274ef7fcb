"""ConvNeXt blocks over time (Liu et al., "A ConvNet for the 2020s", 2022)."""

from __future__ import annotations

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.nn.streaming import StreamingConv1d


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, layer norm and a two-layer perceptron, added to the input.

    ``lookahead`` is how many future frames the kernel of 7 sees; 3 is symmetric, 0 causal.
    """

    KERNEL = 7

    def __init__(self, channels: int, *, lookahead: int = 3, expansion: int = 3) -> None:
        super().__init__()
        self.depthwise = StreamingConv1d(
            channels, channels, self.KERNEL, lookahead=lookahead, groups=channels
        )
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, channels * expansion)
        self.contract = nn.Linear(channels * expansion, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.1))

    def stream(
        self,
        x: Float32[Tensor, "batch channels frames_and_lookahead"],
        past: Float32[Tensor, "batch channels lookback"] | None = None,
    ) -> tuple[
        Float32[Tensor, "batch channels frames"], Float32[Tensor, "batch channels lookback"]
    ]:
        """Transform a block; see :meth:`StreamingConv1d.stream`."""
        mixed, past = self.depthwise.stream(x, past)
        hidden = self.norm(mixed.transpose(1, 2))
        hidden = self.contract(functional.gelu(self.expand(hidden)))
        return x[:, :, : mixed.shape[2]] + (hidden * self.scale).transpose(1, 2), past

    def forward(
        self, x: Float32[Tensor, "batch channels frames"]
    ) -> Float32[Tensor, "batch channels frames"]:
        """Transform a whole sequence."""
        return self.stream(functional.pad(x, (0, self.depthwise.lookahead)))[0]
