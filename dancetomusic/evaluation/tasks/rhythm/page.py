"""The report on rhythm as one page of Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dancetomusic.evaluation.tasks.music.page import cell_text, table_head
from dancetomusic.evaluation.tasks.music.summary import Cell
from dancetomusic.evaluation.tasks.rhythm.estimators import (
    AUTO,
    BASELINES,
    METRONOME,
    MOVEMENT,
    SOUND,
    TRUE_TEMPO,
)
from dancetomusic.evaluation.tasks.rhythm.task import (
    LENGTHS_S,
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
which four in five matched beats have the annotated place in the bar. Means over groups with 95 %
bootstrap intervals over groups; random phases are means over ten draws."""

LENGTHS_NOTE = "Stretches side by side, cut before beats are estimated."
CLIPS_NOTE = "F / F at the best level, BPM, certainty where it is stated, source where it varies."


def render_rhythm_page(findings: RhythmFindings, facts: Mapping[str, str]) -> str:
    """The whole report.

    Args:
        findings: Its content.
        facts: Lines of its head: what was measured on what.
    """
    parts = [f"# {TITLE}", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
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
            share = "–" if not calibration.sure else f"{100 * calibration.sure_right:.0f} %"
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
    titles = [*COLUMNS.values(), "certainty", "groups · clips", "F, mean over clips"]
    lines = table_head("", titles)
    for row, own in results.items():
        if own:
            lines.append(_score_line(_bold(row), summarise_row(own)))
    return lines


def _score_line(name: str, summary: RowSummary) -> str:
    digits = {"offset_ms": 0, "offset_abs_ms": 0}
    cells = [cell_text(summary.cells[metric], digits.get(metric, 2)) for metric in COLUMNS]
    texts = [*cells, _number(summary.certainty), _count(summary), _number(summary.over_clips)]
    return f"| {name} | {' | '.join(texts)} |"


def _lengths(findings: RhythmFindings) -> list[str]:
    if not findings.lengths:
        return []
    titles = ["whole" if length is None else f"{length:.0f} s" for length in LENGTHS_S]
    lines = [
        "## Clips of several lengths",
        "",
        *table_head("F · best level · tempo (clips)", titles),
    ]
    for row, cells in findings.lengths.items():
        texts = [_length_text(cells[length]) for length in LENGTHS_S]
        lines.append(f"| {_bold(row)} | {' | '.join(texts)} |")
    return [*lines, "", LENGTHS_NOTE, ""]


def _length_text(summary: RowSummary) -> str:
    if not summary.clips:
        return "–"
    f, level, tempo = (summary.cells[metric] for metric in ("f", "f_any_level", "tempo"))
    return f"{cell_text(f)} · {_number(level.mean)} · {_number(tempo.mean)} ({summary.clips})"


def _styles(findings: RhythmFindings) -> list[str]:
    lines: list[str] = []
    for row in _estimators(findings):
        styles = by_style(findings.results[row])
        for style, results in styles.items():
            if not lines:
                titles = ["", "F", "F, best level", "tempo 4 %", "tempo, octaves", "groups · clips"]
                lines = ["## By style", "", *table_head("style", titles)]
            summary = summarise_row(results)
            metrics = ("f", "f_any_level", "tempo", "tempo_octave")
            cells = [_group_text(summary.cells[metric]) for metric in metrics]
            lines.append(f"| {style or '–'} | {row} | {' | '.join(cells)} | {_count(summary)} |")
    return [*lines, ""] if lines else []


def _calibration(findings: RhythmFindings) -> list[str]:
    found = {row: calibrate(findings.results[row]) for row in _estimators(findings)}
    curves = {row: calibration for row, calibration in found.items() if calibration is not None}
    if not curves:
        return []
    parts = max(len(calibration.curve) for calibration in curves.values())
    titles = [*(str(k + 1) for k in range(parts)), "mean error"]
    lines = ["## Whether certainty can be believed", ""]
    lines += [
        f"Clips in order of certainty, in {parts} parts: "
        f"mean certainty → share with F ≥ {RIGHT_F:g}.",
        "",
        *table_head("", titles),
    ]
    for row, calibration in curves.items():
        texts = [f"{part.confidence:.2f} → {part.right:.2f}" for part in calibration.curve]
        texts += ["–"] * (parts - len(texts))
        lines.append(f"| {_bold(row)} | {' | '.join(texts)} | {calibration.error:.2f} |")
    lines.append("")
    lines += [f"- {row}: {text}." for row, text in _certainty_texts(findings).items()]
    return [*lines, ""]


def _refusals(findings: RhythmFindings) -> list[str]:
    found = {row: count_refusals(findings, row) for row in _estimators(findings)}
    lines = []
    for row, refusals in found.items():
        if refusals is not None:
            texts = [
                str(refusals.beatless),
                _number(refusals.refused),
                _number(refusals.beatless_sure),
                str(refusals.scored),
                _number(refusals.scored_refused),
            ]
            lines.append(f"| {_bold(row)} | {' | '.join(texts)} |")
    if not lines:
        return []
    titles = [
        "clips without a pulse",
        f"of these refused (certainty < {FAIR:g})",
        f"of these sure (≥ {SURE:g})",
        "clips with a reference",
        "of these refused",
    ]
    return ["## Music without a pulse", "", *table_head("", titles), *lines, ""]


def _beatless(findings: RhythmFindings) -> list[str]:
    if not findings.beatless:
        return []
    lines = ["## Sounds without a beat", ""]
    lines += table_head("synthesised", ["sounds", f"called sure (≥ {SURE:g})", "highest certainty"])
    lines += [
        f"| {sound.kind} | {sound.sounds} | {sound.sure} | {sound.highest_certainty:.2f} |"
        for sound in findings.beatless
    ]
    return [*lines, "", "Asked of the tracker of sound. None may be called sure.", ""]


def _speed(findings: RhythmFindings) -> list[str]:
    if not findings.seconds_per_minute:
        return []
    lines = ["## Computing", "", *table_head("", ["processor seconds a minute of input"])]
    lines += [f"| {row} | {seconds:.2f} |" for row, seconds in findings.seconds_per_minute.items()]
    remark = "One thread; reading files, and poses from pictures, is not included."
    return [*lines, "", remark, ""]


def _clips(findings: RhythmFindings) -> list[str]:
    rows = _estimators(findings)
    by_clip = {row: {result.clip: result for result in findings.results[row]} for row in rows}
    titles = ["style", "group", "s", "BPM", *rows]
    lines = ["## Clip by clip", "", *table_head("clip", titles)]
    for clip in findings.clips:
        if clip.scored:
            own = [_clip_text(by_clip[row].get(clip.name)) for row in rows]
            facts = [clip.style, clip.group, f"{clip.duration_s:.1f}", _number(clip.bpm, 1)]
            lines.append(f"| {clip.name} | {' | '.join([*facts, *own])} |")
    return [*lines, "", CLIPS_NOTE, ""]


def _clip_text(result: ClipResult | None) -> str:
    if result is None:
        return "–"
    scores = result.scores
    text = f"{_number(scores.f)} / {_number(scores.f_any_level)}, {_number(result.bpm, 1)}"
    if not math.isnan(result.certainty):
        text += f", {result.certainty:.2f}"
    return f"{text}, {result.source}" if result.row == AUTO else text


def _estimators(findings: RhythmFindings) -> list[str]:
    return [row for row, own in findings.results.items() if row not in BASELINES and own]


def _group_text(cell: Cell) -> str:
    """The mean with its interval; of one group there is none."""
    return cell_text(cell) if cell.dances > 1 else _number(cell.mean)


def _bold(row: str) -> str:
    return f"**{row}**" if row in (SOUND, MOVEMENT, AUTO) else row


def _count(summary: RowSummary) -> str:
    """Groups and clips; those with a tempo, since phase is not known of all."""
    return f"{summary.cells['tempo'].dances} · {summary.clips}"


def _number(value: float, digits: int = 2) -> str:
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
