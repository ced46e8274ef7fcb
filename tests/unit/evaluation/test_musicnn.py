"""The weights are read from a wheel without TensorFlow, and give the network as published."""

import zipfile

import numpy as np
import pytest
import torch

pytest.importorskip("librosa")

from dancetomusic.errors import InputError
from dancetomusic.evaluation.musicnn import (
    CHANNELS,
    MEL_BANDS,
    convolutions,
    embed_music,
    penultimate,
    read_weights,
)
from dancetomusic.types import Waveform

KERNELS = [
    *((7, 38, 1, 204), (7, 67, 1, 204), (128, 1, 1, 51), (64, 1, 1, 51), (32, 1, 1, 51)),
    *((7, 561, 1, 64), (7, 64, 1, 64), (7, 64, 1, 64)),
]
NORMALISED = (1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200)


def shapes():
    named = {"dense/kernel": (1506, 200), "dense/bias": (200,)}
    named |= {"dense_1/kernel": (200, 50), "dense_1/bias": (50,), "beta1_power": ()}
    for number, kernel in enumerate(KERNELS):
        name = f"conv2d_{number}" if number else "conv2d"
        named |= {f"{name}/kernel": kernel, f"{name}/bias": kernel[-1:]}
    for number, channels in enumerate(NORMALISED):
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        for part in ("beta", "gamma", "moving_mean", "moving_variance"):
            named[f"{name}/{part}"] = (channels,)
    return named


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block(entries):
    out, before = b"", b""
    for key, value in entries:
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        before = key
    return out + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def write_wheel(path, tensors):
    """A TensorFlow checkpoint in a wheel, as the format describes it."""
    data, entries = b"", [(b"", field(1, 1))]
    for name in sorted(tensors):
        values = np.asarray(tensors[name], "<f4")
        shape = b"".join(field(2, field(1, size)) for size in values.shape)
        entry = field(1, 1) + field(2, shape)
        entry += (field(4, len(data)) if data else b"") + field(5, values.nbytes)
        entry += varint(6 << 3 | 5) + b"crc!"
        entries.append((name.encode(), entry))
        data += values.tobytes()
    body = block(entries)
    index = body + b"\0crc!"
    listing = block([(b"z", varint(0) + varint(len(body)))])
    at = len(index)
    index += listing + b"\0crc!"
    footer = varint(0) + varint(0) + varint(at) + varint(len(listing))
    index += footer.ljust(40, b"\0") + b"magic!!!"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("musicnn/MSD_musicnn/.index", index)
        archive.writestr("musicnn/MSD_musicnn/.data-00000-of-00001", data)


@pytest.fixture(scope="module")
def tensors():
    rng = np.random.default_rng(0)
    made = {name: rng.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes().items()}
    return {name: np.abs(v) + 0.5 if "variance" in name else v for name, v in made.items()}


@pytest.fixture(scope="module")
def wheel(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("wheel") / "musicnn.whl"
    write_wheel(path, tensors)
    return path


def test_every_tensor_is_read_as_it_was_written(wheel, tensors):
    weights = read_weights(str(wheel))
    assert weights.keys() == tensors.keys()
    for name, values in tensors.items():
        np.testing.assert_array_equal(weights[name].numpy(), values)


def test_filters_of_even_length_begin_where_tensorflow_begins_them(tensors):
    weights = {name: torch.zeros(values.shape) for name, values in tensors.items()}
    for name, values in weights.items():
        values.fill_(1.0 if name.endswith(("gamma", "variance")) else 0.0)
    # A kernel of 128 is centred on its sample 63: of 127 zeros 63 are put in front.
    weights["conv2d_2/kernel"][63, 0, 0, 0] = 1.0
    mel = torch.zeros(1, 200, MEL_BANDS)
    mel[0, 20, 5] = 1.0
    features = convolutions(mel, weights)
    assert features.shape == (1, 753, 200)
    assert features[0, 408].argmax() == 20
    assert features[0, 408, 20] == pytest.approx(1 / 1.001, rel=1e-4)
    assert penultimate(features, weights).shape == (1, CHANNELS)


def test_a_window_of_three_seconds_begins_every_second(wheel, tiny_rng):
    sound = Waveform(tiny_rng.normal(0, 0.1, (1, 16_000 * 6)).astype(np.float32), 16_000)
    embeddings = embed_music(sound, wheel)
    assert embeddings.shape == (4, CHANNELS) and np.isfinite(embeddings).all()
    assert embed_music(Waveform(sound.samples[:, :30_000], 16_000), wheel).shape == (0, CHANNELS)


def test_what_is_no_wheel_is_refused(tmp_path):
    (tmp_path / "a.whl").write_bytes(b"nothing")
    with zipfile.ZipFile(tmp_path / "b.whl", "w") as archive:
        archive.writestr("musicnn/MSD_musicnn/.index", b"\1" * 100)
        archive.writestr("musicnn/MSD_musicnn/.data-00000-of-00001", b"")
    for name in ("a.whl", "b.whl", "absent.whl"):
        with pytest.raises(InputError, match="pip download"):
            read_weights(str(tmp_path / name))
