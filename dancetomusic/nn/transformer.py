"""Pre-norm transformer blocks."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn

from dancetomusic.nn.attention import CrossAttention, KVCache, Memory, SelfAttention


def norm(d_model: int) -> nn.LayerNorm:
    """Normalisation used everywhere; layer norm is one kernel where RMS norm is several."""
    return nn.LayerNorm(d_model, bias=False)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, d_model: int, ff_dim: int) -> None:
        super().__init__()
        self.expand = nn.Linear(d_model, ff_dim, bias=False)
        self.contract = nn.Linear(ff_dim, d_model, bias=False)

    def forward(self, x: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead d_model"]:
        """Transform each position on its own."""
        return self.contract(F.gelu(self.expand(x)))


class EncoderBlock(nn.Module):
    """Self-attention in both directions, then a feed-forward layer."""

    def __init__(self, d_model: int, n_heads: int, ff_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(d_model), norm(d_model)
        self.self_attention = SelfAttention(d_model, n_heads, causal=False)
        self.feed_forward = FeedForward(d_model, ff_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "batch steps d_model"],
        rotation: Complex[Tensor, "steps half"],
        mask: Bool[Tensor, "batch 1 1 steps"] | None,
    ) -> Float[Tensor, "batch steps d_model"]:
        """Transform a sequence; ``mask`` marks the positions that may be seen."""
        x = x + self.dropout(self.self_attention(self.norm1(x), rotation, mask=mask))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class DecoderBlock(nn.Module):
    """Causal self-attention, attention to a memory if there is one, then a feed-forward layer."""

    def __init__(
        self, d_model: int, n_heads: int, ff_dim: int, dropout: float, *, memory: bool = True
    ) -> None:
        super().__init__()
        self.norm1, self.norm3 = norm(d_model), norm(d_model)
        self.self_attention = SelfAttention(d_model, n_heads, causal=True)
        if memory:
            self.norm2 = norm(d_model)
            self.cross_attention = CrossAttention(d_model, n_heads)
        self.feed_forward = FeedForward(d_model, ff_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "batch steps d_model"],
        rotation: Complex[Tensor, "steps half"],
        memory: Memory | None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch steps d_model"]:
        """Transform the next steps, after those in ``cache`` if there is one."""
        x = x + self.dropout(self.self_attention(self.norm1(x), rotation, cache=cache))
        if memory is not None:
            x = x + self.dropout(self.cross_attention(self.norm2(x), rotation, memory))
        return x + self.dropout(self.feed_forward(self.norm3(x)))
