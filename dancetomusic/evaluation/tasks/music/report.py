"""Score checkpoints, sounds made elsewhere and trivial music on the same dances.

The only module of ``evaluation`` that knows models; what it measures with knows arrays.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from dancetomusic.errors import CheckpointError, DependencyError, InputError
from dancetomusic.evaluation.baselines import render_clicks
from dancetomusic.evaluation.tasks.codec import AUDIO_SUFFIXES, codec_round_trip
from dancetomusic.evaluation.tasks.music import grid as grid_reading
from dancetomusic.evaluation.tasks.music.pieces import Piece, Song
from dancetomusic.evaluation.tasks.music.real_grooves import (
    N_PERFORMANCES,
    render_performance,
    score_performance,
)
from dancetomusic.evaluation.tasks.music.rows import (
    TRUTH_CODEC,
    baseline_sounds,
    metronome_on,
)
from dancetomusic.evaluation.tasks.music.scores import (
    Grid,
    Occasion,
    Scores,
    score_sound,
    tempo_kept,
)
from dancetomusic.io.audio import fit_length, read_audio, resample
from dancetomusic.metrics.bar_similarity import (
    bar_patterns,
    pairwise_similarity,
    self_similarity,
)
from dancetomusic.metrics.beats import beat_f, track_beats
from dancetomusic.metrics.calibration import beats_right
from dancetomusic.metrics.drum_balance import stroke_times
from dancetomusic.metrics.frechet import at_common_level, pool_windows
from dancetomusic.metrics.legacy import struck_seconds
from dancetomusic.metrics.onsets import detect_onsets
from dancetomusic.metrics.sound_faults import find_faults
from dancetomusic.parallel import Engine
from dancetomusic.pose.motion import joint_speeds
from dancetomusic.rhythm.onset_pattern import onset_bands
from dancetomusic.types import PoseSequence, Waveform

if TYPE_CHECKING:
    from dancetomusic.codec.spectral import SpectralCodec
    from dancetomusic.generate.one import DanceToMusic
    from dancetomusic.models.pose_encoder.network import PoseEncoder

EMBEDDING_S = 0.5
"""Length of the windows that one embedding stands for."""

EMBED_AT_ONCE_S = 30.0
LONG_S = 180.0
EXCERPT_S = 10.0
CALIBRATION_LENGTHS_S = (5.0, 10.0)
N_EXCERPTS = 10
EMBEDDER = "codec"
"""Released codec whose encoder embeds every row, whatever codec a model writes for."""

BEATLESS = ("wavenet", "motion_vae")
"""Families of models that make music and read no beat."""


@dataclass(frozen=True)
class Plan:
    """What is put beside the trivial rows.

    Attributes:
        models: Row names and checkpoints, directories or released names, that make music.
        beatless: Those of them that play on beats which the released model reads.
        encoders: Row names and checkpoints that read a grid and make no music.
        sounds: Row names and folders of sounds made elsewhere, named by piece.
        codec: Codec of the models; ``None`` for the released one.
        seeds: Pieces a model makes for each dance, and draws of each random row.
        grooves: Groove MIDI directory that real grooves are rendered from, if any.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    beatless: frozenset[str] = frozenset()
    encoders: Mapping[str, str] = field(default_factory=dict)
    sounds: Mapping[str, Path] = field(default_factory=dict)
    codec: str | None = None
    seeds: int = 3
    grooves: Path | None = None

    @property
    def readers(self) -> dict[str, str]:
        """Everything that reads a grid from movement."""
        own = {name: path for name, path in self.models.items() if name not in self.beatless}
        return {**own, **self.encoders}


@dataclass(frozen=True)
class Excerpt:
    """The start of a sound, to be looked at."""

    piece: str
    sound: Waveform
    beat_times: Float[np.ndarray, " beats"]
    beat_numbers: Int[np.ndarray, " beats"]
    motion: Float[np.ndarray, " windows"]
    loudness: Float[np.ndarray, " loud_windows"]


@dataclass(frozen=True)
class Take:
    """What was measured of one sound for one piece."""

    row: str
    piece: str
    scores: Scores
    embeddings: Float32[np.ndarray, "windows channels"]
    excerpt: Excerpt | None = None


@dataclass(frozen=True)
class GridReading:
    """How one reader did on one piece: scores by length, and by length when retimed."""

    reader: str
    piece: str
    scores: dict[str, dict[str, float]]
    retimed: dict[str, dict[str, float]]
    confidence: Float[np.ndarray, " beats"]
    right: Bool[np.ndarray, " beats"]


@dataclass(frozen=True)
class LongTake:
    """Scores of a model's piece of three minutes."""

    model: str
    scores: Scores


@dataclass(frozen=True)
class GrooveTake:
    """What was measured of one real performance."""

    scores: Scores
    embeddings: Float32[np.ndarray, "windows channels"]


@dataclass
class Findings:
    """Everything that was measured, before means are taken.

    Attributes:
        pieces: What it was measured on.
        takes: Sounds.
        readings: Grids read from movement.
        long: Each model's piece of three minutes.
        grooves: Real performances.
    """

    pieces: list[Piece]
    takes: list[Take] = field(default_factory=list)
    readings: list[GridReading] = field(default_factory=list)
    long: list[LongTake] = field(default_factory=list)
    grooves: list[GrooveTake] = field(default_factory=list)

    def add(self, result: Take | GridReading | LongTake | GrooveTake) -> None:
        """Keep what a task gave."""
        kinds: dict[type, list[Any]] = {
            Take: self.takes,
            GridReading: self.readings,
            LongTake: self.long,
            GrooveTake: self.grooves,
        }
        kinds[type(result)].append(result)


def require_packages() -> None:
    """Refuse at once what would fail after the first task.

    Raises:
        DependencyError: If a package of the extra ``evaluate`` is not installed.
    """
    for package in ("librosa", "mir_eval", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise DependencyError(
                f"{package} is not installed", "Run: pip install 'dancetomusic[evaluate]'."
            )


def make_plan(
    checkpoints: Sequence[str],
    sounds: Mapping[str, Path] | None = None,
    *,
    codec: str | None = None,
    seeds: int = 3,
    grooves: Path | None = None,
) -> Plan:
    """Name the rows, and tell models that make music from encoders that only read.

    Raises:
        CheckpointError: If a checkpoint is missing or of neither kind.
        InputError: If two rows have one name.
    """
    from dancetomusic.checkpoint import checkpoint_family
    from dancetomusic.released import locate_checkpoint

    models: dict[str, str] = {}
    encoders: dict[str, str] = {}
    beatless: set[str] = set()
    folders = dict(sounds or {})
    for checkpoint in checkpoints:
        directory = locate_checkpoint(checkpoint)
        family = checkpoint_family(directory)
        if family not in (*BEATLESS, "pose2audio", "pose_encoder"):
            raise CheckpointError(
                f"{checkpoint} holds a {family}",
                "Give a model that makes music from movement, or a pose encoder.",
            )
        name = directory.name
        if name in models or name in encoders:
            name = str(checkpoint)
        if name in models or name in encoders or name in folders:
            raise InputError(f"two rows are named {name!r}", "Name each folder differently.")
        (encoders if family == "pose_encoder" else models)[name] = str(directory.absolute())
        if family in BEATLESS:
            beatless.add(name)
    if codec is not None and Path(codec).is_dir():
        codec = str(Path(codec).absolute())
    return Plan(models, frozenset(beatless), encoders, folders, codec, seeds, grooves)


def evaluate(
    pieces: Sequence[Piece],
    songs: Sequence[Song],
    plan: Plan,
    engine: Engine,
    *,
    on_done: Callable[[int], None] | None = None,
) -> Findings:
    """Measure every row on every piece.

    Args:
        pieces: What to make music for.
        songs: Where other songs and genre tempi come from; may include those of ``pieces``.
        plan: What to put beside the trivial rows.
        engine: Where the work is done, a task a piece and row group.
        on_done: Called after each task with the number of all.

    Raises:
        InputError: If a sound is missing everywhere or cannot be read.
        CheckpointError: If a checkpoint cannot be loaded.
    """
    found = find_sounds(pieces, plan.sounds)
    evidence = next(iter(plan.readers.values()), None)
    shown = {piece.name for piece in pieces[:N_EXCERPTS]}
    tasks: list[tuple[float, Callable[..., Any], tuple[Any, ...]]] = []
    for piece in pieces:
        cost = piece.duration_s
        for name, checkpoint in plan.models.items():
            show = piece.name in shown
            arguments = (piece, name, checkpoint, plan.codec, evidence, plan.seeds, show)
            tasks.append((4 * cost, measure_model, arguments))
        tasks.append((3 * cost, measure_baselines, (piece, list(songs), evidence, plan.seeds)))
        for name, files in found.items():
            if piece.name in files:
                tasks.append((cost, measure_file, (piece, name, files[piece.name], evidence)))
        for name, checkpoint in plan.readers.items():
            tasks.append((cost, read_grids, (piece, name, checkpoint)))
        tasks.append((cost, read_trivial_grids, (piece, list(songs))))
    if pieces and plan.models:
        longest = max(pieces, key=lambda piece: piece.duration_s)
        for name, checkpoint in plan.models.items():
            tasks.append((1e6, measure_long, (longest, name, checkpoint, plan.codec)))
    if plan.grooves is not None:
        for number in range(N_PERFORMANCES):
            tasks.append((20.0, measure_groove, (plan.grooves, number)))
    tasks.sort(key=lambda task: -task[0])
    findings = Findings(list(pieces))
    running: list[Future[Any]] = [engine.submit(task, *given) for _, task, given in tasks]
    for future in running:
        for result in future.result():
            findings.add(result)
        if on_done is not None:
            on_done(len(running))
    return findings


def find_sounds(pieces: Sequence[Piece], folders: Mapping[str, Path]) -> dict[str, dict[str, Path]]:
    """Files of each folder by the piece that they are named after; some may be missing.

    Raises:
        InputError: If a folder has none for any piece.
    """
    found: dict[str, dict[str, Path]] = {}
    names = {piece.name for piece in pieces}
    for row, folder in folders.items():
        files = sorted(folder.iterdir()) if folder.is_dir() else []
        found[row] = {
            file.stem: file
            for file in files
            if file.stem in names and file.suffix.lower() in AUDIO_SUFFIXES
        }
        if not found[row]:
            raise InputError(
                f"{folder} has no sound for any piece",
                f"Name its files by piece, such as {min(names)}.wav.",
            )
    return found


def measure_baselines(
    piece: Piece, songs: list[Song], evidence: str | None, draws: int
) -> list[Take]:
    """Every row that needs no model, and the truth through the codec."""
    truth = piece.music()
    occasion = _occasion(piece, truth, evidence)
    takes = [
        _take(row, piece, sound, occasion)
        for row, sound in baseline_sounds(piece, truth, songs, draws)
    ]
    through = codec_round_trip(_embedder(), truth)
    return [*takes, _take(TRUTH_CODEC, piece, through, occasion)]


def measure_file(piece: Piece, row: str, path: Path, evidence: str | None) -> list[Take]:
    """A sound made elsewhere, cut to the piece or followed by silence."""
    truth = piece.music()
    sound = read_audio(path, truth.sample_rate)
    if sound is None:
        raise InputError(f"{path} has no sound", "Replace the file.")
    sound = fit_length(sound, truth.samples.shape[1])
    return [_take(row, piece, sound, _occasion(piece, truth, evidence))]


def measure_model(
    piece: Piece,
    row: str,
    checkpoint: str,
    codec: str | None,
    evidence: str | None,
    seeds: int,
    show: bool,
) -> list[Take]:
    """Pieces of a model, one a seed, and a metronome on the beats that it read."""
    truth = piece.music()
    occasion = _occasion(piece, truth, evidence)
    pipeline = _pipeline(checkpoint, codec)
    takes, bars = [], []
    for seed in range(seeds):
        music = pipeline.generate(piece.poses, seed=seed)
        rhythm = music.rhythm
        grid = Grid(rhythm.beat_times.astype(np.float64), rhythm.beat_numbers)
        sound = fit_length(resample(music.waveform, truth.sample_rate), truth.samples.shape[1])
        heard = score_sound(sound, occasion, grid)
        bars.append(heard.bars)
        excerpt = _excerpt(piece, sound, occasion, grid) if show and seed == 0 else None
        takes.append(Take(f"**{row}**", piece.name, heard.scores, embed(sound), excerpt))
        if seed == 0:
            clicks = render_clicks(grid.beat_times, truth.duration_s, truth.sample_rate)
            takes.append(_take(metronome_on(row), piece, clicks, occasion, grid))
    alike = [
        pairwise_similarity(one, other) for k, one in enumerate(bars) for other in bars[k + 1 :]
    ]
    if alike:
        for take in takes:
            if take.row == f"**{row}**":
                take.scores["seed_similarity"] = float(np.nanmean(alike))
    return takes


def measure_long(piece: Piece, row: str, checkpoint: str, codec: str | None) -> list[LongTake]:
    """Faults of three minutes of music for one dance, repeated to that length."""
    poses = piece.poses
    repeats = math.ceil(LONG_S / poses.duration_s)
    n_frames = round(LONG_S * poses.fps)
    long = PoseSequence(
        np.tile(poses.world, (repeats, 1, 1))[:n_frames],
        np.tile(poses.present, repeats)[:n_frames],
        np.tile(poses.visibility, (repeats, 1))[:n_frames],
        poses.fps,
    )
    music = _pipeline(checkpoint, codec).generate(long)
    beats = track_beats(music.waveform)
    grid, numbers = music.rhythm.beat_times.astype(np.float64), music.rhythm.beat_numbers
    bars = bar_patterns(onset_bands(music.waveform), grid, numbers)
    last = LONG_S - 60.0
    scores = {
        **asdict(find_faults(music.waveform, stroke_times(music.waveform))),
        "grid_f": beat_f(grid, beats),
        "grid_f_last_minute": beat_f(grid[grid >= last], beats[beats >= last]),
        "grid_tempo": tempo_kept(grid, beats),
        "self_similarity": self_similarity(bars),
    }
    return [LongTake(row, scores)]


def measure_groove(grooves: Path, number: int) -> list[GrooveTake]:
    """One real performance."""
    sound, grid = render_performance(grooves, number)
    return [GrooveTake(score_performance(sound, grid), embed(sound))]


def read_grids(piece: Piece, row: str, checkpoint: str) -> list[GridReading]:
    """The beats that a checkpoint reads from a piece, and with the true tempo given."""
    from dancetomusic.models.pose_encoder.network import POSE_FPS, read_rhythm
    from dancetomusic.pose.landmarks import resample_poses

    encoder = _encoder(checkpoint)
    piece = replace(piece, poses=resample_poses(piece.poses, POSE_FPS))
    confidence, right = [], []
    for length in CALIBRATION_LENGTHS_S:
        for clip in grid_reading.cut_clips(piece, length):
            rhythm = read_rhythm(encoder, clip.poses)
            confidence.append(rhythm.confidence.astype(np.float64))
            right.append(beats_right(clip.beat_times, rhythm.beat_times.astype(np.float64)))
    empty = np.zeros(0)
    read = _grid_reading(
        row,
        piece,
        lambda clip, rng: read_rhythm(encoder, clip.poses).beat_times.astype(np.float64),
        1,
        np.concatenate([empty, *confidence]),
        np.concatenate([empty.astype(bool), *right]),
    )
    known_tempo = _grid_reading(
        f"{row}, true tempo given",
        piece,
        lambda clip, rng: read_rhythm(
            encoder, clip.poses, bpm=float(np.clip(clip.bpm, 40, 240))
        ).beat_times.astype(np.float64),
        1,
    )
    return [read, known_tempo]


def read_trivial_grids(piece: Piece, songs: list[Song]) -> list[GridReading]:
    """Rows of the grid table that read nothing, or only speed minima."""
    readers = grid_reading.trivial_readers([s for s in songs if s.dance != piece.dance])
    return [
        _grid_reading(row, piece, reader, 1 if row == "speed minima" else grid_reading.RANDOM_DRAWS)
        for row, reader in readers.items()
    ]


def embed(sound: Waveform) -> Float32[np.ndarray, "windows channels"]:
    """Mean latent of the released codec's encoder over each half second, gain left out."""
    import torch

    codec = _embedder()
    mono = resample(at_common_level(sound.to_mono()), codec.sample_rate).samples
    step = round(EMBED_AT_ONCE_S * codec.sample_rate) // codec.hop_length * codec.hop_length
    with torch.inference_mode():
        latents = [
            codec.model.encode_latent(torch.from_numpy(mono[:, start : start + step]))[0].numpy()
            for start in range(0, mono.shape[1], step)
        ]
    frames = np.concatenate(latents) if latents else np.zeros((0, 1), np.float32)
    return pool_windows(frames, round(EMBEDDING_S * codec.frame_rate)).astype(np.float32)


def _take(
    row: str, piece: Piece, sound: Waveform, occasion: Occasion, grid: Grid | None = None
) -> Take:
    return Take(row, piece.name, score_sound(sound, occasion, grid).scores, embed(sound))


def _occasion(piece: Piece, truth: Waveform, evidence: str | None) -> Occasion:
    from dancetomusic.models.pose_encoder.network import POSE_FPS, encode_poses
    from dancetomusic.pose.landmarks import resample_poses

    phase, rate = np.zeros((0, 2), np.float32), 1.0
    if evidence is not None:
        encoder = _encoder(evidence)
        encoding = encode_poses(encoder, resample_poses(piece.poses, POSE_FPS))
        phase, rate = encoding.phase[0].float().numpy(), encoder.config.frame_rate
    return Occasion(
        beat_times=piece.beat_times,
        beat_numbers=piece.beat_numbers,
        downbeat_known=piece.downbeat_known,
        duration_s=truth.duration_s,
        speeds=joint_speeds(piece.poses),
        fps=piece.poses.fps,
        motion_beats=grid_reading.speed_minima(piece.poses),
        true_onsets=detect_onsets(truth),
        true_seconds=struck_seconds(truth),
        phase=phase,
        phase_rate=rate,
    )


def _excerpt(piece: Piece, sound: Waveform, occasion: Occasion, grid: Grid) -> Excerpt:
    from dancetomusic.metrics.energy_fit import loudness_db, quantity_of_motion

    start = Waveform(sound.samples[:, : round(EXCERPT_S * sound.sample_rate)], sound.sample_rate)
    inside = grid.beat_times < EXCERPT_S
    return Excerpt(
        piece.name,
        start,
        grid.beat_times[inside],
        grid.beat_numbers[inside],
        quantity_of_motion(occasion.speeds, occasion.fps),
        loudness_db(sound),
    )


def _grid_reading(
    row: str,
    piece: Piece,
    reader: grid_reading.Reader,
    draws: int,
    confidence: Float[np.ndarray, " beats"] | None = None,
    right: Bool[np.ndarray, " beats"] | None = None,
) -> GridReading:
    def scores(speeds: Sequence[float]) -> dict[str, dict[str, float]]:
        return {
            "whole" if length is None else f"{length:g} s": grid_reading.score_reader(
                reader, piece, length, speeds=speeds, draws=draws
            )
            for length in grid_reading.LENGTHS_S
        }

    return GridReading(
        row,
        piece.name,
        scores((1.0,)),
        scores(grid_reading.RETIMINGS),
        np.zeros(0) if confidence is None else confidence,
        np.zeros(0, bool) if right is None else right,
    )


@lru_cache(maxsize=4)
def _pipeline(checkpoint: str, codec: str | None) -> DanceToMusic:
    from dancetomusic.generate.one import DanceToMusic

    return DanceToMusic.from_pretrained(checkpoint, codec, threads=1)


@lru_cache(maxsize=4)
def _encoder(checkpoint: str) -> PoseEncoder:
    """A pose encoder, or the one inside a Pose2Audio checkpoint."""
    from dancetomusic.checkpoint import checkpoint_family
    from dancetomusic.models.pose2audio import network as pose2audio
    from dancetomusic.models.pose_encoder.network import load_pose_encoder

    if checkpoint_family(checkpoint) == pose2audio.MODEL:
        return pose2audio.Pose2Audio.from_pretrained(checkpoint).encoder
    return load_pose_encoder(checkpoint)


@lru_cache(maxsize=1)
def _embedder() -> SpectralCodec:
    from dancetomusic.codec.spectral import SpectralCodec
    from dancetomusic.released import released_checkpoint

    return SpectralCodec.from_pretrained(released_checkpoint(EMBEDDER))
