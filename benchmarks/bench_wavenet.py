"""WaveNet generation on one core: queues against passes over the receptive field, side by side.

Both write the same samples with the same random numbers from the same random weights; they take
turns, so that a busy machine slows them alike. ``processor`` times count only what this process
was given of its core, ``wall`` times what one waits for. A second table compares receptive fields:
the same network, whose second stack has the dilations of the first, or ten times as large ones.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import replace

import numpy as np
import torch
from naive_wavenet import generate_naively  # type: ignore[import-not-found]

from dancetomusic.codec.mulaw import SILENCE
from dancetomusic.models.wavenet.generation import SampleQueues
from dancetomusic.models.wavenet.network import FRAME_RATE, WaveNet, WaveNetConfig, history_frames

FAST_S = 2
NAIVE_FRAMES = 1
GROWTHS = (1, 10)
"""Of the dilations from stack to stack: without, and as the released models have it."""


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="turns that the medians are of")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = WaveNetConfig()
    model = WaveNet(config).eval()
    rng = np.random.default_rng(0)
    hop, before = config.hop_length, history_frames(config) + 1
    n_frames = before + round(FAST_S * FRAME_RATE)
    shape = (1, len(config.dilations), 2 * config.channels, n_frames + 1)
    gates = torch.from_numpy(rng.normal(0, 0.5, shape).astype(np.float32))
    frames = np.ascontiguousarray(gates[0].permute(2, 0, 1).numpy())
    history = np.full(before * hop, SILENCE, np.uint8)
    uniform = rng.random(round(FAST_S * FRAME_RATE) * hop)
    few = uniform[: NAIVE_FRAMES * hop]

    began = time.perf_counter()
    SampleQueues(model).write(frames[:2], np.zeros(hop), given=history[:hop])
    compiled_s = time.perf_counter() - began

    wall: dict[str, list[float]] = {"queues": [], "naive": []}
    processor: dict[str, list[float]] = {"queues": [], "naive": []}
    for _ in range(options.repeats):
        queues = SampleQueues(model)
        queues.write(frames[: before + 1], np.zeros(history.size), given=history)
        start = time.perf_counter(), time.process_time()
        fast = queues.write(frames[before:], uniform)
        _note(wall, processor, "queues", start, uniform.size)
        start = time.perf_counter(), time.process_time()
        naive = generate_naively(model, gates, few, history)
        _note(wall, processor, "naive", start, few.size)
        assert np.array_equal(fast[: few.size], naive)

    command = " ".join(["python benchmarks/bench_wavenet.py", *sys.argv[1:]])
    print(f"`{command}` · torch {torch.__version__}, one thread\n")
    print(
        f"{len(config.dilations)} layers × {config.channels} channels, skip {config.skip_channels},"
        f" receptive field {config.receptive_field} samples = {config.receptive_field_ms:.1f} ms;"
        f" medians of {options.repeats} turns. Ready after {compiled_s:.1f} s"
        " (the first time ever, Numba compiles).\n"
    )
    print("| | µs a sample, processor | × real time, processor | µs, wall | × real time, wall |")
    print("|---|---|---|---|---|")
    for name in ("naive", "queues"):
        cells = []
        for times in (processor, wall):
            median = statistics.median(times[name])
            cells.append(f"{1e6 * median:.1f} | {1 / (median * config.sample_rate):.4g}")
        print(f"| {name} | {' | '.join(cells)} |")
    ratios = [
        statistics.median(n / q for n, q in zip(times["naive"], times["queues"], strict=True))
        for times in (processor, wall)
    ]
    print(f"\nQueues over naive: {ratios[0]:.0f} × by processor time, {ratios[1]:.0f} × by wall.")
    print("The samples that both wrote are equal.\n")
    _compare_fields(options.repeats, rng)


def _compare_fields(repeats: int, rng: np.random.Generator) -> None:
    """Print the time of a sample by receptive field, in turns."""
    small = WaveNetConfig(channels=16, skip_channels=32, stacks=2, layers_per_stack=9)
    models = {g: WaveNet(replace(small, dilation_growth=g)).eval() for g in GROWTHS}
    shape = (round(FAST_S * FRAME_RATE) + 1, len(small.dilations), 2 * small.channels)
    frames = rng.normal(0, 0.5, shape).astype(np.float32)
    uniform = rng.random(round(FAST_S * FRAME_RATE) * small.hop_length)
    wall, processor = ({str(g): list[float]() for g in GROWTHS} for _ in range(2))
    for _ in range(repeats):
        for growth, model in models.items():
            queues = SampleQueues(model)
            start = time.perf_counter(), time.process_time()
            queues.write(frames, uniform)
            _note(wall, processor, str(growth), start, uniform.size)
    print("| dilations grow | receptive field, ms | µs a sample, processor | × real time |")
    print("|---|---|---|---|")
    for growth, model in models.items():
        median = statistics.median(processor[str(growth)])
        field_ms = model.config.receptive_field_ms
        real_time = 1 / (median * small.sample_rate)
        print(f"| {growth} × | {field_ms:.0f} | {1e6 * median:.1f} | {real_time:.3g} |")


def _note(
    wall: dict[str, list[float]],
    processor: dict[str, list[float]],
    name: str,
    start: tuple[float, float],
    n_samples: int,
) -> None:
    """Seconds a sample since ``start``."""
    wall[name].append((time.perf_counter() - start[0]) / n_samples)
    processor[name].append((time.process_time() - start[1]) / n_samples)


if __name__ == "__main__":
    main()
