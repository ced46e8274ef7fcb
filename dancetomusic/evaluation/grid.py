"""The beat grid read from movement alone, scored against annotated beats.

Every clip is cut from the poses before it is read: the reader sees nothing else. Run
``python -m dancetomusic.evaluation.grid --checkpoint DIR --data DIR`` for a Markdown table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from scipy.signal import argrelmin

from dancetomusic.checkpoint import checkpoint_family
from dancetomusic.datasets.pose_augment import retime, retime_beats
from dancetomusic.datasets.tang2018 import Dance, load_dances
from dancetomusic.evaluation.baselines import metronome_times
from dancetomusic.evaluation.beats import WINDOW_LENGTHS_S, BeatScores, score_beats, slice_beats
from dancetomusic.evaluation.bootstrap import bootstrap_interval
from dancetomusic.models import pose2audio
from dancetomusic.models.pose_encoder import PoseEncoder, load_pose_encoder, read_rhythm
from dancetomusic.types import PoseSequence

RETIMINGS = (0.75, 0.85, 1.2, 1.35)
RANDOM_DRAWS = 10
METRICS = ("f", "cmlt", "tempo")


@dataclass(frozen=True)
class Clip:
    """Movement to read, with what only trivial rows and scores may know."""

    dance_id: str
    genre: str
    poses: PoseSequence
    beat_times: Float[np.ndarray, " beats"]
    bpm: float
    speed: float


Reader = Callable[[Clip, np.random.Generator], Float[np.ndarray, " beats"]]


def cut_clips(dance: Dance, length_s: float | None, *, speed: float = 1.0) -> list[Clip]:
    """Clips side by side from the start of a dance played ``speed`` times as fast.

    Args:
        dance: Where to cut.
        length_s: Length of a clip; an incomplete last one is left out. ``None`` for the
            whole dance.
        speed: 1 is as danced.
    """
    fps = dance.poses.fps
    world, beats = dance.poses.world, dance.beat_times
    if speed != 1.0:
        n_frames = int(len(dance.poses) / speed)
        world = retime(world, fps, start_s=0.0, speed=speed, n_frames=n_frames)
        beats = retime_beats(beats, start_s=0.0, speed=speed)
    n_frames = world.shape[0] if length_s is None else round(length_s * fps)
    clips = []
    for first in range(0, world.shape[0] - n_frames + 1, n_frames):
        start_s = first / fps
        poses = PoseSequence(
            world=world[first : first + n_frames],
            present=np.ones(n_frames, bool),
            visibility=np.ones((n_frames, 33), np.float32),
            fps=fps,
        )
        inside = slice_beats(beats, start_s, start_s + n_frames / fps)
        clips.append(Clip(dance.dance_id, dance.genre, poses, inside, dance.bpm * speed, speed))
    return clips


def speed_minima(clip: Clip, rng: np.random.Generator) -> Float[np.ndarray, " beats"]:
    """Moments at which the joints move slowest, smoothed over 0.1 s."""
    steps = np.diff(clip.poses.world, axis=0)
    speed = gaussian_filter1d(np.linalg.norm(steps, axis=-1).mean(axis=1), 0.1 * clip.poses.fps)
    return (argrelmin(speed)[0] + 0.5) / clip.poses.fps


def trivial_readers(train: Sequence[Dance]) -> dict[str, Reader]:
    """Rows that know nothing of the movement, or only its tempo or genre."""
    genres = sorted({dance.genre for dance in train})
    mean_bpm = {
        genre: float(np.mean([dance.bpm for dance in train if dance.genre == genre]))
        for genre in genres
    }

    def steady(bpm: float, clip: Clip, rng: np.random.Generator) -> np.ndarray:
        return metronome_times(bpm, clip.poses.duration_s, float(rng.random()))

    return {
        "speed minima": speed_minima,
        "true tempo, random phase": lambda clip, rng: steady(clip.bpm, clip, rng),
        "genre's mean tempo, random phase": (
            lambda clip, rng: steady(mean_bpm[clip.genre], clip, rng)
        ),
        "120 BPM": lambda clip, rng: steady(120.0, clip, rng),
    }


def score_reader(
    reader: Reader,
    dances: Sequence[Dance],
    length_s: float | None,
    *,
    speeds: Sequence[float] = (1.0,),
    draws: int = 1,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, " dances"]]:
    """Mean scores of a reader over the clips of each dance, each clip read ``draws`` times."""
    rng = np.random.default_rng(seed)
    means: dict[str, list[float]] = {metric: [] for metric in METRICS}
    for dance in dances:
        clips = [clip for speed in speeds for clip in cut_clips(dance, length_s, speed=speed)]
        scores: list[BeatScores] = [
            score_beats(clip.beat_times, reader(clip, rng)) for clip in clips for _ in range(draws)
        ]
        for metric in METRICS:
            values = [getattr(score, metric) for score in scores]
            means[metric].append(float(np.mean(values)) if values else float("nan"))
    return {metric: np.array(values) for metric, values in means.items()}


def grid_table(
    readers: Mapping[str, Reader],
    dances: Sequence[Dance],
    *,
    lengths_s: Sequence[float | None] = (*WINDOW_LENGTHS_S, None),
    speeds: Sequence[float] = (1.0,),
    draws: Mapping[str, int] | None = None,
) -> str:
    """Markdown table: F-measure [95 % over dances], CMLt and share of tempi within 4 %.

    Args:
        readers: One row each.
        dances: What to cut clips from.
        lengths_s: Lengths of clips, one column each; ``None`` for the whole dance.
        speeds: Each clip is read at all of them.
        draws: How often a row that uses chance reads each clip, by its name.
    """
    names = ["whole dance" if length is None else f"{length:g} s" for length in lengths_s]
    lines = [
        "| F · CMLt · tempo | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
    ]
    for row, reader in readers.items():
        cells = []
        for length in lengths_s:
            n_draws = (draws or {}).get(row, 1)
            scores = score_reader(reader, dances, length, speeds=speeds, draws=n_draws)
            low, high = bootstrap_interval(scores["f"])
            f, cml, tempo = (float(np.nanmean(scores[metric])) for metric in METRICS)
            cells.append(f"{f:.2f} [{low:.2f}, {high:.2f}] · {cml:.2f} · {tempo:.2f}")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _load_encoder(directory: Path) -> PoseEncoder:
    """A pose encoder's checkpoint, or the encoder inside a Pose2Audio checkpoint."""
    if checkpoint_family(directory) == pose2audio.MODEL:
        return pose2audio.Pose2Audio.from_pretrained(directory).encoder
    return load_pose_encoder(directory)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of a checkpoint beside the trivial rows."""
    parser = argparse.ArgumentParser(description="Score the beat grid read from movement.")
    parser.add_argument(
        "--checkpoint", type=Path, required=True, help="directory of a pose encoder or Pose2Audio"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with index.csv")
    parser.add_argument("--split", default="val", help="split of the index to score")
    parser.add_argument("--retimed", action="store_true", help="play dances at other speeds")
    options = parser.parse_args(arguments)

    encoder = _load_encoder(options.checkpoint)
    train = load_dances(options.data, split="train")
    dances = load_dances(options.data, split=options.split, qualities=("A", "B"))
    readers: dict[str, Reader] = {
        "read from movement": lambda clip, rng: read_rhythm(encoder, clip.poses).beat_times,
        "the same, true tempo given": (
            lambda clip, rng: read_rhythm(encoder, clip.poses, bpm=clip.bpm).beat_times
        ),
        **trivial_readers(train),
    }
    speeds = RETIMINGS if options.retimed else (1.0,)
    print(f"{len(dances)} dances, speeds {', '.join(f'{speed:g}' for speed in speeds)}\n")
    draws = {row: RANDOM_DRAWS for row in readers if "random" in row or "BPM" in row}
    print(grid_table(readers, dances, speeds=speeds, draws=draws))


if __name__ == "__main__":
    main()
