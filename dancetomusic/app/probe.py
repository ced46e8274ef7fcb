"""A look at an uploaded file in a process of its own: ``python -m dancetomusic.app.probe``.

Whoever sends a file can aim it at a decoder. This process has little memory and little time, knows
no client, and ends after one file; if it crashes, the file is refused and nothing else happens.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dancetomusic.app.limits import TAKEN, Limits, Refusal
from dancetomusic.errors import DanceToMusicError

MAX_MEMORY_BYTES = 4 * 2**30
MAX_CPU_S = 20
CONTAINERS = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpegts", "mpeg", "flv", "ogg")
"""FFmpeg's names of the containers that are taken."""

SHOWN_NAME = "the file"


def main() -> None:
    """Print what the file named by the first argument is, or why it is refused, as JSON.

    The second argument holds the limits, as JSON.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_S, MAX_CPU_S))
    path = Path(sys.argv[1])
    try:
        found: dict[str, Any] = {"video": examine(path, Limits(**json.loads(sys.argv[2])))}
    except Refusal as refusal:
        found = {"refusal": [refusal.status, refusal.problem, refusal.remedy]}
    except DanceToMusicError as error:
        found = {"refusal": [422, without_path(error.problem, path), error.remedy]}
    print(json.dumps(found))


def without_path(text: str, path: Path) -> str:
    """An error's text with a client's word for the file instead of where it lies."""
    return text.replace(str(path), SHOWN_NAME)


def examine(path: Path, limits: Limits) -> dict[str, Any]:
    """What a client learns about its video.

    Raises:
        VideoError: If it cannot be read.
        Refusal: If it is of another kind, too long or too large.
    """
    from dancetomusic.io.video import declared_length, open_video, probe_video
    from dancetomusic.pose.cleaning import MIN_DURATION_S

    with open_video(path) as source:
        if source.container.format.name not in CONTAINERS:
            raise Refusal(
                415,
                f"{SHOWN_NAME} is in {source.container.format.long_name}",
                TAKEN,
            )
        _require_pixels(source.stream.width * source.stream.height, limits)
        whole_s = declared_length(source.container) / 1e6
        declared_s = max(whole_s, float(source.declared_end or 0))
    _require_duration(declared_s, limits)
    info = probe_video(path)
    _require_duration(info.duration_s, limits)
    _require_pixels(info.width * info.height, limits)
    if info.duration_s < MIN_DURATION_S:
        raise Refusal(
            422,
            f"{SHOWN_NAME} lasts {info.duration_s:.2f} s",
            f"Give at least {MIN_DURATION_S:g} s.",
        )
    return {name: value for name, value in asdict(info).items() if name != "path"}


def _require_duration(duration_s: float, limits: Limits) -> None:
    if duration_s > limits.duration_s:
        raise Refusal(
            413,
            f"{SHOWN_NAME} lasts {duration_s:.0f} s",
            f"Cut it to {limits.duration_s:.0f} s or less.",
        )


def _require_pixels(pixels: int, limits: Limits) -> None:
    if pixels > limits.pixels:
        raise Refusal(
            413, f"its pictures have {pixels / 1e6:.0f} megapixels", "Give it in 4K or smaller."
        )


if __name__ == "__main__":
    main()
