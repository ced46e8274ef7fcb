"""A large set of clips: its manifest, its shards and reading both, in time and memory.

Run by ``make bench``, or ``python benchmarks/bench_shards.py [CLIPS]``; prints Markdown. The clips
are tiny and their files hard links: what is measured is what a clip costs beside its content.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from dancetomusic.data.clip import (
    BEATS_FILE,
    CODES_FILE,
    MIX_FILE,
    NEEDED_FILES,
    POSES_FILE,
    RECORD_FILE,
    STEM_FILE,
    ClipRecord,
    clip_directory,
    clip_key,
    record_to_bytes,
    source_id,
    split_of,
    write_record,
)

SECONDS, FPS, RATE = 0.5, 24.0, 24_000
MOST_LINKS = 50_000
"""To one file: ext4 allows 65,000."""


def write_first(folder: Path) -> ClipRecord:
    """One clip with real files."""
    from dancetomusic.io.audio import write_flac
    from dancetomusic.pose.files import save_poses
    from dancetomusic.rhythm.beats import steady_grid
    from dancetomusic.rhythm.files import save_beats
    from dancetomusic.types import PoseSequence, Waveform

    n_frames = round(SECONDS * FPS)
    world = np.random.default_rng(0).normal(0, 0.3, (n_frames, 33, 3)).astype(np.float32)
    present, visibility = np.ones(n_frames, bool), np.ones((n_frames, 33), np.float32)
    save_poses(folder / POSES_FILE, PoseSequence(world, present, visibility, FPS))
    for name in (MIX_FILE, STEM_FILE):
        write_flac(folder / name, Waveform(np.zeros((1, round(SECONDS * RATE)), np.float32), RATE))
    np.save(folder / CODES_FILE, np.zeros((2, 37), np.int16))
    save_beats(folder / BEATS_FILE, steady_grid(240.0, SECONDS))
    source = "first"
    key = clip_key(source, 0.0, SECONDS)
    record = ClipRecord(key, source, source_id(source), 0.0, SECONDS, fps=FPS, n_frames=n_frames,
                        sample_rate=RATE, codec="spectral:0", bpm=240.0)  # fmt: skip
    return write_record(folder, record)


def make_set(root: Path, n_clips: int) -> None:
    """Publish as many clips of as many sources."""
    for number in range(n_clips):
        if number % MOST_LINKS == 0:
            first = root / f"files{number}"
            first.mkdir(parents=True)
            record = write_first(first)
        source = f"https://example.org/{number}"
        identifier, key = source_id(source), clip_key(source, 0.0, SECONDS)
        changed = replace(
            record, key=key, source=source, source_id=identifier, split=split_of(identifier)
        )
        folder = clip_directory(root, key)
        folder.mkdir(parents=True)
        for name in NEEDED_FILES:
            os.link(first / name, folder / name)
        (folder / RECORD_FILE).write_bytes(record_to_bytes(changed))


def write(root: Path, shards: Path) -> int:
    """The manifest, from all records."""
    from dancetomusic.data.manifest import write_manifest

    return write_manifest(root).n_clips


def pack(root: Path, shards: Path) -> int:
    """The shards of all splits."""
    from dancetomusic.data.shards import pack as write_shards

    return write_shards(root, shards).n_clips


def open_stream(root: Path, shards: Path) -> int:
    """What a training does before its first clip."""
    from dancetomusic.data.clip_stream import ClipStream

    return sum(ClipStream(root, split=split).n_clips for split in ("train", "val"))


def read(root: Path, shards: Path) -> int:
    """An epoch of both splits from shards, shuffled."""
    from dancetomusic.data.clip_stream import ClipStream

    return sum(1 for split in ("train", "val") for _ in ClipStream(shards, split=split))


def measured(
    task: Callable[[Path, Path], int], root: Path, shards: Path
) -> tuple[int, float, float, float]:
    """Clips, time in seconds, that of the processor, and peak memory in MB, of a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure, (task, root, shards))


def _measure(
    task: Callable[[Path, Path], int], root: Path, shards: Path
) -> tuple[int, float, float, float]:
    began, busy = time.perf_counter(), time.process_time()
    n_clips = task(root, shards)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return n_clips, time.perf_counter() - began, time.process_time() - busy, peak


def main() -> None:
    """Print the table."""
    n_clips = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name:
        root, shards = Path(name) / "set", Path(name) / "shards"
        make_set(root, n_clips)
        print(f"{n_clips:,} clips of {SECONDS:g} s\n")
        print("| | s | processor, s | ms a clip | peak memory, MB |\n|---|---|---|---|---|")
        for what, task in (
            ("write the manifest", write),
            ("pack into shards", pack),
            ("open a stream", open_stream),
            ("read an epoch of shards", read),
        ):
            found, wall_s, busy_s, peak_mb = measured(task, root, shards)
            assert found == n_clips
            print(f"| {what} | {wall_s:.1f} | {busy_s:.1f} | {1000 * busy_s / n_clips:.2f} "
                  f"| {peak_mb:.0f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
