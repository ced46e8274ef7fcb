"""Attention maps are those by which the decoder really mixes, and leave no trace."""

import pytest
import torch

from dancetomusic.models.pose2audio.token_decoder import TokenDecoder, TokenDecoderConfig
from dancetomusic.rhythm.features import RHYTHM_FEATURES
from notebooks.charts.attention_maps import attention_maps

FRAMES, MEMORY, LAYERS, HEADS = 50, 8, 3, 2


def make_decoder(**changes):
    config = TokenDecoderConfig(
        rhythm_features=len(RHYTHM_FEATURES), memory_dim=6, codebook_size=16, d_model=16,
        n_layers=LAYERS, n_heads=HEADS, **changes,
    )  # fmt: skip
    decoder = TokenDecoder(config).eval()
    for parameter in decoder.parameters():
        parameter.data *= 8  # fresh weights look everywhere alike
    return decoder


@pytest.fixture
def given():
    source = torch.Generator().manual_seed(1)
    codes = torch.randint(0, 16, (1, 2, FRAMES), generator=source)
    rhythm = torch.randn(1, FRAMES, len(RHYTHM_FEATURES), generator=source)
    return codes, rhythm, torch.randn(1, MEMORY, 6, generator=source)


def test_each_row_is_a_share_of_what_may_be_seen(given):
    maps = attention_maps(make_decoder(), *given)
    steps = FRAMES + 1  # one more, for the delay of the second codebook
    assert maps.to_memory.shape == (LAYERS, HEADS, steps, 1 + MEMORY)
    assert maps.to_past.shape == (LAYERS, HEADS, steps, steps)
    for shares in (maps.to_memory, maps.to_past):
        torch.testing.assert_close(shares.sum(-1), torch.ones(LAYERS, HEADS, steps))
    assert not maps.to_past.triu(1).any()
    assert maps.step_times[75 // 5] == pytest.approx(0.2)
    assert maps.memory_times.tolist() == pytest.approx([k / 12 for k in range(MEMORY)])


@torch.inference_mode()
def test_mixing_by_the_maps_gives_what_the_layers_give(given):
    decoder = make_decoder()
    made, mixed = [], []

    def keep(module, inputs, output):
        made.append(output)
        mixed.append(inputs[2].values)

    hooks = [block.cross_attention.register_forward_hook(keep) for block in decoder.blocks]
    maps = attention_maps(decoder, *given)
    for hook in hooks:
        hook.remove()
    for block, output, values, shares in zip(
        decoder.blocks, made, mixed, maps.to_memory, strict=True
    ):
        ours = block.cross_attention.out((shares @ values[0]).transpose(0, 1).flatten(1))
        torch.testing.assert_close(ours[None], output)


@torch.inference_mode()
def test_self_attention_likewise(given):
    decoder = make_decoder()
    seen = []
    hooks = [
        block.self_attention.register_forward_hook(lambda _, x, y: seen.append((x[0], y)))
        for block in decoder.blocks
    ]
    maps = attention_maps(decoder, *given)
    for hook in hooks:
        hook.remove()
    for block, (x, output), shares in zip(decoder.blocks, seen, maps.to_past, strict=True):
        attention = block.self_attention
        values = attention.qkv(x)[0].view(-1, 3, HEADS, 16 // HEADS)[:, 2].transpose(0, 1)
        ours = attention.out((shares @ values).transpose(0, 1).flatten(1))
        torch.testing.assert_close(ours[None], output)


def test_what_is_masked_is_not_looked_at(given):
    mask = torch.arange(MEMORY)[None] < 3
    maps = attention_maps(make_decoder(), *given, memory_mask=mask)
    assert not maps.to_memory[..., 1 + 3 :].any()
    assert maps.to_memory[..., : 1 + 3].any()


def test_a_causal_decoder_looks_at_nothing_that_is_not_danced_yet(given):
    maps = attention_maps(make_decoder(causal=True, memory_layers=0), *given)
    ends_at = maps.memory_times + 1 / 12
    ahead = ends_at[None] > maps.step_times[:, None] + 1e-6
    assert not maps.to_memory[..., 1:][..., ahead].any()
    assert maps.to_memory[..., 1:][..., ~ahead].any()


def test_the_decoder_stays_as_it_was(given):
    decoder = make_decoder().train()
    attention_maps(decoder, *given)
    assert decoder.training
    assert not any(module._forward_pre_hooks for module in decoder.modules())
