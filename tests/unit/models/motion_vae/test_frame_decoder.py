"""The sampler's decoder, block by block in NumPy and all at once in torch."""

import numpy as np
import pytest
import torch

from dancetomusic.models.motion_vae.frame_decoder import FrameDecoder
from dancetomusic.models.motion_vae.network import BEAT_FEATURES, MotionVae, MotionVaeConfig

TINY = MotionVaeConfig(
    codec_id="spectral:0", codebook_size=40, code_channels=6, latent=3, hidden=8, memory=12,
    code_width=8,
)  # fmt: skip
LARGE = MotionVaeConfig(codec_id="spectral:0", n_codebooks=3)  # weights of the released size


@pytest.fixture
def model():
    torch.manual_seed(0)
    return MotionVae(TINY).eval().requires_grad_(False)


@pytest.mark.parametrize("config", [TINY, LARGE], ids=["tiny", "large"])
@pytest.mark.parametrize("sizes", [[12], [1] * 12, [2, 5, 1, 4]])
def test_blocks_joined_equal_all_at_once(sizes, config):
    torch.manual_seed(0)
    model = MotionVae(config).eval().requires_grad_(False)
    decoder = FrameDecoder(model)
    points, beats = torch.randn(1, 6, config.latent), torch.randn(1, 12, len(BEAT_FEATURES))
    spread = np.repeat(points[0].numpy(), 2, axis=0)
    none = np.zeros((config.n_codebooks, 12, config.codebook_size), np.float32)
    state, codes, levels, start = decoder.initial_state(), [], [], 0
    for size in sizes:
        end = min(start + size + 2, 12)  # two frames more, which only predict what follows
        sampled, level, state = decoder.sample(
            spread[start:end], beats[0, start:end].numpy(), none[:, start:end], 0.0, state,
            lookahead=end - start - size,
        )  # fmt: skip
        codes.append(sampled[:, :size])
        levels.append(level[:size])
        start += size
    played = torch.from_numpy(np.concatenate(codes, axis=1)[None])
    whole = model.decode(points, beats, played)
    assert torch.equal(whole.logits.argmax(-1), played)
    assert np.allclose(whole.level[0], np.concatenate(levels), atol=1e-5)


def test_the_same_noise_samples_the_same_codes(model):
    rng, decoder = np.random.default_rng(0), FrameDecoder(model)
    noise = rng.gumbel(size=(11, 2, 1, 40)).astype(np.float32)
    inputs = np.ones((1, 3), np.float32), np.zeros((1, 7), np.float32)
    start = decoder.initial_state()
    sampled = [decoder.sample(*inputs, each, 3.0, start)[0] for each in (noise[0], *noise)]
    assert np.array_equal(sampled[0], sampled[1])
    assert any(not np.array_equal(other, sampled[0]) for other in sampled[2:])


def test_only_the_likeliest_are_sampled():
    torch.manual_seed(0)
    config = MotionVaeConfig(codec_id="spectral:0", n_codebooks=1, codebook_size=100)
    model = MotionVae(config).eval().requires_grad_(False)
    decoder, rng = FrameDecoder(model), np.random.default_rng(0)
    point, beats = np.ones((1, 16), np.float32), np.zeros((1, 7), np.float32)
    codes = torch.zeros(1, 1, 2, dtype=torch.int64)
    whole = model.decode(torch.ones(1, 1, 16), torch.zeros(1, 2, 7), codes)
    allowed = set(whole.logits[0, 0, 0].topk(60).indices.tolist())
    sampled = {
        int(decoder.sample(point, beats, noise, 50.0, decoder.initial_state())[0][0, 0])
        for noise in rng.gumbel(size=(300, 1, 1, 100)).astype(np.float32)
    }
    assert sampled <= allowed and len(sampled) > 50
