"""Training of the embedded codec: all of it on spectral losses, then its decoder for texture.

The second stage freezes encoder and books, so codes stay valid, and adds a discriminator:
spectral losses alone smooth noise into a buzz at the hop rate.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.atomic import atomic_output
from dancetomusic.codec.spectral import (
    SpectralCodec,
    SpectralCodecConfig,
    SpectralCodecModel,
    mel_filters,
)
from dancetomusic.config import config_to_dict
from dancetomusic.synthesis.corpus import CorpusConfig, load_or_render
from dancetomusic.training.schedules import set_cosine_rate


@dataclass(frozen=True)
class CodecTrainingConfig:
    """How the codec is trained."""

    grooves: str = "../shared/data/groove"
    """Directory of the Groove MIDI Dataset."""
    codec: SpectralCodecConfig = field(default_factory=SpectralCodecConfig)
    corpus: CorpusConfig = field(
        default_factory=lambda: CorpusConfig(n_pieces=300, harmony_share=0.4)
    )
    max_steps: int = 6000
    decoder_steps: int = 2000
    """Steps of the second stage."""
    batch_size: int = 10
    crop_s: float = 0.8
    learning_rate: float = 2e-3
    decoder_learning_rate: float = 5e-4
    warmup_steps: int = 100
    codebook_start: int = 150
    """Step at which the books are placed by k-means."""
    adversarial_weight: float = 0.03
    """Of the discriminators in the second stage; more gives rougher noise and a worse spectrum."""
    buzz_weight: float = 1.0
    """Of the periodicity at the hop rate, in the second stage."""
    seed: int = 0


class MelLoss(nn.Module):
    """Distance of log-mel spectra at several resolutions, with the bass in complex values."""

    RESOLUTIONS = ((128, 20), (512, 48), (1024, 80), (2048, 128))

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.low_bins = math.ceil(300 * 2048 / sample_rate)
        for n_fft, n_mels in self.RESOLUTIONS:
            self.register_buffer(f"mel_{n_fft}", mel_filters(sample_rate, n_fft, n_mels))
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft))

    def forward(
        self, estimate: Float32[Tensor, "batch samples"], target: Float32[Tensor, "batch samples"]
    ) -> Float32[Tensor, ""]:
        """Mean over resolutions, plus the relative complex error below 300 Hz."""
        total = estimate.new_zeros(())
        both = torch.cat([estimate, target])
        for n_fft, _ in self.RESOLUTIONS:
            spectrum = torch.stft(
                both, n_fft, n_fft // 4, window=getattr(self, f"window_{n_fft}"),
                return_complex=True,
            )  # fmt: skip
            power = spectrum.real.square() + spectrum.imag.square()
            mel = getattr(self, f"mel_{n_fft}") @ (power + 1e-9).sqrt()
            ours, theirs = mel.chunk(2)
            log_distance = (torch.log(ours + 1e-3) - torch.log(theirs + 1e-3)).abs().mean()
            convergence = (ours - theirs).norm(dim=(1, 2)) / (theirs.norm(dim=(1, 2)) + 1e-2)
            total = total + log_distance + 0.5 * convergence.mean()
            if n_fft == 2048:
                ours, theirs = spectrum[:, : self.low_bins].chunk(2)
                error = (ours - theirs).abs().sum((1, 2)) / (theirs.abs().sum((1, 2)) + 1.0)
                total = total + 0.3 * error.mean()
        return total


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


class CodecTrainer:
    """Runs both stages, keeps a log, and resumes where it was stopped."""

    def __init__(self, config: CodecTrainingConfig, output: Path) -> None:
        self.config = config
        self.output = output
        output.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.model = SpectralCodecModel(config.codec)
        self.loss = MelLoss(config.codec.sample_rate)
        self.rng = np.random.default_rng(config.seed)
        self.generator = torch.Generator().manual_seed(config.seed)
        self.corpus = load_or_render(config.corpus, config.grooves, output / "corpus")

    def run(self) -> SpectralCodec:
        """Train both stages; a finished first stage found in the output is not repeated."""
        first = self.output / "stage1"
        if not (first / "config.json").is_file():
            self._train_all()
            self._save(first, stage=1)
        self.model = SpectralCodec.from_pretrained(first).model
        self._train_decoder()
        self._save(self.output, stage=2)
        return SpectralCodec.from_pretrained(self.output)

    def _save(self, directory: Path, *, stage: int) -> None:
        metadata: dict[str, Any] = {"stage": stage, "training": config_to_dict(self.config)}
        SpectralCodec(self.model).save_pretrained(directory, metadata)

    def _train_all(self) -> None:
        config = self.config
        self.model.train().requires_grad_(True)
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, betas=(0.8, 0.99)
        )
        start = self._resume("stage1", optimizer)
        usage: list[Tensor] = []
        began = time.monotonic()
        for step in range(start, config.max_steps):
            set_cosine_rate(
                optimizer, config.learning_rate, step, config.max_steps, config.warmup_steps
            )
            samples = self._batch()
            if step == config.codebook_start:
                self._place_codebooks()
            latent = self.model.encode_latent(samples)
            if step < config.codebook_start:
                quantized, commitment = (
                    self.model.quantizer.unquantized(latent),
                    latent.new_zeros(()),
                )
            else:
                books = int(self.rng.choice([1, 2, 3, 4], p=[0.1, 0.65, 0.1, 0.15]))
                quantized, commitment, codes = self.model.quantizer(
                    latent, min(books, config.codec.n_codebooks), self.generator
                )
                if books >= 2:
                    usage = [*usage[-40:], codes[:, :2]]
            estimate = self.model.decode_latent(quantized, self._first_frames(len(samples)))
            loss = self.loss(estimate, samples) + 0.25 * commitment
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            if step % 100 == 0:
                spread = [round(p) for p in _perplexity(usage)] if usage else []
                pace = (time.monotonic() - began) / max(step - start, 1)
                print(f"stage 1 step {step} loss {loss.item():.3f} perplexity {spread} "
                      f"{pace:.3f} s/step", flush=True)  # fmt: skip
            if step % 1000 == 999:
                self._keep("stage1", step + 1, optimizer)

    def _train_decoder(self) -> None:
        config = self.config
        self.model.train().requires_grad_(False)
        trained = [self.model.expand, self.model.decoder, self.model.norm, self.model.head]
        weights = [w for part in trained for w in part.parameters()]
        for weight in weights:
            weight.requires_grad_(True)
        critics = nn.ModuleList(SpectrumDiscriminator(n) for n in (512, 1024))
        rate = config.decoder_learning_rate
        optimizer = torch.optim.AdamW(weights, lr=rate, betas=(0.8, 0.99))
        critic_optimizer = torch.optim.AdamW(critics.parameters(), lr=rate, betas=(0.5, 0.9))
        began = time.monotonic()
        for step in range(config.decoder_steps):
            for part in (optimizer, critic_optimizer):
                set_cosine_rate(part, rate, step, config.decoder_steps, config.warmup_steps)
            samples = self._batch()
            with torch.no_grad():
                codes = self.model.encode(samples, int(self.rng.choice([2, 2, 2, 4])))
                latent = self.model.quantizer.decode(codes)
            estimate = self.model.decode_latent(latent, self._first_frames(len(samples)))
            critic_loss = samples.new_zeros(())
            for critic in critics:
                critic_loss = critic_loss + functional.relu(1 - critic(samples)[-1]).mean()
                critic_loss = (
                    critic_loss + functional.relu(1 + critic(estimate.detach())[-1]).mean()
                )
            critic_optimizer.zero_grad()
            critic_loss.backward()
            critic_optimizer.step()
            spectral = self.loss(estimate, samples)
            adversarial = samples.new_zeros(())
            for critic in critics:
                *fake, score = critic(estimate)
                with torch.no_grad():
                    *real, _ = critic(samples)
                matching = sum((f - r).abs().mean() / (r.abs().mean() + 1e-3)
                               for f, r in zip(fake, real, strict=True))  # fmt: skip
                adversarial = adversarial - score.mean() + matching
            codec = config.codec
            ours, theirs = (
                hop_periodicity(x, codec.sample_rate, codec.hop_length) for x in (estimate, samples)
            )
            buzz = (ours - theirs).abs().mean()
            ramp = min(1.0, step / 300)
            loss = (
                spectral
                + config.buzz_weight * buzz
                + config.adversarial_weight * ramp * adversarial
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            if step % 100 == 0:
                pace = (time.monotonic() - began) / max(step, 1)
                print(
                    f"stage 2 step {step} spectral {spectral.item():.3f} "
                    f"buzz {buzz.item():.3f} critic {critic_loss.item():.3f} {pace:.3f} s/step",
                    flush=True,
                )

    def _batch(self) -> Float32[Tensor, "batch samples"]:
        """Random crops, each with its own gain and tone."""
        config = self.config
        length = round(config.crop_s * config.codec.sample_rate)
        crops = []
        for _ in range(config.batch_size):
            piece = self.corpus.samples[self.rng.integers(len(self.corpus.samples))]
            start = int(self.rng.integers(piece.size - length))
            crops.append(piece[start : start + length].astype(np.float32) / 32768)
        samples = torch.from_numpy(np.stack(crops))
        gain = torch.from_numpy(self.rng.uniform(-12, 4, (len(crops), 1)).astype(np.float32))
        return _tone(samples, self.rng) * 10 ** (gain / 20)

    def _first_frames(self, batch: int) -> Int64[Tensor, " batch"]:
        return torch.from_numpy(self.rng.integers(0, SpectralCodecModel.NOISE_FRAMES, batch))

    @torch.no_grad()
    def _place_codebooks(self) -> None:
        latents = [self.model.encode_latent(self._batch()) for _ in range(16)]
        self.model.quantizer.start_from(torch.cat(latents), self.generator)

    def _keep(self, name: str, step: int, optimizer: torch.optim.Optimizer) -> None:
        quantizer = self.model.quantizer
        state = {
            "step": step,
            "model": self.model.state_dict(),
            "averages": [quantizer.counts, quantizer.sums],
            "optimizer": optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }
        with atomic_output(self.output / f"{name}.resume") as temporary:
            torch.save(state, temporary)

    def _resume(self, name: str, optimizer: torch.optim.Optimizer) -> int:
        file = self.output / f"{name}.resume"
        if not file.is_file():
            return 0
        state = torch.load(file, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.model.quantizer.counts.copy_(state["averages"][0])
        self.model.quantizer.sums.copy_(state["averages"][1])
        optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.rng = np.random.default_rng([self.config.seed, state["step"]])
        return int(state["step"])


def _tone(
    samples: Float32[Tensor, "batch samples"], rng: np.random.Generator
) -> Float32[Tensor, "batch samples"]:
    """A smooth random equaliser on about half of the sounds, within ±8 dB."""
    batch, length = samples.shape
    knots = torch.from_numpy(rng.uniform(-8, 8, (batch, 1, 6)).astype(np.float32))
    knots[torch.from_numpy(rng.random(batch) < 0.5)] = 0.0
    octaves = torch.linspace(0, 1, length // 2 + 1).add(1e-3).log2().clamp(-7) / 7 + 1
    curve = functional.interpolate(knots, 256, mode="linear", align_corners=True)[:, 0]
    gains = 10 ** (curve[:, (octaves * 255).long().clamp(0, 255)] / 20)
    return torch.fft.irfft(torch.fft.rfft(samples) * gains, length)


def _perplexity(usage: list[Tensor]) -> list[float]:
    codes = torch.cat([u.transpose(0, 1).flatten(1) for u in usage], dim=1)
    result = []
    for book in codes:
        share = torch.bincount(book).float() / book.numel()
        share = share[share > 0]
        result.append(float(torch.exp(-(share * share.log()).sum())))
    return result


def train_codec(config: CodecTrainingConfig, output: Path | str) -> SpectralCodec:
    """Train the codec on rendered grooves and write its checkpoint into ``output``."""
    return CodecTrainer(config, Path(output)).run()
