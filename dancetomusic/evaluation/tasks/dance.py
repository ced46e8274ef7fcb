"""Score dances made for music beside real ones and beside what knows nothing of it.

Run ``python -m dancetomusic.evaluation.tasks.dance --data DIR --output FOLDER`` to print every
table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32

from dancetomusic.data.tang2018 import Dance, load_dances
from dancetomusic.errors import DanceToMusicError, InputError
from dancetomusic.evaluation.tasks.music.grid import speed_minima
from dancetomusic.generate.one import DanceToMusic
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.audio import read_audio
from dancetomusic.metrics.beats import score_beats, tempo_ratio
from dancetomusic.metrics.bootstrap import bootstrap_interval
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
from dancetomusic.models.dance_gan.generation import as_dancer, dance_to
from dancetomusic.models.dance_gan.mel import N_BANDS, hear
from dancetomusic.models.dance_gan.network import DanceGenerator, load_dance_gan
from dancetomusic.models.pose_encoder.network import read_rhythm
from dancetomusic.pose.files import POSE_FPS
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.pose.skeleton import (
    Skeleton,
    directions_of,
    face_camera,
    heading_of,
)
from dancetomusic.released import locate_checkpoint
from dancetomusic.types import PoseSequence, Waveform

REAL = "real motion"
RANDOM = "random real motion"
MEAN_POSE = "mean pose"
REGRESSION = "linear regression from audio"
MODEL = "**dance_gan**"
DRAWS = 3
CONTEXT = (-24, -18, -12, -9, -6, -4, -2, 0, 2, 4, 6, 9, 12, 18, 24)
"""Frames of sound around a pose, in poses, that the regression hears."""

RIDGE = 10.0
TEMPO_TOLERANCE = 0.04
GENRES_READ = ("cha-cha", "waltz")
"""Genres in whose dances the beat is certain."""

FRECHET_RESAMPLES = 200
MIN_SPREAD = 1e-2
"""Of a feature, by which it is divided at least: some relations never hold in real dances."""


@dataclass(frozen=True)
class MadeDance:
    """What was measured of one dance for one song.

    Attributes:
        row: Where it comes from.
        song: Which song it is for.
        genre: Of the song.
        kinetic: Features of its windows, and so ``geometric``.
        geometric: See ``evaluation.dance_features``.
        scores: Skate in m/s, limb variation, beat F read by the pose encoder, and so on.
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
        rows: Row and column to mean, lower and upper end of the 95 % interval over songs.
        genres: Row and genre to beat F, with its interval over songs and draws.
        lead: Genre to how far the model's beat F lies above random motion, with its interval.
        targets: Name, measured, wanted, and whether it holds.
    """

    rows: dict[str, dict[str, tuple[float, float, float]]]
    genres: dict[str, dict[str, tuple[float, float, float]]]
    lead: dict[str, tuple[float, float, float]]
    targets: list[tuple[str, str, str, bool]] = field(default_factory=list)


class LinearRegression:
    """Poses that face the camera, by ridge regression from the sound around them.

    Regression gives what all dances to such a sound have in common, which is hardly a dance.

    Args:
        dances: To learn from, with their music.
    """

    def __init__(self, dances: Sequence[Dance]) -> None:
        n = N_BANDS * len(CONTEXT) + 1
        gram, cross = np.zeros((n, n)), np.zeros((n, 99))
        for dance in dances:
            heard = _around(hear(_music(dance)))
            world = poses_at_24(dance).world
            size = min(len(heard), len(world))
            heard, facing = heard[:size], _facing(world[:size]).reshape(size, 99)
            gram += heard.T @ heard
            cross += heard.T @ facing
        penalty = RIDGE * np.eye(n)
        penalty[-1, -1] = 0.0
        self.weights = np.linalg.solve(gram + penalty, cross)

    def dance(self, music: Waveform) -> PoseSequence:
        """As long as the music."""
        poses = _around(hear(music)) @ self.weights
        return as_dancer(poses.reshape(-1, 33, 3).astype(np.float32))


def poses_at_24(dance: Dance) -> PoseSequence:
    """The dancer at the package's rate."""
    return dance.poses if dance.poses.fps == POSE_FPS else resample_poses(dance.poses, POSE_FPS)


def random_motion(dances: Sequence[Dance], n_frames: int, rng: np.random.Generator) -> PoseSequence:
    """Real motion of another dance, from a random moment on, there and back until it is enough."""
    world = poses_at_24(dances[int(rng.integers(len(dances)))]).world
    world = np.concatenate([world, world[::-1]])
    start = int(rng.integers(len(world)))
    return as_dancer(np.take(world, np.arange(start, start + n_frames), axis=0, mode="wrap"))


class Baselines:
    """Dances that know nothing of the music, or no more than a regression does.

    Args:
        known: Dances to take them from, with their music.
    """

    def __init__(self, known: Sequence[Dance]) -> None:
        self.known = known
        self.regression = LinearRegression(known)
        self.rng = np.random.default_rng(0)
        worlds = [poses_at_24(dance).world for dance in known]
        skeleton = Skeleton()
        skeleton.measure(worlds)
        mean = np.mean([_facing(world).mean(axis=0) for world in worlds], axis=0)
        directions = directions_of(torch.from_numpy(mean.astype(np.float32)))
        self.mean_pose = skeleton(directions).numpy()

    def dances(
        self, music: Waveform, n_frames: int, draws: int
    ) -> Iterator[tuple[str, PoseSequence]]:
        """Row and poses: ``draws`` of random motion, and one of each of the others."""
        for _ in range(draws):
            yield RANDOM, random_motion(self.known, n_frames, self.rng)
        yield MEAN_POSE, as_dancer(np.repeat(self.mean_pose[None], n_frames, axis=0))
        yield REGRESSION, self.regression.dance(music)


def measure_dances(
    model: DanceGenerator,
    data: Path | str,
    *,
    split: str = "val",
    seeds: int = DRAWS,
    close_loop: bool = True,
    on_done: Callable[[str], None] = lambda _: None,
) -> list[MadeDance]:
    """Make and measure every row for every song of a split.

    Args:
        model: Of the stage ``music``.
        data: Folder of dances with their music (``data/tang2018.py``).
        split: Held-out songs; what is learned or drawn beside comes from ``train``.
        seeds: Dances of the model, and draws of random motion, for each song.
        close_loop: Whether the model's first dance is danced to by ``pose2audio`` again.
        on_done: Called with the name of each song.

    Raises:
        InputError: If the folder has no such split, or a song is missing.
    """
    songs = load_dances(data, split=split, qualities=("A", "B"))
    beside = Baselines(load_dances(data, split="train", qualities=("A", "B")))
    back = DanceToMusic.from_pretrained()
    made = []
    for song in songs:
        music, real = _music(song), poses_at_24(song)
        rows = [(REAL, real), *beside.dances(music, len(real), seeds)]
        rows += [(MODEL, dance_to(model, music, seed=seed)) for seed in range(seeds)]
        dances = [_measure(row, song, poses, back) for row, poses in rows]
        if close_loop:
            first = len(rows) - seeds
            heard = track_audio_beats(back.generate(rows[first][1]).waveform).beat_times
            ratio = tempo_ratio(song.beat_times, heard)
            kept = float(abs(ratio - 1.0) <= TEMPO_TOLERANCE)
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


def _scores(song: Dance, poses: PoseSequence, read: np.ndarray) -> dict[str, float]:
    beats = score_beats(song.beat_times, read)
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
    songs; those of a genre over its songs' draws, since a genre may have one song.

    Raises:
        InputError: If there is no real motion or nothing of the model.
    """
    by_row: dict[str, list[MadeDance]] = {}
    for dance in made:
        by_row.setdefault(dance.row, []).append(dance)
    if REAL not in by_row or MODEL not in by_row:
        raise InputError("a row is missing", "Measure the real motion and the model's.")
    rows: dict[str, dict[str, tuple[float, float, float]]] = {row: {} for row in by_row}
    for kind in ("kinetic", "geometric"):
        real = np.concatenate([getattr(dance, kind) for dance in by_row[REAL]])
        middle, spread = real.mean(axis=0), np.maximum(real.std(axis=0), MIN_SPREAD)
        for row, dances in by_row.items():
            parts: dict[str, list[np.ndarray]] = {}
            for dance in dances:
                parts.setdefault(dance.song, []).append((getattr(dance, kind) - middle) / spread)
            songs = [np.concatenate(of) for of in parts.values()]
            distance = partial(frechet_distance, (real - middle) / spread)
            rows[row][f"frechet_{kind}"] = _over_songs(distance, songs)
            rows[row][f"diversity_{kind}"] = _over_songs(diversity, songs)
    for row, dances in by_row.items():
        for column in COLUMNS:
            values: dict[str, list[float]] = {}
            for dance in dances:
                if column in dance.scores:
                    values.setdefault(dance.song, []).append(dance.scores[column])
            if values:
                rows[row][column] = _cell([float(np.mean(of)) for of in values.values()])
    genres = {
        row: {
            genre: _cell([d.scores["beat_f"] for d in dances if d.genre == genre])
            for genre in dict.fromkeys(d.genre for d in dances)
        }
        for row, dances in by_row.items()
    }
    lead = {genre: _lead(by_row[MODEL], by_row.get(RANDOM, []), genre) for genre in GENRES_READ}
    report = DanceReport(rows, genres, lead)
    report.targets.extend(_targets(report))
    return report


def _targets(report: DanceReport) -> list[tuple[str, str, str, bool]]:
    own, real = report.rows[MODEL], report.rows[REAL]
    targets = []

    def add(name: str, value: float, limit: float, below: bool) -> None:
        sign = "≤" if below else "≥"
        holds = value <= limit if below else value >= limit
        targets.append((name, f"{value:.3g}", f"{sign} {limit:.3g}", bool(holds)))

    for column, name in (("limbs", "limb-length variation"), ("skate", "foot skate, m/s")):
        add(f"{name}, twice that of real motion", own[column][0], 2 * real[column][0], True)
    if REGRESSION in report.rows:
        limit = report.rows[REGRESSION]["frechet_kinetic"][0] / 5
        add("Fréchet distance, kinetic, a fifth of regression", own["frechet_kinetic"][0], limit,
            True)  # fmt: skip
    for kind in ("kinetic", "geometric"):
        limit = 0.7 * real[f"diversity_{kind}"][0]
        add(f"diversity, {kind}, 70 % of real", own[f"diversity_{kind}"][0], limit, False)
    for genre, (_, low, _) in report.lead.items():
        if not np.isnan(low):
            targets.append((f"{genre}: beat F above random motion, lower end", f"{low:+.2f}", "> 0",
                            bool(low > 0)))  # fmt: skip
    if "loop_tempo" in own:
        add("songs whose tempo comes back, music→dance→music", own["loop_tempo"][0], 0.8, False)
    return targets


def write_dance_report(report: DanceReport, made: Sequence[MadeDance], folder: Path | str) -> Path:
    """Write ``dances.md`` with the tables and ``dances.json`` with all values; gives the page.

    Raises:
        OutputError: If the folder cannot be written.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    values = {
        "rows": report.rows,
        "genres": report.genres,
        "lead": report.lead,
        "targets": report.targets,
        "dances": [{"row": d.row, "song": d.song, **d.scores} for d in made],
    }
    with atomic_output(target / "dances.json") as temporary:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    page = target / "dances.md"
    with atomic_output(page) as temporary:
        temporary.write_text(dance_tables(report), encoding="utf-8")
    return page


def dance_tables(report: DanceReport) -> str:
    """The report as Markdown."""
    lines = ["| what a dance must hold | measured | wanted |  |", "|---|---|---|---|"]
    for name, value, wanted, holds in report.targets:
        lines.append(f"| {name} | {value} | {wanted} | {'holds' if holds else '**fails**'} |")
    lines += ["", f"|  | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row, cells in report.rows.items():
        lines.append(f"| {row} | {' | '.join(_shown(cells.get(c)) for c in COLUMNS)} |")
    genres = list(dict.fromkeys(genre for cells in report.genres.values() for genre in cells))
    lines += ["", f"| beat F read | {' | '.join(genres)} |", "|---" * (len(genres) + 1) + "|"]
    for row, cells in report.genres.items():
        lines.append(f"| {row} | {' | '.join(_shown(cells.get(g)) for g in genres)} |")
    lines += ["", REMARK, ""]
    return "\n".join(lines)


REMARK = """\
Distances and diversity are those of windows of 5 s, standardised by the real dances of the same
songs; brackets are 95 % bootstrap intervals over songs, in the table of genres over songs and
draws. Beats are read from the dance alone by the encoder of `pose2audio` and scored against the
annotated beats of the song at whole length (±70 ms). Beat alignment, from minima of speed, stands
last: on these dances it does not tell a dance from chance."""


def _over_songs(
    score: Callable[[np.ndarray], float], songs: Sequence[np.ndarray]
) -> tuple[float, float, float]:
    """A score of all songs' windows together; its spread with songs drawn with replacement.

    Drawing again makes sets poorer: the spread is laid about the score itself.
    """
    mean = score(np.concatenate(songs))
    rng = np.random.default_rng(0)
    drawn = [
        score(np.concatenate([songs[k] for k in rng.integers(len(songs), size=len(songs))]))
        for _ in range(FRECHET_RESAMPLES)
    ]
    low, middle, high = np.quantile(drawn, [0.025, 0.5, 0.975])
    return mean, max(0.0, mean + float(low - middle)), max(0.0, mean + float(high - middle))


def _lead(
    own: Sequence[MadeDance], other: Sequence[MadeDance], genre: str
) -> tuple[float, float, float]:
    """Beat F above the mean of another row on the same song, over songs and draws."""
    beside: dict[str, list[float]] = {}
    for dance in other:
        beside.setdefault(dance.song, []).append(dance.scores["beat_f"])
    return _cell(
        [
            dance.scores["beat_f"] - float(np.mean(beside[dance.song]))
            for dance in own
            if dance.genre == genre and dance.song in beside
        ]
    )


def _cell(values: Sequence[float]) -> tuple[float, float, float]:
    mean = float(np.mean(values)) if values else float("nan")
    return (mean, *bootstrap_interval(values))


def _shown(cell: tuple[float, float, float] | None) -> str:
    if cell is None or np.isnan(cell[0]):
        return "–"
    digits = 2 if abs(cell[0]) < 10 else 0
    return f"{cell[0]:.{digits}f} [{cell[1]:.{digits}f}, {cell[2]:.{digits}f}]"


def _music(dance: Dance) -> Waveform:
    music = read_audio(dance.audio_path)
    if music is None:
        raise InputError(f"{dance.audio_path} has no sound", "Give the music of every dance.")
    return music


def _facing(world: Float32[np.ndarray, "frames 33 3"]) -> Float32[np.ndarray, "frames 33 3"]:
    heading = torch.from_numpy(heading_of(world, POSE_FPS)).float()
    return face_camera(torch.from_numpy(world), heading).numpy()


def _around(bands: Float32[np.ndarray, "sound_frames 32"]) -> Float[np.ndarray, "frames heard"]:
    """What is heard around each pose, and a one."""
    pooled = bands[: len(bands) // OVERSAMPLING * OVERSAMPLING]
    pooled = pooled.reshape(-1, OVERSAMPLING, bands.shape[1]).mean(axis=1)
    at = np.arange(len(pooled))[:, None] + np.array(CONTEXT)
    near = pooled[at.clip(0, len(pooled) - 1)].reshape(len(pooled), -1)
    return np.concatenate([near, np.ones((len(near), 1))], axis=1).astype(np.float64)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command, measure, and print the page."""
    parser = argparse.ArgumentParser(description="Score dances made for held-out songs.")
    parser.add_argument("--data", type=Path, required=True, help="folder of dances with music")
    parser.add_argument("--output", type=Path, required=True, help="folder for the tables")
    parser.add_argument("--checkpoint", default="dance_gan", help="directory or released name")
    parser.add_argument("--seeds", type=int, default=DRAWS, help="dances and draws a song")
    parser.add_argument("--no_loop", action="store_true", help="leave music→dance→music out")
    options = parser.parse_args(arguments)
    try:
        model = load_dance_gan(locate_checkpoint(options.checkpoint), stage=None)
        made = measure_dances(
            model, options.data, seeds=options.seeds, close_loop=not options.no_loop, on_done=print
        )
        page = write_dance_report(summarise_dances(made), made, options.output)
    except DanceToMusicError as error:
        parser.exit(2, f"error: {' '.join(str(error).split())}\n")
    print(page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
