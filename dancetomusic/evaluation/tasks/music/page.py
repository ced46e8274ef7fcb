"""The report as one page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dancetomusic.evaluation import sound_scores
from dancetomusic.evaluation.report import DASH, Cell, cell_text, page_head, table, targets_table
from dancetomusic.evaluation.tasks.music.scores import GROOVE_COLUMNS, LEGACY_COLUMNS, TIME_COLUMNS
from dancetomusic.evaluation.tasks.music.summary import GROOVE_RANGE, LEAD_COLUMNS, Summary

TIME_NOTE = """\
Beats are tracked in the sound of the whole piece and scored against the annotated beats
(±70 ms); onsets against those of the true music (±50 ms). Beat evidence is the mean cosine of
the beat phase that the first checkpoint estimates from the movement, at the beats of the sound: no
proof for music that plays on beats of the same network. A metronome on those beats scores as well
as music: these columns say whether the time is right, not whether the groove is good."""
GROOVE_NOTE = """\
Onsets are rises of 6 dB in three registers; low, mid and high are their shares. Bars alike:
mean correlation of a piece's bars (1: one loop).
Energy: Spearman's ρ of movement and loudness in 0.5 s windows, minus that with the movement
shifted in time; where the interval of the true music holds 0, it says nothing of real music.
Accents: level at annotated beats 1 minus that at 2 and 3, where downbeats are certain. Drone: the
longest audible stretch without an onset. Bars of a model are those of its own grid, of other rows
the annotated ones. Real grooves: performances of held-out drummers with a bass line of ours."""
FRECHET_NOTE = """\
Fréchet distance between embeddings of half seconds (encoder of the released codec, all sounds at
one level), extrapolated to infinitely many. Its unit is its own: compare rows of one run. The
true drums and bass are the reference themselves. By musicnn, which was not trained here: last layer
before the tags, windows of 3 s, to the songs themselves; a random other song shows how far real
music is from them."""
LEGACY_NOTE = """\
**Do not optimise for these.** Papers report them; they do not separate music from noise. Coverage
and hit scores compare whole seconds, and any metronome hits them all. Beat
alignment and motion-beat coverage reward whatever has many onsets: on ballroom dances white noise
and metronomes beat the music that was danced to."""
HELD_OUT_NOTE = """\
Means over seeds, windows, pieces and then dances; brackets are 95 % bootstrap intervals over
dances. Held-out dances of a ballroom set share captures with training dances, their synchrony is
partly by construction, and the movement of the waltz carries an imposed delay of a quarter of a
beat; the split `figures` holds figures out."""


def render_page(summary: Summary, facts: Mapping[str, str], plots: Sequence[str]) -> str:
    """The whole report."""
    parts = [*page_head("Does the music fit the dance?", facts), HELD_OUT_NOTE, ""]
    if summary.targets:
        parts += ["## What a groove must hold", ""]
        for model, targets in summary.targets.items():
            parts += [*targets_table(model, targets), ""]
    parts += ["## In time", "", *_scores(summary, TIME_COLUMNS), "", TIME_NOTE, ""]
    if summary.leads:
        parts += _leads(summary)
    parts += ["## On its own beats", "", *_scores(summary, sound_scores.BEAT_COLUMNS), ""]
    parts += ["## Form", "", *_scores(summary, sound_scores.FORM_COLUMNS), ""]
    parts += ["## How it sounds", "", *_scores(summary, sound_scores.CHARACTER_COLUMNS), ""]
    parts += [sound_scores.NOTE, ""]
    groove = _scores(summary, GROOVE_COLUMNS)
    parts += ["## As a groove", "", *groove, *_range(summary), "", GROOVE_NOTE, ""]
    if summary.frechet:
        parts += _frechet(summary)
    if summary.long:
        parts += _long(summary)
    parts += [f"![{name}]({name})\n" for name in plots]
    parts += ["## Legacy scores, for comparison with papers", "", LEGACY_NOTE, ""]
    parts += _scores(summary, LEGACY_COLUMNS)
    return "\n".join(parts) + "\n"


def _scores(summary: Summary, columns: Mapping[str, str]) -> list[str]:
    rows = ([row, *_texts(cells, columns)] for row, cells in summary.rows.items())
    return table(["", *columns.values()], rows)


def _texts(cells: Mapping[str, Cell], columns: Sequence[str] | Mapping[str, str]) -> list[str]:
    return [cell_text(cells[column]) for column in columns]


def _range(summary: Summary) -> list[str]:
    """The range of real performances, as the last line of the table of grooves."""
    if not summary.groove_range:
        return []
    ranges = [summary.groove_range.get(column) for column in GROOVE_COLUMNS]
    texts = [DASH if found is None else "{:.2f} … {:.2f}".format(*found) for found in ranges]
    low, high = (f"{percent:.0f}" for percent in GROOVE_RANGE)
    return [f"| real grooves, {low} to {high} % | {' | '.join(texts)} |"]


def _leads(summary: Summary) -> list[str]:
    titles = ["lead, dance by dance", *(TIME_COLUMNS[column] for column in LEAD_COLUMNS)]
    rows = (
        [f"{model} over {baseline}", *_texts(cells, LEAD_COLUMNS)]
        for (model, baseline), cells in summary.leads.items()
    )
    return [*table(titles, rows), ""]


def _frechet(summary: Summary) -> list[str]:
    titles = ["Fréchet distance", "codec, to the songs' real drums and bass"]
    if summary.frechet_grooves:
        titles.append("codec, to held-out real grooves")
    if summary.frechet_songs:
        titles.append("musicnn, to the songs")
    rows = []
    for row, cell in sorted(summary.frechet.items(), key=lambda item: item[1].mean):
        rows.append([row, cell_text(cell, ".1f")])
        if summary.frechet_grooves:
            rows[-1].append(f"{summary.frechet_grooves[row]:.1f}")
        if summary.frechet_songs:
            rows[-1].append(cell_text(summary.frechet_songs.get(row)))
    return ["## As a sound", "", *table(titles, rows), "", FRECHET_NOTE, ""]


def _long(summary: Summary) -> list[str]:
    names = list(next(iter(summary.long.values())))
    rows = (
        [model, *(f"{scores[name]:.3g}" for name in names)]
        for model, scores in summary.long.items()
    )
    return ["## Three minutes without a break", "", *table(["", *names], rows), ""]
