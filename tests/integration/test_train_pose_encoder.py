"""The pose encoder's run, killed for real and started again by the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from dancetomusic.models.pose_encoder.network import PoseEncoder
from tests.dance_factory import SMALL_TRAINING

CONFIG = SMALL_TRAINING + "validate_every: 20\n"


def start(folder, output):
    return subprocess.Popen(
        [sys.executable, "-m", "dancetomusic.cli", "train", "--model", "pose_encoder",
         "--config", str(folder / "config.yaml"), "--output", str(output),
         "--max_steps", "40", "--accumulate", "2", "--device", "cpu", "model.kernel=3"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def log_of(output):
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow(15)
def test_a_killed_run_resumes_as_if_it_had_not_been(tmp_path):
    (tmp_path / "config.yaml").write_text(CONFIG)
    run, whole = tmp_path / "run", tmp_path / "whole"
    process, other = start(tmp_path, run), start(tmp_path, whole)
    while not (run / "resume.pt").is_file():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(log_of(run)) < 42
    assert start(tmp_path, run).wait() == 0
    assert other.wait() == 0
    assert log_of(run) == log_of(whole)
    assert [entry["step"] for entry in log_of(run) if "total" in entry] == list(range(1, 41))
    ours, theirs = (
        PoseEncoder.from_pretrained(directory).state_dict() for directory in (run, whole)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert json.loads((run / "config.json").read_text())["config"]["kernel"] == 3
