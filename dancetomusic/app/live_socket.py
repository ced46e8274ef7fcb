"""A camera in a browser, played to over a web socket.

Up come binary messages: the time of a picture as a little-endian float64 in seconds on the
client's clock, then the picture as JPEG. Down go binary messages of 16-bit PCM, one channel,
``BLOCK_S`` long each at the pace of the clock, and text messages, JSON: first ``{"sample_rate"}``,
then the engine's status after each block, or ``{"problem", "remedy"}`` before the socket is closed.
"""

from __future__ import annotations

import asyncio
import io
import math
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8
from starlette.websockets import WebSocket, WebSocketDisconnect

from dancetomusic.app.limits import Limits, Refusal
from dancetomusic.errors import DanceToMusicError

BLOCK_S = 0.04
MAX_MESSAGE_BYTES = 128 * 1024
MAX_SIDE = 640
MAX_BUFFER_MS = 1000
_NETWORK_S = 0.02  # of a block, on its way
_LATE_S = 0.5  # sound older than this is left out, not sent late
_TRY_LATER, _UNSUPPORTED, _FAILED, _NO_MORE = 1013, 1003, 1011, 1001


@runtime_checkable
class StreamingEngine(Protocol):
    """What a socket needs of ``dancetomusic.live.engine.LiveEngine``, which is heavy to import."""

    sample_rate: int

    def push_frame(self, picture: UInt8[np.ndarray, "height width 3"], time_s: float) -> None:
        """Give the newest picture."""

    def pull(self, n_samples: int) -> Float32[np.ndarray, " n_samples"]:
        """Take what is to be played next."""

    def status(self) -> Any:
        """Look at its ``LiveStatus``."""

    def close(self) -> None:
        """Stop it."""


class LiveSessions:
    """All cameras that are played to at the moment."""

    def __init__(self, limits: Limits, make_engine: Callable[..., StreamingEngine]) -> None:
        self._limits = limits
        self._make_engine = make_engine
        self._clients: set[str] = set()

    async def serve(self, socket: WebSocket, client: str) -> None:
        """Play to one camera until it goes."""
        await socket.accept()
        try:
            options = _read_options(socket)
            self._enter(client)
        except Refusal as refusal:
            await _close(socket, refusal, _TRY_LATER)
            return
        try:
            await self._play(socket, options)
        except WebSocketDisconnect:
            pass
        except DanceToMusicError as error:
            code = {408: _NO_MORE, 415: _UNSUPPORTED}.get(getattr(error, "status", 0), _FAILED)
            await _close(socket, error, code)
        finally:
            self._clients.discard(client)

    def _enter(self, client: str) -> None:
        if client in self._clients:
            raise Refusal(
                429,
                "a live session is already running for this visitor",
                "Stop the other page first.",
            )
        if len(self._clients) >= self._limits.live_sessions:
            raise Refusal(
                429, f"{len(self._clients)} cameras are played to already", "Try again later."
            )
        self._clients.add(client)

    async def _play(self, socket: WebSocket, options: dict[str, float | int]) -> None:
        engine = await self._start(options)
        tasks: list[asyncio.Task[None]] = []
        try:
            await socket.send_json({"sample_rate": engine.sample_rate})
            tasks = [
                asyncio.create_task(self._look(socket, engine)),
                asyncio.create_task(_sound(socket, engine)),
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            closing = asyncio.create_task(asyncio.to_thread(engine.close))
            for task in tasks:
                task.cancel()
            # Waited for, not awaited: whoever cancels this coroutine here then gets the
            # cancellation back that it asked for, not that of a task.
            ended: asyncio.Future[Any] = asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.wait({ended, closing})
            closing.result()

    async def _start(self, options: dict[str, float | int]) -> StreamingEngine:
        """Make an engine, which takes seconds; the client may be gone by then."""
        making = asyncio.create_task(asyncio.to_thread(self._make_engine, **options))
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(lambda made: made.result().close())
            raise

    async def _look(self, socket: WebSocket, engine: StreamingEngine) -> None:
        while True:
            try:
                message = await asyncio.wait_for(socket.receive_bytes(), self._limits.idle_s)
            except TimeoutError:
                raise Refusal(
                    408, "no picture came for a while", "Start the camera again."
                ) from None
            except KeyError:
                raise Refusal(415, "the message is text", "Send a time and a JPEG.") from None
            time_s, picture = read_message(message)
            engine.push_frame(picture, time_s)


def read_message(message: bytes) -> tuple[float, UInt8[np.ndarray, "height width 3"]]:
    """The time in seconds and the picture, RGB, of a message.

    Raises:
        Refusal: If it is no time with a JPEG, or the picture is large.
    """
    from PIL import Image, UnidentifiedImageError

    if len(message) <= 8 or not math.isfinite(time_s := struct.unpack_from("<d", message)[0]):
        raise Refusal(415, "the message has no time", "Send a float64 and a JPEG.")
    try:
        with Image.open(io.BytesIO(message[8:]), formats=["JPEG"]) as image:
            if max(image.size) > MAX_SIDE:
                raise Refusal(
                    415, f"the picture is {image.size[0]}×{image.size[1]}", "Send it smaller."
                )
            return time_s, np.array(image.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise Refusal(415, "the picture is huge", "Send it smaller.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise Refusal(415, "the picture is no readable JPEG", "Send a whole JPEG.") from error


async def _sound(socket: WebSocket, engine: StreamingEngine) -> None:
    block = round(BLOCK_S * engine.sample_rate)
    began, sent = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) * engine.sample_rate) - sent
        if due < block:
            await asyncio.sleep((block - due) / engine.sample_rate)
            continue
        if due > _LATE_S * engine.sample_rate:
            engine.pull(due - block)
            sent += due - block
        samples = engine.pull(block)
        sent += block
        await socket.send_bytes(np.round(samples.clip(-1, 1) * 32767).astype("<i2").tobytes())
        status = engine.status()
        if status.error is not None:
            raise DanceToMusicError(f"the engine stopped ({status.error})", "Start it again.")
        await socket.send_json(status.to_json())


def _read_options(socket: WebSocket) -> dict[str, float | int]:
    """What the address of the socket asks of the engine."""
    query = socket.query_params
    try:
        seed, buffer_ms = int(query.get("seed", "0")), int(query.get("buffer_ms", "100"))
    except ValueError:
        raise Refusal(422, "seed and buffer_ms are whole numbers", "Correct them.") from None
    if not (0 <= seed < 2**31 and 0 <= buffer_ms <= MAX_BUFFER_MS):
        raise Refusal(422, "seed or buffer_ms is out of range", "Correct them.")
    return {"seed": seed, "output_latency_s": buffer_ms / 1000 + BLOCK_S + _NETWORK_S}


async def _close(socket: WebSocket, error: DanceToMusicError, code: int) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # it may be closed already
        await socket.send_json({"problem": error.problem, "remedy": error.remedy})
        await socket.close(code)
