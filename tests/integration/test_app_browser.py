"""The page in a real browser: a video becomes sound that is heard, and a camera is played to."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from tests.app_server import running_server

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ("--no-sandbox", "--autoplay-policy=no-user-gesture-required")
CAMERA_FPS = 30  # what Chromium takes any MJPEG file for
LEVEL = "import('/static/app.js').then(({studio}) => studio.player.level())"
MADE_MS = 240_000  # until music must be there, on a busy machine

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("server")) as (address, _):
        yield address


@contextmanager
def opened(address: str, *arguments: str, width: int = 1280, **options) -> Iterator:
    """The page at ``address``, which must cause no error and ask no other server."""
    trouble: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *arguments])
        page = browser.new_page(viewport={"width": width, "height": 860}, **options)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on(
            "request",
            lambda asked: (
                None
                if asked.url.startswith((address, f"blob:{address}"))
                else trouble.append(asked.url)
            ),
        )
        page.goto(address)
        page.wait_for_selector("html[data-ready]", timeout=30_000)
        yield page
        browser.close()
    assert trouble == []


def until(page, expression: str, timeout_s: float = 60.0) -> None:
    """Wait for a condition; the page's policy forbids Playwright's own way to."""
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        time.sleep(0.1)


@contextmanager
def fake_camera(path: Path, video: Path) -> Iterator[str]:
    """A video of 30 pictures a second as the file that Chromium takes for a camera, 4:3."""
    with av.open(str(path), "w", format="mjpeg") as output, av.open(str(video)) as source:
        stream = output.add_stream("mjpeg", CAMERA_FPS, {"qmin": "3", "qmax": "5"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        for k, frame in enumerate(source.decode(video=0)):
            picture = frame.to_ndarray(format="rgb24")
            height, width = picture.shape[:2]
            wide = np.repeat(picture[:, :1], height * 4 // 3, axis=1)
            left = (wide.shape[1] - width) // 2
            wide[:, left : left + width] = picture
            small = av.VideoFrame.from_ndarray(np.ascontiguousarray(wide), "rgb24")
            small = small.reformat(640, 480, "yuvj420p")
            small.pts = k
            output.mux(stream.encode(small))
        output.mux(stream.encode(None))
    yield f"--use-file-for-fake-video-capture={path}"


def test_a_video_is_heard(server, demo_dir):
    with opened(server) as page:
        page.set_input_files("#file", demo_dir / "steps_128bpm.mp4")
        page.wait_for_selector("#stages .now")
        page.wait_for_selector("#studio:not([hidden])", timeout=MADE_MS)
        assert float(page.inner_text("#tempo")) == pytest.approx(128.0, rel=0.05)

        page.click("#play")
        until(page, "document.querySelector('#video').currentTime > 1")
        levels = []
        for _ in range(10):
            time.sleep(0.1)
            levels.append(page.evaluate(LEVEL))
        assert max(levels) > 0.02

        page.focus("#timeline")
        page.keyboard.press("Home")
        until(page, "document.querySelector('#video').currentTime < 1")
        page.keyboard.press("ArrowRight")
        page.click("#play")

        page.fill("#seed", "7")
        page.click("#make")
        page.wait_for_selector("[name=take][value='1']", timeout=MADE_MS)
        assert page.is_checked("[name=take][value='1']")
        page.focus("#skeleton")
        page.keyboard.press("b")
        assert page.is_checked("[name=take][value='0']")

        with page.expect_download(timeout=MADE_MS) as download:
            page.click("#get-wav")
        assert download.value.path().stat().st_size > 100_000
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_what_is_no_video_says_so(server, tmp_path):
    (tmp_path / "dance.mp4").write_bytes(b"PK\x03\x04 not a dance" * 20)
    with opened(server, width=390, color_scheme="dark", reduced_motion="reduce") as page:
        page.set_input_files("#file", tmp_path / "dance.mp4")
        page.wait_for_selector("#failure:not([hidden])", timeout=30_000)
        assert "not a video" in page.inner_text("#failure")
        assert "Give .mp4" in page.inner_text("#failure")
        assert page.is_visible("#drop") and page.is_hidden("#busy")
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_tabs_and_fields_are_reached_by_keyboard(server):
    with opened(server) as page:
        page.focus("#tab-video")
        page.keyboard.press("ArrowRight")
        assert page.get_attribute("#tab-live", "aria-selected") == "true"
        assert page.is_visible("#live-toggle") and page.is_hidden("#drop")
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, input, meter, [role=slider], [role=tab]')]"
            ".filter(e =>"
            " !(e.labels?.length || e.ariaLabel || e.textContent.trim()"
            " || e.getAttribute('aria-labelledby')))"
            ".map(e => e.outerHTML)"
        )
        assert unnamed == []


def listen(page):
    """Ten seconds of the live page: median tempo, level, pictures sent a second, who is seen."""
    tempos, levels, rates = [], [], []
    for _ in range(20):
        time.sleep(0.5)
        *values, present = page.evaluate(
            "import('/static/app.js').then(({live}) =>"
            " [live.status.bpm, live.sound.rms, live.sentFps(), live.status.present])"
        )
        for kept, value in zip((tempos, levels, rates), values, strict=True):
            kept.append(value)
    level = float(np.mean(np.square(levels)) ** 0.5)
    return float(np.median(tempos)), level, float(np.median(rates)), present


def test_a_camera_is_played_to(server, demo_dir, tmp_path):
    with (
        fake_camera(tmp_path / "x.mjpeg", demo_dir / "steps_128bpm.mp4") as camera,
        opened(
            server,
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            camera,
        ) as page,
    ):
        page.click("#tab-live")
        page.click("#live-toggle")
        until(page, "import('/static/app.js').then(({live}) => live.status?.frames_in > 0)")
        deadline = time.monotonic() + 240.0
        while True:  # a machine that does other things, too, is given time
            tempo, level, rate, present = listen(page)
            fits = tempo == pytest.approx(128.0, rel=0.05) and rate >= 20 and level > 0.01
            if fits or time.monotonic() > deadline:
                break
        assert present and page.is_hidden("#live-failure")
        assert tempo == pytest.approx(128.0, rel=0.05)
        assert rate >= 20
        assert level > 0.01
        page.click("#live-toggle")
        assert page.is_visible("#live-note")


def test_without_a_camera_the_page_says_what_to_do(server):
    with opened(server) as page:
        page.click("#tab-live")
        page.click("#live-toggle")
        page.wait_for_selector("#live-failure:not([hidden])", timeout=30_000)
        assert "camera" in page.inner_text("#live-failure")
        assert page.inner_text("#live-toggle") == "Start the camera"
