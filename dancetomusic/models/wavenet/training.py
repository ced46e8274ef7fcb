"""The recipe of the WaveNet: movement and raw sound cut at the same instants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from dancetomusic.checkpoint import save_checkpoint
from dancetomusic.codec.mulaw import decode_mulaw
from dancetomusic.config import config_to_dict
from dancetomusic.data.augment import PoseAugmentConfig, vary_pose
from dancetomusic.data.clip_stream import ClipStream
from dancetomusic.data.dance_sound import (
    Crop,
    DanceSound,
    cut,
    songs_of_dances,
    sound_of_clip,
    sounds_of_videos,
)
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import ConfigError, InputError
from dancetomusic.models.registry import TrainingTask
from dancetomusic.models.wavenet.generation import stream
from dancetomusic.models.wavenet.network import (
    ANY_GENRE,
    MODEL,
    MOVEMENT_FPS,
    PICTURE_SIDE,
    STEPS_PER_FRAME,
    WaveNet,
    WaveNetConfig,
    beat_harmonics,
    history_frames,
    hold_frames,
    load_wavenet,
    pose_features,
    pose_movement,
)
from dancetomusic.synthesis.danced_grooves import danced_grooves
from dancetomusic.training.data_hash import hash_arrays
from dancetomusic.training.distributed import World
from dancetomusic.training.logger import Board
from dancetomusic.training.loop import LOG_FILE, Group, LoopConfig, Recipe, run_recipe
from dancetomusic.training.schedules import (
    cosine_rate,
    cyclic_rate,
    one_cycle_rate,
    range_test_rate,
    steepest_rate,
    step_rate,
)
from dancetomusic.types import Waveform

SHOWN_S = 4.0
HELD_OUT_CLIPS = 64
LOWEST_SHARE = 1e-4
"""Where a range test begins, as a share of ``learning_rate``."""


@dataclass(frozen=True)
class WaveNetTrainingConfig(LoopConfig):
    """How the WaveNet is trained."""

    model: WaveNetConfig = field(default_factory=WaveNetConfig)
    source: Literal["grooves", "songs", "clips", "videos"] = "grooves"
    """What is learned: grooves rendered on the beats of recorded dances, the songs that they were
    danced to, clips of the dataset builder with their drums and bass, or videos as pictures."""
    data: str = "../shared/data/tang2018"
    """Folder of the dances, the clips or the videos."""
    grooves: str = "../shared/data/groove"
    """Directory of the Groove MIDI Dataset."""
    versions: int = 2
    """Grooves for each dance; all but the first at another speed."""
    augment: PoseAugmentConfig = field(default_factory=PoseAugmentConfig)
    """How poses are varied; the speeds in it are not used."""
    window_s: float = 12.0
    """Length of movement that is read at once."""
    crop_s: float = 0.4
    """Length of sound that is foretold, within it."""
    phase_weight: float = 3.0
    """Of the beat phase that is to be read from movement, where beats are known."""
    withheld_share: float = 0.15
    """Share of crops whose movement is not shown."""
    unnamed_share: float = 0.5
    """Share of crops whose genre is not told."""
    kl_weight: float = 1.0
    """Of what the bottleneck knows beyond the prior, in nats a sample."""
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
        for key in ("withheld_share", "unnamed_share"):
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"{key} is {getattr(self, key)}", "Give a share in [0, 1].")
        for key in ("phase_weight", "kl_weight"):
            if not getattr(self, key) >= 0:
                raise ConfigError(f"{key} is {getattr(self, key)}", "Give 0 or more.")
        for key in ("versions", "validation_crops", "cycle_steps"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key} is {getattr(self, key)}", "Give at least 1.")
        if not 1 <= self.crop_steps < self.window_frames * STEPS_PER_FRAME:
            raise ConfigError("crop_s does not fit into window_s", "Give 0.01 to window_s.")
        if not 0 < self.step_factor < 1:
            raise ConfigError(f"step_factor is {self.step_factor}", "Give a share in (0, 1).")
        pictured = self.model.movement == "pictures"
        if self.model.movement != "none" and pictured != (self.source == "videos"):
            raise ConfigError(
                f"{self.source} have no {self.model.movement}",
                "Learn pictures from videos, and poses from the other sources.",
            )

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
        movement: Features of poses, or pictures.
        seen: Where the movement may be looked at.
        classes: History, then what is to be foretold.
        first: Step of the condition at which that begins.
        phase: Cosine and sine of the beat phase in the window.
        phase_known: Where it is known.
        genre: Index of the genre.
    """

    movement: Float32[Tensor, "batch frames features"] | UInt8[Tensor, "batch frames side side"]
    seen: Bool[Tensor, " batch"]
    classes: UInt8[Tensor, "batch samples"]
    first: Int64[Tensor, " batch"]
    phase: Float32[Tensor, "batch steps 2"]
    phase_known: Bool[Tensor, "batch steps"]
    genre: Int64[Tensor, " batch"]


def crop_losses(
    model: WaveNet,
    batch: SoundCrops,
    n_steps: int,
    *,
    phase_weight: float = 1.0,
    kl_weight: float = 1.0,
) -> dict[str, Tensor]:
    """Nats a sample, how well the beat phase is read, and ``total``.

    Args:
        model: What foretells.
        batch: Crops.
        n_steps: Steps of the condition in what is foretold.
        phase_weight: Of the phase within the total.
        kl_weight: Of the bottleneck's knowledge within the total.
    """
    config = model.config
    read = model.read(batch.movement, batch.seen)
    before = history_frames(config)
    held = hold_frames(read, batch.first - before, before + n_steps + 1)
    n_samples = n_steps * config.hop_length
    terms: dict[str, Tensor] = {}
    latent = None
    if model.posterior is not None:
        sound = torch.from_numpy(decode_mulaw(batch.classes.cpu().numpy()))
        mean, log_variance = model.posterior(sound.to(read.device))
        latent = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        terms["kl"] = kl_weight * divergence.mean() / n_samples
    gates = model.gates_of(held, batch.genre, latent)
    logits = model(batch.classes[:, :-1].long(), gates)
    targets = batch.classes[:, -n_samples:].long()
    terms["nats"] = functional.cross_entropy(logits.float(), targets)
    if model.reader is not None:
        known = batch.phase_known & batch.seen[:, None]
        error = (model.phase(read) - beat_harmonics(batch.phase)).square().mean(-1) * known
        terms["phase"] = phase_weight * error.sum() / known.sum().clamp(min=1)
    return {"total": torch.stack(list(terms.values())).sum(), **terms}


class WaveNetRecipe(Recipe):
    """Trains a ``WaveNet`` on crops of dances with their sound.

    Args:
        config: The settings.
        output: The run's directory; what is rendered is kept there.
        world: The processes that train together.
        sounds: What to learn from instead of ``config.source``, all but the last for training.

    Raises:
        InputError: If data is missing, malformed, silent or too short.
        DependencyError: If music is to be rendered and FluidSynth is missing.
    """

    config: WaveNetTrainingConfig

    def __init__(
        self,
        config: WaveNetTrainingConfig,
        output: Path,
        world: World,
        sounds: Sequence[DanceSound] | None = None,
    ) -> None:
        self.config, self.device = config, world.device
        self.clips: ClipStream | None = None
        if sounds is not None:
            self.sounds, self.held_out = list(sounds[:-1]), list(sounds[-1:])
        else:
            self._read(output, world)
        for sound in [*self.sounds, *self.held_out]:
            self._require_length(sound)
        torch.manual_seed(config.seed)
        self.model = WaveNet(config.model).to(world.device)
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98),
            weight_decay=config.weight_decay,
        )  # fmt: skip
        self.modules = {"wavenet": self.model}
        self.groups = {
            "wavenet": Group(optimizer, config.learning_rate, clip_norm=config.clip_norm)
        }
        self.data_hash, self.epoch_size = self._extent()

    def _read(self, output: Path, world: World) -> None:
        """Find the data to learn from, and what is held out of it."""
        config, rate = self.config, self.config.model.sample_rate
        if config.source == "clips":
            as_sound = partial(sound_of_clip, sample_rate=rate, fps=MOVEMENT_FPS)
            self.clips = ClipStream(
                config.data, seed=config.seed, rank=world.rank, world_size=world.size,
                transform=as_sound,
            )  # fmt: skip
            self.reading = iter(self.clips)
            held_out = ClipStream(config.data, split="val", shuffle=False, transform=as_sound)
            self.sounds, self.held_out = [], list(islice(held_out, HELD_OUT_CLIPS))
        elif config.source == "videos":
            videos = sounds_of_videos(
                config.data, sample_rate=rate, fps=MOVEMENT_FPS, side=PICTURE_SIDE
            )
            *self.sounds, last = videos
            self.held_out = [last]
            if not self.sounds:
                raise InputError(f"{config.data} has one video", "Give one more, to validate on.")
        elif config.source == "songs":
            songs = partial(songs_of_dances, sample_rate=rate, fps=MOVEMENT_FPS)
            self.sounds, self.held_out = (
                list(songs(load_dances(config.data, split=split))) for split in ("train", "val")
            )
        else:
            train, val = (
                load_dances(config.data, split=split, qualities=("A", "B"))
                for split in ("train", "val")
            )
            render = partial(
                danced_grooves, grooves=config.grooves, cache=output / "sounds",
                sample_rate=rate, fps=MOVEMENT_FPS,
            )  # fmt: skip
            self.sounds = render(train, versions=config.versions, seed=config.seed)
            self.held_out = render(val, held_out=True, seed=config.seed + 1)

    def _extent(self) -> tuple[str, int]:
        """Digest of the data, and how many crops are in it."""
        if self.clips is not None:
            return self.clips.content_hash, self.clips.n_clips
        arrays = (array for sound in self.sounds for array in (sound.samples, sound.beat_times))
        seconds = sum(sound.duration_s for sound in self.sounds)
        return hash_arrays(arrays), max(1, round(seconds / self.config.crop_s))

    def _require_length(self, sound: DanceSound) -> None:
        least = self.config.crop_s + self.config.model.receptive_field_ms / 1000
        if sound.duration_s < least:
            raise InputError(
                f"{sound.name} lasts {sound.duration_s:.2f} s; a crop with its receptive field"
                f" of {self.config.model.receptive_field_ms:.0f} ms takes {least:.2f} s",
                "Shorten crop_s, or leave it out.",
            )

    def rate(self, group: Group, step: int, steps: int) -> float:
        """By the schedule that was chosen."""
        config, peak = self.config, group.rate
        if config.schedule == "one_cycle":
            return one_cycle_rate(peak, step, steps)
        if config.schedule == "step":
            return step_rate(peak, step, every=config.cycle_steps, factor=config.step_factor)
        if config.schedule == "cyclic":
            return cyclic_rate(0.1 * peak, peak, step, half_cycle=config.cycle_steps)
        if config.schedule == "range_test":
            return range_test_rate(LOWEST_SHARE * peak, peak, step, steps)
        return cosine_rate(peak, step, steps, config.warmup_steps)

    def batch(self, step: int, places: range) -> SoundCrops:
        """Crops at random places; dances are drawn as often as they are long."""
        crops = []
        seconds = np.array([sound.duration_s for sound in self.sounds])
        for place in places:
            rng = self.rng(step, place)
            if self.clips is not None:
                sound = self._next_clip()
            else:
                sound = self.sounds[int(rng.choice(len(seconds), p=seconds / seconds.sum()))]
            crops.append(self._crop(sound, rng, varied=True))
        return _stack(crops)

    def _next_clip(self) -> DanceSound:
        assert self.clips is not None
        sound = next(self.reading, None)
        if sound is None:
            self.clips.set_epoch(self.clips.state_dict()["epoch"] + 1)
            self.reading = iter(self.clips)
            sound = next(self.reading)
        self._require_length(sound)
        return sound

    def state_dict(self) -> dict[str, int]:
        """Where in the stream of clips this process is."""
        return {} if self.clips is None else self.clips.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        if self.clips is not None:
            self.clips.load_state_dict(state)
            self.reading = iter(self.clips)

    def _crop(
        self, sound: DanceSound, rng: np.random.Generator, *, varied: bool
    ) -> tuple[np.ndarray, ...]:
        config, model = self.config, self.config.model
        frames, steps = config.window_frames, config.crop_steps
        first_frame = int(rng.integers(max(1, sound.n_frames - frames + 1)))
        heard = min(frames, sound.n_frames - first_frame) * STEPS_PER_FRAME
        crop_step = int(rng.integers(max(1, heard - steps + 1)))
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
        return (
            self._movement(crop, rng, varied),
            np.array(shown),
            crop.classes,
            np.array(crop_step),
            crop.phase,
            crop.phase_known,
            np.array(model.genre_index(sound.genre) if named else ANY_GENRE),
        )

    def _movement(self, crop: Crop, rng: np.random.Generator, varied: bool) -> np.ndarray:
        kind = self.config.model.movement
        if kind == "none":
            return np.zeros((self.config.window_frames, 1), np.float32)
        if kind == "pictures":
            return crop.pictures
        world, present = crop.world, crop.present
        if varied:
            world, seen = vary_pose(world, MOVEMENT_FPS, self.config.augment, rng)
            present = present & seen
        return pose_features(world, present)

    def losses(self, group: str, batch: SoundCrops, step: int) -> dict[str, Tensor]:
        """Nats a sample, and how well the beat is read."""
        return self._losses(batch)

    def _losses(self, batch: SoundCrops) -> dict[str, Tensor]:
        config = self.config
        return crop_losses(
            self.model, batch, config.crop_steps,
            phase_weight=config.phase_weight, kl_weight=config.kl_weight,
        )  # fmt: skip

    def validate(self) -> dict[str, float]:
        """The same on held-out dances; ``loss`` is in nats a sample, with the movement shown."""
        rngs = [np.random.default_rng([0, place]) for place in range(self.config.validation_crops)]
        found: dict[str, float] = {}
        for start in range(0, len(rngs), self.config.batch_size):
            some = rngs[start : start + self.config.batch_size]
            crops = [
                self._crop(self.held_out[(start + n) % len(self.held_out)], rng, varied=False)
                for n, rng in enumerate(some)
            ]
            batch = SoundCrops(*(part.to(self.device) for part in vars(_stack(crops)).values()))
            for name, value in self._losses(batch).items():
                name = "loss" if name == "nats" else name
                found[name] = found.get(name, 0.0) + float(value) * len(some) / len(rngs)
        return found

    def show(self, board: Board, step: int) -> dict[str, float]:
        """What the model makes of the first seconds of a held-out dance, to hear."""
        dance, rate = self.held_out[0], self.config.model.sample_rate
        seconds = min(SHOWN_S, dance.duration_s)
        movement = dance.pictures
        if dance.poses is not None:
            movement = pose_movement(dance.poses)
        if movement is None:
            movement = np.zeros((dance.n_frames, 1), np.float32)
        blocks = stream(self.model, movement, round(seconds * rate))
        sound = Waveform(np.concatenate(list(blocks))[None], rate)
        board.sound("played", sound, dance.beat_times[dance.beat_times < seconds], step)
        return {}

    def write(self, directory: Path, metadata: dict[str, object]) -> None:
        """Write the model as a checkpoint of the family ``wavenet``."""
        save_checkpoint(
            directory,
            model=MODEL,
            config=config_to_dict(self.config.model),
            tensors=self.model.state_dict(),
            metadata={"dances": sorted({sound.name for sound in self.sounds}), **metadata},
        )


def _stack(crops: Sequence[tuple[np.ndarray, ...]]) -> SoundCrops:
    stacked = [torch.from_numpy(np.stack(values)) for values in zip(*crops, strict=True)]
    return SoundCrops(*stacked)


def train_wavenet(
    config: WaveNetTrainingConfig,
    output: Path | str,
    *,
    sounds: Sequence[DanceSound] | None = None,
) -> WaveNet:
    """Train a WaveNet, or go on with a stopped run; write it as a ``wavenet`` checkpoint.

    Says how long its receptive field is and, after a range test, which learning rate to try.

    Args:
        config: The settings.
        output: Directory of the run.
        sounds: What to learn from instead of ``config.source``, the last one held out.

    Raises:
        DanceToMusicError: See ``WaveNetRecipe`` and ``run_recipe``.
    """
    directory, model = Path(output), config.model
    print(
        f"receptive field {model.receptive_field_ms:.1f} ms"
        f" ({model.receptive_field} samples, {len(model.dilations)} layers)"
    )
    run_recipe(lambda world: WaveNetRecipe(config, directory, world, sounds), config, directory)
    if config.schedule == "range_test":
        lines = [json.loads(line) for line in (directory / LOG_FILE).read_text().splitlines()]
        steps = [line for line in lines if "validation" not in line]
        best = steepest_rate([s["rate"] for s in steps], [s["total"] for s in steps])
        print(f"the loss fell fastest at learning_rate {best:.2g}")
    return load_wavenet(directory)


TASK = TrainingTask(WaveNetTrainingConfig, train_wavenet)
