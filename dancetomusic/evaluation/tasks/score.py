"""What is composed and played for dances whose beats are known, by several systems side by side.

The beats are the annotated ones, so that nothing is scored but the music. Notes are scored by
``metrics/score.py``, the sound that they make by ``evaluation/sound_scores.py``, and so are real
songs, human drummers, instruments without a score, and baselines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from jaxtyping import Float32

from dancetomusic.codec.base import Codec
from dancetomusic.errors import InputError
from dancetomusic.evaluation import sound_scores
from dancetomusic.evaluation.baselines import (
    fit_duration,
    metronome_times,
    render_clicks,
    white_noise,
)
from dancetomusic.evaluation.clips import retime_dance
from dancetomusic.evaluation.musicnn import read_weights
from dancetomusic.evaluation.pieces import SAMPLE_RATE, spread_evenly
from dancetomusic.evaluation.report import (
    Cell,
    cell_text,
    mean_cell,
    page_head,
    require_packages,
    table,
    write_report,
)
from dancetomusic.evaluation.sound_scores import (
    Grid,
    Measured,
    frechet_cells,
    measure_sound,
    seeds_alike,
)
from dancetomusic.evaluation.tasks.music.real_grooves import (
    N_PERFORMANCES,
    performance_score,
    render_performance,
)
from dancetomusic.evaluation.tasks.rhythm.set import RhythmClip, load_rhythm_set
from dancetomusic.generate.one import DanceToMusic
from dancetomusic.generate.result import Music
from dancetomusic.io.audio import resample
from dancetomusic.metrics import played_score
from dancetomusic.metrics import score as metrics
from dancetomusic.metrics.bootstrap import known_mean
from dancetomusic.models.pose2audio.model import Pose2AudioModel
from dancetomusic.rhythm.energy import danced_rhythm
from dancetomusic.score.notes import Score
from dancetomusic.score.plan import Plan, make_plan
from dancetomusic.score.style import load_style, style_names
from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

FEWEST_BEATS = 8
BAR_LENGTH = 4
"""Beats a bar where positions in the bar are not annotated."""

NOTE_ROWS = {
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
    **{f"drums_{lag}": f"drum bars alike, {lag} bars apart" for lag in sound_scores.LAGS},
    "seeds": "two seeds alike",
    "seeds_chance": "bars of one piece alike, 4 bars apart",
    "seconds": "seconds to write a minute",
}
PLAYED_ROWS = {
    "onsets_heard": "written onsets heard, F at ±30 ms",
    "onsets_chance": "as many at random times",
    "drums_heard": "kick, snare and hat told apart by their sound",
    "drums_chance": "by chance",
    "bass_heard": "time in which the bass's pitch is heard",
    "bass_chance": "its pitch at another time",
}
ROWS = {
    **NOTE_ROWS,
    **PLAYED_ROWS,
    **sound_scores.COLUMNS,
    "frechet": "Fréchet distance to the songs, by musicnn",
}
SONG, DRUMMERS = "the clip's own song", "held-out drummers"
OTHER, OTHER_SONG = "music for another dance", "another clip's song"
METRONOME, NOISE = "metronome 120 BPM", "white noise"
NOTE = """\
Values are means with 95 % bootstrap intervals over groups (a dancer, a song); a row that says how
much is chance stands below the row that it belongs to. What counts as bars of one piece, and how
much the bass counts in naming a chord, was chosen while looking at these sets. `score` retrieves
drums from Groove performances and arranges the rest by rules; the style is the one that `generate`
chooses for the dance. Instruments without notes are scored by their sound alone; how much of its
score a sound lets hear has no 1, since a mix hides soft notes (`metrics/played_score.py`): `score`
shows what its sampler reaches. Drum bars are compared by the cosine of velocities by drum and
sixteenth; held-out drummers are performances of the Groove MIDI Dataset, their sound with a bass of
ours, on their own beats."""

Values = dict[str, float]


@dataclass(frozen=True)
class Dance:
    """A dance with known beats.

    Attributes:
        group: Intervals are taken over groups.
        style: Of the music to make; ``None`` for the one that suits.
    """

    group: str
    rhythm: RhythmTrack
    poses: PoseSequence
    clip: RhythmClip
    style: str | None = None

    @property
    def grid(self) -> Grid:
        """Its beats."""
        return Grid(self.rhythm.beat_times.astype(np.float64), self.rhythm.beat_numbers)


def score_piece(score: Score, plan: Plan, rng: np.random.Generator) -> Values:
    """Every value of one piece's notes but those that compare pieces."""
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
        **drum_likeness(score),
        "seeds_chance": metrics.self_likeness(score),
    }


def score_heard(score: Score, sound: Waveform, rng: np.random.Generator) -> Values:
    """How much of a score is heard in the sound that plays it."""
    mono = resample(sound.to_mono(), SAMPLE_RATE)
    onsets = played_score.onsets_heard(score, mono, rng)
    drums = played_score.drums_told_apart(score, mono)
    bass = played_score.bass_heard(score, mono, rng)
    return dict(zip(PLAYED_ROWS, (*onsets, *drums, *bass), strict=True))


def score_through_codec(music: Music, codec: Codec, grid: Grid, musicnn: Path | None) -> Scored:
    """A piece once more, encoded and decoded: what a model that writes codes can reach."""
    sound = codec.decode(codec.encode(music.waveform))
    scored = score_sound(sound, grid, musicnn)
    if music.score is None:
        return scored
    heard = score_heard(music.score, sound, np.random.default_rng(0))
    return replace(scored, means=scored.means | heard)


def drum_likeness(score: Score) -> Values:
    """How alike bars of the drums are, by the bars between them."""
    drums = replace(score, tracks=(score.track("drums"),))
    return {f"drums_{lag}": metrics.self_likeness(drums, lag) for lag in sound_scores.LAGS}


@dataclass(frozen=True)
class Scored:
    """What was measured of a system, or a baseline, for one dance.

    Attributes:
        means: Over pieces.
        by_style: Values of each piece with the style of its score; empty without scores.
        embeddings: By musicnn, of all pieces; no row without its wheel.
    """

    means: Values
    by_style: list[tuple[str, Values]]
    embeddings: Float32[np.ndarray, "windows channels"]


def score_music(
    chain: DanceToMusic, dance: Dance, seeds: int, musicnn: Path | None = None
) -> tuple[Scored, Music]:
    """Music of one system for one dance, ``seeds`` pieces of it; and the last piece."""
    pieces: list[tuple[Music, Measured, Values]] = []
    for seed in range(seeds):
        music = chain.generate([dance.poses], beats=dance.rhythm, style=dance.style, seed=seed)
        measured = measure_sound(music.waveform, dance.grid, musicnn=musicnn)
        values = dict(measured.scores)
        if music.score is not None:
            plan = make_plan(music.score.clock, music.rhythm, music.dancers)
            rng = np.random.default_rng(seed)
            values |= score_piece(music.score, plan, rng)
            values |= score_heard(music.score, music.waveform, rng)
            values["seconds"] = music.timings["score"] * 60.0 / music.waveform.duration_s
        pieces.append((music, measured, values))
    means = {name: known_mean([v[name] for _, _, v in pieces]) for name in pieces[0][2]}
    means |= seeds_alike([measured for _, measured, _ in pieces])
    if "seconds" in means:  # the quickest, for the first piece also loads what it plays
        means["seconds"] = min(values["seconds"] for _, _, values in pieces)
    scores = [music.score for music, _, _ in pieces if music.score is not None]
    if len(scores) > 1:
        pairs = combinations(scores, 2)
        means["seeds"] = known_mean([metrics.likeness(one, other) for one, other in pairs])
    styles = [(music.score.style, values) for music, _, values in pieces if music.score]
    embeddings = np.concatenate([measured.embedding for _, measured, _ in pieces])
    return Scored(means, styles, embeddings), music


def dances_of(clips: Sequence[RhythmClip]) -> Iterator[Dance]:
    """Each clip whose beats and dancer are known."""
    for clip in clips:
        poses = clip.dancer()
        times, numbers = clip.bar_times, clip.bar_places
        if times.size == 0:
            times = clip.beat_times
            numbers = np.arange(times.size) % BAR_LENGTH + 1
        if poses is not None and times.size >= FEWEST_BEATS:
            yield Dance(clip.group, danced_rhythm(poses, times, numbers), poses, clip)


def in_every_style(dances: Sequence[Dance]) -> Iterator[Dance]:
    """For each style one of the dances, as fast as the style usually is; of its metre if any is.

    Its own song no longer fits and is left out.
    """
    for number, name in enumerate(style_names()):
        style = load_style(name)
        fitting = [d for d in dances if d.rhythm.beats_per_bar == style.metres[0]] or list(dances)
        dance = fitting[number % len(fitting)]
        speed = style.tempo[1] / dance.rhythm.bpm
        poses, times = retime_dance(dance.poses, dance.grid.beat_times, speed)
        inside = times < poses.duration_s
        rhythm = danced_rhythm(poses, times[inside], dance.rhythm.beat_numbers[inside])
        clip = replace(dance.clip, sound_path=None)
        yield Dance(dance.clip.name, rhythm, poses, clip, name)


def score_sound(sound: Waveform, grid: Grid, musicnn: Path | None = None) -> Scored:
    """A sound that comes without notes."""
    measured = measure_sound(sound, grid, musicnn=musicnn)
    return Scored(measured.scores, [], measured.embedding)


def score_drummers(grooves: Path, number: int, musicnn: Path | None = None) -> Scored:
    """One human performance."""
    sound, grid = render_performance(grooves, number)
    scored = score_sound(sound, grid, musicnn)
    notes = drum_likeness(performance_score(grooves, number))
    return replace(scored, means={**scored.means, **notes})


def baselines(dance: Dance, others: Mapping[str, Waveform]) -> Iterator[tuple[str, Waveform]]:
    """What a dance is scored with besides the systems: its song, and music that ignores it.

    ``others`` are sounds of another dance by row.
    """
    duration_s = dance.rhythm.duration_s
    song = dance.clip.sound()
    if song is not None:
        yield SONG, song
    for name, sound in others.items():
        yield name, fit_duration(sound, duration_s)
    yield METRONOME, render_clicks(metronome_times(120.0, duration_s), duration_s)
    yield NOISE, white_noise(duration_s, 0)


def evaluate(
    data: Annotated[
        Path, typer.Option("--data", help="Folder of dances with beats, as of evaluate rhythm.")
    ],
    output: Annotated[Path, typer.Option("--output", help="The page, .md; a .json beside it.")],
    checkpoint: Annotated[
        list[str] | None,
        typer.Option("--checkpoint", help="Directory or released name; repeat for more. [score]"),
    ] = None,
    grooves: Annotated[
        Path | None, typer.Option("--grooves", help="Groove MIDI Dataset: held-out drummers.")
    ] = None,
    musicnn: Annotated[
        Path | None,
        typer.Option(
            "--musicnn",
            metavar="WHEEL",
            help="Wheel that `pip download --no-deps musicnn` fetches: Fréchet distance.",
        ),
    ] = None,
    every_style: Annotated[
        bool,
        typer.Option("--every_style", help="One dance in each style, at the style's tempo."),
    ] = False,
    split: Annotated[str, typer.Option("--split", help="Of a ballroom folder.")] = "val",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Pieces for each dance.")] = 3,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Dances at most, evenly from all.")
    ] = None,
    on_done: Callable[[int], None] = lambda total: None,
) -> None:
    """Score what is composed for dances, note by note and by its sound, beside baselines."""
    require_packages("librosa", "mir_eval")
    names = checkpoint or ["score"]
    systems = {Path(name).name: DanceToMusic.from_pretrained(name) for name in names}
    first = next(iter(systems))
    codecs = {
        name: chain.model.codec
        for name, chain in systems.items()
        if isinstance(chain.model, Pose2AudioModel)
    }
    through = {name: f"{first}, through the codec of {name}" for name in codecs}
    clips = load_rhythm_set(data, split=split).clips
    dances = list(dances_of(clips))
    if not dances:
        raise InputError(f"{data} has no dance with beats", "Name another folder or split.")
    if every_style:
        dances = list(in_every_style(dances))
    dances = spread_evenly(dances, limit)
    if musicnn is not None:
        read_weights(str(musicnn))
    found: dict[str, dict[str, list[Scored]]] = {}
    others: dict[str, Waveform] = {}
    for dance in dances:
        made = {
            name: score_music(chain, dance, seeds, musicnn)
            for name, chain in systems.items()
            if dance.style in (None, *chain.styles)
        }
        scored = {name: of_dance for name, (of_dance, _) in made.items()}
        for name, codec in codecs.items():
            if name != first and first in made:
                piece = made[first][1]
                scored[through[name]] = score_through_codec(piece, codec, dance.grid, musicnn)
        if not every_style:
            for name, sound in baselines(dance, others):
                scored[name] = score_sound(sound, dance.grid, musicnn)
        for name, of_dance in scored.items():
            found.setdefault(name, {}).setdefault(dance.group, []).append(of_dance)
        if made:
            others[OTHER] = next(iter(made.values()))[1].waveform
        song = dance.clip.sound()
        if song is not None:
            others[OTHER_SONG] = song
        on_done(len(dances))
    if grooves is not None:
        found[DRUMMERS] = {
            str(number): [score_drummers(grooves, number, musicnn)]
            for number in range(N_PERFORMANCES)
        }
    order = [*systems, *through.values(), SONG, DRUMMERS, OTHER_SONG, OTHER, METRONOME, NOISE]
    found = {name: found[name] for name in order if name in found}
    cells = _cells(found)
    facts = {
        "dances": f"{len(dances)} in {len({dance.group for dance in dances})} groups, `{data}`",
        "pieces for each": str(seeds),
    }
    page = "\n".join([*page_head("The score", facts), *_page(cells, _by_style(found))]) + "\n"
    write_report(output, page, cells)
    print(page)


Found = Mapping[str, Mapping[str, Sequence[Scored]]]
"""Row, then group, to what was measured of its dances."""


def _cells(found: Found) -> dict[str, dict[str, Cell]]:
    """Row, then value, to its mean over the dances of a group, then over groups."""
    cells = {
        name: {
            value: mean_cell(
                known_mean([scored.means.get(value, float("nan")) for scored in dances])
                for dances in groups.values()
            )
            for value in ROWS
        }
        for name, groups in found.items()
    }
    embedded = {
        name: [np.concatenate([scored.embeddings for scored in of]) for of in groups.values()]
        for name, groups in found.items()
    }
    embedded = {name: parts for name, parts in embedded.items() if any(p.size for p in parts)}
    for name, cell in frechet_cells(embedded, SONG).items():
        cells[name]["frechet"] = cell
    return cells


def _by_style(found: Found) -> dict[str, dict[str, list[Values]]]:
    """System, then style of the music, to the values of its pieces."""
    by_style: dict[str, dict[str, list[Values]]] = {}
    for name, groups in found.items():
        for scored in (scored for dances in groups.values() for scored in dances):
            for style, values in scored.by_style:
                by_style.setdefault(name, {}).setdefault(style, []).append(values)
    return by_style


def _page(
    cells: Mapping[str, Mapping[str, Cell]],
    by_style: Mapping[str, Mapping[str, Sequence[Values]]],
) -> list[str]:
    lines = ["## What is scored", "", NOTE, "", sound_scores.NOTE, "", "## Scores", ""]
    rows = [
        [title, *(cell_text(own[row], _spec(row)) for own in cells.values())]
        for row, title in ROWS.items()
        if any(own[row].dances for own in cells.values())
    ]
    lines += [*table(["", *cells], rows), "", "## Beats of the sound, by style of the music", ""]
    titles = ["style", *sound_scores.BEAT_COLUMNS.values(), "pieces"]
    rows = [
        [
            style if len(by_style) == 1 else f"{style}, {name}",
            *(f"{known_mean([v[c] for v in pieces]):.2f}" for c in sound_scores.BEAT_COLUMNS),
            str(len(pieces)),
        ]
        for name, styles in by_style.items()
        for style, pieces in sorted(styles.items())
    ]
    return [*lines, *table(titles, rows)]


def _spec(row: str) -> str:
    return ".1f" if row in sound_scores.CHARACTER_COLUMNS else ".2f"
