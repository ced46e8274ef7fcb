"""Still poses are scored beside real ones, a mean pose and noise."""

from __future__ import annotations

import json

import pytest

from dancetomusic.evaluation.tasks.still_poses import evaluate_still_poses
from dancetomusic.models.dance_gan.network import load_dance_gan
from dancetomusic.released import locate_checkpoint


@pytest.mark.slow
def test_made_poses_are_nearer_to_real_ones_than_a_mean_pose_and_noise(shared_data, tmp_path):
    model = load_dance_gan(locate_checkpoint("dance_gan_poses"), stage="poses")
    page = evaluate_still_poses(model, shared_data / "tang2018", tmp_path, count=240)
    assert page == (tmp_path / "poses.md").read_text()
    scores = json.loads((tmp_path / "poses.json").read_text())
    distance = {row: values["Fréchet distance"] for row, values in scores.items()}
    assert distance["real poses of other dances"] < distance["**made**"] < distance["mean pose"]
    assert distance["mean pose"] < distance["noise"]
    assert scores["**made**"]["diversity"] > 3.0
    assert scores["noise"]["head above feet"] < 0.6
