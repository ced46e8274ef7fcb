"""Who may ask: host, origin, session and token are checked before any route is reached.

A page of another site cannot reach a server on loopback: its requests carry another origin, and
a name that it points at 127.0.0.1 (DNS rebinding) is no name of ours. With a token any name is
served, because sessions belong to a name and are only given for the token.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import secrets
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dancetomusic.app.limits import MIN_TOKEN_LENGTH, Refusal
from dancetomusic.errors import ConfigError

COOKIE = "dancetomusic"
UPLOAD_PATH = "/api/clips"
HEALTH_PATH = "/health"
MAX_BODY_BYTES = 64 * 1024
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_POLICY_VIOLATION = 1008
_SKIP_BYTES, _SKIP_S = 2**21, 2.0


def require_safe_address(host: str, token: str | None) -> None:
    """Refuse to serve others than this machine without a token.

    Raises:
        ConfigError: If ``host`` is not loopback and there is no token, or the token is short.
    """
    if token is not None and len(token) < MIN_TOKEN_LENGTH:
        raise ConfigError(
            f"the token has {len(token)} characters", f"Give at least {MIN_TOKEN_LENGTH}."
        )
    if token is None and not _is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from other machines", "Give a --token that visitors must know."
        )


class Guard:
    """ASGI middleware in front of everything else.

    Args:
        app: What is guarded; it sees paths without ``root_path``.
        token: What a visitor must know; ``None`` on loopback, where nobody else can visit.
        root_path: Path under which a proxy serves the page, whether it takes it out of requests
            or not.
    """

    def __init__(self, app: ASGIApp, token: str | None = None, root_path: str = "") -> None:
        self.app = app
        self._token = token
        self._root_path = f"/{root_path.strip('/')}".rstrip("/")
        self._secret = secrets.token_bytes(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or answer why not."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        if self._root_path and scope["path"] == self._root_path:  # links are relative to /…/
            await _send_response(send, 307, {**HEADERS, "Location": f"{self._root_path}/"}, b"")
            return
        if scope["path"].startswith(f"{self._root_path}/"):
            scope = {**scope, "path": scope["path"].removeprefix(self._root_path)}
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            _check_origin(scope, headers)
            _check_body(scope, headers)
            session = self._session(headers)
            if session is None and not self._is_open(scope, headers):
                await self._admit(scope, headers, send)
                return
        except Refusal as refusal:
            await _skip_body(scope, receive)
            await _refuse(scope, send, refusal)
            return
        client = scope.get("client")
        scope["session"] = session or f"address {client[0] if client else '?'}"
        issue = session is None and scope["type"] == "http" and scope["path"] == "/"

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    answer[name] = value
                answer.setdefault("Cache-Control", "no-store")
                if issue:
                    answer["Set-Cookie"] = self._new_cookie(headers)
            await send(message)

        await self.app(scope, receive, send_guarded)

    def _check_host(self, headers: Headers) -> None:
        name = urlsplit(f"//{headers.get('host', '')}").hostname
        if not name or (self._token is None and name not in LOOPBACK_NAMES):
            raise Refusal(
                421, f"this server is not {name or 'nameless'}", "Open it as http://localhost."
            )

    def _session(self, headers: Headers) -> str | None:
        """The session of a cookie that this server gave, if there is one."""
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        name, _, signature = (morsel.value if morsel else "").partition(".")
        valid = hmac.compare_digest(signature.encode(), self._sign(name).encode())
        return name if name and valid else None

    def _sign(self, name: str) -> str:
        return hmac.new(self._secret, name.encode(), hashlib.sha256).hexdigest()

    def _new_cookie(self, headers: Headers) -> str:
        name = secrets.token_urlsafe(16)
        secure = "; Secure" if headers.get("x-forwarded-proto") == "https" else ""
        value = f"{COOKIE}={name}.{self._sign(name)}"
        return f"{value}; Path={self._root_path}/; HttpOnly; SameSite=Strict{secure}"

    def _is_open(self, scope: Scope, headers: Headers) -> bool:
        """Whether no session is needed: no token is set, or the request carries it."""
        given = headers.get("authorization", "").removeprefix("Bearer ")
        return self._token is None or scope["path"] == HEALTH_PATH or self._is_token(given)

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), (self._token or "").encode())

    async def _admit(self, scope: Scope, headers: Headers, send: Send) -> None:
        """Give a session for the token in the address, and take the token out of it."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        given = query.get("token", [""])[0]
        if scope["type"] != "http" or scope["path"] != "/" or not self._is_token(given):
            raise Refusal(
                401, "the token is missing or wrong", "Open the page with ?token=… once more."
            )
        home = f"{self._root_path}/"
        answer = {**HEADERS, "Location": home, "Set-Cookie": self._new_cookie(headers)}
        await _send_response(send, 303, answer, b"")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_origin(scope: Scope, headers: Headers) -> None:
    """Sockets must name our origin; requests that change something must not name another."""
    origin = headers.get("origin")
    is_socket = scope["type"] == "websocket"
    if not is_socket and scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return
    if origin is None and not is_socket and headers.get("sec-fetch-site") != "cross-site":
        return
    if origin is None or urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise Refusal(
            403, f"a page of {origin or 'nowhere'} may not ask this", "Open the app's own page."
        )


def _check_body(scope: Scope, headers: Headers) -> None:
    """Only a video may be large; everything else says its length beforehand."""
    if scope["type"] == "websocket" or scope["path"] == UPLOAD_PATH:
        return
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers:
        raise Refusal(411, "the request does not say its length", "Send Content-Length.")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        raise Refusal(
            413, f"the request has {length} bytes", f"Send at most {MAX_BODY_BYTES} bytes."
        )


async def _skip_body(scope: Scope, receive: Receive) -> None:
    """Read what is still coming, within limits: a reply before its end may be lost."""
    if scope["type"] == "websocket":
        return
    size, more = 0, True
    with suppress(TimeoutError):
        async with asyncio.timeout(_SKIP_S):
            while more and size < _SKIP_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                more = message.get("more_body", False)


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": ""})
        return
    body = json.dumps({"problem": refusal.problem, "remedy": refusal.remedy}).encode()
    headers = {**HEADERS, "Content-Type": "application/json", "Connection": "close"}
    await _send_response(send, refusal.status, headers, body)


async def _send_response(send: Send, status: int, headers: dict[str, str], body: bytes) -> None:
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
