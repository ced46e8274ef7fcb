"""Music played live: what a model composes block by block on a beat that is still being danced."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.models.pose_encoder.network import PoseEncoder
from dancetomusic.rhythm.beats import BAR_LENGTHS, DEFAULT_BPM
from dancetomusic.types import RhythmTrack

DEFAULT_LIVE_MODEL = "pose2audio_causal"
"""The released checkpoint that plays live, and whose encoder tracks the beat for models without
one."""

FADE_IN_BEATS = 1.0
FADE_OUT_BARS = 2.0
BEATS_AROUND = 4
"""Beats of the played grid that are given before and after the position."""


@dataclass(frozen=True)
class BeatEstimate:
    """Where the dance is in the music.

    Attributes:
        position: Beats since the beginning, fractions included.
        first_downbeat: Number of the first beat that begins a bar.
    """

    time_s: float = 0.0
    position: float = 0.0
    bpm: float = DEFAULT_BPM
    confidence: float = 0.0
    beats_per_bar: int = BAR_LENGTHS[0]
    first_downbeat: int = 0

    def at(self, time_s: float) -> float:
        """Position at another time if the tempo continues."""
        return self.position + (time_s - self.time_s) * self.bpm / 60.0

    def continuing(self, other: BeatEstimate) -> BeatEstimate:
        """The same beats and bars, counted on from those of another estimate."""
        beats = round(other.at(self.time_s) - self.position)
        return replace(
            self, position=self.position + beats, first_downbeat=self.first_downbeat + beats
        )


class PlayedGrid:
    """The beat grid that is played: pulled to the position that the dance will have at playback."""

    PULL = 0.3
    FASTEST = 0.06
    """Share of the distance closed with every block, and beats at most."""

    def __init__(self) -> None:
        self.position = 0.0
        """Beats at the beginning of the next block."""

    def aim(self, position: float, *, at_once: bool = False) -> None:
        """Pull the next frame to a position; whole beats of difference change the bar alone.

        Args:
            position: Position of the dance when the next frame is played back.
            at_once: Go there in one step, while the output is silent.
        """
        self.position += round(position - self.position)
        error = position - self.position
        self.position += (
            error if at_once else float(np.clip(self.PULL * error, -self.FASTEST, self.FASTEST))
        )

    def track(self, beat: BeatEstimate, energy: float, now_s: float = 0.0) -> RhythmTrack:
        """The beats around the position, which is at ``now_s`` on the clock of the track."""
        numbers = round(self.position) + np.arange(-BEATS_AROUND, BEATS_AROUND + 1)
        return RhythmTrack(
            beat_times=now_s + (numbers - self.position) * 60.0 / beat.bpm,
            beat_numbers=(numbers - beat.first_downbeat) % beat.beats_per_bar + 1,
            energy=np.array([energy], np.float32),
            energy_rate=1.0,
            duration_s=now_s,
        )

    def advance(self, seconds: float, beat: BeatEstimate) -> None:
        """Move on by the length of a block."""
        self.position += seconds * beat.bpm / 60.0


@dataclass(frozen=True)
class MovementStep:
    """A step of the dancer who leads.

    Attributes:
        world: Its poses at 24 a second, in metres.
        memory: The pose encoder's memory of it, the mean of all who are followed.
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
        position: Grid position of that sample, in beats.
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
        LEAD_S: Sound to keep ready beyond one pull: more of it bridges longer stalls, and the
            latency grows by as much.
    """

    LEAD_S = 0.05

    def __init__(self, codec: SpectralCodec, block_frames: int) -> None:
        self.sample_rate = codec.sample_rate
        self.block_samples = block_frames * codec.hop_length
        self._grid = PlayedGrid()
        self._made = 0
        self._gain = 0.0
        self._leaving = False
        self._fade_beats = 1.0

    @property
    @abstractmethod
    def lag(self) -> int:
        """Samples from the beginning of a code to its own position in the decoded sound."""

    @abstractmethod
    def move(self, movement: MovementStep, playback_s: float) -> None:
        """Take a step of the dancer, while the next code is to be played back at ``playback_s``."""

    @property
    def reads_pictures(self) -> bool:
        """Whether ``see`` is to be called."""
        return False

    def see(  # noqa: B027  # most read poses alone
        self, picture: UInt8[np.ndarray, "height width 3"], taken_s: float
    ) -> None:
        """Take a picture of the camera, on its own clock in seconds."""

    def simplify(self, simple: bool) -> None:  # noqa: B027  # nothing may be there to leave out
        """From the next block on, leave out what costs most and is missed least; or no longer."""

    @property
    def _block_s(self) -> float:
        return self.block_samples / self.sample_rate

    @abstractmethod
    def _play(self, beat: BeatEstimate, energy: float) -> Float32[np.ndarray, " samples"]:
        """The next block, from the grid's position on."""

    @abstractmethod
    def _reset(self) -> None:
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
        """Compose a little and discard it: the first run of every part is slow."""
        for _ in range(4):
            self.compose(0.0, BeatEstimate(), 0.0, True)
        self._made, self._gain = 0, 0.0
        self._reset()

    def compose(self, playback_s: float, beat: BeatEstimate, energy: float, present: bool) -> Block:
        """Compose the next block.

        ``playback_s`` is when its first code is played back, on the clock of ``beat``. Without
        ``present`` the music fades out on the grid and then rests.
        """
        codes_at, beats_per_s = self.next_code_at, beat.bpm / 60.0
        self._made += self.block_samples
        if self.silent and not present:
            silence = np.zeros(self.block_samples, np.float32)
            return Block(silence, codes_at, self._grid.position, beats_per_s)
        self._grid.aim(beat.at(playback_s), at_once=self.silent)
        position = self._grid.position
        samples = self._play(beat, energy) * self._fade(beat, present, position)
        self._grid.advance(self._block_s, beat)
        if self.silent:
            self._leaving = False
            self._reset()
        return Block(samples, codes_at, position, beats_per_s)

    def _fade(
        self, beat: BeatEstimate, present: bool, position: float
    ) -> Float32[np.ndarray, " samples"]:
        """Gain of a block: up within a beat, or down until the end of the next bar."""
        beats = self._block_s * beat.bpm / 60.0
        if present:
            gain = min(1.0, self._gain + beats / FADE_IN_BEATS)
        else:
            if not self._leaving:
                bar = beat.beats_per_bar
                into_bar = float((position - beat.first_downbeat) % bar)
                self._fade_beats = FADE_OUT_BARS * bar - into_bar
            gain = max(0.0, self._gain - beats / self._fade_beats)
        self._leaving = not present
        ramp = np.linspace(self._gain, gain, self.block_samples, endpoint=False)
        self._gain = gain
        return ramp.astype(np.float32)


@dataclass(frozen=True)
class LiveModel:
    """A model opened to be played live.

    Attributes:
        encoder: Causal; tracks the beat of the dance and reads its movement.
    """

    composer: Composer
    encoder: PoseEncoder
    styles: tuple[str, ...] = ()
