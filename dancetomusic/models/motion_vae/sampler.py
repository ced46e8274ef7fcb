"""The motiongram sampler played: pictures or poses in as they come, blocks of sound out.

Every block is decided by the movement known when it is begun. The decoder's memory, the latent
point, the level and the overlapping windows of the synthesis are carried from block to block, so
a block has no audible edges. The codec's decoder looks two code frames ahead; instead of waiting
for them, they are predicted from the present movement and sampled again when their turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from dancetomusic.codec.block_decoder import BlockDecoder
from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.errors import CheckpointError, InputError, PoseError
from dancetomusic.models.motion_vae.frame_decoder import FrameDecoder
from dancetomusic.models.motion_vae.motion_input import MovementReader, Source
from dancetomusic.models.motion_vae.network import (
    LEVEL_DB,
    LEVEL_SPREAD_DB,
    LEVELLED_DB,
    MotionVae,
    beat_features,
)
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

DEFAULT_SAMPLING = SamplingConfig(temperature=0.5)

EARLY_S = 1.0
"""How long before its turn movement may be pushed."""

LOUDEST_DB, SILENT_DB = -10.0, -46.0
"""Levels are limited to the first; from the second down the sound fades out over 6 dB."""

KNEE = 0.7
"""Samples beyond this are bent towards full scale instead of clipped."""


class MotionSampler:
    """An instrument that is played by moving.

    One clock counts for all: 0 s is when the first block begins. Push pictures (or poses) with
    the times at which they were taken, in increasing order and at any rate; then call ``step`` once
    for each block. Block ``n`` begins at ``now_s = n * block_s`` and knows the movement up to
    then. What is pushed early, by up to a second, waits for its turn; what is pushed late counts
    from the next block on. Without pictures the dancer stands still, and it is quiet. Pictures
    are RGB of any size; 24 to 30 a second is what it was trained on.

    A block is ``block_samples`` samples at ``sample_rate`` Hz (640 at 24 kHz for the released
    weights, 26.7 ms, whatever the length of segments), mono, float32, within ±1. Blocks are
    continuous: play them one after the other without fades. ``step`` never waits.

    Beats are given by ``follow`` as a rhythm track on the same clock: the times at which
    they are to sound. They may lie in the past alone, since the last interval continues. Only beat
    times and numbers count. A new track may be given before any step. Without one it plays freely.

    The same movement, beats and seed give the same sound, whenever they come. An instance is for
    one thread.

    Args:
        model: A trained sampler.
        codec: The codec whose codes it plays.
        source: What it sees: ``"motiongram"`` for pictures, ``"poses"``.
        seed: Of the points sampled in the latent space and of the codes.
        temperature: Of both; 0 always plays what is likeliest.
        playback_delay_s: From the beginning of a block until its first sample is played back,
            by default its length: the output buffer. Beats are played early by it, and by the
            fade-in of the synthesis, so that they sound in time.
        look_ahead_s: How much movement after ``now_s`` a block may know, where it is known.

    Raises:
        CheckpointError: If the sampler was trained on another codec.
        InputError: If ``temperature`` is negative.
    """

    def __init__(
        self,
        model: MotionVae,
        codec: SpectralCodec,
        *,
        source: Source = "motiongram",
        seed: int = 0,
        temperature: float = DEFAULT_SAMPLING.temperature,
        playback_delay_s: float | None = None,
        look_ahead_s: float = 0.0,
    ) -> None:
        if model.config.codec_id != codec.identity:
            raise CheckpointError(
                f"the sampler plays codes of {model.config.codec_id}, not of {codec.identity}",
                "Name the codec that it was trained on.",
            )
        if not temperature >= 0:
            raise InputError(f"temperature is {temperature}", "Give 0 or more.")
        self.model, self.codec, self.source = model, codec, source
        self.sample_rate = codec.sample_rate
        self.block_samples = model.config.block_frames * codec.hop_length
        """Samples that one step gives."""
        self.block_s = self.block_samples / self.sample_rate
        self.temperature, self.look_ahead_s = temperature, look_ahead_s
        self._frames, self._decoder = FrameDecoder(model), BlockDecoder(codec.model)
        after_s = self.block_s if playback_delay_s is None else playback_delay_s
        self._late_s = after_s + codec.model.fade_in / codec.sample_rate
        self._reader = MovementReader(source, keep_s=model.config.segment_s + EARLY_S)
        self._seed = seed
        self.reset()

    @property
    def now_s(self) -> float:
        """When the next block begins, in seconds from the start."""
        return self._block * self.block_s

    def reset(self, seed: int | None = None) -> None:
        """Begin again at 0 s, without beats, with another seed if one is given."""
        self._seed = self._seed if seed is None else seed
        self._reader.reset()
        self._track: RhythmTrack | None = None
        self._block = 0
        self._noise = np.zeros(self.model.config.latent)
        self._state = self._frames.initial_state()
        self._synthesis = self._decoder.initial_state()
        self._predicted_by: list[Float32[np.ndarray, "codebooks entries"]] = []
        self._gain = 0.0

    def push_frame(self, frame: UInt8[np.ndarray, "height width 3"], time_s: float) -> None:
        """Take a picture, RGB, shown at a time in seconds.

        Raises:
            InputError: If times do not increase, or the source is poses.
        """
        self._reader.push_frame(frame, time_s)

    def push_pose(self, world: Float32[np.ndarray, "33 3"], present: bool, time_s: float) -> None:
        """Take a pose, landmarks in metres, seen at a time in seconds.

        Raises:
            InputError: If times do not increase, or the source is pictures.
        """
        self._reader.push_pose(world, present, time_s)

    def follow(self, track: RhythmTrack | None) -> None:
        """Play on these beats from now on; the last interval continues. None: freely."""
        self._track = track

    @torch.inference_mode()
    def step(self) -> Float32[np.ndarray, " samples"]:
        """Play one block."""
        shape, lookahead = self.model.config, self._decoder.lookahead
        frames = self._block * shape.block_frames + np.arange(shape.block_frames + lookahead)
        beats = beat_features(self._track, frames / shape.frame_rate + self._late_s)
        noises = [*self._predicted_by, *map(self._gumbel, frames[len(self._predicted_by) :])]
        self._predicted_by = noises[shape.block_frames :]
        codes, levels, self._state = self._frames.sample(
            np.tile(self._point(), (frames.size, 1)),
            beats,
            np.stack(noises, axis=1),
            self.temperature,
            self._state,
            lookahead=lookahead,
        )
        self._block += 1
        sound, self._synthesis = self._decoder.decode(codes, self._synthesis)
        return _bend(sound * self._gains(levels[: shape.block_frames].tolist()))

    def _point(self) -> Float32[np.ndarray, "1 latent"]:
        """Where the movement up to now lies in the latent space, a little off by chance."""
        shape = self.model.config
        at_s = np.array([self.now_s + self.look_ahead_s])
        segment = self._reader.track.segments(at_s, shape.segment_s, shape.n_columns)
        fresh = np.random.default_rng([self._seed, self._block]).standard_normal(shape.latent)
        kept = np.exp(-shape.block_s / shape.segment_s) if self._block else 0.0
        self._noise = kept * self._noise + np.sqrt(1.0 - kept**2) * fresh
        noise = (self.temperature * self._noise).astype(np.float32)
        posterior = self.model.encode_movement(self.source, torch.from_numpy(segment[None]))
        return posterior.sample(torch.from_numpy(noise[None, None]))[0].numpy()

    def _gumbel(self, frame: np.int64) -> Float32[np.ndarray, "codebooks entries"]:
        """The noise that samples a frame's codes: its own when predicted and when played."""
        shape = self.model.config
        rng = np.random.default_rng([self._seed, 1, int(frame)])
        size = (shape.n_codebooks, shape.codebook_size)
        return -np.log(rng.standard_exponential(size, np.float32) + 1e-20)

    def _gains(self, levels: list[float]) -> Float32[np.ndarray, " samples"]:
        """From each frame's level to the next, without a step."""
        hop, gains = self.codec.hop_length, []
        for level in levels:
            level_db = min(LEVEL_DB + LEVEL_SPREAD_DB * level, LOUDEST_DB)
            fade_db = 2.0 * min(0.0, level_db - SILENT_DB)
            gain = 10 ** ((level_db + fade_db - LEVELLED_DB) / 20)
            gains.append(np.linspace(self._gain, gain, hop, endpoint=False))
            self._gain = gain
        return np.concatenate(gains).astype(np.float32)


def play(
    model: MotionVae,
    poses: PoseSequence,
    *,
    seed: int = 0,
    rhythm: RhythmTrack | None = None,
    temperature: float = DEFAULT_SAMPLING.temperature,
    codec: SpectralCodec | None = None,
) -> Waveform:
    """Play a whole dance, as long as its poses.

    What the live instrument plays, but not late: each block knows the movement around it.

    Without ``rhythm`` the sampler plays freely; ``temperature`` is as for ``MotionSampler``, and
    the codec the released one by default.

    Raises:
        CheckpointError: If the codec is not the model's.
        PoseError: If the poses are shorter than a segment.
    """
    segment_s = model.config.segment_s
    if poses.duration_s < segment_s:
        raise PoseError(
            f"the dance lasts {poses.duration_s:g} s, a segment {segment_s:g} s",
            "Give a longer one.",
        )
    sampler = _offline(model, codec, "poses", seed, temperature)
    seen = enumerate(zip(poses.world, poses.present, strict=True))
    observations = (
        (frame / poses.fps, partial(sampler.push_pose, world, bool(present)))
        for frame, (world, present) in seen
    )
    return _play_along(sampler, rhythm, observations, poses.duration_s)


def play_frames(
    model: MotionVae,
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    fps: float,
    duration_s: float,
    *,
    seed: int = 0,
    rhythm: RhythmTrack | None = None,
    temperature: float = DEFAULT_SAMPLING.temperature,
    codec: SpectralCodec | None = None,
) -> Waveform:
    """Play a whole video by its motiongram; see ``play``.

    Frames are read as they are needed; ``duration_s`` is that of the sound.

    Raises:
        CheckpointError: If the codec is not the model's.
        InputError: If the sound would be shorter than a segment.
    """
    segment_s = model.config.segment_s
    if duration_s < segment_s:
        raise InputError(
            f"the video lasts {duration_s:g} s, a segment {segment_s:g} s", "Give a longer one."
        )
    sampler = _offline(model, codec, "motiongram", seed, temperature)
    observations = (
        (number / fps, partial(sampler.push_frame, frame)) for number, frame in enumerate(frames)
    )
    return _play_along(sampler, rhythm, observations, duration_s)


def _offline(
    model: MotionVae, codec: SpectralCodec | None, source: Source, seed: int, temperature: float
) -> MotionSampler:
    """A sampler whose fade-in will be cut off, and which knows the movement around each block."""
    codec = codec or SpectralCodec.from_pretrained()
    return MotionSampler(
        model,
        codec,
        source=source,
        seed=seed,
        temperature=temperature,
        playback_delay_s=-codec.model.fade_in / codec.sample_rate,
        look_ahead_s=model.config.segment_s / 2,
    )


def _play_along(
    sampler: MotionSampler,
    rhythm: RhythmTrack | None,
    observations: Iterator[tuple[float, Callable[[float], None]]],
    duration_s: float,
) -> Waveform:
    """Sound on the rhythm, each observation, a time and what pushes it, given when it is due."""
    sampler.follow(rhythm)
    n_samples = round(duration_s * sampler.sample_rate)
    skip, blocks, played = sampler.codec.model.fade_in, [], 0
    following = next(observations, None)
    while played < n_samples:
        while following is not None and following[0] <= sampler.now_s + sampler.look_ahead_s:
            time_s, push = following
            push(time_s)
            following = next(observations, None)
        blocks.append(sampler.step()[skip:])
        skip = max(0, skip - sampler.block_samples)
        played += blocks[-1].size
    return Waveform(np.concatenate(blocks)[None, :n_samples], sampler.sample_rate)


def _bend(samples: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " samples"]:
    """Full scale is approached, never passed; quieter samples stay as they are."""
    size = np.abs(samples)
    room = np.float32(1.0 - KNEE)
    bent = KNEE + room * np.tanh((size - KNEE) / room)
    return np.where(size > KNEE, np.sign(samples) * bent, samples).astype(np.float32)
