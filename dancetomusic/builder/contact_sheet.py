"""A page that shows the clips of a set at a glance: who dances, what sounds, why it is refused.

One file without scripts, fonts or pictures from elsewhere; every text that came with a source is
escaped, and only ``http`` and ``https`` become links.
"""

from __future__ import annotations

import heapq
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TextIO, TypeVar
from urllib.parse import urlsplit

import numpy as np
import soundfile
from jaxtyping import Float, Float32

from dancetomusic.builder.quality import GateThresholds
from dancetomusic.data.clip import (
    ACCEPTED,
    BEATS_FILE,
    FAILED,
    MIX_FILE,
    POSES_FILE,
    REFUSED,
    STEM_FILE,
    ClipRecord,
    clip_directories,
    clip_directory,
    read_record,
)
from dancetomusic.data.manifest import MANIFEST_FILE, open_manifest
from dancetomusic.errors import InputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.pose.files import load_poses
from dancetomusic.pose.landmarks import BONES, LANDMARK, LANDMARK_NAMES
from dancetomusic.pose.motion import joint_speeds
from dancetomusic.rhythm.files import load_beats
from dancetomusic.types import PoseSequence, RhythmTrack

T = TypeVar("T")

SHEET_FILE = "inspect.html"

N_MOMENTS = 6
"""Skeletons shown of each clip."""

NEAR = 0.03
"""A value this close to its limit, as a share of the scale it is shown on, is marked."""

SPEED_SCALE_M_S = 3.0
"""Speed at the top of the movement curve."""

_STATUSES = (ACCEPTED, REFUSED, FAILED)
_N_BINS = 24
_N_COLUMNS = 200  # of a waveform
_N_REASONS = 12
_WIDTH, _HEIGHT = 400, 56  # of a curve, in its own units


@dataclass(frozen=True)
class _Score:
    """A quality score: its field, what it is called, its scale, and its limits in the gate."""

    name: str
    label: str
    low: float
    high: float
    form: str
    least: str = ""
    most: str = ""

    def margin(self, value: float, gate: GateThresholds) -> float:
        """Distance to the nearest limit as a share of the scale; negative beyond it."""
        margins = [math.inf]
        if self.least:
            margins.append(value - getattr(gate, self.least))
        if self.most:
            margins.append(getattr(gate, self.most) - value)
        return min(margins) / (self.high - self.low)


_SCORES = (
    _Score("detected_share", "detected", 0.0, 1.0, "{:.0%}", least="min_detected_share"),
    _Score("mean_visibility", "visibility", 0.0, 1.0, "{:.2f}", least="min_mean_visibility"),
    _Score(
        "weakest_visibility", "weakest joint", 0.0, 1.0, "{:.2f}", least="min_weakest_visibility"
    ),
    _Score("glitch_share", "repaired", 0.0, 0.2, "{:.1%}", most="max_glitch_share"),
    _Score("n_swaps", "swaps, cuts", 0.0, 6.0, "{:.0f}", most="max_swaps"),
    _Score("motion_m_s", "motion m/s", 0.0, 6.0, "{:.2f}", "min_motion_m_s", "max_motion_m_s"),
    _Score("still_share", "still pictures", 0.0, 1.0, "{:.0%}", most="max_still_share"),
    _Score("loudness_dbfs", "loudness dBFS", -120.0, 0.0, "{:.1f}", least="min_loudness_dbfs"),
    _Score("speech_likeness", "speech", 0.0, 1.0, "{:.2f}", most="max_speech_likeness"),
)


@dataclass
class _Summary:
    """What is counted over all clips, however many are shown."""

    statuses: Counter[str] = field(default_factory=Counter)
    splits: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    bins: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    unreadable: int = 0

    def add(self, record: ClipRecord) -> None:
        self.statuses[record.status] += 1
        self.splits[record.split, record.status] += 1
        if record.status != ACCEPTED:
            self.reasons.update({_kind_of(reason) for reason in record.reason.split("; ")})
        for score in _SCORES:
            value = float(getattr(record.quality, score.name))
            share = (value - score.low) / (score.high - score.low)
            place = min(max(int(share * _N_BINS), 0), _N_BINS - 1)
            columns = self.bins.setdefault(score.name, {s: [0] * _N_BINS for s in _STATUSES})
            columns[record.status][place] += 1


def write_contact_sheet(
    root: Path | str,
    output: Path | str | None = None,
    *,
    limit: int = 500,
    thresholds: GateThresholds | None = None,
) -> Path:
    """Write a page about a set of clips; gives its path.

    The summary counts every clip. Shown are at most ``limit``: failed ones, refused ones,
    then accepted ones, nearest to a limit first; neither kind takes more than half of the
    places while the other needs them. The manifest says what is refused where there is one.
    Memory does not grow with the number of clips.

    Args:
        root: Directory of the set.
        output: The page; ``inspect.html`` in ``root`` by default.
        limit: Clips to show at most, from 1.
        thresholds: Limits at which numbers are marked; those of the gate by default.

    Raises:
        InputError: If there is no clip in ``root``, or its manifest is damaged.
        OutputError: If the page cannot be written.
    """
    folder = Path(root)
    gate = thresholds or GateThresholds()
    if limit < 1:
        raise InputError(f"{limit} clips are to be shown", "Show at least 1.")
    summary = _Summary()

    def counted() -> Iterator[ClipRecord]:
        for record in _records(folder, summary):
            summary.add(record)
            yield record

    shown = _choose(counted(), limit, gate)
    if not shown and not summary.unreadable:
        raise InputError(f"{folder} has no clips", "Name the output folder of a build.")
    path = folder / SHEET_FILE if output is None else Path(output)
    with atomic_output(path) as temporary, temporary.open("w", encoding="utf-8") as page:
        page.write(_HEAD)
        _write_summary(page, folder, summary, len(shown), gate)
        page.write('<main id="clips" aria-label="Clips">\n')
        for record in shown:
            page.write(_card(clip_directory(folder, record.key), record, gate))
        page.write("</main>\n</body>\n</html>\n")
    return path


def _records(folder: Path, summary: _Summary) -> Iterator[ClipRecord]:
    if (folder / MANIFEST_FILE).is_file():
        yield from open_manifest(folder).records()
        return
    for directory in clip_directories(folder):
        try:
            yield read_record(directory)
        except InputError:
            summary.unreadable += 1


def _choose(records: Iterable[ClipRecord], limit: int, gate: GateThresholds) -> list[ClipRecord]:
    """Those to show, in order; holds ``limit`` of each kind at most."""
    bad: list[tuple[_Backwards, ClipRecord]] = []
    good: list[tuple[_Backwards, ClipRecord]] = []
    for record in records:
        rank = _Backwards(_rank(record, gate))
        heap = good if record.status == ACCEPTED else bad
        if len(heap) < limit:
            heapq.heappush(heap, (rank, record))
        elif heap[0][0] < rank:
            heapq.heapreplace(heap, (rank, record))
    n_bad = min(len(bad), max(limit // 2, limit - len(good)))
    chosen = []
    for heap, n in ((bad, n_bad), (good, limit - n_bad)):
        chosen += [record for _, record in sorted(heap, key=lambda item: item[0].value)[:n]]
    return chosen


@dataclass(frozen=True)
class _Backwards:
    """A rank of which the last to show is the least."""

    value: tuple[int, float, str]

    def __lt__(self, other: _Backwards) -> bool:
        return self.value > other.value


def _rank(record: ClipRecord, gate: GateThresholds) -> tuple[int, float, str]:
    order = {FAILED: 0, REFUSED: 1}.get(record.status, 2)
    return order, min(_margins(record, gate)) if order == 2 else 0.0, record.key


def _margins(record: ClipRecord, gate: GateThresholds) -> list[float]:
    found = []
    for score in _SCORES:
        value = getattr(record.quality, score.name)
        margin = score.margin(float(value), gate)
        whole = isinstance(value, int) and margin >= 0  # a count at its limit is not near it
        found.append(math.inf if whole else margin)
    return found


def _kind_of(reason: str) -> str:
    """A reason without its numbers and names, so that equal ones count together."""
    words = reason.split(",")[0].split()
    return " ".join(w for w in words if not any(c.isdigit() for c in w))[:60] or "unknown"


def _write_summary(
    page: TextIO, folder: Path, summary: _Summary, n_shown: int, gate: GateThresholds
) -> None:
    total = sum(summary.statuses.values())
    page.write(f"<header>\n<h1>Clips of {_text(folder.name or 'the set')}</h1>\n")
    page.write(f"<p>{total:,} clips, {n_shown:,} shown below")
    if summary.unreadable:
        page.write(f"; {summary.unreadable:,} records cannot be read")
    page.write('.</p>\n<div class="tables">\n')
    splits = sorted({split for split, _ in summary.splits})
    rows = [(split, *(summary.splits[split, status] for status in _STATUSES)) for split in splits]
    rows.append(("all", *(summary.statuses[status] for status in _STATUSES)))
    page.write(_table("Clips by split", ("split", *_STATUSES), rows))
    reasons = summary.reasons.most_common()
    reasons.sort(key=lambda item: (-item[1], item[0]))
    if reasons:
        page.write(_table("Reasons", ("reason", "clips"), reasons[:_N_REASONS]))
    page.write("</div>\n")
    if total:
        page.write('<details open>\n<summary>Quality scores</summary>\n<div class="histograms">\n')
        for score in _SCORES:
            page.write(_histogram(score, summary.bins[score.name], gate))
        page.write("</div>\n</details>\n")
    page.write('<fieldset class="filter">\n<legend>Show</legend>\n')
    for name in ("all", *_STATUSES):
        checked = " checked" if name == "all" else ""
        count = total if name == "all" else summary.statuses[name]
        page.write(
            f'<label><input type="radio" name="show" id="show-{name}"{checked}> {name} '
            f"<span>{count:,}</span></label>\n"
        )
    page.write("</fieldset>\n</header>\n")


def _table(caption: str, head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [f"<table><caption>{caption}</caption><thead><tr>"]
    lines += [f'<th scope="col">{_text(name)}</th>' for name in head]
    lines.append("</tr></thead><tbody>")
    for first, *others in rows:
        cells = "".join(f"<td>{value:,}</td>" for value in others)
        lines.append(f'<tr><th scope="row">{_text(first)}</th>{cells}</tr>')
    return "".join([*lines, "</tbody></table>\n"])


def _histogram(score: _Score, columns: dict[str, list[int]], gate: GateThresholds) -> str:
    """Stacked bars by status, the limits as lines; heights go by the root of the count."""
    highest = max(map(sum, zip(*columns.values(), strict=True))) or 1
    width, height = 192, 48
    bars = []
    for place in range(_N_BINS):
        total = sum(columns[status][place] for status in _STATUSES)
        full = height * math.sqrt(total / highest)
        top = float(height)
        for status in _STATUSES:
            part = full * columns[status][place] / total if total else 0.0
            top -= part
            if part:
                x = place * width / _N_BINS
                bars.append(
                    f'<rect class="{status}" x="{x:.0f}" y="{top:.1f}" width="7" '
                    f'height="{part:.1f}"/>'
                )
    for limit in filter(None, (score.least, score.most)):
        x = width * (getattr(gate, limit) - score.low) / (score.high - score.low)
        bars.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height}"/>')
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="Distribution of {score.label}">{"".join(bars)}</svg>'
        f"<figcaption><span>{score.form.format(score.low)}</span> {score.label} "
        f"<span>{score.form.format(score.high)}</span></figcaption></figure>\n"
    )


def _card(directory: Path, record: ClipRecord, gate: GateThresholds) -> str:
    poses = _try(lambda: load_poses(directory / POSES_FILE, record.fps))
    duration_s = record.end_s - record.start_s
    if poses is not None:
        duration_s = poses.duration_s
    beats = _try(lambda: load_beats(directory / BEATS_FILE, duration_s))
    status, key = _text(record.status), _text(record.key)
    parts = [
        f'<article class="clip {status}" aria-labelledby="k{key}">\n<div class="title">'
        f'<h2 id="k{key}"><span class="badge">{status}</span> <code>{key}</code></h2>'
        f"<p><bdi>{_source(record.source)}</bdi> "
        f'<span class="time">{record.start_s:.2f}–{record.end_s:.2f} s</span></p></div>\n'
    ]
    if record.reason:
        parts.append(f'<p class="reason">{_text(record.reason)}</p>\n')
    parts.append(_skeletons(poses))
    parts.append(_movement(poses))
    for name, file in (("mix", MIX_FILE), ("stem", STEM_FILE)):
        parts.append(_sound(name, directory / file, beats if name == "stem" else None))
    parts.append('<dl class="scores">')
    for score, margin in zip(_SCORES, _margins(record, gate), strict=True):
        value = getattr(record.quality, score.name)
        mark, word = ("bad", " beyond its limit") if margin < 0 else ("near", " near its limit")
        note = f'<span class="hidden">{word}</span>' if margin < NEAR else ""
        parts.append(
            f'<div class="{mark if margin < NEAR else "fine"}"><dt>{score.label}</dt>'
            f"<dd>{score.form.format(value)}{note}</dd></div>"
        )
    parts.append("</dl>\n")
    tempo = "–" if math.isnan(record.bpm) else f"{record.bpm:.1f} BPM, {record.beats_per_bar}/bar"
    facts = {
        "split": record.split,
        "tempo": f"{tempo} ({record.beats_from})" if tempo != "–" else tempo,
        "separator": f"{record.separator} {record.separator_version}".strip() or "–",
        "codec": record.codec or "–",
        "licence": record.licence or "–",
    }
    shown = "".join(f"<div><dt>{k}</dt><dd>{_text(v)}</dd></div>" for k, v in facts.items())
    parts.append(f'<dl class="facts">{shown}</dl>\n</article>\n')
    return "".join(parts)


def _skeletons(poses: PoseSequence | None) -> str:
    """The body at moments spread over the clip: left orange, right blue, unseen joints faint."""
    if poses is None:
        return '<p class="none">no usable poses</p>\n'
    frames = np.linspace(0, len(poses) - 1, N_MOMENTS).round().astype(int)
    corners = poses.world[poses.present][:, :, :2]
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    scale = 92.0 / max(float((high - low)[1]), float((high - low)[0]) / 0.75, 0.2)
    middle = (low + high) / 2
    drawn = []
    for place, frame in enumerate(frames):
        points = (poses.world[frame, :, :2] - middle) * scale + (37.5 + 75 * place, 50)
        if poses.present[frame]:
            drawn.append(_bones(points, poses.visibility[frame]))
        else:
            drawn.append(f'<text x="{37.5 + 75 * place}" y="54">absent</text>')
    label = f"The dancer at {N_MOMENTS} moments"
    return (
        f'<svg class="skeletons" viewBox="0 0 {75 * N_MOMENTS} 100" role="img" '
        f'aria-label="{label}">{"".join(drawn)}</svg>\n'
    )


def _bones(points: Float[np.ndarray, "33 2"], visibility: Float32[np.ndarray, " 33"]) -> str:
    paths: dict[str, list[str]] = {}
    for a, b in _SHOWN_BONES:
        side = next((s for s in ("left", "right") if _on(a, s) and _on(b, s)), "middle")
        faint = " faint" if min(visibility[a], visibility[b]) < 0.5 else ""
        (x1, y1), (x2, y2) = points[a], points[b]
        paths.setdefault(side + faint, []).append(f"M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}")
    x, y = points[LANDMARK["nose"]]
    lines = [f'<path class="{kind}" d="{"".join(d)}"/>' for kind, d in sorted(paths.items())]
    return "".join([*lines, f'<circle cx="{x:.0f}" cy="{y:.0f}" r="4"/>'])


def _on(landmark: int, side: str) -> bool:
    return side in LANDMARK_NAMES[landmark]


_HANDS = ("pinky", "index", "thumb")
_SHOWN_BONES = tuple(
    (a, b)
    for a, b in BONES
    if min(a, b) >= LANDMARK["left_shoulder"]
    and not any(
        LANDMARK_NAMES[k].endswith(_HANDS) and "foot" not in LANDMARK_NAMES[k] for k in (a, b)
    )
)


def _movement(poses: PoseSequence | None) -> str:
    if poses is None:
        return ""
    speeds = np.clip(joint_speeds(poses) / SPEED_SCALE_M_S, 0.0, 1.0)
    x = (np.arange(speeds.size) + 0.5) / max(1, speeds.size) * _WIDTH
    path, pen = [], "M"
    for place, speed in zip(x, speeds, strict=True):
        if math.isnan(speed):
            pen = "M"
        else:
            path.append(f"{pen}{place:.0f} {(1 - speed) * (_HEIGHT - 2) + 1:.0f}")
            pen = "L"
    label = f"Speed of the joints, 0 to {SPEED_SCALE_M_S:g} metres a second"
    return _curve("motion", label, f'<path class="speed" d="{"".join(path)}"/>')


def _sound(name: str, file: Path, beats: RhythmTrack | None) -> str:
    """The outline of a sound on a scale of its own peak, with beats where they are known."""
    outline = _outline(file)
    if outline is None:
        return f'<p class="none">no {name}</p>\n'
    duration_s, peaks = outline
    loudest = max(float(peaks.max()), 1e-3)
    half = np.maximum(peaks / loudest * (_HEIGHT / 2 - 1), 0.4)
    x = (np.arange(peaks.size) + 0.5) / peaks.size * _WIDTH
    d = "".join(f"M{a:.0f} {_HEIGHT / 2 - h:.1f}v{2 * h:.1f}" for a, h in zip(x, half, strict=True))
    lines = []
    if beats is not None:
        for time, number in zip(beats.beat_times, beats.beat_numbers, strict=True):
            if time <= duration_s:
                place = time / duration_s * _WIDTH
                kind = "bar" if number == 1 else "beat"
                lines.append(
                    f'<line class="{kind}" x1="{place:.1f}" x2="{place:.1f}" y1="0" '
                    f'y2="{_HEIGHT}"/>'
                )
    label = f"Outline of the {name}" + (", with beats and bars" if lines else "")
    return _curve(name, label, f'<path class="wave" d="{d}"/>{"".join(lines)}')


def _outline(file: Path) -> tuple[float, Float32[np.ndarray, " columns"]] | None:
    try:
        with soundfile.SoundFile(os.fsencode(file)) as sound:
            if not sound.frames:
                return None
            size = -(-sound.frames // _N_COLUMNS)
            peaks = [float(np.abs(block).max()) for block in sound.blocks(size, dtype="float32")]
            return sound.frames / sound.samplerate, np.array(peaks, np.float32)
    except (OSError, soundfile.LibsndfileError):
        return None


def _curve(name: str, label: str, content: str) -> str:
    return (
        f'<div class="curve"><span>{name}</span><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'preserveAspectRatio="none" role="img" aria-label="{label}">{content}</svg></div>\n'
    )


def _try(read: Callable[[], T]) -> T | None:
    """What is missing or damaged is shown as absent."""
    try:
        return read()
    except InputError:
        return None


def _source(source: str) -> str:
    try:
        parts = urlsplit(source)
        linked = parts.scheme in ("http", "https") and bool(parts.netloc)
    except ValueError:
        linked = False
    if not linked:
        return _text(source)
    return f'<a href="{_text(source)}" rel="noopener noreferrer">{_text(source)}</a>'


def _text(value: object) -> str:
    """Escaped for content and attributes; control and direction characters are shown as such."""
    return escape(
        "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))
    )


_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Clips</title>
<style>
:root { color-scheme: light dark; --paper: #f5f5f2; --card: #fff; --ink: #1d1d1f; --soft: #5c5c63;
  --rule: #d9d9d4; --accepted: #1a7f4b; --refused: #b3261e; --failed: #6d3fb3; --near: #8a5a00;
  --near-fill: #fff1cf; --bad-fill: #fde3e1; --left: #cf5a08; --right: #0873b0; --wave: #5f6f86;
  --beat: #c9c9c4; }
@media (prefers-color-scheme: dark) { :root { --paper: #141416; --card: #1f1f23; --ink: #ececf0;
  --soft: #a5a5ae; --rule: #38383e; --accepted: #5fd39a; --refused: #ff8a80; --failed: #c5a3ff;
  --near: #ffd27a; --near-fill: #3b2f14; --bad-fill: #43201e; --left: #ff9a52; --right: #58c1f5;
  --wave: #93a5bf; --beat: #4d4d55; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
header, main { max-width: 1400px; margin: 0 auto; }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }
header p { margin: .2rem 0 1rem; color: var(--soft); }
.tables { display: flex; flex-wrap: wrap; align-items: start; gap: 1rem 2.5rem;
  margin-bottom: 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .2rem; }
th { font-weight: 400; text-align: left; }
thead th { color: var(--soft); }
td, thead th:not(:first-child) { text-align: right; }
th, td { padding: .15rem 1rem .15rem 0; border-bottom: 1px solid var(--rule); }
summary { font-weight: 600; cursor: pointer; }
.histograms { display: grid; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr));
  gap: 1rem 1.5rem; padding: .6rem 0; }
figure { margin: 0; }
figure svg { display: block; width: 100%; height: 48px; border-bottom: 1px solid var(--soft); }
figcaption { display: flex; justify-content: space-between; font-size: .8rem; }
figcaption span { color: var(--soft); }
rect.accepted { fill: var(--accepted); } rect.refused { fill: var(--refused); }
rect.failed { fill: var(--failed); }
.limit { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 3 2; }
.filter { border: 0; margin: .5rem 0 0; padding: .6rem 0; display: flex; flex-wrap: wrap;
  gap: .4rem 1.2rem; }
.filter legend { float: left; font-weight: 600; margin-right: 1rem; padding: 0; }
.filter span { color: var(--soft); font-variant-numeric: tabular-nums; }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px),
  1fr)); align-items: start; }
.clip { background: var(--card); border: 1px solid var(--rule); border-top: 4px solid
  var(--status); border-radius: 8px; padding: .7rem .8rem; min-width: 0; }
.accepted { --status: var(--accepted); } .refused { --status: var(--refused); }
.failed { --status: var(--failed); }
body:has(#show-accepted:checked) .clip:not(.accepted), body:has(#show-refused:checked)
  .clip:not(.refused), body:has(#show-failed:checked) .clip:not(.failed) { display: none; }
h2 { font-size: .85rem; font-weight: 400; margin: 0; color: var(--soft); }
.badge { color: var(--status); font-weight: 700; margin-right: .4rem; }
.title p { margin: .1rem 0 .3rem; overflow-wrap: anywhere; }
.time { color: var(--soft); white-space: nowrap; }
a { color: var(--right); }
.reason { margin: .3rem 0; padding: .35rem .5rem; background: var(--bad-fill); border-radius: 5px;
  overflow-wrap: anywhere; font-size: .9rem; }
.none { margin: .3rem 0; color: var(--soft); font-style: italic; font-size: .85rem; }
.skeletons { display: block; width: 100%; margin: .3rem 0; }
.skeletons path { fill: none; stroke-width: 2.4; stroke-linecap: round; }
.left { stroke: var(--left); } .right { stroke: var(--right); } .middle { stroke: var(--ink); }
.faint { stroke-dasharray: 1 4; }
.skeletons circle { fill: var(--ink); }
.skeletons text { fill: var(--soft); font-size: 13px; text-anchor: middle; }
.curve { display: grid; grid-template-columns: 3.2rem 1fr; align-items: center; margin: .15rem 0; }
.curve span { font-size: .75rem; color: var(--soft); }
.curve svg { width: 100%; height: 40px; display: block; }
.speed { fill: none; stroke: var(--ink); stroke-width: 1.4; vector-effect: non-scaling-stroke; }
.wave { stroke: var(--wave); stroke-width: 1.6; }
.beat, .bar { stroke: var(--left); stroke-width: 1; vector-effect: non-scaling-stroke;
  opacity: .7; }
.bar { stroke-width: 2.5; opacity: 1; }
dl { margin: .4rem 0 0; font-size: .8rem; }
dt { color: var(--soft); } dd { margin: 0; font-variant-numeric: tabular-nums; }
.scores { display: grid; grid-template-columns: repeat(3, 1fr); gap: .2rem; }
.scores div { padding: .1rem .4rem; border-radius: 4px; border-left: 3px solid transparent; }
.scores dd { font-weight: 600; }
.scores .near { background: var(--near-fill); border-color: var(--near); }
.scores .bad { background: var(--bad-fill); border-color: var(--refused); }
.facts { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; border-top: 1px solid var(--rule);
  padding-top: .35rem; }
.facts div { display: flex; gap: .35rem; min-width: 0; } .facts dd { overflow-wrap: anywhere; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
:focus-visible { outline: 3px solid var(--right); outline-offset: 2px; }
</style>
</head>
<body>
"""
