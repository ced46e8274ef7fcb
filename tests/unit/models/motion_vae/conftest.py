"""A sampler and a codec with random weights, small enough for every test."""

import pytest
import torch

from dancetomusic.codec.spectral import SpectralCodec, SpectralCodecConfig, SpectralCodecModel
from dancetomusic.models.motion_vae.network import MotionVae, MotionVaeConfig


@pytest.fixture(scope="session")
def tiny_codec():
    torch.manual_seed(0)
    sizes = SpectralCodecConfig(
        encoder_channels=12, encoder_blocks=1, decoder_channels=16, decoder_blocks=2,
        codebook_size=30, code_dim=8,
    )  # fmt: skip
    model = SpectralCodecModel(sizes)
    torch.nn.init.normal_(model.quantizer.codebooks)
    torch.nn.init.constant_(model.head.bias, 0.5)
    return SpectralCodec(model)


@pytest.fixture(scope="session")
def tiny_sampler(tiny_codec):
    torch.manual_seed(1)
    return MotionVae(
        MotionVaeConfig(
            codec_id=tiny_codec.identity,
            codebook_size=30,
            code_channels=12,
            latent=4,
            hidden=16,
            memory=16,
            code_width=8,
        )
    ).eval()
