"""The dataset builder: how workers share the cores, and what the chain costs beside its parts.

Run by ``make bench``, or ``python benchmarks/bench_build.py``; prints Markdown.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from dancetomusic.builder.pipeline import build
from dancetomusic.builder.settings import BuildSettings
from dancetomusic.builder.sources import Section, read_folder
from dancetomusic.parallel import Engine, open_engine, usable_cpus

CLIPS_OF_THE_OTHERS = 1300
"""Clips that the system this one succeeds took one to two hours for, on an M2 Max."""

N_VIDEOS, VIDEO_S = 4, 20.0
SETTINGS = BuildSettings(separator="hpss")


def add_sound(video: Path, target: Path) -> None:
    """The video with noise in the rhythm of 120 BPM."""
    from dancetomusic.io.mux import mux
    from dancetomusic.types import Waveform

    rng = np.random.default_rng(0)
    t = np.arange(round(VIDEO_S * 24_000)) / 24_000
    sound = np.exp(-(t % 0.5) / 0.05) * rng.normal(0, 0.3, t.size)
    mux(video, Waveform(sound[None].astype(np.float32), 24_000), target)


def time_build(sections: Sequence[Section], engine: Engine) -> tuple[float, dict[str, float]]:
    """Wall time of a build with workers that have started, and seconds of work by stage."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        summary = build(sections, Path(folder) / "set", SETTINGS, engine)
        return time.perf_counter() - began, summary.seconds


def warm(engine: Engine, sections: Sequence[Section]) -> None:
    """Let every worker load MediaPipe, the codec and the separator."""
    time_build(list(sections)[: engine.workers], engine)


def time_parts(videos: Sequence[Path]) -> tuple[float, int]:
    """Bare MediaPipe on decoded pictures and the bare codec, of the same clips; and how many."""
    import torch

    from dancetomusic.codec.registry import load_codec
    from dancetomusic.io.audio import read_audio
    from dancetomusic.io.video import read_frames
    from dancetomusic.pose.mediapipe import DETECTION_SIDE, detect_poses
    from dancetomusic.types import Waveform

    torch.set_num_threads(1)
    codec = load_codec()
    length = SETTINGS.n_samples
    seconds, n_clips = 0.0, 0
    for video in videos:
        frames = list(read_frames(video, SETTINGS.fps, max_side=DETECTION_SIDE))
        sound = read_audio(video)
        assert sound is not None
        for k in range(int(VIDEO_S / SETTINGS.max_seq_len)):
            clip = frames[k * SETTINGS.n_frames : (k + 1) * SETTINGS.n_frames]
            part = Waveform(sound.samples[:, k * length : (k + 1) * length], 24_000)
            began = time.perf_counter()
            list(detect_poses(iter(clip), SETTINGS.fps))
            codec.encode(part)
            seconds += time.perf_counter() - began
            n_clips += 1
    return seconds, n_clips


def main() -> None:
    """Print all tables."""
    from bench_generate import write_720p  # type: ignore[import-not-found]

    engine_name = sys.argv[1] if len(sys.argv) > 1 else "processes"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_720p(folder / "silent.mp4", VIDEO_S)
        (folder / "videos").mkdir()
        videos = [folder / "videos" / f"{k}.mp4" for k in range(N_VIDEOS)]
        for video in videos:
            add_sound(folder / "silent.mp4", video)
        sections = read_folder(folder / "videos")
        counts = sorted({1, 2, usable_cpus()})
        walls: dict[int, list[float]] = {workers: [] for workers in counts}
        shares: dict[str, float] = {}
        bare_runs = []
        with ExitStack() as stack:
            engines = {
                workers: stack.enter_context(open_engine(engine_name, workers=workers))
                for workers in counts
            }
            for engine in engines.values():
                warm(engine, sections)
            for _ in range(3):  # side by side, for the machine is not the same all the time
                bare_s, n_clips = time_parts(videos)
                bare_runs.append(bare_s)
                for workers, engine in engines.items():
                    wall_s, seconds = time_build(sections, engine)
                    walls[workers].append(wall_s)
                    if workers == 1:
                        shares = seconds
        one = statistics.median(walls[1])
        costs = [chain / bare for chain, bare in zip(walls[1], bare_runs, strict=True)]
        print(f"{n_clips} clips of 5 s from 720p video, engine {engine_name}, medians of 3\n")
        print("| workers | clips a minute | × one worker | 1,300 clips |\n|---|---|---|---|")
        for workers, times in walls.items():
            wall_s = statistics.median(times)
            minutes = wall_s / n_clips * CLIPS_OF_THE_OTHERS / 60
            gains = [alone / other for alone, other in zip(walls[1], times, strict=True)]
            print(f"| {workers} | {n_clips / wall_s * 60:.0f} | {statistics.median(gains):.2f} "
                  f"| {minutes:.0f} min |")  # fmt: skip
        total = sum(shares.values())
        print("\n| one worker | s a clip | share |\n|---|---|---|")
        for stage, seconds_ in shares.items():
            print(f"| {stage} | {seconds_ / n_clips:.3f} | {seconds_ / total:.0%} |")
        print(f"| whole chain, wall | {one / n_clips:.3f} | |")
        bare_s = statistics.median(bare_runs) / n_clips
        print(f"| bare MediaPipe and codec on the same clips | {bare_s:.3f} | |")
        print(f"| chain / bare | {statistics.median(costs):.2f} | |")


if __name__ == "__main__":
    main()
