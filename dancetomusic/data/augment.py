"""Variations of a dance that keep its rhythm known: view, body, tempo, detector faults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32
from scipy.ndimage import gaussian_filter1d

from dancetomusic.errors import ConfigError
from dancetomusic.pose.landmarks import mirror


@dataclass(frozen=True)
class PoseAugmentConfig:
    """How strongly to vary; every value is the far end of what may happen.

    Attributes:
        mirror_share: Share of crops shown as in a mirror.
        max_retiming: Speed is chosen between ``min_retiming`` and this; 1 is unchanged.
        min_retiming: The slowest speed.
        scale: Body size varies by this share either way.
        limb_jitter_m: Noise of a landmark, another in each frame.
        limb_bias_m: Constant displacement of a landmark.
        depth_noise: Noise along the line of sight, as a multiple of the rest.
        min_depth: Depth may shrink to this share, as monocular detectors see it.
        gaps_per_min: Stretches in which nobody is detected.
        longest_gap_s: Those up to 0.5 s are interpolated, as cleaning does, longer ones masked.
    """

    mirror_share: float = 0.5
    max_retiming: float = 1.35
    min_retiming: float = 0.75
    scale: float = 0.15
    limb_jitter_m: float = 0.012
    limb_bias_m: float = 0.02
    depth_noise: float = 2.5
    min_depth: float = 0.5
    gaps_per_min: float = 3.0
    longest_gap_s: float = 1.2

    def __post_init__(self) -> None:
        if not 0 < self.min_retiming <= self.max_retiming or not 0 <= self.mirror_share <= 1:
            raise ConfigError("retiming or mirror_share is out of range", "Give 0 < min ≤ max.")
        if min(self.limb_jitter_m, self.limb_bias_m, self.gaps_per_min, self.longest_gap_s) < 0:
            raise ConfigError("an augmentation is negative", "Give 0 to switch it off.")


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A random number whose logarithm is uniform between those of ``low`` and ``high``."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def retime(
    world: Float32[np.ndarray, "frames 33 3"],
    fps: float,
    *,
    start_s: float,
    speed: float,
    n_frames: int,
) -> Float32[np.ndarray, "crop 33 3"]:
    """Cut a stretch and play it ``speed`` times as fast, at the same frame rate.

    Frame ``k`` is the pose at ``start_s + k · speed / fps`` seconds, interpolated linearly
    and held past the ends.
    """
    at = np.clip(start_s * fps + np.arange(n_frames) * speed, 0, world.shape[0] - 1)
    left = np.minimum(at.astype(int), world.shape[0] - 2) if world.shape[0] > 1 else at.astype(int)
    right = np.minimum(left + 1, world.shape[0] - 1)
    share = (at - left).astype(np.float32)[:, None, None]
    return world[left] * (1 - share) + world[right] * share


def retime_beats(
    beat_times: Float[np.ndarray, " beats"], *, start_s: float, speed: float
) -> Float[np.ndarray, " beats"]:
    """Beat times after :func:`retime`, in seconds from the start of the crop."""
    return (beat_times - start_s) / speed


def turn(
    world: Float32[np.ndarray, "frames 33 3"], yaw_rad: float
) -> Float32[np.ndarray, "frames 33 3"]:
    """Look from another side: rotate about the vertical axis."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]], np.float32)
    return world @ rotation.T


def vary_pose(
    world: Float32[np.ndarray, "frames 33 3"],
    fps: float,
    config: PoseAugmentConfig,
    rng: np.random.Generator,
) -> tuple[Float32[np.ndarray, "frames 33 3"], Bool[np.ndarray, " frames"]]:
    """Show the same movement from another side, on another body, through a poor detector.

    Returns:
        Poses, and the frames in which the dancer is present.
    """
    varied = mirror(world) if rng.random() < config.mirror_share else world
    varied = turn(varied, float(rng.uniform(0, 2 * np.pi)))
    varied = varied * (1 + rng.uniform(-config.scale, config.scale, 3)).astype(np.float32)
    depth = rng.uniform(config.min_depth, 1.0)
    varied[..., 2] *= np.float32(depth)
    jitter = config.limb_jitter_m * rng.random() ** 2
    noise = rng.standard_normal(varied.shape).astype(np.float32) * jitter
    noise = gaussian_filter1d(noise, rng.uniform(0.3, 1.5), axis=0)
    bias = rng.standard_normal((1, 33, 3)) * config.limb_bias_m * rng.random()
    fault = noise + bias.astype(np.float32)
    fault[..., 2] *= config.depth_noise
    return _with_gaps((varied + fault).astype(np.float32), fps, config, rng)


def _with_gaps(
    world: np.ndarray, fps: float, config: PoseAugmentConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    present = np.ones(world.shape[0], bool)
    minutes = world.shape[0] / fps / 60
    for _ in range(rng.poisson(config.gaps_per_min * minutes * rng.random() * 2)):
        length = int(rng.uniform(1 / fps, config.longest_gap_s) * fps)
        if not 0 < length < world.shape[0] - 2:
            continue
        first = int(rng.integers(1, world.shape[0] - length))
        if length <= 0.5 * fps:
            share = (np.arange(1, length + 1) / (length + 1)).astype(np.float32)[:, None, None]
            ends = world[first - 1], world[first + length]
            world[first : first + length] = ends[0] * (1 - share) + ends[1] * share
        else:
            present[first : first + length] = False
    return world, present
