"""EnCodec's real architecture with random weights: loading, codes, masks and streaming."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from dancetomusic.codec.encodec import (  # noqa: E402
    BANDWIDTH_KBPS,
    HUB_ID,
    EncodecCodec,
    is_encodec,
    rename_original,
)
from dancetomusic.errors import CheckpointError, ConfigError  # noqa: E402
from dancetomusic.types import CodeSequence, Waveform  # noqa: E402

RATE = 24_000


def random_model(seed: int = 0) -> transformers.EncodecModel:
    """Random weights of unit output spread: the default ones give constant latents."""
    torch.manual_seed(seed)
    model = transformers.EncodecModel(transformers.EncodecConfig()).eval()

    def spread_to_one(convolution, inputs, output):
        spread = output.std()
        convolution.bias.zero_()
        convolution.parametrizations.weight.original0.div_(spread)
        return output / spread

    kinds = (torch.nn.Conv1d, torch.nn.ConvTranspose1d)
    convolutions = [module for module in model.modules() if isinstance(module, kinds)]
    hooks = [module.register_forward_hook(spread_to_one) for module in convolutions]
    with torch.no_grad():
        latent = model.encoder(torch.randn(1, 1, RATE))
        model.decoder(torch.randn(1, 128, 75))
        for hook in hooks:
            hook.remove()
        for layer in model.quantizer.layers:
            layer.codebook.embed.copy_(latent.std() * torch.randn_like(layer.codebook.embed))
    return model


@pytest.fixture(scope="module")
def model() -> transformers.EncodecModel:
    return random_model()


@pytest.fixture(scope="module")
def codec(model: transformers.EncodecModel) -> EncodecCodec:
    return EncodecCodec(model)


@pytest.fixture(scope="module")
def original_tensors(model: transformers.EncodecModel) -> dict[str, torch.Tensor]:
    """The model's tensors under the names of the original file, by their layers' kinds."""
    transposed = {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.ConvTranspose1d)
    }
    tensors = {}
    for name, tensor in model.state_dict().items():
        convolution = name.split(".conv.")[0] + ".conv"
        wrapped = ".convtr.convtr." if convolution in transposed else ".conv.conv."
        original = (
            name.replace(".conv.", wrapped)
            .replace("coder.layers.", "coder.model.")
            .replace("parametrizations.weight.original0", "weight_g")
            .replace("parametrizations.weight.original1", "weight_v")
            .replace("quantizer.layers.", "quantizer.vq.layers.")
            .replace(".codebook.", "._codebook.")
        )
        tensors[original] = tensor.clone()
    return tensors


def sound(n_samples: int, seed: int = 0) -> Waveform:
    rng = np.random.default_rng(seed)
    return Waveform(0.3 * rng.standard_normal((1, n_samples)).astype(np.float32), RATE)


def random_codes(codec: EncodecCodec, n_frames: int, n_codebooks: int = 2) -> CodeSequence:
    codes = np.random.default_rng(1).integers(codec.codebook_size, size=(n_codebooks, n_frames))
    return CodeSequence(codes, codec.frame_rate, codec.identity)


@pytest.mark.parametrize(("n_codebooks", "bandwidth"), BANDWIDTH_KBPS.items())
def test_codebooks_give_bandwidth(model, n_codebooks, bandwidth):
    codec = EncodecCodec(model, n_codebooks=n_codebooks)
    codes = codec.encode(sound(RATE // 2))
    assert codes.codes.shape == (n_codebooks, 38)  # 37.5 frames, rounded up
    assert codec.n_codebooks == n_codebooks
    assert codes.codes.min() >= 0 and codes.codes.max() < 1024
    assert len(np.unique(codes.codes)) > 10
    assert bandwidth * 1000 == codec.frame_rate * n_codebooks * 10


def test_fewer_codebooks_are_the_first_of_more(model):
    low = EncodecCodec(model, n_codebooks=2).encode(sound(6400))
    high = EncodecCodec(model, n_codebooks=8).encode(sound(6400))
    np.testing.assert_array_equal(low.codes, high.codes[:2])


def test_codes_and_sound_equal_the_library(model, codec):
    wave = sound(16_000)
    with torch.inference_mode():
        encoded = model.encode(torch.from_numpy(wave.samples)[None], bandwidth=1.5)
        decoded = model.decode(encoded.audio_codes, encoded.audio_scales).audio_values
    codes = codec.encode(wave)
    np.testing.assert_array_equal(codes.codes, encoded.audio_codes[0, 0].numpy())
    restored = codec.decode(codes)
    assert restored.samples.shape[1] == codes.codes.shape[1] * codec.hop_length
    np.testing.assert_allclose(restored.samples, decoded[0].numpy(), atol=1e-5)


def test_other_rates_are_converted(codec):
    wave = Waveform(np.zeros((2, 44_100), dtype=np.float32), 44_100)
    assert codec.encode(wave).codes.shape == (2, 75)


def test_empty_sound_has_no_codes(codec):
    codes = codec.encode(Waveform(np.zeros((1, 0), dtype=np.float32), RATE))
    assert codes.codes.shape == (2, 0)
    assert codec.decode(codes).samples.shape == (1, 0)


def test_padding_mask_leaves_the_codes_of_a_short_sound(model, codec):
    short, long = sound(3200), sound(9600, seed=1)
    batch = np.stack([np.pad(short.samples, ((0, 0), (0, 6400)), constant_values=9.0)] * 2)
    batch[1] = long.samples
    mask = np.ones(batch.shape[::2], dtype=bool)
    mask[0, 3200:] = False
    with torch.inference_mode():
        encoded = model.encode(torch.from_numpy(batch), torch.from_numpy(mask), bandwidth=1.5)
    codes = encoded.audio_codes[0].numpy()
    np.testing.assert_array_equal(codes[0][:, :10], codec.encode(short).codes)
    np.testing.assert_array_equal(codes[1], codec.encode(long).codes)


@pytest.mark.slow(1)
@pytest.mark.parametrize("sizes", [[1] * 40, [3, 30, 7], [6, 1, 33], [40], [0, 13, 0, 27]])
def test_streaming_equals_offline(model, codec, sizes):
    codes = random_codes(codec, 40)
    with torch.inference_mode():
        latent = model.quantizer.decode(torch.from_numpy(codes.codes)[:, None])
        offline = model.decoder(latent)[0, 0].numpy()
    stream = codec.decoder_stream()
    for _ in range(2):  # a flush starts again
        chunks = np.split(codes.codes, np.cumsum(sizes)[:-1], axis=1)
        streamed = np.concatenate([*(stream.push(chunk) for chunk in chunks), stream.flush()])
        assert streamed.size == 40 * codec.hop_length
        np.testing.assert_allclose(streamed, offline, atol=1e-4 * np.abs(offline).max())
        np.testing.assert_allclose(streamed, offline, atol=1e-4)


@pytest.mark.parametrize("n_frames", [1, 2, 5, 6, 7, 8])
def test_short_streams_equal_offline(model, codec, n_frames):
    codes = random_codes(codec, n_frames)
    with torch.inference_mode():
        latent = model.quantizer.decode(torch.from_numpy(codes.codes)[:, None])
        offline = model.decoder(latent)[0].numpy()
    np.testing.assert_allclose(codec.decode(codes).samples, offline, atol=1e-5)


def test_later_codes_never_change_earlier_sound(codec):
    codes = random_codes(codec, 30)
    other = codes.codes.copy()
    other[:, 20:] = (other[:, 20:] + 1) % codec.codebook_size
    changed = CodeSequence(other, codes.frame_rate, codes.codec_id)
    before, after = (codec.decode(version).samples[0] for version in (codes, changed))
    border = 20 * codec.hop_length
    np.testing.assert_array_equal(before[:border], after[:border])
    assert np.abs(before[border:] - after[border:]).max() > 1e-4


@pytest.mark.slow
def test_original_file_maps_one_to_one(model, codec, original_tensors, tmp_path):
    assert {rename_original(name) for name in original_tensors} == set(model.state_dict())
    assert "encoder.model.0.conv.conv.weight_g" in original_tensors
    assert "encoder.model.1.block.1.conv.conv.weight_v" in original_tensors
    assert "encoder.model.13.lstm.weight_ih_l0" in original_tensors
    assert "decoder.model.3.convtr.convtr.bias" in original_tensors
    assert "quantizer.vq.layers.31._codebook.embed" in original_tensors
    file = tmp_path / "encodec.th"
    torch.save(original_tensors, file)
    loaded = EncodecCodec.from_pretrained(
        file, expected_sha256=hashlib.sha256(file.read_bytes()).hexdigest()
    )
    assert loaded.identity == codec.identity
    codes = codec.encode(sound(6400))
    np.testing.assert_array_equal(loaded.encode(sound(6400)).codes, codes.codes)
    np.testing.assert_array_equal(loaded.decode(codes).samples, codec.decode(codes).samples)


def test_changed_original_file_is_refused(tmp_path):
    file = tmp_path / "encodec_24khz-d7cc33bc.th"
    file.write_bytes(b"something else")
    with pytest.raises(CheckpointError, match="SHA-256"):
        EncodecCodec.from_pretrained(file)


def test_foreign_original_file_is_refused(tmp_path):
    file = tmp_path / "foreign.th"
    torch.save({"weight": torch.zeros(3)}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(CheckpointError, match="EnCodec's tensors"):
        EncodecCodec.from_pretrained(file, expected_sha256=digest)


class Payload:
    def __reduce__(self):
        return (print, ("executed",))


def test_pickled_code_is_not_executed(tmp_path, capsys):
    file = tmp_path / "evil.th"
    torch.save({"weight": Payload()}, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(CheckpointError):
        EncodecCodec.from_pretrained(file, expected_sha256=digest)
    assert "executed" not in capsys.readouterr().out


@pytest.mark.slow(1)
def test_directory_round_trip(model, codec, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = EncodecCodec.from_pretrained(tmp_path, n_codebooks=4)
    assert loaded.identity == codec.identity
    assert loaded.n_codebooks == 4
    assert is_encodec(tmp_path) and is_encodec(HUB_ID) and is_encodec("encodec.th")
    assert not is_encodec(tmp_path.parent) and not is_encodec("checkpoints/codec")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CheckpointError):
        EncodecCodec.from_pretrained(tmp_path)


@pytest.mark.parametrize("content", [None, "{", '{"model_type": "bert"}', "[]"])
def test_foreign_directory_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError):
        EncodecCodec.from_pretrained(tmp_path)


@pytest.mark.slow(1)
def test_identity_depends_on_the_weights(codec):
    other = EncodecCodec(random_model(seed=1))
    assert other.identity != codec.identity
    with pytest.raises(CheckpointError, match="made by"):
        other.decode(random_codes(codec, 3))


def test_refusals(model, codec, tmp_path):
    with pytest.raises(ConfigError, match="3 codebooks"):
        EncodecCodec(model, n_codebooks=3)
    with pytest.raises(CheckpointError, match="does not exist"):
        EncodecCodec.from_pretrained(tmp_path / "absent.th")
    with pytest.raises(CheckpointError, match="not a hub id"):
        EncodecCodec.from_pretrained("a/b/c/d")
    out_of_range = CodeSequence(np.full((2, 9), 1024), codec.frame_rate, codec.identity)
    with pytest.raises(CheckpointError, match="range"):
        codec.decode(out_of_range)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}]
)
def test_no_network_is_one_line_and_quick(tmp_path, settings):
    program = (
        "from dancetomusic.codec.encodec import EncodecCodec\n"
        "from dancetomusic.errors import DependencyError\n"
        "try:\n    EncodecCodec.from_pretrained()\n"
        "except DependencyError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), **settings}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[3])
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert time.perf_counter() - start < 20
    assert done.stdout.count("\n") == 1 and "cannot be reached" in done.stdout
    assert done.stderr == ""


def test_pretrained_weights():
    try:
        from huggingface_hub import hf_hub_download

        hf_hub_download(HUB_ID, "model.safetensors", local_files_only=True)
    except OSError:
        pytest.skip(f"{HUB_ID} is not in the local hub cache")
    codec = EncodecCodec.from_pretrained(HUB_ID)
    times = np.arange(RATE) / RATE
    tone = Waveform((0.3 * np.sin(2 * np.pi * 220 * times)).astype(np.float32)[None], RATE)
    restored = codec.decode(codec.encode(tone)).samples[0, :RATE]
    assert np.corrcoef(restored, tone.samples[0])[0, 1] > 0.8
