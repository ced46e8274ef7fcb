"""The recipe of the motiongram sampler: dances beside music whose loudness follows them.

Recorded dance music hardly gets louder where the dancer moves more, and a sampler that learned
from it alone would ignore its player. So every sound is played at the level of the movement:
a drummer strikes harder and denser for it (``synthesis.dance_music``), and ``ride_fader`` mixes
drums and bass, rendered or recorded, as an engineer would who watches the dancer. What the
sampler learns, it learns from the sound: level and codes are measured in what was mixed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int16, Int64
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter
from torch import Tensor
from torch.nn import functional

from dancetomusic.codec.registry import load_codec
from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.config import config_to_dict
from dancetomusic.data.augment import PoseAugmentConfig, retime, retime_beats, vary_pose
from dancetomusic.data.clip_stream import ClipStream
from dancetomusic.data.tang2018 import Dance, load_dances
from dancetomusic.errors import CheckpointError, ConfigError, InputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.audio import fit_length, read_audio
from dancetomusic.models.motion_vae.motion_input import MovementTrack, read_pictures, read_poses
from dancetomusic.models.motion_vae.network import (
    LEVEL_DB,
    LEVEL_SPREAD_DB,
    LEVELLED_DB,
    DiagonalGaussian,
    MotionVae,
    MotionVaeConfig,
    beat_features,
)
from dancetomusic.models.registry import TrainingTask
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.pose.motion import joint_speeds
from dancetomusic.pose.silhouette import draw_silhouettes
from dancetomusic.rhythm.energy import danced_rhythm
from dancetomusic.stems.base import Mix
from dancetomusic.stems.hpss import HpssSeparator
from dancetomusic.synthesis.choreography import STYLES, choreograph
from dancetomusic.synthesis.dance_music import play_for_dance
from dancetomusic.synthesis.groove import Groove, load_grooves, select_grooves
from dancetomusic.training.data_hash import hash_arrays
from dancetomusic.training.loop import Group, LoopConfig, Recipe, run_recipe
from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

QUIETEST_DB = -50.0
HEARD_DB = -40.0
"""Codes of quieter sound are not learned: silence is a matter of the level."""

LEVEL_SMOOTHING_S = 0.15
FADER_SMOOTHING_S = 0.1
FADER_RANGE_DB = (-24.0, 6.0)
PROCEDURAL_S = 40.0
MIN_BPM, MAX_BPM = 75.0, 160.0
SILHOUETTE_FPS = (24.0, 25.0, 30.0)
LONGEST_VALIDATION_S = 20.0


@dataclass(frozen=True)
class MotionVaeTrainingConfig(LoopConfig):
    """How the sampler is trained."""

    grooves: str = "../shared/data/groove"
    """Directory of the Groove MIDI Dataset."""
    dances: str | None = "../shared/data/tang2018"
    """Folder of dances with exact beats; none for procedural dances and clips alone."""
    clips: str | None = None
    """Set of clips to learn from too, such as ``dancetomusic capture`` makes."""
    codec: str = "checkpoints/codec"
    """Checkpoint of the embedded codec."""
    segment_s: float = 0.1
    """Length of a segment; 0.1 and 0.5 are the usual ones."""
    n_columns: int = 4
    """Columns of movement in a segment."""
    dance_versions: int = 2
    """Renderings of each dance; all but the first are retimed."""
    recorded: bool = False
    """Whether the dances' own drums and bass are learned, too."""
    n_procedural: int = 24
    """Procedural dances."""
    variants: int = 1
    """Views of each dance: another camera, body, detector and clothing."""
    augment: PoseAugmentConfig = field(default_factory=PoseAugmentConfig)
    """How the views differ."""
    crop_s: float = 4.0
    sound_share: float = 0.4
    """Share of crops whose points come from the sound instead of the movement."""
    untold_share: float = 0.05
    """Share of crops in which no code is told to the next; of the others up to a fifth are not."""
    beatless_share: float = 0.2
    """Share of crops without a beat."""
    prior_weight: float = 0.001
    """Of the distance of sound and movement from a standard Gaussian."""
    shared_weight: float = 0.005
    """Of the distance of sound from movement, which brings both into one space."""
    movement_weight: float = 0.5
    """Of the movement written back."""
    level_weight: float = 2.0
    """Of the level's error (Huber's)."""
    max_steps: int = 2400
    batch_size: int = 12
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    bf16: bool | None = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("sound_share", "untold_share", "beatless_share"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"{key} is {getattr(self, key)}", "Give a share in [0, 1].")
        for key in ("prior_weight", "shared_weight", "movement_weight", "level_weight"):
            if not getattr(self, key) >= 0:
                raise ConfigError(f"{key} is {getattr(self, key)}", "Give 0 or more.")
        if self.dance_versions < 1 or self.variants < 1 or self.n_procedural < 0:
            raise ConfigError("a count is out of range", "Give 1 or more, n_procedural 0 or more.")
        if not self.crop_s > self.segment_s:
            raise ConfigError("crops are no longer than segments", "Lengthen crop_s.")


@dataclass(frozen=True)
class Pair:
    """A dance and music that follows it.

    Attributes:
        poses: The dancer.
        track: The beats of both.
        codes: Of the music at an even level.
        level: Its level, one value a code, in units of ``LEVEL_SPREAD_DB``.
    """

    poses: PoseSequence
    track: RhythmTrack
    codes: Int16[np.ndarray, "codebooks frames"]
    level: Float32[np.ndarray, " frames"]


@dataclass(frozen=True)
class View:
    """A pair as one camera sees it."""

    pair: Pair
    motiongram: MovementTrack
    poses: MovementTrack


@dataclass(frozen=True)
class SegmentBatch:
    """Crops of views, and all that is random about them.

    Attributes:
        motiongram: Segments of the motiongram.
        poses: Segments of the poses.
        by_sound: Whose points come from the sound.
        by_poses: Of the others, whose come from poses instead of the motiongram.
        noise: Draws the points.
        beats: Beat features.
        codes: What is to be played.
        before: The codes one frame earlier, as far as they are told.
        level: In units of ``LEVEL_SPREAD_DB``.
        heard: Where codes are to be learned.
    """

    motiongram: Float32[Tensor, "batch blocks columns grams"]
    poses: Float32[Tensor, "batch blocks columns joints"]
    by_sound: Bool[Tensor, " batch"]
    by_poses: Bool[Tensor, " batch"]
    noise: Float32[Tensor, "batch blocks latent"]
    beats: Float32[Tensor, "batch frames features"]
    codes: Int64[Tensor, "batch codebooks frames"]
    before: Int64[Tensor, "batch codebooks frames"]
    level: Float32[Tensor, "batch frames"]
    heard: Bool[Tensor, "batch frames"]


def ride_fader(sound: Waveform, poses: PoseSequence) -> Waveform:
    """Mix a sound as loud as the dancer is quick: 6 dB for each doubling of the mean speed.

    The usual speed of the dance is 0 dB; from -24 dB, where nobody moves, to 6 dB.
    """
    speeds = np.nan_to_num(joint_speeds(poses))
    if not speeds.size or speeds.max() <= 0:
        return Waveform(sound.samples * np.float32(10 ** (FADER_RANGE_DB[0] / 20)),
                        sound.sample_rate)  # fmt: skip
    smooth = gaussian_filter1d(speeds, FADER_SMOOTHING_S * poses.fps, mode="nearest")
    gain_db = np.clip(20 * np.log10(np.maximum(smooth / speeds.mean(), 1e-6)), *FADER_RANGE_DB)
    at = np.arange(sound.samples.shape[1]) / sound.sample_rate * poses.fps - 0.5
    gain = 10 ** (np.interp(at, np.arange(gain_db.size), gain_db) / 20)
    return Waveform((sound.samples * gain).astype(np.float32), sound.sample_rate)


def split_level(
    sound: Waveform, hop_length: int
) -> tuple[Waveform, Float32[np.ndarray, " frames"]]:
    """A mono sound at an even level, and the level it had.

    Args:
        sound: One channel.
        hop_length: Samples for each value of the level.

    Returns:
        The sound at ``LEVELLED_DB``, what was below ``QUIETEST_DB`` no louder than by that
        much; the level in dB.
    """
    samples = sound.samples[0].astype(np.float64)
    frames = -(-samples.size // hop_length)
    padded = np.pad(samples, (0, frames * hop_length - samples.size))
    power = (padded.reshape(frames, hop_length) ** 2).mean(axis=1)
    sigma = LEVEL_SMOOTHING_S * sound.sample_rate / hop_length
    smooth = gaussian_filter1d(power, sigma, mode="nearest")
    level_db = 10 * np.log10(np.maximum(smooth, 10 ** (QUIETEST_DB / 10)))
    at = np.arange(samples.size) / hop_length - 0.5
    gain = 10 ** ((LEVELLED_DB - np.interp(at, np.arange(frames), level_db)) / 20)
    even = Waveform((samples * gain).astype(np.float32)[None], sound.sample_rate)
    return even, level_db.astype(np.float32)


def pair_up(codec: SpectralCodec, poses: PoseSequence, track: RhythmTrack, sound: Waveform) -> Pair:
    """Measure level and codes of a sound beside a dance."""
    even, level_db = split_level(sound.to_mono(), codec.hop_length)
    codes = codec.encode(even).codes
    level = ((level_db - LEVEL_DB) / LEVEL_SPREAD_DB).astype(np.float32)
    return Pair(poses, track, codes.astype(np.int16), level[: codes.shape[1]])


def dance_pairs(
    dances: Sequence[Dance],
    grooves: Sequence[Groove],
    codec: SpectralCodec,
    *,
    versions: int,
    recorded: bool,
    augment: PoseAugmentConfig,
    seed: int,
    held_out: bool = False,
) -> list[Pair]:
    """Real dances with grooves rendered on their beats, and with their own drums and bass.

    Raises:
        InputError: If a dance has no sound and ``recorded`` asks for it.
        DependencyError: If FluidSynth or its sound font is missing.
    """
    pairs = []
    for number, dance in enumerate(dances):
        for version in range(versions):
            rng = np.random.default_rng([seed, number, version])
            speed = 1.0
            if version:
                low, high = np.log(augment.min_retiming), np.log(augment.max_retiming)
                speed = float(np.exp(rng.uniform(low, high)))
            poses, track = _at_speed(dance, speed)
            sound = play_for_dance(
                track, grooves, rng, sample_rate=codec.sample_rate, held_out=held_out
            )
            pairs.append(pair_up(codec, poses, track, ride_fader(sound, poses)))
        if recorded:
            music = read_audio(dance.audio_path, codec.sample_rate)
            if music is None:
                raise InputError(f"{dance.audio_path} has no sound", "Restore the file.")
            poses, track = _at_speed(dance, 1.0)
            music = fit_length(music, round(poses.duration_s * codec.sample_rate))
            stem = HpssSeparator().drum_and_bass([Mix(f"dance-{number}", music)])[0]
            pairs.append(pair_up(codec, poses, track, ride_fader(stem, poses)))
    return pairs


def procedural_pairs(
    count: int, grooves: Sequence[Groove], codec: SpectralCodec, seed: int
) -> list[Pair]:
    """Procedural dances of all styles, with grooves rendered on their beats."""
    pairs = []
    for number in range(count):
        rng = np.random.default_rng([seed, 1, number])
        dance = choreograph(
            STYLES[number % len(STYLES)],
            float(np.exp(rng.uniform(np.log(MIN_BPM), np.log(MAX_BPM)))),
            PROCEDURAL_S,
            int(rng.integers(2**31)),
            intensity=float(rng.uniform(0.5, 1.4)),
            hold_share=float(rng.uniform(0.05, 0.3)),
        )
        poses = _poses_of(dance.world, dance.fps)
        track = danced_rhythm(poses, dance.beat_times, dance.beat_numbers)
        sound = play_for_dance(track, grooves, rng, sample_rate=codec.sample_rate)
        pairs.append(pair_up(codec, poses, track, ride_fader(sound, poses)))
    return pairs


def clip_pairs(root: str, codec: SpectralCodec) -> list[Pair]:
    """The training clips of a set, with their stems as they were played.

    Raises:
        InputError: If there is no set, or no accepted clip.
        DependencyError: If pyarrow is not installed.
    """
    return [
        pair_up(codec, clip.poses, clip.rhythm, clip.stem)
        for clip in ClipStream(root, split="train", shuffle=False)
    ]


def view_pair(pair: Pair, augment: PoseAugmentConfig, rng: np.random.Generator) -> View:
    """See a pair from another side: landmarks as a detector gives them, a silhouette in colours."""
    world, present = vary_pose(pair.poses.world, pair.poses.fps, augment, rng)
    present &= pair.poses.present
    seen = PoseSequence(world, present, pair.poses.visibility, pair.poses.fps)
    filmed = resample_poses(seen, float(rng.choice(SILHOUETTE_FPS)))
    silhouettes = draw_silhouettes(filmed.world, rng)
    return View(pair, read_pictures(silhouettes, filmed.fps), read_poses(seen))


class MotionVaeRecipe(Recipe):
    """Trains a ``MotionVae`` on dances beside music.

    What is rendered and encoded for it is kept in the run's directory.

    Args:
        config: The settings.
        output: The run's directory.
        device: Where it is trained.

    Raises:
        InputError: If data is missing, malformed or shorter than a crop.
        CheckpointError: If there is no such codec, or it is not the embedded one.
        DependencyError: If music is to be rendered and FluidSynth is missing.
    """

    config: MotionVaeTrainingConfig

    def __init__(self, config: MotionVaeTrainingConfig, output: Path, device: torch.device) -> None:
        self.config, self.output, self.device = config, output, device
        codec = load_codec(config.codec)
        if not isinstance(codec, SpectralCodec):
            raise CheckpointError(
                f"{config.codec} is not the embedded codec", "Name one that train.py wrote."
            )
        self.codec = codec
        sizes = codec.model.config
        self.model = MotionVae(
            MotionVaeConfig(
                codec_id=codec.identity,
                frame_rate=codec.frame_rate,
                n_codebooks=codec.n_codebooks,
                codebook_size=sizes.codebook_size,
                code_channels=sizes.encoder_channels,
                segment_s=config.segment_s,
                n_columns=config.n_columns,
            )
        ).to(device)
        self.shape = self.model.config
        self.crop_blocks = round(config.crop_s / self.shape.block_s)
        self.crop_frames = self.crop_blocks * self.shape.block_frames
        pairs = self._kept("pairs", self._make_pairs)
        held_out = self._kept("held_out", self._make_held_out)
        self.views = [
            view_pair(pair, config.augment, np.random.default_rng([config.seed, number, view]))
            for number, pair in enumerate(pairs)
            for view in range(config.variants)
        ]
        self.held_out = [
            view_pair(pair, config.augment, np.random.default_rng([0, number]))
            for number, pair in enumerate(held_out)
        ]
        lengths = [view.pair.codes.shape[1] for view in self.views]
        if min(*lengths, *(view.pair.codes.shape[1] for view in self.held_out)) < self.crop_frames:
            raise InputError(
                f"crops of {config.crop_s:g} s are longer than the shortest dance",
                "Shorten crop_s.",
            )
        self.shares = np.array(lengths) / sum(lengths)
        codec.to(str(device))
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98),
            weight_decay=config.weight_decay,
        )  # fmt: skip
        self.modules = {"model": self.model}
        self.groups = {"model": Group(optimizer, config.learning_rate, clip_norm=config.clip_norm)}
        self.data_hash = hash_arrays(
            array for pair in pairs for array in (pair.codes, pair.level, pair.poses.world)
        )
        self.epoch_size = max(1, round(sum(lengths) / config.variants / self.crop_frames))

    def batch(self, step: int, places: range) -> SegmentBatch:
        """Crops of views, drawn as often as they are long."""
        return self._crops(self.views, self.shares, [self.rng(step, place) for place in places])

    def _crops(
        self, views: Sequence[View], shares: np.ndarray, rngs: Sequence[np.random.Generator]
    ) -> SegmentBatch:
        crops = [self._crop(views[int(rng.choice(len(views), p=shares))], rng) for rng in rngs]
        columns = [torch.from_numpy(np.stack(column)) for column in zip(*crops, strict=True)]
        return SegmentBatch(*columns)

    def _crop(self, view: View, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        config, shape, pair = self.config, self.shape, view.pair
        frames = self.crop_frames
        start = int(rng.integers(pair.codes.shape[1] - frames + 1))
        codes = pair.codes[:, start : start + frames].astype(np.int64)
        before = np.full_like(codes, self.model.unknown)
        before[:, 1:] = codes[:, :-1]
        if start:
            before[:, 0] = pair.codes[:, start - 1]
        told = rng.uniform(0.8, 1.0) if rng.random() >= config.untold_share else 0.0
        level = pair.level[start : start + frames]
        heard = level > (HEARD_DB - LEVEL_DB) / LEVEL_SPREAD_DB
        before[:, rng.random(frames) >= told] = self.model.unknown
        before[:, 1:][:, ~heard[:-1]] = self.model.unknown
        seconds = (start + np.arange(frames)) / shape.frame_rate
        beats = beat_features(None if rng.random() < config.beatless_share else pair.track, seconds)
        at_s = seconds[:: shape.block_frames] + rng.uniform(-0.03, config.segment_s / 2 + 0.03)
        return (
            view.motiongram.segments(at_s, shape.segment_s, shape.n_columns),
            view.poses.segments(at_s, shape.segment_s, shape.n_columns),
            np.array(rng.random() < config.sound_share),
            np.array(rng.random() < 0.5),
            smooth_noise(rng, self.crop_blocks, shape),
            beats,
            codes,
            before,
            level,
            heard,
        )

    def losses(self, group: str, batch: SegmentBatch, step: int) -> dict[str, Tensor]:
        """Codes and level from the points of one side, distances in the latent space."""
        return self._losses(batch, batch.by_sound)

    def _losses(self, batch: SegmentBatch, by_sound: Tensor) -> dict[str, Tensor]:
        config, model = self.config, self.model
        with torch.no_grad():
            latent = self.codec.model.quantizer.decode(batch.codes)
        sound = model.encode_sound(latent, batch.level)
        seen = model.encode_movement("motiongram", batch.motiongram)
        felt = model.encode_movement("poses", batch.poses)
        moved = [_choose(batch.by_poses, a, b) for a, b in zip(felt, seen, strict=True)]
        chosen = DiagonalGaussian(
            *(_choose(by_sound, a, b) for a, b in zip(sound, moved, strict=True))
        )
        points = chosen.sample(batch.noise)
        played = model.decode(points, batch.beats, batch.before, batch.codes)
        logits = played.logits.permute(0, 3, 1, 2)
        unlikely = functional.cross_entropy(logits, batch.codes, reduction="none")
        heard = batch.heard[:, None].float()
        shared = divergence(sound, seen) + divergence(sound, felt)
        prior = divergence(sound) + divergence(seen) + divergence(felt)
        terms = {
            "codes": (unlikely * heard).sum() / heard.sum().clamp(min=1) / unlikely.shape[1],
            "level": config.level_weight * functional.smooth_l1_loss(played.level, batch.level),
            "movement": config.movement_weight
            * (model.decode_movement(points) - batch.motiongram).square().mean(),
            "shared": config.shared_weight * shared / 2,
            "prior": config.prior_weight * prior / 3,
        }
        return {"total": torch.stack(list(terms.values())).sum(), **terms}

    def validate(self) -> dict[str, float]:
        """Codes and level of held-out dances and instruments, from the movement alone."""
        rngs = [np.random.default_rng([0, place]) for place in range(2 * len(self.held_out))]
        shares = np.full(len(self.held_out), 1 / len(self.held_out))
        crops = self._crops(self.held_out, shares, rngs)
        batch = SegmentBatch(**{key: value.to(self.device) for key, value in vars(crops).items()})
        terms = self._losses(batch, torch.zeros_like(batch.by_sound))
        found = {name: float(terms[name]) for name in ("codes", "level", "movement")}
        return {"loss": found["codes"] + found["level"], **found}

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the sampler."""
        self.model.save_pretrained(directory, metadata)

    def _make_pairs(self) -> list[Pair]:
        config = self.config
        pairs = [] if config.clips is None else clip_pairs(config.clips, self.codec)
        if config.dances is not None or config.n_procedural:
            grooves = select_grooves(load_grooves(config.grooves), held_out=False)
        if config.dances is not None:
            pairs += dance_pairs(
                load_dances(config.dances, split="train"),
                grooves,
                self.codec,
                versions=config.dance_versions,
                recorded=config.recorded,
                augment=config.augment,
                seed=config.seed,
            )
        if config.n_procedural:
            pairs += procedural_pairs(config.n_procedural, grooves, self.codec, config.seed)
        if not pairs:
            raise InputError(
                "there is nothing to learn from", "Give dances, clips or n_procedural."
            )
        return pairs

    def _make_held_out(self) -> list[Pair]:
        config = self.config
        grooves = select_grooves(load_grooves(config.grooves), held_out=True)
        if config.dances is None:
            return procedural_pairs(4, grooves, self.codec, config.seed + 1)
        return dance_pairs(
            load_dances(config.dances, split="val"),
            grooves,
            self.codec,
            versions=1,
            recorded=False,
            augment=config.augment,
            seed=config.seed,
            held_out=True,
        )

    def _kept(self, name: str, make: Callable[[], list[Pair]]) -> list[Pair]:
        """Pairs, kept on disk with the settings and the codec that they were made by."""
        keys = "grooves dances clips dance_versions recorded n_procedural augment seed"
        values = config_to_dict(self.config)
        origin = json.dumps([self.codec.identity, {key: values[key] for key in keys.split()}])
        file = self.output / f"{name}.npz"
        if file.is_file():
            with np.load(file, allow_pickle=False) as arrays:
                if str(arrays["origin"]) == origin:
                    return [_pair_of(arrays, number) for number in range(int(arrays["n_pairs"]))]
        pairs = make()
        arrays = {"origin": np.array(origin), "n_pairs": np.array(len(pairs))}
        for number, pair in enumerate(pairs):
            arrays |= {f"{key}{number}": value for key, value in _arrays_of(pair).items()}
        with atomic_output(file) as temporary:
            np.savez(temporary, **arrays)
        return pairs


def smooth_noise(
    rng: np.random.Generator, n_blocks: int, shape: MotionVaeConfig
) -> Float32[np.ndarray, "blocks latent"]:
    """Standard Gaussian noise that segments have in common as far as they overlap."""
    kept = np.exp(-shape.block_s / shape.segment_s)
    drawn = rng.standard_normal((n_blocks, shape.latent))
    drawn[1:] *= np.sqrt(1 - kept**2)
    return lfilter([1.0], [1.0, -kept], drawn, axis=0).astype(np.float32)


def divergence(
    belief: DiagonalGaussian, other: DiagonalGaussian | None = None
) -> Float32[Tensor, ""]:
    """Kullback-Leibler divergence of a belief from another, by default a standard Gaussian.

    Summed over axes, mean over segments, in nats.
    """
    mean, deviation = belief.mean, belief.log_deviation
    zeros = torch.zeros_like(mean)
    to_mean, to_deviation = (zeros, zeros) if other is None else other
    ratio = (2 * (deviation - to_deviation)).exp()
    apart = (mean - to_mean).square() * (-2 * to_deviation).exp()
    return (0.5 * (ratio + apart - 1) - deviation + to_deviation).sum(-1).mean()


def train_motion_vae(config: MotionVaeTrainingConfig, output: Path | str) -> None:
    """Train a sampler, or go on with a stopped run; write it as a ``motion_vae`` checkpoint.

    Raises:
        DanceToMusicError: See ``MotionVaeRecipe`` and ``run_recipe``.
    """
    make = partial(MotionVaeRecipe, config, Path(output))
    run_recipe(lambda world: make(world.device), config, output)


def _choose(first: Bool[Tensor, " batch"], a: Tensor, b: Tensor) -> Tensor:
    return torch.where(first[:, None, None], a, b)


def _at_speed(dance: Dance, speed: float) -> tuple[PoseSequence, RhythmTrack]:
    """A dance played slower or faster, with its beats."""
    fps = dance.poses.fps
    n_frames = int(len(dance.poses) / speed)
    world = retime(dance.poses.world, fps, start_s=0.0, speed=speed, n_frames=n_frames)
    poses = _poses_of(world, fps)
    beats = retime_beats(dance.beat_times, start_s=0.0, speed=speed)
    numbers = np.arange(beats.size) % dance.beats_per_bar + 1
    return poses, danced_rhythm(poses, beats, numbers)


def _poses_of(world: Float32[np.ndarray, "frames 33 3"], fps: float) -> PoseSequence:
    shape = world.shape[:2]
    return PoseSequence(world, np.ones(shape[0], bool), np.ones(shape, np.float32), fps)


def _arrays_of(pair: Pair) -> dict[str, np.ndarray]:
    return {
        "world": pair.poses.world,
        "present": pair.poses.present,
        "fps": np.array(pair.poses.fps),
        "beats": pair.track.beat_times,
        "numbers": pair.track.beat_numbers,
        "codes": pair.codes,
        "level": pair.level,
    }


def _pair_of(arrays: Any, number: int) -> Pair:
    held = {key: arrays[f"{key}{number}"] for key in (
        "world", "present", "fps", "beats", "numbers", "codes", "level")}  # fmt: skip
    visibility = np.ones(held["world"].shape[:2], np.float32)
    poses = PoseSequence(held["world"], held["present"], visibility, float(held["fps"]))
    return Pair(
        poses, danced_rhythm(poses, held["beats"], held["numbers"]), held["codes"], held["level"]
    )


TASK = TrainingTask(MotionVaeTrainingConfig, train_motion_vae)
