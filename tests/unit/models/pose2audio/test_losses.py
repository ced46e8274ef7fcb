"""Losses: what they are at best, and how far their gradients reach."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from dancetomusic.codec.soft import SoftDecoder
from dancetomusic.codec.spectral import SpectralCodec, SpectralCodecConfig, SpectralCodecModel
from dancetomusic.models.pose2audio.losses import (
    CodeCritic,
    PerceptualLoss,
    codebook_losses,
    sample_straight_through,
    scheduled_logits,
)
from dancetomusic.models.pose2audio.network import Pose2Audio, Pose2AudioConfig
from dancetomusic.models.pose_encoder.losses import rhythm_terms
from dancetomusic.models.pose_encoder.network import PoseEncoding
from dancetomusic.training.losses import critic_losses

SIZE = 16


def spectral_codec():
    torch.manual_seed(0)
    model = SpectralCodecModel(
        SpectralCodecConfig(encoder_channels=8, encoder_blocks=1, decoder_channels=8,
                            decoder_blocks=1, codebook_size=SIZE)
    )  # fmt: skip
    latent = model.encode_latent(torch.randn(2, 24_000)).detach()
    model.quantizer.start_from(latent, torch.Generator().manual_seed(0))
    return SpectralCodec(model)


def encodec_codec():
    transformers = pytest.importorskip("transformers")
    from dancetomusic.codec.encodec import EncodecCodec

    torch.manual_seed(0)
    model = transformers.EncodecModel(
        transformers.EncodecConfig(num_filters=4, hidden_size=8, codebook_dim=8,
                                   codebook_size=SIZE, num_lstm_layers=1)
    )  # fmt: skip
    for layer in model.quantizer.layers:
        layer.codebook.embed.copy_(torch.randn_like(layer.codebook.embed))
    return EncodecCodec(model)


@pytest.fixture(params=[spectral_codec, encodec_codec])
def codec(request):
    return request.param()


def one_hot(codes):
    return functional.one_hot(codes, SIZE).float()


@pytest.mark.slow(1)
def test_certain_shares_sound_like_their_codes(codec):
    from dancetomusic.types import CodeSequence

    assert isinstance(codec, SoftDecoder)
    codes = torch.randint(SIZE, (1, 2, 40))
    latent = codec.embed(one_hot(codes))
    assert latent.shape == (1, 40, codec.latent_channels)
    sound = codec.decode_latent(latent)
    expected = codec.decode(CodeSequence(codes[0].numpy(), codec.frame_rate, codec.identity))
    torch.testing.assert_close(sound, torch.from_numpy(expected.samples), atol=1e-4, rtol=1e-3)


def test_the_loss_of_sound_moves_the_pose_encoder(codec):
    """Not only the decoder: the gradient goes from the sound through drawn codes to the poses."""
    torch.manual_seed(0)
    config = Pose2AudioConfig.of_size("tiny", codec_id=codec.identity, codebook_size=SIZE)
    model = Pose2Audio(config)
    world, present = torch.randn(2, 24, 33, 3) * 0.3, torch.ones(2, 24, dtype=torch.bool)
    codes = torch.randint(SIZE, (2, 2, 75))
    logits, _ = model(world, present, codes, torch.zeros(2, 75, config.decoder.rhythm_features))
    before = [weight.clone() for weight in codec_weights(codec)]
    PerceptualLoss(codec)(logits, codes).backward()
    for part in (model.encoder.reduce, model.encoder.blocks, model.decoder.blocks):
        gradients = [w.grad for w in part.parameters() if w.grad is not None]
        assert gradients and all(torch.isfinite(g).all() for g in gradients)
        assert max(float(g.abs().max()) for g in gradients) > 0
    for weight, was in zip(codec_weights(codec), before, strict=True):
        assert weight.grad is None and torch.equal(weight, was)


def codec_weights(codec):
    model = codec.model if hasattr(codec, "model") else codec._model
    return list(model.parameters())


def test_sound_is_right_when_the_codes_are(codec):
    codes = torch.randint(SIZE, (1, 2, 60))
    loss = PerceptualLoss(codec)
    sure = 100 * one_hot(codes)
    assert loss(sure, codes).item() == pytest.approx(0, abs=1e-3)
    assert loss(sure.roll(1, -1), codes).item() > 0.1


@pytest.mark.slow(1)
def test_learning_by_sound_alone_finds_the_sound():
    codec = spectral_codec()
    codes = torch.randint(SIZE, (1, 1, 30))
    logits = torch.zeros(1, 1, 30, SIZE, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.3)
    loss = PerceptualLoss(codec)
    heard = []
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(logits, codes)
        value.backward()
        optimizer.step()
        heard.append(value.item())
    assert sum(heard[-5:]) < 0.7 * sum(heard[:5])


def test_losses_of_books_average_to_that_of_all_codes():
    logits, codes = torch.randn(3, 2, 20, SIZE), torch.randint(SIZE, (3, 2, 20))
    books = codebook_losses(logits, codes)
    every = functional.cross_entropy(logits.flatten(0, 2), codes.flatten())
    torch.testing.assert_close(books.mean(), every)
    padded = codes.clone()
    padded[:, :, 10:] = SIZE
    torch.testing.assert_close(
        codebook_losses(logits, padded), codebook_losses(logits[:, :, :10], codes[:, :, :10])
    )


def test_full_teacher_forcing_is_one_pass_over_the_truth():
    read = []
    codes = torch.randint(SIZE, (2, 2, 10))
    logits = scheduled_logits(lambda c: read.append(c) or torch.zeros(*c.shape, SIZE), codes, 1.0)
    assert len(read) == 1 and torch.equal(read[0], codes) and logits.shape == (2, 2, 10, SIZE)


@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.9])
def test_scheduled_sampling_reads_its_own_codes_in_a_second_pass(ratio):
    """The model is sure that each code is one more than the true one."""
    codes = torch.randint(SIZE - 1, (8, 2, 200))
    codes[:, :, 190:] = SIZE
    read = []

    def logits_of(past):
        read.append(past)
        return 1e3 * functional.one_hot((past + 1).clamp(max=SIZE - 1), SIZE).float()

    scheduled_logits(logits_of, codes, ratio)
    first, second = read
    assert torch.equal(first, codes)
    known = codes[:, :, :190]
    own = second[:, :, :190] == known + 1
    assert (own | (second[:, :, :190] == known)).all()
    assert own.float().mean().item() == pytest.approx(1 - ratio, abs=0.05)
    assert (second[:, :, 190:] == SIZE).all()


def test_the_gradient_goes_through_the_second_pass_alone():
    weight = torch.ones(1, requires_grad=True)
    passes = []

    def logits_of(past):
        passes.append(torch.is_grad_enabled())
        return weight * functional.one_hot(past, SIZE).float()

    scheduled_logits(logits_of, torch.randint(SIZE, (1, 2, 5)), 0.5).sum().backward()
    assert passes == [False, True] and weight.grad is not None


def test_shares_are_drawn_as_often_as_they_are_likely():
    logits = torch.log(torch.tensor([0.7, 0.2, 0.1])).expand(1, 1, 4000, 3)
    shares = sample_straight_through(logits)
    assert set(shares.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(
        shares.mean((0, 1, 2)), torch.tensor([0.7, 0.2, 0.1]), atol=0.03, rtol=0
    )


@pytest.mark.slow(1)
def test_a_critic_learns_to_tell_two_kinds_apart_with_gradients_near_one():
    torch.manual_seed(0)
    critic = CodeCritic(4, 2, channels=16)
    optimizer = torch.optim.Adam(critic.parameters(), lr=3e-3, betas=(0.5, 0.9))
    rhythm = torch.zeros(16, 40, 2)
    for _ in range(100):
        true, drawn = torch.randn(16, 40, 4) + 0.5, torch.randn(16, 40, 4) - 0.5
        losses = critic_losses(
            lambda latent: critic(latent, rhythm), true, drawn, 1 - torch.rand(16), 10.0
        )
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
    assert losses["distance"].item() > 1
    assert losses["gradient_penalty"].item() < 0.4


def test_rhythm_that_is_read_rightly_costs_nothing():
    n = 40
    angle = torch.arange(n) / 10 * torch.pi
    phase = torch.stack([angle.cos(), angle.sin()], -1)[None]
    beats = (torch.arange(n) % 20 == 0).float()[None]
    energy, mask = torch.rand(1, n), torch.ones(1, n)
    said = PoseEncoding(
        torch.zeros(1, 1, 4), torch.ones(1, 1, dtype=torch.bool), phase,
        40 * (beats - 0.5), 40 * (beats - 0.5), energy, torch.zeros(1, 63),
    )  # fmt: skip
    truth = {"phase": phase, "beats": beats, "downbeats": beats, "energy": energy}
    terms = rhythm_terms(said, **truth, mask=mask)
    assert all(abs(value.item()) < 1e-6 for value in terms.values())
    wrong = {**truth, "phase": -phase}
    assert rhythm_terms(said, **wrong, mask=mask)["phase"].item() == pytest.approx(4)
    mask[:, 5:] = 0
    wrong["phase"] = torch.where(torch.arange(n)[:, None] < 5, phase, -phase)
    assert rhythm_terms(said, **wrong, mask=mask)["phase"].item() == pytest.approx(0)
