"""Downloads that can be interrupted, kept under a hash of their URL.

Below the store each URL has one directory::

    store/ab/abcdef…/lock              held by whoever downloads from this URL
                     whole.mp4         the video
                     whole.json        written last: a file without a record does not count
                     40.0-50.0.mp4     a section that was fetched alone
                     40.0-50.0.json
                     part-…/           a download under way, or what a killed one left
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock

from dancetomusic.builder.remote import (
    DownloadError,
    DownloadSettings,
    RemoteVideo,
    check_duration,
    describe,
    find_ffmpeg,
    save,
)
from dancetomusic.builder.sources import Section
from dancetomusic.errors import OutputError, VideoError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.video import VideoInfo, probe_video

__all__ = ["DownloadError", "DownloadSettings", "Fetched", "fetch"]

_WHOLE = "whole"
_SLACK_S = 1.0  # a section may come out this much shorter or longer than asked for


@dataclass(frozen=True)
class Fetched:
    """A local file that holds a section.

    Attributes:
        offset_s: Time in the source at which the file begins, in seconds.
        truncated: Whether the file ends before its declared end.
    """

    path: Path
    offset_s: float
    duration_s: float
    truncated: bool


@dataclass(frozen=True)
class _Record:
    """What stands beside a finished download.

    Attributes:
        told_duration_s: Length of the whole video as the site states it, in seconds; ``None``
            where it does not, or where sections cannot be had alone.
    """

    file: str
    size: int
    offset_s: float
    duration_s: float
    truncated: bool
    told_duration_s: float | None = None


def fetch(
    section: Section,
    store: Path,
    settings: DownloadSettings | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Give a local file that holds a section: its own file, or a download made now or before.

    The file is probed before it counts. Where several processes fetch from one URL, one
    downloads and the others wait. Faults that pass are waited out. A killed download leaves
    nothing that counts. Which file is given depends on the section alone, not on what was
    fetched before.

    Raises:
        DownloadError: If the video cannot be had, now (``permanent`` is false) or ever.
        VideoError: If a local file is no video, or the section begins after the video's end.
        OutputError: If the store cannot be written.
        DependencyError: If yt-dlp is not installed.
    """
    if section.path is not None:
        info = probe_video(section.path)
        fetched = Fetched(Path(section.path), 0.0, info.duration_s, info.truncated)
    else:
        fetched = _fetch_remote(section, store.absolute(), settings or DownloadSettings(), sleep)
    end_s = fetched.offset_s + fetched.duration_s
    if section.start_s >= end_s:
        raise VideoError(
            f"the section of {section.source} begins at {section.start_s:g} s, "
            f"its video ends at {end_s:.1f} s",
            "Correct its start, or remove it from the list.",
        )
    return fetched


def forget(section: Section, store: Path) -> None:
    """Remove all downloads from a section's URL; a local file stays."""
    if section.path is None:
        shutil.rmtree(_home(section, store.absolute()), ignore_errors=True)


def _home(section: Section, store: Path) -> Path:
    digest = hashlib.sha256(section.source.encode()).hexdigest()[:20]
    return store / digest[:2] / digest


def _fetch_remote(
    section: Section, store: Path, settings: DownloadSettings, sleep: Callable[[float], None]
) -> Fetched:
    if os.path.expandvars(store) != str(store):
        raise OutputError(f"yt-dlp cannot write to {store}", "Choose a path without a dollar sign.")
    home = _home(section, store)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / "lock"):
            for left in home.glob("part-*"):
                shutil.rmtree(left, ignore_errors=True)
            record = _find(section, home, settings) or _download(section, home, settings, sleep)
    except OSError as error:
        raise OutputError(
            f"cannot write to {home} ({error.strerror})",
            "Free some disk space or choose another output path.",
        ) from error
    return Fetched(home / record.file, record.offset_s, record.duration_s, record.truncated)


def _find(section: Section, home: Path, settings: DownloadSettings) -> _Record | None:
    """The finished download that ``_download`` would make."""
    whole = _read_record(home, _WHOLE)
    if whole is not None and not _stands_alone(section, whole.told_duration_s, settings):
        return whole
    return _read_record(home, _name_of(section))


def _stands_alone(
    section: Section, video_duration_s: float | None, settings: DownloadSettings
) -> bool:
    """Whether to fetch a section without the rest of its video."""
    if section.end_s is None or video_duration_s is None or find_ffmpeg() is None:
        return False
    wanted_s = min(section.end_s, video_duration_s) - section.start_s
    return 0 < wanted_s <= settings.section_share * video_duration_s


def _name_of(section: Section) -> str:
    return f"{section.start_s!r}-{section.end_s!r}"


def _download(
    section: Section, home: Path, settings: DownloadSettings, sleep: Callable[[float], None]
) -> _Record:
    """Try until it succeeds, fails for good, or gains nothing any more."""
    part = Path(tempfile.mkdtemp(prefix="part-", dir=home))
    damaged_sizes: set[int] = set()
    failures, most_bytes = 0, 0
    try:
        while True:
            try:
                video = describe(section.source, settings)
                return _attempt(section, video, home, part, settings, damaged_sizes)
            except DownloadError as error:
                if error.permanent or error.retry_after_s > settings.max_wait_s:
                    raise
                n_bytes = sum(file.stat().st_size for file in part.iterdir())
                failures = 1 if n_bytes > most_bytes else failures + 1
                most_bytes = max(most_bytes, n_bytes)
                if failures > settings.retries:
                    raise
                wait_s = settings.backoff_s * 2 ** (failures - 1) * random.uniform(0.5, 1.5)
                sleep(max(error.retry_after_s, min(wait_s, settings.max_wait_s)))
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _attempt(
    section: Section,
    video: RemoteVideo,
    home: Path,
    part: Path,
    settings: DownloadSettings,
    damaged_sizes: set[int],
) -> _Record:
    told_s = video.duration_s
    if _stands_alone(section, told_s, settings):
        record = _fetch_alone(section, video, home, part, settings)
        if record is not None:
            return record
        told_s = None
    whole = _read_record(home, _WHOLE)
    if whole is None:
        whole = _fetch_whole(video, home, part, settings, damaged_sizes)
    whole = replace(whole, told_duration_s=told_s)
    _write_record(home, _WHOLE, whole)
    return whole


def _fetch_alone(
    section: Section, video: RemoteVideo, home: Path, part: Path, settings: DownloadSettings
) -> _Record | None:
    """A section without the rest; ``None`` if the server or FFmpeg does not manage it."""
    assert section.end_s is not None and video.duration_s is not None
    end_s = min(section.end_s, video.duration_s)
    try:
        file = save(video, part, settings, (section.start_s, end_s))
        info = probe_video(file)
    except (DownloadError, VideoError):
        return None
    if info.truncated or abs(info.duration_s - (end_s - section.start_s)) > _SLACK_S:
        return None
    name = _name_of(section)
    record = _move(file, home, name, section.start_s, info)
    _write_record(home, name, record)
    return record


def _fetch_whole(
    video: RemoteVideo,
    home: Path,
    part: Path,
    settings: DownloadSettings,
    damaged_sizes: set[int],
) -> _Record:
    """The whole video; damage is believed when the same number of bytes comes a second time."""
    file = save(video, part, settings)
    size = file.stat().st_size
    try:
        info = probe_video(file)
    except VideoError as error:
        file.unlink()
        raise DownloadError(
            f"what {video.url} gives cannot be used ({error.problem.replace(str(file), 'it')})",
            "Check the link, or remove it from the list.",
            permanent=_met_before(size, damaged_sizes),
        ) from error
    if info.truncated and not _met_before(size, damaged_sizes):
        file.unlink()
        raise DownloadError(
            f"{video.url} came incomplete", "Run the same command again later.", permanent=False
        )
    check_duration(video.url, info.duration_s, settings)
    return _move(file, home, _WHOLE, 0.0, info)


def _met_before(size: int, sizes: set[int]) -> bool:
    met = size in sizes
    sizes.add(size)
    return met


def _move(file: Path, home: Path, name: str, offset_s: float, info: VideoInfo) -> _Record:
    target = home / f"{name}{file.suffix}"
    with file.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(file, target)
    return _Record(target.name, target.stat().st_size, offset_s, info.duration_s, info.truncated)


def _write_record(home: Path, name: str, record: _Record) -> None:
    with atomic_output(home / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(asdict(record)) + "\n", encoding="utf-8")


def _read_record(home: Path, name: str) -> _Record | None:
    """What is recorded, if it is whole and so is the file that it speaks of."""
    try:
        record = _Record(**json.loads((home / f"{name}.json").read_text(encoding="utf-8")))
        return record if (home / record.file).stat().st_size == record.size else None
    except (FileNotFoundError, ValueError, TypeError):
        return None
