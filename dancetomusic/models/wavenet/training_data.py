"""What the WaveNet learns from: movement and raw sound cut at the same instants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from dancetomusic.codec.mulaw import SILENCE
from dancetomusic.config import check_ranges
from dancetomusic.data.augment import PoseAugmentConfig, log_uniform, vary_pose
from dancetomusic.data.clip import Clip
from dancetomusic.data.clip_stream import ClipStream
from dancetomusic.data.dance import Dance, fully_visible
from dancetomusic.data.dance_sound import (
    Crop,
    DanceSound,
    cut,
    songs_of_dances,
    sound_of_clip,
    sounds_of_videos,
)
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.data.wild import load_wild, trusted_clips, wild_folds
from dancetomusic.errors import ConfigError, InputError
from dancetomusic.models.pose_encoder.network import LEG_SIGNALS
from dancetomusic.models.wavenet.network import (
    ANY_GENRE,
    MOVEMENT_FPS,
    PICTURE_SIDE,
    REFERENCE_S,
    STEPS_PER_FRAME,
    Movement,
    WaveNetConfig,
    leg_signals,
    pose_features,
    pose_movement,
)
from dancetomusic.synthesis.choreography import MAX_BPM, MIN_BPM, STYLES, choreograph
from dancetomusic.synthesis.danced_grooves import danced_grooves
from dancetomusic.synthesis.filmed import film
from dancetomusic.synthesis.thumbnails import draw_thumbnails
from dancetomusic.training.clips import EndlessClips
from dancetomusic.training.config import LoopConfig
from dancetomusic.training.dataset import Sample, TrainingSet
from dancetomusic.training.distributed import DistributedContext
from dancetomusic.training.prepared import hash_arrays

HELD_OUT_CLIPS = 64
WILD_FOLDS = 5
"""The first of as many folds of wild clips is left for tests."""
PROCEDURAL_S = 30.0
"""Length of a made-up dance."""
FILMED_S = 16.0
"""Length of a dance that is read from a rendering."""
FILMED_VERSIONS = 4
"""Grooves for each of these, which take longer to make than to play to."""


@dataclass(frozen=True)
class WaveNetTrainingConfig(LoopConfig):
    """How the WaveNet is trained."""

    model: WaveNetConfig = field(default_factory=WaveNetConfig)
    source: Literal["grooves", "songs", "clips", "videos"] = "grooves"
    """Grooves rendered on the beats of recorded dances, the songs that they were
    danced to, clips of the dataset builder with their drums and bass, or videos as pictures."""
    data: str = "../shared/data/tang2018"
    """Folder of the dances, the clips or the videos."""
    grooves: str = "../shared/data/groove"
    """Directory of the Groove MIDI Dataset."""
    versions: int = 2
    """Grooves for each dance; all but the first at another speed."""
    wild: str | None = None
    """With ``grooves``: folder of clips of many people, whose poses are danced to grooves, too."""
    procedural: int = 0
    """With ``grooves``: further dances, made up."""
    filmed: int = 0
    """With ``grooves``: of this many recorded and made-up dances, the beginning once more, with the
    poses that MediaPipe reads from a rendering."""
    start_from: str | None = None
    """Checkpoint, a folder or a released name, whose weights are taken as far as they fit."""
    augment: PoseAugmentConfig = field(default_factory=PoseAugmentConfig)
    """How poses are varied; the speeds in it are not used."""
    window_s: float = 12.0
    """Length of movement that is read at once, in seconds."""
    crop_s: float = 0.4
    """Length of sound that is predicted, within it, in seconds."""
    phase_weight: float = 3.0
    """Of the error of the beat phase estimated from movement, where beats are known."""
    withheld_share: float = 0.15
    """Share of unconditional crops, without movement."""
    unnamed_share: float = 0.5
    """Share of crops without a genre."""
    silenced_share: float = 0.0
    """Share of crops with silence for their history. What has only heard music go on stays silent
    for long once it is, as after a pause there was more of it."""
    kl_weight: float = 1.0
    """Of what the bottleneck knows beyond the prior, in nats a sample."""
    sounded: int = 0
    """Crops of a batch whose sound is predicted; 0 for all. The others teach the beat of movement
    alone, at a fraction of the time."""
    front_steps: int = 0
    """Steps in which nothing is learned but to estimate signals of the legs from drawn pictures:
    what reads them, if it was trained before, does not learn to ignore poor estimates."""
    validation_crops: int = 48
    schedule: Literal["cosine", "one_cycle", "step", "cyclic", "range_test"] = "cosine"
    """Of the learning rate; ``range_test`` raises it from a ten-thousandth to ``learning_rate``
    and says at which the loss fell fastest."""
    cycle_steps: int = 500
    """Half a cycle of ``cyclic``, and how long ``step`` keeps a rate."""
    step_factor: float = 0.5
    """What ``step`` multiplies the rate with; ``cyclic`` begins at a tenth of the peak."""
    max_steps: int = 1500
    learning_rate: float = 3e-3
    ema_decay: float = 0.99
    keep_best: bool = False
    """The last weights are kept: choosing them on ``val`` would flatter scores on ``val``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self,
            shares="withheld_share unnamed_share silenced_share",
            weights="phase_weight kl_weight procedural filmed sounded front_steps",
            counts="versions validation_crops cycle_steps",
        )
        if not 1 <= self.crop_steps < self.window_frames * STEPS_PER_FRAME:
            raise ConfigError("crop_s does not fit into window_s", "Give 0.01 to window_s.")
        if not 0 < self.step_factor < 1:
            raise ConfigError(f"step_factor is {self.step_factor}", "Give a share in (0, 1).")
        if self.model.movement == "pose" and self.source == "videos":
            raise ConfigError("videos have no poses", "Learn poses from another source.")

    @property
    def window_frames(self) -> int:
        """Frames of movement in a window."""
        return round(self.window_s * MOVEMENT_FPS)

    @property
    def crop_steps(self) -> int:
        """Frames of the condition in a crop."""
        return round(self.crop_s * MOVEMENT_FPS * STEPS_PER_FRAME)


@dataclass(frozen=True)
class SoundCrops:
    """Windows of movement, and crops of sound within them.

    Attributes:
        classes: History, then what is predicted.
        first: Step of the condition at which that begins.
        phase_known: Where it is known.
        signals: What the pictures show, where they are drawn of poses; else no frames.
        reference: Another stretch of the same piece, for the bottleneck; empty without one.
    """

    movement: Float32[Tensor, "batch frames features"] | UInt8[Tensor, "batch frames side side"]
    seen: Bool[Tensor, " batch"]
    classes: UInt8[Tensor, "batch samples"]
    first: Int64[Tensor, " batch"]
    phase: Float32[Tensor, "batch steps 2"]
    phase_known: Bool[Tensor, "batch steps"]
    genre: Int64[Tensor, " batch"]
    signals: Float32[Tensor, "batch drawn signals"]
    reference: Float32[Tensor, "batch reference"]


class DanceSoundCrops(TrainingSet):
    """Crops at random positions; dances are chosen in proportion to their length.

    ``clips`` are a stream of them in place of ``sounds``.

    Raises:
        InputError: If a sound is shorter than a crop with its receptive field.
    """

    batch_type = SoundCrops

    def __init__(
        self,
        config: WaveNetTrainingConfig,
        sounds: Sequence[DanceSound],
        clips: EndlessClips[DanceSound] | None = None,
    ) -> None:
        self.config, self.seed = config, config.seed
        self.sounds, self.clips = [require_length(sound, config) for sound in sounds], clips
        seconds = np.array([sound.duration_s for sound in sounds])
        if clips is not None:
            self.content_hash, self.epoch_size = clips.stream.content_hash, clips.stream.n_clips
        else:
            self.shares = seconds / seconds.sum()
            self.content_hash = hash_arrays(a for s in sounds for a in (s.samples, s.beat_times))
            self.epoch_size = max(1, round(seconds.sum() / config.crop_s))

    def sample(self, rng: np.random.Generator, step: int = 0) -> Sample:
        """A random crop of a random dance, varied."""
        if self.clips is not None:
            sound = next(self.clips)
        else:
            sound = self.sounds[int(rng.choice(len(self.sounds), p=self.shares))]
        return self.crop(sound, rng, varied=True)

    def crop(self, sound: DanceSound, rng: np.random.Generator, *, varied: bool) -> Sample:
        """A random crop of a dance; ``varied`` in its poses and in what conditions are left out."""
        config, model = self.config, self.config.model
        frames, steps = config.window_frames, config.crop_steps
        first_frame = int(rng.integers(max(1, sound.n_frames - frames + 1)))
        with_sound = min(frames, sound.n_frames - first_frame) * STEPS_PER_FRAME
        crop_step = int(rng.integers(max(1, with_sound - steps + 1)))
        crop = cut(
            sound,
            first_frame=first_frame,
            n_frames=frames,
            crop_step=crop_step,
            steps_per_frame=STEPS_PER_FRAME,
            history=model.receptive_field,
            n_samples=steps * model.hop_length,
        )
        shown = rng.random() >= config.withheld_share if varied else True
        named = varied and rng.random() >= config.unnamed_share
        movement, signals = self._movement(crop, rng, varied)
        classes = crop.classes
        if varied and rng.random() < config.silenced_share:
            classes = classes.copy()
            classes[: model.receptive_field] = SILENCE
        return (
            movement,
            np.array(shown),
            classes,
            np.array(crop_step),
            crop.phase,
            crop.phase_known,
            np.array(model.genre_index(sound.genre) if named else ANY_GENRE),
            signals,
            reference_of(sound, rng) if model.latent_dim else np.zeros(0, np.float32),
        )

    def _movement(
        self, crop: Crop, rng: np.random.Generator, varied: bool
    ) -> tuple[Movement, Float32[np.ndarray, "drawn signals"]]:
        """What a model reads, and what it shows where it is drawn."""
        kind, unknown = self.config.model.movement, np.zeros((0, len(LEG_SIGNALS)), np.float32)
        if kind == "none":
            return np.zeros((self.config.window_frames, 1), np.float32), unknown
        if crop.pictures.size:
            return crop.pictures, unknown
        world, present = crop.world, crop.present
        if varied:
            world, seen = vary_pose(world, MOVEMENT_FPS, self.config.augment, rng)
            present = present & seen
        if kind == "pictures":
            drawn = draw_thumbnails(world, MOVEMENT_FPS, rng, side=PICTURE_SIDE)
            return drawn, leg_signals(world)
        return pose_features(world, present), unknown


def reference_of(sound: DanceSound, rng: np.random.Generator) -> Float32[np.ndarray, " samples"]:
    """``REFERENCE_S`` of a piece from a random place, silent past its end."""
    length = round(REFERENCE_S * sound.sample_rate)
    first = int(rng.integers(max(1, sound.samples.size - length + 1)))
    stretch = sound.samples[first : first + length] / np.float32(32768)
    return np.pad(stretch, (0, length - stretch.size))


def movement_of(model: WaveNetConfig, sound: DanceSound, *, seed: int = 0) -> Movement:
    """The whole movement of a dance, of the kind that a model reads.

    Where a sound comes without pictures they are drawn of its poses; ``seed`` chooses the camera
    and the looks of the dancer.
    """
    if model.movement == "pictures" and sound.pictures is not None:
        return sound.pictures
    if model.movement == "none" or sound.poses is None:
        return np.zeros((sound.n_frames, 1), np.float32)
    if model.movement == "pose":
        return pose_movement(sound.poses)
    rng = np.random.default_rng([seed, *sound.name.encode()])
    return draw_thumbnails(sound.poses.world, sound.fps, rng, side=PICTURE_SIDE)


def open_crops(
    config: WaveNetTrainingConfig, output: Path, context: DistributedContext
) -> tuple[DanceSoundCrops, list[DanceSound]]:
    """The crops to learn from and the held-out dances; what is rendered is kept in ``output``.

    Raises:
        InputError: If data is missing, malformed, silent or too short.
        DependencyError: If music is to be rendered and FluidSynth is missing.
    """
    rate = config.model.sample_rate
    if config.source == "clips":

        def as_sound(clip: Clip) -> DanceSound:
            return require_length(sound_of_clip(clip, sample_rate=rate, fps=MOVEMENT_FPS), config)

        clips = EndlessClips(config.data, as_sound, config.seed, context)
        val = ClipStream(config.data, split="val", shuffle=False, transform=as_sound)
        return DanceSoundCrops(config, [], clips), list(islice(val, HELD_OUT_CLIPS))
    if config.source == "videos":
        *sounds, last = sounds_of_videos(
            config.data, sample_rate=rate, fps=MOVEMENT_FPS, side=PICTURE_SIDE
        )
        held_out = [last]
        if not sounds:
            raise InputError(f"{config.data} has one video", "Give one more, to validate on.")
    elif config.source == "songs":
        songs = partial(songs_of_dances, sample_rate=rate, fps=MOVEMENT_FPS)
        sounds, held_out = (
            list(songs(load_dances(config.data, split=split))) for split in ("train", "val")
        )
    else:
        load = partial(load_dances, config.data, qualities=("A", "B"))
        train = load(split="train")
        made_up = procedural_dances(config.procedural, config.seed)
        filmed = film_dances([*train, *made_up], config.filmed, output / "filmed", config.seed)
        render = partial(
            danced_grooves, grooves=config.grooves, cache=output / "sounds", sample_rate=rate,
            fps=MOVEMENT_FPS,
        )  # fmt: skip
        sounds = [
            *render(train, versions=config.versions, seed=config.seed),
            *render([*wild_dances(config.wild), *made_up], seed=config.seed),
            *render(filmed, versions=FILMED_VERSIONS, seed=config.seed),
        ]
        held_out = render(load(split="val"), held_out=True, seed=config.seed + 1)
    return DanceSoundCrops(config, sounds), [require_length(each, config) for each in held_out]


def wild_dances(folder: str | None) -> list[Dance]:
    """The clips of a folder of ``data.wild`` whose beats can be trusted, but for a fold."""
    clips = [] if folder is None else trusted_clips(load_wild(folder))
    folds = wild_folds(clips, WILD_FOLDS)
    return [
        Dance(
            dance_id=f"wild_{clip.id}",
            genre=clip.style,
            split="train",
            sync_quality="B",
            bpm=clip.bpm,
            poses=clip.poses,
            beat_times=clip.beat_times,
            beats_per_bar=4,
            downbeat_known=False,
            figures=(),
            audio_path=clip.sound_path,
        )
        for clip in clips
        if folds[clip.group] and clip.poses is not None
    ]


def film_dances(dances: Sequence[Dance], count: int, cache: Path, seed: int) -> list[Dance]:
    """So many of these dances, at most all, as MediaPipe reads them from a rendering."""
    chosen = np.random.default_rng([seed, 3]).permutation(len(dances))[:count]
    return [film(dances[number], cache, seconds=FILMED_S, seed=seed) for number in chosen]


def procedural_dances(count: int, seed: int) -> list[Dance]:
    """Made-up dances of all styles, at random tempi and sizes."""
    dances = []
    for number in range(count):
        rng = np.random.default_rng([seed, 2, number])
        style = STYLES[number % len(STYLES)]
        made = choreograph(
            style,
            log_uniform(rng, MIN_BPM, MAX_BPM),
            PROCEDURAL_S,
            int(rng.integers(2**31)),
            intensity=float(rng.uniform(0.5, 1.4)),
        )
        dances.append(
            Dance(
                dance_id=f"procedural_{number}",
                genre=style,
                split="train",
                sync_quality="A",
                bpm=made.bpm,
                poses=fully_visible(made.world, made.fps),
                beat_times=made.beat_times,
                beats_per_bar=3 if style == "waltz" else 4,
                downbeat_known=True,
                figures=(),
                audio_path=Path(),
            )
        )
    return dances


def require_length(sound: DanceSound, config: WaveNetTrainingConfig) -> DanceSound:
    """The sound, if it is as long as a crop with its receptive field.

    Raises:
        InputError: If it is shorter.
    """
    least = config.crop_s + config.model.receptive_field_ms / 1000
    if sound.duration_s < least:
        raise InputError(
            f"{sound.name} lasts {sound.duration_s:.2f} s; a crop with its receptive field"
            f" of {config.model.receptive_field_ms:.0f} ms takes {least:.2f} s",
            "Shorten crop_s, or leave it out.",
        )
    return sound
