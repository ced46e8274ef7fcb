"""The sampler beside a video that runs at its own pace: latency from movement to sound."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from dancetomusic.errors import InputError
from dancetomusic.io.video import prefetch, probe_video, read_frames
from dancetomusic.models.motion_vae.sampler import MotionSampler


@dataclass(frozen=True)
class Latency:
    """Latency from movement to sound of every block, in seconds.

    Attributes:
        segment_to_sound_s: From the oldest movement of a segment until the first sample that
            it decides is played back: segment, waiting, computing and output buffer together.
        newest_to_sound_s: The same from the last picture that the segment knows.
        compute_s: Taking the pictures and making the block.
        late_share: Share of blocks that were not ready when the one before had been played.
    """

    segment_to_sound_s: Float64[np.ndarray, " blocks"]
    newest_to_sound_s: Float64[np.ndarray, " blocks"]
    compute_s: Float64[np.ndarray, " blocks"]
    late_share: float


@dataclass
class _Log:
    segment: list[float] = field(default_factory=list)
    newest: list[float] = field(default_factory=list)
    compute: list[float] = field(default_factory=list)
    late: int = 0


def perform_video(
    sampler: MotionSampler,
    path: Path | str,
    *,
    seconds: float | None = None,
    on_sound: Callable[[Float32[np.ndarray, " samples"]], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Latency:
    """Play to a video that runs at its own pace, as to a camera, and time every block.

    A picture may be taken from the moment at which it is shown. A block is begun on the clock
    of the sound, made while the one before is played, and played back when that ends: the output
    buffer is one block.

    Args:
        sampler: One that reads pictures; it is reset.
        path: The video.
        seconds: How much of it; all by default.
        on_sound: Given each block as it is made.
        clock: Seconds that pass.
        sleep: Waits.

    Raises:
        VideoError: If the video cannot be read.
        InputError: If it is shorter than a segment.
    """
    info = probe_video(path)
    length_s = info.duration_s if seconds is None else min(seconds, info.duration_s)
    segment_s = sampler.model.config.segment_s
    if length_s < segment_s:
        raise InputError(
            f"{path} lasts {length_s:g} s, a segment {segment_s:g} s", "Give a longer video."
        )
    sampler.reset()
    log = _Log()
    pictures = prefetch(read_frames(path, info.source_fps))
    try:
        shown = ((number / info.source_fps, picture) for number, picture in enumerate(pictures))
        waiting = next(shown, None)
        begin, newest_s = clock(), 0.0
        for number in range(int(length_s / sampler.block_s)):
            due_s = number * sampler.block_s
            sleep(max(0.0, begin + due_s - clock()))
            began_s = clock() - begin
            while waiting is not None and waiting[0] <= due_s:
                newest_s = waiting[0]
                sampler.push_frame(waiting[1], newest_s)
                waiting = next(shown, None)
            block = sampler.step()
            ready_s = clock() - begin
            log.compute.append(ready_s - began_s)
            log.late += ready_s > due_s + sampler.block_s
            playback_s = max(ready_s, due_s + sampler.block_s)
            log.segment.append(playback_s - (due_s - segment_s))
            log.newest.append(playback_s - newest_s)
            if on_sound is not None:
                on_sound(block)
    finally:
        pictures.close()
    whole = slice(round(segment_s / sampler.block_s), None)
    return Latency(
        np.array(log.segment)[whole],
        np.array(log.newest)[whole],
        np.array(log.compute)[whole],
        log.late / len(log.compute),
    )
