"""The page in a real browser: a beat is corrected, music is heard, and a camera is played to."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import av
import numpy as np
import pytest

from dancetomusic.app.beats import require_beats
from dancetomusic.app.limits import Refusal
from dancetomusic.io.mux import mux
from dancetomusic.io.video import read_frames
from dancetomusic.rhythm.beats import steady_grid, track_from_beats
from dancetomusic.rhythm.click import click_track
from dancetomusic.rhythm.edit import change_tempo
from tests.app_server import running_server
from tests.video_factory import cut_short, write_video

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


@pytest.fixture(scope="module")
def dances(demo_dir, tmp_path_factory):
    """The first eight seconds of the demo clips."""
    folder = tmp_path_factory.mktemp("dances")
    for clip in demo_dir.glob("*.mp4"):
        cut_short(clip, folder / clip.name, 8.0)
    return folder


@contextmanager
def opened(address: str, *arguments: str, width: int = 1280, **options) -> Iterator:
    """The page at ``address``, which must cause no error and ask no other server."""
    trouble: list[str] = []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS, *arguments])
        context = browser.new_context(viewport={"width": width, "height": 860}, **options)
        page = context.new_page()
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


def in_studio(page, expression: str):
    return page.evaluate(f"import('/static/app.js').then(({{studio}}) => {expression})")


def open_video(page, video: Path) -> None:
    """Until its beat was read, and nothing more."""
    page.set_input_files("#file", video)
    page.wait_for_selector("#stages .now")
    page.wait_for_selector("#busy", state="hidden", timeout=MADE_MS)
    assert page.is_hidden("#failure"), page.inner_text("#failure")
    assert page.inner_text("#clip-name") == video.name


def make(page, number: int) -> dict:
    """Another take; what the server said of it."""
    page.click("#make")
    page.wait_for_selector(f"[name=take][value='{number}']", timeout=MADE_MS)
    assert page.is_checked(f"[name=take][value='{number}']")
    return in_studio(page, f"(({{parts, score, sound, ...told}}) => told)(studio.takes[{number}])")


def saved(page, kind: str) -> str:
    """Download a file; its name."""
    with page.expect_download(timeout=MADE_MS) as download:
        page.click(f"#get-{kind}")
    assert download.value.path().stat().st_size > 500
    return download.value.suggested_filename


def place_in_strip(page, time: float, y: float = 60.0) -> tuple[float, float]:
    box = page.locator("#strip").bounding_box()
    return box["x"] + in_studio(page, f"studio.panel.strip.x({time})"), box["y"] + y


def drag(page, start: float, end: float) -> None:
    """Drag whatever is at one time of the beat strip to another time."""
    page.locator("#strip").scroll_into_view_if_needed()
    page.mouse.move(*place_in_strip(page, start))
    page.mouse.down()
    page.mouse.move(*place_in_strip(page, (start + end) / 2))
    page.mouse.move(*place_in_strip(page, end))
    page.mouse.up()


def beats_shown(page) -> tuple[np.ndarray, np.ndarray]:
    beats = in_studio(page, "studio.panel.beats")
    return np.array([time for time, _ in beats]), np.array([number for _, number in beats])


def test_a_video_is_heard(server, dances):
    with opened(server) as page:
        open_video(page, dances / "steps_128bpm.mp4")
        assert float(page.inner_text("#tempo")) == pytest.approx(128.0, rel=0.05)
        make(page, 0)

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
        page.select_option("#style", "reggae")
        make(page, 1)
        page.focus("#skeleton")
        page.keyboard.press("b")
        assert page.is_checked("[name=take][value='0']")
        label = page.inner_text("#takes label:has([value='1'])")
        assert f"{float(page.inner_text('#tempo')):.1f} BPM" in label and "seed 7" in label
        assert "Take 2 · reggae" in label

        style = in_studio(page, "studio.takes[0].style")
        assert saved(page, "wav") == f"steps_128bpm {style} take 1.wav"
        page.check("[name=take][value='1']", force=True)
        assert saved(page, "mid") == "steps_128bpm reggae take 2.mid"
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_person_decides_about_the_beat(server, dances):
    with opened(server) as page:
        open_video(page, dances / "steps_128bpm.mp4")
        page.evaluate("document.querySelector('#video').currentTime = 5")
        until(page, "!document.querySelector('#video').seeking")
        source = page.inner_text("#beat-source")
        assert "Beats from the movement" in source and "4 beats in a bar" in source
        assert page.inner_text("#beat-verdict") in ("sure", "fair", "guess")
        assert page.locator("#beats-from option[value=sound]").is_disabled()
        read, numbers = beats_shown(page)
        bpm = 60.0 / np.median(np.diff(read))
        assert page.inner_text("#tempo") == f"{bpm:.1f}"

        page.click("#half")
        assert float(page.inner_text("#tempo")) == pytest.approx(bpm / 2, abs=0.1)
        assert "Beats given" in page.inner_text("#beat-source")
        assert page.is_hidden("#beat-verdict")
        page.click("#double")
        page.click("#double")
        assert float(page.inner_text("#tempo")) == pytest.approx(bpm * 2, abs=0.1)
        for _ in range(3):
            page.click("#undo")
        assert "Beats from the movement" in page.inner_text("#beat-source")
        assert beats_shown(page)[0].tolist() == read.tolist()

        # Press a beat: it opens the bar.
        other = int(np.flatnonzero((numbers == 2) & (read > 4))[0])
        page.locator("#strip").scroll_into_view_if_needed()
        page.mouse.click(*place_in_strip(page, read[other], 20.0))
        assert beats_shown(page)[1][other] == 1

        # Drag all, then one.
        drag(page, read[other], read[other] + 0.1)
        moved, _ = beats_shown(page)
        nearest = np.abs(moved[:, None] - (read[1:-1] + 0.1)).min(axis=0)
        assert nearest.max() < 0.03
        page.check("[name=moves][value=one]", force=True)
        other = int(np.argmin(np.abs(moved - 5.5)))
        drag(page, moved[other], moved[other] - 0.12)
        bent, _ = beats_shown(page)
        assert bent[other] == pytest.approx(moved[other] - 0.12, abs=0.03)
        assert np.delete(bent, other).tolist() == np.delete(moved, other).tolist()
        page.click("#earlier")
        assert np.abs(beats_shown(page)[0] - bent).max() == pytest.approx(0.01, abs=1e-6)

        page.click("#reset")
        assert beats_shown(page)[0].tolist() == read.tolist()
        page.fill("#bpm", "100.5")
        page.press("#bpm", "Enter")
        assert page.inner_text("#tempo") == "100.5"
        page.select_option("#metre", "3")
        assert "3 beats in a bar" in page.inner_text("#beat-source")

        # What is shown is what is played, and it stays for the next take.
        times, numbers = beats_shown(page)
        for number in range(2):
            take = make(page, number)
            assert take["source"] == "file" and take["bpm"] == pytest.approx(100.5, abs=0.1)
            assert [n for _, n in take["beats"]] == numbers.tolist()
            assert [t for t, _ in take["beats"]] == pytest.approx(times.tolist(), abs=2e-4)
            assert "Beats given" in page.inner_text("#beat-source")
            assert page.inner_text("#make-note") == ""
        page.locator("#readings :not([value=given])[type=radio]").last.check()
        assert "changed" in page.inner_text("#make-note")
        times, _ = beats_shown(page)
        take = make(page, 2)
        assert [t for t, _ in take["beats"]] == pytest.approx(times.tolist(), abs=2e-4)
        assert take["source"] == "movement"


def test_the_person_decides_where_the_beat_comes_from(server, dances, tmp_path):
    drums = click_track(steady_grid(100.0, 8.0, first_beat_s=0.2), 24_000)
    mux(dances / "steps_128bpm.mp4", drums, tmp_path / "drums.mp4")
    with opened(server) as page:
        open_video(page, tmp_path / "drums.mp4")
        page.select_option("#beats-from", "sound")
        page.wait_for_selector("#beat-source-text:has-text('sound')", timeout=MADE_MS)
        page.wait_for_selector("#busy", state="hidden", timeout=MADE_MS)
        assert page.inner_text("#beat-source-text") == "Beats from the video's sound"
        sound = beats_shown(page)[0].tolist()
        page.select_option("#beats-from", "movement")
        page.wait_for_selector("#beat-source-text:has-text('movement')", timeout=MADE_MS)
        page.wait_for_selector("#busy", state="hidden", timeout=MADE_MS)
        assert float(page.inner_text("#tempo")) == pytest.approx(128.0, rel=0.05)
        page.click("#undo")
        assert page.input_value("#beats-from") == "sound"
        assert beats_shown(page)[0].tolist() == sound
        take = make(page, 0)
        assert take["source"] == "sound"
        assert [time for time, _ in take["beats"]] == pytest.approx(sound, abs=2e-4)


def test_touch_moves_beats_and_still_scrolls(server, dances):
    with opened(server, width=390, has_touch=True, is_mobile=True) as page:
        open_video(page, dances / "steps_128bpm.mp4")
        page.evaluate("document.querySelector('#video').currentTime = 5")
        until(page, "!document.querySelector('#video').seeking")
        page.locator("#strip").scroll_into_view_if_needed()
        before, _ = beats_shown(page)
        x, y = place_in_strip(page, before[np.argmin(np.abs(before - 5))])
        swipe(page, (x, y), (x + 15, y + 3))
        moved, _ = beats_shown(page)
        by = 15 / in_studio(page, "studio.panel.strip.scale")
        assert np.abs(moved[:, None] - (before[1:-1] + by)).min(axis=0).max() < 0.03
        scrolled = page.evaluate("scrollY")
        swipe(page, (x, y), (x, y - 200))
        until(page, f"Math.abs(scrollY - {scrolled}) > 50")
        assert beats_shown(page)[0].tolist() == moved.tolist()


def swipe(page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """One finger, put down, moved and lifted."""
    finger = page.context.new_cdp_session(page)
    for k in range(10):
        x, y = (a + (b - a) * k / 8 for a, b in zip(start, end, strict=True))
        kind = "touchStart" if k == 0 else "touchEnd" if k == 9 else "touchMove"
        points = [] if k == 9 else [{"x": x, "y": y}]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        time.sleep(0.02)


def test_taps_set_tempo_and_place(server, dances):
    with opened(server, width=390, has_touch=True) as page:
        open_video(page, dances / "bounce_104bpm.mp4")
        page.tap("#tap")
        until(page, "document.querySelector('#video').currentTime > 0.3")
        assert page.is_disabled("#tap-done")
        # The page itself taps, in time: a busy machine's test does not.
        page.evaluate(
            "() => new Promise((done) => {"
            " const video = document.querySelector('#video'); let next = 1.0;"
            " const step = () => {"
            "  if (video.currentTime >= next) {"
            "   const by = next > 3 ? ['keydown', {key: ' '}] : ['pointerdown', {}];"
            "   const kind = next > 3 ? KeyboardEvent : PointerEvent;"
            "   document.querySelector('#tap-pad')"
            "    .dispatchEvent(new kind(by[0], {bubbles: true, ...by[1]}));"
            "   next += 0.75;"
            "  }"
            "  if (next > 6.5) done(); else setTimeout(step, 4);"
            " }; step(); })"
        )
        assert "8 taps" in page.inner_text("#tap-note")
        assert page.is_hidden("#tools")
        page.tap("#tap-done")
        assert page.is_visible("#tools") and page.is_hidden("#tapping")
        assert "Beats given" in page.inner_text("#beat-source")
        assert float(page.inner_text("#tempo")) == pytest.approx(80.0, rel=0.02)
        times, numbers = beats_shown(page)
        first = int(np.argmin(np.abs(times - 1.0)))
        assert times[first] == pytest.approx(1.0, abs=0.08) and numbers[first] == 1
        page.focus("#tap")
        page.keyboard.press("Enter")
        page.keyboard.press(" ")
        page.keyboard.press("Escape")
        assert page.is_hidden("#tapping")
        assert beats_shown(page)[0].tolist() == times.tolist()


CLICKS_HEARD = """
new Promise((done) => {
  const video = document.querySelector('#video'), times = [];
  const { context, latency, output } = studio.player;
  const meter = new AnalyserNode(context, { fftSize: 32768 });
  output.connect(meter);
  const samples = new Float32Array(meter.fftSize);
  const look = () => {
    meter.getFloatTimeDomainData(samples);
    const end = video.currentTime + latency;
    let quiet = 0;
    samples.forEach((value, k) => {
      const at = end - (samples.length - k) / context.sampleRate;
      if (Math.abs(value) < 0.02) quiet += 1;
      else {
        const known = times.some((time) => Math.abs(time - at) < 0.1);
        if (quiet > 0.1 * context.sampleRate && !known) times.push(at);
        quiet = 0;
      }
    });
    if (video.currentTime > 6) done(times);
    else setTimeout(look, 100);
  };
  look();
})
"""


def test_clicks_are_heard_on_the_beats(server, dances):
    with opened(server) as page:
        open_video(page, dances / "steps_128bpm.mp4")
        page.check("#click")
        page.click("#play-here")
        heard = in_studio(page, CLICKS_HEARD)
        beats, _ = beats_shown(page)
        heard = np.array([time for time in heard if 1.0 < time < 5.5])
        expected = beats[(beats > 1.1) & (beats < 5.4)]
        assert len(heard) >= 0.8 * len(expected)
        off = np.abs(heard[:, None] - beats).min(axis=1)
        assert np.median(off) < 0.03, off
        page.uncheck("#click")
        time.sleep(0.5)
        assert max(page.evaluate(LEVEL) for _ in range(20)) < 1e-3


LEVELS = """
Promise.all(Array.from({ length: 25 }, (_, k) => new Promise((done) => setTimeout(() =>
  done(studio.mixer.strips.map(({ name }) => studio.player.level(name))), 40 * k))))
  .then((all) => all[0].map((_, track) => Math.max(...all.map((levels) => levels[track]))))
"""


def until_heard(page, yes: list[str], no: list[str]) -> None:
    """Wait until some tracks are heard and others are not, at their loudest within a second."""
    deadline = time.monotonic() + 30
    while True:
        names = in_studio(page, "studio.mixer.strips.map(({ name }) => name)")
        levels = dict(zip(names, in_studio(page, LEVELS), strict=True))
        if all(levels[name] > 0.01 for name in yes) and all(levels[name] < 1e-4 for name in no):
            return
        assert time.monotonic() < deadline, levels


LEVELS_WISHED = "studio.mixer.levelsOf(studio.takes[0].tracks)"
TRACKS_AGAINST_SOUND = """
(async () => {
  const { take, parts } = studio.takes[0];
  const answer = await fetch(`api/takes/${take}/sound`);
  const sound = await studio.player.decode(await answer.arrayBuffer());
  let most = 0;
  for (const channel of [0, 1]) {
    const whole = sound.getChannelData(channel);
    const tracks = parts.map(({ buffer, gain }) => [buffer.getChannelData(channel), gain]);
    whole.forEach((value, n) => {
      const sum = tracks.reduce((total, [samples, gain]) => total + gain * samples[n], 0);
      most = Math.max(most, Math.abs(sum - value));
    });
  }
  return [most, sound.length, ...parts.map(({ buffer }) => buffer.length)];
})()
"""
HEARD_AND_EXPECTED = """
new Promise((done) => {
  const { context, latency, output, parts } = studio.player;
  const meter = new AnalyserNode(context, { fftSize: 32768 });
  output.connect(meter); // which sees the middle of left and right
  const middle = (buffer, at) => [0, buffer.numberOfChannels - 1]
    .reduce((sum, channel) => sum + buffer.getChannelData(channel)[at] / 2, 0);
  const look = () => {
    const end = document.querySelector('#video').currentTime + latency;
    if (end < 2.5 || end > 6.5) return setTimeout(look, 50);
    const heard = new Float32Array(meter.fftSize);
    meter.getFloatTimeDomainData(heard);
    const rate = context.sampleRate;
    const first = Math.round((end - 0.2) * rate) - heard.length;
    const expected = Array.from({ length: heard.length + Math.round(0.4 * rate) }, (_, n) =>
      parts.reduce((sum, { buffer, gain }) => sum + gain * middle(buffer, first + n), 0));
    done([rate, [...heard], expected]);
  };
  setTimeout(look, 1500); // until the meter is full
})
"""


def offset_of_sound(page) -> tuple[float, float]:
    """How late the tracks are heard, in seconds, and how alike they are to what is expected."""
    rate, heard, expected = in_studio(page, HEARD_AND_EXPECTED)
    alike = np.correlate(np.array(expected), np.array(heard), "valid")
    best = int(alike.argmax())
    norms = np.linalg.norm(heard) * np.linalg.norm(expected[best : best + len(heard)])
    return 0.2 - best / rate, float(alike[best] / max(norms, 1e-9))


def test_the_tracks_are_mixed_while_they_play(server, dances):
    with opened(server) as page:
        open_video(page, dances / "steps_128bpm.mp4")
        page.select_option("#style", "house")
        page.select_option("#key", "E minor")
        page.fill("#energy", "0.8")
        take = make(page, 0)
        assert (take["style"], take["key"], take["wish"]["energy"]) == ("house", "E minor", 0.8)
        most, *lengths = in_studio(page, TRACKS_AGAINST_SOUND)
        assert most < 1e-3 and len(lengths) == 5 and len(set(lengths)) == 1

        # What is heard is the tracks at the place that is seen.
        page.check("#loop")
        page.click("#play")
        looks = []
        while len(looks) < 10:  # a machine that does other things, too, is given time
            late_s, alike = offset_of_sound(page)
            looks.append((late_s, alike))
            if abs(late_s) < 0.06 and alike > 0.95:
                break
        else:
            raise AssertionError(looks)

        # Faders, mute and solo act on what plays, and on what is drawn and downloaded.
        channel = {name: page.locator(f".channel[aria-label={name}]") for name in take["tracks"]}
        assert page.is_disabled("#mixer-reset")
        channel["bass"].get_by_label("Solo").click()
        until_heard(page, yes=["bass"], no=["drums", "chords", "lead"])
        channel["bass"].get_by_label("Solo").click()
        channel["drums"].get_by_label("Mute").click()
        channel["chords"].get_by_role("slider").fill("-40")
        channel["bass"].get_by_role("slider").fill("-6")
        assert "-6.0 dB" in channel["bass"].inner_text()
        until_heard(page, yes=["bass"], no=["drums", "chords"])
        levels = in_studio(page, LEVELS_WISHED)
        assert levels == {
            "drums": 0,
            "bass": pytest.approx(0.501, abs=1e-3),
            "chords": 0,
            "lead": 1,
        }
        with page.expect_request("**/files") as asked:
            name = saved(page, "wav")
        assert asked.value.post_data_json["levels"] == levels
        assert "skeleton" not in asked.value.post_data_json and page.is_checked("#skeleton")
        assert name == "steps_128bpm house take 1.wav"
        assert saved(page, "zip") == "steps_128bpm house take 1 stems.zip"
        page.click("#mixer-reset")
        assert set(in_studio(page, LEVELS_WISHED).values()) == {1}

        # The roll lies under the waveform, on the same scale.
        top, roll = (page.locator(f"#{name}").bounding_box() for name in ("timeline", "roll"))
        assert (top["x"], top["width"]) == (roll["x"], roll["width"])
        assert top["y"] + top["height"] < roll["y"]
        assert "of drums" in page.get_attribute("#roll", "aria-label")
        page.click("#play")
        page.locator("#roll").click()  # in its middle
        until(page, "!document.querySelector('#video').seeking")
        middle = page.evaluate("document.querySelector('#video').currentTime")
        assert middle == pytest.approx(4.0, abs=0.1)
        assert page.inner_text("#time-left") in ("0:03 left", "0:04 left")

        # Volume, loop, full screen.
        page.fill("#listening", "30")
        assert in_studio(page, "studio.player.volume") == 0.3
        page.click("#silence")
        assert in_studio(page, "studio.player.volume") == 0
        page.click("#silence")
        page.evaluate("document.querySelector('#video').currentTime = 7.5")
        page.click("#play")
        until(page, "document.querySelector('#video').currentTime < 3")
        assert not page.evaluate("document.querySelector('#video').paused")
        page.click("#full-screen")
        until(page, "document.fullscreenElement?.id === 'screen'")
        page.keyboard.press("f")
        until(page, "!document.fullscreenElement")


def test_the_address_leads_back_to_the_takes(server, dances):
    with opened(server) as page:
        open_video(page, dances / "steps_128bpm.mp4")
        page.click("#half")
        shown = beats_shown(page)[0].tolist()
        made = make(page, 0)
        assert "#video=" in page.url

        def check_studio(tab) -> None:
            tab.wait_for_selector("[name=take][value='0']", timeout=MADE_MS)
            tab.wait_for_selector("#busy", state="hidden")
            assert tab.inner_text("#clip-name") == "steps_128bpm.mp4"
            assert in_studio(tab, "studio.takes[0].take") == made["take"]
            assert beats_shown(tab)[0].tolist() == pytest.approx(shown, abs=2e-4)
            assert tab.inner_text("#make-note") == ""
            until(tab, "document.querySelector('#video').readyState > 2")
            tab.check("#loop")
            tab.click("#play")
            until(tab, f"{LEVEL}.then((level) => level > 0.01)")
            tab.click("#play")

        page.reload()
        check_studio(page)
        second = page.context.new_page()
        second.goto(page.url)
        check_studio(second)
        page.click("#another")
        assert page.is_visible("#welcome") and page.is_hidden("#studio") and "#" not in page.url
        page.go_back()
        check_studio(page)
        page.click("#delete")
        assert page.is_visible("#welcome")
        second.reload()
        second.wait_for_selector("#failure:not([hidden])", timeout=30_000)
        assert "no such video" in second.inner_text("#failure")
        assert second.is_visible("#welcome") and "#" not in second.url


def test_a_job_can_be_cancelled_from_a_page_that_was_loaded_again(dances, tmp_path):
    frames = list(read_frames(dances / "steps_128bpm.mp4", 24.0, max_side=320))
    long = write_video(  # its reading takes longer than loading a page again on a busy machine
        tmp_path / "long.mp4",
        n_frames=100 * 24,
        size=frames[0].shape[1::-1],
        picture=lambda k: frames[k % len(frames)],
    )
    with (  # where the suite runs, a page takes longer to load again than a job usually waits
        running_server(tmp_path, limits={"absent_s": 120.0}) as (server, _),
        opened(server) as page,
    ):

        def start() -> None:
            page.set_input_files("#file", long)
            until(page, "location.hash.startsWith('#video=')")
            page.wait_for_selector("#stages .now", timeout=MADE_MS)

        start()
        page.reload(wait_until="commit")
        page.wait_for_selector("#busy-title:has-text('Reading the beat')", timeout=MADE_MS)
        page.click("#cancel")
        page.wait_for_selector("#busy", state="hidden", timeout=30_000)
        assert page.is_visible("#welcome") and page.is_hidden("#failure")

        second = page.context.new_page()  # loaded before the job begins, which may end meanwhile
        second.goto(server)
        second.wait_for_selector("html[data-ready]")
        start()
        second.set_input_files("#file", dances / "bounce_104bpm.mp4")
        second.wait_for_selector("#cancel-other:not([hidden])", timeout=MADE_MS)
        assert "Another job of yours" in second.inner_text("#busy-note")
        second.click("#cancel-other")
        page.wait_for_selector("#busy", state="hidden", timeout=30_000)
        second.wait_for_selector("#clip-name:has-text('bounce_104bpm.mp4')", timeout=MADE_MS)


def test_a_proxy_may_serve_the_page_under_a_path(tmp_path):
    with (
        running_server(tmp_path, root_path="/dance") as (address, _),
        opened(f"{address}/dance/") as page,
    ):
        assert "256 MB" in page.inner_text("#drop-limits")
        (tmp_path / "dance.mp4").write_bytes(b"not a dance" * 20)
        page.set_input_files("#file", tmp_path / "dance.mp4")
        page.wait_for_selector("#failure:not([hidden])", timeout=30_000)
        assert "no video format" in page.inner_text("#failure")


def test_a_second_video_that_fails_leaves_the_first(server, dances, tmp_path):
    (tmp_path / "torn.mp4").write_bytes(
        (dances / "duo_116bpm.mp4").read_bytes()[:2000] + bytes(5000)
    )
    nobody = write_video(tmp_path / "nobody.mp4", n_frames=48)
    with opened(server) as page:
        open_video(page, dances / "steps_128bpm.mp4")
        page.click("#half")
        shown = beats_shown(page)[0].tolist()
        for bad in (tmp_path / "torn.mp4", nobody):
            page.set_input_files("#file", bad)
            page.wait_for_selector("#failure:not([hidden])", timeout=MADE_MS)
            assert page.is_visible("#studio") and page.is_hidden("#welcome")
            assert page.inner_text("#clip-name") == "steps_128bpm.mp4"
            assert beats_shown(page)[0].tolist() == shown
            page.click("#failure-close")
        assert [time for time, _ in make(page, 0)["beats"]] == pytest.approx(shown, abs=2e-4)
        open_video(page, dances / "bounce_104bpm.mp4")
        assert page.locator("[name=take]").count() == 1
        assert "Beats from the movement" in page.inner_text("#beat-source")


EDITS = """
import('/static/beats.js').then((edit) => {
  let seed = SEED;
  const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  const duration = 3 + 40 * random();
  let beats = edit.steady(0.25 + random(), duration * random(), 1, 3 + (seed % 2), duration);
  const steps = {
    half: () => edit.half(beats, duration),
    double: () => edit.double(beats, duration),
    shift: () => edit.shift(beats, random() - 0.5, duration),
    moveBeat: () => edit.moveBeat(beats, any(), duration * random(), duration),
    setDownbeat: () => edit.setDownbeat(beats, any()),
    setMetre: () => edit.setMetre(beats, 2 + Math.floor(random() * 6)),
  };
  const any = () => Math.floor(random() * beats.length);
  const names = Object.keys(steps);
  const all = [];
  for (let n = 0; n < 25; n += 1) {
    const name = names[Math.floor(random() * names.length)];
    beats = steps[name]();
    all.push([name, edit.rounded(beats)]);
  }
  return [duration, all];
})
"""


def test_any_row_of_edits_gives_beats_that_the_server_takes(server):
    with opened(server) as page:
        for seed in range(1, 120):
            duration, results = page.evaluate(EDITS.replace("SEED", str(seed * 7919)))
            for step, (name, beats) in enumerate(results):
                try:
                    require_beats([(float(time), place) for time, place in beats], duration)
                except Refusal as refusal:
                    raise AssertionError((seed, step, name, beats)) from refusal


def fit_taps(page, taps, known=()) -> dict | None:
    taps, known = json.dumps(list(taps)), json.dumps(list(known))
    return page.evaluate(
        f"import('/static/beats.js').then((edit) => edit.fitTaps({taps}, {known}))"
    )


def test_taps_are_fitted_however_they_were_given(server, tiny_rng):
    with opened(server) as page:
        for interval in (0.3, 0.47, 0.8):
            for _ in range(20):
                taps = 1.7 + interval * np.arange(24) + tiny_rng.normal(0, 0.02, 24)
                kept = np.delete(taps, tiny_rng.choice(np.arange(1, 23), 3, replace=False))
                twice = np.sort(np.append(kept, kept[7] + 0.06))
                twice[12] += 0.3 * interval
                fit = fit_taps(page, twice)
                assert fit["interval"] == pytest.approx(interval, rel=0.01)
                beats = fit["offset"] + fit["interval"] * np.arange(24)
                assert np.abs(beats - (1.7 + interval * np.arange(24))).max() < 0.05
        steady = 2.0 + 0.5 * np.arange(5) + tiny_rng.normal(0, 0.01, 5)
        assert fit_taps(page, steady, [0.497, 0.7])["interval"] == 0.497
        assert fit_taps(page, steady, [0.7])["interval"] == pytest.approx(0.5, rel=0.03)
        for few in ([], [1.0], [1.0, 1.5, 2.0], [1.0] * 9, [0.0, 9.0, 18.0, 27.0]):
            assert fit_taps(page, few) is None


def test_half_and_double_are_those_of_the_package(server):
    with opened(server) as page:
        for change, metre, first in product(("half", "double"), (3, 4), (1, 2, 3)):
            numbers = (np.arange(21) + first - 1) % metre + 1
            track = track_from_beats(0.2 + 0.5 * np.arange(21), numbers, 10.5)
            expected = change_tempo(track, change)
            pairs = zip(track.beat_times.tolist(), track.beat_numbers.tolist(), strict=True)
            got = page.evaluate(
                "import('/static/beats.js')"
                f".then((edit) => edit.{change}({json.dumps(list(pairs))}, 10.5))"
            )
            assert [n for _, n in got] == expected.beat_numbers.tolist()
            assert [t for t, _ in got] == pytest.approx(expected.beat_times.tolist())


def test_what_is_no_video_says_so(server, tmp_path):
    (tmp_path / "dance.mp4").write_bytes(b"PK\x03\x04 not a dance" * 20)
    with opened(server, width=390, color_scheme="dark", reduced_motion="reduce") as page:
        page.set_input_files("#file", tmp_path / "dance.mp4")
        page.wait_for_selector("#failure:not([hidden])", timeout=30_000)
        assert "no video format" in page.inner_text("#failure")
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


@pytest.mark.realtime
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
