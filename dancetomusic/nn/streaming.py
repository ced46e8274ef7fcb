"""Convolution over time with its past as an explicit state: blocks joined equal one pass."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class StreamingConv1d(nn.Conv1d):
    """A convolution over time that can be continued block by block.

    Its kernel sees ``lookahead`` frames after an output frame; ``groups`` as in
    ``torch.nn.Conv1d``.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        lookahead: int = 0,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__(inputs, outputs, kernel, dilation=dilation, groups=groups)
        self.lookahead = lookahead
        self.lookback = (kernel - 1) * dilation - lookahead

    def stream(
        self,
        x: Float[Tensor, "batch inputs frames_and_lookahead"],
        past: Float[Tensor, "batch inputs lookback"] | None = None,
    ) -> tuple[Float[Tensor, "batch outputs frames"], Float[Tensor, "batch inputs lookback"]]:
        """Convolve a block.

        Args:
            x: The block and the ``lookahead`` frames after it, known or predicted.
            past: What the call before returned; ``None``, zeros, at the beginning.

        Returns:
            One output frame for each of the block, and the past of the next block.
        """
        seen = functional.pad(x, (self.lookback, 0)) if past is None else torch.cat([past, x], 2)
        end = seen.shape[2] - self.lookahead
        return super().forward(seen), seen[:, :, end - self.lookback : end]

    def forward(
        self, x: Float[Tensor, "batch inputs frames"]
    ) -> Float[Tensor, "batch outputs frames"]:
        """Convolve a whole sequence, surrounded by zeros."""
        return self.stream(functional.pad(x, (0, self.lookahead)))[0]
