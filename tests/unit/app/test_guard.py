from __future__ import annotations

import asyncio

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from dancetomusic.app.guard import HEADERS, Guard, require_safe_address
from dancetomusic.app.limits import Limits
from dancetomusic.app.server import create_app, serve
from dancetomusic.errors import ConfigError

TOKEN = "a-long-enough-token"
HOME = "http://localhost:8000"


def client(token: str | None = None, base_url: str = HOME, root_path: str = "") -> TestClient:
    return TestClient(create_app(token=token, root_path=root_path), base_url=base_url)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_token(host):
    require_safe_address(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.4", "example.org", ""])
def test_other_addresses_need_a_token(host):
    with pytest.raises(ConfigError, match="Give a --token"):
        require_safe_address(host, None)
    require_safe_address(host, TOKEN)


def test_a_token_must_be_long():
    with pytest.raises(ConfigError, match="at least 16"):
        require_safe_address("127.0.0.1", "short")


def test_limits_must_be_positive():
    with pytest.raises(ConfigError, match="keep_s is 0"):
        Limits(keep_s=0.0)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:80"])
def test_our_names_are_served(name):
    assert client().get("/health", headers={"Host": name}).json() == {"ok": True}


@pytest.mark.parametrize("name", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", ""])
def test_other_names_are_refused_against_dns_rebinding(name):
    answer = client().get("/", headers={"Host": name})
    assert answer.status_code == 421
    assert answer.json()["remedy"]


@pytest.mark.slow(1)
def test_every_answer_has_the_security_headers():
    for path in ("/", "/static/app.js", "/api/facts", "/nothing"):
        answer = client().get(path)
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, path
    assert "script-src 'self'" in HEADERS["Content-Security-Policy"]
    assert "http" not in HEADERS["Content-Security-Policy"]


def test_another_pages_request_is_refused():
    visitor = client()
    refused = visitor.post("/api/clips", content=b"x", headers={"Origin": "http://evil.example"})
    assert refused.status_code == 403
    cross = visitor.delete("/api/jobs/x", headers={"Sec-Fetch-Site": "cross-site"})
    assert cross.status_code == 403
    assert visitor.delete("/api/jobs/x", headers={"Origin": HOME}).status_code == 404


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "http://localhost:9999"])
def test_sockets_of_other_origins_are_refused(origin):
    headers = {} if origin is None else {"Origin": origin}
    with (
        pytest.raises(WebSocketDisconnect),
        client().websocket_connect("/api/live", headers=headers),
    ):
        pass


def test_only_videos_may_be_large():
    visitor = client()
    assert visitor.post("/api/clips/x/takes", content=b" " * 70_000).status_code == 413
    chunks = visitor.post("/api/clips/x/takes", content=iter([b"{}"]))
    assert chunks.status_code == 411


def test_a_refused_body_is_read_to_a_limit():
    """Closing on a body that is still coming would reset the connection before the answer."""
    asked, answers = [], []

    async def receive():
        asked.append(1)
        return {"type": "http.request", "body": bytes(2**16), "more_body": True}

    async def send(message):
        answers.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/clips/x/takes",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-length", b"9999999999")],
    }
    asyncio.run(Guard(lambda *_: None)(scope, receive, send))
    assert answers[0]["status"] == 413
    assert 2 <= len(asked) < 100


def test_without_the_token_nothing_is_served():
    stranger = client(TOKEN)
    for path in ("/", "/api/facts", "/static/app.js", "/?token=wrong", "/api/facts?token=" + TOKEN):
        assert stranger.get(path, follow_redirects=False).status_code == 401, path
    assert stranger.get("/health").status_code == 200
    with (
        pytest.raises(WebSocketDisconnect),
        stranger.websocket_connect("/api/live", headers={"Origin": HOME}),
    ):
        pass


def test_the_token_opens_a_session_and_leaves_the_address():
    visitor = client(TOKEN, "http://dance.example")
    answer = visitor.get(f"/?token={TOKEN}", follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert "HttpOnly; SameSite=Strict" in answer.headers["Set-Cookie"]
    assert TOKEN not in answer.headers["Set-Cookie"]
    assert visitor.get("/api/facts").status_code == 200


def test_a_script_may_send_the_token_as_a_header():
    answer = client(TOKEN).get("/api/facts", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200


def test_a_made_up_session_counts_for_nothing():
    forged = client(TOKEN)
    forged.cookies.set("dancetomusic", "me." + "0" * 64)
    assert forged.get("/api/facts").status_code == 401


@pytest.mark.parametrize("root_path", ["/dance", "dance/"])
@pytest.mark.parametrize("stripped", [True, False])
def test_a_proxy_may_serve_it_under_a_path(root_path, stripped):
    visitor = client(TOKEN, "http://dance.example", root_path)
    under = "" if stripped else "/dance"
    admitted = visitor.get(f"{under}/?token={TOKEN}", follow_redirects=False)
    assert admitted.headers["Location"] == "/dance/"
    assert "; Path=/dance/;" in admitted.headers["Set-Cookie"]
    cookie = {"Cookie": admitted.headers["Set-Cookie"].partition(";")[0]}
    for path in ("/", "/static/app.js", "/api/facts", "/health"):
        assert visitor.get(under + path, headers=cookie).status_code == 200, path
    visitor.cookies.clear()
    assert visitor.get(f"{under}/api/facts").status_code == 401
    bare = visitor.get("/dance", headers=cookie, follow_redirects=False)
    assert (bare.status_code, bare.headers["Location"]) == (307, "/dance/")


def test_links_of_the_page_are_relative(repository):
    static = repository / "dancetomusic" / "app" / "static"
    for file in static.iterdir():
        for start in ('"', "'", "`"):
            for path in ("static/", "api/"):
                assert f"{start}/{path}" not in file.read_text(), file.name


@pytest.mark.parametrize("path", ["/", "/health", "/api/facts", "/static/app.js"])
def test_what_can_be_got_can_be_asked_about(path):
    visitor = client()
    asked, got = visitor.head(path), visitor.get(path)
    assert asked.status_code == got.status_code == 200
    assert asked.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize("path", ["/api/clips/x", "/api/jobs/x"])
def test_all_that_a_path_takes_is_named_where_something_else_is_asked(path):
    answer = client().options(path)
    assert answer.status_code == 405 and answer.headers["allow"] == "DELETE, GET, HEAD"


def test_a_form_is_told_how_to_send_the_file():
    answer = client().post("/api/clips", files={"file": ("x.mp4", b"x" * 500)})
    assert answer.status_code == 415
    assert "form" in answer.json()["problem"] and "--data-binary" in answer.json()["remedy"]


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_ours_is_said(host):
    with pytest.raises(ConfigError) as error:
        serve(host, 0, token=TOKEN, on_ready=print)
    assert host in error.value.problem and "--host" in error.value.remedy


def test_the_page_asks_no_third_party(repository):
    static = repository / "dancetomusic" / "app" / "static"
    for file in static.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text and "https://" not in text, file.name
