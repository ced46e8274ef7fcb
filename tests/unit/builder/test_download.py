from __future__ import annotations

import email.utils
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from dancetomusic.builder import remote
from dancetomusic.builder.download import DownloadError, DownloadSettings, fetch
from dancetomusic.builder.remote import find_ffmpeg
from dancetomusic.builder.sources import Section
from dancetomusic.errors import ConfigError, InputError, OutputError, VideoError
from dancetomusic.io.video import probe_video, read_frames
from tests.http_faults import FaultyServer, endless, redirect, reset, slow, stall, status, truncate
from tests.video_factory import clicks, read_number, write_video

SETTINGS = DownloadSettings(retries=3, socket_timeout_s=2.0)
needs_ffmpeg = pytest.mark.skipif(find_ffmpeg() is None, reason="FFmpeg is not installed")


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DANCETOMUSIC_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Twelve seconds with sound; what tells the decoder how to read it stands at the end."""
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    return write_video(path, n_frames=288, sound=clicks([1.0, 2.0], 12.0)).read_bytes()


@pytest.fixture(scope="module")
def other_video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("other") / "video.mp4", n_frames=24).read_bytes()


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    return []


def page_of(server: FaultyServer, name: str, url: str, duration_s: float) -> str:
    """A page that tells of a video and how long it is."""
    facts = {
        "@context": "https://schema.org",
        "@type": "VideoObject",
        "name": "../../a; rm -rf '$HOME' \"x\" 踊り",
        "contentUrl": url,
        "duration": f"PT{duration_s:g}S",
    }
    text = f'<html><script type="application/ld+json">{json.dumps(facts)}</script></html>'
    return server.serve(f"/{name}", text.encode(), content_type="text/html")


def n_finished(store: Path) -> int:
    return len(list(store.rglob("*.json")))


def assert_tidy(store: Path) -> None:
    """Nothing is in the store but locks, and videos with a record each."""
    for home in store.glob("*/*"):
        names = {file.name for file in home.iterdir()} - {"lock"}
        records = {name for name in names if name.endswith(".json")}
        files = {json.loads((home / name).read_text())["file"] for name in records}
        assert names == records | files


def test_a_local_video_is_probed_and_left_where_it_is(tmp_path: Path, video: bytes) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(video)
    fetched = fetch(Section("a.mp4", 2.0, 4.0, str(file)), tmp_path / "store")
    assert (fetched.path, fetched.offset_s, fetched.duration_s) == (file, 0.0, 12.0)
    assert not (tmp_path / "store").exists()
    with pytest.raises(VideoError, match=r"begins at 12 s, its video ends at 12\.0 s"):
        fetch(Section("a.mp4", 12.0, None, str(file)), tmp_path)
    file.write_bytes(b"")
    with pytest.raises(VideoError, match="is empty"):
        fetch(Section("a.mp4", path=str(file)), tmp_path)


@pytest.mark.slow(1)
def test_sections_of_one_video_share_a_download(
    tmp_path: Path, server: FaultyServer, video: bytes
) -> None:
    url = server.serve("/v.mp4", video)
    first = fetch(Section(url, 1.0, 2.0), tmp_path, SETTINGS)
    asked = len(server.requests)
    assert first.path.read_bytes() == video
    assert (first.offset_s, first.duration_s, first.truncated) == (0.0, 12.0, False)
    assert fetch(Section(url, 3.0, 9.0), tmp_path, SETTINGS) == first
    assert len(server.requests) == asked
    assert_tidy(tmp_path)


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("faults", "n_waits"),
    [
        ([status(503)], 1),
        ([status(429), status(500), status(408)], 3),
        ([reset()], 1),
        ([stall(5.0)], 1),
        ([None, status(503)], 1),
        ([None, reset()], 1),
        ([None, reset(20_000)], 1),
        ([None, truncate(10_000)], 1),
    ],
    ids=lambda value: None if isinstance(value, int) else str(len(value)),
)
@pytest.mark.parametrize("ranges", [True, False])
def test_faults_that_pass_are_waited_out(
    tmp_path: Path,
    server: FaultyServer,
    video: bytes,
    waits: list[float],
    faults: list,
    n_waits: int,
    ranges: bool,
) -> None:
    url = server.serve("/v.mp4", video, faults=faults, ranges=ranges)
    fetched = fetch(Section(url), tmp_path, SETTINGS, sleep=waits.append)
    assert fetched.path.read_bytes() == video
    assert len(waits) == n_waits
    assert all(0.5 <= wait / (2.0 * 2**k) <= 1.5 for k, wait in enumerate(waits))
    assert_tidy(tmp_path)


@pytest.mark.slow
def test_a_broken_body_is_continued_as_long_as_something_is_gained(
    tmp_path: Path, server: FaultyServer, video: bytes, waits: list[float]
) -> None:
    url = server.serve("/v.mp4", video, always=truncate(2500))
    fetched = fetch(Section(url), tmp_path, replace(SETTINGS, retries=1), sleep=waits.append)
    assert fetched.path.read_bytes() == video and len(waits) > 3
    stuck = server.serve("/w.mp4", video, always=truncate(2500), ranges=False)
    with pytest.raises(DownloadError) as caught:
        fetch(Section(stuck), tmp_path, SETTINGS, sleep=waits.append)
    assert not caught.value.permanent
    assert_tidy(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("faults", [[], [None]], ids=["page", "body"])
def test_a_server_that_asks_for_time_gets_it(
    tmp_path: Path, server: FaultyServer, video: bytes, waits: list[float], faults: list
) -> None:
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    busy = [status(429, Retry_After="31"), *faults, status(503, Retry_After=date)]
    url = server.serve("/v.mp4", video, faults=[*faults, *busy])
    fetch(Section(url), tmp_path, SETTINGS, sleep=waits.append)
    assert waits[0] == 31.0 and 50 < waits[1] <= 60
    greedy = server.serve("/w.mp4", video, always=status(503, Retry_After="99999"))
    with pytest.raises(DownloadError, match="later") as caught:
        fetch(Section(greedy), tmp_path, SETTINGS, sleep=waits.append)
    assert len(waits) == 2 and not caught.value.permanent


@pytest.mark.slow(1)
def test_a_fault_that_stays_is_given_up(
    tmp_path: Path, server: FaultyServer, waits: list[float]
) -> None:
    url = server.serve("/v.mp4", always=status(503))
    with pytest.raises(DownloadError, match="503") as caught:
        fetch(Section(url), tmp_path, SETTINGS, sleep=waits.append)
    assert not caught.value.permanent and len(waits) == SETTINGS.retries
    assert len(server.requests) == 1 + SETTINGS.retries
    assert n_finished(tmp_path) == 0


@pytest.mark.slow
def test_a_server_that_is_not_there_may_come_back(tmp_path: Path, waits: list[float]) -> None:
    with FaultyServer() as gone:
        url = gone.url("/v.mp4")
    with pytest.raises(DownloadError, match="refused") as caught:
        fetch(Section(url), tmp_path, SETTINGS, sleep=waits.append)
    assert not caught.value.permanent and len(waits) == SETTINGS.retries


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 451])
@pytest.mark.parametrize("faults", [[], [None]], ids=["page", "body"])
def test_what_is_gone_is_not_asked_for_again(
    tmp_path: Path, server: FaultyServer, waits: list[float], code: int, faults: list
) -> None:
    url = server.serve("/v.mp4", b"x", faults=faults, always=status(code))
    with pytest.raises(DownloadError, match=str(code)) as caught:
        fetch(Section(url), tmp_path, SETTINGS, sleep=waits.append)
    assert caught.value.permanent and not waits and url in str(caught.value)
    assert len(server.requests) == 1 + len(faults)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value) and copy.permanent
    assert_tidy(tmp_path)


@pytest.mark.slow
def test_a_circle_of_redirections(tmp_path: Path, server: FaultyServer, waits: list[float]) -> None:
    server.serve("/b.mp4", always=redirect("/a.mp4"))
    url = server.serve("/a.mp4", always=redirect("/b.mp4"))
    with pytest.raises(DownloadError, match="redirect") as caught:
        fetch(Section(url), tmp_path, SETTINGS, sleep=waits.append)
    assert caught.value.permanent and not waits


@pytest.mark.slow
def test_a_redirection_is_followed_but_not_to_a_file(
    tmp_path: Path, server: FaultyServer, video: bytes, waits: list[float]
) -> None:
    server.serve("/b.mp4", video)
    url = server.serve("/a.mp4", always=redirect("/b.mp4"))
    assert fetch(Section(url), tmp_path, SETTINGS).duration_s == 12.0
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(video)
    for target in (secret.as_uri(), f"file:{secret}"):
        url = server.serve("/c.mp4", always=redirect(target))
        with pytest.raises(DownloadError):
            fetch(Section(url), tmp_path / "store", SETTINGS, sleep=waits.append)
        page = page_of(server, "page.html", target, 12.0)
        with pytest.raises(DownloadError):
            fetch(Section(page, 0.0, 1.0), tmp_path / "store", SETTINGS, sleep=waits.append)
    assert n_finished(tmp_path / "store") == 0


def test_a_file_url_is_never_downloaded(tmp_path: Path, video: bytes, waits: list[float]) -> None:
    (tmp_path / "a.mp4").write_bytes(video)
    url = (tmp_path / "a.mp4").as_uri()
    with pytest.raises(DownloadError) as caught:
        fetch(Section(url), tmp_path / "store", SETTINGS, sleep=waits.append)
    assert caught.value.permanent and n_finished(tmp_path / "store") == 0


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "video/mp4"),
        (b"<!DOCTYPE html><html><body>no video</body></html>", "text/html"),
        (b"<!DOCTYPE html><html><body>no video</body></html>", "video/mp4"),
        (b"just words", "text/plain"),
        (bytes(5000), "application/octet-stream"),
    ],
    ids=["empty", "page", "page called video", "text", "zeros"],
)
def test_what_is_no_video(
    tmp_path: Path,
    server: FaultyServer,
    waits: list[float],
    body: bytes,
    content_type: str,
) -> None:
    url = server.serve("/v.mp4", body, content_type=content_type)
    with pytest.raises(DownloadError) as caught:
        fetch(Section(url), tmp_path, SETTINGS, sleep=waits.append)
    assert caught.value.permanent == bool(body) and str(tmp_path) not in str(caught.value)
    assert n_finished(tmp_path) == 0
    assert_tidy(tmp_path)


@pytest.mark.slow(1)
def test_a_wrong_content_type_is_no_hindrance(
    tmp_path: Path, server: FaultyServer, video: bytes
) -> None:
    for content_type in ("text/plain", "application/octet-stream", "image/png", ""):
        url = server.serve(f"/{content_type[:3]}.mp4", video, content_type=content_type)
        assert fetch(Section(url), tmp_path, SETTINGS).path.read_bytes() == video


@pytest.mark.slow
def test_a_video_that_is_damaged_at_its_source(
    tmp_path: Path, server: FaultyServer, video: bytes, waits: list[float]
) -> None:
    no_index = server.serve("/a.mp4", video[: len(video) // 2])
    with pytest.raises(DownloadError, match="cannot be used") as caught:
        fetch(Section(no_index), tmp_path, SETTINGS, sleep=waits.append)
    assert caught.value.permanent and len(waits) == 1
    early = tmp_path / "early.mp4"
    write_video(early, n_frames=288, container_options={"movflags": "faststart"})
    content = early.read_bytes()
    cut = server.serve("/b.mp4", content[: len(content) // 2])
    fetched = fetch(Section(cut), tmp_path / "store", SETTINGS, sleep=waits.append)
    assert fetched.truncated and 0 < fetched.duration_s < 11 and len(waits) == 2
    healed = server.serve("/c.mp4", content, faults=[None])
    assert not fetch(Section(healed), tmp_path / "store", SETTINGS).truncated


def test_times_that_begin_late_are_no_reason_to_download_again(
    tmp_path: Path, server: FaultyServer, waits: list[float]
) -> None:
    late = write_video(
        tmp_path / "late.mkv",
        times=[5 + Fraction(k, 24) for k in range(48)],
        sound=clicks([1], 2),
        sound_start_s=5.0,
        sound_codec="libopus",
    )
    url = server.serve("/v.mkv", late.read_bytes(), content_type="video/x-matroska")
    fetched = fetch(Section(url), tmp_path / "store", SETTINGS, sleep=waits.append)
    assert not waits and not fetched.truncated
    assert fetched.duration_s == pytest.approx(2, abs=0.01)


@pytest.mark.slow
def test_names_of_all_kinds_are_only_data(
    tmp_path: Path, server: FaultyServer, video: bytes, other_video: bytes
) -> None:
    store = tmp_path / "store"
    paths = [
        *("/..%2F..%2Fescape.mp4", "/..%2Fa;touch%20x.mp4", "/'\"`$(id)`.mp4"),
        *("/踊り.mp4", "/-oexec.mp4", "/%25(title)s.mp4", "/a%0Ab.mp4", "/" + "x" * 300 + ".mp4"),
        *("/~/a.mp4", "/$HOME/v.mp4", "/.mp4", "/con.mp4?x=../../y"),
    ]
    for path in paths:
        fetched = fetch(Section(server.serve(path, other_video)), store, SETTINGS)
        assert fetched.path.read_bytes() == other_video
        assert fetched.path.is_relative_to(store) and fetched.path.name == "whole.mp4"
    one = fetch(Section(server.serve("/one/v.mp4", video)), store, SETTINGS)
    two = fetch(Section(server.serve("/two/v.mp4", other_video)), store, SETTINGS)
    assert (one.path.read_bytes(), two.path.read_bytes()) == (video, other_video)
    assert {entry.name for entry in tmp_path.iterdir()} == {"store", "cache"}
    assert_tidy(store)


@pytest.mark.slow
def test_limits(tmp_path: Path, server: FaultyServer, video: bytes, waits: list[float]) -> None:
    url = server.serve("/v.mp4", video)
    small = replace(SETTINGS, max_filesize=1000)
    unannounced = server.serve("/endless.mp4", always=endless)
    for source in (url, unannounced):
        with pytest.raises(DownloadError, match="larger than 1000 bytes") as caught:
            fetch(Section(source), tmp_path, small, sleep=waits.append)
        assert caught.value.permanent
    page = page_of(server, "long.html", url, 12.0)
    for source in (url, page):
        with pytest.raises(DownloadError, match=r"lasts 12 s, more than 10 s") as caught:
            fetch(Section(source), tmp_path, replace(SETTINGS, max_duration_s=10.0))
        assert caught.value.permanent
    lame = server.serve("/slow.mp4", video, always=slow(40_000), ranges=False)
    with pytest.raises(DownloadError, match="not done after") as caught:
        fetch(Section(lame), tmp_path, replace(SETTINGS, deadline_s=0.3, retries=0))
    assert not caught.value.permanent and not waits
    assert_tidy(tmp_path)


@pytest.mark.slow(1)
def test_a_live_stream_and_a_page_of_several_videos(
    tmp_path: Path, server: FaultyServer, video: bytes, waits: list[float]
) -> None:
    sources = [server.serve(f"/{k}.mp4", video) for k in range(2)]
    tags = "".join(f'<video src="{source}"></video>' for source in sources)
    several = server.serve("/several", f"<html>{tags}</html>".encode(), content_type="text/html")
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n/0.mp4\n"
    live = server.serve("/live.m3u8", playlist, content_type="application/x-mpegurl")
    for url, reason in ((several, "exactly one"), (live, "live")):
        with pytest.raises(DownloadError, match=reason) as caught:
            fetch(Section(url), tmp_path, SETTINGS, sleep=waits.append)
        assert caught.value.permanent
    assert not waits


@pytest.mark.slow
@needs_ffmpeg
def test_a_small_section_is_fetched_alone_and_begins_where_it_should(
    tmp_path: Path, server: FaultyServer, video: bytes
) -> None:
    page = page_of(server, "page", server.serve("/v.mp4", video), 12.0)
    alone = fetch(Section(page, 7.25, 9.25), tmp_path, SETTINGS)
    assert alone.offset_s == 7.25 and abs(alone.duration_s - 2.0) < 0.05
    assert probe_video(alone.path).has_audio
    shown = [read_number(picture) for picture in read_frames(alone.path)]
    assert shown == list(range(174, 222))
    whole = fetch(Section(page, 1.0, 9.0), tmp_path, SETTINGS)
    assert whole.path.read_bytes() == video and whole.offset_s == 0.0
    asked = len(server.requests)
    assert fetch(Section(page, 7.25, 9.25), tmp_path, SETTINGS) == alone
    assert fetch(Section(page, 0.0, None), tmp_path, SETTINGS) == whole
    assert len(server.requests) == asked
    beyond = fetch(Section(page, 11.0, 99.0), tmp_path, SETTINGS)
    assert beyond.offset_s == 11.0 and abs(beyond.duration_s - 1.0) < 0.05
    assert_tidy(tmp_path)


@pytest.mark.slow
@needs_ffmpeg
def test_where_sections_cannot_be_had_the_whole_video_is_taken(
    tmp_path: Path, server: FaultyServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    noise = np.random.default_rng(0)
    big = write_video(
        tmp_path_factory.mktemp("big") / "v.mp4",
        n_frames=192,
        size=(320, 240),
        picture=lambda _: noise.integers(0, 256, (240, 320, 3), np.uint8),
    )
    page = page_of(server, "page", server.serve("/v.mp4", big, ranges=False), 8.0)
    fetched = fetch(Section(page, 6.0, 7.0), tmp_path, SETTINGS)
    assert fetched.path.read_bytes() == big.read_bytes() and fetched.offset_s == 0.0
    asked = len(server.requests)
    assert fetch(Section(page, 4.0, 5.0), tmp_path, SETTINGS) == fetched
    assert len(server.requests) == asked
    wrong = page_of(server, "wrong", server.serve("/w.mp4", big), 80.0)
    with pytest.raises(VideoError, match=r"begins at 60 s, its video ends at 8\.0 s"):
        fetch(Section(wrong, 60.0, 70.0), tmp_path, SETTINGS)
    assert_tidy(tmp_path)


@pytest.mark.slow(1)
def test_without_ffmpeg_the_whole_video_is_taken(
    tmp_path: Path, server: FaultyServer, video: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    find_ffmpeg.cache_clear()
    try:
        page = page_of(server, "page", server.serve("/v.mp4", video), 12.0)
        assert fetch(Section(page, 7.0, 8.0), tmp_path, SETTINGS).path.read_bytes() == video
    finally:
        find_ffmpeg.cache_clear()


@pytest.mark.slow(1)
def test_threads_and_processes_that_want_one_video(
    tmp_path: Path, server: FaultyServer, video: bytes
) -> None:
    url = server.serve("/v.mp4", video, always=slow(200_000))
    other = run_fetch(url, tmp_path)
    with ThreadPoolExecutor(4) as pool:
        results = list(
            pool.map(lambda k: fetch(Section(url, float(k), 11.0), tmp_path, SETTINGS), range(4))
        )
    assert other.wait(300) == 0
    assert len(set(results)) == 1 and results[0].path.read_bytes() == video
    assert len(server.requests) == 2
    assert_tidy(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.05, 0.3])
def test_a_killed_download_leaves_nothing_that_counts(
    tmp_path: Path, server: FaultyServer, video: bytes, after_s: float
) -> None:
    url = server.serve("/v.mp4", video, faults=[None, slow(20_000)])
    process = run_fetch(url, tmp_path)
    deadline = time.monotonic() + 300
    while len(server.requests) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert n_finished(tmp_path) == 0
    assert fetch(Section(url), tmp_path, SETTINGS).path.read_bytes() == video
    assert_tidy(tmp_path)


@pytest.mark.parametrize("damage", ["record", "file", "cut", "foreign"])
def test_what_is_no_longer_whole_is_fetched_again(
    tmp_path: Path, server: FaultyServer, video: bytes, damage: str
) -> None:
    url = server.serve("/v.mp4", video)
    file = fetch(Section(url), tmp_path, SETTINGS).path
    record = file.with_suffix(".json")
    if damage == "record":
        record.write_text('{"file": ')
    elif damage == "foreign":
        record.write_text("[1]")
    elif damage == "file":
        file.unlink()
    else:
        file.write_bytes(video[:100])
    assert fetch(Section(url), tmp_path, SETTINGS).path.read_bytes() == video
    assert_tidy(tmp_path)


def test_a_store_that_cannot_be_written(tmp_path: Path, server: FaultyServer, video: bytes) -> None:
    url = server.serve("/v.mp4", video)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        fetch(Section(url), tmp_path / "file" / "store", SETTINGS)
    with pytest.raises(OutputError, match="dollar"):
        fetch(Section(url), tmp_path / "$HOME", SETTINGS)


def test_a_full_disk_is_said_to_be_one(
    tmp_path: Path, server: FaultyServer, video: bytes, waits: list[float]
) -> None:
    url = server.serve("/v.mp4", video)
    fetch(Section(server.serve("/first.mp4", video)), tmp_path, SETTINGS)  # fills caches
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(OutputError, match="Free some disk space"):
            fetch(Section(url), tmp_path, SETTINGS, sleep=waits.append)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not waits
    assert_tidy(tmp_path)


@pytest.mark.slow
def test_no_plugin_and_no_configuration_is_loaded(
    tmp_path: Path, server: FaultyServer, video: bytes
) -> None:
    plugin = tmp_path / "home" / "yt_dlp_plugins" / "extractor"
    plugin.mkdir(parents=True)
    (plugin / "evil.py").write_text("raise SystemExit('a plugin ran')")
    config = tmp_path / "home" / "yt-dlp.conf"
    config.write_text("--simulate")
    process = run_fetch(server.serve("/v.mp4", video), tmp_path / "store", tmp_path / "home")
    assert process.wait(300) == 0 and n_finished(tmp_path / "store") == 1


@pytest.mark.slow
def test_cookies_are_read_and_not_written(
    tmp_path: Path, server: FaultyServer, video: bytes
) -> None:
    jar = tmp_path / "cookies.txt"
    text = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tname\tvalue\n"
    jar.write_text(text)
    url = server.serve("/v.mp4", video)
    fetch(Section(url), tmp_path / "store", replace(SETTINGS, cookies=str(jar)))
    assert jar.read_text() == text
    with pytest.raises(InputError, match="cannot read cookies"):
        fetch(Section(url + "?2"), tmp_path, replace(SETTINGS, cookies=str(tmp_path / "none")))


@pytest.mark.parametrize(
    ("message", "permanent", "remedy"),
    [
        ("[youtube] x: Private video. Sign in if you've been granted access", True, "cookies"),
        ("[youtube] x: Join this channel to get access to members-only content", True, "cookies"),
        ("[youtube] x: Sign in to confirm you’re not a bot. Use --cookies", True, "cookies"),
        ("[youtube] x: Sign in to confirm your age", True, "cookies"),
        ("[youtube] x: Video unavailable. This video has been removed", True, "remove it"),
        ("[youtube] x: Video unavailable", True, "remove it"),
        ("x: The uploader has not made this video available in your country", True, "where"),
        ("[youtube] x: This content isn't available, try again later.", False, "later"),
        ("\r[download] Got error: 5 bytes read, 7 more expected", False, "later"),
        ("[download] Got error: The read operation timed out", False, "later"),
    ],
)
def test_what_sites_say_is_understood(message: str, permanent: bool, remedy: str) -> None:
    import yt_dlp

    error = yt_dlp.utils.DownloadError(f"\x1b[0;31mERROR:\x1b[0m {message}\nmore")
    ours = remote._translate("http://a.b/", error, remote._Log())
    assert isinstance(ours, DownloadError)
    assert ours.permanent == permanent and remedy in ours.remedy
    assert str(ours).isprintable() and "ERROR" not in str(ours)


def test_a_video_kept_from_a_region_is_given_up() -> None:
    from yt_dlp.utils import DownloadError as TheirError
    from yt_dlp.utils import GeoRestrictedError

    restricted = GeoRestrictedError("not from your location")
    error = TheirError("ERROR: timed out", (GeoRestrictedError, restricted, None))
    ours = remote._translate("http://a.b/", error, remote._Log())
    assert isinstance(ours, DownloadError) and ours.permanent


@pytest.mark.parametrize(
    "bad",
    [{"retries": -1}, {"max_filesize": 0}, {"section_share": 1.5}, {"backoff_s": float("nan")}],
)
def test_settings_out_of_range(bad: dict) -> None:
    with pytest.raises(ConfigError):
        DownloadSettings(**bad)


def run_fetch(url: str, store: Path, working_directory: Path | None = None) -> subprocess.Popen:
    """The same in a process of its own."""
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from dancetomusic.builder.download import fetch
        from dancetomusic.builder.sources import Section
        fetch(Section(sys.argv[1]), Path(sys.argv[2]))
        """
    )
    root = Path(remote.__file__).parents[2]
    paths = os.pathsep.join(str(path) for path in (working_directory, root) if path)
    environment = {**os.environ, "PYTHONPATH": paths, "HOME": str(working_directory or store)}
    return subprocess.Popen(
        [sys.executable, "-c", program, url, str(store)],
        env=environment,
        cwd=working_directory,
    )
