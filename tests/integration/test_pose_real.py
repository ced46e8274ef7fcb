"""Real dance videos, beside the checkout, through detection, tracking and cleaning."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dancetomusic.errors import PoseError
from dancetomusic.io.video import read_frames
from dancetomusic.pose.extract import extract_poses
from dancetomusic.pose.landmarks import LANDMARK


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
