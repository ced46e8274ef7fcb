"""Gated stacks are causal, as long as they say, and see frames at the right time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from dancetomusic.models.wavenet.dilated import FrameUpsampler, GatedStack, TimeConvolutions


def test_straight_lines_join_the_frames():
    frames = torch.tensor([[0.0, 10.0, 4.0]])
    joined = FrameUpsampler(5, learned=False)(frames)
    assert joined[0].tolist() == pytest.approx([0, 2, 4, 6, 8, 10, 8.8, 7.6, 6.4, 5.2])


def test_it_is_a_transposed_convolution():
    upsampler = FrameUpsampler(7, learned=True)
    nn.init.normal_(upsampler.kernel)
    frames = torch.randn(2, 3, 6)
    theirs = nn.ConvTranspose1d(3, 3, 14, stride=7, padding=7, groups=3, bias=False)
    theirs.weight.data.copy_(upsampler.kernel.expand(3, 1, 14))
    torch.testing.assert_close(upsampler(frames), theirs(frames), atol=1e-5, rtol=1e-5)
    assert "kernel" in upsampler.state_dict()
    assert not FrameUpsampler(7, learned=False).state_dict()


def test_it_may_come_before_or_after_a_linear_map():
    upsampler, frames = FrameUpsampler(4, learned=True), torch.randn(1, 3, 5)
    nn.init.normal_(upsampler.kernel)
    weights = torch.randn(2, 3)
    torch.testing.assert_close(weights @ upsampler(frames), upsampler(weights @ frames))


def test_an_output_depends_on_its_receptive_field_and_no_more():
    torch.manual_seed(0)
    stack = GatedStack(3, 4, (1, 2, 4, 1, 2, 4))
    assert stack.receptive_field == 15
    upsampler, gates = FrameUpsampler(10, learned=False), torch.randn(1, 6, 6, 5)
    x = torch.randn(1, 3, 40, requires_grad=True)
    out = stack(x, gates, upsampler)
    assert out.shape == (1, 4, 40 - 14)
    out[0, :, 10].sum().backward()
    touched = np.flatnonzero(x.grad[0].abs().sum(0).numpy())
    assert touched.min() == 10 and touched.max() == 24


def test_gates_end_where_the_input_ends_or_as_far_ahead_as_said():
    stack, upsampler = GatedStack(3, 4, (1, 2)), FrameUpsampler(10, learned=False)
    gates, x = torch.randn(1, 2, 6, 4), torch.randn(1, 3, 30)
    whole = stack(x, gates, upsampler)
    part = stack(x[..., :25], gates, upsampler, ahead=5)
    torch.testing.assert_close(whole[..., :-5], part)


def test_the_gate_is_the_paper_s():
    """z = tanh(W_f x + V_f y) · σ(W_g x + V_g y), with the skip a 1 × 1 convolution of z."""
    stack = GatedStack(2, 2, (1,))
    x, gates = torch.randn(1, 2, 2), torch.randn(1, 1, 4, 2)
    weight = stack.filters[0].weight
    inner = weight[..., 0] @ x[0, :, 0] + weight[..., 1] @ x[0, :, 1] + gates[0, 0, :, 0]
    z = torch.tanh(inner[:2]) * torch.sigmoid(inner[2:])
    skip = stack.skips[0]
    expected = skip.weight[..., 0] @ z + skip.bias
    found = stack(x, gates, FrameUpsampler(2, learned=False), ahead=1)
    torch.testing.assert_close(found[0, :, 0], expected)


def test_convolutions_in_time_keep_the_length_and_their_reach():
    torch.manual_seed(0)
    layers = TimeConvolutions(4, (1, 4))
    assert layers.reach == 10
    x = torch.randn(1, 4, 50, requires_grad=True)
    out = layers(x)
    assert out.shape == x.shape
    out[0, :, 25].sum().backward()
    touched = np.flatnonzero(x.grad[0].abs().sum(0).numpy())
    assert touched.min() == 15 and touched.max() == 35
