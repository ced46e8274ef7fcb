"""Videos that clients sent, and what was made of them, until they are forgotten.

Nothing that a client says becomes a path: folders have random names, and an id is looked up among
those that were given.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dancetomusic.app.limits import Limits, Refusal

_PROBES_AT_ONCE = 2
_PROBE_TIMEOUT_S = 60.0
_SNIFF_BYTES = 192
_NAME_LENGTH = 80
_TAKEN = "Give .mp4, .mov, .mkv, .webm, .avi or .ts."


@dataclass
class Clip:
    """One uploaded video with its folder.

    Attributes:
        id: What the client knows it by; not guessable.
        folder: Holds the video and all that is made of it.
        video: What ``probe`` found.
        made_at: Monotonic time of the upload, in seconds.
        users: Requests that work on it; it is not forgotten meanwhile.
        files: What can be fetched: id → path and the name that it is given.
        takes: What was made for it: id → the folder of a take.
    """

    id: str
    folder: Path
    made_at: float
    video: dict[str, Any] = field(default_factory=dict)
    users: int = 0
    files: dict[str, tuple[Path, str]] = field(default_factory=dict)
    takes: dict[str, Path] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        """The uploaded file; it has no suffix, so only its content says what it is."""
        return self.folder / "source"

    def new_take(self) -> tuple[str, Path]:
        """An id and an empty folder for the next take."""
        name = secrets.token_urlsafe(16)
        self.takes[name] = self.folder / f"take_{name}"
        self.takes[name].mkdir()
        return name, self.takes[name]

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
    """All clips of a server.

    Args:
        folder: Where they are kept; each in a folder of its own.
        limits: How large, how long, how many.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder = folder
        self._limits = limits
        self._clips: dict[str, Clip] = {}
        self._probes = asyncio.Semaphore(_PROBES_AT_ONCE)

    def __len__(self) -> int:
        return len(self._clips)

    async def receive(self, body: AsyncIterator[bytes], declared_bytes: int | None) -> Clip:
        """Store a video and look at it; on any failure nothing of it stays.

        Args:
            body: The file in pieces.
            declared_bytes: Its size by the request, if it says one.

        Raises:
            Refusal: If it is too large or long, no video, or there is no room.
        """
        if declared_bytes is not None and declared_bytes > self._limits.upload_bytes:
            raise self._too_large()
        self._require_room(declared_bytes or 0)
        name = secrets.token_urlsafe(16)
        clip = Clip(name, self._folder / secrets.token_hex(16), time.monotonic(), users=1)
        clip.folder.mkdir()
        self._clips[name] = clip
        try:
            await self._store(body, clip.source)
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

    def find_take(self, name: str) -> tuple[Clip, Path]:
        """The clip and folder of the take with this id.

        Raises:
            Refusal: If there is none (any more).
        """
        for clip in self._clips.values():
            if name in clip.takes:
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
            if not clip.users and time.monotonic() - clip.made_at > self._limits.keep_s:
                self.forget(clip)

    def _require_room(self, needed_bytes: int) -> None:
        used = sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())
        if used + needed_bytes > self._limits.stored_bytes:
            oldest = min((clip.made_at for clip in self._clips.values()), default=0.0)
            raise Refusal(
                429,
                "this server is full",
                "Try again later.",
                retry_after_s=max(1.0, oldest + self._limits.keep_s - time.monotonic()),
            )

    async def _store(self, body: AsyncIterator[bytes], target: Path) -> None:
        start, size = b"", 0
        with target.open("wb") as file:
            async for piece in _unless_silent(body, self._limits.idle_s):
                size += len(piece)
                if size > self._limits.upload_bytes:
                    raise self._too_large()
                if len(start) < _SNIFF_BYTES:
                    start += piece[:_SNIFF_BYTES]
                    if len(start) >= _SNIFF_BYTES and not looks_like_video(start):
                        raise _not_video()
                await asyncio.to_thread(file.write, piece)
        if not size:
            raise Refusal(422, "the file is empty", "Copy or export the video again.")
        if not looks_like_video(start):
            raise _not_video()

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


def looks_like_video(start: bytes) -> bool:
    """Whether a file that starts with ``start`` is in a container that is taken.

    A cheap look at the first 192 bytes before anything is decoded.
    """
    return (
        start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # ISO 14496-12
        or start[:4] == b"\x1aE\xdf\xa3"  # RFC 8794: EBML
        or (start[:4] == b"RIFF" and start[8:12] == b"AVI ")
        or (start[:1] == b"G" and start[188:189] == b"G")  # ISO 13818-1: sync bytes
    )


def file_name(wish: str, suffix: str) -> str:
    """A name for a download that no file system and no header stumbles over.

    Letters and digits of any script, spaces, and ``-_.()`` stay, anything else becomes ``_``.
    """
    stem = re.sub(r"[^\w .()-]", "_", wish).strip(" ._")[:_NAME_LENGTH].rstrip(" ._")
    return f"{stem or 'dance'}{suffix}"


async def _unless_silent(body: AsyncIterator[bytes], idle_s: float) -> AsyncIterator[bytes]:
    pieces = aiter(body)
    while True:
        try:
            yield await asyncio.wait_for(anext(pieces), idle_s)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refusal(408, "nothing more of the file arrived", "Send it again.") from None


def _not_video() -> Refusal:
    return Refusal(415, "the file is in no video format that is accepted", _TAKEN)


def _gone(what: str) -> Refusal:
    return Refusal(404, f"there is no such {what} (any more)", "Upload the video again.")
