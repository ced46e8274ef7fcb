"""The token decoder's single step in ONNX Runtime: the same codes in less time."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

import dancetomusic
from dancetomusic.errors import InputError, OutputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.cache import cache_directory
from dancetomusic.models.pose2audio.token_decoder import DecodingState, Step, TokenDecoder

logger = logging.getLogger(__name__)

GRAPH_VERSION = 1
WEIGHT_BITS = (32, 8)
QUANTISED_BLOCK = 32
NORM_EPSILON = 1e-5
HIDDEN = torch.finfo(torch.float32).min
RUNTIME_OPERATORS = (
    "GroupQueryAttention",
    "MatMulNBits",
    "RotaryEmbedding",
    "SkipLayerNormalization",
)


class OnnxTokenDecoder:
    """Generates as ``TokenDecoder`` does, taking each step in ONNX Runtime.

    Conditions and prompt are computed by ``decoder`` itself; the runtime then reads and
    extends the caches that PyTorch allocated, in place. With 32-bit weights a greedy
    generation gives the same codes as PyTorch. Eight-bit weights are quantised by blocks
    of 32 and move the logits by 1 to 2 % of their spread.

    Args:
        decoder: On the CPU, in float32. Its weights are read now; later changes are not seen.
        weight_bits: 32 or 8.
        threads: Threads of the runtime. One is safest: a step takes about a millisecond, and
            with more each of its operators waits for the last of them to be scheduled.
        cache_dir: Existing folder for the exported graph; the user's cache by default.

    Raises:
        OutputError: If the exported graph cannot be written.
        InputError: If ``weight_bits`` is neither 32 nor 8.
    """

    def __init__(
        self,
        decoder: TokenDecoder,
        *,
        weight_bits: int = 32,
        threads: int = 1,
        cache_dir: Path | str | None = None,
    ) -> None:
        if weight_bits not in WEIGHT_BITS:
            raise InputError(f"weight_bits is {weight_bits}", "Give 32 or 8.")
        # Read at import: without it ONNX Runtime keeps a store of telemetry in the user's cache.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        self.decoder = decoder
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        graph = exported_graph(decoder, weight_bits, cache_dir)
        self._session = onnxruntime.InferenceSession(
            graph if isinstance(graph, bytes) else str(graph),
            options,
            providers=["CPUExecutionProvider"],
        )

    def generate(self, *given: Any, **options: Any) -> Int[Tensor, "batch codebooks frames"]:
        """Write codes; arguments and errors are those of ``TokenDecoder.generate``."""
        return self.decoder.generate(*given, **options, stepper=self.stepper)

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
        hidden = None if conditions.mask is None else ~conditions.mask
        inputs = {
            "tokens": tokens,
            "rhythm": rhythm,
            "position": position,
            "past_length": past,
            "total_length": total,
            "cos": conditions.rotation.real.contiguous(),
            "sin": conditions.rotation.imag.contiguous(),
        }
        bias = torch.zeros((batch, 1, 1, conditions.keys[0].shape[2] if conditions.keys else 0))
        if conditions.keys:
            inputs["memory_bias"] = bias
        if hidden is not None and hidden.shape[2] == 1:
            bias.masked_fill_(hidden, HIDDEN)
        for layer, cache in enumerate(state.caches):
            if conditions.keys:
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
            if hidden is not None and hidden.shape[2] > 1:
                bias.zero_().masked_fill_(hidden[:, :, at : at + 1], HIDDEN)
            position.fill_(at)
            past.fill_(at)
            total.fill_(at + 1)
            self._session.run_with_iobinding(binding)
            for cache in state.caches:
                cache.length += 1
            return logits

        step.bound = inputs  # type: ignore[attr-defined]  # lives as long as what reads it
        return step


def exported_graph(
    decoder: TokenDecoder, weight_bits: int, cache_dir: Path | str | None = None
) -> Path | bytes:
    """The graph of one step of ``decoder``, written at first use.

    Its name holds the package version and a digest of weights and shape, so it is never stale.
    Where it cannot be kept, as on a full disk, it is given as bytes, with one warning.
    """
    digest = hashlib.sha256(f"{GRAPH_VERSION} {weight_bits} {decoder.config}".encode())
    for name, tensor in decoder.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    folder = Path(cache_dir) if cache_dir else cache_directory()
    path = folder / f"decoder-{dancetomusic.__version__}-{digest.hexdigest()[:24]}.onnx"
    if not path.is_file():
        graph: bytes = _build(decoder, weight_bits).SerializeToString()
        try:
            with atomic_output(path) as temporary:
                temporary.write_bytes(graph)
        except OutputError as error:
            logger.warning("The decoder is exported again at each start: %s", error)
            return graph
    return path


def _bind(bind: Callable[..., None], name: str, tensor: Tensor) -> None:
    """Give the runtime the memory of ``tensor``, which must stay alive."""
    assert tensor.is_contiguous() and tensor.device.type == "cpu"
    kind = {torch.float32: np.float32, torch.int64: np.int64, torch.int32: np.int32}[tensor.dtype]
    bind(name, "cpu", 0, kind, tuple(tensor.shape), tensor.data_ptr())


class _Graph:
    """Collects nodes and weights; a method gives the name of the value that it adds."""

    def __init__(self, weight_bits: int) -> None:
        self.weight_bits = weight_bits
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, op: str, *inputs: str, outputs: tuple[str, ...] = (), **attributes: Any) -> str:
        """A node; its first output gets a name of its own unless ``outputs`` are named."""
        from onnx import helper

        names = outputs or (f"value_{len(self.nodes)}",)
        domain = "com.microsoft" if op in RUNTIME_OPERATORS else ""
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names[0]

    def constant(self, values: Any) -> str:
        from onnx import numpy_helper

        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def linear(self, x: str, weight: Tensor) -> str:
        """Multiply by a PyTorch weight [out, in], quantised as wanted."""
        matrix = weight.numpy()
        if self.weight_bits == 32:
            return self.add("MatMul", x, self.constant(matrix.T))
        rows, columns = matrix.shape
        padded = np.pad(matrix, ((0, 0), (0, -columns % QUANTISED_BLOCK)))
        blocks = padded.reshape(rows, -1, QUANTISED_BLOCK)
        scales = np.maximum(np.abs(blocks).max(-1, keepdims=True) / 127, 1e-12)
        # Eight-bit weights without a zero point are read as the byte less 128.
        quantised = (np.rint(blocks / scales) + 128).astype(np.uint8)
        return self.add(
            "MatMulNBits",
            x,
            self.constant(quantised),
            self.constant(scales[..., 0]),
            K=columns,
            N=rows,
            bits=8,
            block_size=QUANTISED_BLOCK,
            accuracy_level=4,
        )


def _build(decoder: TokenDecoder, weight_bits: int) -> Any:
    """The step as an ONNX model, made of the runtime's fused operators."""
    from onnx import TensorProto, helper

    config, weights = decoder.config, decoder.state_dict()
    heads, width = config.n_heads, config.d_model
    head_dim = width // heads
    graph = _Graph(weight_bits)

    def declare(name: str, shape: list[int | str], kind: int = TensorProto.FLOAT) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    past_shape: list[int | str] = ["batch", heads, "capacity", head_dim]
    logits_shape: list[int | str] = ["batch", config.n_codebooks, config.codebook_size]
    inputs = [
        declare("tokens", ["batch", config.n_codebooks], TensorProto.INT64),
        declare("rhythm", ["batch", 1, width]),
        declare("position", [1], TensorProto.INT64),
        declare("past_length", ["batch"], TensorProto.INT32),
        declare("total_length", [1], TensorProto.INT32),
        declare("cos", ["steps", head_dim // 2]),
        declare("sin", ["steps", head_dim // 2]),
    ]
    if config.memory_dim:
        inputs.append(declare("memory_bias", ["batch", 1, 1, "memory"]))
    outputs = [declare("logits", logits_shape)]

    offsets = np.arange(config.n_codebooks) * (config.codebook_size + 1)
    rows = graph.add("Add", "tokens", graph.constant(offsets.astype(np.int64)))
    table = graph.constant(weights["embedding.weight"].numpy())
    entries = graph.add("Gather", table, rows)
    summed = graph.add("ReduceSum", entries, graph.constant(np.array([1])), keepdims=1)
    stream = graph.add("Add", summed, "rhythm")
    split = graph.constant(np.array([0, heads, 1, head_dim]))
    joined = graph.constant(np.array([0, 1, width]))

    def normalise(branch: str | None, weight: Tensor) -> str:
        """Add a branch to the stream, and normalise the sum."""
        nonlocal stream
        scale = graph.constant(weight.numpy())
        if branch is None:
            return graph.add("LayerNormalization", stream, scale, axis=-1, epsilon=NORM_EPSILON)
        index = len(graph.nodes)
        names = (f"normalised_{index}", "", "", f"stream_{index}")
        graph.add(
            "SkipLayerNormalization", stream, branch, scale, outputs=names, epsilon=NORM_EPSILON
        )
        stream = names[3]
        return names[0]

    branch: str | None = None
    for layer in range(config.n_layers):
        at = f"blocks.{layer}"
        inputs += [
            declare(f"past_keys_{layer}", past_shape),
            declare(f"past_values_{layer}", past_shape),
        ]
        outputs += [
            declare(f"present_keys_{layer}", past_shape),
            declare(f"present_values_{layer}", past_shape),
        ]
        qkv = graph.linear(
            normalise(branch, weights[f"{at}.norm1.weight"]),
            weights[f"{at}.self_attention.qkv.weight"],
        )
        attended = graph.add(
            "GroupQueryAttention",
            qkv,
            "",
            "",
            *(f"past_keys_{layer}", f"past_values_{layer}"),
            *("past_length", "total_length", "cos", "sin"),
            outputs=(f"attended_{layer}", f"present_keys_{layer}", f"present_values_{layer}"),
            num_heads=heads,
            kv_num_heads=heads,
            do_rotary=1,
            rotary_interleaved=1,
        )
        branch = graph.linear(attended, weights[f"{at}.self_attention.out.weight"])

        if config.memory_dim:
            inputs += [
                declare(f"memory_keys_{layer}", ["batch", heads, head_dim, "memory"]),
                declare(f"memory_values_{layer}", ["batch", heads, "memory", head_dim]),
            ]
            query = graph.linear(
                normalise(branch, weights[f"{at}.norm2.weight"]),
                weights[f"{at}.cross_attention.query.weight"] * head_dim**-0.5,
            )
            query = graph.add("RotaryEmbedding", query, "position", "cos", "sin", interleaved=1)
            scores = graph.add("MatMul", graph.add("Reshape", query, split), f"memory_keys_{layer}")
            shares = graph.add("Softmax", graph.add("Add", scores, "memory_bias"), axis=-1)
            mixed = graph.add("MatMul", shares, f"memory_values_{layer}")
            branch = graph.linear(
                graph.add("Reshape", mixed, joined), weights[f"{at}.cross_attention.out.weight"]
            )

        hidden = graph.linear(
            normalise(branch, weights[f"{at}.norm3.weight"]),
            weights[f"{at}.feed_forward.expand.weight"],
        )
        branch = graph.linear(
            graph.add("Gelu", hidden), weights[f"{at}.feed_forward.contract.weight"]
        )
    flat = graph.linear(normalise(branch, weights["norm.weight"]), weights["heads.weight"])
    shape = graph.constant(np.array([0, config.n_codebooks, config.codebook_size]))
    graph.add("Reshape", flat, shape, outputs=("logits",))
    model = helper.make_graph(graph.nodes, "step", inputs, outputs, graph.weights)
    return helper.make_model(
        model,
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)],
        ir_version=10,
    )
