"""MediaPipe's reading of the shipped demo clips against the truth beside them."""

import subprocess
import sys

import numpy as np
import pytest

from building_tools.render_dancer import DEMO_CLIPS, DEMO_FPS
from dancetomusic.io.video import probe_video
from dancetomusic.pose.files import load_poses
from dancetomusic.rhythm.files import load_beats

CLIPS = {clip.name: clip for clip in DEMO_CLIPS}
MAX_ERROR_M = 0.12


def align(poses, truth):
    """Each pose turned, scaled and shifted onto its truth (Umeyama 1991)."""
    poses = poses - poses.mean(axis=1, keepdims=True)
    centre = truth.mean(axis=1, keepdims=True)
    u, s, vt = np.linalg.svd(np.einsum("tji,tjk->tik", poses, truth - centre))
    sign = np.sign(np.linalg.det(u @ vt))  # no mirror images
    u[:, :, 2] *= sign[:, None]
    s[:, 2] *= sign
    scale = s.sum(axis=1) / (poses**2).sum(axis=(1, 2))
    return scale[:, None, None] * poses @ (u @ vt) + centre


def truth_at_24_fps(path):
    """The true pose of the picture shown at each k / 24 s, and where it is in the picture."""
    with np.load(path) as data:
        shown = np.floor(np.arange(288) / 24.0 * float(data["fps"]) + 1e-6).astype(int)
        return data["poses"][shown], data["image_xy"][shown]


def test_alignment_undoes_a_similarity_and_no_mirror(tiny_rng):
    truth = tiny_rng.normal(size=(3, 33, 3))
    turned = 0.5 * truth[..., [1, 2, 0]] + 3.0
    np.testing.assert_allclose(align(turned, truth), truth, atol=1e-9)
    assert np.abs(align(truth * [-1, 1, 1], truth) - truth).mean() > 0.3


@pytest.mark.parametrize("name", CLIPS)
def test_a_clip_is_what_its_files_say(demo_dir, name):
    clip = CLIPS[name]
    info = probe_video(demo_dir / f"{name}.mp4")
    assert (info.width, info.height, info.has_audio) == (clip.width, clip.height, False)
    assert info.duration_s == pytest.approx(clip.duration_s, abs=0.04)
    beats = load_beats(demo_dir / f"{name}.csv", clip.duration_s)
    assert beats.bpm == pytest.approx(clip.bpm, rel=1e-4)
    assert beats.beat_times[0] == pytest.approx(clip.first_beat_s)
    for suffix in [""] if len(clip.seeds) == 1 else ["_1", "_2"]:
        assert len(load_poses(demo_dir / f"{name}{suffix}.npz", DEMO_FPS)) == 360


def test_the_demo_is_small(demo_dir):
    assert sum(file.stat().st_size for file in demo_dir.iterdir()) < 3_000_000


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_poses_read_from_the_picture_are_the_true_ones(demo_dir, dancers_of_demo, name):
    pytest.importorskip("mediapipe")
    clip = CLIPS[name]
    found = dancers_of_demo(name, len(clip.seeds))
    assert len(found) == len(clip.seeds)
    found.sort(key=lambda dancer: dancer.image[dancer.present, :, 0].mean())  # left to right
    suffixes = [""] if len(found) == 1 else ["_1", "_2"]
    for dancer, suffix in zip(found, suffixes, strict=True):
        assert dancer.present_share >= 0.98
        assert dancer.quality.detected_share >= 0.98
        truth, in_picture = truth_at_24_fps(demo_dir / f"{name}{suffix}.npz")
        seen = dancer.present
        error = np.linalg.norm(align(dancer.world[seen], truth[seen]) - truth[seen], axis=2)
        assert error.mean() < MAX_ERROR_M
        # Shoulders, hips and eyes are the right way round, and nothing is mirrored.
        for left, right in ((11, 12), (23, 24), (2, 5)):
            across = (dancer.world[:, left] - dancer.world[:, right])[seen]
            true_across = (truth[:, left] - truth[:, right])[seen]
            assert np.mean((across * true_across).sum(axis=1) > 0) > 0.98
        away = np.abs(dancer.image[seen, :, :2] - in_picture[seen])
        assert np.median(away) < 0.03


@pytest.mark.slow
def test_the_command_renders_dances_and_poses(repository, tmp_path):
    pytest.importorskip("pyvista")
    command = [sys.executable, repository / "building_tools" / "render_dancer.py"]
    size = ["--width", "96", "--height", "64"]
    dance = ["--style", "waltz", "--bpm", "90", "--seconds", "1.5", "--dancers", "2", "--fps", "12"]
    video = tmp_path / "waltz.mp4"
    subprocess.run([*command, video, *size, *dance], check=True, cwd=repository)
    assert probe_video(video).duration_s == pytest.approx(1.5, abs=0.1)
    beats = load_beats(tmp_path / "waltz.csv", 1.5)
    assert beats.bpm == pytest.approx(90.0, rel=1e-4)
    poses = tmp_path / "waltz_2.npz"
    shown = tmp_path / "poses.mp4"
    run = [*command, shown, *size, "--poses", poses, "--camera_distance", "4"]
    result = subprocess.run(run, check=True, cwd=repository, capture_output=True, text=True)
    assert probe_video(shown).width == 96
    assert result.stderr == ""
    run = [*command, tmp_path / "no.mp4", "--bpm", "300"]
    refused = subprocess.run(run, cwd=repository, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "300" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "no.mp4").exists()
