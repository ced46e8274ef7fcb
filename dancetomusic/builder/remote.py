"""One attempt at a video on the network, by yt-dlp, with kinds of failure distinguished.

What a list, a site or a title says never becomes a path, an option or a command: no
configuration file, plug-in, stored password or command of yt-dlp is used, only its Python API.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from dancetomusic.config import check_fields
from dancetomusic.errors import DanceToMusicError, DependencyError, InputError, OutputError
from dancetomusic.io.cache import cache_directory

_OUTPUT_ERRNOS = frozenset({
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
})  # fmt: skip
_DISK_FULL_BYTES = 1 << 20
_BUSY_STATUSES = frozenset({408, 425, 429})
_BUSY_PHRASES = (
    *("got error:", "did not get any data", "exited with code", "timed out", "rate-limited"),
    *("try again later", "any player response"),
)
_ACCOUNT_PHRASES = (
    *("private video", "members-only", "members only", "join this channel", "sign in", "log in"),
    *("login", "cookies", "confirm your age", "age-restricted"),
)
_REGION_PHRASES = (
    *("your country", "your region", "your location", "geo restrict", "geo-restrict"),
)
_LIVE = ("is_live", "is_upcoming", "post_live")
_SECTION_QUALITY = ("-crf", "20", "-b:v", "0", "-threads", "1")
_LINK_REMEDY = "Check the link, or remove it from the list."
_LATER_REMEDY = "Run the same command again later: what is finished is kept."
_SHOWN_CHARACTERS = 240


class DownloadError(DanceToMusicError):
    """A video cannot be had from the network.

    Args:
        problem: What is wrong, with the URL.
        remedy: What to do about it.
        permanent: Whether trying again is useless.
        retry_after_s: How long the server asked to be left alone, in seconds.
    """

    def __init__(
        self, problem: str, remedy: str, permanent: bool = True, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(problem, remedy)
        self.permanent = permanent
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem, self.remedy, self.permanent, self.retry_after_s)


@dataclass(frozen=True)
class DownloadSettings:
    """How videos are downloaded.

    Attributes:
        resolution: Wanted smaller side of the picture, in pixels; a larger one is taken only
            where there is none at most as large.
        max_filesize: Largest download of one video, in bytes.
        max_duration_s: Longest video, in seconds.
        section_share: A section of at most this share of its video is fetched alone, if FFmpeg
            is there and the site says how long the video is; 0 for never.
        retries: Attempts after the first, counted from 0 again whenever one has gained something.
        backoff_s: Mean wait before the first of them, in seconds; it doubles with each.
        max_wait_s: Longest wait, in seconds; a server that asks for more is given up.
        pause_s: Wait before each request for a page and each download, in seconds.
        socket_timeout_s: Longest silence of a server, in seconds.
        deadline_s: Longest time for one attempt at a download, in seconds.
        cookies: A file of cookies in Netscape's format; ``None`` for none.

    Raises:
        ConfigError: If a value is out of range.
    """

    resolution: Annotated[int, Field(gt=0)] = 720
    max_filesize: Annotated[int, Field(gt=0)] = 4 << 30
    max_duration_s: Annotated[float, Field(gt=0)] = 4 * 3600.0
    section_share: Annotated[float, Field(ge=0, le=1)] = 0.25
    retries: Annotated[int, Field(ge=0)] = 5
    backoff_s: Annotated[float, Field(ge=0)] = 2.0
    max_wait_s: Annotated[float, Field(gt=0)] = 120.0
    pause_s: Annotated[float, Field(ge=0)] = 0.0
    socket_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    deadline_s: Annotated[float, Field(gt=0)] = 3600.0
    cookies: str | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class RemoteVideo:
    """What a site says of a video.

    Attributes:
        url: Where it was asked for.
        duration_s: Its length in seconds; ``None`` if the site does not say.
        details: All that yt-dlp found, as it wants it back.
    """

    url: str
    duration_s: float | None
    details: dict[str, Any]


@cache
def find_ffmpeg() -> str | None:
    """The FFmpeg program of the package imageio-ffmpeg, else one on the path, else ``None``."""
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return shutil.which("ffmpeg")


def describe(url: str, settings: DownloadSettings) -> RemoteVideo:
    """Ask a site for a video without downloading it.

    Raises:
        DownloadError: If it cannot be had, is live, too long, or one of several at that URL.
        DependencyError: If yt-dlp is not installed.
    """
    with _session(url, settings) as (session, _):
        details = session.extract_info(url, download=False)
        if "entries" in details:
            entries = list(details["entries"])
            if len(entries) != 1:
                raise _refusal(url, "there is not exactly one video", "Give each video's own URL.")
            details = entries[0]
        details = session.sanitize_info(details, remove_private_keys=True)
    stated = details.get("duration")
    duration_s = float(stated) if isinstance(stated, (int, float)) and stated > 0 else None
    if details.get("is_live") or details.get("live_status") in _LIVE:
        raise _refusal(url, "it is a live stream", "Wait until it is over, or remove it.")
    check_duration(url, duration_s, settings)
    return RemoteVideo(url, duration_s, details)


def check_duration(url: str, duration_s: float | None, settings: DownloadSettings) -> None:
    """Refuse a video that is too long.

    Raises:
        DownloadError: If it is longer than ``settings.max_duration_s``.
    """
    if duration_s is not None and duration_s > settings.max_duration_s:
        raise _refusal(
            url,
            f"it lasts {duration_s:.0f} s, more than {settings.max_duration_s:.0f} s",
            "Raise max_duration_s, or remove it from the list.",
        )


def save(
    video: RemoteVideo,
    folder: Path,
    settings: DownloadSettings,
    section_s: tuple[float, float] | None = None,
) -> Path:
    """Download a video, or a section of it, into a folder, and give the file.

    What an earlier attempt left in the folder is continued if it is of the same format. A
    section is re-encoded by FFmpeg, so that it begins at its start and not at a key frame; what
    comes out must be checked, since FFmpeg ends without error when a server fails it.

    ``folder`` is an absolute path that nothing else may use; ``section_s`` is start and end.

    Raises:
        DownloadError: If it cannot be had.
        OutputError: If it cannot be written.
        DependencyError: If yt-dlp is not installed.
    """
    wanted = f"{video.details.get('format_id')} {section_s}"
    name = hashlib.sha256(wanted.encode()).hexdigest()[:20]
    options: dict[str, Any] = {
        "outtmpl": {"default": f"{name}.%(ext)s"},
        "paths": {"home": str(folder)},
        "progress_hooks": [_watch(video.url, settings)],
    }
    if section_s is not None:
        start_s, end_s = section_s
        options["download_ranges"] = lambda *_: [{"start_time": start_s, "end_time": end_s}]
        options["force_keyframes_at_cuts"] = True
    try:
        with _session(video.url, settings, options) as (session, log):
            result = session.process_ie_result(dict(video.details), download=True)
    except DownloadError as error:
        if shutil.disk_usage(folder).free < _DISK_FULL_BYTES:
            raise OutputError(f"the disk of {folder} is full", "Free some space.") from error
        raise
    for download in result.get("requested_downloads") or ():
        file = Path(download.get("filepath") or folder)
        if file.is_file() and file.parent == folder:
            return file
    if "max-filesize" in log.last:
        raise _too_large(video.url, settings)
    raise _refusal(video.url, _one_line(log.last) or "nothing came", _LINK_REMEDY)


def _watch(url: str, settings: DownloadSettings) -> Callable[[dict[str, Any]], None]:
    """Stops a download that is too large or too slow, whatever the server announced."""
    begun = time.monotonic()

    def watch(progress: dict[str, Any]) -> None:
        if (progress.get("downloaded_bytes") or 0) > settings.max_filesize:
            raise _too_large(url, settings)
        if time.monotonic() - begun > settings.deadline_s:
            raise DownloadError(
                f"cannot download {url}: not done after {settings.deadline_s:.0f} s",
                _LATER_REMEDY,
                permanent=False,
            )

    return watch


class _Log:
    """Takes what yt-dlp would print and keeps the last line.

    Attributes:
        last: That line.
        fault: What the last request failed by; yt-dlp drops it from some of its errors.
    """

    def __init__(self) -> None:
        self.last = ""
        self.fault: Exception | None = None

    def debug(self, message: str) -> None:
        self.last = message

    warning = error = debug


@contextmanager
def _session(
    url: str, settings: DownloadSettings, options: dict[str, Any] | None = None
) -> Iterator[tuple[Any, _Log]]:
    """A ``YoutubeDL`` whose errors come out as ours."""
    os.environ["YTDLP_NO_PLUGINS"] = "1"
    try:
        import yt_dlp
        from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor
    except ImportError as error:
        raise DependencyError(
            "downloads need yt-dlp", "Run pip install 'dancetomusic[build]'."
        ) from error
    log, ffmpeg = _Log(), find_ffmpeg()
    parameters = {
        "logger": log,
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "never",
        "cachedir": str(cache_directory() / "yt-dlp"),
        "cookiefile": _cookies(settings.cookies),
        "enable_file_urls": False,
        "noplaylist": True,
        "playlist_items": "1:2",
        "format": "bv*+ba/b/bv*" if ffmpeg else "b/bv*",
        "format_sort": [f"res:{settings.resolution}", "hasaud", "vcodec:h264", "acodec:aac"],
        "ffmpeg_location": ffmpeg,
        "external_downloader_args": {
            "ffmpeg_i": [
                *("-protocol_whitelist", "http,https,tcp,tls,crypto,httpproxy"),
                *("-rw_timeout", str(round(settings.socket_timeout_s * 1e6))),
            ],
            # One thread: the number of cores must not change the pictures.
            "ffmpeg_o": [*_SECTION_QUALITY, "-fs", str(settings.max_filesize)],
        },
        "fixup": "never",
        "updatetime": False,
        "continuedl": True,
        "retries": 0,  # we try again ourselves: yt-dlp knows no Retry-After
        "fragment_retries": 0,
        "extractor_retries": 0,
        "skip_unavailable_fragments": False,
        "max_filesize": settings.max_filesize,
        "socket_timeout": settings.socket_timeout_s,
        "sleep_interval_requests": settings.pause_s,
        "sleep_interval": settings.pause_s,
        **(options or {}),
    }
    location = FFmpegPostProcessor._ffmpeg_location.set(ffmpeg)  # else sections want it on the path
    try:
        with yt_dlp.YoutubeDL(parameters) as session:
            session.urlopen = _remember_fault(session.urlopen, log)
            yield session, log
    except DanceToMusicError:
        raise
    except Exception as error:  # a scraper of a foreign page may raise anything
        raise _translate(url, error, log) from error
    finally:
        FFmpegPostProcessor._ffmpeg_location.reset(location)


def _cookies(path: str | None) -> io.StringIO | None:
    """The text of a cookie file: given the file itself, yt-dlp would write to it."""
    if path is None:
        return None
    try:
        return io.StringIO(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read cookies from {path} ({error})", "Check the path.") from error


def _remember_fault(urlopen: Callable[..., Any], log: _Log) -> Callable[..., Any]:
    def opened(*arguments: Any, **options: Any) -> Any:
        log.fault = None
        try:
            return urlopen(*arguments, **options)
        except Exception as error:
            log.fault = error
            raise

    return opened


def _translate(url: str, error: Exception, log: _Log) -> DanceToMusicError:
    """What an error of yt-dlp means for us."""
    from yt_dlp.networking.exceptions import CertificateVerifyError, HTTPError, TransportError
    from yt_dlp.utils import GeoRestrictedError, UnsupportedError

    said = _one_line(str(error))
    causes = [*_causes(error), *([log.fault] if log.fault else [])]
    permanent = not any(phrase in said.lower() for phrase in _BUSY_PHRASES)
    retry_after_s = 0.0
    for cause in causes:
        if isinstance(cause, (GeoRestrictedError, UnsupportedError, CertificateVerifyError)):
            permanent = True
        elif isinstance(cause, HTTPError):
            permanent = cause.status < 500 and cause.status not in _BUSY_STATUSES
            retry_after_s = _retry_after(cause.response.headers.get("Retry-After"))
            cause.close()
        elif isinstance(cause, TransportError):
            permanent = False
        elif isinstance(cause, OSError) and cause.errno in _OUTPUT_ERRNOS:
            return OutputError(
                f"cannot write a download ({cause.strerror})",
                "Free some disk space or choose another output path.",
            )
        else:
            continue
        break
    if not permanent:
        remedy = _LATER_REMEDY
    elif any(phrase in said.lower() for phrase in _REGION_PHRASES):
        remedy = "Download it where it may be seen, or remove it from the list."
    elif any(phrase in said.lower() for phrase in _ACCOUNT_PHRASES):
        remedy = "Give the cookies of an account that may see it, or remove it from the list."
    else:
        remedy = _LINK_REMEDY
    return DownloadError(f"cannot download {url}: {said}", remedy, permanent, retry_after_s)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what led to it, the outermost first."""
    waiting, seen = [error], set[int]()
    while waiting:
        cause = waiting.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        raised = getattr(cause, "exc_info", None)
        for next_cause in (
            raised[1] if raised else None,
            getattr(cause, "cause", None),
            cause.__cause__,
            cause.__context__,
        ):
            if isinstance(next_cause, BaseException):
                waiting.append(next_cause)


def _retry_after(header: str | None) -> float:
    """Seconds that a server asks to be left alone, from its header; 0 if it does not."""
    if not header:
        return 0.0
    if header.strip().isdecimal():
        return float(header)
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - datetime.now(UTC)).total_seconds())


def _one_line(text: str) -> str:
    """What yt-dlp says, without its asides, as one short printable line."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("ERROR:", " ")
    text = re.split(r"; please report this issue|\(caused by ", text)[0]
    line = "".join(c if c.isprintable() else " " for c in text)
    line = re.sub(r"^\s*\[[\w:+-]+\]\s*(?:\S+: )?", "", line)
    return " ".join(line.split())[:_SHOWN_CHARACTERS].rstrip(".")


def _refusal(url: str, problem: str, remedy: str) -> DownloadError:
    return DownloadError(f"cannot download {url}: {problem}", remedy)


def _too_large(url: str, settings: DownloadSettings) -> DownloadError:
    return _refusal(
        url,
        f"it is larger than {settings.max_filesize} bytes",
        "Raise max_filesize, or remove it from the list.",
    )
