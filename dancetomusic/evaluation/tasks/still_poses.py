"""Score still poses that are made beside real ones and beside poses that are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from dancetomusic.data.tang2018 import load_dances
from dancetomusic.evaluation.report import Cell, cell_text, table, write_report
from dancetomusic.metrics.bootstrap import bootstrap_score
from dancetomusic.metrics.dance_features import diversity
from dancetomusic.metrics.frechet import frechet_distance
from dancetomusic.models.dance_gan.generation import still_poses
from dancetomusic.models.dance_gan.network import DanceGenerator
from dancetomusic.pose.landmarks import LANDMARK
from dancetomusic.pose.skeleton import directions_of, facing_camera

STRIDE = 6
"""Real poses are a quarter of a second apart."""

PARTS = 12
"""Made poses are resampled in as many groups, as real ones are by dance."""

COLUMNS = ("Fréchet distance", "diversity", "head above feet")
NOTE = """\
Poses face the camera. Fréchet distance is that of the unit directions of 24 bones to those of the
dances held out; diversity is the mean distance of two poses in that space; the last column is the
share of poses whose head is higher than both feet. Intervals are bootstrapped over dances, of made
poses over groups."""


def evaluate_still_poses(
    model: DanceGenerator, data: Path | str, output: Path | str, *, count: int = 1200
) -> str:
    """Write ``poses.md`` and ``poses.json`` into a folder; gives the page.

    They are compared with those of the split ``val``; the mean pose is that of ``train``, and so is
    a row of real poses.

    Raises:
        InputError: If the folder has no such split.
        OutputError: If the folder cannot be written.
    """
    held_out, known = _real_poses(data, "val"), _real_poses(data, "train")
    rng = np.random.default_rng(0)
    made = still_poses(model, count, seed=0)
    mean = np.concatenate(known).mean(axis=0, keepdims=True).repeat(count, axis=0)
    noise = rng.normal(0.0, 0.3, (count, 33, 3)).astype(np.float32)
    rows = {
        "**made**": np.array_split(made, PARTS),
        "real poses of other dances": known,
        "mean pose": np.array_split(mean, PARTS),
        "noise": np.array_split(noise, PARTS),
    }
    real = np.concatenate([_directions(world) for world in held_out])
    cells = {name: _scores(worlds, real) for name, worlds in rows.items()}
    cells["real poses held out"] = _scores(held_out, real)
    lines = [NOTE, ""]
    lines += table(
        ["", *COLUMNS], [[name, *(cell_text(c) for c in row)] for name, row in cells.items()]
    )
    page = "\n".join(lines) + "\n"
    values = {name: {c: cell.mean for c, cell in zip(COLUMNS, row, strict=True)}
              for name, row in cells.items()}  # fmt: skip
    write_report(Path(output) / "poses.md", page, values)
    return page


def _scores(worlds: list[np.ndarray], real: Float[np.ndarray, "poses features"]) -> list[Cell]:
    parts = [_directions(world) for world in worlds]
    upright = [_upright(world) for world in worlds]
    cells = []
    for score, groups in (
        (lambda made: frechet_distance(real, made), parts),
        (_diversity, parts),
        (lambda share: float(share.mean()), upright),
    ):
        cells.append(Cell(*bootstrap_score(score, groups, 100), len(groups)))
    return cells


def _real_poses(data: Path | str, split: str) -> list[np.ndarray]:
    """Poses of each dance of a split, ``STRIDE`` frames apart, facing the camera."""
    dances = [dance.poses for dance in load_dances(data, split=split, qualities=("A", "B"))]
    return [facing_camera(poses.world[::STRIDE], poses.fps / STRIDE) for poses in dances]


def _directions(world: np.ndarray) -> Float[np.ndarray, "poses features"]:
    return directions_of(torch.from_numpy(world)).flatten(1).double().numpy()


def _diversity(directions: Float[np.ndarray, "poses features"]) -> float:
    """Of 1,000 poses at most."""
    return diversity(directions[:: -(-len(directions) // 1000)])


def _upright(world: np.ndarray) -> np.ndarray:
    feet = world[:, [LANDMARK["left_ankle"], LANDMARK["right_ankle"]], 1].min(axis=1)
    return world[:, LANDMARK["nose"], 1] < feet
