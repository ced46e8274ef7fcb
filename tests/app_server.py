"""The web server as a process of its own, and a small client for it."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.video_factory import write_video

_PROGRAM = """
import json, sys
from dancetomusic.app.limits import Limits
from dancetomusic.app.server import serve
options = json.loads(sys.argv[1])
limits = Limits(**options.pop("limits", {}))
serve("127.0.0.1", 0, on_ready=lambda url: print(url, flush=True), limits=limits, **options)
"""


@contextmanager
def running_server(temporary: Path, **options: Any) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server with its files in ``temporary``; its address and its process."""
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, json.dumps(options)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip().rstrip("/"), process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@contextmanager
def new_client(address: str) -> Iterator[httpx.Client]:
    """A client with a session of its own, as a browser has."""
    with httpx.Client(base_url=address, timeout=300) as client:
        client.get("/").raise_for_status()
        yield client


def send_video(client: httpx.Client, content: bytes, name: str = "") -> httpx.Response:
    return client.post("/api/clips", content=content, params={"name": name} if name else None)


def follow(client: httpx.Client, job: str) -> dict[str, Any]:
    """The last state of a job."""
    state: dict[str, Any] = {}
    with client.stream("GET", f"/api/jobs/{job}") as events:
        for line in events.iter_lines():
            if line.startswith("data: "):
                state = json.loads(line.removeprefix("data: "))
    return state


def make_take(client: httpx.Client, clip: str, **wish: Any) -> dict[str, Any]:
    """A take's final state; asks again whenever the server says when to."""
    return _run(client, f"/api/clips/{clip}/takes", wish)


def read_rhythm(client: httpx.Client, clip: str, **wish: Any) -> dict[str, Any]:
    """The final state of reading a clip's rhythm, likewise."""
    return _run(client, f"/api/clips/{clip}/rhythm", wish)


def get_file(client: httpx.Client, take: str, **wish: Any) -> httpx.Response:
    """A file made of a take."""
    state = _run(client, f"/api/takes/{take}/files", wish)
    assert state["state"] == "done", state
    return client.get(state["result"]["url"])


def _run(client: httpx.Client, path: str, wish: dict[str, Any]) -> dict[str, Any]:
    while True:
        answer = client.post(path, json=wish)
        if answer.status_code != 429:
            break
        time.sleep(min(3.0, float(answer.headers["Retry-After"])))
    assert answer.status_code == 202, answer.text
    return follow(client, answer.json()["job"])


def claim_hours(path: Path, hours: float) -> bytes:
    """A short video that says it is long: in its header (.mkv), or by its slow clock (.mp4)."""
    content = bytearray(write_video(path, n_frames=36).read_bytes())
    if path.suffix == ".mp4":
        media = content.index(b"mdhd")  # ISO 14496-12: ticks a second, then ticks in all
        (ticks,) = struct.unpack_from(">I", content, media + 20)
        struct.pack_into(">I", content, media + 16, max(1, round(ticks / (hours * 3600))))
    else:
        place = content.index(b"\x44\x89\x88") + 3  # RFC 9559: Duration, a float of 8 bytes
        struct.pack_into(">d", content, place, hours * 3_600_000.0)
    return bytes(content)
