"""Whether scores have form and answer the dance, beside chance, on dances whose beats are known.

The beats are the annotated ones, so that nothing is scored but the score. Definitions are in
``metrics/score.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dancetomusic.evaluation.report import (
    cell_text,
    mean_cell,
    page_head,
    table,
    write_report,
)
from dancetomusic.evaluation.tasks.rhythm.set import RhythmClip, load_rhythm_set
from dancetomusic.metrics import score as metrics
from dancetomusic.metrics.bootstrap import known_mean
from dancetomusic.rhythm.energy import danced_rhythm
from dancetomusic.score.arrange import arrange
from dancetomusic.score.notes import BeatClock, Score
from dancetomusic.score.plan import Plan, make_plan
from dancetomusic.score.style import choose_style
from dancetomusic.types import PoseSequence, RhythmTrack

FEWEST_BEATS = 8
BAR_LENGTH = 4
"""Beats a bar where positions in the bar are not annotated."""

ROWS = {
    "form": "same chord after 4 bars",
    "form_chance": "same chord after 1 to 3 bars",
    "in_key": "share of pitched sound in the key",
    "fills": "fills at section ends",
    "fills_chance": "fills elsewhere",
    "density": "density follows energy, above energy shuffled",
    "tracks": "number of playing tracks follows energy, above energy shuffled",
    "hits": "hits answered within 50 ms",
    "hits_chance": "as many hits at random times",
    "chord_tones": "lead on the beat in the bar's chord",
    "rubs": "lead a semitone from a note of the chord",
    "overlap": "lead below the chord's highest note",
    "bass": "bass notes with the bass drum",
    "seeds": "two seeds alike",
    "seeds_chance": "bars of one piece alike, 4 bars apart",
    "seconds": "seconds to arrange a minute",
}
NOTE = """\
Values are means with 95 % bootstrap intervals over groups (a dancer, a song); a row that says how
much is chance stands below the row that it belongs to. What counts as bars of one piece, and how
much the bass counts in naming a chord, was chosen while looking at these sets."""


def score_piece(score: Score, plan: Plan, rng: np.random.Generator) -> dict[str, float]:
    """Every value of one piece but those that compare pieces."""
    final_bar = score.clock.bar_of(plan.final_beat)
    energy = plan.energy[:final_bar]
    density = metrics.bar_density(score)[:final_bar]
    playing = metrics.tracks_playing(score)[:final_bar].astype(np.float64)
    form, form_chance = metrics.harmonic_form(score)
    fills, fills_chance = metrics.fill_rates(score)
    hits, hits_chance = metrics.hits_answered(score, plan.hits.times, rng)
    return {
        "form": form,
        "form_chance": form_chance,
        "in_key": metrics.in_key_share(score),
        "fills": fills,
        "fills_chance": fills_chance,
        "density": metrics.follows_energy(density, energy, rng),
        "tracks": metrics.follows_energy(playing, energy, rng),
        "hits": hits,
        "hits_chance": hits_chance,
        "chord_tones": metrics.chord_tone_share(score),
        "rubs": metrics.semitone_rubs(score),
        "overlap": metrics.register_overlap(score),
        "bass": metrics.bass_on_kick(score)[0],
        "seeds_chance": metrics.self_likeness(score),
    }


def score_dance(rhythm: RhythmTrack, poses: PoseSequence, seeds: int) -> dict[str, float]:
    """Values of one dance, the mean over ``seeds`` pieces in the style that suits it."""
    clock = BeatClock.from_rhythm(rhythm)
    plan = make_plan(clock, rhythm, [poses])
    style = choose_style(rhythm).name
    pieces, values = [], []
    for seed in range(seeds):
        began = time.perf_counter()
        piece = arrange(clock, plan, style, None, seed)
        seconds = (time.perf_counter() - began) * 60.0 / rhythm.duration_s
        pieces.append(piece)
        scores = score_piece(piece, plan, np.random.default_rng(seed))
        values.append({**scores, "seconds": seconds})
    alike = [metrics.likeness(one, other) for one, other in combinations(pieces, 2)]
    means = {name: known_mean([value[name] for value in values]) for name in values[0]}
    return {**means, "seeds": known_mean(alike)}


def dances_of(clips: list[RhythmClip]) -> Iterator[tuple[str, RhythmTrack, PoseSequence]]:
    """Group, rhythm and dancer of each clip whose beats and dancer are known."""
    for clip in clips:
        poses = clip.dancer()
        times, numbers = clip.bar_times, clip.bar_places
        if times.size == 0:
            times = clip.beat_times
            numbers = np.arange(times.size) % BAR_LENGTH + 1
        if poses is not None and times.size >= FEWEST_BEATS:
            yield clip.group, danced_rhythm(poses, times, numbers), poses


def evaluate(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of dances with beats, as of evaluate rhythm.")
    ],
    output: Annotated[Path, typer.Option("--output", help="The page, .md; a .json beside it.")],
    split: Annotated[str, typer.Option("--split", help="Of a ballroom folder.")] = "val",
    seeds: Annotated[int, typer.Option("--seeds", min=2, help="Pieces for each dance.")] = 3,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Clips at most, the first ones.")
    ] = None,
    on_done: Callable[[int], None] = lambda total: None,
) -> None:
    """Score what is written for dances: form, harmony, fills, energy and hits."""
    clips = load_rhythm_set(data, split=split, limit=limit).clips
    groups: dict[str, list[dict[str, float]]] = {}
    for group, rhythm, poses in dances_of(list(clips)):
        groups.setdefault(group, []).append(score_dance(rhythm, poses, seeds))
        on_done(len(clips))
    by_group = [
        {name: known_mean([value[name] for value in values]) for name in ROWS}
        for values in groups.values()
    ]
    cells = {name: mean_cell(means[name] for means in by_group) for name in ROWS}
    facts = {
        "dances": f"{sum(map(len, groups.values()))} in {len(groups)} groups, `{data}`",
        "pieces for each": str(seeds),
    }
    lines = [*page_head("The score", facts), "## What is scored", "", NOTE, "", "## Scores", ""]
    rows = [[title, cell_text(cells[name])] for name, title in ROWS.items()]
    lines += table(["", data.name], rows)
    write_report(output, "\n".join(lines) + "\n", cells)
    print("\n".join(lines))
