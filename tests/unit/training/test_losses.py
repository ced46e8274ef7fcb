"""Spectral distance and gradient penalty."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dancetomusic.training.losses import MelLoss, gradient_penalty


def test_mel_distance_is_zero_on_the_same_sound_and_grows_with_the_difference():
    loss = MelLoss(24_000)
    sound = torch.randn(2, 9600) * 0.1
    same = loss(sound, sound)
    near = loss(sound + 0.01 * torch.randn_like(sound), sound)
    far = loss(0.1 * torch.randn_like(sound), sound)
    assert same.item() == pytest.approx(0, abs=1e-5)
    assert 0 < near < far


def test_the_penalty_is_that_of_a_known_slope():
    real, made = torch.randn(4, 3, 5), torch.randn(4, 3, 5)
    slope = 3.0 / np.sqrt(15)
    found = gradient_penalty(lambda x: slope * x.sum(dim=(1, 2)), real, made, torch.rand(4))
    assert float(found) == pytest.approx((3.0 - 1.0) ** 2, rel=1e-4)
