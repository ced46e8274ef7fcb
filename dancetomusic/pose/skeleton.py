"""A body of constant bones: directions in, landmarks out, and back.

What a generator says of a pose are directions; lengths are the body's own, so that no limb can
grow. A pose is separated from where the dancer faces: directions are those of a body that
faces the camera, and the heading is a path of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Float32
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.pose.landmarks import LANDMARK, SWAPPED
from dancetomusic.types import N_LANDMARKS

HEADING_S = 0.2
"""Standard deviation of the window over which a heading is read."""

N_FACE = LANDMARK["left_shoulder"]
"""Landmarks of the head, which is rigid; they come first."""


def _of(side: str, *names: str) -> list[int]:
    return [LANDMARK[f"{side}_{name}"] for name in names]


_CHAIN = (("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "pinky"), ("wrist", "index"),
          ("wrist", "thumb"), ("hip", "knee"), ("knee", "ankle"), ("ankle", "heel"),
          ("ankle", "foot_index"))  # fmt: skip
_HIPS, _SPINE, _SHOULDERS, _NECK = range(4)
N_BONES = 4 + 2 * len(_CHAIN)
N_DIRECTIONS = N_BONES + 2
"""Bones, and two that turn the head: from ear to ear, and to the nose."""

SHOWN_JOINTS = (LANDMARK["nose"], *range(N_FACE, N_LANDMARKS))
"""Landmarks that a critic sees: the body, with one point for the head."""


def _matrices() -> tuple[np.ndarray, np.ndarray]:
    """What makes landmarks from bone vectors, and bone vectors and the head's from landmarks."""
    build = np.zeros((N_LANDMARKS, N_BONES), np.float32)
    read = np.zeros((N_DIRECTIONS, N_LANDMARKS), np.float32)
    for sign, side in ((0.5, "left"), (-0.5, "right")):
        hip, shoulder, ear = _of(side, "hip", "shoulder", "ear")
        build[hip, _HIPS] = sign
        build[shoulder, [_SPINE, _SHOULDERS]] = 1.0, sign
        read[_HIPS, hip] = read[_SHOULDERS, shoulder] = read[N_BONES, ear] = 2 * sign
        read[_SPINE, [shoulder, hip]] = 0.5, -0.5
        read[_NECK, [ear, shoulder]] = 0.5, -0.5
        read[N_BONES + 1, ear] = -0.5
    read[N_BONES + 1, LANDMARK["nose"]] = 1.0
    build[:N_FACE, [_SPINE, _NECK]] = 1.0
    bone = _NECK + 1
    for side in ("left", "right"):
        for names in _CHAIN:
            near, far = _of(side, *names)
            build[far] = build[near]
            build[far, bone] = 1.0
            read[bone, [far, near]] = 1.0, -1.0
            bone += 1
    return build, read


_BUILD, _READ = _matrices()


class Skeleton(nn.Module):
    """Forward kinematics of one body; its measures are buffers, kept in checkpoints."""

    build: Tensor
    lengths: Tensor
    face: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("build", torch.from_numpy(_BUILD), persistent=False)
        self.register_buffer("lengths", torch.full((N_BONES,), 0.2))
        self.register_buffer("face", torch.zeros(N_FACE, 3))

    def measure(self, worlds: Iterable[Float32[np.ndarray, "_ 33 3"]]) -> None:
        """Take the mean body of some dances, made symmetric."""
        lengths, faces = [], []
        for world in worlds:
            vectors = _READ @ world
            lengths.append(np.linalg.norm(vectors[:, :N_BONES], axis=-1))
            axes = _head_axes(torch.from_numpy(vectors)).numpy()
            from_ears = world[:, :N_FACE] - world[:, _of("left", "ear") + _of("right", "ear")].mean(
                axis=1, keepdims=True
            )
            faces.append(np.einsum("tij,tpj->tpi", axes, from_ears))
        length = np.concatenate(lengths).mean(axis=0)
        sides = length[_NECK + 1 :].reshape(2, -1).mean(axis=0)
        length[_NECK + 1 :] = np.tile(sides, 2)
        face = np.concatenate(faces).mean(axis=0)
        mirrored = face[SWAPPED[:N_FACE]] * np.array([-1, 1, 1], np.float32)
        self.lengths.copy_(torch.from_numpy(length))
        self.face.copy_(torch.from_numpy((face + mirrored) / 2))

    def forward(self, directions: Float[Tensor, "*frames 24 3"]) -> Float[Tensor, "*frames 33 3"]:
        """Landmarks in metres, hip-centred, of directions of unit length."""
        bones = directions[..., :N_BONES, :] * self.lengths[:, None]
        world = self.build @ bones
        head = self.face @ _head_axes(directions)
        return torch.cat([world[..., :N_FACE, :] + head, world[..., N_FACE:, :]], dim=-2)


def directions_of(world: Float[Tensor, "*frames 33 3"]) -> Float[Tensor, "*frames 24 3"]:
    """Unit directions of the bones and the head of landmarks."""
    vectors = torch.from_numpy(_READ).to(world.device) @ world
    return functional.normalize(vectors, dim=-1, eps=1e-6)


def heading_of(
    world: Float[np.ndarray, "*batch frames 33 3"], fps: float
) -> Float[np.ndarray, "*batch frames"]:
    """Where the trunk faces, in radians without jumps: 0 to the camera, positive to its left.

    The mean of hips and shoulders, smoothed over ``HEADING_S``.
    """
    across = (_READ[[_HIPS, _SHOULDERS]] @ world).sum(axis=-2)
    angle = np.unwrap(np.arctan2(across[..., 2], across[..., 0]), axis=-1)
    return gaussian_filter1d(angle, HEADING_S * fps, axis=-1, mode="nearest")


def face_camera(
    world: Float[Tensor, "*frames 33 3"], heading: Float[Tensor, "*frames"]
) -> Float[Tensor, "*frames 33 3"]:
    """The same poses seen from in front."""
    return turn_by(world, -heading)


def facing_camera(
    world: Float32[np.ndarray, "frames 33 3"], fps: float
) -> Float32[np.ndarray, "frames 33 3"]:
    """The poses of a dance seen from in front, each turned by its own heading."""
    heading = torch.from_numpy(heading_of(world, fps)).float()
    return face_camera(torch.from_numpy(world), heading).numpy()


def turn_by(
    world: Float[Tensor, "*frames 33 3"], heading: Float[Tensor, "*frames"]
) -> Float[Tensor, "*frames 33 3"]:
    """Poses turned about the vertical axis, so that those that face the camera have a heading."""
    c, s = heading.cos()[..., None], heading.sin()[..., None]
    x, y, z = world.unbind(-1)
    return torch.stack([c * x - s * z, y, s * x + c * z], dim=-1)


def _head_axes(directions: Float[Tensor, "*frames 24 3"]) -> Float[Tensor, "*frames 3 3"]:
    """Rows: from ear to ear, down, and ahead; at right angles (Gram-Schmidt)."""
    across = functional.normalize(directions[..., N_BONES, :], dim=-1, eps=1e-6)
    ahead = directions[..., N_BONES + 1, :]
    ahead = ahead - (ahead * across).sum(-1, keepdim=True) * across
    ahead = functional.normalize(ahead, dim=-1, eps=1e-6)
    return torch.stack([across, torch.linalg.cross(ahead, across), ahead], dim=-2)
