"""The report on how well music fits its dance, with every trivial baseline in the rows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import numpy as np
import typer

from dancetomusic.atomic import atomic_output
from dancetomusic.datasets.tang2018 import Dance, load_dances
from dancetomusic.errors import DanceToMusicError, InputError
from dancetomusic.evaluation.baselines import (
    fit_duration,
    metronome_times,
    render_clicks,
    shift_half_beat,
    white_noise,
)
from dancetomusic.evaluation.beats import WINDOW_LENGTHS_S, score_windows, track_beats
from dancetomusic.evaluation.bootstrap import bootstrap_interval
from dancetomusic.evaluation.codec_quality import codec_round_trip
from dancetomusic.evaluation.onsets import detect_onsets, onset_f1
from dancetomusic.media.audio import read_audio
from dancetomusic.types import Waveform

if TYPE_CHECKING:
    from dancetomusic.inference.pipeline import DanceToMusic

Scores: TypeAlias = dict[str, float]
"""Metric name to value."""
Table: TypeAlias = dict[str, dict[str, Scores]]
"""Row name, then dance, to its scores: the mean over draws or seeds."""

TRUTH = "ground truth"
RANDOM_SONG = "random other song"
RANDOM_SAME_GENRE = "random song of the genre"
METRONOME_120 = "metronome 120 BPM"
METRONOME_GENRE = "metronome, genre's mean tempo, random phase"
NOISE = "white noise"
RIVALS = (RANDOM_SONG, RANDOM_SAME_GENRE, METRONOME_120, METRONOME_GENRE)

COLUMNS = {
    **{f"f_{length:.0f}s": f"beat F {length:.0f} s" for length in WINDOW_LENGTHS_S},
    "f": "beat F whole",
    "cmlt": "CMLt whole",
    "tempo": "tempo 4 %",
    "tempo_octave": "tempo, octaves",
    "tempo_error": "tempo error",
    "onset_f1": "onset F1",
}
NOTES = """\
Beats are tracked in the sound of the whole piece and scored against the annotated beats
(±70 ms); onsets against those of the true music (±50 ms). Brackets: 95 % bootstrap interval
over dances, after averaging windows, draws and seeds. The dances are held out, yet they reuse
movement figures of the training dances, and their synchrony is partly by construction.
"""


def score_sound(sound: Waveform, truth: Waveform, dance: Dance) -> Scores:
    """All columns of one sound for one dance; ``truth`` is the dance's own music."""
    beats = track_beats(sound)
    duration_s = truth.duration_s
    whole = score_windows(dance.beat_times, beats, duration_s)
    scores = {
        f"f_{length:.0f}s": score_windows(dance.beat_times, beats, duration_s, length).f
        for length in WINDOW_LENGTHS_S
    }
    return {
        **scores,
        "f": whole.f,
        "cmlt": whole.cmlt,
        "tempo": whole.tempo,
        "tempo_octave": whole.tempo_octave,
        "tempo_error": whole.tempo_error,
        "onset_f1": onset_f1(detect_onsets(truth), detect_onsets(sound)),
    }


def baseline_sounds(
    dance: Dance, truth: Waveform, songs: Sequence[Dance], draws: int
) -> Iterator[tuple[str, Waveform]]:
    """Row names and sounds that need no model; random rows come ``draws`` times.

    Args:
        dance: The dance to make sounds for.
        truth: Its own music.
        songs: Dances to take other songs and genre tempi from.
        draws: Random choices a row.
    """
    duration_s = truth.duration_s
    others = [song for song in songs if song.dance_id != dance.dance_id]
    same_genre = [song for song in others if song.genre == dance.genre]
    rng = np.random.default_rng([ord(letter) for letter in dance.dance_id])
    yield TRUTH, truth
    yield "ground truth, half a beat late", shift_half_beat(truth, dance.bpm)
    yield METRONOME_120, render_clicks(metronome_times(120.0, duration_s), duration_s)
    for draw in range(draws):
        yield NOISE, white_noise(duration_s, draw)
        for name, choice in ((RANDOM_SONG, others), (RANDOM_SAME_GENRE, same_genre)):
            if choice:
                song = choice[int(rng.integers(len(choice)))]
                yield name, fit_duration(_music(song), duration_s)
        if same_genre:
            tempo = float(np.mean([song.bpm for song in same_genre]))
            times = metronome_times(tempo, duration_s, phase=rng.random())
            yield METRONOME_GENRE, render_clicks(times, duration_s)


def model_sounds(
    name: str, pipeline: DanceToMusic, dance: Dance, truth: Waveform, seeds: int
) -> Iterator[tuple[str, Waveform]]:
    """Row names and sounds of one model, and of what it is made of: its codec and its beats."""
    yield f"ground truth through the codec of {name}", codec_round_trip(pipeline.codec, truth)
    for seed in range(seeds):
        music = pipeline.generate(dance.poses, seed=seed)
        if seed == 0:
            clicks = render_clicks(music.rhythm.beat_times, truth.duration_s)
            yield f"metronome on the beats read by {name}", clicks
        yield f"**{name}**", music.waveform


def score_dances(
    dances: Sequence[Dance],
    songs: Sequence[Dance],
    pipelines: Mapping[str, DanceToMusic],
    *,
    seeds: int = 3,
) -> Table:
    """Score every row on every dance.

    Args:
        dances: What to make music for.
        songs: Where other songs and genre tempi come from; may include ``dances``.
        pipelines: Models by the name of their row.
        seeds: Pieces a model makes for each dance, and draws of each random row.
    """
    table: Table = {}
    for number, dance in enumerate(dances, start=1):
        typer.echo(f"{number}/{len(dances)} {dance.dance_id}", err=True)
        truth = _music(dance)
        sounds = list(baseline_sounds(dance, truth, songs, seeds))
        for name, pipeline in pipelines.items():
            sounds += model_sounds(name, pipeline, dance, truth, seeds)
        drawn: dict[str, list[Scores]] = {}
        for row, sound in sounds:
            drawn.setdefault(row, []).append(score_sound(sound, truth, dance))
        for row, scores in drawn.items():
            means = {column: _mean([score[column] for score in scores]) for column in COLUMNS}
            table.setdefault(row, {})[dance.dance_id] = means
    return table


def report_markdown(table: Table, models: Sequence[str] = ()) -> str:
    """The rows ranked by beat F at whole length, then each model's lead over its rivals."""
    ranked = sorted(table, key=lambda row: _mean(_column(table, row, "f")), reverse=True)
    lines = [
        f"| | {' | '.join(COLUMNS.values())} |",
        "|---" * (len(COLUMNS) + 1) + "|",
        *(
            f"| {row} | {' | '.join(_cell(_column(table, row, c)) for c in COLUMNS)} |"
            for row in ranked
        ),
        "",
        NOTES,
    ]
    leads = [(model, rival) for model in models for rival in RIVALS if rival in table]
    if leads:
        columns = ("f_20s", "f", "cmlt")
        titles = " | ".join(COLUMNS[column] for column in columns)
        lines += [f"| lead, dance by dance | {titles} |", "|---" * (len(columns) + 1) + "|"]
    for model, rival in leads:
        cells = [_cell(lead(table, f"**{model}**", rival, column)) for column in columns]
        lines.append(f"| {model} over {rival} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def lead(table: Table, row: str, rival: str, column: str) -> list[float]:
    """How far a row lies above another, for each dance that both have."""
    return [
        scores[column] - table[rival][dance][column]
        for dance, scores in table[row].items()
        if dance in table[rival]
    ]


def main(
    data: Annotated[Path, typer.Option(help="Folder with index.csv, motion/ and audio/.")],
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(help="Checkpoint directory or released name; repeat, or none."),
    ] = None,
    codec: Annotated[str | None, typer.Option(help="Codec of the checkpoints.")] = None,
    split: Annotated[str, typer.Option(help="Split to score.")] = "val",
    seeds: Annotated[int, typer.Option(min=1, help="Pieces a dance, and random draws.")] = 3,
    output: Annotated[Path, typer.Option(help="Folder for the report.")] = Path("out/evaluation"),
) -> None:
    """Score models and baselines on dances with known beats; write Markdown and JSON."""
    try:
        names = [name for name in checkpoint or ["pose2audio"] if name != "none"]
        pipelines = _load(names, codec)
        songs = load_dances(data)
        dances = [dance for dance in songs if dance.split == split]
        if not dances:
            raise InputError(f"{data} has no dance of split {split!r}", "Name another split.")
        table = score_dances(dances, songs, pipelines, seeds=seeds)
        output.mkdir(parents=True, exist_ok=True)
        markdown = report_markdown(table, list(pipelines))
        with atomic_output(output / "music_fit.md") as file:
            file.write_text(markdown, encoding="utf-8")
        with atomic_output(output / "music_fit.json") as file:
            values = {"split": split, "seeds": seeds, "rows": table}
            file.write_text(json.dumps(_finite(values), indent=1), encoding="utf-8")
    except DanceToMusicError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(markdown)


def _load(names: Sequence[str], codec: str | None) -> dict[str, DanceToMusic]:
    if not names:
        return {}
    from dancetomusic.inference.pipeline import DanceToMusic

    return {Path(name).name: DanceToMusic.from_pretrained(name, codec) for name in names}


def _music(dance: Dance) -> Waveform:
    music = read_audio(dance.audio_path)
    if music is None:
        raise InputError(f"{dance.audio_path} has no sound", "Restore the file.")
    return music


def _column(table: Table, row: str, column: str) -> list[float]:
    return [scores[column] for scores in table[row].values()]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def _cell(values: Sequence[float]) -> str:
    low, high = bootstrap_interval(values)
    return f"{_mean(values):.2f} [{low:.2f}, {high:.2f}]"


def _finite(value: object) -> object:
    """The same values with ``None`` for NaN, which JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not np.isfinite(value) else value


if __name__ == "__main__":
    typer.run(main)
