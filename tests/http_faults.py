"""An HTTP server on the loopback that serves bytes and fails on demand."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

Fault = Callable[["_Handler", "Resource"], None]
"""Answers one request in place of the right answer."""

_BLOCK = 1 << 14


def status(code: int, **headers: str) -> Fault:
    """An error page; ``_`` in the names of headers stands for ``-``."""

    def answer(handler: _Handler, _: Resource) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "5")
        handler.end_headers()
        handler.wfile.write(b"sorry")

    return answer


def redirect(target: str) -> Fault:
    return status(302, Location=target)


def reset(after: int = 0) -> Fault:
    """The connection breaks after some bytes of the body, or before the first word."""

    def answer(handler: _Handler, resource: Resource) -> None:
        if after:
            handler.send_part(resource, limit=after)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.close_connection = True
        handler.connection.close()

    return answer


def truncate(after: int) -> Fault:
    """The connection ends in order, with fewer bytes than were announced."""

    def answer(handler: _Handler, resource: Resource) -> None:
        handler.send_part(resource, limit=after)
        handler.close_connection = True

    return answer


def slow(bytes_a_second: int) -> Fault:
    """The right answer, drop by drop."""

    def answer(handler: _Handler, resource: Resource) -> None:
        handler.send_part(resource, pause_s=_BLOCK / bytes_a_second)

    return answer


def stall(seconds: float) -> Fault:
    """Silence, then the end of the connection."""

    def answer(handler: _Handler, _: Resource) -> None:
        handler.server.stopping.wait(seconds)
        handler.close_connection = True

    return answer


def endless(handler: _Handler, resource: Resource) -> None:
    """A body without announced length that goes on until the client leaves."""
    handler.send_response(200)
    handler.send_header("Content-Type", resource.content_type)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    while not handler.server.stopping.is_set():
        handler.wfile.write(bytes(_BLOCK))


@dataclass
class Resource:
    """What stands at one path.

    Attributes:
        body: The right answer.
        content_type: Of it.
        ranges: Whether parts of it may be asked for.
        faults: Answers to the first requests; ``None`` for the right one.
        always: Answer to all requests after these; ``None`` for the right one.
    """

    body: bytes
    content_type: str = "video/mp4"
    ranges: bool = True
    faults: list[Fault | None] = field(default_factory=list)
    always: Fault | None = None


@dataclass(frozen=True)
class Request:
    """A request that came; ``path`` as sent, ``range`` empty without."""

    path: str
    range: str


class FaultyServer:
    """Use as a context manager; serves nothing until told to."""

    def __init__(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.requests: list[Request] = self._server.requests

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(
        self,
        path: str,
        body: bytes | Path = b"",
        *,
        content_type: str = "video/mp4",
        ranges: bool = True,
        faults: Sequence[Fault | None] = (),
        always: Fault | None = None,
    ) -> str:
        """Put something at a path such as ``/a.mp4`` and give its URL, percent-encoded."""
        content = body.read_bytes() if isinstance(body, Path) else body
        encoded = quote(path, safe="/%?=&")
        self._server.resources[encoded] = Resource(
            content, content_type, ranges, list(faults), always
        )
        return self.url(encoded)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        super().__init__(address, handler)
        self.resources: dict[str, Resource] = {}
        self.requests: list[Request] = []
        self.stopping = threading.Event()
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave early are no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        resource = self.server.resources.get(self.path)
        with self.server.lock:
            self.server.requests.append(Request(self.path, self.headers.get("Range", "")))
            if resource is None:
                answer: Fault | None = status(404)
            elif resource.faults:
                answer = resource.faults.pop(0)
            else:
                answer = resource.always
        if resource is None:
            resource = Resource(b"")
        if answer is None:
            self.send_part(resource)
        else:
            answer(self, resource)

    def send_part(
        self, resource: Resource, *, limit: int | None = None, pause_s: float = 0.0
    ) -> None:
        """Send what was asked for, at most ``limit`` bytes of it."""
        body, first = resource.body, 0
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked and resource.ranges:
            first = int(asked[1])
            last = min(int(asked[2] or len(body) - 1), len(body) - 1)
            if first > last:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
            body = body[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("Content-Type", resource.content_type)
        self.send_header("Accept-Ranges", "bytes" if resource.ranges else "none")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body[:limit]
        for start in range(0, len(sent), _BLOCK):
            self.wfile.write(sent[start : start + _BLOCK])
            if pause_s:
                self.wfile.flush()
                time.sleep(pause_s)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is printed."""
