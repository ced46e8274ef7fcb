"""The training task of Pose2Audio: a token decoder on a trained codec and pose encoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dancetomusic.codec.base import Codec
from dancetomusic.codec.registry import load_codec
from dancetomusic.codec.soft import SoftDecoder
from dancetomusic.errors import CheckpointError
from dancetomusic.models.beat_network.audio_beats import track_audio_beats
from dancetomusic.models.encoders import open_encoder
from dancetomusic.models.pose2audio.losses import (
    Adversary,
    PerceptualLoss,
    codebook_losses,
    scheduled_logits,
)
from dancetomusic.models.pose2audio.network import Pose2Audio, Pose2AudioConfig
from dancetomusic.models.pose2audio.preparation import clip_seconds
from dancetomusic.models.pose2audio.score_condition import roll_of_notes
from dancetomusic.models.pose2audio.token_decoder import TokenDecoder, TokenDecoderConfig
from dancetomusic.models.pose2audio.training_config import Pose2AudioTrainingConfig
from dancetomusic.models.pose2audio.training_data import CodeBatch, MusicWindows, open_windows
from dancetomusic.models.pose_encoder.losses import rhythm_terms
from dancetomusic.models.pose_encoder.network import PoseEncoder
from dancetomusic.models.registry import TrainingEntry
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.released import locate_checkpoint
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
ON_SET = {
    "grooves": None,
    "paired_share": 1.0,
    "window_s": None,
    "start_from": "pose2audio",
    "pose_memory": True,
    "max_steps": 1000,
    "learning_rate": 3e-4,
    "warmup_steps": 50,
    "ema_decay": 0.99,
}
"""On a set of clips: the released model is trained further, on nothing else."""


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
        if config.window_s is None:
            assert config.clips is not None
            config = replace(config, window_s=clip_seconds(config.clips))
        self.config, self.device = config, context.device
        self.codec = load_codec(config.codec, config.n_codebooks)
        encoder, self.encoder_metadata = open_encoder(config.pose_encoder)
        self.encoder = PoseEncoder(replace(encoder.config, frame_rate=self.codec.frame_rate))
        self.encoder.load_state_dict(encoder.state_dict())
        self.encoder.eval().requires_grad_(False)
        self.decoder, started = make_decoder(config, self.codec, encoder.config.channels)
        self.data, self.held_out, notes = open_windows(
            config, output, context, self.codec, self.encoder, self.decoder.config
        )
        self.notes = (*started, *notes)
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
                style=batch.style, unconditional=batch.unconditional, score=batch.score,
            )  # fmt: skip

        return scheduled_logits(logits_of, batch.codes, self.config.teacher_forcing_ratio), terms

    def validate(self) -> dict[str, float]:
        """Losses on held-out music, the same windows each time; ``loss`` is of the first kind.

        Of music whose score is known, those without it are ``without_score``.
        """
        metrics: dict[str, float] = {}
        for kind, windows in self.held_out.items():
            for suffix in ("", "without_score") if kind else ("",):
                name = "_".join(filter(None, (kind, suffix)))
                losses = self._losses_on(windows, with_score=not suffix)
                metrics.setdefault("loss", float(losses.mean()))
                metrics |= {
                    "_".join(filter(None, (name, book))): float(loss)
                    for book, loss in _named(losses).items()
                }
        return metrics

    def _losses_on(self, windows: MusicWindows, *, with_score: bool) -> Float[Tensor, " codebooks"]:
        found = []
        for number in range(VALIDATION_BATCHES):
            batch = windows.batch(number, range(self.config.batch_size))
            batch = to_device(batch, self.device)
            logits = self.decoder(
                batch.codes, batch.rhythm, batch.memory, batch.memory_mask, style=batch.style,
                score=batch.score if with_score else None,
            )  # fmt: skip
            found.append(codebook_losses(logits, batch.codes))
        return torch.stack(found).mean(0)

    def log_samples(self, logger: Logger, step: int) -> dict[str, float]:
        """Play on rhythm and score of a held-out piece, and track the beats of what is played."""
        frames = round(self.config.shown_s * self.codec.frame_rate)
        item = next(iter(self.held_out.values())).music[0]
        rhythm = item.rhythm[:frames]
        score = None
        if self.decoder.config.score:
            score = roll_of_notes(item.notes, self.codec.frame_rate, len(rhythm)).to(self.device)
        generator = torch.Generator(self.device).manual_seed(self.config.seed)
        codes = self.decoder.generate(
            torch.from_numpy(rhythm)[None].to(self.device),
            score=score,
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
        codec = self.config.codec
        if Path(codec).exists():
            codec = str(Path(codec).resolve())
        model = Pose2Audio(
            Pose2AudioConfig(self.encoder.config, self.decoder.config, self.codec.identity, codec)
        )
        model.encoder.load_state_dict(self.encoder.state_dict())
        model.decoder.load_state_dict(self.decoder.state_dict())
        model.save_pretrained(directory, {**metadata, "pose_encoder": self.encoder_metadata})


def _named(losses: Float[Tensor, " codebooks"]) -> dict[str, Tensor]:
    return {f"book_{number}": loss for number, loss in enumerate(losses)}


def make_decoder(
    config: Pose2AudioTrainingConfig, codec: Codec, memory_dim: int
) -> tuple[TokenDecoder, tuple[str, ...]]:
    """A new decoder, with the weights of ``start_from`` if it is given.

    Returns:
        The decoder, and what is to be said of how it begins.

    Raises:
        CheckpointError: If those are of another shape.
    """
    start = None
    if config.start_from is not None:
        start = Pose2Audio.from_pretrained(locate_checkpoint(config.start_from))
    styles = config.styles
    if styles is None:
        styles = start.config.decoder.styles if start else ()
    assert config.window_s is not None
    decoder = TokenDecoder(
        TokenDecoderConfig(
            rhythm_features=len(RHYTHM_FEATURES),
            memory_dim=memory_dim if config.pose_memory else 0,
            n_codebooks=config.n_codebooks,
            codebook_size=codec.codebook_size,
            d_model=config.d_model,
            n_layers=config.n_layers,
            n_heads=config.n_heads,
            memory_layers=config.memory_layers,
            causal=config.causal,
            dropout=config.dropout,
            frame_rate=codec.frame_rate,
            styles=styles,
            window_s=config.window_s,
            score=bool(config.scores.n_pieces),
        )
    )
    if start is None:
        return decoder, ()
    own = start.config.codec_id == codec.identity
    shared = min(config.n_codebooks, start.config.decoder.n_codebooks) if own else 0
    take_weights(decoder, start.decoder, str(config.start_from), shared)
    if shared == config.n_codebooks:
        return decoder, (f"training starts from {config.start_from}",)
    other = "number of codebooks" if own else "codec"
    note = f"training starts from {config.start_from}, which has another {other}: its layers are "
    return decoder, (f"{note}taken, and codes are embedded and predicted by new weights",)


def take_weights(
    decoder: TokenDecoder, start: TokenDecoder, origin: str, shared_codebooks: int
) -> None:
    """Start with the weights of a trained decoder.

    Of more layers than are needed, evenly spaced ones are taken; memory layers that are not
    needed are left out, and a table of other styles is initialised, as are what a decoder without
    score lacks, and the embedding and the output of codes from codebook ``shared_codebooks`` on.

    Raises:
        CheckpointError: If it has fewer layers or another width.
    """
    ours, theirs = decoder.config, start.config
    rows_of_codes = {
        "embedding.weight": shared_codebooks * (ours.codebook_size + 1),
        "heads.weight": shared_codebooks * ours.codebook_size,
    }
    spaced = np.linspace(0, theirs.n_layers - 1, ours.n_layers).round().astype(int)
    sources = {f"blocks.{n}.": f"blocks.{layer}." for n, layer in enumerate(spaced)}
    held = start.state_dict()
    taken = {}
    for name, tensor in decoder.state_dict().items():
        if name.startswith("styles.") and ours.styles != theirs.styles:
            continue
        if name.startswith("score.") and not theirs.score:
            continue
        prefix = ".".join(name.split(".")[:2]) + "."
        source = held.get(name.replace(prefix, sources.get(prefix, prefix), 1), tensor[:0])
        if name in rows_of_codes and source.shape[1:] == tensor.shape[1:]:
            rows = rows_of_codes[name]
            source = torch.cat([source[:rows], tensor[rows:]])
        if ours.n_layers > theirs.n_layers or source.shape != tensor.shape:
            raise CheckpointError(
                f"the decoder of {origin} has another shape",
                "Give its d_model and n_heads, and at most its n_layers.",
            )
        taken[name] = source
    decoder.load_state_dict(taken, strict=False)


def train_pose2audio(config: Pose2AudioTrainingConfig, output: Path | str) -> Pose2Audio:
    """Train Pose2Audio on top of a trained codec and pose encoder; write its checkpoint.

    Raises:
        DanceToMusicError: See ``Pose2AudioTask`` and ``run_training``.
    """
    run_training(lambda context: Pose2AudioTask(config, Path(output), context), config, output)
    return Pose2Audio.from_pretrained(output)


TRAINING = TrainingEntry(Pose2AudioTrainingConfig, train_pose2audio, ON_SET)
