"""The token decoder's single step in ONNX Runtime: the same codes in less time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

import dancetomusic
from dancetomusic.atomic import atomic_output
from dancetomusic.errors import DependencyError, InputError
from dancetomusic.models.token_decoder import DecodingState, Step, TokenDecoder

GRAPH_VERSION = 1
WEIGHT_BITS = (32, 8)
QUANTISED_BLOCK = 32


def onnx_available() -> bool:
    """Whether the packages of the extra ``onnx`` are installed."""
    return find_spec("onnx") is not None and find_spec("onnxruntime") is not None


class OnnxTokenDecoder:
    """Generates as ``TokenDecoder`` does, taking each step in ONNX Runtime.

    Conditions and prompt are computed by ``decoder`` itself; the runtime then reads and
    extends the caches that PyTorch allocated, in place. With 32-bit weights a greedy
    generation gives the same codes as PyTorch. Eight-bit weights are quantised by blocks
    of 32 and move the logits by about 1 % of their spread.

    Args:
        decoder: On the CPU, in float32. Its weights are read now; later changes are not seen.
        weight_bits: 32 or 8.
        threads: Threads of the runtime; those of PyTorch by default.
        cache_dir: Where the exported graph is kept; by default the folder named by
            ``DANCETOMUSIC_CACHE``, or the user's cache.

    Raises:
        DependencyError: If onnx or onnxruntime is not installed.
        InputError: If ``weight_bits`` is neither 32 nor 8.
    """

    def __init__(
        self,
        decoder: TokenDecoder,
        *,
        weight_bits: int = 32,
        threads: int | None = None,
        cache_dir: Path | str | None = None,
    ) -> None:
        if weight_bits not in WEIGHT_BITS:
            raise InputError(f"weight_bits is {weight_bits}", "Give 32 or 8.")
        if not onnx_available():
            raise DependencyError(
                "ONNX Runtime is not installed", "Run `pip install dancetomusic[onnx]`."
            )
        import onnxruntime

        self.decoder = decoder
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        graph = exported_graph(decoder, weight_bits, cache_dir)
        self._session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )

    def generate(
        self,
        rhythm: Float[Tensor, "batch frames features"],
        memory: Float[Tensor, "batch memory memory_dim"] | None = None,
        memory_mask: Bool[Tensor, "batch memory"] | None = None,
        *,
        prefix_codes: Int[Tensor, "batch codebooks prefix"] | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        cfg_scale: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Int[Tensor, "batch codebooks frames"]:
        """Write codes; arguments and errors are those of ``TokenDecoder.generate``."""
        return self.decoder.generate(
            rhythm,
            memory,
            memory_mask,
            prefix_codes=prefix_codes,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            cfg_scale=cfg_scale,
            generator=generator,
            stepper=self.stepper,
        )

    def stepper(self, state: DecodingState) -> Step:
        """Bind ``state`` to the runtime; stands in for ``TokenDecoder.stepper``."""
        binding = self._session.io_binding()
        config = self.decoder.config
        conditions, batch = state.conditions, state.conditions.rhythm.shape[0]
        tokens = torch.zeros((batch, config.n_codebooks), dtype=torch.long)
        rhythm = torch.zeros((batch, 1, config.d_model))
        position = torch.zeros(1, dtype=torch.long)
        past = torch.zeros(batch, dtype=torch.int32)
        total = torch.zeros(1, dtype=torch.int32)
        logits = torch.empty((batch, config.n_codebooks, config.codebook_size))
        bias = torch.zeros((batch, 1, 1, conditions.keys[0].shape[2]))
        if conditions.mask is not None:
            bias.masked_fill_(~conditions.mask, torch.finfo(torch.float32).min)
        inputs = {
            "tokens": tokens,
            "rhythm": rhythm,
            "position": position,
            "past_length": past,
            "total_length": total,
            "cos": conditions.rotation.real.contiguous(),
            "sin": conditions.rotation.imag.contiguous(),
            "memory_bias": bias,
        }
        for layer, cache in enumerate(state.caches):
            inputs[f"memory_keys_{layer}"] = conditions.keys[layer].mT.contiguous()
            inputs[f"memory_values_{layer}"] = conditions.values[layer].contiguous()
            for name, buffer in (("keys", cache.keys), ("values", cache.values)):
                inputs[f"past_{name}_{layer}"] = buffer
                _bind(binding.bind_output, f"present_{name}_{layer}", buffer)
        for name, tensor in inputs.items():
            _bind(binding.bind_input, name, tensor)
        _bind(binding.bind_output, "logits", logits)

        def step(column: Tensor) -> Tensor:
            at = state.position
            tokens.copy_(column)
            rhythm.copy_(conditions.rhythm[:, at : at + 1])
            position.fill_(at)
            past.fill_(at)
            total.fill_(at + 1)
            self._session.run_with_iobinding(binding)
            for cache in state.caches:
                cache.length += 1
            # The closure keeps the bound memory alive.
            assert inputs
            return logits

        return step


def exported_graph(
    decoder: TokenDecoder, weight_bits: int, cache_dir: Path | str | None = None
) -> Path:
    """The graph of one step of ``decoder``, written at first use.

    Its name holds the package version and a digest of weights and shape, so it is never stale.

    Raises:
        OutputError: If it cannot be written.
    """
    digest = hashlib.sha256(f"{GRAPH_VERSION} {weight_bits} {decoder.config}".encode())
    for name, tensor in decoder.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().numpy().tobytes())
    folder = Path(cache_dir) if cache_dir else _user_cache()
    folder.mkdir(parents=True, exist_ok=True)
    name = f"decoder-{dancetomusic.__version__}-{digest.hexdigest()[:24]}.onnx"
    path = folder / name
    if not path.is_file():
        from onnx import save_model

        with atomic_output(path) as temporary:
            save_model(_build(decoder, weight_bits), str(temporary))
    return path


def _user_cache() -> Path:
    from platformdirs import user_cache_dir

    return Path(os.environ.get("DANCETOMUSIC_CACHE") or user_cache_dir("dancetomusic"))


def _bind(bind: Callable[..., None], name: str, tensor: Tensor) -> None:
    """Give the runtime the memory of ``tensor``, which must stay alive."""
    assert tensor.is_contiguous() and tensor.device.type == "cpu"
    kind = {torch.float32: np.float32, torch.int64: np.int64, torch.int32: np.int32}[tensor.dtype]
    bind(name, "cpu", 0, kind, tuple(tensor.shape), tensor.data_ptr())


class _Graph:
    """Collects nodes and weights; every method gives the name of what it computes."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def node(
        self, op: str, *inputs: str, outputs: int = 1, named: tuple[str, ...] = (), **attributes: Any
    ) -> str:
        from onnx import helper

        names = [f"{op}_{len(self.nodes)}", *(f"{op}_{len(self.nodes)}_{i}" for i in range(1, outputs))]
        names += named
        fused = op in {"GroupQueryAttention", "RotaryEmbedding", "SkipLayerNormalization"}
        self.nodes.append(
            helper.make_node(
                op, inputs, names, domain="com.microsoft" if fused else "", **attributes
            )
        )
        return names[0]

    def constant(self, values: Any) -> str:
        from onnx import numpy_helper

        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name
