"""What the motiongram sampler learns from: dances beside music whose loudness follows them.

Recorded dance music hardly gets louder where the dancer moves more, and a sampler that learned
from it alone would ignore its player. So every sound is played at the level of the movement:
a drummer plays harder and denser for it (``synthesis.dance_music``), and ``ride_fader`` mixes
drums and bass, rendered or recorded, as an engineer would who watches the dancer. What the
sampler learns, it learns from the sound: level and codes are measured in what was mixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16, Int64
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter
from torch import Tensor

from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.config import check_ranges, config_to_dict
from dancetomusic.data.augment import (
    PoseAugmentConfig,
    log_uniform,
    retime,
    retime_beats,
    vary_pose,
)
from dancetomusic.data.clip import ClipRecord
from dancetomusic.data.clip_stream import ClipStream
from dancetomusic.data.dance import Dance, fully_visible
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import ConfigError, InputError
from dancetomusic.io.audio import fit_length
from dancetomusic.io.video import probe_video, read_frames
from dancetomusic.models.motion_vae.motion_input import MovementTrack, read_pictures, read_poses
from dancetomusic.models.motion_vae.network import (
    LEVEL_DB,
    LEVEL_SPREAD_DB,
    LEVELLED_DB,
    MotionVaeConfig,
    beat_features,
)
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.pose.motion import joint_speeds
from dancetomusic.pose.silhouette import draw_silhouettes
from dancetomusic.rhythm.energy import danced_rhythm
from dancetomusic.stems.base import Mix
from dancetomusic.stems.hpss import HpssSeparator
from dancetomusic.synthesis.choreography import STYLES, choreograph
from dancetomusic.synthesis.dance_music import play_for_dance
from dancetomusic.synthesis.groove import Groove, load_grooves, select_grooves
from dancetomusic.training.config import LoopConfig
from dancetomusic.training.dataset import Sample, TrainingSet
from dancetomusic.training.prepared import hash_arrays, load_or_make
from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

QUIETEST_DB = -50.0
AUDIBLE_DB = -40.0
"""Codes of quieter sound are not learned: silence is in the level."""

LEVEL_SMOOTHING_S = 0.15
FADER_SMOOTHING_S = 0.1
FADER_RANGE_DB = (-24.0, 6.0)
PROCEDURAL_S = 40.0
MIN_BPM, MAX_BPM = 75.0, 160.0
SILHOUETTE_FPS = (24.0, 25.0, 30.0)


@dataclass(frozen=True)
class MotionVaeTrainingConfig(LoopConfig):
    """How the sampler is trained."""

    grooves: str = "../shared/data/groove"
    """Directory of the Groove MIDI Dataset."""
    dances: str | None = "../shared/data/tang2018"
    """Folder of dances with exact beats; none for procedural dances and clips alone."""
    clips: str | None = None
    """Set of clips to learn from too, such as ``dancetomusic capture`` makes."""
    takes: str | None = None
    """Folder of the videos that ``clips`` was made of: motiongrams are then those of the camera.
    Without it, figures drawn from the poses stand for it."""
    clips_share: float = 0.25
    """Share of crops from ``clips``."""
    start_from: str | None = None
    """Checkpoint of a sampler to begin with, as far as the shapes are the same."""
    codec: str = "checkpoints/codec"
    """Checkpoint of the embedded codec."""
    segment_s: float = 0.1
    """Length of a segment; 0.1 and 0.5 are the usual ones."""
    n_columns: int = 4
    """Columns of movement in a segment."""
    dance_versions: int = 2
    """Renderings of each dance; all but the first are retimed."""
    recorded: bool = False
    """Whether to learn from the dances' own drums and bass, too."""
    n_procedural: int = 24
    """Procedural dances."""
    variants: int = 1
    """Views of each dance: another camera, body, detector and clothing."""
    augment: PoseAugmentConfig = field(default_factory=PoseAugmentConfig)
    """How the views differ."""
    crop_s: float = 4.0
    sound_share: float = 0.4
    """Share of crops whose latent points come from the sound instead of the movement."""
    beatless_share: float = 0.2
    """Share of crops without a beat."""
    prior_weight: float = 0.001
    """Of the KL divergences of sound and movement from a standard Gaussian."""
    shared_weight: float = 0.005
    """Of the KL divergence of sound from movement, which brings both into one space."""
    movement_weight: float = 0.5
    """Of the reconstruction of the movement."""
    level_weight: float = 2.0
    """Of the level's error (Huber's)."""
    max_steps: int = 2400
    batch_size: int = 12
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    bf16: bool | None = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self,
            shares="clips_share sound_share beatless_share",
            weights="prior_weight shared_weight movement_weight level_weight n_procedural",
            counts="dance_versions variants",
        )
        if not self.crop_s > self.segment_s:
            raise ConfigError("crops are no longer than segments", "Lengthen crop_s.")


@dataclass(frozen=True)
class Pair:
    """A dance and music that follows it.

    Attributes:
        codes: Of the music at an even level.
        level: Its level, one value a code, in units of ``LEVEL_SPREAD_DB``.
        filmed: The motiongram of a camera that saw the dancer, if one did.
    """

    poses: PoseSequence
    track: RhythmTrack
    codes: Int16[np.ndarray, "codebooks frames"]
    level: Float32[np.ndarray, " frames"]
    filmed: MovementTrack | None = None


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
        by_sound: Samples whose latent points come from the sound.
        by_poses: Of the others, those whose points come from poses instead of the motiongram.
        level: In units of ``LEVEL_SPREAD_DB``.
        audible: Frames loud enough that their codes are learned.
    """

    motiongram: Float32[Tensor, "batch blocks columns grams"]
    poses: Float32[Tensor, "batch blocks columns joints"]
    by_sound: Bool[Tensor, " batch"]
    by_poses: Bool[Tensor, " batch"]
    noise: Float32[Tensor, "batch blocks latent"]
    beats: Float32[Tensor, "batch frames features"]
    codes: Int64[Tensor, "batch codebooks frames"]
    level: Float32[Tensor, "batch frames"]
    audible: Bool[Tensor, "batch frames"]


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

    The level has a value for each ``hop_length`` samples.

    Returns:
        The sound at ``LEVELLED_DB``, what was below ``QUIETEST_DB`` no louder than by that
        much; the level in dB.
    """
    # Level: power of each hop, smoothed, in dB.
    samples = sound.samples[0].astype(np.float64)
    frames = -(-samples.size // hop_length)
    padded = np.pad(samples, (0, frames * hop_length - samples.size))
    power = (padded.reshape(frames, hop_length) ** 2).mean(axis=1)
    sigma = LEVEL_SMOOTHING_S * sound.sample_rate / hop_length
    smooth = gaussian_filter1d(power, sigma, mode="nearest")
    level_db = 10 * np.log10(np.maximum(smooth, 10 ** (QUIETEST_DB / 10)))
    # Gain: interpolated between the hops' centres.
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
                speed = log_uniform(rng, augment.min_retiming, augment.max_retiming)
            poses, track = _at_speed(dance, speed)
            sound = play_for_dance(
                track, grooves, rng, sample_rate=codec.sample_rate, held_out=held_out
            )
            pairs.append(pair_up(codec, poses, track, ride_fader(sound, poses)))
        if recorded:
            poses, track = _at_speed(dance, 1.0)
            music = dance.music(codec.sample_rate)
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
            log_uniform(rng, MIN_BPM, MAX_BPM),
            PROCEDURAL_S,
            int(rng.integers(2**31)),
            intensity=float(rng.uniform(0.5, 1.4)),
            hold_share=float(rng.uniform(0.05, 0.3)),
        )
        poses = fully_visible(dance.world, dance.fps)
        track = danced_rhythm(poses, dance.beat_times, dance.beat_numbers)
        sound = play_for_dance(track, grooves, rng, sample_rate=codec.sample_rate)
        pairs.append(pair_up(codec, poses, track, ride_fader(sound, poses)))
    return pairs


def clip_pairs(
    root: str, takes: str | None, codec: SpectralCodec, split: str = "train"
) -> list[Pair]:
    """The clips of a set, with drums and bass as the fader mixes them.

    Motiongrams are read from the videos in ``takes``, where that is given.

    Raises:
        InputError: If there is no set, or no accepted clip.
        VideoError: If a take is missing or cannot be read.
        DependencyError: If pyarrow is not installed.
    """
    pairs = []
    for clip in ClipStream(root, split=split, shuffle=False):
        pair = pair_up(codec, clip.poses, clip.rhythm, ride_fader(clip.stem, clip.poses))
        if takes is not None:
            pair = replace(pair, filmed=_filmed(Path(takes), clip.record))
        pairs.append(pair)
    return pairs


def _filmed(takes: Path, record: ClipRecord) -> MovementTrack:
    """The motiongram of a clip, from the video that it was cut from."""
    video = takes / record.source
    fps = probe_video(video).source_fps
    n_frames = round((record.end_s - record.start_s) * fps)
    frames = read_frames(video, fps, start_s=record.start_s, n_frames=n_frames)
    return read_pictures(frames, fps)


def view_pair(pair: Pair, augment: PoseAugmentConfig, rng: np.random.Generator) -> View:
    """See a pair from another side: landmarks as a detector gives them, a silhouette in colours.

    What a camera has filmed stays as it is.
    """
    world, present = vary_pose(pair.poses.world, pair.poses.fps, augment, rng)
    present &= pair.poses.present
    seen = PoseSequence(world, present, pair.poses.visibility, pair.poses.fps)
    if pair.filmed is not None:
        return View(pair, pair.filmed, read_poses(seen))
    drawn = resample_poses(seen, float(rng.choice(SILHOUETTE_FPS)))
    silhouettes = draw_silhouettes(drawn.world, rng)
    return View(pair, read_pictures(silhouettes, drawn.fps), read_poses(seen))


class SegmentCrops(TrainingSet):
    """Random crops of views.

    ``weights`` are how often each view is chosen, relative to the others.
    """

    batch_type = SegmentBatch

    def __init__(
        self,
        config: MotionVaeTrainingConfig,
        shape: MotionVaeConfig,
        views: Sequence[View],
        weights: Float64[np.ndarray, " views"],
    ) -> None:
        self.config, self.shape, self.seed = config, shape, config.seed
        self.views = views
        self.crop_blocks = round(config.crop_s / shape.block_s)
        self.crop_frames = self.crop_blocks * shape.block_frames
        lengths = [view.pair.codes.shape[1] for view in views]
        if min(lengths) < self.crop_frames:
            raise InputError(
                f"crops of {config.crop_s:g} s are longer than the shortest dance",
                "Shorten crop_s.",
            )
        self.shares = weights / weights.sum()
        self.content_hash = hash_arrays(
            array
            for pair in (view.pair for view in views)
            for array in (pair.codes, pair.level, pair.poses.world)
        )
        self.epoch_size = max(1, round(sum(lengths) / config.variants / self.crop_frames))

    def sample(self, rng: np.random.Generator, step: int = 0) -> Sample:
        """A random crop of a random view."""
        return self._crop(self.views[int(rng.choice(len(self.views), p=self.shares))], rng)

    def _crop(self, view: View, rng: np.random.Generator) -> Sample:
        config, shape, pair = self.config, self.shape, view.pair
        frames = self.crop_frames
        start = int(rng.integers(pair.codes.shape[1] - frames + 1))
        codes = pair.codes[:, start : start + frames].astype(np.int64)
        level = pair.level[start : start + frames]
        audible = level > (AUDIBLE_DB - LEVEL_DB) / LEVEL_SPREAD_DB
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
            level,
            audible,
        )


def open_crops(
    config: MotionVaeTrainingConfig, output: Path, codec: SpectralCodec, shape: MotionVaeConfig
) -> tuple[SegmentCrops, SegmentCrops]:
    """Crops to learn from, and held-out ones; what is rendered and encoded is kept in ``output``.

    Raises:
        InputError: If data is missing, malformed or shorter than a crop.
        VideoError: If a take cannot be read.
        DependencyError: If music is to be rendered and FluidSynth is missing.
    """
    values = config_to_dict(config)
    rendering = "grooves dances dance_versions recorded n_procedural augment seed"
    clips, rendered, held_out = (
        load_or_make(
            output / f"{name}.npz",
            [codec.identity, {key: values[key] for key in keys.split()}],
            partial(make, config, codec),
            _pack,
            _unpack,
        )
        for name, keys, make in (
            ("clips", "clips takes", _make_clips),
            ("rendered", rendering, _make_rendered),
            ("held_out", f"{rendering} clips takes", _make_held_out),
        )
    )
    if not clips and not rendered:
        raise InputError("there is nothing to learn from", "Give dances, clips or n_procedural.")
    # Crops are evenly spread over all there is to hear, but for the share of the clips.
    views = [
        view_pair(pair, config.augment, np.random.default_rng([config.seed, number, view]))
        for number, pair in enumerate([*clips, *rendered])
        for view in range(config.variants)
    ]
    weights = np.array([view.pair.codes.shape[1] for view in views], np.float64)
    of_clips = np.arange(len(views)) < len(clips) * config.variants
    if clips and rendered:
        weights[of_clips] *= config.clips_share / weights[of_clips].sum()
        weights[~of_clips] *= (1.0 - config.clips_share) / weights[~of_clips].sum()
    held_out_views = [
        view_pair(pair, config.augment, np.random.default_rng([0, number]))
        for number, pair in enumerate(held_out)
    ]
    return (
        SegmentCrops(config, shape, views, weights),
        SegmentCrops(config, shape, held_out_views, np.ones(len(held_out_views))),
    )


def _make_clips(config: MotionVaeTrainingConfig, codec: SpectralCodec) -> list[Pair]:
    return [] if config.clips is None else clip_pairs(config.clips, config.takes, codec)


def _make_rendered(config: MotionVaeTrainingConfig, codec: SpectralCodec) -> list[Pair]:
    pairs = []
    if config.dances is not None or config.n_procedural:
        grooves = select_grooves(load_grooves(config.grooves), held_out=False)
    if config.dances is not None:
        dances = load_dances(config.dances, split="train")
        pairs += dance_pairs(
            dances, grooves, codec, versions=config.dance_versions, recorded=config.recorded,
            augment=config.augment, seed=config.seed,
        )  # fmt: skip
    if config.n_procedural:
        pairs += procedural_pairs(config.n_procedural, grooves, codec, config.seed)
    return pairs


def _make_held_out(config: MotionVaeTrainingConfig, codec: SpectralCodec) -> list[Pair]:
    if config.dances is None and not config.n_procedural and config.clips is not None:
        return clip_pairs(config.clips, config.takes, codec, split="val")
    grooves = select_grooves(load_grooves(config.grooves), held_out=True)
    if config.dances is None:
        return procedural_pairs(4, grooves, codec, config.seed + 1)
    return dance_pairs(
        load_dances(config.dances, split="val"), grooves, codec, versions=1, recorded=False,
        augment=config.augment, seed=config.seed, held_out=True,
    )  # fmt: skip


def smooth_noise(
    rng: np.random.Generator, n_blocks: int, shape: MotionVaeConfig
) -> Float32[np.ndarray, "blocks latent"]:
    """Standard Gaussian noise that segments have in common as far as they overlap."""
    # AR(1) with the correlation exp(-hop / length), started in its stationary distribution.
    kept = np.exp(-shape.block_s / shape.segment_s)
    white = rng.standard_normal((n_blocks, shape.latent))
    white[1:] *= np.sqrt(1 - kept**2)
    return lfilter([1.0], [1.0, -kept], white, axis=0).astype(np.float32)


def _at_speed(dance: Dance, speed: float) -> tuple[PoseSequence, RhythmTrack]:
    """A dance played slower or faster, with its beats."""
    fps = dance.poses.fps
    n_frames = int(len(dance.poses) / speed)
    world = retime(dance.poses.world, fps, start_s=0.0, speed=speed, n_frames=n_frames)
    poses = fully_visible(world, fps)
    beats = retime_beats(dance.beat_times, start_s=0.0, speed=speed)
    return poses, danced_rhythm(poses, beats, dance.beat_numbers)


def _pack(pair: Pair) -> dict[str, np.ndarray]:
    return {
        "world": pair.poses.world,
        "present": pair.poses.present,
        "fps": np.array(pair.poses.fps),
        "beats": pair.track.beat_times,
        "numbers": pair.track.beat_numbers,
        "codes": pair.codes,
        "level": pair.level,
        **({} if pair.filmed is None else vars(pair.filmed)),
    }


def _unpack(arrays: Mapping[str, np.ndarray]) -> Pair:
    poses = fully_visible(arrays["world"], float(arrays["fps"]), arrays["present"])
    track = danced_rhythm(poses, arrays["beats"], arrays["numbers"])
    filmed = MovementTrack(arrays["times_s"], arrays["features"]) if "times_s" in arrays else None
    return Pair(poses, track, arrays["codes"], arrays["level"], filmed)
