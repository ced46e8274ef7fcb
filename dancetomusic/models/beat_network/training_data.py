"""What the beat network learns from: rendered songs, recorded music, sounds without a beat."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float16, Float32
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from dancetomusic.config import check_ranges
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.data.wild import load_wild, wild_folds
from dancetomusic.errors import ConfigError, InputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.audio import read_audio
from dancetomusic.models.beat_network.network import (
    FRAME_RATE,
    N_MELS,
    SAMPLE_RATE,
    BeatNetworkConfig,
    mel_levels,
    mel_power,
)
from dancetomusic.synthesis.corpus import render_rows
from dancetomusic.synthesis.groove import Groove, load_grooves, select_grooves
from dancetomusic.synthesis.noises import KINDS, make_noise
from dancetomusic.synthesis.songs import make_song
from dancetomusic.training.config import LoopConfig
from dancetomusic.training.dataset import Sample, TrainingSet
from dancetomusic.training.prepared import hash_arrays

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
    """Of ``n_folds`` folds of the real clips' groups, the one that is held out; none for none."""
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
    """Share of crops from real clips: a group is chosen first, then one of its clips."""
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
        check_ranges(
            self,
            counts="n_songs n_noises n_folds",
            shares="dance_share wild_share noise_share cut_share mix_share",
        )
        if self.dance_share + self.wild_share + self.noise_share > 1:
            raise ConfigError("the shares of dances, clips and noise exceed 1", "Lower one.")
        if self.wild_share and self.wild is None:
            raise ConfigError("wild_share needs clips", "Give wild, or wild_share: 0.")
        if self.dance_share and self.dances is None:
            raise ConfigError("dance_share needs dances", "Give dances, or dance_share: 0.")
        if self.fold is not None and not 0 <= self.fold < self.n_folds:
            raise ConfigError(f"fold is {self.fold}", f"Give 0 to {self.n_folds - 1}.")
        if not self.crop_s > 1:
            raise ConfigError(f"crop_s is {self.crop_s}", "Give more than 1 s.")


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
        targets: Of beats and downbeats: 1 at the nearest frame, 0.5 beside it.
        weights: 0 where the truth is not known.
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
    return Recording(_log_power(mel_power(waveform)), beat_times, downbeat_times, bars_known)


class RecordingCrops(TrainingSet):
    """Crops of recordings, varied in tempo, pitch, timbre and noise.

    Attributes:
        held_out: The held-out fold of real clips, else dances of ``val``.

    Raises:
        InputError: If data is missing or malformed, or a file has no sound.
    """

    batch_type = BeatBatch

    def __init__(self, config: BeatNetworkTrainingConfig) -> None:
        self.config, self.seed = config, config.seed
        self.songs, self.noises = _songs_and_noises(config)
        self.dances = [] if config.dances is None else _dances(config.dances, "train")
        val = [] if config.dances is None else _dances(config.dances, "val")
        self.wild, held_out = _wild_recordings(config)
        self.held_out = held_out or val
        recordings = (*self.songs, *self.dances, *(r for group in self.wild for r in group))
        self.content_hash = hash_arrays(a for r in recordings for a in (r.power, r.beat_times))
        self.epoch_size = len(self.songs)

    def held_out_samples(self, most: int) -> list[Sample]:
        """The middle of each held-out recording, as it is."""
        crop = round(self.config.crop_s * FRAME_RATE)
        samples: list[Sample] = []
        for recording in self.held_out[:most]:
            start = max(0, (recording.power.shape[1] - crop) // 2)
            power, targets, weights = _cut(recording, start, crop, 1.0)
            samples.append((mel_levels(10.0**power), targets, weights))
        return samples

    def sample(self, rng: np.random.Generator, step: int = 0) -> Sample:
        """A crop of one recording, or of two with a cut between them; perhaps with noise."""
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
            # The noise is added to the power, from 20 dB below to 3 dB above the recording.
            noise, _, _ = _random_cut(self.noises[rng.integers(len(self.noises))], crop, rng, 1.0)
            shift = power.mean() - noise.mean() + rng.uniform(-2.0, 0.3)
            power = np.logaddexp(power * np.log(10), (noise + shift) * np.log(10)) / np.log(10)
        return mel_levels((10.0**power).astype(np.float32)), targets, weights

    def _crop(self, crop: int, rng: np.random.Generator) -> Sample:
        """A varied crop of a recording; its kind is chosen by the shares."""
        config = self.config
        shares = (config.noise_share, config.dance_share, config.wild_share)
        group = self.wild[rng.integers(len(self.wild))] if self.wild else []
        pools = (self.noises, self.dances, group, self.songs)
        pool = pools[int(np.searchsorted(np.cumsum(shares), rng.random(), side="right"))]
        recording = pool[rng.integers(len(pool))]
        speed = 1.0 if rng.random() < 0.3 else float(np.exp(rng.uniform(-0.22, 0.22)))
        power, targets, weights = _random_cut(recording, crop, rng, speed)
        return _vary(power, rng), targets, weights


def _random_cut(recording: Recording, crop: int, rng: np.random.Generator, speed: float) -> Sample:
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
    # Targets: 1 at the frame of a beat, 0.5 at its neighbours; no weight past the end.
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
    # Pitch: the mel bands are shifted by up to four.
    shift = int(rng.integers(-4, 5))
    if shift:
        power = np.roll(power, shift, axis=0)
        power[: max(shift, 0)] = power[max(shift, 0)]
        if shift < 0:
            power[shift:] = power[shift - 1]
    # Timbre: a smooth equaliser with a spread of up to 8 dB.
    if rng.random() < 0.7:
        curve = gaussian_filter1d(rng.normal(size=N_MELS), 8, mode="nearest")
        curve += rng.normal(0, 0.3) * np.linspace(-1, 1, N_MELS)
        power = power + (curve / max(curve.std(), 1e-6) * rng.uniform(0, 0.8))[:, None]
    # Loudness: a gate or a fader, about 4 dB up and down.
    if rng.random() < 0.3:
        knots = np.interp(
            np.linspace(0, 6, power.shape[1]), np.arange(7), rng.normal(0, 0.4, size=7)
        )
        power = power + knots
    return power.astype(np.float32)


def _wild_recordings(
    config: BeatNetworkTrainingConfig,
) -> tuple[list[list[Recording]], list[Recording]]:
    """Real clips with a clear pulse by group, and those of the fold that is held out."""
    groups: dict[str, list[Recording]] = {}
    held_out: list[Recording] = []
    clips = [] if config.wild is None else load_wild(config.wild)
    folds = wild_folds(clips, config.n_folds)
    for clip in clips:
        if clip.pulse >= CLEAR_PULSE and clip.agreement >= AGREED:
            is_held_out = folds[clip.group] == config.fold
            own = held_out if is_held_out else groups.setdefault(clip.group, [])
            bars = clip.bar_times[clip.bar_places == 1]
            own.append(sound_recording(clip.sound_path, clip.beat_times, bars, bars.size > 1))
    return list(groups.values()), held_out


def _log_power(power: np.ndarray) -> Float16[np.ndarray, "mels frames"]:
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
        render = partial(_render, config.n_songs, config.song_s, n_frames, grooves)
        entries = render_rows(power_file, render, (count, N_MELS, n_frames), np.float16)
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
    n_songs: int, seconds: float, n_frames: int, grooves: list[Groove], number: int
) -> tuple[Float16[np.ndarray, "mels frames"], dict[str, list[float]]]:
    rng = np.random.default_rng([number, 1])
    if number >= n_songs:
        noise = make_noise(KINDS[number % len(KINDS)], seconds, rng)
        return _log_power(mel_power(noise))[:, :n_frames], {"beats": [], "downbeats": []}
    song = make_song(grooves, seconds, rng)
    return _log_power(mel_power(song.waveform))[:, :n_frames], {
        "beats": song.beat_times.round(5).tolist(),
        "downbeats": song.beat_times[song.beat_numbers == 1].round(5).tolist(),
    }
