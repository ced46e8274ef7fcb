"""Score checkpoints, sounds made elsewhere and baselines on the same dances.

The only module of the task that knows models; what it measures with knows arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import Float, Float32, Int

from dancetomusic.errors import CheckpointError, InputError
from dancetomusic.evaluation.baselines import render_clicks
from dancetomusic.evaluation.clips import speed_minima
from dancetomusic.evaluation.musicnn import read_weights
from dancetomusic.evaluation.pieces import Piece, Song, read_sound
from dancetomusic.evaluation.sound_scores import Grid, Measured, seeds_alike
from dancetomusic.evaluation.tasks.codec import AUDIO_SUFFIXES, codec_round_trip
from dancetomusic.evaluation.tasks.music.real_grooves import (
    N_PERFORMANCES,
    render_performance,
    score_performance,
)
from dancetomusic.evaluation.tasks.music.rows import TRUTH_CODEC, baseline_sounds, metronome_on
from dancetomusic.evaluation.tasks.music.scores import Reference, Scores, score_sound, tempo_kept
from dancetomusic.io.audio import fit_length, resample
from dancetomusic.metrics.bar_similarity import bar_patterns, self_similarity
from dancetomusic.metrics.beats import beat_f, track_beats
from dancetomusic.metrics.drum_balance import register_onset_times
from dancetomusic.metrics.frechet import at_common_level, pool_windows
from dancetomusic.metrics.legacy import onset_seconds
from dancetomusic.metrics.onsets import detect_onsets
from dancetomusic.metrics.sound_faults import find_faults
from dancetomusic.models.encoders import load_encoder
from dancetomusic.parallel import Engine
from dancetomusic.pose.landmarks import cut_poses, resample_poses
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
N_EXCERPTS = 10
CODEC, MUSICNN = "codec", "musicnn"
"""What embeds sounds: the encoder of the released codec, and a network of others."""


@dataclass(frozen=True)
class Plan:
    """What is put beside the baselines.

    Attributes:
        models: Row names and checkpoints, directories or released names, that make music.
        evidence: Checkpoint that estimates the beat phase of the movement; ``None`` leaves the
            column of beat evidence empty.
        sounds: Row names and folders of sounds made elsewhere, named by piece.
        codec: Codec of the models; ``None`` for the released one.
        seeds: Pieces a model makes for each dance, and samples of each random baseline.
        grooves: Groove MIDI directory that real grooves are rendered from, if any.
        musicnn: Wheel of musicnn, to embed sounds by a network that was not trained here.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    evidence: str | None = None
    sounds: Mapping[str, Path] = field(default_factory=dict)
    codec: str | None = None
    seeds: int = 3
    grooves: Path | None = None
    musicnn: Path | None = None


@dataclass(frozen=True)
class Excerpt:
    """The start of a sound, for the pictures."""

    piece: str
    sound: Waveform
    beat_times: Float[np.ndarray, " beats"]
    beat_numbers: Int[np.ndarray, " beats"]
    motion: Float[np.ndarray, " windows"]
    loudness: Float[np.ndarray, " loud_windows"]


Embeddings: TypeAlias = dict[str, Float32[np.ndarray, "_windows _channels"]]
"""Of one sound, by the network that they are of: ``codec`` or ``musicnn``."""


@dataclass(frozen=True)
class Take:
    """What was measured of one sound for one piece."""

    row: str
    piece: str
    scores: Scores
    embeddings: Embeddings
    excerpt: Excerpt | None = None


@dataclass(frozen=True)
class LongTake:
    """Scores of a model's piece of three minutes."""

    model: str
    scores: Scores


@dataclass(frozen=True)
class GrooveTake:
    """What was measured of one real performance."""

    scores: Scores
    embeddings: Embeddings


@dataclass
class Findings:
    """Everything that was measured, before means are taken.

    Attributes:
        long: Each model's piece of three minutes.
    """

    pieces: list[Piece]
    takes: list[Take] = field(default_factory=list)
    long: list[LongTake] = field(default_factory=list)
    grooves: list[GrooveTake] = field(default_factory=list)

    def add(self, result: Take | LongTake | GrooveTake) -> None:
        """Keep the result of a job."""
        kept: dict[type, list[Any]] = {
            Take: self.takes,
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
    musicnn: Path | None = None,
) -> Plan:
    """Name the rows.

    Raises:
        CheckpointError: If a checkpoint is missing or makes no music from movement.
        InputError: If two rows have one name, or the wheel of musicnn is none.
    """
    from dancetomusic.models.registry import locate_model

    models: dict[str, str] = {}
    evidence = None
    folders = dict(sounds or {})
    if musicnn is not None:
        read_weights(str(musicnn))
    for checkpoint in checkpoints:
        family, directory = locate_model(checkpoint)
        if not family.plays:
            raise CheckpointError(
                f"{checkpoint} holds a {family.name}",
                "Give a model that makes music from movement.",
            )
        name = str(checkpoint) if directory is None else directory.name
        if name in models:
            name = str(checkpoint)
        if name in models or name in folders:
            raise InputError(f"two rows are named {name!r}", "Name each folder differently.")
        models[name] = str(checkpoint if directory is None else directory.absolute())
        if family.reads_beats and evidence is None:
            evidence = models[name]
    own = codec if codec is None or not Path(codec).is_dir() else str(Path(codec).absolute())
    return Plan(models, evidence, folders, own, seeds, grooves, musicnn)


def measure(
    pieces: Sequence[Piece],
    songs: Sequence[Song],
    plan: Plan,
    engine: Engine,
    *,
    on_done: Callable[[int], None] = lambda total: None,
) -> Findings:
    """Measure every row on every piece.

    Other songs and genre tempi come from ``songs``. A job is a piece and a group of rows;
    ``on_done`` is called after each with the number of all.

    Raises:
        InputError: If a sound is missing everywhere or cannot be read.
        CheckpointError: If a checkpoint cannot be loaded.
    """
    found = find_sounds(pieces, plan.sounds)
    shown = {piece.name for piece in pieces[:N_EXCERPTS]}
    jobs: list[tuple[float, Callable[..., Any], tuple[Any, ...]]] = []
    for piece in pieces:
        cost = piece.duration_s
        for name, checkpoint in plan.models.items():
            show = piece.name in shown
            jobs.append((4 * cost, measure_model, (piece, name, checkpoint, plan, show)))
        jobs.append((3 * cost, measure_baselines, (piece, list(songs), plan)))
        for name, files in found.items():
            if piece.name in files:
                jobs.append((cost, measure_file, (piece, name, files[piece.name], plan)))
    if pieces and plan.models:
        longest = max(pieces, key=lambda piece: piece.duration_s)
        for name, checkpoint in plan.models.items():
            jobs.append((1e6, measure_long, (longest, name, checkpoint, plan.codec)))
    if plan.grooves is not None:
        for number in range(N_PERFORMANCES):
            jobs.append((20.0, measure_groove, (plan, number)))
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


def measure_baselines(piece: Piece, songs: list[Song], plan: Plan) -> list[Take]:
    """Every baseline of sound, and the truth through the codec."""
    truth = piece.music()
    reference = _reference(piece, truth, plan)
    takes = [
        _take(row, piece, sound, reference, plan)
        for row, sound in baseline_sounds(piece, truth, songs, plan.seeds)
    ]
    through = codec_round_trip(_embedder(), truth)
    return [*takes, _take(TRUTH_CODEC, piece, through, reference, plan)]


def measure_file(piece: Piece, row: str, path: Path, plan: Plan) -> list[Take]:
    """A sound made elsewhere, cut to the piece or followed by silence."""
    truth = piece.music()
    sound = fit_length(read_sound(path, truth.sample_rate), truth.samples.shape[1])
    return [_take(row, piece, sound, _reference(piece, truth, plan), plan)]


def measure_model(piece: Piece, row: str, checkpoint: str, plan: Plan, show: bool) -> list[Take]:
    """Pieces of a model, one a seed, and a metronome on the beats that it estimated."""
    truth = piece.music()
    reference = _reference(piece, truth, plan)
    pipeline = _pipeline(checkpoint, plan.codec)
    takes, own = [], []
    for seed in range(plan.seeds):
        music = pipeline.generate(piece.poses, seed=seed)
        rhythm, sound = music.rhythm, music.waveform
        grid = Grid(rhythm.beat_times.astype(np.float64), rhythm.beat_numbers)
        sound = fit_length(sound, round(truth.duration_s * sound.sample_rate))
        scores, measured = score_sound(sound, reference, grid, plan.musicnn)
        own.append(measured)
        excerpt = _excerpt(piece, sound, reference, grid) if show and seed == 0 else None
        takes.append(Take(f"**{row}**", piece.name, scores, _embeddings(sound, measured), excerpt))
    alike = seeds_alike(own)
    for take in takes:
        take.scores.update(alike)
    clicks = render_clicks(grid.beat_times, truth.duration_s, truth.sample_rate)
    return [*takes, _take(metronome_on(row), piece, clicks, reference, plan, grid)]


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


def measure_groove(plan: Plan, number: int) -> list[GrooveTake]:
    """One real performance."""
    assert plan.grooves is not None
    sound, grid = render_performance(plan.grooves, number)
    return [GrooveTake(score_performance(sound, grid), {CODEC: embed(sound)})]


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
    row: str,
    piece: Piece,
    sound: Waveform,
    reference: Reference,
    plan: Plan,
    grid: Grid | None = None,
) -> Take:
    scores, measured = score_sound(sound, reference, grid, plan.musicnn)
    return Take(row, piece.name, scores, _embeddings(sound, measured))


def _embeddings(sound: Waveform, measured: Measured) -> Embeddings:
    own = {CODEC: embed(sound)}
    return {**own, MUSICNN: measured.embedding} if measured.embedding.size else own


def _reference(piece: Piece, truth: Waveform, plan: Plan) -> Reference:
    from dancetomusic.models.pose_encoder.network import encode_poses

    phase, rate = np.zeros((0, 2), np.float32), 1.0
    if plan.evidence is not None:
        encoder = load_encoder(plan.evidence)
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


@lru_cache(maxsize=4)
def _pipeline(checkpoint: str, codec: str | None) -> DanceToMusic:
    from dancetomusic.generate.one import DanceToMusic

    return DanceToMusic.from_pretrained(checkpoint, codec, threads=1)


@lru_cache(maxsize=1)
def _embedder() -> SpectralCodec:
    from dancetomusic.codec.spectral import SpectralCodec
    from dancetomusic.released import released_checkpoint

    return SpectralCodec.from_pretrained(released_checkpoint(CODEC))
