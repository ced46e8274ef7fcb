"""The whole command on real pictures, pose extraction against bare MediaPipe, and the codec.

Run by ``make bench``, or ``python benchmarks/bench_generate.py``; prints Markdown.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
DEMO = REPOSITORY / "data" / "demo" / "bounce_104bpm.mp4"


def median_s(work: Callable[[], object], runs: int = 5) -> float:
    """Median wall time of ``runs`` calls, in seconds."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def write_720p(path: Path, seconds: float) -> None:
    """The demo dancer, over and over, in the middle of a 1280x720 picture at 30 fps."""
    import av

    from dancetomusic.io.video import read_frames

    frames = list(read_frames(DEMO, 30.0))
    height = 720
    width = round(frames[0].shape[1] * height / frames[0].shape[0]) // 2 * 2
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=30, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1280, height, "yuv420p"
        for k in range(round(seconds * 30)):
            there = k % (2 * len(frames) - 2)  # to and fro, without a cut
            frame = frames[min(there, 2 * len(frames) - 2 - there)]
            small = av.VideoFrame.from_ndarray(frame, format="rgb24")
            scaled = small.reformat(width=width, height=height).to_ndarray()
            picture = np.full((height, 1280, 3), 200, np.uint8)
            left = (1280 - width) // 2
            picture[:, left : left + width] = scaled
            coded = av.VideoFrame.from_ndarray(picture, format="rgb24")
            coded.pts, coded.time_base = k, Fraction(1, 30)
            output.mux(stream.encode(coded))
        output.mux(stream.encode(None))


def command_s(video: Path, folder: Path, *options: str) -> tuple[float, str]:
    """Wall time of the command in a fresh process, and what it printed about its stages."""
    began = time.perf_counter()
    result = subprocess.run(
        [
            sys.executable,
            str(REPOSITORY / "generate.py"),
            str(video),
            str(folder / "out.wav"),
            *options,
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    elapsed = time.perf_counter() - began
    stages = next(line for line in result.stdout.splitlines() if line.startswith("stages"))
    return elapsed, stages.removeprefix("stages").strip()


def bench_command(folder: Path) -> None:
    """A minute of video, and a short clip from a cold start."""
    print("\n| video 1280x720 | whole command | of which |\n|---|---|---|")
    for seconds, runs in ((5.0, 5), (60.0, 1)):
        video = folder / f"{seconds:.0f}.mp4"
        write_720p(video, seconds)
        timed = [command_s(video, folder) for _ in range(runs)]
        elapsed = statistics.median(t for t, _ in timed)
        print(f"| {seconds:.0f} s, one dancer | {elapsed:.1f} s | {timed[-1][1]} |", flush=True)


def bench_workers(folder: Path, runs: int = 3) -> None:
    """The minute with one process that looks for the dancer, and with more, taking turns."""
    counts = [n for n in (1, 2, 4, 8) if n <= (os.cpu_count() or 1)]
    walls: dict[int, list[float]] = {n: [] for n in counts}
    poses: dict[int, list[float]] = {n: [] for n in counts}
    for _ in range(runs):
        for n in counts:
            elapsed, stages = command_s(folder / "60.mp4", folder, "--workers", str(n))
            walls[n].append(elapsed)
            poses[n].append(float(stages.partition("poses ")[2].partition(" s")[0]))
    print(
        "\n| 60 s, `--workers` | poses, s | × one | whole command, s | × one |"
        "\n|---|---|---|---|---|"
    )
    for n in counts:
        cells = []
        for times in (poses, walls):
            gain = statistics.median(
                one / many for one, many in zip(times[1], times[n], strict=True)
            )
            cells.append(f"{statistics.median(times[n]):.1f} | {gain:.2f}")
        print(f"| {n} | {cells[0]} | {cells[1]} |", flush=True)


def bench_poses(folder: Path) -> None:
    """Our extraction against MediaPipe on pictures that are already decoded."""
    from dancetomusic.io.video import read_frames
    from dancetomusic.pose.extract import extract_poses
    from dancetomusic.pose.mediapipe import DETECTION_SIDE, detect_poses

    video = folder / "5.mp4"
    frames = list(read_frames(video, 24.0, max_side=DETECTION_SIDE))
    bare = median_s(lambda: list(detect_poses(iter(frames), 24.0)))
    ours = median_s(lambda: extract_poses(read_frames(video, 24.0, max_side=DETECTION_SIDE), 24.0))
    print("\n| poses, 720p, one dancer | frames/s | of bare MediaPipe |\n|---|---|---|")
    print(f"| MediaPipe on decoded pictures | {len(frames) / bare:.0f} | 100 % |")
    print(f"| decoding, MediaPipe, following, cleaning | {len(frames) / ours:.0f} "
          f"| {bare / ours:.0%} |", flush=True)  # fmt: skip


def bench_codec() -> None:
    """Times real time on one core."""
    import torch

    from dancetomusic.codec.spectral import SpectralCodec
    from dancetomusic.released import released_checkpoint
    from dancetomusic.types import Waveform

    torch.set_num_threads(1)
    codec = SpectralCodec.from_pretrained(released_checkpoint("codec"))
    seconds = 30
    noise = np.random.default_rng(0).normal(0, 0.1, (1, seconds * 24_000)).astype(np.float32)
    sound = Waveform(noise, 24_000)
    codes = codec.encode(sound)
    print("\n| codec, one core | times real time |\n|---|---|")
    print(f"| encode | {seconds / median_s(lambda: codec.encode(sound)):.0f} |")
    print(f"| decode | {seconds / median_s(lambda: codec.decode(codes)):.0f} |", flush=True)


def main() -> None:
    """Print all tables."""
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench_command(folder)
        bench_workers(folder)
        bench_poses(folder)
    bench_codec()


if __name__ == "__main__":
    main()
