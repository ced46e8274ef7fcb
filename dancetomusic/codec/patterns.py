"""The order in which an autoregressive model writes the codes of several codebooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from dancetomusic.errors import ConfigError


@dataclass(frozen=True)
class CodePattern:
    """Puts code ``k`` of frame ``f`` at a step; one step writes at most one code per codebook.

    For two codebooks and four frames, where ``kf`` is codebook k at frame f and ``.`` an
    empty cell::

        delay    step  0   1   2   3   4          frame + codebook: F + K - 1 steps
        k = 0         00  01  02  03   .
        k = 1          .  10  11  12  13

        flatten  step  0   1   2   3   4   5   6   7       F · K steps
        k = 0         00   .  01   .  02   .  03   .
        k = 1          .  10   .  11   .  12   .  13

    Either way a code is written after all coarser codes of its own frame, so a residual
    quantiser's later codebooks are conditioned on its earlier ones. ``delay`` costs little more
    than one step a frame, but samples a frame's coarse code without knowing the finer
    codes of the frame before; ``flatten`` knows everything before and takes K times the steps.

    Attributes:
        name: ``delay`` or ``flatten``.
        n_codebooks: Number of codebooks, at least 1.

    Raises:
        ConfigError: If the name is unknown or there is no codebook.

    References:
        Copet et al., "Simple and Controllable Music Generation", 2023.
    """

    name: str
    n_codebooks: int

    def __post_init__(self) -> None:
        if self.name not in ("delay", "flatten"):
            raise ConfigError(f"pattern is {self.name!r}", "Choose 'delay' or 'flatten'.")
        if self.n_codebooks < 1:
            raise ConfigError(f"n_codebooks is {self.n_codebooks}", "Give at least 1.")

    def n_steps(self, n_frames: int) -> int:
        """Steps that write ``n_frames`` frames."""
        if self.name == "flatten":
            return n_frames * self.n_codebooks
        return n_frames + self.n_codebooks - 1 if n_frames else 0

    def step_of(self, n_frames: int) -> Int[Tensor, "codebooks frames"]:
        """The step at which each code is written."""
        codebook = torch.arange(self.n_codebooks)[:, None]
        frame = torch.arange(n_frames)[None, :]
        return frame * self.n_codebooks + codebook if self.name == "flatten" else frame + codebook

    def frame_of(self, n_steps: int) -> Float[Tensor, " steps"]:
        """Time of each step, in code frames: the frame of its coarsest code.

        The finer codebooks of ``flatten`` lie between two frames.
        """
        steps = torch.arange(n_steps, dtype=torch.float32)
        return steps / self.n_codebooks if self.name == "flatten" else steps

    def build(
        self, codes: Shaped[Tensor, "batch codebooks frames"], empty: int
    ) -> Shaped[Tensor, "batch codebooks steps"]:
        """Put codes at their steps; cells without a code hold ``empty``."""
        batch, codebooks, frames = codes.shape
        steps = codes.new_full((batch, codebooks, self.n_steps(frames)), empty)
        steps[self._cells(frames, codes.device)] = codes
        return steps

    def revert(
        self, steps: Shaped[Tensor, "batch codebooks steps *rest"], n_frames: int
    ) -> Shaped[Tensor, "batch codebooks frames *rest"]:
        """Gather what lies at the cells of each code; undoes ``build``."""
        return steps[self._cells(n_frames, steps.device)]

    def _cells(self, n_frames: int, device: torch.device) -> Any:
        codebooks = torch.arange(self.n_codebooks, device=device)[:, None]
        return (slice(None), codebooks, self.step_of(n_frames).to(device))
