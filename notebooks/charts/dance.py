"""Charts of one dance and the music for it, for notebooks.

Each ``draw_*`` gives a ``matplotlib.figure.Figure``; matplotlib is imported when the first one is
drawn. Beats are thin lines, downbeats thick ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dancetomusic.errors import DependencyError, InputError
from dancetomusic.pose.draw import LEFT, MIDDLE, RIGHT, draw_skeleton
from dancetomusic.pose.landmarks import BONES, LANDMARK, LANDMARK_NAMES
from dancetomusic.pose.motion import joint_speeds
from dancetomusic.types import CodeSequence, PoseSequence, RhythmTrack, Waveform

WIDTH_IN = 14.0
"""Width of every chart, in inches."""

LOWEST_HZ, HIGHEST_HZ = 40.0, 12_000.0
DYNAMIC_DB = 80.0

_ANKLES = {"left": LANDMARK["left_ankle"], "right": LANDMARK["right_ankle"]}
_TO_UNIT = 1 / 255


def new_figure(height_in: float) -> Any:
    """An empty figure ``WIDTH_IN`` wide, bound to no window.

    Raises:
        DependencyError: If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DependencyError(
            "matplotlib is not installed", "Run: pip install 'dancetomusic[evaluate]'."
        ) from error
    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def mark_beats(axis: Any, rhythm: RhythmTrack, colour: str = "black") -> None:
    """Draw the beats of ``rhythm`` through an axis whose x is in seconds."""
    for time, number in zip(rhythm.beat_times, rhythm.beat_numbers, strict=True):
        axis.axvline(time, color=colour, linewidth=1.4 if number == 1 else 0.4, alpha=0.7)


def draw_pictures(
    frames: Sequence[UInt8[np.ndarray, "height width 3"]],
    poses: PoseSequence,
    n_pictures: int = 6,
) -> Any:
    """Pictures of a video at even times, with the skeleton that was found in them.

    Args:
        frames: RGB, one a pose.
        poses: Found in ``frames``, with their places in the picture.
        n_pictures: How many to show.

    Raises:
        InputError: If the poses have no picture, or there are not as many as frames.
    """
    if poses.image is None or len(frames) != len(poses):
        raise InputError(
            f"{len(frames)} frames and {len(poses)} poses do not belong together",
            "Give the frames in which the poses were found.",
        )
    figure = new_figure(4.0)
    axes = figure.subplots(1, n_pictures, squeeze=False)[0]
    for axis, k in zip(axes, _evenly(len(frames), n_pictures), strict=True):
        shown = draw_skeleton(frames[k], poses.image[k]) if poses.present[k] else frames[k]
        axis.imshow(shown)
        axis.set_axis_off()
        axis.set_title(f"{k / poses.fps:.2f} s", fontsize=9)
    return figure


def draw_dancer(poses: PoseSequence, n_moments: int = 16) -> Any:
    """The dancer at even times, seen from the camera; orange is the dancer's left."""
    figure = new_figure(2.2)
    axis = figure.subplots()
    draw_moments(axis, poses, n_moments)
    axis.set_xlabel("s")
    return figure


def draw_moments(axis: Any, poses: PoseSequence, n_moments: int) -> None:
    """Skeletons in a row on ``axis``, whose x is in seconds; none where nobody is."""
    step_s = poses.duration_s / n_moments
    per_m = step_s / 1.1
    for moment in range(n_moments):
        middle_s = (moment + 0.5) * step_s
        k = min(int(middle_s * poses.fps), len(poses) - 1)
        if not poses.present[k]:
            continue
        x, y = middle_s + poses.world[k, :, 0] * per_m, -poses.world[k, :, 1]
        for a, b in BONES:
            axis.plot(x[[a, b]], y[[a, b]], color=_colour(a, b), linewidth=1.6)
    axis.set(xlim=(0, poses.duration_s), ylim=(-1.1, 1.2), ylabel="m above the hips")


def draw_rhythm(poses: PoseSequence, rhythm: RhythmTrack, truth: RhythmTrack | None = None) -> Any:
    """Feet, speed and energy of a dance with the beats read from it.

    Args:
        poses: The dancer.
        rhythm: What was read; the lower a beat's mark, the less sure it is.
        truth: True beats, marked above those read.
    """
    figure = new_figure(6.0)
    feet, speed, energy = axes = figure.subplots(3, 1, sharex=True)
    at = np.arange(len(poses)) / poses.fps
    for side, ankle in _ANKLES.items():
        colour = _rgb(LEFT if side == "left" else RIGHT)
        height = np.where(poses.present, -poses.world[:, ankle, 1], np.nan)
        feet.plot(at, height, color=colour, label=f"{side} ankle")
    feet.set_ylabel("m above the hips")
    feet.legend(loc="upper right", fontsize=8)
    speed.plot(at[1:], joint_speeds(poses), color="tab:grey")
    speed.set_ylabel("joints, m/s")
    strength_at = np.arange(rhythm.energy.size) / rhythm.energy_rate
    energy.fill_between(strength_at, rhythm.energy, color="tab:green", alpha=0.4)
    energy.plot(rhythm.beat_times, rhythm.confidence, "k.", label="confidence of each beat")
    if truth is not None:
        energy.plot(
            truth.beat_times, np.full(truth.beat_times.size, 1.05), "rv", label="true beats"
        )
    energy.set(ylabel="energy", ylim=(0, 1.12), xlim=(0, poses.duration_s), xlabel="s")
    energy.legend(loc="lower right", fontsize=8)
    for axis in axes:
        mark_beats(axis, rhythm)
    feet.set_title(f"{rhythm.bpm:.1f} BPM, {rhythm.beats_per_bar} beats a bar")
    return figure


def draw_codes(
    codes: CodeSequence, sound: Waveform, rhythm: RhythmTrack, end_s: float = 4.0
) -> Any:
    """The first seconds of codes above the sound that they stand for.

    Neighbouring colours do not mean similar sounds: an entry's number says nothing of what it is.
    """
    figure = new_figure(5.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 3))
    draw_code_rows(above, codes)
    draw_spectrogram(below, sound)
    for axis in (above, below):
        mark_beats(axis, rhythm, "white")
    below.set(xlim=(0, min(end_s, codes.duration_s)), xlabel="s")
    return figure


def draw_takes(takes: dict[str, Waveform], rhythm: RhythmTrack) -> Any:
    """Spectrograms of several sounds on one grid, over ``DYNAMIC_DB``.

    Args:
        takes: Sounds by name.
        rhythm: The beats that they were played on.
    """
    figure = new_figure(2.2 * len(takes) + 0.4)
    axes = figure.subplots(len(takes), 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, sound) in zip(axes, takes.items(), strict=True):
        draw_spectrogram(axis, sound)
        mark_beats(axis, rhythm, "white")
        axis.set_title(name, fontsize=9, loc="left")
    axes[-1].set_xlabel("s")
    return figure


def draw_spectrogram(axis: Any, sound: Waveform) -> None:
    """Spectrogram on ``axis``, low tones below, Hz."""
    samples = sound.to_mono().samples[0].astype(np.float64)
    with np.errstate(divide="ignore"):
        spectrum, *_, picture = axis.specgram(
            samples + 1e-9, NFFT=1024, noverlap=768, Fs=sound.sample_rate, cmap="magma"
        )
    loudest = 10 * np.log10(spectrum.max() + 1e-20)
    picture.set_clim(loudest - DYNAMIC_DB, loudest)
    axis.set(yscale="symlog", ylim=(LOWEST_HZ, min(HIGHEST_HZ, sound.sample_rate / 2)))
    axis.set(xlim=(0, sound.duration_s), ylabel="Hz", facecolor="black")


def draw_code_rows(axis: Any, codes: CodeSequence) -> None:
    """Codes on ``axis`` as colours, a row a codebook, the coarsest on top."""
    n_books = len(codes.codes)
    axis.imshow(
        codes.codes, aspect="auto", interpolation="nearest", cmap="nipy_spectral",
        extent=(0, codes.duration_s, n_books - 0.5, -0.5),
    )  # fmt: skip
    axis.set(yticks=range(n_books), ylabel="codebook")


def beat_at(rhythm: RhythmTrack, seconds: Any) -> Any:
    """Count of beats at given seconds, with fractions; neighbouring intervals go on outside.

    Raises:
        InputError: If there are fewer than two beats.
    """
    times = rhythm.beat_times.astype(np.float64)
    if times.size < 2:
        raise InputError(f"the rhythm has {times.size} beats", "Give one with at least two.")
    first, last = np.diff(times)[[0, -1]]
    before, after = times[0] - 1000 * first, times[-1] + 1000 * last
    counts = np.r_[-1000.0, np.arange(times.size), times.size + 999.0]
    return np.interp(np.asarray(seconds, np.float64), np.r_[before, times, after], counts)


def _evenly(n_items: int, n_chosen: int) -> list[int]:
    return [(2 * k + 1) * n_items // (2 * n_chosen) for k in range(n_chosen)]


def _colour(a: int, b: int) -> tuple[float, float, float]:
    names = LANDMARK_NAMES[a], LANDMARK_NAMES[b]
    for side, colour in (("left", LEFT), ("right", RIGHT)):
        if all(side in name for name in names):
            return _rgb(colour)
    return _rgb(tuple(value // 3 for value in MIDDLE))


def _rgb(colour: tuple[int, ...]) -> tuple[float, float, float]:
    red, green, blue = (value * _TO_UNIT for value in colour)
    return red, green, blue
