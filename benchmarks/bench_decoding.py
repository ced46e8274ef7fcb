"""Time per step of token decoding: ours, without a cache, transformers', and what memory allows.

All candidates take turns in one run, so that a busy machine slows them alike. Two threads
need two free cores: with one of them taken, every step waits for the scheduler many times.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from dancetomusic.models.pose2audio.network import Pose2Audio, Pose2AudioConfig
from dancetomusic.models.pose2audio.onnx_decoder import OnnxTokenDecoder
from dancetomusic.models.pose2audio.token_decoder import TokenDecoder
from dancetomusic.nn.attention import KVCache
from dancetomusic.nn.sampling import SamplingConfig

CLIP_S = 5
TOP_K = 250
BUDGET_S = 70.0
UNCACHED_LENGTHS = 8
FLOOR = "memory floor, float32"
BASELINE = "transformers (Bart), cached"
UNCACHED = "ours, PyTorch, no cache"


def main() -> None:
    """Print a Markdown table for one and for two threads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", help="a Pose2Audio directory; random weights by default")
    parser.add_argument("--repeats", type=int, default=5, help="runs that the medians are of")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.checkpoint:
        model = Pose2Audio.from_pretrained(options.checkpoint)
    else:
        model = Pose2Audio(Pose2AudioConfig.of_size("small", codec_id="none")).eval()
    decoder = model.decoder
    config = decoder.config
    n_frames = round(CLIP_S * config.frame_rate)
    rhythm = torch.randn(1, n_frames, config.rhythm_features)
    memory = torch.randn(1, round(CLIP_S * config.memory_rate), config.memory_dim)
    n_steps = decoder.pattern.n_steps(n_frames)

    command = " ".join(["python benchmarks/bench_decoding.py", *sys.argv[1:]])
    print(f"`{command}` · torch {torch.__version__}\n")
    print(
        f"{config.n_layers} layers × {config.d_model}, {_millions(decoder)} M parameters, "
        f"{config.pattern} pattern: {n_steps} steps for {CLIP_S} s. "
        f"Batch 1, top-k {TOP_K}.\n"
    )
    with tempfile.TemporaryDirectory() as cache:
        for threads in options.threads:
            torch.set_num_threads(threads)
            fast, small = (
                OnnxTokenDecoder(decoder, weight_bits=bits, threads=threads, cache_dir=cache)
                for bits in (32, 8)
            )
            candidates: dict[str, Callable[[], float]] = {
                UNCACHED: partial(_uncached, decoder, rhythm, memory, n_steps),
                BASELINE: _bart(decoder, memory.shape[1], n_steps),
                "ours, PyTorch, cached": partial(_timed, decoder.generate, rhythm, memory),
                "ours, ONNX, 32-bit": partial(_timed, fast.generate, rhythm, memory),
                "ours, ONNX, 8-bit": partial(_timed, small.generate, rhythm, memory),
                FLOOR: lambda: n_steps * _step_bytes(decoder) / _read_bandwidth(),
            }
            _print_table(_take_turns(candidates, options.repeats), n_steps, threads)
        _print_errors(decoder, {"32": fast, "8": small}, rhythm, memory)


def _take_turns(candidates: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each run of each candidate; one more run of each comes first and is dropped.

    On a crowded machine it ends early.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    began = time.perf_counter()
    for turn in range(repeats + 1):
        if turn > 1 and time.perf_counter() - began > BUDGET_S:
            break
        for name, run in candidates.items():
            seconds[name].append(run())
    return {name: runs[1:] for name, runs in seconds.items()}


def _print_table(seconds: dict[str, list[float]], n_steps: int, threads: int) -> None:
    median = {name: statistics.median(runs) for name, runs in seconds.items()}
    n_runs = len(seconds[BASELINE])
    print(f"{threads} thread{'s' if threads > 1 else ''}, medians of {n_runs}\n")
    print(f"| | ms a step | s for {CLIP_S} s | min–max s | × no cache | × transformers |")
    print("|---|---|---|---|---|---|")
    for name, runs in seconds.items():
        print(
            f"| {name} | {1000 * median[name] / n_steps:.2f} | {median[name]:.2f} "
            f"| {min(runs):.2f}–{max(runs):.2f} | {median[UNCACHED] / median[name]:.1f} "
            f"| {median[BASELINE] / median[name]:.2f} |"
        )
    print(flush=True)


def _timed(generate: Callable[..., Tensor], *inputs: Tensor) -> float:
    began = time.perf_counter()
    generate(*inputs, sampling=SamplingConfig(top_k=TOP_K))
    return time.perf_counter() - began


@torch.inference_mode()
def _uncached(decoder: TokenDecoder, rhythm: Tensor, memory: Tensor, n_steps: int) -> float:
    """Seconds if every step ran over all steps before it.

    Estimated from evenly spaced lengths; sampling and the memory's keys are not counted.
    """
    config = decoder.config
    tokens = torch.randint(0, config.codebook_size, (1, config.n_codebooks, n_steps))
    spacing = n_steps / UNCACHED_LENGTHS
    total = 0.0
    state = decoder.start(rhythm, memory)
    for index in range(UNCACHED_LENGTHS):
        state.caches = [KVCache(cache.keys, cache.values) for cache in state.caches]
        began = time.perf_counter()
        decoder.advance(state, tokens[:, :, : round((index + 0.5) * spacing)])
        total += (time.perf_counter() - began) * spacing
    return total


def _bart(decoder: TokenDecoder, memory_length: int, n_steps: int) -> Callable[[], float]:
    """Transformers' own generation by an encoder–decoder with as large a decoder."""
    from transformers import BartConfig, BartForConditionalGeneration

    config = decoder.config
    bart = BartForConditionalGeneration(
        BartConfig(
            vocab_size=config.codebook_size + 4,
            max_position_embeddings=1024,
            d_model=config.d_model,
            encoder_layers=1,
            decoder_layers=config.n_layers,
            encoder_attention_heads=config.n_heads,
            decoder_attention_heads=config.n_heads,
            encoder_ffn_dim=config.ff_mult * config.d_model,
            decoder_ffn_dim=config.ff_mult * config.d_model,
            forced_eos_token_id=None,
        )
    ).eval()
    source = torch.randint(4, config.codebook_size, (1, memory_length))

    def run() -> float:
        began = time.perf_counter()
        out = bart.generate(
            source,
            attention_mask=torch.ones_like(source),
            min_new_tokens=n_steps,
            max_new_tokens=n_steps,
            do_sample=True,
            top_k=TOP_K,
            num_beams=1,
        )
        seconds = time.perf_counter() - began
        assert out.shape[1] == n_steps + 1
        return seconds

    return run


def _step_bytes(decoder: TokenDecoder) -> int:
    """Bytes of the weights that every step reads."""
    once = ("key_value", "memory", "rhythm", "embedding")
    return sum(
        parameter.numel() * parameter.element_size()
        for name, parameter in decoder.named_parameters()
        if not any(part in name for part in once)
    )


def _read_bandwidth() -> float:
    """Bytes a second read from memory by a sum over 512 MiB."""
    block = torch.ones(2**27)
    block.sum()
    began = time.perf_counter()
    block.sum()
    return block.numel() * 4 / (time.perf_counter() - began)


@torch.inference_mode()
def _print_errors(
    decoder: TokenDecoder, others: dict[str, OnnxTokenDecoder], rhythm: Tensor, memory: Tensor
) -> None:
    """How far the runtime's logits are from PyTorch's along one sampled clip."""
    codes = decoder.generate(rhythm, memory, sampling=SamplingConfig(top_k=TOP_K))
    steps = decoder.pattern.build(codes, decoder.config.empty)
    before = functional.pad(steps, (1, -1), value=decoder.config.empty)
    print("| ONNX weights, bits | RMS logit error | share of the logits' spread | same top code |")
    print("|---|---|---|---|")
    for bits, other in others.items():
        states = [decoder.start(rhythm, memory) for _ in range(2)]
        expect, give = decoder.stepper(states[0]), other.stepper(states[1])
        pairs = [(expect(step), give(step).clone()) for step in before.unbind(2)]
        expected, given = (torch.stack(logits) for logits in zip(*pairs, strict=True))
        error = (given - expected).square().mean().sqrt()
        same = (given.argmax(-1) == expected.argmax(-1)).float().mean()
        print(f"| {bits} | {error:.2g} | {error / expected.std():.2g} | {100 * same:.1f} % |")


def _millions(module: torch.nn.Module) -> str:
    return f"{sum(parameter.numel() for parameter in module.parameters()) / 1e6:.1f}"


if __name__ == "__main__":
    main()
