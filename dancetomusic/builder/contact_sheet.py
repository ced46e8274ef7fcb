"""A page that shows the clips of a set at a glance: who dances, what sounds, why it is refused.

One file without scripts, fonts or pictures from elsewhere, made from
``templates/contact_sheet.html``; every text that came with a source is escaped, and only ``http``
and ``https`` become links.
"""

from __future__ import annotations

import base64
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import soundfile
from jaxtyping import Float, Float32
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from dancetomusic.builder.quality import GateThresholds
from dancetomusic.data.clip import (
    ACCEPTED,
    BEATS_FILE,
    FAILED,
    MIX_FILE,
    PICTURES_FILE,
    POSES_FILE,
    REFUSED,
    STEM_FILE,
    ClipRecord,
    clip_directories,
    clip_directory,
    read_record,
    shown_moments,
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

NEAR = 0.03
"""A value this close to its limit, as a share of the scale it is shown on, is marked."""

SPEED_SCALE_M_S = 3.0
"""Speed at the top of the movement curve."""

_STATUSES = (ACCEPTED, REFUSED, FAILED)
_N_BINS = 24
_N_COLUMNS = 200  # of a waveform
_N_REASONS = 12
_WIDTH, _HEIGHT = 400, 56  # of a curve, in its own units
_HISTOGRAM = 192, 48


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
    _Score("framed_share", "framed", 0.0, 1.0, "{:.0%}", least="min_framed_share"),
    _Score("glitch_share", "repaired", 0.0, 0.2, "{:.1%}", most="max_glitch_share"),
    _Score("n_swaps", "swaps, cuts", 0.0, 6.0, "{:.0f}", most="max_swaps"),
    _Score("motion_m_s", "motion m/s", 0.0, 6.0, "{:.2f}", most="max_motion_m_s"),
    _Score("range_m", "limbs' range m", 0.0, 2.0, "{:.2f}", least="min_range_m"),
    _Score("still_share", "still pictures", 0.0, 1.0, "{:.0%}", most="max_still_share"),
    _Score("loudness_dbfs", "loudness dBFS", -120.0, 0.0, "{:.1f}", least="min_loudness_dbfs"),
    _Score("beat_certainty", "beats certain", 0.0, 1.0, "{:.2f}", least="min_beat_certainty"),
    _Score("beat_agreement", "beats confirmed", 0.0, 1.0, "{:.2f}", least="min_beat_agreement"),
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
            column = min(max(int(share * _N_BINS), 0), _N_BINS - 1)
            columns = self.bins.setdefault(score.name, {s: [0] * _N_BINS for s in _STATUSES})
            columns[record.status][column] += 1


def write_contact_sheet(
    root: Path | str,
    output: Path | str | None = None,
    *,
    limit: int = 500,
) -> Path:
    """Write a page about a set of clips; gives its path.

    The summary counts every clip. Shown are at most ``limit``: failed ones, refused ones,
    then accepted ones, nearest to a limit first; neither kind takes more than half of the
    places while the other needs them. The manifest says what is refused where there is one.
    Memory does not grow with the number of clips.

    The page is ``inspect.html`` in ``root`` by default. Numbers beyond the limits of the gate are
    marked.

    Raises:
        InputError: If there is no clip in ``root``, or its manifest is damaged.
        OutputError: If the page cannot be written.
    """
    folder = Path(root)
    gate = GateThresholds()
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
    page = _template().stream(
        name=folder.name or "the set",
        n_shown=len(shown),
        cards=(_card(clip_directory(folder, record.key), record, gate) for record in shown),
        curve_size=(_WIDTH, _HEIGHT),
        histogram_size=_HISTOGRAM,
        **_totals(summary, gate),
    )
    with atomic_output(path) as temporary, temporary.open("wb") as file:
        page.dump(file, encoding="utf-8")
    return path


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("dancetomusic.builder"),
        autoescape=True,
        finalize=_printable,
        keep_trailing_newline=True,
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["count"] = "{:,}".format
    return environment.get_template("contact_sheet.html")


def _printable(value: object) -> object:
    """Text with its control and direction characters shown as such."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)


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
    """Those to show, in order; holds twice ``limit`` of each kind at most."""

    def rank(record: ClipRecord) -> tuple[int, float, str]:
        order = {FAILED: 0, REFUSED: 1}.get(record.status, 2)
        return order, min(_margins(record, gate)) if order == 2 else 0.0, record.key

    good: list[ClipRecord] = []
    bad: list[ClipRecord] = []
    for record in records:
        kept = good if record.status == ACCEPTED else bad
        kept.append(record)
        if len(kept) == 2 * limit:
            kept[:] = sorted(kept, key=rank)[:limit]
    n_bad = min(len(bad), max(limit // 2, limit - len(good)))
    return sorted(bad, key=rank)[:n_bad] + sorted(good, key=rank)[: limit - n_bad]


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


def _totals(summary: _Summary, gate: GateThresholds) -> dict[str, Any]:
    """What the page says of all clips together."""
    total = sum(summary.statuses.values())
    splits = sorted({split for split, _ in summary.splits})
    rows = [(split, *(summary.splits[split, status] for status in _STATUSES)) for split in splits]
    rows.append(("all", *(summary.statuses[status] for status in _STATUSES)))
    reasons = sorted(summary.reasons.items(), key=lambda item: (-item[1], item[0]))
    return {
        "total": total,
        "unreadable": summary.unreadable,
        "filters": {"all": total} | {status: summary.statuses[status] for status in _STATUSES},
        "tables": [
            ("Clips by split", ("split", *_STATUSES), rows),
            ("Reasons", ("reason", "clips"), reasons[:_N_REASONS]),
        ],
        "histograms": [
            (score, _bars(summary.bins[score.name]), _limits(score, gate))
            for score in (_SCORES if total else ())
        ],
    }


def _bars(columns: dict[str, list[int]]) -> list[dict[str, Any]]:
    """Bars stacked by status; heights go by the root of the count."""
    highest = max(map(sum, zip(*columns.values(), strict=True))) or 1
    width, height = _HISTOGRAM
    bars = []
    for column in range(_N_BINS):
        total = sum(columns[status][column] for status in _STATUSES)
        full = height * math.sqrt(total / highest)
        top = float(height)
        for status in _STATUSES:
            part = full * columns[status][column] / total if total else 0.0
            top -= part
            if part:
                x = column * width / _N_BINS
                bars.append({"status": status, "x": x, "y": top, "height": part})
    return bars


def _limits(score: _Score, gate: GateThresholds) -> list[float]:
    """Where the limits of a score stand in its histogram."""
    return [
        _HISTOGRAM[0] * (getattr(gate, limit) - score.low) / (score.high - score.low)
        for limit in (score.least, score.most)
        if limit
    ]


def _card(directory: Path, record: ClipRecord, gate: GateThresholds) -> dict[str, Any]:
    """What the page says of one clip."""
    poses = _try(lambda: load_poses(directory / POSES_FILE, record.fps))
    duration_s = record.end_s - record.start_s if poses is None else poses.duration_s
    beats = _try(lambda: load_beats(directory / BEATS_FILE, duration_s))
    curves = [] if poses is None else [_movement(poses)]
    curves += [_sound("mix", directory / MIX_FILE), _sound("stem", directory / STEM_FILE, beats)]
    scores = []
    for score, margin in zip(_SCORES, _margins(record, gate), strict=True):
        mark = "bad" if margin < 0 else "near" if margin < NEAR else "fine"
        scores.append((score.label, score.form.format(getattr(record.quality, score.name)), mark))
    return {
        "record": record,
        "linked": _is_address(record.source),
        "pictures": _data_url(directory / PICTURES_FILE),
        "moments": [] if poses is None else _skeletons(poses),
        "curves": curves,
        "scores": scores,
        "facts": {
            "split": record.split,
            "tempo": ""
            if math.isnan(record.bpm)
            else f"{record.bpm:.1f} BPM, {record.beats_per_bar}/bar ({record.beats_from})",
            "separator": f"{record.separator} {record.separator_version}".strip(),
            "codec": record.codec,
            "licence": record.licence,
        },
    }


def _data_url(file: Path) -> str | None:
    try:
        return "data:image/jpeg;base64," + base64.b64encode(file.read_bytes()).decode("ascii")
    except OSError:
        return None


def _skeletons(poses: PoseSequence) -> list[dict[str, Any] | None]:
    """The body at moments spread over the clip; ``None`` where it is absent."""
    corners = poses.world[poses.present][:, :, :2]
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    scale = 92.0 / max(float((high - low)[1]), float((high - low)[0]) / 0.75, 0.2)
    middle = (low + high) / 2
    return [
        _skeleton(
            (poses.world[frame, :, :2] - middle) * scale + (37.5 + 75 * place, 50),
            poses.visibility[frame],
        )
        if poses.present[frame]
        else None
        for place, frame in enumerate(shown_moments(len(poses)))
    ]


def _skeleton(
    points: Float[np.ndarray, "33 2"], visibility: Float32[np.ndarray, " 33"]
) -> dict[str, Any]:
    """Bones as paths by what they are: left, right or middle, and faint where not visible."""
    paths: dict[str, str] = {}
    for a, b in _SHOWN_BONES:
        side = next((s for s in ("left", "right") if _on(a, s) and _on(b, s)), "middle")
        kind = side + (" faint" if min(visibility[a], visibility[b]) < 0.5 else "")
        (x1, y1), (x2, y2) = points[a], points[b]
        paths[kind] = paths.get(kind, "") + f"M{x1:.0f} {y1:.0f}L{x2:.0f} {y2:.0f}"
    return {"paths": sorted(paths.items()), "head": points[LANDMARK["nose"]].tolist()}


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


@dataclass(frozen=True)
class _Curve:
    """A line beside its name; without ``path`` there is nothing to draw."""

    name: str
    kind: str
    path: str | None = None
    label: str = ""
    beats: Sequence[tuple[str, float]] = ()


def _movement(poses: PoseSequence) -> _Curve:
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
    return _Curve("motion", "speed", "".join(path), label)


def _sound(name: str, file: Path, beats: RhythmTrack | None = None) -> _Curve:
    """The outline of a sound on a scale of its own peak, with beats where they are known."""
    outline = _outline(file)
    if outline is None:
        return _Curve(name, "wave")
    duration_s, peaks = outline
    loudest = max(float(peaks.max()), 1e-3)
    half = np.maximum(peaks / loudest * (_HEIGHT / 2 - 1), 0.4)
    x = (np.arange(peaks.size) + 0.5) / peaks.size * _WIDTH
    path = "".join(
        f"M{a:.0f} {_HEIGHT / 2 - h:.1f}v{2 * h:.1f}" for a, h in zip(x, half, strict=True)
    )
    lines = []
    if beats is not None:
        lines = [
            ("bar" if number == 1 else "beat", time / duration_s * _WIDTH)
            for time, number in zip(beats.beat_times, beats.beat_numbers, strict=True)
            if time <= duration_s
        ]
    label = f"Outline of the {name}" + (", with beats and bars" if lines else "")
    return _Curve(name, "wave", path, label, lines)


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


def _try(read: Callable[[], T]) -> T | None:
    """What is missing or damaged is shown as absent."""
    try:
        return read()
    except InputError:
        return None


def _is_address(source: str) -> bool:
    try:
        parts = urlsplit(source)
        return parts.scheme in ("http", "https") and bool(parts.netloc)
    except ValueError:
        return False
