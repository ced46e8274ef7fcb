from __future__ import annotations

import re
from pathlib import Path

from dancetomusic.app.beats import MAX_BPM
from dancetomusic.app.guard import MAX_BODY_BYTES, MIN_TOKEN_LENGTH
from dancetomusic.app.limits import Limits
from dancetomusic.app.server import create_app


def test_the_page_of_limits_says_what_holds(repository: Path):
    text = (repository / "docs" / "app.md").read_text()
    limits = Limits()
    for said in (
        f"| size of a video | {limits.upload_bytes // 2**20} MiB |",
        f"| length | {limits.duration_s:.0f} s,",
        "| picture | 4096 × 2304 pixels |",
        f"| silence while sending | {limits.idle_s:.0f} s |",
        f"| jobs in the queue | {limits.waiting_jobs} behind",
        f"| kept on disk | {limits.stored_bytes // 2**30} GiB in all, an hour each |",
        f"| cameras | {limits.live_sessions}, one a visitor |",
        f"at least {MIN_TOKEN_LENGTH} characters",
        f"| other requests | {MAX_BODY_BYTES // 2**10} KiB |",
        f"20 to {MAX_BPM} BPM",
    ):
        assert said in text, said
    assert limits.pixels == 4096 * 2304 and limits.keep_s == 3600 and limits.absent_s == 15


def test_people_and_programs_are_told_of_the_same_requests(repository: Path):
    def plain(path: str) -> str:
        return re.sub(r"\{\w+\}|\b[A-Z]+\b", "*", path.partition("?")[0])

    told = set()
    text = (repository / "docs" / "app.md").read_text()
    for cell in re.findall(r"^\| (`(?:GET|POST|DELETE) .*?) \|", text, re.MULTILINE):
        for words in re.findall(r"`([^`]+)`", cell):
            if found := re.fullmatch(r"(GET|POST|DELETE) (/\S+)", words):
                method, path = found.groups()
                told.add((method, plain(path)))
            elif words.startswith("/"):  # beside the one before
                told.add((method, plain("/".join(path.split("/")[:4]) + words)))
    described = create_app().app.openapi()["paths"]
    assert told - {("GET", "/api/live"), ("GET", "/api/openapi.json")} == {
        (method.upper(), plain(path)) for path, methods in described.items() for method in methods
    }
