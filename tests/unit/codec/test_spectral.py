from itertools import pairwise

import numpy as np
import pytest
import torch

from dancetomusic.checkpoint import load_checkpoint
from dancetomusic.codec.block_decoder import BlockDecoder
from dancetomusic.codec.spectral import (
    SpectralCodec,
    SpectralCodecConfig,
    SpectralCodecModel,
    interpolation,
    mel_filters,
)
from dancetomusic.errors import CheckpointError, ConfigError
from dancetomusic.types import CodeSequence, Waveform


@pytest.fixture(scope="module", params=[(0, 0), (24, 0), (24, 8)], ids=["one", "fine", "gains"])
def codec(request):
    torch.manual_seed(0)
    config = SpectralCodecConfig(
        encoder_channels=16, encoder_blocks=2, decoder_channels=16, decoder_blocks=2,
        codebook_size=64, fine_from_bin=request.param[0], n_gains=request.param[1],
    )  # fmt: skip
    model = SpectralCodecModel(config)
    latent = model.encode_latent(torch.randn(4, 48_000) * 0.1).detach()
    model.quantizer.start_from(latent, torch.Generator().manual_seed(0))
    return SpectralCodec(model)


def noise(seconds, seed=0, rate=24_000):
    samples = np.random.default_rng(seed).normal(0, 0.1, (1, int(seconds * rate)))
    return Waveform(samples.astype(np.float32), rate)


def test_gains_shape_a_frame():
    torch.manual_seed(0)
    config = SpectralCodecConfig(
        encoder_channels=16, decoder_channels=16, codebook_size=64, fine_from_bin=24, n_gains=8
    )
    model = SpectralCodecModel(config)
    with torch.no_grad():
        model.head.bias[-8:] = torch.tensor([-20.0] * 4 + [1.0] * 4)  # of a code's second frame
    output = model.head.bias.expand(1, 1, -1).split(model.head_sizes, dim=-1)[1]
    first, second = model._frames(1, output.detach(), torch.zeros(1, 1, dtype=torch.int64))[0]
    early, late = (second[part].square().mean() for part in (slice(0, 240), slice(400, 640)))
    assert early < 1e-9 * late
    assert first[:240].square().mean() > 0.1 * first[400:].square().mean()


def test_interpolation_joins_values_by_lines():
    shares = interpolation(4, 40)
    assert torch.allclose(shares.sum(0), torch.ones(40))
    line = torch.arange(4.0) @ shares
    assert torch.allclose(line[5:35].diff(), torch.full((29,), 0.1), atol=1e-6)
    assert line[:5].abs().max() == 0 and (line[35:] == 3).all()
    assert interpolation(0, 40).shape == (0, 40)


def test_frames_follow_from_the_hop(codec):
    assert codec.frame_rate == 75.0
    codes = codec.encode(noise(1.001))
    assert codes.codes.shape == (2, 76)
    assert codec.decode(codes).samples.shape == (1, 76 * 320)


def test_other_rates_and_channels_are_converted(codec):
    stereo = Waveform(np.repeat(noise(1, rate=48_000).samples, 2, axis=0), 48_000)
    assert codec.encode(stereo).codes.shape == (2, 75)


@pytest.mark.parametrize("sizes", [[1] * 40, [7, 1, 50, 42], [100]])
def test_chunks_joined_equal_one_decode(codec, sizes):
    codes = codec.encode(noise(sum(sizes) / 75)).codes
    offline = codec.model.decode(torch.from_numpy(codes[None]))[0].detach().numpy()
    stream = codec.decoder_stream()
    edges = np.cumsum([0, *sizes])
    chunks = [stream.push(codes[:, a:b]) for a, b in pairwise(edges)]
    joined = np.concatenate([*chunks, stream.flush()])
    assert joined.shape == offline.shape
    assert np.abs(joined - offline).max() < 1e-4


@pytest.mark.parametrize("size", [1, 2, 5])
def test_blocks_joined_equal_one_decode(codec, size):
    codes = codec.encode(noise(1)).codes.astype(np.int64)
    offline = codec.model.decode(torch.from_numpy(codes[None]))[0].detach().numpy()
    decoder = BlockDecoder(codec.model)
    state, torch_state = decoder.initial_state(), codec.model.initial_state()
    blocks = []
    for start in range(0, 70, size):
        block = codes[:, start : start + size + 2]
        samples, state = decoder.decode(block, state)
        latent = codec.model.quantizer.decode(torch.from_numpy(block)[None])
        expected, torch_state = codec.model.stream_latent(latent, torch_state)
        assert samples.shape == (size * 320,)
        assert np.abs(samples - expected[0].detach().numpy()).max() < 1e-5
        blocks.append(samples)
    joined = np.concatenate(blocks)[decoder.fade_in :]
    assert np.abs(joined - offline[: joined.size]).max() < 1e-5


def test_stream_starts_again_after_flush(codec):
    codes = codec.encode(noise(1)).codes
    stream = codec.decoder_stream()
    first = np.concatenate([stream.push(codes), stream.flush()])
    second = np.concatenate([stream.push(codes), stream.flush()])
    assert np.array_equal(first, second)


def test_later_codes_do_not_change_what_was_given_out(codec):
    codes = codec.encode(noise(1)).codes
    other = codes.copy()
    other[:, 40:] = (other[:, 40:] + 1) % 64
    first = codec.decoder_stream().push(codes)
    second = codec.decoder_stream().push(other)
    safe = (40 - codec.model.LOOKAHEAD) * 320 - codec.model.fade_in
    assert np.abs(first[:safe] - second[:safe]).max() < 1e-5
    assert np.abs(first[safe:] - second[safe:]).max() > 1e-5


def test_the_same_sound_gives_the_same_codes_a_whole_frame_later(codec):
    sound = noise(2)
    late = Waveform(np.pad(sound.samples, ((0, 0), (320, 0))), 24_000)
    codes, shifted = codec.encode(sound).codes, codec.encode(late).codes
    assert np.array_equal(codec.encode(sound).codes, codes)
    inner = slice(20, 120)  # clear of both ends
    assert (codes[:, inner] == shifted[:, 21:121]).mean() > 0.99


def test_silence_is_encoded(codec):
    silence = Waveform(np.zeros((1, 24_000), np.float32), 24_000)
    assert np.isfinite(codec.decode(codec.encode(silence)).samples).all()


def test_saved_and_loaded_gives_the_same_codes(codec, tmp_path):
    codec.model.save_pretrained(tmp_path, {"seed": 0})
    loaded = SpectralCodec.from_pretrained(tmp_path)
    codec_in_half = SpectralCodec.from_pretrained(tmp_path)
    assert loaded.identity == codec_in_half.identity == codec.identity
    codes = loaded.encode(noise(1)).codes
    assert (codes == codec.encode(noise(1)).codes).mean() > 0.9
    assert load_checkpoint(tmp_path, model="codec").metadata["seed"] == 0


def test_a_retrained_decoder_keeps_the_identity_and_a_new_book_does_not(codec, tmp_path):
    codec.model.save_pretrained(tmp_path, {})
    model = SpectralCodec.from_pretrained(tmp_path).model
    with torch.no_grad():
        model.head.weight.add_(0.1)
    assert SpectralCodec(model).identity == codec.identity
    with torch.no_grad():
        model.quantizer.codebooks.add_(0.1)
    assert SpectralCodec(model).identity != codec.identity


def test_codes_of_another_codec_are_refused(codec):
    with pytest.raises(CheckpointError, match="made by codec other"):
        codec.decode(CodeSequence(np.zeros((2, 75), np.int64), 75.0, "other"))


def test_impossible_sizes_are_refused(codec):
    with pytest.raises(ConfigError, match="n_fft"):
        SpectralCodecConfig(n_fft=1000)
    with pytest.raises(ConfigError, match="5 codebooks"):
        SpectralCodec(codec.model, n_codebooks=5)


@pytest.mark.parametrize(("n_fft", "n_mels"), [(128, 20), (512, 48), (1280, 96), (2048, 128)])
def test_every_mel_band_hears_something(n_fft, n_mels):
    filters = mel_filters(24_000, n_fft, n_mels)
    assert torch.allclose(filters.sum(1), torch.ones(n_mels), atol=1e-5)
    centres = filters @ torch.linspace(0, 12_000, n_fft // 2 + 1)
    assert (centres.diff() > 0).all()
