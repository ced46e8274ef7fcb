"""The model of the main job: a pose encoder, and a token decoder that plays beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from dancetomusic.errors import ConfigError
from dancetomusic.models.pose2audio.token_decoder import TokenDecoder, TokenDecoderConfig
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoderConfig, PoseEncoding
from dancetomusic.nn.pretrained import PretrainedModule
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.rhythm.features import RHYTHM_FEATURES

DEFAULT_SAMPLING = SamplingConfig(temperature=1.1, top_p=0.95, cfg_scale=2.5)
SCORE_SAMPLING = SamplingConfig(temperature=0.8, top_p=0.95, cfg_scale=4.0)
"""Where a score is played."""
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tiny": ({"channels": 16, "dilations": (1, 2)}, {"d_model": 32, "n_layers": 2, "n_heads": 2}),
    "small": ({}, {}),
    "base": ({"channels": 128}, {"d_model": 512, "n_layers": 8, "n_heads": 8}),
}
"""What each size changes in the defaults of the encoder and of the decoder."""


@dataclass(frozen=True)
class Pose2AudioConfig:
    """Shape of a Pose2Audio model.

    Raises:
        ConfigError: If encoder and decoder do not fit each other.
    """

    encoder: PoseEncoderConfig
    """Reads the rhythm and remembers the movement."""
    decoder: TokenDecoderConfig
    """Writes the codes."""
    codec_id: str
    """Identity of the codec whose codes are written."""
    codec: str = "codec"
    """Where that codec was in training: a directory, a released name or a hub id."""

    def __post_init__(self) -> None:
        if self.decoder.memory_dim not in (0, self.encoder.channels):
            raise ConfigError(
                f"memory_dim is {self.decoder.memory_dim}, the encoder's width "
                f"{self.encoder.channels}",
                "Make them equal, or memory_dim 0.",
            )
        if self.decoder.frame_rate != self.encoder.frame_rate:
            raise ConfigError(
                f"the decoder runs at {self.decoder.frame_rate} Hz, the encoder at "
                f"{self.encoder.frame_rate}",
                "Give both the frame rate of the codec.",
            )

    @classmethod
    def of_size(cls, size: str, *, codec_id: str, **decoder: Any) -> Pose2AudioConfig:
        """A named size: ``tiny`` for tests, ``small`` the default, ``base`` for a GPU.

        Args:
            size: One of ``SIZES``.
            codec_id: Identity of the codec.
            **decoder: Fields of ``TokenDecoderConfig`` to set otherwise.

        Raises:
            ConfigError: If the size is unknown, or a value is out of range.
        """
        if size not in SIZES:
            raise ConfigError(f"size is {size!r}", f"Choose one of {', '.join(SIZES)}.")
        of_encoder, of_decoder = SIZES[size]
        encoder = PoseEncoderConfig(**of_encoder)
        fitting = {"rhythm_features": len(RHYTHM_FEATURES), "memory_dim": encoder.channels}
        return cls(encoder, TokenDecoderConfig(**{**fitting, **of_decoder, **decoder}), codec_id)


class Pose2Audio(PretrainedModule):
    """Codes for a dance.

    The two halves meet in the rhythm, which is fitted between them over the whole piece:
    to generate, call ``encoder``, ``rhythm_from_encoding``, ``rhythm_features`` and
    ``decoder.generate`` in turn.
    """

    MODEL, CONFIG = "pose2audio", Pose2AudioConfig

    def __init__(self, config: Pose2AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = PoseEncoder(config.encoder)
        self.decoder = TokenDecoder(config.decoder)

    def forward(
        self,
        world: Float[Tensor, "batch poses 33 3"],
        present: Bool[Tensor, "batch poses"],
        codes: Int[Tensor, "batch codebooks frames"],
        rhythm: Float[Tensor, "batch frames features"],
        *,
        style: Int[Tensor, " batch"] | None = None,
        unconditional: Bool[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch codebooks frames classes"], PoseEncoding]:
        """Logits of every code, and what the encoder says of the dance beside it.

        World landmarks are in metres at 24 frames a second; codes begin at the same moment. Codes,
        rhythm and style are as for ``TokenDecoder.forward``; ``unconditional`` items see neither
        rhythm nor memory nor style.
        """
        encoding = self.encoder(world, present)
        logits = self.decoder(
            codes,
            rhythm,
            encoding.memory,
            encoding.memory_mask,
            style=style,
            unconditional=unconditional,
        )
        return logits, encoding
