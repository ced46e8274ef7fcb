from __future__ import annotations

import gc
import logging
import math
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dancetomusic.errors import VideoError
from dancetomusic.io.audio import read_audio
from dancetomusic.io.video import open_video, prefetch, probe_video, read_frames
from tests.video_factory import (
    HEIGHT,
    WIDTH,
    click_times,
    clicks,
    cut_in,
    declare_duration,
    numbered,
    quadrants,
    read_number,
    set_rotation,
    write_sound,
    write_video,
)

CODECS = {"libx264": "h264", "libx265": "hevc", "libsvtav1": "av1", "mpeg4": "mpeg4"}
RATES = [Fraction(24), Fraction(60), Fraction(24_000, 1001), Fraction(30_000, 1001), Fraction(10)]


def numbers(path: Path, fps: float = 24.0) -> list[int]:
    return [read_number(frame) for frame in read_frames(path, fps)]


def expected(times: list[Fraction], end: Fraction, fps: Fraction) -> list[int]:
    """The definition itself: for each k, the last picture whose time is at most k / fps."""
    shown, k = [], 0
    while k / fps < end:
        shown.append(max([n for n, t in enumerate(times) if t <= k / fps], default=0))
        k += 1
    return shown


@pytest.mark.parametrize("rate", RATES)
def test_frame_k_is_the_last_picture_at_k_over_fps(tmp_path: Path, rate: Fraction) -> None:
    n = round(2 * rate)
    path = write_video(
        tmp_path / "v.mp4", fps=rate, n_frames=n, time_base=1 / (rate.numerator * Fraction(1))
    )
    assert numbers(path) == expected([k / rate for k in range(n)], n / rate, Fraction(24))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    gaps=st.lists(st.integers(5, 300), min_size=2, max_size=40),
    fps=st.sampled_from([24, 25, 30, 50]),
    suffix=st.sampled_from([".mp4", ".mkv"]),
)
def test_any_source_times_give_the_right_picture(
    tmp_path: Path, gaps: list[int], fps: int, suffix: str
) -> None:
    times = [Fraction(sum(gaps[:k]), 1000) for k in range(len(gaps))]
    path = write_video(tmp_path / f"v{suffix}", times=times, time_base=Fraction(1, 1000))
    got = numbers(path, float(fps))
    want = expected(times, times[-1] + Fraction(1), Fraction(fps))
    last = (times[-1] * fps).__ceil__() + 1  # how long the last one shows is the file's business
    assert len(got) >= last - 1
    # In Matroska a millisecond may stand for half of one more or less.
    for k, (number, right) in enumerate(zip(got, want, strict=False)):
        at = Fraction(k, fps)
        assert number == right or 0 < times[number] - at <= Fraction(1, 2000), (k, number, right)


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_decodes(tmp_path: Path, codec: str) -> None:
    path = write_video(tmp_path / "v.mp4", codec=codec, fps=30, n_frames=60)
    assert numbers(path) == expected(
        [Fraction(k, 30) for k in range(60)], Fraction(2), Fraction(24)
    )
    info = probe_video(path)
    assert info.video_codec == CODECS[codec]
    assert (info.width, info.height, info.source_fps) == (WIDTH, HEIGHT, 30)
    assert (info.has_audio, info.truncated, info.rotation_deg) == (False, False, 0)
    assert info.duration_s == pytest.approx(2)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts", ".avi", ".webm"])
def test_every_container_gives_its_length(tmp_path: Path, suffix: str) -> None:
    codec = {".avi": "mpeg4", ".webm": "libvpx-vp9"}.get(suffix, "libx264")
    path = write_video(tmp_path / f"v{suffix}", codec=codec, n_frames=72)
    info = probe_video(path)
    assert info.duration_s == pytest.approx(3, abs=0.05)
    assert info.source_fps == pytest.approx(24, rel=0.01)
    assert len(numbers(path)) == round(info.duration_s * 24)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_rotation_is_applied(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=2, picture=quadrants)
    set_rotation(path, degrees, mirrored=mirrored)
    shown = np.rot90(quadrants(), -degrees // 90)
    shown = shown[:, ::-1] if mirrored else shown
    frame = next(read_frames(path))
    assert frame.shape == shown.shape
    assert np.mean(np.abs(frame.astype(int) - shown)) < 12
    info = probe_video(path)
    assert (info.height, info.width) == shown.shape[:2]
    assert mirrored or info.rotation_deg == degrees


@pytest.mark.slow(1)
@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
@pytest.mark.parametrize("gop", [250, 25])
def test_edit_list_hides_picture_and_sound(tmp_path: Path, codec: str, gop: int) -> None:
    sound = clicks([1, 5.5, 7, 20], 507 / 25)
    path = write_video(tmp_path / "v.mp4", codec=codec, fps=25, n_frames=507, gop=gop, sound=sound)
    cut_in(path, 5.0)
    times = [Fraction(k, 25) - 5 for k in range(507)]
    assert numbers(path) == expected(times, Fraction(382, 25), Fraction(24))
    assert probe_video(path).duration_s == pytest.approx(382 / 25)
    heard = read_audio(path)
    assert heard is not None
    assert click_times(heard.samples[0], 24_000) == pytest.approx([0.5, 2, 15], abs=0.002)
    assert heard.duration_s == pytest.approx(382 / 25, abs=0.01)


@pytest.mark.parametrize("sound_s", [0.5, 5.0])
def test_length_is_the_pictures_not_the_sounds(tmp_path: Path, sound_s: float) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=48, sound=clicks([0.1], sound_s))
    info = probe_video(path)
    assert info.duration_s == pytest.approx(2)
    assert info.has_audio and not info.truncated
    assert len(numbers(path)) == 48


def test_picture_that_starts_late_is_shown_from_zero(tmp_path: Path) -> None:
    times = [Fraction(1, 2) + Fraction(k, 24) for k in range(24)]
    path = write_video(tmp_path / "v.mp4", times=times, sound=clicks([0.25], 1.5))
    assert numbers(path) == [0] * 12 + list(range(24))
    assert probe_video(path).duration_s == pytest.approx(1.5)


def test_black_end_card_is_kept(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", picture=lambda k: numbered(4095 if k < 24 else 0))
    shown = [frame.mean() for frame in read_frames(path)]
    assert min(shown[:24]) > 200 and max(shown[24:]) < 40 and len(shown) == 48


@pytest.mark.parametrize(
    ("max_side", "size"), [(None, (64, 96)), (48, (32, 48)), (500, (64, 96)), (1, (1, 1))]
)
def test_max_side_shrinks_only(tmp_path: Path, max_side: int | None, size: tuple[int, int]) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=30)
    frames = list(read_frames(path, max_side=max_side))
    assert frames[0].shape == (*size, 3) and frames[0].dtype == np.uint8
    if max_side == 48:
        assert [read_number(frame) for frame in frames] == list(range(30))


def test_shrunk_pictures_keep_their_colours(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=2, picture=quadrants)
    (whole, *_), (small, *_) = read_frames(path), read_frames(path, max_side=75)
    assert small.shape == (50, 75, 3)
    for y in (0.2, 0.8):
        for x in (0.2, 0.8):
            true = whole[int(y * HEIGHT), int(x * WIDTH)].astype(int)
            assert np.abs(small[int(y * 50), int(x * 75)] - true).max() <= 3


def test_frames_are_the_callers_own(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", fps=5, n_frames=5)
    for k, frame in enumerate(read_frames(path)):
        assert read_number(frame) == k * 5 // 24
        frame[:] = 0


@pytest.mark.parametrize("fps", [0.0, -1.0])
def test_rate_must_be_positive(tmp_path: Path, fps: float) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=2)
    with pytest.raises(VideoError, match="positive"):
        next(read_frames(path, fps))


@pytest.mark.parametrize("declared_s", [0.0, 1.0, 3600.0])
def test_movie_header_may_lie(tmp_path: Path, declared_s: float) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=72, sound=clicks([1], 3))
    declare_duration(path, declared_s)
    assert probe_video(path).duration_s == pytest.approx(3)
    assert len(numbers(path)) == 72


@pytest.mark.parametrize(
    ("suffix", "options"),
    [(".mp4", {"movflags": "frag_keyframe+empty_moov"}), (".mkv", {"live": "1"})],
)
def test_header_may_lack_the_length(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    path = write_video(tmp_path / f"v{suffix}", n_frames=72, container_options=options)
    assert probe_video(path).duration_s == pytest.approx(3, abs=0.002)
    assert not probe_video(path).truncated
    assert numbers(path) == list(range(72))


@pytest.mark.parametrize("share", [0.97, 0.7])
@pytest.mark.parametrize("gop", [12, 240])
def test_truncated_file_gives_what_decodes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, share: float, gop: int
) -> None:
    path = write_video(
        tmp_path / "v.mp4", n_frames=240, gop=gop, container_options={"movflags": "faststart"}
    )
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    info = probe_video(path)
    assert info.truncated and 0 < info.duration_s < 10
    with caplog.at_level(logging.WARNING):
        shown = numbers(path)
    # A picture that is coded from two others may lack the later one; the earlier one stands in.
    assert all(k - 2 <= number <= k for k, number in enumerate(shown))
    assert len(shown) == pytest.approx(info.duration_s * 24, abs=3)
    assert len(caplog.records) == 1 and "incomplete" in caplog.text


def test_truncated_matroska_is_reported(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "v.mkv", n_frames=240, sound=clicks([1], 10), sound_codec="libopus"
    )
    assert not probe_video(path).truncated
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert probe_video(path).truncated
    assert numbers(path)


@pytest.mark.parametrize("late_s", [None, 5.0, 5.5])
@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_times_that_begin_late_are_no_damage(
    tmp_path: Path, suffix: str, late_s: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(
        tmp_path / f"v{suffix}",
        times=[5 + Fraction(k, 24) for k in range(240)],
        codec="libvpx-vp9" if suffix == ".webm" else "libx264",
        sound=None if late_s is None else clicks([1], 10),
        sound_start_s=late_s or 0.0,
        sound_codec="libopus",
    )
    info = probe_video(path)
    assert not info.truncated
    assert info.duration_s == pytest.approx(10, abs=0.002)
    assert numbers(path) == list(range(240)) and not caplog.records
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert probe_video(path).truncated


def test_damaged_middle_does_not_shift_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=240, gop=24)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 2000
    data[start : start + 300] = np.random.default_rng(0).bytes(300)
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        shown = numbers(path)
    assert len(shown) == 240
    assert np.mean([number == k for k, number in enumerate(shown)]) > 0.6
    assert shown[-48:] == list(range(192, 240))


def make(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "directory":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("a film script, not a film\n" * 200)
    elif kind == "teletype":
        return path.rename(path) if path.exists() else _text(folder / "notes.txt")
    elif kind == "playlist":
        write_video(folder / "part.mp4")
        path.write_text("ffconcat version 1.0\nfile part.mp4\n")
    elif kind == "noise":
        path.write_bytes(np.random.default_rng(0).bytes(50_000))
    elif kind == "sound":
        write_sound(path, clicks([0.1], 1))
    elif kind == "no index":
        write_video(path)
        path.write_bytes(path.read_bytes()[:-500])
    elif kind == "no picture data":
        write_video(path, container_options={"movflags": "faststart"})
        data = path.read_bytes()
        path.write_bytes(data[: data.index(b"mdat") + 4])
    return path


def _text(path: Path) -> Path:
    path.write_text("steps, turns\n" * 100)
    return path


REFUSALS = {
    "missing": "No such file",
    "directory": "is a directory",
    "empty": "is empty",
    "text": "not a video",
    "teletype": "not a video",
    "playlist": "not a video",
    "noise": "not a video",
    "sound": "no video stream",
    "no index": "incomplete",
    "no picture data": "can be decoded|incomplete|unknown codec",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_refusal_is_one_line_with_a_remedy(tmp_path: Path, kind: str) -> None:
    path = make(kind, tmp_path)
    for read in (probe_video, lambda p: next(read_frames(p))):
        with pytest.raises(VideoError, match=REFUSALS[kind]) as caught:
            read(path)
        assert "\n" not in str(caught.value) and caught.value.remedy.endswith(".")


def test_prefetch_gives_the_same_in_order() -> None:
    assert list(prefetch(iter(range(100)), depth=3)) == list(range(100))


def test_prefetch_raises_what_the_producer_raised() -> None:
    def produce():
        yield 1
        raise VideoError("broken", "Repair it.")

    items = prefetch(produce())
    assert next(items) == 1
    with pytest.raises(VideoError, match="broken"):
        next(items)


def test_prefetch_runs_ahead_by_its_depth_only_and_stops_when_closed() -> None:
    made: list[int] = []
    closed: list[threading.Thread] = []

    def produce():
        try:
            for k in range(1000):
                made.append(k)
                yield k
        finally:
            closed.append(threading.current_thread())

    items = prefetch(produce(), depth=4)
    assert next(items) == 0
    time.sleep(0.2)
    assert len(made) <= 6
    items.close()
    assert closed and closed[0] is not threading.current_thread()
    assert not closed[0].is_alive()


@pytest.mark.slow(1)
def test_prefetch_never_started_leaves_no_thread() -> None:
    before = threading.active_count()
    prefetch(iter(range(3)))
    gc.collect()
    assert threading.active_count() == before


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("suffix", "codec", "gop"),
    [
        (".mp4", "libx264", 48),
        (".mp4", "libx265", 250),
        (".mkv", "libx264", 600),
        (".ts", "libx264", 48),
        (".avi", "mpeg4", 100),
    ],
)
def test_a_part_equals_the_same_part_of_the_whole(
    tmp_path: Path, suffix: str, codec: str, gop: int
) -> None:
    path = write_video(tmp_path / f"v{suffix}", fps=25, n_frames=520, codec=codec, gop=gop)
    whole = numbers(path)
    for start in (0, 289, 470):
        part = read_frames(path, start_s=start / 24, n_frames=24)
        assert [read_number(frame) for frame in part] == whole[start : start + 24]


def test_before_a_part_only_pictures_that_others_need_are_decoded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", fps=25, n_frames=300, gop=250)
    with open_video(path) as source:
        times = [time for time, _ in source.pictures(Fraction(9))]
    assert Fraction(9) in times and times[0] == 0
    assert len([time for time in times if time < 9]) < 0.7 * 9 * 25
    assert [time for time in times if time >= 9] == [Fraction(k, 25) for k in range(225, 300)]


def test_pictures_that_are_never_shown_are_decoded_only_for_others(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", fps=60, n_frames=300, gop=250)
    period = Fraction(1, 24)
    with open_video(path) as source:
        times = [time for time, _ in source.pictures(Fraction(0), period)]
    assert len(times) < 0.85 * 300
    wanted = {Fraction(math.floor(k * period * 60), 60) for k in range(120)}
    assert wanted | {Fraction(298, 60), Fraction(299, 60)} <= set(times)


def test_a_part_after_the_end_gives_the_last_picture_or_nothing_more(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=480)
    part = [read_number(frame) for frame in read_frames(path, start_s=19.0, n_frames=120)]
    assert part == list(range(456, 480))
    with pytest.raises(VideoError):
        list(read_frames(path, start_s=-1.0))


def test_tags_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv")
    path.write_bytes(path.read_bytes().replace(b"Lavf", b"\xe9avf"))
    assert probe_video(path).duration_s == pytest.approx(2.0, abs=0.01)
