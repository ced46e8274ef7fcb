"""Small grey pictures of a dancer, drawn flat: cheap enough to draw each training crop anew.

What ``synthesis.scene`` renders in three dimensions is here a polygon and some thick lines, with
the same camera. Camera, clothes, body, background and noise differ from stretch to stretch.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int, UInt8

from dancetomusic.pose.floor import follow, walk
from dancetomusic.synthesis.scene import Camera, project

GRAINS = 16
"""Different pictures of noise in a stretch."""

_FRACTION_BITS = 4  # of a pixel, in OpenCV's coordinates
_PARTS = ("skin", "hair", "shirt", "trousers", "shoes")
# (landmark, landmark, thickness in metres, colour); 33 is the chest, 34 the middle of the head.
_LIMBS = (
    (33, 34, 0.11, "skin"),
    *((a + side, b + side, width, part) for side in (0, 1) for a, b, width, part in (
        (11, 13, 0.11, "shirt"), (13, 15, 0.075, "skin"), (15, 19, 0.07, "skin"),
        (23, 25, 0.15, "trousers"), (25, 27, 0.11, "trousers"), (29, 31, 0.09, "shoes"),
    )),
)  # fmt: skip
_TORSO = (11, 12, 24, 23)
_CHEST, _HEAD = 33, 34
_HEAD_M = 0.21


def draw_thumbnails(
    world: Float32[np.ndarray, "frames 33 3"],
    fps: float,
    rng: np.random.Generator,
    *,
    side: int = 64,
) -> UInt8[np.ndarray, "frames side side"]:
    """One picture a frame, squeezed to a square as ``data.dance_sound.read_pictures`` does.

    ``rng`` chooses all that has nothing to do with the movement.
    """
    room = follow(walk(world), fps)
    points = np.concatenate(
        [room, room[:, 11:13].mean(1, keepdims=True), room[:, 7:9].mean(1, keepdims=True)], axis=1
    )
    camera, aspect = _random_camera(rng)
    at = project(points, camera, width=round(side * aspect), height=side) * side
    at += rng.uniform(-0.12, 0.12, 2) * side
    pixels = np.clip(at * 2**_FRACTION_BITS, -(2**20), 2**20).round().astype(np.int32)
    distance = np.linalg.norm(points - _place(camera), axis=-1)
    # Of the picture's height, then of its narrower width: the mean keeps lines of one thickness.
    metre = side / (2 * np.tan(np.radians(camera.view_angle_deg) / 2)) / np.median(distance)
    metre *= (1 + 1 / aspect) / 2
    girth = metre * rng.uniform(0.8, 1.3)
    greys = dict(zip(_PARTS, rng.uniform(0, 255, len(_PARTS)).tolist(), strict=True))
    pictures = np.repeat(_random_backdrop(rng, side)[None], len(world), axis=0)
    grains = (rng.standard_normal((GRAINS, side, side)) * rng.uniform(0, 4)).astype(np.int16)
    order = rng.integers(GRAINS, size=len(world))
    for number, picture in enumerate(pictures):
        _draw(picture, pixels[number], distance[number], girth, greys)
        cv2.add(picture, grains[order[number]], dst=picture, dtype=cv2.CV_8U)
    return pictures


def _random_camera(rng: np.random.Generator) -> tuple[Camera, float]:
    """In front of a dancer of 0.4 to 1.1 times the picture's height, and the picture's aspect."""
    angle = rng.uniform(25, 60)
    camera = Camera(
        height=rng.uniform(0.4, 2.0), look_height=rng.uniform(0.75, 1.05), view_angle_deg=angle
    )
    tall = rng.uniform(0.4, 1.1)
    distance = 1.75 / tall / (2 * np.tan(np.radians(angle) / 2))
    return replace(camera, distance=float(max(distance, 1.5))), float(rng.uniform(0.56, 1.78))


def _place(camera: Camera) -> Float[np.ndarray, " 3"]:
    return np.array([0.0, -camera.height, -(camera.distance or 0.0)])


def _random_backdrop(rng: np.random.Generator, side: int) -> UInt8[np.ndarray, "side side"]:
    """Smooth patches of light and a floor, another grey than the wall."""
    coarse = rng.standard_normal((int(rng.integers(2, 12)), int(rng.integers(2, 12))))
    backdrop = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC) * rng.uniform(0, 50)
    backdrop += rng.uniform(20, 235)
    backdrop[round(side * rng.uniform(0.55, 1.0)) :] += rng.normal(0, 40)
    return backdrop.clip(0, 255).astype(np.uint8)


def _draw(
    canvas: UInt8[np.ndarray, "side side"],
    pixels: Int[np.ndarray, "35 2"],
    distance: Float[np.ndarray, " 35"],
    metre: float,
    greys: dict[str, float],
) -> None:
    """Draw a figure onto a picture, what is far before what is near."""
    parts = [(distance[a] + distance[b], a, b, width, part) for a, b, width, part in _LIMBS]
    parts += [
        (distance[list(_TORSO)].mean() * 2, *_TORSO[:2], 0.1, "shirt"),
        (2 * distance[_HEAD], _HEAD, _HEAD, _HEAD_M, "hair"),
    ]
    for _, a, b, width, part in sorted(parts, reverse=True):
        thickness, grey = max(1, round(width * metre)), greys[part]
        if (a, b) == _TORSO[:2]:
            torso = pixels[list(_TORSO)]
            cv2.fillConvexPoly(canvas, cv2.convexHull(torso), grey, cv2.LINE_AA, _FRACTION_BITS)
        start, end = pixels[a].tolist(), pixels[b].tolist()
        cv2.line(canvas, start, end, grey, thickness, cv2.LINE_AA, _FRACTION_BITS)
