"""Multi-head attention with rotary positions, over a growing past or a fixed memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from dancetomusic.nn.positional import rotate


@dataclass
class KVCache:
    """Keys and values of all past positions, in buffers allocated once and filled in place.

    Attributes:
        keys: Rotated keys; positions from ``length`` on are unused.
    """

    keys: Float[Tensor, "batch heads capacity head_dim"]
    values: Float[Tensor, "batch heads capacity head_dim"]
    length: int = 0

    def append(
        self,
        keys: Float[Tensor, "batch heads new head_dim"],
        values: Float[Tensor, "batch heads new head_dim"],
    ) -> tuple[
        Float[Tensor, "batch heads total head_dim"], Float[Tensor, "batch heads total head_dim"]
    ]:
        """Store new positions and give views of all filled ones."""
        start, self.length = self.length, self.length + keys.shape[2]
        self.keys[:, :, start : self.length] = keys
        self.values[:, :, start : self.length] = values
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class Memory(NamedTuple):
    """Keys and values of what is attended to; of a ``mask``, the positions that may be seen."""

    keys: Float[Tensor, "batch heads memory head_dim"]
    values: Float[Tensor, "batch heads memory head_dim"]
    mask: Bool[Tensor, "batch 1 #steps memory"] | None


class SelfAttention(nn.Module):
    """Attention of a sequence to itself.

    ``d_model`` is a multiple of ``n_heads``.
    """

    def __init__(self, d_model: int, n_heads: int, *, causal: bool) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.causal = causal
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch steps d_model"],
        rotation: Complex[Tensor, "*batch steps half"],
        *,
        mask: Bool[Tensor, "batch 1 1 steps"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch steps d_model"]:
        """Attend.

        The input is normalised; ``rotation`` is the table for its positions, one for all sequences
        or one for each. A ``mask`` of positions that may be seen is for non-causal attention.
        Several steps at once continue a ``cache`` only while it is empty.
        """
        batch, steps, width = x.shape
        qkv = self.qkv(x).view(batch, steps, 3, self.n_heads, width // self.n_heads)
        queries, keys = (
            rotate(qkv[:, :, :2], rotation[..., None, None, :]).transpose(1, 3).unbind(2)
        )
        values = qkv[:, :, 2].transpose(1, 2)
        if cache is not None:
            assert steps == 1 or cache.length == 0
            keys, values = cache.append(keys, values)
        mixed = scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=self.causal and steps > 1
        )
        return self.out(mixed.transpose(1, 2).reshape(batch, steps, width))


class CrossAttention(nn.Module):
    """Attention of a sequence to a memory whose keys and values are computed once."""

    def __init__(self, d_model: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(d_model, d_model, bias=False)
        self.key_value = nn.Linear(d_model, 2 * d_model, bias=False)
        self.out = nn.Linear(d_model, d_model, bias=False)

    def remember(
        self,
        memory: Float[Tensor, "batch memory d_model"],
        rotation: Complex[Tensor, "memory half"],
    ) -> tuple[
        Float[Tensor, "batch heads memory head_dim"], Float[Tensor, "batch heads memory head_dim"]
    ]:
        """Rotated keys, and values, of a memory."""
        batch, length, width = memory.shape
        pair = self.key_value(memory).view(batch, length, 2, self.n_heads, width // self.n_heads)
        keys, values = pair.unbind(2)
        return rotate(keys, rotation[:, None]).transpose(1, 2), values.transpose(1, 2)

    def forward(
        self,
        x: Float[Tensor, "batch steps d_model"],
        rotation: Complex[Tensor, "steps half"],
        memory: Memory,
    ) -> Float[Tensor, "batch steps d_model"]:
        """Attend from the normalised ``x`` to what ``remember`` gave."""
        keys, values, mask = memory
        batch, steps, width = x.shape
        queries = self.query(x).view(batch, steps, self.n_heads, width // self.n_heads)
        queries = rotate(queries, rotation[:, None]).transpose(1, 2)
        mixed = scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).reshape(batch, steps, width))
