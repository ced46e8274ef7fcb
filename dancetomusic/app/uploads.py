"""Videos that clients sent, and what was made of them, until they are forgotten.

Nothing that a client says becomes a path: folders have random names, and an id is looked up among
those that were given.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect

from dancetomusic.app.limits import TAKEN, Limits, Refusal

logger = logging.getLogger(__name__)

_PROBES_AT_ONCE = 2
_PROBE_TIMEOUT_S = 60.0
_SNIFF_BYTES = 200
_NAME_LENGTH = 80


@dataclass
class Take:
    """Music that was made for a clip, or is being made.

    Attributes:
        result: What the worker says of it; empty until it is done.
    """

    folder: Path
    wish: dict[str, Any]
    result: dict[str, Any] = field(default_factory=dict)


@dataclass
class Clip:
    """One uploaded video with its folder.

    Attributes:
        id: What the client knows it by; not guessable.
        name: What its client calls it; only ever shown.
        used_at: Monotonic time of the upload or the last job, in seconds.
        users: Requests that work on it; it is not forgotten meanwhile.
        files: What can be fetched: id → path and the name that it is given.
    """

    id: str
    client: str
    name: str
    folder: Path
    used_at: float
    media_type: str = ""
    video: dict[str, Any] = field(default_factory=dict)
    users: int = 0
    files: dict[str, tuple[Path, str]] = field(default_factory=dict)
    analysis: dict[str, Any] | None = None
    takes: dict[str, Take] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        """The uploaded file; it has no suffix, so only its content says what it is."""
        return self.folder / "source"

    def new_take(self, wish: dict[str, Any]) -> tuple[str, Take]:
        """An id for the next take, and the take with an empty folder."""
        name = secrets.token_urlsafe(16)
        take = self.takes[name] = Take(self.folder / f"take_{name}", wish)
        take.folder.mkdir()
        return name, take

    def new_file(self, shown: str) -> tuple[str, Path]:
        """An id and a path for the next file to fetch, which its client will know as ``shown``."""
        name = secrets.token_urlsafe(16)
        path = self.folder / f"file_{name}{Path(shown).suffix}"
        self.files[name] = path, shown
        return name, path

    def drop_file(self, name: str) -> None:
        """Forget a file and delete what there is of it."""
        self.files.pop(name)[0].unlink(missing_ok=True)


class Clips:
    """All clips of a server."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._clips: dict[str, Clip] = {}
        self._probes = asyncio.Semaphore(_PROBES_AT_ONCE)

    def __len__(self) -> int:
        return len(self._clips)

    async def receive(
        self,
        body: AsyncIterator[bytes],
        declared_bytes: int | None,
        *,
        client: str = "",
        shown: str = "",
    ) -> Clip:
        """Store a video and look at it; on any failure nothing of it stays.

        ``body`` is the file in pieces, of ``declared_bytes`` if the request says so. Where room is
        needed, the oldest of the client's own go.

        Raises:
            Refusal: If it is too large or long, no video, broke off, or there is no room.
        """
        if declared_bytes is not None and declared_bytes > self._limits.upload_bytes:
            raise self._too_large()
        self._require_room(declared_bytes or 0, client)
        name, folder = secrets.token_urlsafe(16), self._folder / secrets.token_hex(16)
        clip = Clip(name, client, file_name(shown, ""), folder, time.monotonic(), users=1)
        clip.folder.mkdir()
        self._clips[name] = clip
        try:
            clip.media_type = await self._store(body, clip.source)
            clip.video = await self._probe(clip.source)
        except BaseException:
            self.forget(clip)
            raise
        finally:
            clip.users -= 1
        return clip

    def find(self, name: str) -> Clip:
        """The clip with this id.

        Raises:
            Refusal: If there is none (any more).
        """
        if name not in self._clips:
            raise _gone("video")
        return self._clips[name]

    def find_take(self, name: str) -> tuple[Clip, Take]:
        """The clip and the finished take with this id.

        Raises:
            Refusal: If there is none (any more).
        """
        for clip in self._clips.values():
            if name in clip.takes and clip.takes[name].result:
                return clip, clip.takes[name]
        raise _gone("take")

    def find_file(self, name: str) -> tuple[Path, str]:
        """The finished file with this id, and the name that it is given.

        Raises:
            Refusal: If there is none (any more).
        """
        for clip in self._clips.values():
            if name in clip.files and clip.files[name][0].is_file():
                return clip.files[name]
        raise _gone("file")

    def forget(self, clip: Clip) -> None:
        """Delete a clip with all that was made of it."""
        self._clips.pop(clip.id, None)
        shutil.rmtree(clip.folder, ignore_errors=True)

    def forget_old(self) -> None:
        """Delete what nobody works on and was kept for long enough."""
        for clip in list(self._clips.values()):
            if not clip.users and time.monotonic() - clip.used_at > self._limits.keep_s:
                self.forget(clip)

    def _require_room(self, needed_bytes: int, client: str) -> None:
        idle = [clip for clip in self._clips.values() if clip.client == client and not clip.users]
        own = sorted(idle, key=lambda clip: clip.used_at)
        while self._stored_bytes() + needed_bytes > self._limits.stored_bytes:
            if own:
                self.forget(own.pop(0))
                continue
            oldest = min((clip.used_at for clip in self._clips.values()), default=0.0)
            raise Refusal(
                429,
                "this server is full",
                "Try again later.",
                retry_after_s=max(1.0, oldest + self._limits.keep_s - time.monotonic()),
            )

    def _stored_bytes(self) -> int:
        return sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())

    async def _store(self, body: AsyncIterator[bytes], target: Path) -> str:
        """Write the file; gives its media type."""
        start, size = b"", 0
        with target.open("wb") as file:
            async for piece in _unless_silent(body, self._limits.idle_s):
                size += len(piece)
                if size > self._limits.upload_bytes:
                    raise self._too_large()
                if len(start) < _SNIFF_BYTES:
                    start += piece[:_SNIFF_BYTES]
                    if len(start) >= _SNIFF_BYTES and not media_type(start):
                        raise _not_video()
                await asyncio.to_thread(file.write, piece)
        if not size:
            raise Refusal(422, "the file is empty", "Copy or export the video again.")
        found = media_type(start)
        if not found:
            raise _not_video()
        return found

    async def _probe(self, path: Path) -> dict[str, Any]:
        async with self._probes:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "dancetomusic.app.probe",
                str(path),
                json.dumps(asdict(self._limits)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                printed, _ = await asyncio.wait_for(process.communicate(), _PROBE_TIMEOUT_S)
            except TimeoutError:
                printed = b""
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode != 0 or not printed:
            raise Refusal(
                422, "the video cannot be read with reasonable effort", "Convert it to H.264 first."
            )
        found = json.loads(printed)
        if "refusal" in found:
            raise Refusal(*found["refusal"])
        video: dict[str, Any] = found["video"]
        return video

    def _too_large(self) -> Refusal:
        megabytes = self._limits.upload_bytes / 2**20
        return Refusal(
            413, "the file is too large", f"Give at most {megabytes:.0f} MiB: cut or compress it."
        )


def media_type(start: bytes) -> str:
    """Of the container of a file that starts with ``start``; empty for one that is not taken.

    A cheap look at the first 200 bytes before anything is decoded.
    """
    packets = [(0, 188), (4, 196)]  # of MPEG-TS, and of AVCHD, which puts a time before each
    known = {
        "video/mp4": start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"),
        "video/webm": start[:4] == b"\x1aE\xdf\xa3",  # RFC 8794: EBML
        "video/x-msvideo": start[:4] == b"RIFF" and start[8:12] == b"AVI ",
        "video/mp2t": any(start[a : a + 1] == start[b : b + 1] == b"G" for a, b in packets),
        "video/mpeg": start[:4] == b"\0\0\1\xba",  # ISO 13818-1: pack header
        "video/x-flv": start[:4] == b"FLV\1",
        "video/ogg": start[:4] == b"OggS",  # RFC 3533
    }
    return next((name for name, fits in known.items() if fits), "")


def file_name(wish: str, suffix: str) -> str:
    """A name for a download that no file system and no header stumbles over.

    Letters and digits of any script, spaces, and ``-_.()`` stay, anything else becomes ``_``.
    """
    stem = re.sub(r"[^\w .()-]", "_", wish).strip(" ._")[:_NAME_LENGTH].rstrip(" ._")
    return f"{stem or 'dance'}{suffix}"


async def _unless_silent(body: AsyncIterator[bytes], idle_s: float) -> AsyncIterator[bytes]:
    pieces, size = aiter(body), 0
    while True:
        try:
            piece = await asyncio.wait_for(anext(pieces), idle_s)
            size += len(piece)
            yield piece
        except StopAsyncIteration:
            return
        except ClientDisconnect:
            logger.warning("an upload broke off after %d bytes", size)
            raise Refusal(400, "the upload broke off", "Send it again.") from None
        except TimeoutError:
            raise Refusal(408, "nothing more of the file arrived", "Send it again.") from None


def _not_video() -> Refusal:
    return Refusal(415, "the file is in no video format that is accepted", TAKEN)


def _gone(what: str) -> Refusal:
    return Refusal(404, f"there is no such {what} (any more)", "Upload the video again.")
