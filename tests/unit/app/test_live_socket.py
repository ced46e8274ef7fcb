from __future__ import annotations

import io
import json
import struct
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from dancetomusic.app.limits import Limits, Refusal
from dancetomusic.app.live_socket import BLOCK_S, LiveSessions, read_message
from dancetomusic.live.status import LiveStatus, Percentiles

RATE = 24_000


class Tone:
    """An engine that hums and notes what it is shown."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.sample_rate = RATE
        self.frames: list[float] = []
        self.pulled = 0
        self.closed = False
        self.error: str | None = None

    def push_frame(self, picture: np.ndarray, time_s: float) -> None:
        assert picture.shape == (192, 256, 3)
        self.frames.append(time_s)

    def pull(self, n_samples: int) -> np.ndarray:
        times = np.arange(self.pulled, self.pulled + n_samples) / RATE
        self.pulled += n_samples
        return (0.5 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)

    def status(self) -> LiveStatus:
        nothing = Percentiles(float("nan"), float("nan"), float("nan"), 0)
        return LiveStatus(
            120.0, 0.25, 1, 4, 0.9, 0.5, 0.35, True, 1, np.zeros((33, 2), np.float32),
            nothing, nothing, len(self.frames), 0, 0, self.error,
        )  # fmt: skip

    def close(self) -> None:
        self.closed = True


def message(time_s: float, size: tuple[int, int] = (256, 192)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (20, 40, 60)).save(out, "JPEG")
    return struct.pack("<d", time_s) + out.getvalue()


@pytest.fixture
def served():
    engines: list[Tone] = []

    def make(**options: Any) -> Tone:
        engines.append(Tone(**options))
        return engines[-1]

    sessions = LiveSessions(Limits(live_sessions=1, idle_s=0.5), make)

    async def live(socket: WebSocket) -> None:
        await sessions.serve(socket, socket.query_params.get("me", "me"))

    with TestClient(Starlette(routes=[WebSocketRoute("/live", live)])) as client:
        yield client, engines


@pytest.mark.realtime
def test_sound_comes_at_the_pace_of_the_clock(served):
    client, engines = served
    with client.websocket_connect("/live?buffer_ms=200&seed=3") as socket:
        assert socket.receive_json() == {"sample_rate": RATE}
        began, blocks, states = time.monotonic(), [], []
        for k in range(10):
            socket.send_bytes(message(k / 24))
            blocks.append(np.frombuffer(socket.receive_bytes(), "<i2"))
            states.append(json.loads(socket.receive_text()))
        took = time.monotonic() - began
    assert all(block.size == round(BLOCK_S * RATE) for block in blocks)
    assert took == pytest.approx(10 * BLOCK_S, abs=0.3)
    assert np.abs(np.concatenate(blocks)).max() == pytest.approx(0.5 * 32767, rel=0.01)
    assert states[-1]["bpm"] == 120.0 and len(states[-1]["landmarks"]) == 33
    assert states[-1]["movement_to_sound"]["p50_ms"] is None
    assert engines[0].options["seed"] == 3
    assert engines[0].options["output_latency_s"] == pytest.approx(0.2 + BLOCK_S, abs=0.05)
    assert engines[0].frames == sorted(engines[0].frames) and engines[0].frames


def test_the_engine_is_closed_when_the_page_goes(served):
    client, engines = served
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
    deadline = time.monotonic() + 3
    while not engines[0].closed and time.monotonic() < deadline:
        time.sleep(0.02)
    assert engines[0].closed


def end_of(socket) -> tuple[dict[str, Any], int]:
    """The error that comes before the end, and the code of the end."""
    told: dict[str, Any] = {}
    while True:
        try:
            received = socket.receive()
            if received["type"] == "websocket.close":
                return told, received["code"]
            if received.get("text"):
                told = json.loads(received["text"])
        except WebSocketDisconnect as end:
            return told, end.code


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"12345678",
        struct.pack("<d", 1.0) + b"no picture",
        struct.pack("<d", float("nan")) + message(0.0)[8:],
        message(1.0)[:60],
        message(1.0, (2000, 10)),
    ],
)
def test_what_is_no_picture_ends_the_session_with_a_word(served, sent):
    with served[0].websocket_connect("/live") as socket:
        socket.receive_json()
        socket.send_bytes(sent)
        told, code = end_of(socket)
    assert code == 1003
    assert told["problem"] and told["remedy"]


def test_text_is_refused(served):
    with served[0].websocket_connect("/live") as socket:
        socket.receive_json()
        socket.send_text("hello")
        assert end_of(socket)[1] == 1003


def test_one_camera_more_is_told_to_come_later(served):
    client, _ = served
    with client.websocket_connect("/live?me=1") as first:
        first.receive_json()
        for name in ("1", "2"):
            with client.websocket_connect(f"/live?me={name}") as second:
                told, code = end_of(second)
            assert code == 1013 and told["remedy"]


@pytest.mark.slow(1)
def test_a_camera_that_says_nothing_is_let_go(served):
    with served[0].websocket_connect("/live") as socket:
        socket.receive_json()
        told, code = end_of(socket)
    assert code == 1001 and "picture" in told["problem"]


def test_a_broken_engine_is_told(served):
    client, engines = served
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        engines[0].error = "out of memory"
        told, code = end_of(socket)
    assert code == 1011 and "out of memory" in told["problem"]


@pytest.mark.parametrize("query", ["seed=-1", "seed=x", "buffer_ms=99999", "buffer_ms=-1"])
def test_options_out_of_range_are_refused(served, query):
    with served[0].websocket_connect(f"/live?{query}") as socket:
        told, _ = end_of(socket)
    assert told["problem"]


@pytest.mark.realtime
@pytest.mark.parametrize("side", [5000, 40_000])
def test_a_picture_that_is_small_in_bytes_but_not_in_pixels_is_not_decoded(side):
    bomb = bytearray(message(0.0))
    struct.pack_into(">HH", bomb, bomb.index(b"\xff\xc0") + 5, side, side)
    began = time.perf_counter()
    with pytest.raises(Refusal, match="5000×5000|huge"):
        read_message(bytes(bomb))
    assert time.perf_counter() - began < 0.5
