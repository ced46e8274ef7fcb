"""The training task of Pose2Audio: a token decoder on a trained codec and pose encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dancetomusic.checkpoint import load_checkpoint, load_into
from dancetomusic.codec.base import Codec
from dancetomusic.codec.registry import load_codec
from dancetomusic.codec.soft import SoftDecoder
from dancetomusic.config import config_from_dict
from dancetomusic.errors import CheckpointError
from dancetomusic.models.beat_network.audio_beats import track_audio_beats
from dancetomusic.models.pose2audio.losses import (
    Adversary,
    PerceptualLoss,
    codebook_losses,
    scheduled_logits,
)
from dancetomusic.models.pose2audio.network import Pose2Audio, Pose2AudioConfig
from dancetomusic.models.pose2audio.token_decoder import TokenDecoder, TokenDecoderConfig
from dancetomusic.models.pose2audio.training_data import (
    CodeBatch,
    Pose2AudioTrainingConfig,
    open_windows,
)
from dancetomusic.models.pose_encoder.losses import rhythm_terms
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoderConfig
from dancetomusic.models.registry import TrainingEntry
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.rhythm.features import RHYTHM_FEATURES
from dancetomusic.training.beat_scores import beat_scores
from dancetomusic.training.dataset import to_device
from dancetomusic.training.distributed import DistributedContext
from dancetomusic.training.logger import Logger
from dancetomusic.training.loop import run_training
from dancetomusic.training.losses import with_total
from dancetomusic.training.task import ScheduledOptimizer, TrainingTask, scheduled_adamw
from dancetomusic.types import POSE_FPS, CodeSequence

VALIDATION_BATCHES = 4


class Pose2AudioTask(TrainingTask):
    """Trains a ``TokenDecoder``.

    Args:
        config: The settings.
        output: The run's directory; what is rendered and encoded is kept there.
        context: The processes that train together.

    Raises:
        InputError: If data is missing, malformed, of another codec or shorter than a window.
        CheckpointError: If a checkpoint is missing, of another schema, or does not fit.
        DependencyError: If music is to be rendered and FluidSynth is missing.
    """

    config: Pose2AudioTrainingConfig

    def __init__(
        self, config: Pose2AudioTrainingConfig, output: Path, context: DistributedContext
    ) -> None:
        self.config, self.device = config, context.device
        self.codec = load_codec(config.codec, config.n_codebooks)
        held = load_checkpoint(config.pose_encoder, model="pose_encoder")
        self.encoder = PoseEncoder(config_from_dict(PoseEncoderConfig, held.config))
        load_into(self.encoder, held, config.pose_encoder)
        self.encoder.eval().requires_grad_(False)
        self.encoder_metadata = held.metadata
        self.decoder = make_decoder(config, self.codec, self.encoder.config.channels)
        self.data, self.held_out = open_windows(
            config, output, context, self.codec, self.encoder, held.sha256, self.decoder.config
        )
        self.decoder.to(self.device)
        self.modules: dict[str, nn.Module] = {"decoder": self.decoder}
        self.optimizers: dict[str, ScheduledOptimizer] = {}
        self.perceptual: PerceptualLoss | None = None
        self.adversary: Adversary | None = None
        self._add_sound_losses()
        self._add_decoder_optimizer()

    def _add_sound_losses(self) -> None:
        """The losses on decoded sound and embedded codes, where they are switched on."""
        config = self.config
        if not (config.perceptual_weight or config.adversarial_weight):
            return
        loaded = load_codec(config.codec, config.n_codebooks)
        assert isinstance(loaded, SoftDecoder)
        codec = loaded.to(str(self.device))
        if config.perceptual_weight:
            self.perceptual = PerceptualLoss(codec).to(self.device)
        if config.adversarial_weight:
            self.adversary = Adversary(codec, len(RHYTHM_FEATURES))
            critic = self.modules["critic"] = self.adversary.critic.to(self.device)
            adam = torch.optim.Adam(critic.parameters(), lr=config.critic_rate, betas=(0.5, 0.9))
            self.optimizers["critic"] = ScheduledOptimizer(adam, config.critic_rate, clip_norm=0.0)

    def _add_decoder_optimizer(self) -> None:
        """Parameter groups: the decoder, its table of styles, and an encoder that is trained."""
        config = self.config
        table = [] if self.decoder.styles is None else [self.decoder.styles.weight]
        others = [w for w in self.decoder.parameters() if not any(w is style for style in table)]
        parts: list[dict[str, Any]] = [{"params": others}]
        if table:
            parts.append({"params": table, "scale": config.style_rate, "weight_decay": 0.0})
        if config.train_encoder:
            self.modules["encoder"] = self.encoder.to(self.device).requires_grad_(True)
            parts.append({"params": list(self.encoder.parameters()), "scale": config.encoder_rate})
        every = config.decoder_every if self.adversary else 1
        self.optimizers["decoder"] = scheduled_adamw(parts, config, (0.9, 0.95), every=every)

    def losses(self, optimizer: str, batch: CodeBatch, step: int) -> dict[str, Tensor]:
        """Cross-entropy of the codes, and the losses of sound, critic and rhythm if switched on."""
        config = self.config
        if optimizer == "critic":
            assert self.adversary is not None
            with torch.no_grad():
                logits = self.logits(batch)[0]
            return self.adversary.critic_losses(logits, batch.codes, batch.rhythm)
        logits, terms = self.logits(batch)
        by_codebook = codebook_losses(logits, batch.codes)
        terms["codes"] = by_codebook.mean()
        if self.perceptual is not None:
            n_frames = batch.codes.shape[2]
            length = min(n_frames, round(config.perceptual_s * self.codec.frame_rate))
            first = int(self.data.rng(step, 2**31).integers(n_frames - length + 1))
            part = slice(first, first + length)
            distance = self.perceptual(logits[:, :, part], batch.codes[:, :, part])
            terms["perceptual"] = config.perceptual_weight * distance
        if self.adversary is not None:
            loss = self.adversary.generator_loss(logits, batch.rhythm)
            terms["adversarial"] = config.adversarial_weight * loss
        return with_total(terms) | _named(by_codebook)

    def logits(self, batch: CodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits of all codes, and the losses of the encoder where it is trained."""
        memory, memory_mask = batch.memory, batch.memory_mask
        terms = {}
        if self.config.train_encoder:
            encoding = self.encoder(batch.world, batch.present)
            memory, memory_mask = encoding.memory, encoding.memory_mask
            # Rhythm losses at code frames, where the pose nearest before shows a dancer.
            frames = torch.arange(batch.rhythm.shape[1], device=self.device)
            at = (frames * (POSE_FPS / self.codec.frame_rate)).long()
            seen = batch.present[:, at.clamp(max=batch.present.shape[1] - 1)]
            columns = dict(zip(RHYTHM_FEATURES, batch.rhythm.unbind(-1), strict=True))
            found = rhythm_terms(
                encoding,
                phase=torch.stack([columns["beat_cos"], columns["beat_sin"]], dim=-1),
                beats=columns["beat_bump"],
                downbeats=columns["downbeat_bump"],
                energy=columns["energy"],
                mask=seen.float(),
            )
            terms = {name: self.config.rhythm_weight * value for name, value in found.items()}

        def logits_of(codes: Int64[Tensor, "batch codebooks frames"]) -> Tensor:
            past = codes.masked_fill(batch.hidden[:, None], self.decoder.config.empty)
            return self.decoder(
                past, batch.rhythm, memory, memory_mask,
                style=batch.style, unconditional=batch.unconditional,
            )  # fmt: skip

        return scheduled_logits(logits_of, batch.codes, self.config.teacher_forcing_ratio), terms

    def validate(self) -> dict[str, float]:
        """Loss on held-out drummers, kits and basses; the same windows each time."""
        found = []
        for number in range(VALIDATION_BATCHES):
            batch = self.held_out.batch(number, range(self.config.batch_size))
            batch = to_device(batch, self.device)
            logits = self.decoder(batch.codes, batch.rhythm, style=batch.style)
            found.append(codebook_losses(logits, batch.codes))
        losses = torch.stack(found).mean(0)
        named = {name: float(loss) for name, loss in _named(losses).items()}
        return {"loss": float(np.mean(list(named.values()))), **named}

    def log_samples(self, logger: Logger, step: int) -> dict[str, float]:
        """Play on the rhythm of a held-out piece, and track the beats of what is played."""
        frames = round(self.config.shown_s * self.codec.frame_rate)
        rhythm = self.held_out.music[0].rhythm[:frames]
        generator = torch.Generator(self.device).manual_seed(self.config.seed)
        codes = self.decoder.generate(
            torch.from_numpy(rhythm)[None].to(self.device),
            sampling=SamplingConfig(top_k=250),
            generator=generator,
        )
        sampled = CodeSequence(codes[0].cpu().numpy(), self.codec.frame_rate, self.codec.identity)
        sound = self.codec.decode(sampled)
        bump = rhythm[:, RHYTHM_FEATURES.index("beat_bump")]
        peaks = 1 + np.flatnonzero(
            (bump[1:-1] >= bump[:-2]) & (bump[1:-1] > bump[2:]) & (bump[1:-1] > 0.5)
        )
        beats = peaks / self.codec.frame_rate
        logger.audio("take", sound, beats, step)
        return beat_scores(beats, track_audio_beats(sound).beat_times)

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write encoder and decoder as one Pose2Audio checkpoint."""
        model = Pose2Audio(
            Pose2AudioConfig(self.encoder.config, self.decoder.config, self.codec.identity)
        )
        model.encoder.load_state_dict(self.encoder.state_dict())
        model.decoder.load_state_dict(self.decoder.state_dict())
        model.save_pretrained(directory, {**metadata, "pose_encoder": self.encoder_metadata})


def _named(losses: Float[Tensor, " codebooks"]) -> dict[str, Tensor]:
    return {f"book_{number}": loss for number, loss in enumerate(losses)}


def make_decoder(config: Pose2AudioTrainingConfig, codec: Codec, memory_dim: int) -> TokenDecoder:
    """A new decoder, with the weights of ``start_from`` if it is given.

    Raises:
        CheckpointError: If those are of another codec or shape.
    """
    decoder = TokenDecoder(
        TokenDecoderConfig(
            rhythm_features=len(RHYTHM_FEATURES),
            memory_dim=memory_dim,
            n_codebooks=config.n_codebooks,
            codebook_size=codec.codebook_size,
            d_model=config.d_model,
            n_layers=config.n_layers,
            n_heads=config.n_heads,
            memory_layers=config.memory_layers,
            causal=config.causal,
            dropout=config.dropout,
            frame_rate=codec.frame_rate,
            styles=config.styles,
        )
    )
    if config.start_from is not None:
        start = Pose2Audio.from_pretrained(config.start_from)
        if start.config.codec_id != codec.identity:
            raise CheckpointError(
                f"{config.start_from} writes codes of {start.config.codec_id},"
                f" not of {codec.identity}",
                "Train on its own codec, or without start_from.",
            )
        take_weights(decoder, start.decoder, config.start_from)
    return decoder


def take_weights(decoder: TokenDecoder, start: TokenDecoder, origin: str) -> None:
    """Start with the weights of a trained decoder.

    Of more layers than are needed, evenly spaced ones are taken; memory layers that are not
    needed are left out, and a table of other styles is initialised.

    Raises:
        CheckpointError: If it has fewer layers or another width.
    """
    ours, theirs = decoder.config, start.config
    spaced = np.linspace(0, theirs.n_layers - 1, ours.n_layers).round().astype(int)
    sources = {f"blocks.{n}.": f"blocks.{layer}." for n, layer in enumerate(spaced)}
    held = start.state_dict()
    taken = {}
    for name, tensor in decoder.state_dict().items():
        if name.startswith("styles.") and ours.styles != theirs.styles:
            continue
        prefix = ".".join(name.split(".")[:2]) + "."
        source = name.replace(prefix, sources.get(prefix, prefix), 1)
        if ours.n_layers > theirs.n_layers or held.get(source, tensor[:0]).shape != tensor.shape:
            raise CheckpointError(
                f"the decoder of {origin} has another shape",
                "Give its d_model, n_heads and n_codebooks, and at most its n_layers.",
            )
        taken[name] = held[source]
    decoder.load_state_dict(taken, strict=False)


def train_pose2audio(config: Pose2AudioTrainingConfig, output: Path | str) -> Pose2Audio:
    """Train Pose2Audio on top of a trained codec and pose encoder; write its checkpoint.

    Raises:
        DanceToMusicError: See ``Pose2AudioTask`` and ``run_training``.
    """
    run_training(lambda context: Pose2AudioTask(config, Path(output), context), config, output)
    return Pose2Audio.from_pretrained(output)


TRAINING = TrainingEntry(Pose2AudioTrainingConfig, train_pose2audio)
