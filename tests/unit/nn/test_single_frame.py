"""Layers for one frame beside the torch layers whose weights they use."""

import numpy as np
import pytest
import torch

from dancetomusic.nn.convnext import ConvNeXtBlock
from dancetomusic.nn.single_frame import FrameConvNeXt, FrameGru, FrameLinear, FrameNorm, gelu


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("layer", "single"),
    [(torch.nn.Linear(5, 8), FrameLinear), (torch.nn.LayerNorm(5), FrameNorm)],
)
def test_layers_are_torchs(layer, single):
    for weight in layer.parameters():
        torch.nn.init.normal_(weight)
    frame = torch.randn(5)
    ours = single(layer)(frame.numpy())
    assert ours.dtype == np.float32 and np.allclose(ours, layer(frame).detach(), atol=1e-5)
    assert np.allclose(gelu(frame.numpy()), torch.nn.functional.gelu(frame), atol=1e-6)


def test_a_memory_is_torchs():
    layer, frames = torch.nn.GRU(5, 6, batch_first=True), torch.randn(1, 9, 5)
    single, memory = FrameGru(layer), np.zeros(6, np.float32)
    for frame, expected in zip(frames[0].numpy(), layer(frames)[0][0].detach(), strict=True):
        memory = single(frame, memory)
        assert np.allclose(memory, expected, atol=1e-6)


def test_a_causal_block_is_the_block():
    block, frames = ConvNeXtBlock(4, lookahead=0), torch.randn(1, 4, 12)
    torch.nn.init.normal_(block.scale)
    single = FrameConvNeXt(block)
    past = single.start()
    for frame, expected in zip(frames[0].T.numpy(), block(frames)[0].T.detach(), strict=True):
        out, past = single(frame, past)
        assert np.allclose(out, expected, atol=1e-5)
