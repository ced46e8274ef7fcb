"""The training task of the motiongram sampler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float32
from torch import Tensor
from torch.nn import functional

from dancetomusic.codec.registry import load_codec
from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.errors import CheckpointError
from dancetomusic.models.motion_vae.network import DiagonalGaussian, MotionVae, MotionVaeConfig
from dancetomusic.models.motion_vae.training_data import (
    MotionVaeTrainingConfig,
    SegmentBatch,
    open_crops,
)
from dancetomusic.models.registry import TrainingEntry
from dancetomusic.released import locate_checkpoint
from dancetomusic.training.dataset import to_device
from dancetomusic.training.loop import run_training
from dancetomusic.training.losses import with_total
from dancetomusic.training.task import TrainingTask, scheduled_adamw


class MotionVaeTask(TrainingTask):
    """Trains a ``MotionVae`` on dances beside music.

    What is rendered and encoded is kept in ``output``.

    Raises:
        InputError: If data is missing, malformed or shorter than a crop.
        CheckpointError: If there is no such codec, or it is not the embedded one.
        DependencyError: If music is to be rendered and FluidSynth is missing.
    """

    config: MotionVaeTrainingConfig

    def __init__(self, config: MotionVaeTrainingConfig, output: Path, device: torch.device) -> None:
        self.config, self.device = config, device
        codec = load_codec(config.codec)
        if not isinstance(codec, SpectralCodec):
            raise CheckpointError(
                f"{config.codec} is not the embedded codec", "Name one that train.py wrote."
            )
        self.codec = codec
        sizes = codec.model.config
        self.model = MotionVae(
            MotionVaeConfig(
                codec_id=codec.identity,
                frame_rate=codec.frame_rate,
                n_codebooks=codec.n_codebooks,
                codebook_size=sizes.codebook_size,
                code_channels=sizes.encoder_channels,
                segment_s=config.segment_s,
                n_columns=config.n_columns,
            )
        ).to(device)
        if config.start_from is not None:
            take_over(self.model, config.start_from)
        self.data, self.held_out = open_crops(config, output, codec, self.model.config)
        codec.to(str(device))
        self.modules = {"model": self.model}
        self.optimizers = {"model": scheduled_adamw(self.model.parameters(), config, (0.9, 0.98))}

    def losses(self, optimizer: str, batch: SegmentBatch, step: int) -> dict[str, Tensor]:
        """Codes and level from the latent points of one side, KL divergences in their space."""
        return self._losses(batch, batch.by_sound)

    def _losses(self, batch: SegmentBatch, by_sound: Bool[Tensor, " batch"]) -> dict[str, Tensor]:
        config, model = self.config, self.model
        # Three posteriors q(z | sound), q(z | motiongram), q(z | poses); one is chosen for each
        # sample and z is drawn from it by the reparameterisation.
        with torch.no_grad():
            latent = self.codec.model.quantizer.decode(batch.codes)
        sound = model.encode_sound(latent, batch.level)
        grams = model.encode_movement("motiongram", batch.motiongram)
        joints = model.encode_movement("poses", batch.poses)
        moved = [_choose(batch.by_poses, a, b) for a, b in zip(joints, grams, strict=True)]
        chosen = DiagonalGaussian(
            *(_choose(by_sound, a, b) for a, b in zip(sound, moved, strict=True))
        )
        points = chosen.sample(batch.noise)
        # Reconstruction of codes (cross-entropy where they are loud enough), level and movement.
        played = model.decode(points, batch.beats, batch.codes)
        logits = played.logits.permute(0, 3, 1, 2)
        entropy = functional.cross_entropy(logits, batch.codes, reduction="none")
        loud = batch.audible[:, None].float()
        # KL divergence of the sound's posterior from both of movement, and of all from N(0, 1).
        shared = kl_divergence(sound, grams) + kl_divergence(sound, joints)
        prior = kl_divergence(sound) + kl_divergence(grams) + kl_divergence(joints)
        terms = {
            "codes": (entropy * loud).sum() / loud.sum().clamp(min=1) / entropy.shape[1],
            "level": config.level_weight * functional.smooth_l1_loss(played.level, batch.level),
            "movement": config.movement_weight
            * (model.decode_movement(points) - batch.motiongram).square().mean(),
            "shared": config.shared_weight * shared / 2,
            "prior": config.prior_weight * prior / 3,
        }
        return with_total(terms)

    def validate(self) -> dict[str, float]:
        """Codes and level of held-out dances and instruments, from the movement alone."""
        batch = to_device(self.held_out.fixed_batch(2 * len(self.held_out.views)), self.device)
        terms = self._losses(batch, torch.zeros_like(batch.by_sound))
        found = {name: float(terms[name]) for name in ("codes", "level", "movement")}
        return {"loss": found["codes"] + found["level"], **found}

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the sampler."""
        self.model.save_pretrained(directory, metadata)


def take_over(model: MotionVae, checkpoint: str) -> None:
    """Copy the weights of another sampler that have the same shapes.

    Raises:
        CheckpointError: If it is missing, corrupted or holds another model.
    """
    own = model.state_dict()
    others = MotionVae.from_pretrained(locate_checkpoint(checkpoint)).state_dict()
    same = {name: each for name, each in others.items() if own[name].shape == each.shape}
    model.load_state_dict({**own, **same})


def kl_divergence(
    one: DiagonalGaussian, other: DiagonalGaussian | None = None
) -> Float32[Tensor, ""]:
    """KL(one ‖ other) of diagonal Gaussians, the other by default a standard one.

    Summed over axes, mean over segments, in nats.
    """
    mean, deviation = one.mean, one.log_deviation
    zeros = torch.zeros_like(mean)
    to_mean, to_deviation = (zeros, zeros) if other is None else other
    ratio = (2 * (deviation - to_deviation)).exp()
    apart = (mean - to_mean).square() * (-2 * to_deviation).exp()
    return (0.5 * (ratio + apart - 1) - deviation + to_deviation).sum(-1).mean()


def _choose(first: Bool[Tensor, " batch"], a: Tensor, b: Tensor) -> Tensor:
    return torch.where(first[:, None, None], a, b)


def train_motion_vae(config: MotionVaeTrainingConfig, output: Path | str) -> None:
    """Train a sampler, or resume a stopped run; write it as a ``motion_vae`` checkpoint.

    Raises:
        DanceToMusicError: See ``MotionVaeTask`` and ``run_training``.
    """
    run_training(
        lambda context: MotionVaeTask(config, Path(output), context.device), config, output
    )


ON_SET = {
    "dances": None,
    "n_procedural": 0,
    "start_from": "motion_vae",
    "max_steps": 300,
    "learning_rate": 5e-4,
    "validate_every": 50,
}
"""On a set of clips: the released sampler is trained further, on nothing else."""

TRAINING = TrainingEntry(MotionVaeTrainingConfig, train_motion_vae, on_set=ON_SET)
