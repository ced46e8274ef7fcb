"""Score checkpoints, sounds made elsewhere and baselines on the same dances.

The only module of the task that knows models; what it measures with knows arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from dancetomusic.errors import CheckpointError, InputError
from dancetomusic.evaluation.baselines import render_clicks
from dancetomusic.evaluation.clips import (
    LENGTHS_S,
    RETIMINGS,
    BeatEstimator,
    MovementClip,
    baseline_estimators,
    cut_clips,
    draws_of,
    length_name,
    score_estimator,
    speed_minima,
)
from dancetomusic.evaluation.pieces import Piece, Song, cut_poses, read_sound
from dancetomusic.evaluation.tasks.codec import AUDIO_SUFFIXES, codec_round_trip
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
    Reference,
    Scores,
    score_sound,
    tempo_kept,
)
from dancetomusic.io.audio import fit_length, resample
from dancetomusic.metrics.bar_similarity import (
    bar_patterns,
    pairwise_similarity,
    self_similarity,
)
from dancetomusic.metrics.beats import Times, beat_f, track_beats
from dancetomusic.metrics.calibration import beats_right
from dancetomusic.metrics.drum_balance import register_onset_times
from dancetomusic.metrics.frechet import at_common_level, pool_windows
from dancetomusic.metrics.legacy import onset_seconds
from dancetomusic.metrics.onsets import detect_onsets
from dancetomusic.metrics.sound_faults import find_faults
from dancetomusic.models.encoders import load_encoder
from dancetomusic.parallel import Engine
from dancetomusic.pose.motion import joint_speeds
from dancetomusic.rhythm.onset_pattern import onset_bands
from dancetomusic.types import POSE_FPS, PoseSequence, Waveform

if TYPE_CHECKING:
    from dancetomusic.codec.spectral import SpectralCodec
    from dancetomusic.generate.one import DanceToMusic

EMBEDDING_S = 0.5
"""Length of the windows that one embedding stands for."""

EMBED_AT_ONCE_S = 30.0
LONG_S = 180.0
EXCERPT_S = 10.0
CALIBRATION_LENGTHS_S = (5.0, 10.0)
N_EXCERPTS = 10
EMBEDDER = "codec"
"""Released codec whose encoder embeds every row, whatever codec a model writes for."""


@dataclass(frozen=True)
class Plan:
    """What is put beside the baselines.

    Attributes:
        models: Row names and checkpoints, directories or released names, that make music.
        beatless: Those of them that play on beats which the released model estimates.
        encoders: Row names and checkpoints that estimate beats and make no music.
        sounds: Row names and folders of sounds made elsewhere, named by piece.
        codec: Codec of the models; ``None`` for the released one.
        seeds: Pieces a model makes for each dance, and samples of each random baseline.
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
        """Everything that estimates beats from movement."""
        own = {name: path for name, path in self.models.items() if name not in self.beatless}
        return {**own, **self.encoders}


@dataclass(frozen=True)
class Excerpt:
    """The start of a sound, for the pictures."""

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
    """Beats of one piece estimated from movement: scores by length, as danced and retimed."""

    reader: str
    piece: str
    scores: dict[str, dict[str, float]]
    retimed: dict[str, dict[str, float]]
    confidence: Float[np.ndarray, " beats"] = field(default_factory=lambda: np.zeros(0))
    right: Bool[np.ndarray, " beats"] = field(default_factory=lambda: np.zeros(0, bool))


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
        readings: Beats estimated from movement.
        long: Each model's piece of three minutes.
        grooves: Real performances.
    """

    pieces: list[Piece]
    takes: list[Take] = field(default_factory=list)
    readings: list[GridReading] = field(default_factory=list)
    long: list[LongTake] = field(default_factory=list)
    grooves: list[GrooveTake] = field(default_factory=list)

    def add(self, result: Take | GridReading | LongTake | GrooveTake) -> None:
        """Keep the result of a job."""
        kept: dict[type, list[Any]] = {
            Take: self.takes,
            GridReading: self.readings,
            LongTake: self.long,
            GrooveTake: self.grooves,
        }
        kept[type(result)].append(result)


def make_plan(
    checkpoints: Sequence[str],
    sounds: Mapping[str, Path] | None = None,
    *,
    codec: str | None = None,
    seeds: int = 3,
    grooves: Path | None = None,
) -> Plan:
    """Name the rows, and separate models that make music from encoders that estimate beats.

    Raises:
        CheckpointError: If a checkpoint is missing or of neither kind.
        InputError: If two rows have one name.
    """
    from dancetomusic.models.registry import locate_model

    models: dict[str, str] = {}
    encoders: dict[str, str] = {}
    beatless: set[str] = set()
    folders = dict(sounds or {})
    for checkpoint in checkpoints:
        family, directory = locate_model(checkpoint)
        if not (family.plays or family.reads_beats):
            raise CheckpointError(
                f"{checkpoint} holds a {family.name}",
                "Give a model that makes music from movement, or a pose encoder.",
            )
        name = str(checkpoint) if directory is None else directory.name
        if name in models or name in encoders:
            name = str(checkpoint)
        if name in models or name in encoders or name in folders:
            raise InputError(f"two rows are named {name!r}", "Name each folder differently.")
        path = str(checkpoint if directory is None else directory.absolute())
        (models if family.plays else encoders)[name] = path
        if family.plays and not family.reads_beats:
            beatless.add(name)
    if codec is not None and Path(codec).is_dir():
        codec = str(Path(codec).absolute())
    return Plan(models, frozenset(beatless), encoders, folders, codec, seeds, grooves)


def measure(
    pieces: Sequence[Piece],
    songs: Sequence[Song],
    plan: Plan,
    engine: Engine,
    *,
    on_done: Callable[[int], None] = lambda total: None,
) -> Findings:
    """Measure every row on every piece.

    Args:
        pieces: What to make music for.
        songs: Where other songs and genre tempi come from; may include those of ``pieces``.
        plan: What to put beside the baselines.
        engine: Where the work is done, a job a piece and row group.
        on_done: Called after each job with the number of all.

    Raises:
        InputError: If a sound is missing everywhere or cannot be read.
        CheckpointError: If a checkpoint cannot be loaded.
    """
    found = find_sounds(pieces, plan.sounds)
    evidence = next(iter(plan.readers.values()), None)
    shown = {piece.name for piece in pieces[:N_EXCERPTS]}
    jobs: list[tuple[float, Callable[..., Any], tuple[Any, ...]]] = []
    for piece in pieces:
        cost = piece.duration_s
        for name, checkpoint in plan.models.items():
            show = piece.name in shown
            arguments = (piece, name, checkpoint, plan.codec, evidence, plan.seeds, show)
            jobs.append((4 * cost, measure_model, arguments))
        jobs.append((3 * cost, measure_baselines, (piece, list(songs), evidence, plan.seeds)))
        for name, files in found.items():
            if piece.name in files:
                jobs.append((cost, measure_file, (piece, name, files[piece.name], evidence)))
        for name, checkpoint in plan.readers.items():
            jobs.append((cost, estimate_beats, (piece, name, checkpoint)))
        jobs.append((cost, score_baselines, (piece, list(songs))))
    if pieces and plan.models:
        longest = max(pieces, key=lambda piece: piece.duration_s)
        for name, checkpoint in plan.models.items():
            jobs.append((1e6, measure_long, (longest, name, checkpoint, plan.codec)))
    if plan.grooves is not None:
        for number in range(N_PERFORMANCES):
            jobs.append((20.0, measure_groove, (plan.grooves, number)))
    jobs.sort(key=lambda job: -job[0])
    findings = Findings(list(pieces))
    running: list[Future[Any]] = [engine.submit(job, *given) for _, job, given in jobs]
    for future in running:
        for result in future.result():
            findings.add(result)
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
    """Every baseline of sound, and the truth through the codec."""
    truth = piece.music()
    reference = _reference(piece, truth, evidence)
    takes = [
        _take(row, piece, sound, reference)
        for row, sound in baseline_sounds(piece, truth, songs, draws)
    ]
    through = codec_round_trip(_embedder(), truth)
    return [*takes, _take(TRUTH_CODEC, piece, through, reference)]


def measure_file(piece: Piece, row: str, path: Path, evidence: str | None) -> list[Take]:
    """A sound made elsewhere, cut to the piece or followed by silence."""
    truth = piece.music()
    sound = fit_length(read_sound(path, truth.sample_rate), truth.samples.shape[1])
    return [_take(row, piece, sound, _reference(piece, truth, evidence))]


def measure_model(
    piece: Piece,
    row: str,
    checkpoint: str,
    codec: str | None,
    evidence: str | None,
    seeds: int,
    show: bool,
) -> list[Take]:
    """Pieces of a model, one a seed, and a metronome on the beats that it estimated."""
    truth = piece.music()
    reference = _reference(piece, truth, evidence)
    pipeline = _pipeline(checkpoint, codec)
    takes, bars = [], []
    for seed in range(seeds):
        music = pipeline.generate(piece.poses, seed=seed)
        rhythm = music.rhythm
        grid = Grid(rhythm.beat_times.astype(np.float64), rhythm.beat_numbers)
        sound = fit_length(resample(music.waveform, truth.sample_rate), truth.samples.shape[1])
        scores, own_bars = score_sound(sound, reference, grid)
        bars.append(own_bars)
        excerpt = _excerpt(piece, sound, reference, grid) if show and seed == 0 else None
        takes.append(Take(f"**{row}**", piece.name, scores, embed(sound), excerpt))
        if seed == 0:
            clicks = render_clicks(grid.beat_times, truth.duration_s, truth.sample_rate)
            takes.append(_take(metronome_on(row), piece, clicks, reference, grid))
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
    repeated = PoseSequence(
        np.tile(poses.world, (repeats, 1, 1)),
        np.tile(poses.present, repeats),
        np.tile(poses.visibility, (repeats, 1)),
        poses.fps,
    )
    long = cut_poses(repeated, slice(0, round(LONG_S * poses.fps)))
    music = _pipeline(checkpoint, codec).generate(long)
    beats = track_beats(music.waveform)
    grid, numbers = music.rhythm.beat_times.astype(np.float64), music.rhythm.beat_numbers
    bars = bar_patterns(onset_bands(music.waveform), grid, numbers)
    last = LONG_S - 60.0
    scores = {
        **asdict(find_faults(music.waveform, register_onset_times(music.waveform))),
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


def estimate_beats(piece: Piece, row: str, checkpoint: str) -> list[GridReading]:
    """The beats that a checkpoint estimates in a piece, and those with the true tempo given."""
    from dancetomusic.models.pose_encoder.network import read_rhythm
    from dancetomusic.pose.landmarks import resample_poses

    encoder = load_encoder(checkpoint)
    piece = replace(piece, poses=resample_poses(piece.poses, POSE_FPS))
    confidence, right = [np.zeros(0)], [np.zeros(0, bool)]
    for length in CALIBRATION_LENGTHS_S:
        for clip in cut_clips(piece, length):
            rhythm = read_rhythm(encoder, clip.poses)
            confidence.append(rhythm.confidence.astype(np.float64))
            right.append(beats_right(clip.beat_times, rhythm.beat_times.astype(np.float64)))

    def estimate(clip: MovementClip, rng: np.random.Generator) -> Times:
        return read_rhythm(encoder, clip.poses).beat_times.astype(np.float64)

    def with_true_tempo(clip: MovementClip, rng: np.random.Generator) -> Times:
        bpm = float(np.clip(clip.bpm, 40, 240))
        return read_rhythm(encoder, clip.poses, bpm=bpm).beat_times.astype(np.float64)

    return [
        replace(
            _grid_reading(row, piece, estimate),
            confidence=np.concatenate(confidence),
            right=np.concatenate(right),
        ),
        _grid_reading(f"{row}, true tempo given", piece, with_true_tempo),
    ]


def score_baselines(piece: Piece, songs: list[Song]) -> list[GridReading]:
    """Baselines of the table of beats: those that read nothing, and speed minima."""
    estimators = baseline_estimators([s for s in songs if s.dance != piece.dance])
    return [
        _grid_reading(row, piece, estimator, draws_of(row)) for row, estimator in estimators.items()
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
    row: str, piece: Piece, sound: Waveform, reference: Reference, grid: Grid | None = None
) -> Take:
    return Take(row, piece.name, score_sound(sound, reference, grid)[0], embed(sound))


def _reference(piece: Piece, truth: Waveform, evidence: str | None) -> Reference:
    from dancetomusic.models.pose_encoder.network import encode_poses
    from dancetomusic.pose.landmarks import resample_poses

    phase, rate = np.zeros((0, 2), np.float32), 1.0
    if evidence is not None:
        encoder = load_encoder(evidence)
        encoding = encode_poses(encoder, resample_poses(piece.poses, POSE_FPS))
        phase, rate = encoding.phase[0].float().numpy(), encoder.config.frame_rate
    return Reference(
        beat_times=piece.beat_times,
        beat_numbers=piece.beat_numbers,
        downbeat_known=piece.downbeat_known,
        duration_s=truth.duration_s,
        speeds=joint_speeds(piece.poses),
        fps=piece.poses.fps,
        motion_beats=speed_minima(piece.poses),
        true_onsets=detect_onsets(truth),
        true_seconds=onset_seconds(truth),
        phase=phase,
        phase_rate=rate,
    )


def _excerpt(piece: Piece, sound: Waveform, reference: Reference, grid: Grid) -> Excerpt:
    from dancetomusic.metrics.energy_fit import loudness_db, quantity_of_motion

    start = Waveform(sound.samples[:, : round(EXCERPT_S * sound.sample_rate)], sound.sample_rate)
    inside = grid.beat_times < EXCERPT_S
    return Excerpt(
        piece.name,
        start,
        grid.beat_times[inside],
        grid.beat_numbers[inside],
        quantity_of_motion(reference.speeds, reference.fps),
        loudness_db(sound),
    )


def _grid_reading(row: str, piece: Piece, estimator: BeatEstimator, draws: int = 1) -> GridReading:
    as_danced, retimed = (
        {
            length_name(length): score_estimator(
                estimator, piece, length, speeds=speeds, draws=draws
            )
            for length in LENGTHS_S
        }
        for speeds in ((1.0,), RETIMINGS)
    )
    return GridReading(row, piece.name, as_danced, retimed)


@lru_cache(maxsize=4)
def _pipeline(checkpoint: str, codec: str | None) -> DanceToMusic:
    from dancetomusic.generate.one import DanceToMusic

    return DanceToMusic.from_pretrained(checkpoint, codec, threads=1)


@lru_cache(maxsize=1)
def _embedder() -> SpectralCodec:
    from dancetomusic.codec.spectral import SpectralCodec
    from dancetomusic.released import released_checkpoint

    return SpectralCodec.from_pretrained(released_checkpoint(EMBEDDER))
