"""What the embedded codec learns from: crops of rendered music."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor
from torch.nn import functional

from dancetomusic.codec.spectral import SpectralCodecConfig, SpectralCodecModel
from dancetomusic.config import check_ranges
from dancetomusic.errors import InputError
from dancetomusic.synthesis.corpus import CorpusConfig, load_or_render
from dancetomusic.synthesis.score_pieces import ScoreCorpusConfig, load_or_play_sounds
from dancetomusic.training.config import LoopConfig
from dancetomusic.training.dataset import Sample, TrainingSet
from dancetomusic.training.prepared import hash_arrays


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
    scores: ScoreCorpusConfig = field(default_factory=ScoreCorpusConfig)
    """Pieces of the arranger beside ``corpus``; a piece of either is as likely."""
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
    """Step at which the codebooks are initialised by k-means."""
    perceptual_weight: float = 1.0
    """Of the distance of mel spectra."""
    fine_from_bin: int = 24
    """Of the decoder of the second stage, see ``SpectralCodecConfig``: it starts as the one of the
    first stage sounds."""
    n_gains: int = 0
    """Likewise; it starts without effect."""
    adversarial_weight: float = 0.1
    """Of the scores of discriminators in the second stage."""
    matching_weight: float = 0.5
    """Of the distance of their features."""
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
        check_ranges(
            self,
            counts="decoder_steps",
            positive="crop_s decoder_learning_rate",
            weights="codebook_start perceptual_weight adversarial_weight matching_weight "
            "buzz_weight fine_from_bin n_gains",
        )


@dataclass(frozen=True)
class SoundBatch:
    """Crops of rendered music, and the number of their first frames.

    Attributes:
        first_frame: Where each is taken to begin; the phase noise of the decoder depends on it.
    """

    samples: Float32[Tensor, "batch samples"]
    first_frame: Int64[Tensor, " batch"]


class CorpusCrops(TrainingSet):
    """Random crops of rendered pieces, each with its own gain and tone.

    The pieces are rendered into ``folder``, or read from it.

    Raises:
        InputError: If there are no grooves.
        DependencyError: If FluidSynth is missing.
    """

    batch_type = SoundBatch

    def __init__(
        self,
        config: CodecTrainingConfig,
        corpus: CorpusConfig,
        scores: ScoreCorpusConfig,
        folder: Path,
    ) -> None:
        self.config, self.seed = config, config.seed
        self.length = round(config.crop_s * config.codec.sample_rate)
        self.corpus = load_or_render(corpus, config.grooves, folder)
        pieces = self.corpus.samples
        hashed = [*self.corpus.beat_times, pieces[0], pieces[-1]]
        self.pieces = list(pieces)
        if scores.n_pieces:
            played = load_or_play_sounds(scores, folder / "scores")
            hashed += [played[0], played[-1]]
            self.pieces += list(played)
        self.content_hash = hash_arrays(hashed)
        seconds = sum(piece.size for piece in self.pieces) / config.codec.sample_rate
        self.epoch_size = max(1, round(seconds / config.crop_s))

    def sample(self, rng: np.random.Generator, step: int = 0) -> Sample:
        """A crop, its gain, the gains of its equaliser and the number of its first frame."""
        piece = self.pieces[rng.integers(len(self.pieces))]
        start = int(rng.integers(piece.size - self.length))
        crop = piece[start : start + self.length].astype(np.float32) / 32768
        gain = np.array(10 ** (rng.uniform(-12, 4) / 20), np.float32)
        knots_db = (rng.uniform(-8, 8, 6) * (rng.random() < 0.5)).astype(np.float32)
        return crop, gain, knots_db, np.array(rng.integers(SpectralCodecModel.NOISE_FRAMES))

    def collate(self, samples: Sequence[Sample]) -> SoundBatch:
        """The crops with their gain and tone."""
        crops, gains, knots_db, frames = (
            torch.from_numpy(np.stack(arrays)) for arrays in zip(*samples, strict=True)
        )
        return SoundBatch(_equalise(crops, knots_db) * gains[:, None], frames)


def require_length(config: CodecTrainingConfig) -> None:
    """Refuse crops that are no shorter than the pieces.

    Raises:
        InputError: If they are.
    """
    lengths = [config.corpus.seconds, config.validation.seconds]
    if config.scores.n_pieces:
        lengths.append(config.scores.seconds)
    if config.crop_s >= min(lengths):
        raise InputError(
            f"crops of {config.crop_s:g} s are longer than the pieces",
            "Shorten crop_s or lengthen the pieces.",
        )


def _equalise(
    samples: Float32[Tensor, "batch samples"], knots: Float32[Tensor, "batch knots"]
) -> Float32[Tensor, "batch samples"]:
    """Each sound through a smooth equaliser with these gains, in dB, at even octaves."""
    # The knots are interpolated over the logarithm of the frequency, on a table of 256 values.
    length = samples.shape[1]
    octaves = torch.linspace(0, 1, length // 2 + 1).add(1e-3).log2().clamp(-7) / 7 + 1
    curve = functional.interpolate(knots[:, None], 256, mode="linear", align_corners=True)[:, 0]
    gains = 10 ** (curve[:, (octaves * 255).long().clamp(0, 255)] / 20)
    return torch.fft.irfft(torch.fft.rfft(samples) * gains, length)
