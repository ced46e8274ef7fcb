"""Whole clips with real files, small enough to make dozens of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import soundfile

from dancetomusic.data.clip import (
    ACCEPTED,
    ClipQuality,
    ClipRecord,
    clip_key,
    publish_clip,
    source_id,
    write_record,
)
from dancetomusic.pose.files import save_poses
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.rhythm.files import save_beats
from dancetomusic.types import PoseQuality, PoseSequence

SECONDS, FPS, RATE, CODE_RATE = 1.0, 24.0, 24_000, 75.0


def make_record(source: str, start_s: float = 0.0, **changes: Any) -> ClipRecord:
    """The record of a clip of one second, with plausible values."""
    end_s = start_s + SECONDS
    record = ClipRecord(
        key=clip_key(source, start_s, end_s),
        source=source,
        source_id=source_id(source),
        start_s=start_s,
        end_s=end_s,
        licence="CC BY 4.0",
        fps=FPS,
        n_frames=round(SECONDS * FPS),
        sample_rate=RATE,
        quality=ClipQuality(detected_share=0.95, mean_visibility=0.875, picture_hash="0f" * 8),
        separator="hpss",
        separator_version="1",
        codec="spectral:0123",
        code_rate=CODE_RATE,
        bpm=120.0,
    )
    return replace(record, **changes)


def fill_clip(directory: Path, record: ClipRecord, seed: int = 0) -> ClipRecord:
    """Write every file of a clip into ``directory``, its record last."""
    rng = np.random.default_rng(seed)
    directory.mkdir(parents=True, exist_ok=True)
    frames = record.n_frames
    poses = PoseSequence(
        world=rng.uniform(-0.8, 0.8, (frames, 33, 3)).astype(np.float32),
        present=np.arange(frames) != 3,
        visibility=np.full((frames, 33), 0.875, np.float32),
        fps=record.fps,
        image=rng.uniform(0, 1, (frames, 33, 3)).astype(np.float32),
        quality=PoseQuality(0.95, 0.875, 0.0),
    )
    save_poses(directory / "poses.npz", poses)
    for name in ("mix.flac", "stem.flac"):
        sound = rng.uniform(-0.1, 0.1, round(SECONDS * record.sample_rate))
        soundfile.write(directory / name, sound, record.sample_rate, "PCM_16")
    codes = rng.integers(0, 1024, (4, round(SECONDS * record.code_rate)))
    np.save(directory / "codes.npy", codes.astype(np.int16))
    save_beats(directory / "beats.csv", steady_grid(120.0, SECONDS, first_beat_s=0.25))
    picture = rng.integers(0, 255, (8, 8, 3), np.uint8)
    (directory / "pictures.jpg").write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    return write_record(directory, record)


def add_clip(root: Path, source: str, start_s: float = 0.0, **changes: Any) -> ClipRecord:
    """Publish a clip to the set at ``root``; one that is not accepted has only its record."""
    record = make_record(source, start_s, **changes)
    work = root / ".work" / record.key
    if record.status == ACCEPTED:
        record = fill_clip(work, record, seed=int(record.key[:8], 16))
    else:
        work.mkdir(parents=True)
        record = write_record(work, record)
    publish_clip(work, root)
    return record
