"""The training tasks of the embedded codec: all of it on spectral losses, then its decoder.

The second stage freezes encoder and codebooks, so codes stay valid, and adds discriminators:
spectral losses alone smooth noise into a buzz at the hop rate.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from dancetomusic.codec.spectral import SpectralCodec, SpectralCodecModel
from dancetomusic.errors import ConfigError
from dancetomusic.metrics.audio_distance import perplexity
from dancetomusic.models.registry import TrainingEntry
from dancetomusic.models.spectral_codec.losses import (
    PeriodDiscriminator,
    SpectrumDiscriminator,
    adversarial_losses,
    hinge_loss,
    hop_periodicity,
)
from dancetomusic.models.spectral_codec.training_data import (
    CodecTrainingConfig,
    CorpusCrops,
    SoundBatch,
    require_length,
)
from dancetomusic.synthesis.score_pieces import ScoreCorpusConfig
from dancetomusic.training.distributed import DistributedContext
from dancetomusic.training.logger import Logger
from dancetomusic.training.loop import run_training
from dancetomusic.training.losses import MelLoss, with_total
from dancetomusic.training.task import TrainingTask, scheduled_adamw
from dancetomusic.types import Waveform

COMMITMENT_WEIGHT = 0.25
INITIAL_BATCHES = 16
"""Batches from which the codebooks are initialised."""

RAMP_STEPS = 300
VALIDATION_SAMPLES = 16
STEP_INDEX = 2**31
"""Sample indices from here on are beyond any batch: whatever else is random at a step."""


class CodecTask(TrainingTask):
    """What both stages share: crops of a rendered corpus, and spectral validation.

    The corpora are kept in ``output``.

    Raises:
        InputError: If there are no grooves, or a piece is no longer than a crop.
        DependencyError: If music is to be rendered and FluidSynth is missing.
    """

    config: CodecTrainingConfig
    stage: int

    def __init__(
        self, config: CodecTrainingConfig, model: SpectralCodecModel, output: Path
    ) -> None:
        self.config, self.model = config, model
        self.device = next(model.parameters()).device
        require_length(config)
        self.data = CorpusCrops(config, config.corpus, config.scores, output / "corpus")
        none = ScoreCorpusConfig()
        self.held_out = CorpusCrops(config, config.validation, none, output / "validation")
        self.spectral = MelLoss(config.codec.sample_rate).to(self.device)

    def n_codebooks(self, most: int) -> int:
        """At most as many codebooks as the codec has."""
        return min(most, self.config.codec.n_codebooks)

    def validate(self) -> dict[str, float]:
        """Spectral distance on held-out music through two codebooks, and their perplexity."""
        samples = self.held_out.fixed_batch(VALIDATION_SAMPLES).samples.to(self.device)
        codes = self.model.encode(samples, self.n_codebooks(2))
        estimate = self.model.decode(codes)[:, : samples.shape[1]]
        books = codes.transpose(0, 1).flatten(1).cpu().numpy()
        used = enumerate(perplexity(books, self.config.codec.codebook_size))
        return {
            "loss": float(self.spectral(estimate, samples)),
            **{f"perplexity_{n}": float(value) for n, value in used},
        }

    def log_samples(self, logger: Logger, step: int) -> dict[str, float]:
        """Five seconds of held-out music through two codebooks."""
        rate, corpus = self.config.codec.sample_rate, self.held_out.corpus
        piece = corpus.samples[0][None, : 5 * rate].astype(np.float32) / 32768
        samples = torch.from_numpy(piece).to(self.device)
        codes = self.model.encode(samples, self.n_codebooks(2))
        sound = Waveform(self.model.decode(codes).cpu().numpy(), rate)
        logger.audio("through_codec", sound, corpus.beat_times[0], step)
        return {}

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the codec."""
        self.model.save_pretrained(directory, {"stage": self.stage, **metadata})


class WholeCodecTask(CodecTask):
    """The first stage: encoder, codebooks and decoder on spectral losses."""

    stage = 1

    def __init__(
        self, config: CodecTrainingConfig, output: Path, context: DistributedContext
    ) -> None:
        super().__init__(config, SpectralCodecModel(config.codec).to(context.device), output)
        self.modules = {"codec": self.model}
        self.optimizers = {"codec": scheduled_adamw(self.model.parameters(), config, (0.8, 0.99))}
        self.generator = torch.Generator()

    def begin(self, step: int) -> None:
        """Initialise the codebooks when it is time."""
        self.generator.manual_seed(int(self.data.rng(step, STEP_INDEX).integers(2**62)))
        if step == self.config.codebook_start:
            size = self.config.batch_size
            first = STEP_INDEX + 1
            with torch.no_grad():
                latents = [
                    self.model.encode_latent(
                        self.data.batch(step, range(start, start + size)).samples.to(self.device)
                    )
                    for start in range(first, first + INITIAL_BATCHES * size, size)
                ]
                self.model.quantizer.start_from(torch.cat(latents), self.generator)

    def losses(self, optimizer: str, batch: SoundBatch, step: int) -> dict[str, Tensor]:
        """Spectral distance, and the distance of the latent from the codebooks."""
        quantizer = self.model.quantizer
        latent = self.model.encode_latent(batch.samples)
        if step < self.config.codebook_start:
            quantized, commitment = quantizer.unquantized(latent), latent.new_zeros(())
        else:
            rng = self.data.rng(step, STEP_INDEX)
            count = self.n_codebooks(int(rng.choice([1, 2, 3, 4], p=[0.1, 0.65, 0.1, 0.15])))
            quantized, commitment, _ = quantizer(latent, count, self.generator)
        estimate = self.model.decode_latent(quantized, batch.first_frame)
        estimate = estimate[:, : batch.samples.shape[1]]
        terms = {
            "spectral": self.config.perceptual_weight * self.spectral(estimate, batch.samples),
            "commitment": COMMITMENT_WEIGHT * commitment,
        }
        return with_total(terms)


class CodecDecoderTask(CodecTask):
    """The second stage: the decoder alone, also against discriminators and the buzz.

    ``first`` is the checkpoint of the first stage.
    """

    stage = 2

    def __init__(
        self, config: CodecTrainingConfig, first: Path, output: Path, context: DistributedContext
    ) -> None:
        model = SpectralCodec.from_pretrained(first).model
        model = with_fine_band(model, config.fine_from_bin)
        model = with_gains(model, config.n_gains).to(context.device)
        super().__init__(replace(config, codec=model.config), model, output)
        self.critics = nn.ModuleList(SpectrumDiscriminator(n) for n in (512, 2048))
        # At the codec's own hop, the last sees the buzz at its rate.
        self.critics += [PeriodDiscriminator(n) for n in (3, 7, model.config.hop_length)]
        self.critics.to(context.device)
        trained = nn.ModuleList([model.expand, model.decoder, model.norm, model.head])
        trained.requires_grad_(True)
        self.modules = {"codec": model, "critics": self.critics}
        self.optimizers = {
            "critic": scheduled_adamw(self.critics.parameters(), config, (0.5, 0.9), clip_norm=0.0),
            "decoder": scheduled_adamw(trained.parameters(), config, (0.8, 0.99)),
        }

    def losses(self, optimizer: str, batch: SoundBatch, step: int) -> dict[str, Tensor]:
        """Losses of the discriminators, or of the decoder."""
        if optimizer == "critic":
            with torch.no_grad():
                estimate = self._estimate(batch, step)
            return {"total": hinge_loss(list(self.critics), batch.samples, estimate)}
        config = self.config
        estimate = self._estimate(batch, step)
        sizes = config.codec.sample_rate, config.codec.hop_length
        ours, theirs = (hop_periodicity(x, *sizes) for x in (estimate, batch.samples))
        terms = {
            "spectral": config.perceptual_weight * self.spectral(estimate, batch.samples),
            "buzz": config.buzz_weight * (ours - theirs).abs().mean(),
        }
        if config.adversarial_weight or config.matching_weight:
            ramp = min(1.0, step / RAMP_STEPS)
            critics = list(self.critics)
            score, distance = adversarial_losses(critics, batch.samples, estimate)
            terms["adversarial"] = ramp * config.adversarial_weight * score
            terms["matching"] = ramp * config.matching_weight * distance
        return with_total(terms)

    def _estimate(self, batch: SoundBatch, step: int) -> Float32[Tensor, "batch samples"]:
        """The sounds through two or four codebooks; the gradient reaches the decoder alone."""
        count = self.n_codebooks(int(self.data.rng(step, STEP_INDEX).choice([2, 4])))
        with torch.no_grad():
            latent = self.model.quantizer.decode(self.model.encode(batch.samples, count))
        return self.model.decode_latent(latent, batch.first_frame)[:, : batch.samples.shape[1]]


def with_fine_band(model: SpectralCodecModel, fine_from_bin: int) -> SpectralCodecModel:
    """The codec with a fine band, as the codec sounds without one; itself if it has this band.

    Raises:
        ConfigError: If the codec has another fine band.
    """
    config = replace(model.config, fine_from_bin=fine_from_bin)
    if config == model.config:
        return model
    if model.config.fine_from_bin:
        raise ConfigError(
            f"the codec's fine_from_bin is {model.config.fine_from_bin}", "Give the same."
        )
    finer = SpectralCodecModel(config)
    coarse, fine = config.bands
    bins = config.n_fft // 2 + 1
    weight, bias = model.head.weight, model.head.bias
    low = torch.arange(coarse.high)
    rows, biases = [weight[low], weight[bins + low]], [bias[low], bias[bins + low]]
    high = 2 * torch.arange(fine.low, fine.high)
    hz = high * config.sample_rate / config.n_fft
    noisy = ((hz - 2000) / 1500).clamp(0, 1) * config.phase_noise
    gates = (finer.gate_shares @ noisy) / finer.gate_shares.sum(1).clamp(min=1)
    for frame in range(fine.per_code):
        # Half the window: half the height of a tone, and its phase as far on as it begins later.
        late = coarse.lead - fine.lead + frame * fine.hop_length
        rows += [weight[high], weight[bins + high], weight.new_zeros(len(gates), weight.shape[1])]
        biases += [
            bias[high] - math.log(2),
            bias[bins + high] + 2 * math.pi * high / config.n_fft * late,
            torch.logit(gates.clamp(0.02, 0.98)),
        ]
    held = model.state_dict() | {"head.weight": torch.cat(rows), "head.bias": torch.cat(biases)}
    finer.load_state_dict(held)
    return finer


def with_gains(model: SpectralCodecModel, n_gains: int) -> SpectralCodecModel:
    """The codec with gains within its fine frames, as it sounds without; itself if it has them.

    Raises:
        ConfigError: If the codec has others, or no fine band.
    """
    config = replace(model.config, n_gains=n_gains)
    if config == model.config:
        return model
    if model.config.n_gains or not model.config.fine_from_bin:
        raise ConfigError(
            f"the codec's n_gains is {model.config.n_gains}", "Give the same, and a fine band."
        )
    coarse, fine = model.config.bands
    held = model.state_dict()
    for name in ("head.weight", "head.bias"):
        rows = held[name].split([2 * coarse.bins, *[sum(model.outputs_of(fine))] * fine.per_code])
        none = rows[0].new_zeros(n_gains, *rows[0].shape[1:])
        held[name] = torch.cat([rows[0], *(part for row in rows[1:] for part in (row, none))])
    richer = SpectralCodecModel(config)
    richer.load_state_dict(held)
    return richer


def train_codec(config: CodecTrainingConfig, output: Path | str) -> SpectralCodec:
    """Train the codec on rendered grooves, the first stage in ``stage1`` of ``output``.

    Either stage resumes where it was stopped, with its discriminators.

    Raises:
        DanceToMusicError: See ``CodecTask`` and ``run_training``.
    """
    directory = Path(output)
    first = directory / "stage1" if config.first_stage is None else Path(config.first_stage)
    if config.first_stage is None:
        run_training(lambda context: WholeCodecTask(config, directory, context), config, first)
    second = replace(
        config,
        max_steps=config.decoder_steps,
        learning_rate=config.decoder_learning_rate,
        epochs=None,
    )
    run_training(
        lambda context: CodecDecoderTask(second, first, directory, context), second, directory
    )
    return SpectralCodec.from_pretrained(directory)


TRAINING = TrainingEntry(CodecTrainingConfig, train_codec)
