"""The recipe of the beat network: rendered songs, recorded dance music, sounds without a beat."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float16, Float32
from scipy.ndimage import gaussian_filter1d
from torch import Tensor
from torch.nn import functional

from dancetomusic.checkpoint import load_checkpoint, load_into, save_checkpoint
from dancetomusic.config import config_to_dict
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.data.wild import WildClip, load_wild, wild_folds
from dancetomusic.errors import ConfigError, InputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.audio import read_audio
from dancetomusic.models.beat_network.network import (
    FRAME_RATE,
    MODEL,
    N_MELS,
    SAMPLE_RATE,
    BeatNetwork,
    BeatNetworkConfig,
    mel_levels,
    mel_power,
)
from dancetomusic.models.registry import TrainingTask
from dancetomusic.synthesis.groove import Groove, load_grooves, select_grooves
from dancetomusic.synthesis.noises import KINDS, make_noise
from dancetomusic.synthesis.songs import make_song
from dancetomusic.training.data_hash import hash_arrays
from dancetomusic.training.loop import Group, LoopConfig, Recipe, run_recipe

QUIETEST = 1e-10
CLEAR_PULSE = 0.15
AGREED = 0.6
"""Agreement of its two references from which a wild clip's beats are learned."""


@dataclass(frozen=True)
class BeatNetworkTrainingConfig(LoopConfig):
    """How the beat network is trained."""

    model: BeatNetworkConfig = field(default_factory=BeatNetworkConfig)
    grooves: str = "../shared/data/groove"
    """Directory of the Groove MIDI Dataset."""
    dances: str | None = "../shared/data/tang2018"
    """Folder of dances whose music has exact beats; none for rendered songs alone."""
    wild: str | None = None
    """Folder of real clips with estimated beats (``data/wild.py``)."""
    fold: int | None = None
    """Of ``n_folds`` parts of the real clips' groups, the one that is held out; none for none."""
    n_folds: int = 4
    cache: str = "runs/songs"
    """Where rendered songs are kept."""
    n_songs: int = 480
    song_s: float = 60.0
    n_noises: int = 120
    start_from: str | None = None
    """Checkpoint of a network of the same shape to train further."""
    dance_share: float = 0.2
    """Share of crops from the dances' music."""
    wild_share: float = 0.0
    """Share of crops from real clips: a group is drawn first, then one of its clips."""
    noise_share: float = 0.07
    """Share of crops without a beat."""
    cut_share: float = 0.12
    """Share of crops that change to another recording in the middle."""
    mix_share: float = 0.2
    """Share of crops that noise or speech is mixed into."""
    crop_s: float = 20.0
    downbeat_weight: float = 0.5
    max_steps: int = 2400
    batch_size: int = 16
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    ema_decay: float = 0.995
    bf16: bool | None = False
    keep_best: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        shares = (self.dance_share, self.wild_share, self.noise_share)
        for share in (*shares, self.cut_share, self.mix_share, sum(shares)):
            if not 0 <= share <= 1:
                raise ConfigError(f"a share is {share:g}", "Give shares in [0, 1].")
        if self.wild_share and self.wild is None:
            raise ConfigError("wild_share needs clips", "Give wild, or wild_share: 0.")
        if self.dance_share and self.dances is None:
            raise ConfigError("dance_share needs dances", "Give dances, or dance_share: 0.")
        if self.fold is not None and not 0 <= self.fold < self.n_folds:
            raise ConfigError(f"fold is {self.fold}", f"Give 0 to {self.n_folds - 1}.")
        if min(self.n_songs, self.n_noises, self.n_folds) < 1 or not self.crop_s > 1:
            raise ConfigError("a count or length is out of range", "Give positive values.")


class Recording(NamedTuple):
    """Mel power of a recording (log10), its beats and downbeats, and whether these are known."""

    power: Float16[np.ndarray, "mels frames"]
    beat_times: Float[np.ndarray, " beats"]
    downbeat_times: Float[np.ndarray, " bars"]
    bars_known: bool


@dataclass(frozen=True)
class BeatBatch:
    """Crops of recordings.

    Attributes:
        levels: What the network reads.
        targets: Of beats and downbeats: 1 at the nearest frame, 0.5 beside it.
        weights: 0 where nothing is known.
    """

    levels: Float32[Tensor, "batch mels frames"]
    targets: Float32[Tensor, "batch 2 frames"]
    weights: Float32[Tensor, "batch 2 frames"]


def sound_recording(
    path: Path,
    beat_times: Float[np.ndarray, " beats"],
    downbeat_times: Float[np.ndarray, " bars"],
    bars_known: bool,
) -> Recording:
    """Levels of a sound file.

    Raises:
        InputError: If the file has no sound.
    """
    waveform = read_audio(path, SAMPLE_RATE)
    if waveform is None:
        raise InputError(f"{path} has no sound", "Leave it out.")
    return Recording(_logarithm(mel_power(waveform)), beat_times, downbeat_times, bars_known)


def wild_recording(clip: WildClip) -> Recording:
    """A real clip with the beats that a learned tracker found in it."""
    bars = clip.bar_times[clip.bar_places == 1]
    return sound_recording(clip.sound_path, clip.beat_times, bars, bars.size > 1)


class BeatNetworkRecipe(Recipe):
    """Cross-entropy of beats and downbeats in crops, varied in tempo, pitch, timbre and noise."""

    def __init__(self, config: BeatNetworkTrainingConfig) -> None:
        self.config: BeatNetworkTrainingConfig = config
        self.network = BeatNetwork(config.model)
        if config.start_from is not None:
            load_into(
                self.network, load_checkpoint(config.start_from, model=MODEL), config.start_from
            )
        self.modules = {"network": self.network}
        self.groups = {
            "network": Group(
                torch.optim.AdamW(
                    self.network.parameters(),
                    lr=config.learning_rate,
                    weight_decay=config.weight_decay,
                    betas=(0.9, 0.98),
                ),
                config.learning_rate,
                clip_norm=config.clip_norm,
            )
        }
        self.songs, self.noises = _songs_and_noises(config)
        self.dances = [] if config.dances is None else _dances(config.dances, "train")
        self.held_out = [] if config.dances is None else _dances(config.dances, "val")
        self.wild: list[list[Recording]] = []
        if config.wild is not None:
            clips = load_wild(config.wild)
            folds = wild_folds(clips, config.n_folds)
            groups: dict[str, list[Recording]] = {}
            held_out = []
            for clip in clips:
                if clip.pulse < CLEAR_PULSE or clip.agreement < AGREED:
                    continue
                if folds[clip.group] == config.fold:
                    held_out.append(wild_recording(clip))
                else:
                    groups.setdefault(clip.group, []).append(wild_recording(clip))
            self.wild = list(groups.values())
            self.held_out = held_out or self.held_out
        self.data_hash = hash_arrays(
            array
            for recording in (*self.songs, *self.dances, *(r for g in self.wild for r in g))
            for array in (recording.power, recording.beat_times)
        )
        self.epoch_size = len(self.songs)

    def batch(self, step: int, places: range) -> BeatBatch:
        """Crops, each of one recording or of two with a cut between them."""
        examples = [self._example(self.rng(step, place)) for place in places]
        levels, targets, weights = (
            torch.from_numpy(np.stack(part)) for part in zip(*examples, strict=True)
        )
        return BeatBatch(levels, targets, weights)

    def losses(self, group: str, batch: BeatBatch, step: int) -> dict[str, Tensor]:
        """Binary cross-entropy of beats and of downbeats."""
        return self._losses(batch)

    def _losses(self, batch: BeatBatch) -> dict[str, Tensor]:
        entropy = functional.binary_cross_entropy_with_logits(
            self.network(batch.levels), batch.targets, reduction="none"
        )
        sums = (entropy * batch.weights).sum(dim=(0, 2))
        beat, downbeat = sums / batch.weights.sum(dim=(0, 2)).clamp(min=1.0)
        total = beat + self.config.downbeat_weight * downbeat
        return {"total": total, "beat": beat, "downbeat": downbeat}

    def validate(self) -> dict[str, float]:
        """The same losses on the held-out fold of real clips, else on dances of ``val``."""
        crop = round(self.config.crop_s * FRAME_RATE)
        examples = []
        for recording in self.held_out[:64]:
            start = max(0, (recording.power.shape[1] - crop) // 2)
            power, targets, weights = _cut(recording, start, crop, 1.0)
            examples.append((mel_levels(10.0**power), targets, weights))
        if not examples:
            return {}
        totals: dict[str, float] = {}
        for first in range(0, len(examples), 16):
            part = examples[first : first + 16]
            tensors = (torch.from_numpy(np.stack(p)) for p in zip(*part, strict=True))
            for name, value in self._losses(BeatBatch(*tensors)).items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(part) / len(examples)
        totals["loss"] = totals.pop("total")
        return totals

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write the network."""
        save_checkpoint(
            directory,
            model=MODEL,
            config=config_to_dict(self.config.model),
            tensors=self.network.state_dict(),
            metadata=metadata,
            half=True,
        )

    def _example(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        config = self.config
        crop = round(config.crop_s * FRAME_RATE)
        power, targets, weights = self._crop(crop, rng)
        if rng.random() < config.cut_share:
            cut = int(rng.integers(crop // 4, crop * 3 // 4))
            other_power, other_targets, other_weights = self._crop(crop, rng)
            power[:, cut:] = other_power[:, cut:]
            targets[:, cut:] = other_targets[:, cut:]
            weights[:, cut:] = other_weights[:, cut:]
        if rng.random() < config.mix_share:
            noise, _, _ = _random_cut(self.noises[rng.integers(len(self.noises))], crop, rng, 1.0)
            shift = power.mean() - noise.mean() + rng.uniform(-2.0, 0.3)
            power = np.logaddexp(power * np.log(10), (noise + shift) * np.log(10)) / np.log(10)
        return mel_levels((10.0**power).astype(np.float32)), targets, weights

    def _crop(
        self, crop: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A varied crop of a recording of a source drawn by the shares."""
        config = self.config
        shares = (config.noise_share, config.dance_share, config.wild_share)
        group = self.wild[rng.integers(len(self.wild))] if self.wild else []
        pools = (self.noises, self.dances, group, self.songs)
        pool = pools[int(np.searchsorted(np.cumsum(shares), rng.random(), side="right"))]
        recording = pool[rng.integers(len(pool))]
        speed = 1.0 if rng.random() < 0.3 else float(np.exp(rng.uniform(-0.22, 0.22)))
        power, targets, weights = _random_cut(recording, crop, rng, speed)
        return _vary(power, rng), targets, weights


def train_beat_network(config: BeatNetworkTrainingConfig, output: Path) -> None:
    """Train the network; see :func:`dancetomusic.training.loop.run_recipe`."""
    run_recipe(lambda world: BeatNetworkRecipe(config), config, output)


def _random_cut(
    recording: Recording, crop: int, rng: np.random.Generator, speed: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    spare = recording.power.shape[1] - int(crop * speed)
    return _cut(recording, int(rng.integers(max(spare, 0) + 1)), crop, speed)


def _cut(
    recording: Recording, start: int, crop: int, speed: float
) -> tuple[Float32[np.ndarray, "mels crop"], np.ndarray, np.ndarray]:
    """``crop`` frames from ``start`` on, played ``speed`` times as fast, padded with silence."""
    n_frames = recording.power.shape[1]
    at = start + np.arange(crop) * speed
    inside = at <= n_frames - 1
    left = np.minimum(at.astype(int), n_frames - 1)
    right = np.minimum(left + 1, n_frames - 1)
    share = (at - left).astype(np.float32)
    # Power halfway between two frames: interpolated on the logarithm, which keeps attacks sharp.
    power = recording.power[:, left].astype(np.float32) * (1 - share)
    power += recording.power[:, right].astype(np.float32) * share
    power[:, ~inside] = np.log10(QUIETEST)
    targets = np.zeros((2, crop), np.float32)
    weights = np.repeat(inside[None].astype(np.float32), 2, axis=0)
    if not recording.bars_known:
        weights[1] = 0.0
    for row, times in zip(targets, (recording.beat_times, recording.downbeat_times), strict=True):
        frames = np.rint((times * FRAME_RATE - start) / speed).astype(int)
        for offset, value in ((-1, 0.5), (1, 0.5), (0, 1.0)):
            near = frames + offset
            near = near[(near >= 0) & (near < crop)]
            row[near] = np.maximum(row[near], value)
    return power, targets, weights


def _vary(
    power: Float32[np.ndarray, "mels frames"], rng: np.random.Generator
) -> Float32[np.ndarray, "mels frames"]:
    """Another pitch, timbre and loudness of the same recording."""
    shift = int(rng.integers(-4, 5))
    if shift:
        power = np.roll(power, shift, axis=0)
        power[: max(shift, 0)] = power[max(shift, 0)]
        if shift < 0:
            power[shift:] = power[shift - 1]
    if rng.random() < 0.7:
        curve = gaussian_filter1d(rng.normal(size=N_MELS), 8, mode="nearest")
        curve += rng.normal(0, 0.3) * np.linspace(-1, 1, N_MELS)
        power = power + (curve / max(curve.std(), 1e-6) * rng.uniform(0, 0.8))[:, None]
    if rng.random() < 0.3:  # a gate or a fader: loudness wanders by up to 10 dB
        knots = np.interp(
            np.linspace(0, 6, power.shape[1]), np.arange(7), rng.normal(0, 0.4, size=7)
        )
        power = power + knots
    return power.astype(np.float32)


def _logarithm(power: np.ndarray) -> Float16[np.ndarray, "mels frames"]:
    return np.log10(np.maximum(power, QUIETEST)).astype(np.float16)


def _dances(folder: str, split: str) -> list[Recording]:
    return [
        sound_recording(
            dance.audio_path,
            dance.beat_times,
            dance.beat_times[:: dance.beats_per_bar],
            dance.downbeat_known,
        )
        for dance in load_dances(folder, split=split)
        if dance.audio_path.is_file()
    ]


def _songs_and_noises(
    config: BeatNetworkTrainingConfig,
) -> tuple[list[Recording], list[Recording]]:
    """Read rendered songs and noises from the cache, or render them with every core."""
    directory = Path(config.cache)
    directory.mkdir(parents=True, exist_ok=True)
    wanted = {"songs": config.n_songs, "seconds": config.song_s, "noises": config.n_noises}
    index_file, power_file = directory / "index.json", directory / "power.npy"
    index = json.loads(index_file.read_text()) if index_file.is_file() else {}
    if index.get("wanted") != wanted:
        grooves = select_grooves(load_grooves(config.grooves), held_out=False)
        count = config.n_songs + config.n_noises
        n_frames = round(config.song_s * FRAME_RATE)
        entries: list[dict[str, list[float]]] = []
        with atomic_output(power_file) as temporary, ProcessPoolExecutor() as executor:
            stored = np.lib.format.open_memmap(
                temporary, mode="w+", dtype=np.float16, shape=(count, N_MELS, n_frames)
            )
            render = partial(_render, config.n_songs, config.song_s, grooves)
            rendered = executor.map(render, range(count), chunksize=8)
            for number, (power, entry) in enumerate(rendered):
                stored[number] = power[:, :n_frames]
                entries.append(entry)
            stored.flush()
        index = {"wanted": wanted, "entries": entries}
        with atomic_output(index_file) as temporary:
            temporary.write_text(json.dumps(index))
    powers = np.load(power_file, mmap_mode="r")
    recordings = [
        Recording(power, np.array(entry["beats"]), np.array(entry["downbeats"]), True)
        for power, entry in zip(powers, index["entries"], strict=True)
    ]
    return recordings[: config.n_songs], recordings[config.n_songs :]


def _render(
    n_songs: int, seconds: float, grooves: list[Groove], number: int
) -> tuple[Float16[np.ndarray, "mels frames"], dict[str, list[float]]]:
    rng = np.random.default_rng([number, 1])
    if number >= n_songs:
        noise = make_noise(KINDS[number % len(KINDS)], seconds, rng)
        return _logarithm(mel_power(noise)), {"beats": [], "downbeats": []}
    song = make_song(grooves, seconds, rng)
    return _logarithm(mel_power(song.waveform)), {
        "beats": song.beat_times.round(5).tolist(),
        "downbeats": song.beat_times[song.beat_numbers == 1].round(5).tolist(),
    }


TASK = TrainingTask(BeatNetworkTrainingConfig, train_beat_network)
