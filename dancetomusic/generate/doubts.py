"""Reasons to doubt beats that are estimated from movement."""

from __future__ import annotations

from collections.abc import Sequence

from dancetomusic.pose.landmarks import LANDMARK
from dancetomusic.pose.limbs import limb_range
from dancetomusic.types import PoseSequence

STILL_M = 0.1
"""Limbs that get around less do not move: what is left is jitter."""

LITTLE_M = 0.2
"""Below the range of nearly all dancers of ``data/wild.py``: 0.26 m and more."""

IN_PICTURE = 0.5
"""Least share of the time that knees and ankles are in the picture."""

FEWEST_FPS = 8.0
"""Pictures a second below which a beat is hardly seen: three pictures at 160 BPM."""

_LEGS = [LANDMARK[f"{side}_{part}"] for part in ("knee", "ankle") for side in ("left", "right")]


def is_still(dancers: Sequence[PoseSequence]) -> bool:
    """Whether nobody moves."""
    return max(map(_range, dancers)) < STILL_M


def movement_doubts(
    dancers: Sequence[PoseSequence], source_fps: float | None = None
) -> tuple[str, ...]:
    """Why the beats of a movement cannot be trusted, in words; none where they may be.

    The most prominent dancer comes first; ``source_fps`` is ``None`` where there is no video.
    """
    doubts = []
    if is_still(dancers):
        doubts.append("nobody moves")
    elif max(map(_range, dancers)) < LITTLE_M:
        doubts.append("there is little movement")
    if _legs_in_picture(dancers[0]) < IN_PICTURE:
        doubts.append("the legs are out of the picture")
    if source_fps is not None and source_fps < FEWEST_FPS:
        doubts.append(f"the video has {source_fps:.2g} pictures a second")
    return tuple(doubts)


def _range(dancer: PoseSequence) -> float:
    return limb_range(dancer.world[dancer.present])


def _legs_in_picture(dancer: PoseSequence) -> float:
    """Share of the time that the leg joint seen least is in the picture; 1 without a picture."""
    if dancer.image is None or not dancer.present.any():
        return 1.0
    points = dancer.image[dancer.present][:, _LEGS, :2]
    inside = ((points >= 0) & (points <= 1)).all(axis=-1)
    return float(inside.mean(axis=0).reshape(2, 2).max(axis=1).min())  # the better side of each
