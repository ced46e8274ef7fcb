"""The motiongram sampler played live, on the beat of the dance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.errors import InputError
from dancetomusic.models.live import (
    DEFAULT_LIVE_MODEL,
    BeatEstimate,
    Composer,
    LiveModel,
    MovementStep,
)
from dancetomusic.models.motion_vae.motion_input import SOURCES
from dancetomusic.models.motion_vae.network import MotionVae
from dancetomusic.models.motion_vae.sampler import MotionSampler
from dancetomusic.models.pose2audio.network import Pose2Audio
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.released import locate_checkpoint
from dancetomusic.types import POSE_FPS

LATE_S = 0.1
"""How far pictures may lag behind the sampler's clock: they come less evenly than blocks."""


class SamplerComposer(Composer):
    """Plays the sampler on the grid, by the pictures or the poses of the dancer who is followed.

    Args:
        sampler: Plays without delay.
    """

    def __init__(self, sampler: MotionSampler) -> None:
        super().__init__(sampler.codec, sampler.model.config.block_frames)
        self._sampler = sampler
        self._newest_s, self._taken_s = -np.inf, 0.0

    @property
    def lag(self) -> int:
        """The synthesis fades in."""
        return self._sampler.codec.model.fade_in

    @property
    def reads_pictures(self) -> bool:
        """As its sampler does."""
        return self._sampler.source == "motiongram"

    def see(self, picture: UInt8[np.ndarray, "height width 3"], taken_s: float) -> None:
        """Give the sampler a picture, as if it were taken when its next block begins.

        Times keep the camera's intervals, but stay within ``LATE_S`` before that block.
        """
        now_s, passed_s = self._sampler.now_s, taken_s - self._taken_s
        self._taken_s = taken_s
        seen_s = float(np.clip(self._newest_s + passed_s, now_s - LATE_S, now_s))
        if seen_s > self._newest_s:
            self._newest_s = seen_s
            self._sampler.push_frame(picture, seen_s)

    def move(self, movement: MovementStep, playback_s: float) -> None:
        """Give the sampler the poses, as if they were danced when its next block begins."""
        if self.reads_pictures:
            return
        for k, (pose, present) in enumerate(zip(movement.world, movement.present, strict=True)):
            now_s = self._sampler.now_s + (k + 1 - len(movement.world)) / POSE_FPS
            if now_s > self._newest_s:
                self._newest_s = now_s
                self._sampler.push_pose(pose, bool(present), now_s)

    def _play(self, beat: BeatEstimate, energy: float) -> Float32[np.ndarray, " samples"]:
        first_s = self._sampler.now_s + self.lag / self.sample_rate
        self._sampler.follow(self._grid.track(beat, energy, first_s))
        return self._sampler.step()

    def _reset(self) -> None:
        self._sampler.reset()
        self._newest_s, self._taken_s = -np.inf, 0.0


def open_live(
    directory: Path | str,
    *,
    style: str | None,
    condition: str | None,
    sampling: SamplingConfig,
    seed: int,
) -> LiveModel:
    """Open a checkpoint; the released causal encoder tracks the beat.

    Style and sampling are those of other models: the sampler has no styles, and plays live at its
    own temperature.

    Raises:
        CheckpointError: If it is missing, corrupted, or trained on another codec.
        InputError: If the style is unknown, or what it is to read.
    """
    source = next((source for source in SOURCES if source == (condition or source)), None)
    if source is None:
        raise InputError(f"--condition is {condition}", f"Give {' or '.join(SOURCES)}.")
    network = Pose2Audio.from_pretrained(locate_checkpoint(DEFAULT_LIVE_MODEL))
    network.config.decoder.style_index(style)
    sampler = MotionSampler(
        MotionVae.from_pretrained(directory),
        SpectralCodec.from_pretrained(),
        source=source,
        seed=seed,
        playback_delay_s=0.0,
    )
    return LiveModel(SamplerComposer(sampler), network.encoder, network.config.decoder.styles)
