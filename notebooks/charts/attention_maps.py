"""Where a token decoder looks while it writes: shares of attention on movement and on its past."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from dancetomusic.models.pose2audio.token_decoder import TokenDecoder
from dancetomusic.nn.attention import CrossAttention, Memory, SelfAttention
from dancetomusic.nn.positional import rotate
from dancetomusic.nn.transformer import DecoderBlock


@dataclass(frozen=True)
class AttentionMaps:
    """Shares of attention in [0, 1]; they add up to 1 over the last axis.

    Attributes:
        to_memory: Of each step, on the null position, which stands for no movement, and then
            on each position of the pose memory.
        to_past: Of each step, on itself and those before it; 0 on those after it.
        step_times: When the code of each step sounds, in seconds.
        memory_times: When each position of the pose memory begins, in seconds.
    """

    to_memory: Float[Tensor, "layers heads steps null_and_memory"]
    to_past: Float[Tensor, "layers heads steps steps"]
    step_times: Float[Tensor, " steps"]
    memory_times: Float[Tensor, " memory"]


@torch.inference_mode()
def attention_maps(
    decoder: TokenDecoder,
    codes: Int[Tensor, "1 codebooks frames"],
    rhythm: Float[Tensor, "1 frames features"],
    memory: Float[Tensor, "1 memory memory_dim"],
    memory_mask: Bool[Tensor, "1 memory"] | None = None,
    *,
    style: Int[Tensor, " 1"] | None = None,
) -> AttentionMaps:
    """Let a decoder with a memory read codes as if it wrote them, and note where each head looks.

    The maps grow with the square of the frames; a decoder sees ``config.window_s`` seconds at
    once. The arguments are those of ``TokenDecoder.forward``.
    """
    to_past: list[Tensor] = []
    to_memory: list[Tensor] = []
    hooks = []
    for block in decoder.blocks:
        own = cast(DecoderBlock, block)
        hooks += [
            own.self_attention.register_forward_pre_hook(
                lambda module, given: to_past.append(_shares_of_past(module, given[0], given[1]))
            ),
            own.cross_attention.register_forward_pre_hook(
                lambda module, given: to_memory.append(_shares_of_memory(module, *given))
            ),
        ]
    was_training = decoder.training
    decoder.eval()
    try:
        decoder(codes, rhythm, memory, memory_mask, style=style)
    finally:
        decoder.train(was_training)
        for hook in hooks:
            hook.remove()
    config = decoder.config
    steps = decoder.pattern.n_steps(codes.shape[2])
    return AttentionMaps(
        to_memory=torch.cat(to_memory),
        to_past=torch.cat(to_past),
        step_times=decoder.pattern.frame_of(steps).double() / config.frame_rate,
        memory_times=torch.arange(memory.shape[1]).double() / config.memory_rate,
    )


def _shares_of_past(
    attention: SelfAttention,
    x: Float[Tensor, "1 steps d_model"],
    rotation: Complex[Tensor, "steps half"],
) -> Float[Tensor, "1 heads steps steps"]:
    batch, steps, width = x.shape
    split = attention.qkv(x).view(batch, steps, 3, attention.n_heads, width // attention.n_heads)
    turned = rotate(split[:, :, :2], rotation[:, None, None])
    queries, keys = turned.transpose(1, 3).unbind(2)
    past = torch.ones(steps, steps, dtype=torch.bool, device=x.device).tril()
    return _shares(queries, keys, past if attention.causal else None)


def _shares_of_memory(
    attention: CrossAttention,
    x: Float[Tensor, "1 steps d_model"],
    rotation: Complex[Tensor, "steps half"],
    memory: Memory,
) -> Float[Tensor, "1 heads steps memory"]:
    batch, steps, width = x.shape
    queries = attention.query(x).view(batch, steps, attention.n_heads, width // attention.n_heads)
    return _shares(rotate(queries, rotation[:, None]).transpose(1, 2), memory.keys, memory.mask)


def _shares(queries: Tensor, keys: Tensor, mask: Tensor | None) -> Tensor:
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(-1)
