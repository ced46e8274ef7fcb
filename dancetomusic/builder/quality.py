"""The gate: clips that would teach wrong things are refused by numbers, with the reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from dancetomusic.builder.picture_watch import HASH_BITS, PictureWatch
from dancetomusic.config import check_fields
from dancetomusic.data.clip import ClipQuality
from dancetomusic.pose.landmarks import LANDMARK, TORSO
from dancetomusic.pose.motion import count_swaps, limb_range, mean_speed
from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

SILENCE_DBFS = -120.0
"""Loudness of what has no sound, or nothing but zeros in it."""

_PARTS = np.array(
    [
        (LANDMARK[f"left_{part}"], LANDMARK[f"right_{part}"])
        for part in ("shoulder", "elbow", "wrist", "hip", "knee")
    ]
)


_Share = Annotated[float, Field(ge=0.0, le=1.0)]
_Size = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


@dataclass(frozen=True)
class GateThresholds:
    """What a clip must reach to be accepted; each limit itself is still accepted.

    Raises:
        ConfigError: If a limit is no number or out of its range.
    """

    min_detected_share: _Share = 0.8
    """Least share of frames in which the detector sees the dancer, in [0, 1]."""
    min_mean_visibility: _Share = 0.6
    """Least mean visibility of the landmarks, in [0, 1]."""
    min_weakest_visibility: _Share = 0.4
    """Least visibility of the least visible joints down to the knees, in [0, 1]."""
    min_framed_share: _Share = 0.9
    """Least share of frames in which shoulders and hips are within the picture, in [0, 1]."""
    max_glitch_share: _Share = 0.08
    """Largest share of landmark positions that had to be repaired, in [0, 1]."""
    max_swaps: Annotated[int, Field(ge=0)] = 0
    """Most changes from one dancer to another, or camera cuts, in a clip."""
    min_range_m: _Size = 0.2
    """Least range of the limb that moves most, in metres: photographs filmed by hand stay below."""
    max_motion_m_s: _Size = 5.0
    """Largest mean speed of the joints, in metres a second; above it poses are noise."""
    max_still_share: _Share = 0.7
    """Largest share of pictures that equal the one before, in [0, 1]."""
    min_loudness_dbfs: Annotated[float, Field(le=0.0, allow_inf_nan=False)] = -50.0
    """Least root mean square of the sound, in dB below full scale."""
    min_beat_certainty: _Share = 0.2
    """Least probability that the beats of the song are right, in [0, 1]; speech and noise stay
    below."""
    min_beat_agreement: _Share = 0.7
    """Least agreement of the song's beats with those of the clip's own stem, in [0, 1]."""
    max_hash_distance: Annotated[int, Field(ge=-1, le=HASH_BITS // 8)] = 47
    """Clips whose picture hashes differ in at most this many bits are one; -1 keeps all."""

    def __post_init__(self) -> None:
        check_fields(self)


def measure_quality(
    poses: PoseSequence | None,
    mix: Waveform | None,
    beats: RhythmTrack | None,
    pictures: PictureWatch | None,
) -> ClipQuality:
    """Say how far a clip can be trusted.

    Each part is ``None`` where there is none; ``beats`` are those of the song, and ``pictures`` has
    seen every picture.
    """
    judged: dict[str, float | int | str] = {
        "loudness_dbfs": SILENCE_DBFS if mix is None else _loudness_dbfs(mix),
    }
    if beats is not None and beats.beat_times.size > 1:
        judged["beat_certainty"] = beats.certainty
    if pictures is not None:
        judged |= {"still_share": pictures.still_share, "picture_hash": pictures.picture_hash}
    if poses is not None and poses.present.any():
        visibility = poses.visibility[poses.present]
        trusted = poses.quality
        judged |= {
            "detected_share": poses.present_share if trusted is None else trusted.detected_share,
            "mean_visibility": float(visibility.mean())
            if trusted is None
            else trusted.mean_visibility,
            "weakest_visibility": float(visibility[:, _PARTS].mean(axis=(0, 2)).min()),
            "framed_share": _framed_share(poses),
            "glitch_share": 0.0 if trusted is None else trusted.repaired_share,
            "n_swaps": count_swaps(poses),
            "motion_m_s": mean_speed(poses),
            "range_m": limb_range(poses),
        }
    return ClipQuality(**judged)  # type: ignore[arg-type]


def refusal(quality: ClipQuality, thresholds: GateThresholds) -> str:
    """Say in one line why a clip is refused, measured value and limit; empty if it is not."""
    limits, q = thresholds, quality
    if q.detected_share == 0:
        reasons = ["no dancer was found"]
    else:
        reasons = [
            *_below("dancer detected in", q.detected_share, limits.min_detected_share, "{:.1%}"),
            *_below("mean visibility", q.mean_visibility, limits.min_mean_visibility),
            *_below(
                "visibility of the least visible joints",
                q.weakest_visibility,
                limits.min_weakest_visibility,
            ),
            *_below(
                "trunk within the picture in", q.framed_share, limits.min_framed_share, "{:.1%}"
            ),
            *_above("landmarks repaired", q.glitch_share, limits.max_glitch_share, "{:.1%}"),
            *_above("changes of dancer or camera", q.n_swaps, limits.max_swaps, "{:d}"),
            *_below("range of the limbs", q.range_m, limits.min_range_m, "{:.2f} m"),
            *_above("motion", q.motion_m_s, limits.max_motion_m_s, "{:.3f} m/s"),
        ]
    reasons += _above("still pictures", q.still_share, limits.max_still_share, "{:.1%}")
    if q.loudness_dbfs <= SILENCE_DBFS:
        reasons.append("no sound")
    elif q.beat_certainty == 0:
        reasons.append("no beat was found")
    else:
        reasons += [
            *_below("loudness", q.loudness_dbfs, limits.min_loudness_dbfs, "{:.1f} dBFS"),
            *_below("certainty of the beats", q.beat_certainty, limits.min_beat_certainty),
            *_below("agreement of the beats", q.beat_agreement, limits.min_beat_agreement),
        ]
    return "; ".join(reasons)


def _framed_share(poses: PoseSequence) -> float:
    """The part of the frames with a dancer in which no corner of the trunk is outside."""
    if poses.image is None:
        return 1.0
    corners = poses.image[poses.present][:, list(TORSO), :2]
    return float(((corners >= 0) & (corners <= 1)).all(axis=(1, 2)).mean())


def _loudness_dbfs(waveform: Waveform) -> float:
    power = float(np.mean(waveform.samples.astype(np.float64) ** 2)) if waveform.samples.size else 0
    return max(SILENCE_DBFS, 10 * math.log10(power)) if power > 0 else SILENCE_DBFS


def _below(what: str, value: float, limit: float, form: str = "{:.2f}") -> list[str]:
    if value >= limit:
        return []
    return [f"{what} {form.format(value)}, below {form.format(limit)}"]


def _above(what: str, value: float | int, limit: float | int, form: str = "{:.2f}") -> list[str]:
    if value <= limit:
        return []
    return [f"{what} {form.format(value)}, above {form.format(limit)}"]
