"""The clip: a few seconds of one dance with its sound, as a directory of plain files.

``docs/data_format.md`` describes the files for readers in other languages.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import re
import shutil
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from dancetomusic.errors import InputError, OutputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.pose.files import QUALITY
from dancetomusic.rhythm.energy import danced_rhythm
from dancetomusic.rhythm.files import HEADER
from dancetomusic.types import (
    N_LANDMARKS,
    POSE_FPS,
    CodeSequence,
    PoseQuality,
    PoseSequence,
    RhythmTrack,
    Waveform,
)

SCHEMA_VERSION = 2

RECORD_FILE = "clip.json"
POSES_FILE = "poses.npz"
MIX_FILE = "mix.flac"
STEM_FILE = "stem.flac"
CODES_FILE = "codes.npy"
BEATS_FILE = "beats.csv"
PICTURES_FILE = "pictures.jpg"
NEEDED_FILES = (POSES_FILE, MIX_FILE, STEM_FILE, CODES_FILE, BEATS_FILE)
CLIP_FILES = (*NEEDED_FILES, PICTURES_FILE)
N_MOMENTS = 6
"""Moments of a clip that are shown to a person."""

ACCEPTED, REFUSED, FAILED = "accepted", "refused", "failed"
STATUSES = (ACCEPTED, REFUSED, FAILED)
SPLITS = ("train", "val", "test")
BEAT_SOURCES = ("tracked", "annotated")

_CLIPS_FOLDER = "clips"
_REBUILD = "Delete the clip and build it again."


def _pattern(*choices: str) -> str:
    return f"^(?:{'|'.join(choices)})$"


def _in_order(files: dict[str, str]) -> dict[str, str]:
    return {name: files[name] for name in CLIP_FILES if name in files}


def _encodable(text: str) -> str:
    text.encode("utf-8")  # a lone surrogate is a ValueError
    return text


def _tempo(bpm: float) -> float:
    if not (math.isnan(bpm) or 1.0 <= bpm <= 1e4):
        raise ValueError
    return bpm


_Text = Annotated[str, Field(strict=True), AfterValidator(_encodable)]
_Key = Annotated[str, Field(strict=True, pattern=_pattern("[0-9a-f]{20}"))]
_SourceId = Annotated[str, Field(strict=True, pattern=_pattern("[0-9a-f]{16}"))]
_Status = Annotated[str, Field(strict=True, pattern=_pattern(*STATUSES))]
_Split = Annotated[str, Field(strict=True, pattern=_pattern(*SPLITS))]
_BeatSource = Annotated[str, Field(strict=True, pattern=_pattern(*BEAT_SOURCES))]
_Number = Annotated[float, Field(strict=True, ge=-1e9, le=1e9)]
_Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
_Time = Annotated[float, Field(strict=True, ge=0.0, le=1e9)]
_Rate = Annotated[float, Field(strict=True, ge=1e-6, le=1e9)]
_Count = Annotated[int, Field(strict=True, ge=0, le=10**15)]
_SampleRate = Annotated[int, Field(strict=True, ge=1, le=10**9)]
_BeatsPerBar = Annotated[int, Field(strict=True, ge=1, le=64)]
_Tempo = Annotated[
    float,
    BeforeValidator(lambda bpm: math.nan if bpm is None else bpm),
    Field(strict=True),
    AfterValidator(_tempo),
]
_Files = Annotated[
    dict[
        Annotated[str, Field(strict=True, pattern=_pattern(*map(re.escape, CLIP_FILES)))],
        Annotated[str, Field(strict=True, pattern=_pattern("[0-9a-f]{64}"))],
    ],
    AfterValidator(_in_order),
]


@dataclass(frozen=True)
class ClipQuality:
    """How far a clip can be trusted, as the gate judges it; shares are in [0, 1].

    Attributes:
        detected_share: Frames in which the detector saw the dancer.
        mean_visibility: Mean landmark visibility over detected frames.
        weakest_visibility: That of the least visible among shoulders, elbows, wrists, hips and
            knees: low where the picture cuts the body or something hides it.
        framed_share: Frames in which shoulders and hips are within the picture.
        glitch_share: Landmark positions that cleaning replaced, among detected frames.
        n_swaps: Moments at which the dancer followed becomes another person.
        motion_m_s: Mean speed of the joints, in metres a second.
        range_m: How far the limbs get, in metres (``pose.motion.limb_range``).
        still_share: Frames whose picture equals the one before.
        loudness_dbfs: Root mean square of the sound, in dB below full scale; -120 for silence.
        beat_certainty: Probability that the beats of its song are right; 0 without beats.
        beat_agreement: F-measure of the beats with those of the stem alone; 1 where it was not
            measured.
        picture_hash: Perceptual hash of the pictures, hexadecimal; empty without pictures.
    """

    detected_share: _Share = 0.0
    mean_visibility: _Share = 0.0
    weakest_visibility: _Share = 0.0
    framed_share: _Share = 1.0
    glitch_share: _Share = 0.0
    n_swaps: _Count = 0
    motion_m_s: _Time = 0.0
    range_m: _Time = 0.0
    still_share: _Share = 0.0
    loudness_dbfs: _Number = -120.0
    beat_certainty: _Share = 0.0
    beat_agreement: _Share = 1.0
    picture_hash: _Text = ""


@dataclass(frozen=True)
class ClipRecord:
    """One row of the manifest, and what ``clip.json`` holds.

    Attributes:
        key: Name of the clip: 20 hexadecimal digits, a hash of source and section.
        source: Where it comes from: a URL, or a name within the folder or set imported.
        source_id: Hash of the source; the split goes by it.
        licence: Of the source, as given; empty where unknown.
        start_s: Start within the source, in seconds.
        end_s: End within the source, in seconds.
        status: ``accepted``, ``refused`` by the quality gate, or ``failed``.
        reason: Why it is not accepted, one line; empty if it is.
        split: ``train``, ``val`` or ``test``.
        separator: What made the stem: name, then version.
        separator_weights: SHA-256 of its weights; empty if it has none.
        bpm: Tempo of the beats; NaN without.
        beats_from: ``tracked`` in the sound, or ``annotated``.
        files: SHA-256 of each file of the clip, by name.
    """

    key: _Key
    source: _Text
    source_id: _SourceId
    start_s: _Time
    end_s: _Time
    licence: _Text = ""
    status: _Status = ACCEPTED
    reason: _Text = ""
    split: _Split = "train"
    fps: _Rate = POSE_FPS
    n_frames: _Count = 0
    sample_rate: _SampleRate = 24_000
    quality: ClipQuality = field(default_factory=ClipQuality)
    separator: _Text = ""
    separator_version: _Text = ""
    separator_weights: _Text = ""
    codec: _Text = ""
    code_rate: _Rate = 75.0
    bpm: _Tempo = float("nan")
    beats_per_bar: _BeatsPerBar = 4
    beats_from: _BeatSource = "tracked"
    files: _Files = field(default_factory=dict)
    schema_version: Annotated[int, Field(strict=True)] = SCHEMA_VERSION


@dataclass(frozen=True)
class Clip:
    """A clip in memory; its sounds are decoded when they are first asked for.

    Attributes:
        files: Its directory, or the contents of its files by name.
        rhythm: The beats, with the energy of the movement.
    """

    record: ClipRecord
    files: Path | Mapping[str, bytes]
    poses: PoseSequence
    codes: CodeSequence
    rhythm: RhythmTrack

    @cached_property
    def mix(self) -> Waveform:
        """The sound as it was filmed.

        Raises:
            InputError: If the file is missing or damaged.
        """
        return _read_sound(self.files, MIX_FILE, self.record)

    @cached_property
    def stem(self) -> Waveform:
        """Drums and bass.

        Raises:
            InputError: If the file is missing or damaged.
        """
        return _read_sound(self.files, STEM_FILE, self.record)


def source_id(source: str) -> str:
    """Name a source by 16 hexadecimal digits.

    The addresses of one YouTube video (``watch?v=``, ``youtu.be/``, ``shorts/``, ``embed/``,
    ``live/``, with any other parameter) have one id; every other source stands for itself.

    Example:
        >>> source_id("https://youtu.be/0mCcMJC6sys") == source_id(
        ...     "https://www.youtube.com/watch?v=0mCcMJC6sys&t=4")
        True
    """
    return _digest(_canonical(source))[:16]


def clip_key(source: str, start_s: float, end_s: float) -> str:
    """Name a part of a source by 20 hexadecimal digits; times count to the millisecond.

    Raises:
        InputError: If a time is not finite.
    """
    if not (math.isfinite(start_s) and math.isfinite(end_s)):
        raise InputError(f"a clip runs from {start_s} to {end_s} s", "Give finite times.")
    return _digest(f"{_canonical(source)}\n{round(start_s * 1000)}\n{round(end_s * 1000)}")[:20]


def split_of(source_id: str, *, val_share: float = 0.15, test_share: float = 0.0) -> str:
    """Say which split a source belongs to, from its id alone.

    The id is a number in [0, 1): ``val`` is taken from its lower end, ``test`` from its upper.
    So other sources never matter, and a share that grows takes from ``train`` only.

    Raises:
        InputError: If a share is negative, or both exceed 1 together.
    """
    if not (val_share >= 0 and test_share >= 0 and val_share + test_share <= 1):
        raise InputError(
            f"{val_share} for validation and {test_share} for test leave nothing sensible",
            "Give shares in [0, 1] that do not exceed 1 together.",
        )
    share = int(source_id, 16) / 16 ** len(source_id)
    if share < val_share:
        return "val"
    return "test" if share >= 1.0 - test_share else "train"


def clip_directory(root: Path | str, key: str) -> Path:
    """Where the clip ``key`` lies in the set at ``root``."""
    return Path(root) / _CLIPS_FOLDER / key[:2] / key


def shown_moments(n_frames: int) -> list[int]:
    """The frames of a clip that are shown: ``N_MOMENTS`` spread over it, if it has as many."""
    return sorted({round((n_frames - 1) * k / (N_MOMENTS - 1)) for k in range(N_MOMENTS)})


def clip_directories(root: Path | str) -> Iterator[Path]:
    """Directories of all clips in the set at ``root``, in the order of their keys."""
    clips = Path(root) / _CLIPS_FOLDER
    if not clips.is_dir():
        return
    for first in sorted(os.listdir(clips)):
        if re.fullmatch("[0-9a-f]{2}", first):
            for key in sorted(os.listdir(clips / first)):
                if re.fullmatch("[0-9a-f]{20}", key):
                    yield clips / first / key


def record_to_values(record: ClipRecord) -> dict[str, Any]:
    """A record as values that JSON knows: ``None`` for NaN, nothing nested but its mappings."""
    values = vars(record) | {"quality": dict(vars(record.quality)), "files": dict(record.files)}
    return {name: None if value != value else value for name, value in values.items()}


def record_to_bytes(record: ClipRecord) -> bytes:
    """The content of ``clip.json``: sorted keys, UTF-8, ``null`` for NaN."""
    text = json.dumps(
        record_to_values(record), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    return (text + "\n").encode("utf-8")


def write_record(directory: Path | str, record: ClipRecord) -> ClipRecord:
    """Write ``clip.json`` with the SHA-256 of every file of the clip that is there.

    Returns:
        What was written: ``record`` with ``files`` filled in and ``reason`` on one line.

    Raises:
        InputError: If a value has another type or lies out of range.
        OutputError: If the file cannot be written.
    """
    folder = Path(directory)
    present = {name: folder / name for name in CLIP_FILES if (folder / name).is_file()}
    filled = replace(
        record,
        reason=" ".join(record.reason.split()),
        files={name: _sha256(file) for name, file in present.items()},
    )
    checked = _record_of(record_to_values(filled), folder / RECORD_FILE)
    with atomic_output(folder / RECORD_FILE) as temporary:
        temporary.write_bytes(record_to_bytes(checked))
    return checked


def read_record(source: Path | str | bytes) -> ClipRecord:
    """Read ``clip.json`` from the directory of a clip, or from its content.

    Raises:
        InputError: If it is missing, no JSON, of another schema version, or has a value of
            another type or out of range.
    """
    if isinstance(source, bytes):
        where: Path | str = RECORD_FILE
        content = source
    else:
        where = Path(source) / RECORD_FILE
        content = _content(Path(source), RECORD_FILE)
    try:
        values = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is damaged ({error})", _REBUILD) from error
    return _record_of(values, where)


def load_clip(files: Path | str | Mapping[str, bytes], *, verify: bool = False) -> Clip:
    """Read a clip from its directory, or from the contents of its files by name.

    ``verify`` compares every file with its SHA-256, the sounds included.

    Raises:
        InputError: If a file is missing, damaged, or not the one that was recorded.
    """
    location = Path(files) if isinstance(files, str | Path) else files
    record = read_record(
        _content(location, RECORD_FILE) if isinstance(location, Mapping) else location
    )
    if verify:
        verify_files(location, record)
    poses = _read_poses(location, record)
    return Clip(
        record=record,
        files=location,
        poses=poses,
        codes=_read_codes(location, record),
        rhythm=_read_rhythm(location, record, poses),
    )


def verify_files(files: Path | Mapping[str, bytes], record: ClipRecord) -> None:
    """Compare a clip's files with the checksums of its record.

    Raises:
        InputError: If a file is missing or differs, or an accepted clip lacks one.
    """
    missing = ", ".join(sorted(set(NEEDED_FILES) - set(record.files)))
    if record.status == ACCEPTED and missing:
        raise InputError(f"clip {record.key} is accepted without {missing}", _REBUILD)
    for name, expected in record.files.items():
        if hashlib.sha256(_content(files, name)).hexdigest() != expected:
            raise InputError(
                f"{_place(files, name)} is not what its record says (SHA-256 differs)", _REBUILD
            )


def publish_clip(work_directory: Path | str, root: Path | str) -> Path:
    """Move a finished clip to its folder in the set at ``root``, in one step.

    Only ``clip.json`` and the files it names go along; what else stages left in the work
    directory is removed. A clip that is there already, with the same record and sound files,
    stays; any other is replaced. Whatever moment the process ends at, the folder holds a whole
    clip or none, and the call can be repeated. The work directory has to be on the file system
    of the set, and is gone afterwards.

    Raises:
        InputError: If the work directory holds no whole clip.
        OutputError: If it cannot be moved.
    """
    work = Path(work_directory)
    record = read_record(work)
    verify_files(work, record)
    target = clip_directory(root, record.key)
    retired = work.with_name(f"{record.key}.old")
    try:
        if retired.exists():
            shutil.rmtree(retired)
        if target.exists() and _holds(target, record):
            shutil.rmtree(work)
            return target
        _keep_only(work, {RECORD_FILE, *record.files})
        _make_folder(target.parent)
        if target.exists():
            os.rename(target, retired)
        os.rename(work, target)
        _sync(target.parent)
        if retired.exists():
            shutil.rmtree(retired)
    except OSError as error:
        raise OutputError(
            f"cannot publish clip {record.key} to {target} ({error.strerror or error})",
            "Make the output writable and keep the work directory on its file system.",
        ) from error
    return target


def _holds(directory: Path, record: ClipRecord) -> bool:
    try:
        found = read_record(directory)
        verify_files(directory, found)
    except InputError:
        return False
    return record_to_bytes(found) == record_to_bytes(record)


def _keep_only(directory: Path, names: set[str]) -> None:
    """Remove all else, and see that what stays reaches the disk."""
    for entry in directory.iterdir():
        if entry.name in names:
            _sync(entry)
        elif entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    _sync(directory)


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, each entered durably in its own parent."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_VIDEO_HOSTS = {"youtube.com", "m.youtube.com", "music.youtube.com", "youtube-nocookie.com"}
_VIDEO_FOLDERS = {"shorts", "embed", "live", "v"}


def _canonical(source: str) -> str:
    """One spelling for all addresses of a YouTube video."""
    try:
        address = urlsplit(source.strip())
        host = (address.hostname or "").removeprefix("www.")
    except ValueError:
        return source
    if address.scheme not in ("http", "https"):
        return source
    parts = address.path.strip("/").split("/")
    video = ""
    if host == "youtu.be":
        video = parts[0]
    elif host in _VIDEO_HOSTS and parts[0] == "watch":
        video = parse_qs(address.query).get("v", [""])[0]
    elif host in _VIDEO_HOSTS and parts[0] in _VIDEO_FOLDERS and len(parts) > 1:
        video = parts[1]
    if _VIDEO_ID.fullmatch(video):
        return f"https://www.youtube.com/watch?v={video}"
    return source


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror})", "Allow reading it.") from error


def _place(files: Path | Mapping[str, bytes], name: str) -> Path | str:
    return files / name if isinstance(files, Path) else name


def _content(files: Path | Mapping[str, bytes], name: str) -> bytes:
    if isinstance(files, Path):
        try:
            return (files / name).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {files / name} ({error.strerror})", _REBUILD) from error
    if name not in files:
        raise InputError(f"the clip has no {name}", _REBUILD)
    return files[name]


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _record_of(values: Any, where: Path | str) -> ClipRecord:
    """Build a record from plain values, every one checked."""
    if not isinstance(values, dict) or "schema_version" not in values:
        raise InputError(f"{where} is no record of a clip", _REBUILD)
    if values["schema_version"] != SCHEMA_VERSION:
        raise InputError(
            f"{where} has schema version {values['schema_version']!r}, not {SCHEMA_VERSION}",
            "Read it with the package version that wrote it, or build the clip again.",
        )
    _check_fields(ClipRecord, values, where)
    _check_fields(ClipQuality, values["quality"], where)
    try:
        record = _validator().validate_python(values)
    except ValidationError as error:
        field = error.errors(include_url=False)[0]["loc"]
        holder, name = (
            (values["quality"], field[1]) if field[0] == "quality" else (values, field[0])
        )
        raise InputError(f"{where}: {name} is {holder[name]!r}", _REBUILD) from error
    if record.end_s < record.start_s:
        raise InputError(f"{where}: the clip ends at {record.end_s} s, before its start", _REBUILD)
    return record


def _check_fields(cls: type, values: Any, where: Path | str) -> None:
    """Refuse what lacks a field of ``cls``, though it may have a default, or has another."""
    names = {f.name for f in fields(cls)}
    if not isinstance(values, dict) or values.keys() != names:
        odd = sorted(map(str, values.keys() ^ names)) if isinstance(values, dict) else []
        raise InputError(
            f"{where} has other fields than a {cls.__name__} ({', '.join(odd) or 'none'})", _REBUILD
        )


@cache
def _validator() -> Any:
    return TypeAdapter(ClipRecord)


_DAMAGE = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    OverflowError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    csv.Error,
)
"""What readers of arrays, sound and CSV raise on content that is not theirs."""


@contextmanager
def _reading(files: Path | Mapping[str, bytes], name: str) -> Iterator[io.BytesIO]:
    """The content of a file; whatever its reader cannot do becomes an InputError."""
    content = io.BytesIO(_content(files, name))
    try:
        yield content
    except (*_DAMAGE, InputError) as error:
        problem = error.problem if isinstance(error, InputError) else str(error)
        raise InputError(
            f"{_place(files, name)} is damaged ({' '.join(problem.split())})", _REBUILD
        ) from error


def _read_poses(files: Path | Mapping[str, bytes], record: ClipRecord) -> PoseSequence:
    n = record.n_frames
    with _reading(files, POSES_FILE) as content:
        if not zipfile.is_zipfile(content):
            raise ValueError("not an .npz file")
        content.seek(0)
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        shapes = {"poses": (n, N_LANDMARKS, 3), "present": (n,), "visibility": (n, N_LANDMARKS)}
        if "image" in arrays:
            shapes["image"] = (n, N_LANDMARKS, 3)
        for name, shape in shapes.items():
            kind = np.bool_ if name == "present" else np.float32
            if arrays[name].shape != shape or arrays[name].dtype != kind:
                raise ValueError(f"{name} is {arrays[name].dtype} {arrays[name].shape}")
        if float(arrays["fps"]) != record.fps:
            raise ValueError(f"{arrays['fps']} frames a second, {record.fps} on record")
        return PoseSequence(
            world=arrays["poses"],
            present=arrays["present"],
            visibility=arrays["visibility"],
            fps=record.fps,
            image=arrays.get("image"),
            quality=PoseQuality(*(float(arrays[name]) for name in QUALITY))
            if set(QUALITY) <= set(arrays)
            else None,
        )


def _read_codes(files: Path | Mapping[str, bytes], record: ClipRecord) -> CodeSequence:
    with _reading(files, CODES_FILE) as content:
        codes = np.lib.format.read_array(content, allow_pickle=False)
        if codes.dtype != np.int16 or codes.ndim != 2 or not codes.size or codes.min() < 0:
            raise ValueError(f"codes are {codes.dtype} {codes.shape}")
    return CodeSequence(codes, record.code_rate, record.codec)


def _read_rhythm(
    files: Path | Mapping[str, bytes], record: ClipRecord, poses: PoseSequence
) -> RhythmTrack:
    with _reading(files, BEATS_FILE) as content:
        rows = list(
            csv.reader(io.StringIO(content.read().decode("utf-8"), newline=""), strict=True)
        )
        if not rows or tuple(rows[0]) != HEADER:
            raise ValueError(f"the header is not {','.join(HEADER)}")
        if any(len(row) != len(HEADER) for row in rows):
            raise ValueError("a line has more or fewer values than the header")
        numbers = np.array([int(row[1]) for row in rows[1:]], np.int64)
        if numbers.size and numbers.min() < 1:
            raise ValueError("a beat's position in its bar is below 1")
        times = np.array([float(row[0]) for row in rows[1:]], np.float64)
        track = danced_rhythm(poses, times, numbers)
        if numbers.size:
            track = replace(track, source=rows[1][2], certainty=float(rows[1][3]))
            if not 0.0 <= track.certainty <= 1.0:
                raise ValueError(f"the certainty is {track.certainty:g}")
        return track


def _read_sound(files: Path | Mapping[str, bytes], name: str, record: ClipRecord) -> Waveform:
    import soundfile

    with _reading(files, name) as content:
        samples, rate = soundfile.read(content, dtype="float32", always_2d=True)
        if rate != record.sample_rate:
            raise ValueError(f"{rate} Hz, {record.sample_rate} on record")
        return Waveform(np.ascontiguousarray(samples.T), rate)
