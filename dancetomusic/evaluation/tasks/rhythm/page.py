"""The report on rhythm as one page of Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dancetomusic.evaluation.clips import LENGTHS_S, length_name
from dancetomusic.evaluation.report import (
    DASH,
    Cell,
    calibration_table,
    cell_text,
    number_text,
    page_head,
    table,
)
from dancetomusic.evaluation.tasks.rhythm.estimators import (
    AUTO,
    BASELINES,
    METRONOME,
    MOVEMENT,
    SOUND,
    TRUE_TEMPO,
)
from dancetomusic.evaluation.tasks.rhythm.score import (
    ClipResult,
    RhythmFindings,
    RowSummary,
    by_style,
    calibrate,
    count_refusals,
    on_clips,
    summarise_row,
)
from dancetomusic.metrics.rhythm_scores import RIGHT_F
from dancetomusic.types import FAIR, SURE

TITLE = "Beats of a dance: from its sound and from its movement"
SCORED, SENTENCE = "What is scored", "In a sentence"
ALL_CLIPS, BOTH_CLIPS = "Every clip", "Clips with sound and poses"
COLUMNS = {
    "f": "F",
    "f_any_level": "F, best level",
    "tempo": "tempo 4 %",
    "tempo_octave": "tempo, octaves",
    "offset_ms": "offset ms",
    "offset_abs_ms": "distance ms",
    "bars": "bars right",
}
_NAMED = {
    SOUND: "from the sound",
    MOVEMENT: "from movement alone",
    TRUE_TEMPO: "true tempo at random phase",
    METRONOME: "120 BPM at random phase",
}
NOTE = """\
F: beats within ±70 ms, nothing trimmed. Best level: against the reference, its double, and either
half. Tempo: share of clips within 4 %, then with half and double allowed. Offset: median over
matched beats, positive is late; distance: median without its sign. Bars right: share of clips in
which four in five matched beats have the annotated position in the bar. Means over groups with 95 %
bootstrap intervals over groups; random phases are means over ten draws."""

LENGTHS_NOTE = "Stretches side by side, cut before beats are estimated."
CLIPS_NOTE = "F / F at the best level, BPM, certainty where it is stated, source where it varies."


def render_rhythm_page(findings: RhythmFindings, facts: Mapping[str, str]) -> str:
    """The whole report."""
    parts = page_head(TITLE, facts)
    parts += [f"## {SCORED}", "", findings.note, "", f"## {SENTENCE}", "", _sentence(findings), ""]
    parts += [*_main_tables(findings), *_lengths(findings)]
    parts += [*_styles(findings), *_calibration(findings), *_refusals(findings)]
    parts += [*_beatless(findings), *_speed(findings), *_clips(findings)]
    return "\n".join(parts).rstrip() + "\n"


def headline(findings: RhythmFindings) -> list[str]:
    """Lines for the terminal: a row each, then certainty, false alarms and speed."""
    lines = []
    for row, results in findings.results.items():
        if not results:
            continue
        summary = summarise_row(results)
        texts = [f"{title} {cell_text(summary.cells[metric])}" for metric, title in _SHORT.items()]
        lines.append(f"{row:38s} {'  '.join(texts)}  {_count(summary)}")
    lines += [f"{row}: {text}" for row, text in _certainty_texts(findings).items()]
    if findings.beatless:
        sure, sounds = (sum(getattr(b, n) for b in findings.beatless) for n in ("sure", "sounds"))
        lines.append(f"sounds without a beat that are called sure: {sure} of {sounds}")
    speeds = [f"{row} {seconds:.2f}" for row, seconds in findings.seconds_per_minute.items()]
    return [*lines, f"processor seconds a minute of input: {', '.join(speeds)}"]


def _certainty_texts(findings: RhythmFindings) -> dict[str, str]:
    """For each row that states certainty, how often it is right where it says that it is."""
    texts = {}
    for row in _estimators(findings):
        calibration = calibrate(findings.results[row])
        if calibration is not None:
            share = f"{100 * calibration.sure_right:.0f} %" if calibration.sure else DASH
            texts[row] = (
                f"where it says ≥ {SURE:g}, F ≥ {RIGHT_F:g} in {share} "
                f"({calibration.sure} of {calibration.scored} clips)"
            )
    return texts


_SHORT = {"f": "F", "f_any_level": "best level", "tempo": "tempo"}


def _sentence(findings: RhythmFindings) -> str:
    """F of the package's estimators and of a metronome, on the clips that all of them can read."""
    read = [
        {result.clip for result in results}
        for row, results in findings.results.items()
        if row in _NAMED and results
    ]
    names = set.intersection(*read) if read else set()
    texts = []
    for row, name in _NAMED.items():
        results = on_clips(findings.results.get(row, []), names)
        if results:
            summary = summarise_row(results)
            f, tempo = summary.cells["f"], summary.cells["tempo"]
            texts.append(f"{name} {cell_text(f)} (tempo within 4 %: {100 * tempo.mean:.0f} %)")
    groups = len({r.group for r in _any_results(findings) if r.clip in names})
    return f"F on {len(names)} clips of {groups} dancers or songs: {', '.join(texts)}."


def _main_tables(findings: RhythmFindings) -> list[str]:
    lines = [f"## {ALL_CLIPS}", "", *_scores(findings.results), "", NOTE, ""]
    both = _clips_with_both(findings)
    if both and len(both) < len({r.clip for r in _any_results(findings)}):
        chosen = {row: on_clips(results, both) for row, results in findings.results.items()}
        lines += [f"## {BOTH_CLIPS}", "", *_scores(chosen), ""]
    return lines


def _any_results(findings: RhythmFindings) -> list[ClipResult]:
    return [result for results in findings.results.values() for result in results]


def _clips_with_both(findings: RhythmFindings) -> set[str]:
    """Scored clips on which both sound and movement were estimated."""
    if not {SOUND, MOVEMENT} <= findings.results.keys():
        return set()
    own = ({result.clip for result in findings.results[row]} for row in (SOUND, MOVEMENT))
    return set.intersection(*own)


def _scores(results: Mapping[str, Sequence[ClipResult]]) -> list[str]:
    titles = ["", *COLUMNS.values(), "certainty", "groups · clips", "F, mean over clips"]
    rows = []
    for row, own in results.items():
        if own:
            summary = summarise_row(own)
            cells = [
                cell_text(summary.cells[metric], ".0f" if metric.startswith("offset") else ".2f")
                for metric in COLUMNS
            ]
            rest = [number_text(summary.certainty), _count(summary)]
            rows.append([_bold(row), *cells, *rest, number_text(summary.over_clips)])
    return table(titles, rows)


def _lengths(findings: RhythmFindings) -> list[str]:
    titles = ["F · best level · tempo (clips)", *map(length_name, LENGTHS_S)]
    rows = [
        [_bold(row), *(_length_text(cells[length]) for length in LENGTHS_S)]
        for row, cells in findings.lengths.items()
    ]
    return _section("Clips of several lengths", titles, rows, LENGTHS_NOTE)


def _length_text(summary: RowSummary) -> str:
    if not summary.clips:
        return DASH
    f, level, tempo = (summary.cells[metric] for metric in ("f", "f_any_level", "tempo"))
    rest = f"{number_text(level.mean)} · {number_text(tempo.mean)} ({summary.clips})"
    return f"{cell_text(f)} · {rest}"


def _styles(findings: RhythmFindings) -> list[str]:
    metrics = ("f", "f_any_level", "tempo", "tempo_octave")
    rows = []
    for row in _estimators(findings):
        for style, results in by_style(findings.results[row]).items():
            summary = summarise_row(results)
            cells = [_group_text(summary.cells[metric]) for metric in metrics]
            rows.append([style or DASH, row, *cells, _count(summary)])
    titles = ["style", "", *(COLUMNS[metric] for metric in metrics), "groups · clips"]
    return _section("By style", titles, rows)


def _calibration(findings: RhythmFindings) -> list[str]:
    found = {row: calibrate(findings.results[row]) for row in _estimators(findings)}
    curves = {_bold(row): each.curve for row, each in found.items() if each is not None}
    if not curves:
        return []
    return [
        "## Whether certainty can be believed",
        "",
        f"Clips in order of certainty, in {max(map(len, curves.values()))} parts: "
        f"mean certainty → share with F ≥ {RIGHT_F:g}.",
        "",
        *calibration_table("", curves),
        "",
        *(f"- {row}: {text}." for row, text in _certainty_texts(findings).items()),
        "",
    ]


def _refusals(findings: RhythmFindings) -> list[str]:
    rows = []
    for row in _estimators(findings):
        found = count_refusals(findings, row)
        if found is not None:
            shares = [number_text(found.refused), number_text(found.beatless_sure)]
            scored = [str(found.scored), number_text(found.scored_refused)]
            rows.append([_bold(row), str(found.beatless), *shares, *scored])
    titles = [
        "",
        "clips without a pulse",
        f"of these refused (certainty < {FAIR:g})",
        f"of these sure (≥ {SURE:g})",
        "clips with a reference",
        "of these refused",
    ]
    return _section("Music without a pulse", titles, rows)


def _beatless(findings: RhythmFindings) -> list[str]:
    titles = ["synthesised", "sounds", f"called sure (≥ {SURE:g})", "highest certainty"]
    rows = [
        [sound.kind, str(sound.sounds), str(sound.sure), f"{sound.highest_certainty:.2f}"]
        for sound in findings.beatless
    ]
    note = "Asked of the tracker of sound. None may be called sure."
    return _section("Sounds without a beat", titles, rows, note)


def _speed(findings: RhythmFindings) -> list[str]:
    rows = [[row, f"{seconds:.2f}"] for row, seconds in findings.seconds_per_minute.items()]
    note = "One thread; reading files, and poses from pictures, is not included."
    return _section("Computing", ["", "processor seconds a minute of input"], rows, note)


def _clips(findings: RhythmFindings) -> list[str]:
    estimators = _estimators(findings)
    by_clip = {row: {result.clip: result for result in findings.results[row]} for row in estimators}
    rows = []
    for clip in findings.clips:
        if clip.scored:
            own = [_clip_text(by_clip[row].get(clip.name)) for row in estimators]
            facts = [clip.style, clip.group, f"{clip.duration_s:.1f}", number_text(clip.bpm, ".1f")]
            rows.append([clip.name, *facts, *own])
    return _section(
        "Clip by clip", ["clip", "style", "group", "s", "BPM", *estimators], rows, CLIPS_NOTE
    )


def _section(
    heading: str, titles: Sequence[str], rows: Sequence[Sequence[str]], note: str = ""
) -> list[str]:
    """A table under its heading, with a note below; nothing where it has no rows."""
    if not rows:
        return []
    return [f"## {heading}", "", *table(titles, rows), "", *([note, ""] if note else [])]


def _clip_text(result: ClipResult | None) -> str:
    if result is None:
        return DASH
    f, best_level = number_text(result.scores.f), number_text(result.scores.f_any_level)
    text = f"{f} / {best_level}, {number_text(result.bpm, '.1f')}"
    if not math.isnan(result.certainty):
        text += f", {result.certainty:.2f}"
    return f"{text}, {result.source}" if result.row == AUTO else text


def _estimators(findings: RhythmFindings) -> list[str]:
    return [row for row, own in findings.results.items() if row not in BASELINES and own]


def _group_text(cell: Cell) -> str:
    """The mean with its interval; of one group there is none."""
    return cell_text(cell) if cell.dances > 1 else number_text(cell.mean)


def _bold(row: str) -> str:
    return f"**{row}**" if row in (SOUND, MOVEMENT, AUTO) else row


def _count(summary: RowSummary) -> str:
    """Groups and clips; those with a tempo, since phase is not known of all."""
    return f"{summary.cells['tempo'].dances} · {summary.clips}"
