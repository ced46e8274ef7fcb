"""The recipe of the embedded codec: all of it on spectral losses, then its decoder for texture.

The second stage freezes encoder and books, so codes stay valid, and adds a discriminator:
spectral losses alone smooth noise into a buzz at the hop rate.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.codec.spectral import SpectralCodec, SpectralCodecConfig, SpectralCodecModel
from dancetomusic.errors import ConfigError, InputError
from dancetomusic.models.registry import TrainingTask
from dancetomusic.synthesis.corpus import CorpusConfig, load_or_render
from dancetomusic.training.data_hash import hash_arrays
from dancetomusic.training.distributed import World
from dancetomusic.training.logger import Board
from dancetomusic.training.loop import Group, LoopConfig, Recipe, run_recipe
from dancetomusic.training.losses import MelLoss
from dancetomusic.types import Waveform

COMMITMENT_WEIGHT = 0.25
PLACING_BATCHES = 16
RAMP_STEPS = 300
VALIDATION_PLACES = 16
BESIDE = 2**31
"""Places from here on are no examples of a batch, but whatever else is drawn at a step."""


@dataclass(frozen=True)
class CodecTrainingConfig(LoopConfig):
    """How the codec is trained."""

    grooves: str = "../shared/data/groove"
    """Directory of the Groove MIDI Dataset."""
    codec: SpectralCodecConfig = field(default_factory=SpectralCodecConfig)
    corpus: CorpusConfig = field(
        default_factory=lambda: CorpusConfig(n_pieces=300, harmony_share=0.4)
    )
    validation: CorpusConfig = field(
        default_factory=lambda: CorpusConfig(
            n_pieces=8, seconds=10.0, harmony_share=0.4, seed=2, held_out=True
        )
    )
    first_stage: str | None = None
    """Checkpoint of a finished first stage, in place of training one."""
    max_steps: int = 6000
    """Steps of the first stage."""
    decoder_steps: int = 2000
    """Steps of the second stage."""
    batch_size: int = 10
    crop_s: float = 0.8
    learning_rate: float = 2e-3
    decoder_learning_rate: float = 5e-4
    codebook_start: int = 150
    """Step at which the books are placed by k-means."""
    perceptual_weight: float = 1.0
    """Of the distance of mel spectra."""
    adversarial_weight: float = 0.03
    """Of the discriminators in the second stage; more gives rougher noise and a worse spectrum."""
    buzz_weight: float = 1.0
    """Of the periodicity at the hop rate, in the second stage."""
    log_every: int = 100
    validate_every: int = 500
    save_every: int = 500
    keep_best: bool = False
    """The second stage trades spectral distance for texture: its last weights are the best."""
    bf16: bool | None = False
    """Spectra need float32."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decoder_steps < 1 or self.codebook_start < 0 or not self.crop_s > 0:
            raise ConfigError("a length is out of range", "Give steps ≥ 1 and crop_s > 0.")
        weights = (self.perceptual_weight, self.adversarial_weight, self.buzz_weight)
        if not min(weights) >= 0:
            raise ConfigError(f"a weight is negative in {weights}", "Give 0 or more.")


@dataclass(frozen=True)
class SoundBatch:
    """Crops of rendered music, and the number of their first frames.

    Attributes:
        samples: Each with its own gain and tone.
        first_frame: Where each is taken to begin; the phase noise of the decoder depends on it.
    """

    samples: Float32[Tensor, "batch samples"]
    first_frame: Int64[Tensor, " batch"]


def hop_periodicity(
    samples: Float32[Tensor, "batch samples"], sample_rate: int, hop_length: int
) -> Float32[Tensor, "batch lags"]:
    """Autocorrelation above 2 kHz at one and two hops, in [-1, 1]: the buzz of smoothed noise."""
    spectrum = torch.fft.rfft(samples)
    spectrum[:, : round(2000 / sample_rate * samples.shape[1])] = 0
    high = torch.fft.irfft(spectrum, samples.shape[1])
    power = high.square().sum(1) + 1e-4
    lags = (hop_length, 2 * hop_length)
    return torch.stack([(high[:, lag:] * high[:, :-lag]).sum(1) / power for lag in lags], dim=1)


class SpectrumDiscriminator(nn.Module):
    """One-dimensional convolutions over a complex spectrum whose bins are channels."""

    window: Tensor

    def __init__(self, n_fft: int, channels: int = 192) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft))
        widths = [n_fft + 2, channels, channels, channels]
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.weight_norm(nn.Conv1d(i, o, 5, padding=2))
            for i, o in pairwise(widths)
        )
        self.score = nn.Conv1d(channels, 1, 3, padding=1)

    def forward(self, samples: Float32[Tensor, "batch samples"]) -> list[Tensor]:
        """Hidden activations and, last, the score."""
        spectrum = torch.stft(
            samples, self.n_fft, self.n_fft // 4, window=self.window, return_complex=True
        )
        compressed = spectrum * (spectrum.abs() + 1e-3).pow(-0.7)
        hidden = torch.cat([compressed.real, compressed.imag], dim=1)
        activations = []
        for layer in self.layers:
            hidden = functional.leaky_relu(layer(hidden), 0.1)
            activations.append(hidden)
        return [*activations, self.score(hidden)]


class CodecRecipe(Recipe):
    """What both stages share: crops of a rendered corpus, and spectral validation.

    Args:
        config: The settings of this stage.
        model: What is trained, on its device.
        output: Where the corpora are kept.

    Raises:
        InputError: If there are no grooves, or a piece is shorter than a crop.
        DependencyError: If music is to be rendered and FluidSynth is missing.
    """

    config: CodecTrainingConfig
    stage: int

    def __init__(
        self, config: CodecTrainingConfig, model: SpectralCodecModel, output: Path
    ) -> None:
        self.config, self.model = config, model
        self.device = next(model.parameters()).device
        if config.crop_s >= min(config.corpus.seconds, config.validation.seconds):
            raise InputError(
                f"crops of {config.crop_s:g} s are longer than the pieces",
                "Shorten crop_s or lengthen the pieces.",
            )
        self.corpus = load_or_render(config.corpus, config.grooves, output / "corpus")
        self.held_out = load_or_render(config.validation, config.grooves, output / "validation")
        self.spectral = MelLoss(config.codec.sample_rate).to(self.device)
        first = [times for times in self.corpus.beat_times]
        self.data_hash = hash_arrays([*first, self.corpus.samples[0], self.corpus.samples[-1]])
        seconds = config.corpus.n_pieces * config.corpus.seconds
        self.epoch_size = max(1, round(seconds / config.crop_s))

    def batch(self, step: int, places: range) -> SoundBatch:
        """Random crops, each with its own gain and tone."""
        return self._crops(self.corpus.samples, [self.rng(step, place) for place in places])

    def _crops(self, pieces: np.ndarray, rngs: list[np.random.Generator]) -> SoundBatch:
        config = self.config
        length = round(config.crop_s * config.codec.sample_rate)
        crops, gains, knots, frames = [], [], [], []
        for rng in rngs:
            piece = pieces[rng.integers(len(pieces))]
            start = int(rng.integers(piece.size - length))
            crops.append(piece[start : start + length].astype(np.float32) / 32768)
            gains.append(10 ** (rng.uniform(-12, 4) / 20))
            knots.append(rng.uniform(-8, 8, 6) * (rng.random() < 0.5))
            frames.append(rng.integers(SpectralCodecModel.NOISE_FRAMES))
        samples = torch.from_numpy(np.stack(crops))
        toned = _tone(samples, torch.from_numpy(np.stack(knots).astype(np.float32)))
        gain = torch.from_numpy(np.array(gains, np.float32))
        return SoundBatch(toned * gain[:, None], torch.from_numpy(np.array(frames)))

    def validate(self) -> dict[str, float]:
        """Spectral distance on held-out music through two books, and how many codes are used."""
        rngs = [np.random.default_rng([0, place]) for place in range(VALIDATION_PLACES)]
        batch = self._crops(self.held_out.samples, rngs)
        samples = batch.samples.to(self.device)
        codes = self.model.encode(samples, min(2, self.config.codec.n_codebooks))
        estimate = self.model.decode(codes)[:, : samples.shape[1]]
        used = {f"perplexity_{n}": _perplexity(book) for n, book in enumerate(codes.unbind(1))}
        return {"loss": float(self.spectral(estimate, samples)), **used}

    def show(self, board: Board, step: int) -> dict[str, float]:
        """Five seconds of held-out music through two books, to hear."""
        rate = self.config.codec.sample_rate
        piece = self.held_out.samples[0][None, : 5 * rate].astype(np.float32) / 32768
        samples = torch.from_numpy(piece).to(self.device)
        codes = self.model.encode(samples, min(2, self.config.codec.n_codebooks))
        sound = Waveform(self.model.decode(codes).cpu().numpy(), rate)
        board.sound("through_codec", sound, self.held_out.beat_times[0], step)
        return {}

    @abstractmethod
    def losses(self, group: str, batch: SoundBatch, step: int) -> dict[str, Tensor]:
        """See ``Recipe``."""

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the codec."""
        held = SpectralCodecModel(self.config.codec)
        held.load_state_dict(self.model.state_dict())
        SpectralCodec(held).save_pretrained(directory, {"stage": self.stage, **metadata})


class WholeCodecRecipe(CodecRecipe):
    """The first stage: encoder, books and decoder on spectral losses."""

    stage = 1

    def __init__(self, config: CodecTrainingConfig, output: Path, world: World) -> None:
        super().__init__(config, SpectralCodecModel(config.codec).to(world.device), output)
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, betas=(0.8, 0.99),
            weight_decay=config.weight_decay,
        )  # fmt: skip
        self.modules = {"codec": self.model}
        self.groups = {"codec": Group(optimizer, config.learning_rate, clip_norm=config.clip_norm)}
        self.generator = torch.Generator()

    def begin(self, step: int) -> None:
        """Place the books when it is time."""
        self.generator.manual_seed(int(self.rng(step, BESIDE).integers(2**62)))
        if step == self.config.codebook_start:
            count = PLACING_BATCHES * self.config.batch_size
            places = range(BESIDE + 1, BESIDE + 1 + count)
            with torch.no_grad():
                latents = [
                    self.model.encode_latent(self.batch(step, part).samples.to(self.device))
                    for part in _parts(places, self.config.batch_size)
                ]
                self.model.quantizer.start_from(torch.cat(latents), self.generator)

    def losses(self, group: str, batch: SoundBatch, step: int) -> dict[str, Tensor]:
        """Spectral distance, and how far the latent is from the books."""
        quantizer = self.model.quantizer
        latent = self.model.encode_latent(batch.samples)
        if step < self.config.codebook_start:
            quantized, commitment = quantizer.unquantized(latent), latent.new_zeros(())
        else:
            rng = self.rng(step, BESIDE)
            books = int(rng.choice([1, 2, 3, 4], p=[0.1, 0.65, 0.1, 0.15]))
            quantized, commitment, _ = quantizer(
                latent, min(books, self.config.codec.n_codebooks), self.generator
            )
        estimate = self.model.decode_latent(quantized, batch.first_frame)
        estimate = estimate[:, : batch.samples.shape[1]]
        terms = {
            "spectral": self.config.perceptual_weight * self.spectral(estimate, batch.samples),
            "commitment": COMMITMENT_WEIGHT * commitment,
        }
        return {"total": torch.stack(list(terms.values())).sum(), **terms}


class CodecDecoderRecipe(CodecRecipe):
    """The second stage: the decoder alone, also against discriminators and the buzz."""

    stage = 2

    def __init__(
        self, config: CodecTrainingConfig, first: Path, output: Path, world: World
    ) -> None:
        model = SpectralCodec.from_pretrained(first).model.to(world.device)
        super().__init__(replace(config, codec=model.config), model, output)
        self.critics = nn.ModuleList(SpectrumDiscriminator(n) for n in (512, 1024))
        self.critics.to(world.device)
        trained = nn.ModuleList([model.expand, model.decoder, model.norm, model.head])
        trained.requires_grad_(True)
        self.modules = {"codec": model, "critics": self.critics}
        rate, decay = config.learning_rate, config.weight_decay
        decoder, critics = (
            torch.optim.AdamW(part.parameters(), lr=rate, betas=betas, weight_decay=decay)
            for part, betas in ((trained, (0.8, 0.99)), (self.critics, (0.5, 0.9)))
        )
        self.groups = {
            "critic": Group(critics, rate, clip_norm=0.0),
            "decoder": Group(decoder, rate, clip_norm=config.clip_norm),
        }

    def losses(self, group: str, batch: SoundBatch, step: int) -> dict[str, Tensor]:
        """What the discriminators, or the decoder, are to lower."""
        if group == "critic":
            with torch.no_grad():
                estimate = self._estimate(batch, step)
            scores = [(critic(batch.samples)[-1], critic(estimate)[-1]) for critic in self.critics]
            hinge = [
                functional.relu(1 - real).mean() + functional.relu(1 + fake).mean()
                for real, fake in scores
            ]
            return {"total": torch.stack(hinge).sum()}
        config = self.config
        estimate = self._estimate(batch, step)
        sizes = config.codec.sample_rate, config.codec.hop_length
        ours, theirs = (hop_periodicity(x, *sizes) for x in (estimate, batch.samples))
        ramp = min(1.0, step / RAMP_STEPS)
        terms = {
            "spectral": config.perceptual_weight * self.spectral(estimate, batch.samples),
            "buzz": config.buzz_weight * (ours - theirs).abs().mean(),
        }
        if config.adversarial_weight:
            adversarial = self._adversarial(estimate, batch.samples)
            terms["adversarial"] = config.adversarial_weight * ramp * adversarial
        return {"total": torch.stack(list(terms.values())).sum(), **terms}

    def _estimate(self, batch: SoundBatch, step: int) -> Float32[Tensor, "batch samples"]:
        books = int(self.rng(step, BESIDE).choice([2, 2, 2, 4]))
        with torch.no_grad():
            codes = self.model.encode(batch.samples, min(books, self.config.codec.n_codebooks))
            latent = self.model.quantizer.decode(codes)
        return self.model.decode_latent(latent, batch.first_frame)[:, : batch.samples.shape[1]]

    def _adversarial(
        self, estimate: Float32[Tensor, "batch samples"], samples: Float32[Tensor, "batch samples"]
    ) -> Float32[Tensor, ""]:
        """What the discriminators say, and how their hidden activations differ."""
        total = samples.new_zeros(())
        for critic in self.critics:
            *fake, score = critic(estimate)
            with torch.no_grad():
                *real, _ = critic(samples)
            matching = [
                (f - r).abs().mean() / (r.abs().mean() + 1e-3)
                for f, r in zip(fake, real, strict=True)
            ]
            total = total - score.mean() + torch.stack(matching).sum()
        return total


def _parts(places: range, size: int) -> list[range]:
    return [places[start : start + size] for start in range(0, len(places), size)]


def _tone(
    samples: Float32[Tensor, "batch samples"], knots: Float32[Tensor, "batch knots"]
) -> Float32[Tensor, "batch samples"]:
    """Each sound through a smooth equaliser with these gains, in dB, at even octaves."""
    length = samples.shape[1]
    octaves = torch.linspace(0, 1, length // 2 + 1).add(1e-3).log2().clamp(-7) / 7 + 1
    curve = functional.interpolate(knots[:, None], 256, mode="linear", align_corners=True)[:, 0]
    gains = 10 ** (curve[:, (octaves * 255).long().clamp(0, 255)] / 20)
    return torch.fft.irfft(torch.fft.rfft(samples) * gains, length)


def _perplexity(codes: Int64[Tensor, "batch frames"]) -> float:
    """How many codes would be used as evenly as these are."""
    share = torch.bincount(codes.flatten()).float() / codes.numel()
    share = share[share > 0]
    return float(torch.exp(-(share * share.log()).sum()))


def train_codec(config: CodecTrainingConfig, output: Path | str) -> SpectralCodec:
    """Train the codec on rendered grooves, the first stage in ``stage1`` of ``output``.

    Either stage goes on where it was stopped; the discriminators do, too.

    Raises:
        DanceToMusicError: See ``CodecRecipe`` and ``run_recipe``.
    """
    directory = Path(output)
    first = directory / "stage1" if config.first_stage is None else Path(config.first_stage)
    if config.first_stage is None:
        run_recipe(lambda world: WholeCodecRecipe(config, directory, world), config, first)
    second = replace(
        config,
        max_steps=config.decoder_steps,
        learning_rate=config.decoder_learning_rate,
        epochs=None,
    )
    run_recipe(lambda world: CodecDecoderRecipe(second, first, directory, world), second, directory)
    return SpectralCodec.from_pretrained(directory)


TASK = TrainingTask(CodecTrainingConfig, train_codec)
