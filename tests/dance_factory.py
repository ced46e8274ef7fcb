"""Small dance videos with drums on the dancer's beats, for tests of the builder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dancetomusic.io.video import read_frames
from tests.video_factory import SAMPLE_RATE, write_video

BUILD_OPTIONS = ("--max_seq_len", "2", "--separator", "hpss", "--workers", "2")
"""For ``dancetomusic build``: short clips, without a network of the separator."""

SMALL_TRAINING = """
procedural_share: 1.0
n_procedural: 2
batch_size: 2
crop_s: 6.0
max_clip_s: 6.0
model: {channels: 16, dilations: [1, 2], dropout: 0.2}
ema_decay: 0.9
warmup_steps: 3
log_every: 1
save_every: 4
validation_crops: 2
tensorboard: false
"""
"""Settings of a pose encoder that is trained in seconds."""


def small_copy(source: Path, target: Path, seconds: float = 6.0, side: int = 192) -> Path:
    """The first seconds of a demo clip as small as MediaPipe bears, with drums on its beats."""
    beats = np.loadtxt(source.with_suffix(".csv"), delimiter=",", skiprows=1)
    frames = list(read_frames(source, 24.0, max_side=side, n_frames=round(seconds * 24)))
    height, width = (size // 2 * 2 for size in frames[0].shape[:2])
    return write_video(
        target,
        n_frames=len(frames),
        size=(width, height),
        picture=lambda k: np.ascontiguousarray(frames[k][:height, :width]),
        sound=drums(beats[:, 0], beats[:, 1], seconds),
    )


def drums(times: np.ndarray, numbers: np.ndarray, seconds: float) -> np.ndarray:
    """A kick on odd beats, a snare on even ones, and a hat on every half."""
    rng = np.random.default_rng(0)
    t = np.arange(round(0.2 * SAMPLE_RATE)) / SAMPLE_RATE
    kick = np.exp(-t / 0.06) * np.sin(2 * np.pi * (60 * t + 8 * (1 - np.exp(-t / 0.02))))
    snare = np.exp(-t / 0.04) * rng.normal(0, 0.4, t.size)
    hat = np.exp(-t / 0.01) * np.diff(rng.normal(0, 0.15, t.size + 1))
    sound = np.zeros(round(seconds * SAMPLE_RATE) + t.size, np.float32)
    half = np.diff(times).mean() / 2
    for beat, number in zip(times[times < seconds], numbers[times < seconds], strict=True):
        for part, at in ((kick if number % 2 else snare, beat), (hat, beat), (hat, beat + half)):
            start = round(at * SAMPLE_RATE)
            if start < seconds * SAMPLE_RATE:
                sound[start : start + t.size] += 0.5 * part.astype(np.float32)
    return sound[: round(seconds * SAMPLE_RATE)]
