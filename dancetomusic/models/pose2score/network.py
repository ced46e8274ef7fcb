"""The composer's network: a causal transformer over events, and one head for their fields.

References:
    Huang and Yang, "Pop Music Transformer", 2020 (events with positions in the bar);
    Hsiao et al., "Compound Word Transformer", 2021;
    Larochelle and Murray, "The Neural Autoregressive Distribution Estimator", 2011 (the fields of
    an event, one after the other, from one hidden layer).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dancetomusic.config import check_ranges
from dancetomusic.errors import ConfigError
from dancetomusic.models.pose2score.conditions import CONDITIONS
from dancetomusic.models.pose2score.events import FIELD, FIELDS
from dancetomusic.nn.attention import SelfAttention
from dancetomusic.nn.positional import rotation_table
from dancetomusic.nn.pretrained import PretrainedModule
from dancetomusic.nn.transformer import FeedForward, norm

SLOWEST = 2000.0
"""Ratio of the slowest to the fastest rotation of positions in ticks: from half a beat to hours."""

WIDEST = max(FIELDS.values())


@dataclass(frozen=True)
class ComposerConfig:
    """Shape of a composer.

    Raises:
        ConfigError: If a value is out of range.
    """

    styles: tuple[str, ...]
    """Styles that it knows by name."""
    d_model: int = 192
    n_layers: int = 4
    n_heads: int = 6
    ff_mult: int = 4
    field_width: int = 128
    """Width of the hidden layer from which the fields of an event are read."""
    dropout: float = 0.0
    context: int = 512
    """Events that are seen at once."""

    def __post_init__(self) -> None:
        check_ranges(self, counts="d_model n_layers n_heads ff_mult field_width context")
        if self.d_model % (2 * self.n_heads):
            raise ConfigError(
                f"d_model {self.d_model} does not split into {self.n_heads} heads of even width",
                "Give a multiple of 2 · n_heads.",
            )
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}", "Give a share in [0, 1).")


class CausalBlock(nn.Module):
    """Causal self-attention, then a feed-forward layer."""

    def __init__(self, config: ComposerConfig) -> None:
        super().__init__()
        width = config.d_model
        self.norm1, self.norm2 = norm(width), norm(width)
        self.self_attention = SelfAttention(width, config.n_heads, causal=True)
        self.feed_forward = FeedForward(width, config.ff_mult * width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """Transform whole sequences."""
        x = x + self.dropout(self.self_attention(self.norm1(x), rotation))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class Composer(PretrainedModule):
    """Predicts the fields of each event from the events before it and its conditions."""

    MODEL = "pose2score"
    CONFIG = ComposerConfig
    condition_rows: Tensor
    field_rows: Tensor
    allowed: Tensor

    def __init__(self, config: ComposerConfig) -> None:
        super().__init__()
        self.config = config
        width, inner = config.d_model, config.field_width
        classes = [size or len(config.styles) + 1 for size in CONDITIONS.values()]
        self.register_buffer("condition_rows", _first_rows(classes), persistent=False)
        self.register_buffer("field_rows", _first_rows(list(FIELDS.values())), persistent=False)
        self.conditions_in = nn.EmbeddingBag(sum(classes), width, mode="sum")
        self.fields_in = nn.EmbeddingBag(sum(FIELDS.values()), width, mode="sum")
        self.blocks = nn.ModuleList(CausalBlock(config) for _ in range(config.n_layers))
        self.norm = norm(width)
        # Field k is read from gelu(hidden + embeddings of the fields before it + its condition).
        self.to_fields = nn.Linear(width, inner)
        self.fields_before = nn.Embedding(sum(FIELDS.values()), inner)
        self.field_bias = nn.Parameter(torch.zeros(len(FIELDS), inner))
        self.readout = nn.Parameter(torch.randn(len(FIELDS), inner, WIDEST) * inner**-0.5)
        self.readout_bias = nn.Parameter(torch.zeros(len(FIELDS), WIDEST))
        drums = [index for name, index in FIELD.items() if name.startswith("drum ")]
        self.readout_bias.data[drums, 0] = 4.0  # most drums rest at most ticks
        allowed = torch.arange(WIDEST) < torch.tensor(list(FIELDS.values()))[:, None]
        self.register_buffer("allowed", allowed, persistent=False)
        for table in (self.conditions_in, self.fields_in, self.fields_before):
            nn.init.normal_(table.weight, std=0.1)

    def hidden(
        self,
        before: Int64[Tensor, "batch events fields"],
        conditions: Int64[Tensor, "batch events conditions"],
        ticks: Int64[Tensor, "*batch events"],
    ) -> Float[Tensor, "batch events field_width"]:
        """What the fields of each event are read from.

        ``ticks`` is one row where all are alike.
        """
        batch, events, _ = before.shape
        x = self.fields_in((before + self.field_rows).flatten(0, 1))
        x = x + self.conditions_in((conditions + self.condition_rows).flatten(0, 1))
        x = x.view(batch, events, -1)
        head_dim = self.config.d_model // self.config.n_heads
        turns = rotation_table(ticks.flatten().float(), head_dim, SLOWEST)
        rotation = turns.view(*ticks.shape, -1)
        for block in self.blocks:
            x = block(x, rotation)
        return self.to_fields(self.norm(x))

    def logits(
        self,
        hidden: Float[Tensor, "batch events field_width"],
        values: Int64[Tensor, "batch events fields"],
    ) -> Float[Tensor, "batch events fields classes"]:
        """Logits of every field given those before it in the same event."""
        embedded = self.fields_before(values + self.field_rows)
        earlier = embedded.cumsum(2) - embedded
        inner = F.gelu(hidden[:, :, None] + earlier + self.field_bias)
        logits = torch.einsum("befd,fdv->befv", inner, self.readout) + self.readout_bias
        return logits.masked_fill(~self.allowed, -1e9)


def _first_rows(classes: list[int]) -> Int64[Tensor, " tables"]:
    """Where each table begins in one that holds them all."""
    return torch.tensor([0, *classes[:-1]]).cumsum(0)
