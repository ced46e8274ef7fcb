"""Blocks of sound on a beat that is still being danced."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from dancetomusic.codec.block_vocoder import BlockVocoder
from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.live.beat import BeatView, PlayedGrid
from dancetomusic.models.motion_vae.network import MotionVae
from dancetomusic.models.motion_vae.sampler import MotionSampler
from dancetomusic.models.pose2audio.code_stream import CodeStream
from dancetomusic.models.pose2audio.network import Pose2Audio
from dancetomusic.models.pose_encoder.network import POSE_FPS
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.types import RhythmTrack

FADE_IN_BEATS = 1.0
FADE_OUT_BARS = 2.0
BLOCK_FRAMES = 3
"""Code frames that the token decoder writes at once."""

BEATS_AROUND = 4
"""Beats told to the sampler before and after what it plays."""


@dataclass(frozen=True)
class Movement:
    """A step of who leads.

    Attributes:
        began_s: When it began.
        world: Its poses at 24 a second, in metres.
        present: Whether the dancer is seen in them.
        memory: What the encoder remembers of it.
    """

    began_s: float
    world: Float32[np.ndarray, "poses 33 3"]
    present: Bool[np.ndarray, " poses"]
    memory: Float32[np.ndarray, " channels"]


@dataclass(frozen=True)
class Block:
    """A block of sound that was composed.

    Attributes:
        samples: What is to be played next.
        codes_at: Which of all samples belongs to its first code.
        position: Place on the grid of that sample, in beats.
        beats_per_s: Tempo of the block.
    """

    samples: Float32[np.ndarray, " samples"]
    codes_at: int
    position: float
    beats_per_s: float


class Composer(ABC):
    """Plays block by block on the grid of a dance, and fades in and out with the dancer.

    Sound lags behind its codes by ``lag`` samples.

    Attributes:
        LEAD_S: Sound to keep ready beyond one pull: more of it bridges longer stalls, and what is
            danced is heard so much later.

    Args:
        codec: Whose codes are played.
        block_frames: Code frames in a block.
        reach: Rows of rhythm wanted before and after a block.
    """

    LEAD_S = 0.05

    def __init__(self, codec: SpectralCodec, block_frames: int, reach: int = 0) -> None:
        self.block_samples = block_frames * codec.hop_length
        self._frames = block_frames
        self._sample_rate = codec.sample_rate
        self._grid = PlayedGrid(codec.frame_rate, reach)
        self._made = 0
        self._gain = 0.0
        self._gone = False
        self._fade_beats = 1.0

    @property
    @abstractmethod
    def lag(self) -> int:
        """Samples from the beginning of a code to its own place in the sound it is decoded to."""

    @abstractmethod
    def move(self, movement: Movement, heard_s: float) -> None:
        """Take a step of who leads, while the next code is to be heard at ``heard_s``."""

    @abstractmethod
    def _play(self, view: BeatView, energy: float) -> Float32[np.ndarray, " samples"]:
        """The next block from the grid's position on; goes on by it."""

    @abstractmethod
    def _forget(self) -> None:
        """Begin a new piece with the next block."""

    @property
    def next_code_at(self) -> int:
        """Which of all samples the next code belongs to."""
        return self._made + self.lag

    @property
    def silent(self) -> bool:
        """Whether the last block has faded out, or nothing has begun."""
        return self._gain == 0.0

    def warm_up(self) -> None:
        """Compose a little and forget it: the first run of every part is slow."""
        for _ in range(4):
            self.compose(0.0, BeatView(), 0.0, True)
        self._made, self._gain = 0, 0.0
        self._forget()

    def compose(self, heard_s: float, view: BeatView, energy: float, present: bool) -> Block:
        """Go on by a block.

        Args:
            heard_s: When its first code is heard, on the clock of ``view``.
            view: The beat.
            energy: Strength of movement in [0, 1].
            present: Whether to play; without, the music fades out on the grid and then rests.
        """
        codes_at, beats_per_s = self.next_code_at, view.bpm / 60.0
        if self.silent and not present:
            self._made += self.block_samples
            silence = np.zeros(self.block_samples, np.float32)
            return Block(silence, codes_at, self._grid.position, beats_per_s)
        self._grid.aim(view.at(heard_s), at_once=self.silent)
        position = self._grid.position
        samples = self._play(view, energy) * self._fade(view, present, position)
        self._made += self.block_samples
        if self.silent:
            self._gone = False
            self._forget()
        return Block(samples, codes_at, position, beats_per_s)

    def _fade(
        self, view: BeatView, present: bool, position: float
    ) -> Float32[np.ndarray, " samples"]:
        """Gain of a block: up within a beat, or down until the end of the next bar."""
        beats = self.block_samples / self._sample_rate * view.bpm / 60.0
        if present:
            gain = min(1.0, self._gain + beats / FADE_IN_BEATS)
        else:
            if not self._gone:
                bar = view.beats_per_bar
                into_bar = float((position - view.first_downbeat) % bar)
                self._fade_beats = FADE_OUT_BARS * bar - into_bar
            gain = max(0.0, self._gain - beats / self._fade_beats)
        self._gone = not present
        ramp = np.linspace(self._gain, gain, self.block_samples, endpoint=False)
        self._gain = gain
        return ramp.astype(np.float32)


class CodeComposer(Composer):
    """Plays what a causal token decoder writes.

    Args:
        model: Causal.
        codec: The one it was trained on.
        style: Number of the style.
        sampling: How codes are sampled.
        seed: Of the codes.
    """

    LEAD_S = 0.1  # beats are foretold and accents are no codes, so neither comes later

    def __init__(
        self,
        model: Pose2Audio,
        codec: SpectralCodec,
        *,
        style: int,
        sampling: SamplingConfig,
        seed: int,
    ) -> None:
        self._writer = CodeStream(model.decoder, style=style, sampling=sampling, seed=seed)
        self._vocoder = BlockVocoder(codec.model)
        super().__init__(codec, BLOCK_FRAMES, self._writer.reach)
        self._rate, self._hop = codec.frame_rate, codec.hop_length
        self._waiting = np.zeros((model.config.decoder.n_codebooks, 0), np.int64)

    @property
    def lag(self) -> int:
        """Books are written one after the other, and the codec looks ahead."""
        return (self._writer.lag + BlockVocoder.AHEAD) * self._hop + self._vocoder.delay

    def move(self, movement: Movement, heard_s: float) -> None:
        """Let the decoder see what was danced."""
        if movement.present.any():
            self._writer.remember(movement.memory, (heard_s - movement.began_s) * self._rate)

    def _play(self, view: BeatView, energy: float) -> Float32[np.ndarray, " samples"]:
        codes = self._writer.write(self._grid.foretell(self._frames, view, energy))
        known = np.concatenate([self._waiting, codes], axis=1)
        ready = max(0, known.shape[1] - BlockVocoder.AHEAD)
        self._waiting = known[:, ready:]
        late = np.zeros((self._frames - ready) * self._hop, np.float32)  # at the beginning
        if ready == 0:
            return late
        return np.concatenate([late, self._vocoder.push(known[:, :ready], known[:, ready:])])

    def _forget(self) -> None:
        self._writer.reset()
        self._vocoder.reset()
        self._waiting = self._waiting[:, :0]


class SamplerComposer(Composer):
    """Plays the motiongram sampler on the grid, by the poses of who leads.

    Args:
        model: A trained sampler.
        codec: The one it was trained on.
        seed: Of points and codes.
    """

    def __init__(self, model: MotionVae, codec: SpectralCodec, *, seed: int) -> None:
        self._sampler = MotionSampler(model, codec, source="poses", seed=seed, heard_after_s=0.0)
        self._delay = BlockVocoder(codec.model).delay
        super().__init__(codec, model.config.block_frames)
        self._newest_s = -np.inf

    @property
    def lag(self) -> int:
        """The synthesis fades in."""
        return self._delay

    def move(self, movement: Movement, heard_s: float) -> None:
        """Give the sampler the poses, as if they were danced when its next block begins."""
        for k, (pose, present) in enumerate(zip(movement.world, movement.present, strict=True)):
            now_s = self._sampler.now_s + (k + 1 - len(movement.world)) / POSE_FPS
            if now_s > self._newest_s:
                self._newest_s = now_s
                self._sampler.push_pose(pose, bool(present), now_s)

    def _play(self, view: BeatView, energy: float) -> Float32[np.ndarray, " samples"]:
        position = self._grid.position
        self._grid.foretell(self._frames, view, energy)
        beats = round(position) + np.arange(-BEATS_AROUND, BEATS_AROUND + 1)
        first_s = self._sampler.now_s + self._delay / self._sample_rate
        self._sampler.follow(
            RhythmTrack(
                beat_times=first_s + (beats - position) * 60.0 / view.bpm,
                beat_numbers=(beats - view.first_downbeat) % view.beats_per_bar + 1,
                energy=np.zeros(1, np.float32),
                energy_rate=1.0,
                duration_s=first_s + 1.0,
            )
        )
        return self._sampler.step()

    def _forget(self) -> None:
        self._sampler.reset()
        self._newest_s = -np.inf
