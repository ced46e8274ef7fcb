"""Sound from a WaveNet, sample by sample, from queues that remember each layer's past.

A layer of dilation ``d`` needs its input of ``d`` samples ago: a ring of ``d`` vectors holds it, so
a sample costs one small product a layer instead of a pass over the whole receptive field (Paine
et al., "Fast Wavenet Generation Algorithm", 2016). The loop over samples is compiled by Numba for
one core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from dancetomusic.codec.mulaw import N_CLASSES, SILENCE, decode_mulaw
from dancetomusic.errors import DependencyError, InputError
from dancetomusic.models.wavenet.network import (
    FRAME_RATE,
    MOVEMENT_FPS,
    Movement,
    WaveNet,
    draw_latent,
    follow_beats,
    history_frames,
    hold_frames,
    pose_movement,
    read_movement,
    require_receptive_field,
)
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.types import PoseSequence, Waveform

BLOCK_FRAMES = round(FRAME_RATE)
"""Frames of the condition for which gates are computed at once: a second."""
DEFAULT_SAMPLING = SamplingConfig(cfg_scale=5.0)
"""At a guidance of 1 the released networks follow their own samples alone: they lose the beat and
fall silent for seconds."""


class SampleQueues:
    """A WaveNet that writes sample after sample; what it needs of the past it keeps.

    Args:
        model: Weights are copied.

    Raises:
        DependencyError: If Numba is not installed.
    """

    def __init__(self, model: WaveNet) -> None:
        self._step = _compiled()
        config = model.config
        width, layers = config.channels, range(len(config.dilations))
        held = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
        # The last layer has no successor: its residual path is nothing.
        last = f"stack.residuals.{layers[-1]}"
        held |= {f"{last}.weight": torch.zeros(width, width, 1), f"{last}.bias": torch.zeros(width)}
        taps = [held[f"stack.filters.{n}.weight"] for n in layers]
        outs, biases = (
            [
                torch.cat([held[f"stack.{p}.{n}.{kind}"] for p in ("residuals", "skips")])
                for n in layers
            ]
            for kind in ("weight", "bias")
        )
        self._embedding = _array(held["embedding.weight"])
        self._filters = _array(torch.stack([torch.cat([*t.unbind(2)], 1).T for t in taps]))
        self._outs = _array(torch.stack([out[..., 0].T for out in outs]))
        self._out_biases = _array(torch.stack(biases))
        self._hidden = _array(held["hidden.weight"][..., 0].T), _array(held["hidden.bias"])
        self._head = _array(held["head.weight"][..., 0].T), _array(held["head.bias"])
        self._kernel = _array(model.upsampler.kernel)
        self._dilations = np.array(config.dilations, np.int64)
        self._queues = np.zeros((int(self._dilations.sum()), width), np.float32)
        self._places = np.zeros(len(layers), np.int64)
        self._last = np.array([SILENCE], np.int64)

    def write(
        self,
        gates: Float32[np.ndarray, "frames layers twice"],
        uniform: Float[np.ndarray, " samples"],
        *,
        temperature: float = 1.0,
        given: UInt8[np.ndarray, " samples"] | None = None,
        logits: Float32[np.ndarray, "samples 256"] | None = None,
    ) -> UInt8[np.ndarray, " samples"]:
        """Continue for the samples between the first and the last frame of ``gates``.

        Args:
            gates: What every layer adds inside its gates; ``samples / hop + 1`` frames.
            uniform: Decides each sample, in [0, 1).
            temperature: Divides the logits; 0 takes the likeliest class.
            given: Classes to follow instead of drawing, as history.
            logits: Receives the logits of each sample, undivided, where they are wanted.
        """
        written = np.zeros(uniform.size, np.uint8) if given is None else given.copy()
        self._step(
            self._embedding, self._filters, self._outs, self._out_biases, *self._hidden,
            *self._head, self._kernel, self._dilations, self._queues, self._places, self._last,
            np.ascontiguousarray(gates), uniform, 1.0 / temperature if temperature else 0.0,
            given is not None, written, np.zeros((0, N_CLASSES), np.float32)
            if logits is None else logits,
        )  # fmt: skip
        return written


def play(
    model: WaveNet,
    poses: PoseSequence | Movement,
    *,
    beat_times: Float[np.ndarray, " beats"] | None = None,
    seed: int = 0,
    sampling: SamplingConfig = DEFAULT_SAMPLING,
    genre: str | None = None,
    latent_seed: int | None = None,
    duration_s: float | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Waveform:
    """The sound of a dance, as long as the dance.

    Args:
        model: Reads movement of this kind, or nothing.
        poses: One dancer at any frame rate, or movement at ``MOVEMENT_FPS``.
        beat_times: Beats to play on, in seconds, at least two; by default those that the model
            reads of the movement.
        seed: The same seed gives the same sound.
        sampling: Temperature and guidance. Guidance extrapolates the conditioning from that of
            no movement, which costs nothing.
        genre: One that the model knows; by default none in particular.
        latent_seed: Chooses the latent vector, where there is a bottleneck; ``seed`` by default.
        duration_s: Length of the sound; by default the movement's.
        on_progress: Called with the share done.

    Raises:
        InputError: If the movement is shorter than the receptive field, the genre is unknown,
            the model reads another kind of movement, or none while there are beats to play on.
        PoseError: If there are no poses.
        DependencyError: If Numba is not installed.
    """
    if isinstance(poses, PoseSequence):
        movement, length_s = pose_movement(poses), poses.duration_s
    else:
        movement, length_s = poses, len(poses) / MOVEMENT_FPS
    n_samples = round((duration_s or length_s) * model.config.sample_rate)
    blocks = stream(
        model, movement, n_samples, beat_times=beat_times,
        seed=seed, sampling=sampling, genre=genre, latent_seed=latent_seed,
    )  # fmt: skip
    parts, done = [], 0
    for block in blocks:
        parts.append(block)
        done += block.size
        if on_progress is not None:
            on_progress(done / n_samples)
    return Waveform(np.concatenate(parts)[None], model.config.sample_rate)


def stream(
    model: WaveNet,
    movement: Movement,
    n_samples: int | None = None,
    *,
    beat_times: Float[np.ndarray, " beats"] | None = None,
    seed: int = 0,
    sampling: SamplingConfig = DEFAULT_SAMPLING,
    genre: str | None = None,
    latent_seed: int | None = None,
) -> Iterator[Float32[np.ndarray, " samples"]]:
    """The sound of a movement second by second, in memory that does not grow with it.

    ``movement`` are features of poses, or pictures, at ``MOVEMENT_FPS``; ``n_samples`` is by
    default as long as they are. The others are as for :func:`play`.

    Raises:
        InputError: See ``play``.
        DependencyError: If Numba is not installed.
    """
    config = model.config
    if n_samples is None:
        n_samples = round(len(movement) / MOVEMENT_FPS * config.sample_rate)
    require_receptive_field(config, n_samples)
    rng = np.random.default_rng(seed)
    latent = draw_latent(model, np.random.default_rng(seed if latent_seed is None else latent_seed))
    if genre is not None and genre not in config.genres:
        known = ", ".join(config.genres) or "none at all"
        raise InputError(f"the model knows no genre {genre!r}", f"It knows {known}.")
    index = torch.tensor([config.genre_index(genre or "")], device=model.unseen.device)
    read = read_movement(model, movement)
    if beat_times is not None:
        if config.movement == "none":
            raise InputError("the model knows no beats", "Name one that reads movement.")
        read = follow_beats(model, read, beat_times)
    read = torch.lerp(model.unseen, read, sampling.cfg_scale)
    return _blocks(model, read, index, latent, n_samples, rng, sampling.temperature)


def _blocks(
    model: WaveNet,
    read: Float32[Tensor, "1 frames channels"],
    genre: Tensor,
    latent: Tensor | None,
    n_samples: int,
    rng: np.random.Generator,
    temperature: float,
) -> Iterator[Float32[np.ndarray, " samples"]]:
    queues = SampleQueues(model)
    hop = model.config.hop_length

    def gates_at(first: int, n_frames: int) -> Float32[np.ndarray, "frames layers twice"]:
        with torch.no_grad():
            held = hold_frames(read, torch.tensor([first], device=read.device), n_frames)
            return model.gates_of(held, genre, latent)[0].permute(2, 0, 1).cpu().numpy()

    before = history_frames(model.config)
    silence = np.full(before * hop, SILENCE, np.uint8)
    queues.write(gates_at(-before, before + 1), np.zeros(silence.size), given=silence)
    for start in range(0, n_samples, BLOCK_FRAMES * hop):
        gates = gates_at(start // hop, BLOCK_FRAMES + 1)
        classes = queues.write(gates, rng.random(BLOCK_FRAMES * hop), temperature=temperature)
        yield decode_mulaw(classes[: n_samples - start])


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)


@cache
def _compiled() -> Any:
    """The loop over samples as machine code; Numba keeps it between runs."""
    try:
        from numba import njit
    except ImportError as error:
        raise DependencyError(
            "numba is not installed", "Install it: pip install 'dancetomusic[wavenet]'"
        ) from error
    return njit(cache=True, fastmath=True, nogil=True)(_write)


@no_type_check  # compiled, not called: nothing may wrap it
def _write(
    embedding, filters, outs, out_biases, hidden, hidden_bias, head, head_bias,
    kernel, dilations, queues, places, last, gates, uniform, sharpness, follow, written, logits,
):  # fmt: skip
    n_layers, twice = filters.shape[0], filters.shape[2]
    width, n_skip, hop = twice // 2, hidden.shape[0], kernel.size // 2
    x, inner = np.empty(width, np.float32), np.empty(twice, np.float32)
    gated, out = np.empty(width, np.float32), np.empty(width + n_skip, np.float32)
    total, deep = np.empty(n_skip, np.float32), np.empty(n_skip, np.float32)
    said, weights = np.empty(head.shape[1], np.float32), np.empty(head.shape[1], np.float64)
    for t in range(uniform.size):
        frame, rise, fall = t // hop, kernel[t % hop], kernel[hop + t % hop]
        for c in range(width):
            x[c] = embedding[last[0], c]
        for s in range(n_skip):
            total[s] = 0.0
        start = 0
        for layer in range(n_layers):
            past = queues[start + places[layer]]
            before, after = gates[frame, layer], gates[frame + 1, layer]
            taps = filters[layer]
            for o in range(twice):
                inner[o] = before[o] * fall + after[o] * rise
            for i in range(width):
                old, new = past[i], x[i]
                for o in range(twice):
                    inner[o] += taps[i, o] * old + taps[width + i, o] * new
            for c in range(width):
                past[c] = x[c]
            places[layer] = (places[layer] + 1) % dilations[layer]
            start += dilations[layer]
            # tanh by Lambert's fraction at a quarter of the angle, doubled twice; σ by tanh.
            for o in range(twice):
                half = inner[o] if o < width else np.float32(0.5) * inner[o]
                u = np.float32(0.25) * min(max(half, np.float32(-9.0)), np.float32(9.0))
                square = u * u
                top = u * (np.float32(105.0) + np.float32(10.0) * square)
                low = np.float32(105.0) + square * (np.float32(45.0) + square)
                top, low = np.float32(2.0) * top * low, low * low + top * top
                inner[o] = np.float32(2.0) * top * low / (low * low + top * top)
            for c in range(width):
                gated[c] = inner[c] * (np.float32(0.5) + np.float32(0.5) * inner[width + c])
            mix = outs[layer]
            for o in range(width + n_skip):
                out[o] = out_biases[layer, o]
            for i in range(width):
                value = gated[i]
                for o in range(width + n_skip):
                    out[o] += mix[i, o] * value
            for c in range(width):
                x[c] += out[c]
            for s in range(n_skip):
                total[s] += out[width + s]
        for s in range(n_skip):
            deep[s] = hidden_bias[s]
        for i in range(n_skip):
            value = max(total[i], np.float32(0.0))
            for s in range(n_skip):
                deep[s] += hidden[i, s] * value
        for k in range(said.size):
            said[k] = head_bias[k]
        for i in range(n_skip):
            value = max(deep[i], np.float32(0.0))
            for k in range(said.size):
                said[k] += head[i, k] * value
        if logits.size:
            for k in range(said.size):
                logits[t, k] = said[k]
        if follow:
            last[0] = written[t]
            continue
        best = 0
        for k in range(said.size):
            if said[k] > said[best]:
                best = k
        if sharpness > 0:
            mass = 0.0
            for k in range(said.size):
                weights[k] = np.exp((said[k] - said[best]) * sharpness)
                mass += weights[k]
            target, reached = uniform[t] * mass, weights[0]
            best = 0
            while reached <= target and best < said.size - 1:
                best += 1
                reached += weights[best]
        written[t] = best
        last[0] = best
