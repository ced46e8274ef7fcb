"""Score dances made for music beside real ones and beside baselines that know nothing of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, TypeVar

import numpy as np
import torch
import typer
from jaxtyping import Float, Float32

from dancetomusic.data.dance import Dance, fully_visible
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import InputError
from dancetomusic.evaluation.clips import speed_minima
from dancetomusic.evaluation.pieces import QUALITIES, read_sound
from dancetomusic.evaluation.report import (
    Cell,
    Target,
    cell_text,
    mean_cell,
    table,
    targets_table,
    write_report,
)
from dancetomusic.evaluation.tasks.still_poses import evaluate_still_poses
from dancetomusic.generate.one import DanceToMusic
from dancetomusic.metrics.beats import Times, score_beats, tempo_matches, tempo_ratio
from dancetomusic.metrics.bootstrap import bootstrap_score
from dancetomusic.metrics.dance_features import (
    cut_windows,
    diversity,
    foot_skate,
    geometric_features,
    kinetic_features,
    limb_variation,
)
from dancetomusic.metrics.frechet import frechet_distance
from dancetomusic.metrics.legacy import beat_alignment
from dancetomusic.models.beat_network.audio_beats import track_audio_beats
from dancetomusic.models.dance_gan.audio_windows import OVERSAMPLING
from dancetomusic.models.dance_gan.generation import dance_to
from dancetomusic.models.dance_gan.mel import N_BANDS, mel_levels
from dancetomusic.models.dance_gan.network import DanceGenerator, load_dance_gan
from dancetomusic.models.pose_encoder.network import read_rhythm
from dancetomusic.models.registry import READER
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.pose.skeleton import Skeleton, directions_of, facing_camera
from dancetomusic.released import locate_checkpoint
from dancetomusic.types import POSE_FPS, PoseSequence, Waveform

T = TypeVar("T")

REAL = "real motion"
RANDOM = "random real motion"
MEAN_POSE = "mean pose"
REGRESSION = "linear regression from audio"
MODEL = "**dance_gan**"
CONTEXT = (-24, -18, -12, -9, -6, -4, -2, 0, 2, 4, 6, 9, 12, 18, 24)
"""Frames of sound around a pose, in poses, that the regression reads."""

RIDGE = 10.0
GENRES_READ = ("cha-cha", "waltz")
"""Genres in whose dances the beat is certain."""

FRECHET_RESAMPLES = 200
MIN_SPREAD = 1e-2
"""Of a feature, by which it is divided at least: some relations never hold in real dances."""


@dataclass(frozen=True)
class MadeDance:
    """What was measured of one dance for one song.

    Attributes:
        kinetic: Features of its windows, and so ``geometric``.
        geometric: See ``metrics/dance_features.py``.
        scores: Skate in m/s, limb variation, beat F estimated by the pose encoder, and so on.
    """

    row: str
    song: str
    genre: str
    kinetic: Float[np.ndarray, "windows kinetic"]
    geometric: Float[np.ndarray, "windows geometric"]
    scores: Mapping[str, float]


@dataclass(frozen=True)
class DanceReport:
    """Means, intervals and targets.

    Attributes:
        rows: Row and column to its cell, over songs.
        genres: Row and genre to beat F, over songs and samples.
        lead: Genre to how far the model's beat F lies above random motion.
        targets: What a dance must keep.
    """

    rows: dict[str, dict[str, Cell]]
    genres: dict[str, dict[str, Cell]]
    lead: dict[str, Cell]
    targets: list[Target] = field(default_factory=list)


class LinearRegression:
    """Poses that face the camera, by ridge regression from the sound around them.

    Regression gives what all dances to such a sound have in common, which is hardly a dance.
    """

    def __init__(self, dances: Sequence[Dance]) -> None:
        n = N_BANDS * len(CONTEXT) + 1
        gram, cross = np.zeros((n, n)), np.zeros((n, 99))
        for dance in dances:
            sound = _around(mel_levels(read_sound(dance.audio_path)))
            world = resample_poses(dance.poses, POSE_FPS).world
            size = min(len(sound), len(world))
            sound, facing = sound[:size], facing_camera(world[:size], POSE_FPS).reshape(size, 99)
            gram += sound.T @ sound
            cross += sound.T @ facing
        penalty = RIDGE * np.eye(n)
        penalty[-1, -1] = 0.0
        self.weights = np.linalg.solve(gram + penalty, cross)

    def dance(self, music: Waveform) -> PoseSequence:
        """As long as the music."""
        poses = _around(mel_levels(music)) @ self.weights
        return fully_visible(poses.reshape(-1, 33, 3).astype(np.float32), POSE_FPS)


def random_motion(dances: Sequence[Dance], n_frames: int, rng: np.random.Generator) -> PoseSequence:
    """Real motion of another dance, from a random moment on, there and back until it is enough."""
    world = resample_poses(dances[int(rng.integers(len(dances)))].poses, POSE_FPS).world
    world = np.concatenate([world, world[::-1]])
    start = int(rng.integers(len(world)))
    frames = np.arange(start, start + n_frames) % len(world)
    return fully_visible(world[frames], POSE_FPS)


class Baselines:
    """Dances that know nothing of the music, or no more than a regression does."""

    def __init__(self, known: Sequence[Dance]) -> None:
        self.known = known
        self.regression = LinearRegression(known)
        self.rng = np.random.default_rng(0)
        worlds = [resample_poses(dance.poses, POSE_FPS).world for dance in known]
        skeleton = Skeleton()
        skeleton.measure(worlds)
        mean = np.mean([facing_camera(world, POSE_FPS).mean(axis=0) for world in worlds], axis=0)
        directions = directions_of(torch.from_numpy(mean.astype(np.float32)))
        self.mean_pose = skeleton(directions).numpy()

    def dances(
        self, music: Waveform, n_frames: int, draws: int
    ) -> Iterator[tuple[str, PoseSequence]]:
        """Row and poses: ``draws`` of random motion, and one of each of the others."""
        for _ in range(draws):
            yield RANDOM, random_motion(self.known, n_frames, self.rng)
        yield MEAN_POSE, fully_visible(self.mean_pose[None].repeat(n_frames, axis=0), POSE_FPS)
        yield REGRESSION, self.regression.dance(music)


def measure_dances(
    model: DanceGenerator,
    data: Path | str,
    *,
    seeds: int,
    close_loop: bool,
    on_done: Callable[[str], None],
) -> list[MadeDance]:
    """Make and measure every row for every held-out song.

    Songs are those of ``val``; what baselines learn or sample comes from ``train``. For each song
    there are ``seeds`` dances of the model and samples of random motion; with ``close_loop`` the
    model's first dance is danced to by ``pose2audio`` again.

    Raises:
        InputError: If the folder has no such split, or a song is missing.
    """
    songs = load_dances(data, split="val", qualities=QUALITIES)
    beside = Baselines(load_dances(data, split="train", qualities=QUALITIES))
    back = DanceToMusic.from_pretrained(READER)
    made = []
    for song in songs:
        music, real = read_sound(song.audio_path), resample_poses(song.poses, POSE_FPS)
        rows = [(REAL, real), *beside.dances(music, len(real), seeds)]
        rows += [(MODEL, dance_to(model, music, seed=seed)) for seed in range(seeds)]
        dances = [_measure(row, song, poses, back) for row, poses in rows]
        if close_loop:
            first = len(rows) - seeds
            tracked = track_audio_beats(back.generate(rows[first][1]).waveform).beat_times
            kept = float(tempo_matches(tempo_ratio(song.beat_times, tracked)))
            scores = {**dances[first].scores, "loop_tempo": kept}
            dances[first] = replace(dances[first], scores=scores)
        made += dances
        on_done(song.dance_id)
    return made


def _measure(row: str, song: Dance, poses: PoseSequence, back: DanceToMusic) -> MadeDance:
    windows = cut_windows(poses.world, POSE_FPS)
    return MadeDance(
        row,
        song.dance_id,
        song.genre,
        np.stack([kinetic_features(window, POSE_FPS) for window in windows]),
        np.stack([geometric_features(window, POSE_FPS) for window in windows]),
        _scores(song, poses, read_rhythm(back.encoder, poses).beat_times),
    )


def _scores(song: Dance, poses: PoseSequence, estimated: Times) -> dict[str, float]:
    beats = score_beats(song.beat_times, estimated)
    return {
        "skate": foot_skate(poses.world, POSE_FPS),
        "limbs": limb_variation(poses.world),
        "beat_f": beats.f,
        "tempo": beats.tempo,
        "alignment": beat_alignment(speed_minima(poses), song.beat_times),
    }


COLUMNS = {
    "frechet_kinetic": "Fréchet, kinetic",
    "frechet_geometric": "Fréchet, geometric",
    "diversity_kinetic": "diversity, kinetic",
    "diversity_geometric": "diversity, geometric",
    "skate": "foot skate m/s",
    "limbs": "limb length ±",
    "beat_f": "beat F read",
    "tempo": "tempo 4 % read",
    "loop_tempo": "tempo 4 % after music→dance→music",
    "alignment": "beat alignment",
}


def summarise_dances(made: Sequence[MadeDance]) -> DanceReport:
    """Distances to the real dances of the same songs, means over songs, and the targets.

    Features are standardised by the real ones' mean and spread. Intervals are bootstrapped over
    songs; those of a genre over its songs' samples, since a genre may have one song.

    Raises:
        InputError: If there is no real motion or nothing of the model.
    """
    by_row: dict[str, list[MadeDance]] = {}
    for dance in made:
        by_row.setdefault(dance.row, []).append(dance)
    if REAL not in by_row or MODEL not in by_row:
        raise InputError("a row is missing", "Measure the real motion and the model's.")
    rows: dict[str, dict[str, Cell]] = {row: {} for row in by_row}
    for kind in ("kinetic", "geometric"):
        real = np.concatenate([getattr(dance, kind) for dance in by_row[REAL]])
        middle, spread = real.mean(axis=0), np.maximum(real.std(axis=0), MIN_SPREAD)
        for row, dances in by_row.items():
            parts = _by_song((d.song, (getattr(d, kind) - middle) / spread) for d in dances)
            songs = [np.concatenate(of) for of in parts.values()]
            distance = partial(frechet_distance, (real - middle) / spread)
            for name, score in (("frechet", distance), ("diversity", diversity)):
                interval = bootstrap_score(score, songs, FRECHET_RESAMPLES)
                rows[row][f"{name}_{kind}"] = Cell(*interval, len(songs))
    for row, dances in by_row.items():
        for column in COLUMNS:
            values = _by_song((d.song, d.scores[column]) for d in dances if column in d.scores)
            if values:
                rows[row][column] = mean_cell(float(np.mean(of)) for of in values.values())
    genres = {
        row: {
            genre: mean_cell(d.scores["beat_f"] for d in dances if d.genre == genre)
            for genre in dict.fromkeys(d.genre for d in dances)
        }
        for row, dances in by_row.items()
    }
    lead = {genre: _lead(by_row[MODEL], by_row.get(RANDOM, []), genre) for genre in GENRES_READ}
    report = DanceReport(rows, genres, lead)
    report.targets.extend(_targets(report))
    return report


def _by_song(values: Iterable[tuple[str, T]]) -> dict[str, list[T]]:
    songs: dict[str, list[T]] = defaultdict(list)
    for song, value in values:
        songs[song].append(value)
    return songs


def _targets(report: DanceReport) -> list[Target]:
    own, real = report.rows[MODEL], report.rows[REAL]
    targets = []

    def add(name: str, value: float, limit: float, below: bool) -> None:
        sign = "≤" if below else "≥"
        holds = value <= limit if below else value >= limit
        targets.append(Target(name, f"{value:.3g}", f"{sign} {limit:.3g}", bool(holds)))

    for column, name in (("limbs", "limb-length variation"), ("skate", "foot skate, m/s")):
        add(f"{name}, twice that of real motion", own[column].mean, 2 * real[column].mean, True)
    if REGRESSION in report.rows:
        limit = report.rows[REGRESSION]["frechet_kinetic"].mean / 5
        add("Fréchet distance, kinetic, a fifth of regression", own["frechet_kinetic"].mean,
            limit, True)  # fmt: skip
    for kind in ("kinetic", "geometric"):
        limit = 0.7 * real[f"diversity_{kind}"].mean
        add(f"diversity, {kind}, 70 % of real", own[f"diversity_{kind}"].mean, limit, False)
    for genre, lead in report.lead.items():
        if lead.dances:
            name = f"{genre}: beat F above random motion, lower end"
            targets.append(Target(name, f"{lead.low:+.2f}", "> 0", lead.low > 0))
    if "loop_tempo" in own:
        add("songs whose tempo comes back, music→dance→music", own["loop_tempo"].mean, 0.8, False)
    return targets


def write_dance_report(report: DanceReport, made: Sequence[MadeDance], folder: Path | str) -> Path:
    """Write ``dances.md`` with the tables and ``dances.json`` with all values; gives the page.

    Raises:
        OutputError: If the folder cannot be written.
    """

    def limits(cells: Mapping[str, Cell]) -> dict[str, list[float]]:
        return {name: [cell.mean, cell.low, cell.high] for name, cell in cells.items()}

    values = {
        "rows": {row: limits(cells) for row, cells in report.rows.items()},
        "genres": {row: limits(cells) for row, cells in report.genres.items()},
        "lead": limits(report.lead),
        "targets": [astuple(target) for target in report.targets],
        "dances": [{"row": d.row, "song": d.song, **d.scores} for d in made],
    }
    page = Path(folder) / "dances.md"
    write_report(page, dance_tables(report), values)
    return page


def dance_tables(report: DanceReport) -> str:
    """The report as Markdown."""

    def rows(cells_of: Mapping[str, Mapping[str, Cell]], columns: Sequence[str]) -> list[list[str]]:
        return [
            [row, *(_text(cells.get(column)) for column in columns)]
            for row, cells in cells_of.items()
        ]

    genres = list(dict.fromkeys(genre for cells in report.genres.values() for genre in cells))
    parts = [
        targets_table("what a dance must hold", report.targets),
        table(["", *COLUMNS.values()], rows(report.rows, list(COLUMNS))),
        table([COLUMNS["beat_f"], *genres], rows(report.genres, genres)),
        [REMARK],
    ]
    return "\n".join(line for part in parts for line in (*part, ""))


REMARK = """\
Distances and diversity are those of windows of 5 s, standardised by the real dances of the same
songs; brackets are 95 % bootstrap intervals over songs, in the table of genres over songs and
samples. Beats are estimated from the dance alone by the encoder of `pose2audio` and scored against
the annotated beats of the song at whole length (±70 ms). Beat alignment, from minima of speed,
stands last: on these dances it does not separate a dance from chance."""


def _lead(own: Sequence[MadeDance], other: Sequence[MadeDance], genre: str) -> Cell:
    """Beat F above the mean of another row on the same song, over songs and samples."""
    beside = _by_song((dance.song, dance.scores["beat_f"]) for dance in other)
    return mean_cell(
        dance.scores["beat_f"] - float(np.mean(beside[dance.song]))
        for dance in own
        if dance.genre == genre and dance.song in beside
    )


def _text(cell: Cell | None) -> str:
    return cell_text(cell, ".2f" if cell is None or abs(cell.mean) < 10 else ".0f")


def _around(bands: Float32[np.ndarray, "sound_frames 32"]) -> Float[np.ndarray, "frames context"]:
    """The sound around each pose, and a one."""
    pooled = bands[: len(bands) // OVERSAMPLING * OVERSAMPLING]
    pooled = pooled.reshape(-1, OVERSAMPLING, bands.shape[1]).mean(axis=1)
    at = np.arange(len(pooled))[:, None] + np.array(CONTEXT)
    near = pooled[at.clip(0, len(pooled) - 1)].reshape(len(pooled), -1)
    return np.concatenate([near, np.ones((len(near), 1))], axis=1).astype(np.float64)


def evaluate(
    data: Annotated[Path, typer.Option("--data", help="Folder of dances with their music.")],
    output: Annotated[Path, typer.Option("--output", help="Folder for the tables.")],
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="Directory or released name.")
    ] = "dance_gan",
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Dances, and random samples, of each song.")
    ] = 3,
    no_loop: Annotated[
        bool, typer.Option("--no_loop", help="Leave music→dance→music out.")
    ] = False,
) -> None:
    """Score dances made for held-out songs, or still poses."""
    model = load_dance_gan(locate_checkpoint(checkpoint), stage=None)
    if model.config.stage == "poses":
        print(evaluate_still_poses(model, data, output))
        return
    made = measure_dances(model, data, seeds=seeds, close_loop=not no_loop, on_done=print)
    page = write_dance_report(summarise_dances(made), made, output)
    print(page.read_text(encoding="utf-8"))
