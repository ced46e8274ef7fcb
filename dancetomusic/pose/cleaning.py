"""From what the detector saw to a movement that a body can make, frame by frame in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float32

from dancetomusic.errors import PoseError
from dancetomusic.pose.landmarks import LIMBS, SWAPPED
from dancetomusic.pose.mediapipe import Detection
from dancetomusic.types import N_LANDMARKS, PoseQuality, PoseSequence

MAX_GAP_S = 0.5
"""Longest absence that is interpolated; longer ones are masked."""

MAX_SPEED = 10.0
"""No joint moves faster than this in m/s, relative to the hips, and comes back at once."""

MAX_REVERSAL_SPEED = 5.0
"""No joint goes somewhere faster than this in m/s and returns as fast in the next frame."""

MAX_GLITCH_S = 0.125
"""Longest excursion of a joint that is taken for a glitch; longer ones are believed."""

LIMB_TOLERANCE = 0.35
"""Share by which a limb may differ from its length in the frames around."""

SMOOTHING_S = 0.29
"""Window of the smoothing filter, 7 frames at 24 fps."""

MIN_DURATION_S = 1.0
"""Shortest dance that music is made for."""

MIN_PRESENT_SHARE = 0.10
"""Least share of frames with a dancer."""

Valid = Bool[np.ndarray, "frames landmarks"]


def clean(track: Sequence[Detection | None], fps: float) -> PoseSequence:
    """Repair and smooth one dancer's detections; frame ``k`` stays at ``k / fps``.

    In order: brief exchanges of left and right are undone; joints that jump faster than a
    body can, or stretch a limb, for a moment are replaced from the frames around; gaps up
    to half a second are interpolated, longer ones masked with the last pose held; each
    stretch is smoothed without delay. Picture and world landmarks get the same repairs.

    The detection is ``None`` where unseen; at least one is not.

    Raises:
        PoseError: If the dancer is never seen.

    References:
        Savitzky & Golay, "Smoothing and Differentiation of Data by Simplified Least
        Squares Procedures", 1964.
    """
    detected = np.array([person is not None for person in track], bool)
    if not detected.any():
        raise PoseError("no person was found", "Give a video that shows a dancer.")
    world = np.zeros((len(track), N_LANDMARKS, 3), np.float32)
    image = np.zeros_like(world)
    visibility = np.zeros((len(track), N_LANDMARKS), np.float32)
    for k, person in enumerate(track):
        if person is not None:
            world[k], image[k], visibility[k] = person.world, person.image, person.visibility

    exchanged = find_exchanges(world, detected, fps)
    for values in (world, image, visibility):
        values[exchanged] = values[exchanged][:, SWAPPED]
    glitches = find_glitches(world, detected, fps)
    valid = detected[:, None] & ~glitches
    # A joint without one good frame keeps what was seen.
    valid |= detected[:, None] & ~valid.any(axis=0)
    repaired = (glitches | exchanged[:, None])[detected].mean()

    present = detected | _short_gaps(detected, round(MAX_GAP_S * fps))
    visibility = _fill(visibility[..., None], valid)[..., 0]
    visibility[~present] = 0.0
    return PoseSequence(
        world=hold(_smooth(_fill(world, valid), present, fps), present),
        present=present,
        visibility=np.clip(visibility, 0.0, 1.0),
        fps=float(fps),
        image=hold(_smooth(_fill(image, valid), present, fps), present),
        quality=PoseQuality(
            detected_share=float(detected.mean()),
            mean_visibility=float(
                np.mean([person.visibility for person in track if person is not None])
            ),
            repaired_share=float(repaired),
        ),
    )


def require_dancer(poses: PoseSequence) -> None:
    """Refuse what no music can be made for.

    Raises:
        PoseError: If the dance is shorter than a second, or the dancer is there in less
            than a tenth of it.
    """
    if poses.duration_s < MIN_DURATION_S:
        raise PoseError(
            f"the dance lasts {poses.duration_s:.2f} s", f"Give at least {MIN_DURATION_S:g} s."
        )
    if not poses.present.any():
        raise PoseError(
            "no person was found",
            "Give a video in which a dancer is seen from head to feet, large enough and lit.",
        )
    if poses.present_share < MIN_PRESENT_SHARE:
        raise PoseError(
            f"a person is seen in only {poses.present_share:.1%} of the frames",
            f"Give a part of the video with a dancer in at least {MIN_PRESENT_SHARE:.0%} of it.",
        )


def find_exchanges(
    world: Float32[np.ndarray, "frames 33 3"], detected: Bool[np.ndarray, " frames"], fps: float
) -> Bool[np.ndarray, " frames"]:
    """Frames in which the detector took left for right, for half a second at most.

    The body jumps into such a stretch and out of it, each time to a pose that is far from
    the one before, and near once left and right change places.
    """
    seen = np.flatnonzero(detected)
    result = np.zeros(len(world), bool)
    if len(seen) < 3:
        return result
    before, after = world[seen[:-1]], world[seen[1:]]
    body = slice(11, N_LANDMARKS)
    moved = np.linalg.norm(after - before, axis=-1)[:, body].mean(axis=1)
    moved_swapped = np.linalg.norm(after[:, SWAPPED] - before, axis=-1)[:, body].mean(axis=1)
    jumps = seen[1:][(moved_swapped < 0.5 * moved) & (moved > 0.12)]
    longest = round(MAX_GAP_S * fps)
    k = 0
    while k + 1 < len(jumps):
        begin, end = jumps[k], jumps[k + 1]
        if end - begin <= longest:
            result[begin:end] = detected[begin:end]
            k += 2
        else:
            k += 1
    return result


def find_glitches(
    world: Float32[np.ndarray, "frames 33 3"], detected: Bool[np.ndarray, " frames"], fps: float
) -> Bool[np.ndarray, "frames 33"]:
    """Landmarks that leave their path for a moment in a way that no body can.

    Each is reached and left faster than ``MAX_SPEED``, or reached and left backwards
    faster than ``MAX_REVERSAL_SPEED``, within ``MAX_GLITCH_S``; or it changes the length
    of its limb against the frames around.
    """
    result = np.zeros(world.shape[:2], bool)
    for stretch in _runs(detected):
        result[stretch] = _excursions(world[stretch], fps) | _stretched_limbs(world[stretch])
    return result


def _excursions(
    world: Float32[np.ndarray, "frames 33 3"], fps: float
) -> Bool[np.ndarray, "frames 33"]:
    steps = np.diff(world, axis=0) * fps
    speed = np.linalg.norm(steps, axis=-1)
    result = np.zeros(world.shape[:2], bool)
    for length in range(1, max(1, round(MAX_GLITCH_S * fps)) + 1):
        n = len(speed) - length
        if n < 1:
            break
        into, out = speed[:n], speed[length:]
        across = np.linalg.norm(world[length + 1 :] - world[:n], axis=-1) * fps / (length + 1)
        impossible = (np.minimum(into, out) > MAX_SPEED) & (across < MAX_SPEED)
        if length == 1:
            turn = np.einsum("fjc,fjc->fj", steps[:n], steps[length:])
            impossible |= (np.minimum(into, out) > MAX_REVERSAL_SPEED) & (turn < -0.7 * into * out)
        for offset in range(1, length + 1):
            result[offset : offset + n] |= impossible
    return result


def _stretched_limbs(world: Float32[np.ndarray, "frames 33 3"]) -> Bool[np.ndarray, "frames 33"]:
    """Far ends of limbs whose length differs, in one frame, from both neighbours' and usual."""
    result = np.zeros(world.shape[:2], bool)
    if len(world) < 3:
        return result
    for near, far in LIMBS:
        length = np.linalg.norm(world[:, far] - world[:, near], axis=-1)
        allowed = LIMB_TOLERANCE * np.median(length)
        inner = length[1:-1]
        around = np.stack([length[:-2], length[2:], np.full_like(inner, np.median(length))])
        wrong = (np.abs(inner - around) > allowed).all(axis=0) & (
            np.abs(length[2:] - length[:-2]) < allowed
        )
        result[1:-1, far] |= wrong
    return result


def _runs(mask: Bool[np.ndarray, " frames"]) -> Iterator[slice]:
    """Stretches of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        yield slice(int(begin), int(end))


def _short_gaps(detected: Bool[np.ndarray, " frames"], longest: int) -> Bool[np.ndarray, " frames"]:
    """Absences of at most ``longest`` frames with the dancer before and after."""
    result = np.zeros_like(detected)
    for gap in _runs(~detected):
        inside = gap.start > 0 and gap.stop < len(detected)
        if inside and gap.stop - gap.start <= longest:
            result[gap] = True
    return result


def _fill(
    values: Float32[np.ndarray, "frames landmarks channels"], valid: Valid
) -> Float32[np.ndarray, "frames landmarks channels"]:
    """Replace what is not valid by a monotone cubic through what is; ends are held.

    References:
        Fritsch & Butland, "A Method for Constructing Local Monotone Piecewise Cubic
        Interpolants", 1984.
    """
    from scipy.interpolate import PchipInterpolator

    filled = values.copy()
    frames = np.arange(len(values))
    for joint in range(values.shape[1]):
        good = np.flatnonzero(valid[:, joint])
        bad = np.flatnonzero(~valid[:, joint])
        if not len(bad):
            continue
        if len(good) == 1:
            filled[:, joint] = values[good[0], joint]
            continue
        curve = PchipInterpolator(good, values[good, joint].astype(float))
        filled[bad, joint] = curve(np.clip(frames[bad], good[0], good[-1]))
    return filled


def _smooth(
    values: Float32[np.ndarray, "frames 33 3"], present: Bool[np.ndarray, " frames"], fps: float
) -> Float32[np.ndarray, "frames 33 3"]:
    """Local quartics, symmetric in time: no delay, flat to 4 Hz, -3 dB near 7 Hz."""
    from scipy.signal import savgol_filter

    window = round(SMOOTHING_S * fps) | 1
    order = 4
    smooth = values.copy()
    for stretch in _runs(present):
        if window > order + 1 and stretch.stop - stretch.start >= window:
            smooth[stretch] = savgol_filter(values[stretch], window, order, axis=0)
    return smooth


def hold(
    values: Float32[np.ndarray, "frames 33 3"], present: Bool[np.ndarray, " frames"]
) -> Float32[np.ndarray, "frames 33 3"]:
    """Repeat the last present frame where absent; before the first, the first.

    Without any present frame, the first is repeated.
    """
    last = np.maximum.accumulate(np.where(present, np.arange(len(present)), -1))
    return values[np.where(last < 0, np.argmax(present), last)]
