"""Real dance videos, beside the checkout, through detection, tracking and cleaning."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dancetomusic.errors import PoseError
from dancetomusic.io.video import read_frames
from dancetomusic.pose.extract import extract_poses
from dancetomusic.pose.landmarks import LANDMARK
from dancetomusic.pose.mediapipe import detect_poses
from dancetomusic.pose.stretches import find_people, plan_stretches


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("d2mgan_aist_high1", 48),
        ("d2mgan_aist_high3", 48),
        ("d2mgan_aist_low2", 48),
        ("d2mgan_tiktok_high1", 53),
    ],
)
def test_a_dancer_is_followed(shared_data: Path, name: str, frames: int) -> None:
    video = shared_data / "videos" / f"{name}.mp4"
    (dancer,) = extract_poses(read_frames(video, max_side=640))
    assert abs(len(dancer) - frames) <= 1
    assert dancer.present_share > 0.9 and dancer.quality is not None
    assert dancer.quality.detected_share > 0.9 and dancer.quality.repaired_share < 0.1
    # Upright in every clip: y points down, so the head has less of it than the ankles.
    head = dancer.world[dancer.present, LANDMARK["nose"], 1]
    ankle = dancer.world[dancer.present, LANDMARK["left_ankle"], 1]
    assert (head < ankle).mean() > 0.95
    assert dancer.image is not None
    hips = dancer.image[dancer.present][:, [LANDMARK["left_hip"], LANDMARK["right_hip"]]]
    assert ((hips[..., 0] > 0.3) & (hips[..., 0] < 0.7)).all()


@pytest.mark.slow
def test_a_1080p_picture_is_seen_as_well_as_a_small_one(shared_data: Path) -> None:
    video = shared_data / "videos" / "d2mgan_aist_high1.mp4"
    (dancer,) = extract_poses(read_frames(video))
    assert dancer.quality is not None and dancer.quality.detected_share == 1.0


@pytest.mark.slow
def test_four_dancers_keep_to_their_places(shared_data: Path) -> None:
    video = shared_data / "videos" / "dtmapp_sample_original.mp4"
    dancers = extract_poses(read_frames(video), num_dancers=4)
    assert len(dancers) >= 3
    places = []
    for dancer in dancers:
        assert len(dancer) == 120 and dancer.image is not None
        hips = dancer.image[dancer.present, 23:25, 0].mean(axis=1)
        assert hips.std() < 0.05
        places.append(hips.mean())
    assert min(np.diff(sorted(places))) > 0.08


@pytest.mark.slow
def test_a_dancer_in_a_twentieth_of_the_video_is_refused(shared_data: Path) -> None:
    frames = list(read_frames(shared_data / "videos" / "d2mgan_aist_low2.mp4", max_side=320))
    video = [np.zeros_like(frames[0])] * 95 + frames[:5]
    with pytest.raises(PoseError, match=r"only 5\.0%"):
        extract_poses(video)


@pytest.mark.slow
def test_nothing_is_printed(shared_data: Path) -> None:
    video = shared_data / "videos" / "d2mgan_aist_low2.mp4"
    program = (
        "from dancetomusic.io.video import read_frames\n"
        "from dancetomusic.pose.extract import extract_poses\n"
        f"print(len(extract_poses(read_frames({str(video)!r}, max_side=320))))"
    )
    result = subprocess.run(
        [sys.executable, "-W", "default", "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0 and result.stdout.strip() == "1"
    assert result.stderr == ""


JOINT_M = 0.015
"""Median distance of joints by which the detector differs from itself, begun at another frame."""


@pytest.mark.slow(seconds=20)
def test_stretches_give_what_one_pass_gives_whoever_looks(shared_data: Path) -> None:
    video = shared_data / "videos" / "silent_track_640x360.mp4"
    assert len(plan_stretches(video, 24.0)) == 3
    done: list[int] = []
    together = find_people(video, 24.0, workers=2, on_progress=done.append)
    alone = find_people(video, 24.0, workers=1)
    one_pass = list(detect_poses(read_frames(video, max_side=640), 24.0))
    assert done == sorted(done) and done[-1] >= len(together) == len(alone) == len(one_pass)
    for found, same in zip(together, alone, strict=True):
        assert len(found) == len(same)
        for person, other in zip(found, same, strict=True):
            np.testing.assert_array_equal(person.world, other.world)
    seen = np.array([[bool(a), bool(b)] for a, b in zip(together, one_pass, strict=True)])
    assert (seen[:, 0] == seen[:, 1]).mean() > 0.97
    distances = [
        np.linalg.norm(a[0].world - b[0].world, axis=-1).mean()
        for a, b in zip(together, one_pass, strict=True)
        if a and b
    ]
    assert np.median(distances) < JOINT_M


@pytest.mark.slow
def test_an_interrupt_ends_the_workers_at_once(shared_data: Path) -> None:
    video = shared_data / "videos" / "silent_track_640x360.mp4"
    program = (
        "from dancetomusic.pose.stretches import find_people\n"
        "say = lambda done: done and print(done, flush=True)\n"
        f"find_people({str(video)!r}, 24.0, workers=2, on_progress=say)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline()
        threads = Path(f"/proc/{process.pid}/task").glob("*/children")
        children = [child for thread in threads for child in thread.read_text().split()]
        assert len(children) == 2
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.stderr.read()
    assert process.returncode == -signal.SIGINT
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
