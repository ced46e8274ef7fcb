"""The template of ``movement_tempo.py``, fitted to dances of every kind together.

A multinomial logistic regression with 41 weights: which of 63 tempi is danced, given how movement
comes back at lags relative to each. It is convex, so the same crops give the same template.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from dancetomusic.data.augment import PoseAugmentConfig, vary_pose
from dancetomusic.data.dance import Dance, fully_visible
from dancetomusic.data.street import StreetClip
from dancetomusic.data.wild import ONE_COUPLE, WildClip, trusted_clips
from dancetomusic.errors import InputError
from dancetomusic.models.pose_encoder.losses import TEMPO_SPREAD_OCTAVES
from dancetomusic.models.pose_encoder.movement_tempo import N_TAPS, repetition, template_taps
from dancetomusic.models.pose_encoder.training_data import procedural_sources
from dancetomusic.rhythm.beats import TEMPI_BPM
from dancetomusic.types import PoseSequence

WILD, STREET, BALLROOM, PROCEDURAL = "wild", "street", "ballroom", "procedural"
SHARES: Mapping[str, float] = {WILD: 0.4, STREET: 0.2, BALLROOM: 0.2, PROCEDURAL: 0.2}
"""Weight of each kind of dance; within a kind every group weighs the same."""

RIDGE, SMOOTHNESS = 3e-3, 1e-2
"""Half of these times the squares of the weights, and of their steps, is added to the loss."""

CROP_S = (5.0, 16.0)
WHOLE_S = 20.0
CROPS = (8, 4)
"""Crops of a real clip, and of one of many of the same couple."""

N_PROCEDURAL, PROCEDURAL_S, PROCEDURAL_SEED = 160, 25.0, 5
FOLDS = 8


@dataclass(frozen=True)
class TempoSource:
    """A dance with a known tempo.

    Attributes:
        kind: One of ``SHARES``.
        group: What is held out together in cross-validation; names its kind first.
        crops: How many crops are taken: the first is of the dance as it is, others are varied.
    """

    poses: PoseSequence
    bpm: float
    kind: str
    group: str
    crops: int


@dataclass(frozen=True)
class TempoExamples:
    """Crops to fit a template to.

    Attributes:
        likeness: What ``models.movement_tempo.repetition`` gives for each.
        weight: Of each in the loss; they sum to 1.
    """

    likeness: Float[np.ndarray, "crops lags"]
    bpm: Float[np.ndarray, " crops"]
    weight: Float[np.ndarray, " crops"]
    group: tuple[str, ...]

    def without(self, groups: frozenset[str]) -> TempoExamples:
        """The crops of all other groups, in their order."""
        kept = np.array([group not in groups for group in self.group], bool)
        return TempoExamples(
            self.likeness[kept],
            self.bpm[kept],
            self.weight[kept] / self.weight[kept].sum(),
            tuple(group for group, keep in zip(self.group, kept, strict=True) if keep),
        )


def tempo_sources(
    wild: Sequence[WildClip] = (),
    street: Sequence[StreetClip] = (),
    dances: Sequence[Dance] = (),
    *,
    n_procedural: int = N_PROCEDURAL,
) -> list[TempoSource]:
    """Dances with a tempo: trusted real clips, street fragments, ballroom, procedural dancers."""
    sources = [
        TempoSource(clip.poses, clip.bpm, WILD, wild_group(clip), CROPS[clip.group == ONE_COUPLE])
        for clip in trusted_clips(wild)
        if clip.poses is not None
    ]
    sources += [
        TempoSource(street_poses(clip), clip.bpm, STREET, street_group(clip), 8) for clip in street
    ]
    sources += [
        TempoSource(dance.poses, dance.bpm, BALLROOM, f"{BALLROOM}:{dance.genre}", 10)
        for dance in dances
    ]
    if n_procedural:
        sources += [
            TempoSource(
                item.poses,
                float(60.0 / np.median(np.diff(item.beat_times))),
                PROCEDURAL,
                PROCEDURAL,
                2,
            )
            for item in procedural_sources(n_procedural, PROCEDURAL_S, PROCEDURAL_SEED)
        ]
    return sources


def wild_group(clip: WildClip) -> str:
    """What a real clip is held out with."""
    return f"{WILD}:{clip.group}"


def street_group(clip: StreetClip) -> str:
    """What a street fragment is held out with: its genre, or others without one."""
    return f"{STREET}:{clip.genre}"


def street_poses(clip: StreetClip) -> PoseSequence:
    """The dancer of a fragment, with depth left out where it was not measured."""
    if not clip.flat:
        return clip.poses
    world = clip.poses.world.copy()
    world[..., 2] = 0.0
    return PoseSequence(world, clip.poses.present, clip.poses.visibility, clip.poses.fps)


def make_examples(sources: Sequence[TempoSource], seed: int = 0) -> TempoExamples:
    """Crops of every source: one as it is, the others seen from elsewhere by a poor detector.

    Raises:
        InputError: If there is no source.
    """
    if not sources:
        raise InputError("there is no dance to fit a tempo to", "Name a folder of dances.")
    settings = PoseAugmentConfig()
    rng = np.random.default_rng(seed)
    likeness, bpm, group, kind = [], [], [], []
    for source in sources:
        for number in range(source.crops):
            poses = source.poses
            longest = WHOLE_S if number == 0 else float(rng.uniform(*CROP_S))
            length = min(len(poses), round(longest * poses.fps))
            first = int(rng.integers(len(poses) - length + 1))
            world = poses.world[first : first + length]
            present = poses.present[first : first + length]
            if number > 0:
                world, seen = vary_pose(world, poses.fps, settings, rng)
                present = present & seen
            likeness.append(repetition([fully_visible(world, poses.fps, present)]))
            bpm.append(source.bpm)
            group.append(source.group)
            kind.append(source.kind)
    return TempoExamples(
        np.stack(likeness), np.array(bpm), _balanced_weights(kind, group), tuple(group)
    )


def fit_template(examples: TempoExamples) -> Float[np.ndarray, " knots"]:
    """Weights that make the true tempo of each crop likeliest among all."""
    taps = template_taps()
    inputs = np.stack(
        [np.lib.stride_tricks.sliding_window_view(x, N_TAPS) @ taps for x in examples.likeness]
    )
    octaves = np.log2(TEMPI_BPM / examples.bpm[:, None]) / TEMPO_SPREAD_OCTAVES
    target = np.exp(-0.5 * octaves**2)
    target /= target.sum(axis=1, keepdims=True)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Weighted cross-entropy with the two penalties, and its gradient."""
        logits = inputs @ weights
        normaliser = np.logaddexp.reduce(logits, axis=1)
        missed = normaliser - (target * logits).sum(axis=1)
        steps = np.diff(weights)
        value = examples.weight @ missed
        value += 0.5 * RIDGE * weights @ weights + 0.5 * SMOOTHNESS * steps @ steps
        surplus = np.exp(logits - normaliser[:, None]) - target
        slope = np.einsum("n,nt,ntk->k", examples.weight, surplus, inputs) + RIDGE * weights
        slope[1:] += SMOOTHNESS * steps
        slope[:-1] -= SMOOTHNESS * steps
        return float(value), slope

    start = np.zeros(taps.shape[1])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    template: Float[np.ndarray, " knots"] = found.x
    return template


def fold_of_groups(groups: Sequence[str], n_folds: int = FOLDS, seed: int = 1) -> dict[str, int]:
    """Deal the groups of every kind out to folds at random, so that each kind is in each fold."""
    rng = np.random.default_rng(seed)
    fold: dict[str, int] = {}
    for kind in sorted({group.split(":")[0] for group in groups} - {PROCEDURAL}):
        own = [group for group in sorted(set(groups)) if group.split(":")[0] == kind]
        order = [own[index] for index in rng.permutation(len(own))]
        fold |= dict(zip(order, islice(cycle(range(n_folds)), len(order)), strict=True))
    return fold


def held_out_templates(
    examples: TempoExamples,
    n_folds: int = FOLDS,
    seed: int = 1,
    fit: Callable[[TempoExamples], Float[np.ndarray, " knots"]] = fit_template,
) -> dict[str, Float[np.ndarray, " knots"]]:
    """For each group the template that was fitted without it."""
    folds = fold_of_groups(examples.group, n_folds, seed)
    templates: dict[str, Float[np.ndarray, " knots"]] = {}
    for number in range(n_folds):
        out = frozenset(group for group, fold in folds.items() if fold == number)
        if out:
            template = fit(examples.without(out))
            templates |= dict.fromkeys(out, template)
    return templates


def _balanced_weights(kind: Sequence[str], group: Sequence[str]) -> Float[np.ndarray, " crops"]:
    """Weights by ``SHARES``, the same for every group of a kind and every crop of a group."""
    groups = {
        name: len({g for g, k in zip(group, kind, strict=True) if k == name}) for name in kind
    }
    weight = np.array(
        [SHARES[k] / groups[k] / group.count(g) for g, k in zip(group, kind, strict=True)]
    )
    return weight / weight.sum()
