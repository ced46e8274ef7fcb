"""Whose beat is read where two people dance: one tempo for both, or the leader's of two."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer

from dancetomusic.data.wild import WildClip, load_wild, trusted_clips
from dancetomusic.evaluation.baselines import metronome_times
from dancetomusic.evaluation.clips import RANDOM_DRAWS, retime_dance
from dancetomusic.evaluation.report import (
    DASH,
    Cell,
    cell_text,
    mean_cell,
    page_head,
    table,
    write_report,
)
from dancetomusic.metrics.beats import Times, beat_f, slice_beats, tempo_bpm, tempo_matches
from dancetomusic.models.encoders import load_encoder
from dancetomusic.models.pose_encoder.lead import (
    ALL,
    AUTO,
    LARGEST,
    SAME_TEMPO,
    choose_lead,
    same_tempo,
)
from dancetomusic.models.pose_encoder.movement_rhythm import pool_encodings, readings_from_encoding
from dancetomusic.models.pose_encoder.movement_tempo import dance_logits
from dancetomusic.models.pose_encoder.network import PoseEncoder, encode_poses
from dancetomusic.pose.landmarks import cut_poses, resample_poses
from dancetomusic.types import POSE_FPS, PoseSequence

FILMED, RENDERED = "filmed", "rendered"
ONE_TEMPO, TWO_TEMPI = "one tempo", "two tempi"
RATIOS = {ONE_TEMPO: (1.0,), TWO_TEMPI: (0.8, 1.25)}
"""Tempo of the second dancer as a multiple of the first one's."""

SHORTEST_S, LONGEST_S = 5.0, 12.0
NEAR_OCTAVES = 0.5
"""Tempi of two filmed dancers differ by less before one of them is retimed."""

RENDERED_S, RENDERED_BPM = 8.0, (96.0, 132.0)
FOLLOWED = {AUTO: "auto", ALL: "all together", LARGEST: "the most prominent", "2": "the other"}
RANDOM = ("true tempo, random phase", "120 BPM, random phase")
TITLES = ("pairs, and whose beat", "pairs", "read together", "tempo", "beat F")
LIMITS = (-3.0, -0.5, 0.0, 0.2)

NOTE = f"""\
Pairs of dancers, both from a beat of their own on. *Filmed*: the dancer of one clip of each group
beside one of another group, whose poses are played faster or slower until both dance at one tempo
or one dances {RATIOS[TWO_TEMPI][0]:g} or {RATIOS[TWO_TEMPI][1]:g} times as fast. *Rendered*: two
procedural dancers in one video, read through MediaPipe. Scored against the beats of the most
prominent, the first of a filmed pair: share of pairs read together, tempo within 4 %, and beat F at
70 ms, with 95 % bootstrap intervals over groups or videos."""

LIMIT_NOTE = f"""\
Share of all pairs that a limit would read together, and the mean share that is right. `auto` reads
those from {SAME_TEMPO:.2g} on together."""


@dataclass(frozen=True)
class Duet:
    """Two dancers whose beats are known.

    Attributes:
        group: What means are taken over first.
        dancers: At 24 poses a second, the most prominent first.
        beat_times: Of the first dancer, in seconds.
    """

    set: str
    tempi: str
    group: str
    dancers: tuple[PoseSequence, PoseSequence]
    beat_times: Times


def filmed_duets(clips: Sequence[WildClip], seed: int = 0) -> Iterator[Duet]:
    """A dancer of each group beside one of another, at one tempo and at two."""
    rng = np.random.default_rng(seed)
    for first in {clip.group: clip for clip in reversed(clips)}.values():
        others = [
            clip
            for clip in clips
            if clip.group != first.group and abs(np.log2(clip.bpm / first.bpm)) < NEAR_OCTAVES
        ]
        if not others:
            continue
        second = others[rng.integers(len(others))]
        for tempi, ratios in RATIOS.items():
            for ratio in ratios:
                pair = (
                    _from_first_beat(first),
                    _from_first_beat(second, ratio * first.bpm / second.bpm),
                )
                n_frames = min(*(len(poses) for poses, _ in pair), round(LONGEST_S * POSE_FPS))
                if n_frames < SHORTEST_S * POSE_FPS:
                    continue
                one, other = (cut_poses(poses, slice(0, n_frames)) for poses, _ in pair)
                beats = slice_beats(pair[0][1], 0.0, n_frames / POSE_FPS)
                yield Duet(FILMED, tempi, first.group, (one, other), beats)


def _from_first_beat(clip: WildClip, speed: float = 1.0) -> tuple[PoseSequence, Times]:
    """Poses from the first beat on, ``speed`` times as fast, with their beats."""
    assert clip.poses is not None
    poses, beats = retime_dance(resample_poses(clip.poses, POSE_FPS), clip.beat_times, speed)
    first = round(float(beats[0]) * POSE_FPS)
    return cut_poses(poses, slice(first, len(poses))), beats - first / POSE_FPS


def rendered_duets(n_videos: int, folder: Path, seed: int = 0) -> Iterator[Duet]:
    """Duets in ``n_videos`` rendered videos, at one tempo and at two by turns.

    Raises:
        DependencyError: If PyVista is not installed.
    """
    from dancetomusic.generate.inputs import read_dancers
    from dancetomusic.synthesis.choreography import STYLES, choreograph
    from dancetomusic.synthesis.demo import render_poses
    from dancetomusic.synthesis.scene import place_dancers

    rng = np.random.default_rng(seed)
    styles = [style for style in STYLES if style != "waltz"]
    for number in range(n_videos):
        tempi = (ONE_TEMPO, TWO_TEMPI)[number % 2]
        ratio = RATIOS[tempi][number // 2 % len(RATIOS[tempi])]
        bpm = float(rng.uniform(*RENDERED_BPM))
        dances = [
            choreograph(
                str(rng.choice(styles)),
                bpm * speed,
                RENDERED_S,
                int(rng.integers(1 << 16)),
                first_beat_s=0.0,
                hold_share=0.0,
            )
            for speed in (1.0, ratio)
        ]
        video = folder / f"{number}.mp4"
        render_poses(video, place_dancers(dances), dances[0].fps)
        seen, _ = read_dancers(video, 2)
        if len(seen) < 2:
            continue
        # The first dance is on the left of the picture.
        places = [float(dancer.image[dancer.present, :, 0].mean()) for dancer in seen]  # type: ignore[index]
        beats = dances[int(np.argmin(places))].beat_times
        yield Duet(RENDERED, tempi, video.stem, (seen[0], seen[1]), beats)


def score_duet(encoder: PoseEncoder, duet: Duet, seed: int = 0) -> dict[str, tuple[float, ...]]:
    """Of each of ``FOLLOWED``: read together, tempo right, beat F; of ``RANDOM`` all but the first.

    NaN where it has no meaning.
    """
    found: dict[str, tuple[float, ...]] = {}
    encodings = [encode_poses(encoder, dancer) for dancer in duet.dancers]
    for follow, name in FOLLOWED.items():
        leaders = choose_lead(duet.dancers, follow).leaders
        leading = [duet.dancers[number] for number in leaders]
        encoding = pool_encodings([encodings[number] for number in leaders], leading)
        first = readings_from_encoding(encoding, encoder.config.frame_rate, leading)[0]
        found[name] = (float(len(leaders) == 2), *_scores(duet, first.track.beat_times))
    rng = np.random.default_rng(seed)
    length_s = duet.dancers[0].duration_s
    for name, bpm in zip(RANDOM, (tempo_bpm(duet.beat_times), 120.0), strict=True):
        draws = [
            _scores(duet, metronome_times(bpm, length_s, float(rng.random())))
            for _ in range(RANDOM_DRAWS)
        ]
        found[name] = (float("nan"), *np.mean(draws, axis=0).tolist())
    return found


def _scores(duet: Duet, times: Times) -> tuple[float, float]:
    ratio = tempo_bpm(times) / tempo_bpm(duet.beat_times)
    return float(tempo_matches(ratio)), beat_f(duet.beat_times, times)


@torch.inference_mode()
def score_duets(
    encoder: PoseEncoder, duets: Sequence[Duet], on_done: Callable[[], None] = lambda: None
) -> dict[str, tuple[Cell, ...]]:
    """The cells of each row, ``"set, tempi, whose beat"``: read together, tempo, beat F."""
    values: defaultdict[str, defaultdict[str, list[tuple[float, ...]]]]
    values = defaultdict(lambda: defaultdict(list))
    for number, duet in enumerate(duets):
        for name, scores in score_duet(encoder, duet, seed=number).items():
            values[f"{duet.set}, {duet.tempi}, {name}"][duet.group].append(scores)
        on_done()
    return {
        row: tuple(
            map(mean_cell, zip(*(np.mean(own, axis=0) for own in groups.values()), strict=True))
        )
        for row, groups in values.items()
    }


def same_tempo_table(duets: Sequence[Duet]) -> list[str]:
    """How the log Bayes factor of one tempo tells pairs at one tempo from those at two."""
    factors = {
        tempi: [
            same_tempo(*(dance_logits([dancer]) for dancer in duet.dancers))
            for duet in duets
            if duet.tempi == tempi
        ]
        for tempi in RATIOS
    }
    rows = []
    for limit in sorted({*LIMITS, SAME_TEMPO}):
        shares = [np.mean(np.array(factors[tempi]) >= limit) for tempi in RATIOS]
        right = (shares[0] + 1.0 - shares[1]) / 2
        rows.append([f"{limit:.2g}", *(f"{share:.2f}" for share in shares), f"{right:.2f}"])
    return table(["log Bayes factor from", *RATIOS, "right"], rows)


def evaluate(
    wild: Annotated[Path, typer.Argument(help="Folder of real clips with beats and poses.")],
    output: Annotated[Path, typer.Option("--output", help="The page, .md; a .json beside it.")],
    rendered: Annotated[
        int, typer.Option("--rendered", min=0, help="Videos of two rendered dancers to read.")
    ] = 8,
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="Whose encoder.")] = "pose2audio",
    on_done: Callable[[int], None] = lambda total: None,
) -> None:
    """Score whose beat is read where two people dance, at one tempo and at two."""
    torch.set_num_threads(1)
    duets = list(filmed_duets(trusted_clips(load_wild(wild))))
    with TemporaryDirectory() as folder:
        duets += rendered_duets(rendered, Path(folder))
    cells = score_duets(load_encoder(checkpoint), duets, lambda: on_done(len(duets)))
    rows = []
    for name, (together, tempo, beats) in cells.items():
        pairs = sum(name.startswith(f"{duet.set}, {duet.tempi}, ") for duet in duets)
        texts = [f"{together.mean:.2f}" if together.dances else DASH, cell_text(tempo)]
        rows.append([name, str(pairs), *texts, cell_text(beats)])
    facts = {"encoder": f"`{checkpoint}`", "filmed": f"`{wild}`", "rendered": f"{rendered} videos"}
    lines = [*page_head("Two dancers", facts), "## What is measured", "", NOTE, ""]
    lines += ["## Whose beat", "", *table(TITLES, rows), ""]
    lines += ["## One tempo or two", "", LIMIT_NOTE, "", *same_tempo_table(duets)]
    write_report(output, "\n".join(lines) + "\n", cells)
    print("\n".join(lines))
