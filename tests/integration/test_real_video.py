from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from dancetomusic.io.audio import read_audio
from dancetomusic.io.mux import mux
from dancetomusic.io.video import prefetch, probe_video, read_frames
from dancetomusic.types import Waveform
from tests.video_factory import click_times, clicks

NAMES = [
    "d2mgan_aist_high1.mp4",
    "d2mgan_aist_high3.mp4",
    "d2mgan_aist_low2.mp4",
    "d2mgan_tiktok_high1.mp4",
    "dtmapp_sample_original.mp4",
]


@pytest.fixture(params=NAMES)
def video(request: pytest.FixtureRequest, shared_data: Path) -> Path:
    return shared_data / "videos" / request.param


def pictures(path: Path) -> tuple[list[Fraction], list[np.ndarray], Fraction]:
    """Times and small pictures as the decoder gives them, and the end of the last."""
    times, small = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None and frame.time_base is not None
            times.append(frame.pts * frame.time_base)
            small.append(frame.reformat(64, 36, "rgb24", interpolation="AREA").to_ndarray())
            end = times[-1] + frame.duration * frame.time_base
    return times, small, end


@pytest.mark.slow(1)
def test_frames_come_at_their_times(video: Path) -> None:
    times, small, end = pictures(video)
    frames = list(prefetch(read_frames(video, max_side=256)))
    info = probe_video(video)
    assert info.duration_s == pytest.approx(float(end), abs=0.001) and not info.truncated
    assert len(frames) == -(-end * 24 // 1)
    assert max(frames[0].shape) <= 256
    for k, frame in enumerate(frames):
        right = max(n for n, time in enumerate(times) if time <= Fraction(k, 24))
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        shown = picture.reformat(64, 36, "rgb24", interpolation="AREA").to_ndarray().astype(int)
        around = range(max(0, right - 2), min(len(small), right + 3))
        distance = {n: np.abs(shown - small[n]).mean() for n in around}
        assert distance[right] <= min(distance.values()) + 0.05, (k, distance)


def test_sound_is_read_as_long_as_the_picture(video: Path) -> None:
    heard = read_audio(video)
    assert heard is not None and heard.sample_rate == 24_000
    assert heard.duration_s == pytest.approx(probe_video(video).duration_s, abs=0.3)
    assert np.abs(heard.samples).max() > 0.05


@pytest.mark.slow(1)
def test_new_sound_goes_onto_the_untouched_picture(video: Path, tmp_path: Path) -> None:
    marks = [0.0, 0.5, 1.5]
    mux(video, Waveform(clicks(marks, 2, 24_000)[None], 24_000), tmp_path / "out.mp4")
    before, after = pictures(video), pictures(tmp_path / "out.mp4")
    assert [float(t) for t in after[0]] == pytest.approx([float(t) for t in before[0]], abs=1e-4)
    np.testing.assert_array_equal(after[1], before[1])
    heard = read_audio(tmp_path / "out.mp4")
    assert heard is not None
    assert click_times(heard.samples[0], 24_000) == pytest.approx(marks, abs=0.001)
