"""Pose2Audio played live: codes are sampled a few frames at a time, and decoded at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from dancetomusic.codec.block_decoder import BlockDecoder
from dancetomusic.codec.registry import load_codec
from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.errors import CheckpointError, InputError
from dancetomusic.models.live import BeatEstimate, Composer, LiveModel, MovementStep
from dancetomusic.models.pose2audio.code_stream import CodeStream
from dancetomusic.models.pose2audio.network import Pose2Audio
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.rhythm.features import RHYTHM_FEATURES, features_at

BLOCK_FRAMES, SIMPLE_BLOCK_FRAMES = 3, 6
"""Code frames that the token decoder writes at once; larger blocks cost less."""


class CodeComposer(Composer):
    """Plays what a causal token decoder writes.

    The model is causal, and was trained on the codes of ``codec``.
    """

    LEAD_S = 0.1  # beats are predicted and accents are no codes, so neither comes later

    def __init__(
        self,
        model: Pose2Audio,
        codec: SpectralCodec,
        *,
        style: int,
        sampling: SamplingConfig,
        seed: int,
    ) -> None:
        super().__init__(codec, BLOCK_FRAMES)
        self._codes = CodeStream(model.decoder, style=style, sampling=sampling, seed=seed)
        self._decoder = BlockDecoder(codec.model)
        self._frame_rate, self._hop_length = codec.frame_rate, codec.hop_length
        self._played = np.zeros((self._codes.reach, len(RHYTHM_FEATURES)), np.float32)
        self._start()

    def _start(self) -> None:
        self._waiting = np.zeros((self._codes.n_codebooks, 0), np.int64)
        self._synthesis = self._decoder.initial_state()

    @property
    def lag(self) -> int:
        """Codebooks are written one after the other, and the codec looks ahead."""
        decoder = self._decoder
        return (self._codes.lag + decoder.lookahead) * decoder.hop_length + decoder.fade_in

    def move(self, movement: MovementStep, playback_s: float) -> None:
        """Condition the decoder on what was danced."""
        if movement.present.any():
            frames_ago = (playback_s - movement.began_s) * self._frame_rate
            self._codes.remember(movement.memory, frames_ago)

    def simplify(self, simple: bool) -> None:
        """Compose without guidance and in larger blocks, for about half the time."""
        self._codes.simplify(simple)
        self.block_samples = self._hop_length * (SIMPLE_BLOCK_FRAMES if simple else BLOCK_FRAMES)

    def _play(self, beat: BeatEstimate, energy: float) -> Float32[np.ndarray, " samples"]:
        codes = self._codes.write(self._rhythm(beat, energy))
        known = np.concatenate([self._waiting, codes], axis=1)
        ready = max(0, known.shape[1] - self._decoder.lookahead)
        self._waiting = known[:, ready:]
        samples = np.zeros(self.block_samples, np.float32)
        if ready:  # fewer than a block at the beginning, which is silent until then
            decoded, self._synthesis = self._decoder.decode(known, self._synthesis)
            samples[self.block_samples - decoded.size :] = decoded
        return samples

    def _rhythm(self, beat: BeatEstimate, energy: float) -> Float32[np.ndarray, "frames features"]:
        """Rhythm features of the block, with those played before it and predicted after it."""
        reach, n_frames = self._codes.reach, self.block_samples // self._hop_length
        seconds = np.arange(n_frames + reach) / self._frame_rate
        predicted = features_at(self._grid.track(beat, energy), seconds)
        rows = np.concatenate([self._played, predicted])
        self._played = rows[n_frames : n_frames + reach]
        return rows

    def _reset(self) -> None:
        self._codes.reset()
        self._start()


def open_live(
    directory: Path | str,
    *,
    style: str | None,
    condition: str | None,
    sampling: SamplingConfig,
    seed: int,
) -> LiveModel:
    """Open a causal checkpoint.

    Raises:
        CheckpointError: If it is missing, corrupted, not causal, or trained on another codec.
        InputError: If it does not know the style, or is to read anything but poses.
    """
    if condition not in (None, "poses"):
        raise InputError("this model reads poses alone", "Leave --condition out.")
    model = Pose2Audio.from_pretrained(directory)
    config = model.config.decoder
    codec = load_codec("codec", config.n_codebooks)
    if not isinstance(codec, SpectralCodec) or codec.identity != model.config.codec_id:
        raise CheckpointError(
            f"the model was trained on codec {model.config.codec_id}",
            "Name one that was trained on the embedded codec.",
        )
    model.encoder.initial_state()  # refuses an encoder that sees ahead
    composer = CodeComposer(
        model, codec, style=config.style_index(style), sampling=sampling, seed=seed
    )
    return LiveModel(composer, model.encoder, config.styles)
