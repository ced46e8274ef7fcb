"""The training task of the pose encoder, with encoders and dances small enough for seconds."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dancetomusic.config import config_from_dict, config_to_dict, load_config_values
from dancetomusic.data.clip import clip_directory, load_clip
from dancetomusic.data.dance import Dance, fully_visible
from dancetomusic.data.manifest import write_manifest
from dancetomusic.errors import CheckpointError, ConfigError, InputError
from dancetomusic.models.pose_encoder.losses import rhythm_loss
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoderConfig
from dancetomusic.models.pose_encoder.training import train_pose_encoder
from dancetomusic.models.pose_encoder.training_data import (
    DanceCrops,
    PoseEncoderTrainingConfig,
    procedural_sources,
    source_of_clip,
    source_of_dance,
)
from dancetomusic.models.registry import train
from dancetomusic.rhythm.energy import danced_rhythm
from tests.clip_factory import add_clip

TINY = PoseEncoderConfig(
    channels=16, dilations=(1, 2), dropout=0.0, tempo_dropout=0.0, gain_spread=0.0
)
SETTINGS = PoseEncoderTrainingConfig(
    model=TINY,
    procedural_share=1.0,
    n_procedural=2,
    max_steps=4,
    batch_size=2,
    crop_s=6.0,
    min_clip_s=4.0,
    max_clip_s=6.0,
    warmup_steps=1,
    validation_crops=2,
    log_every=1,
    device="cpu",
    tensorboard=False,
)


def crops(sources, indices):
    return DanceCrops(SETTINGS, [], sources).batch(0, indices)


def log_of(output):
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_loss_falls_on_one_batch_until_the_phase_is_known():
    torch.manual_seed(0)
    encoder = PoseEncoder(dataclasses.replace(TINY, channels=32, dilations=(1, 2, 4, 8)))
    sources = procedural_sources(2, 12.0, seed=0)
    batch = crops(sources, range(2))
    first = rhythm_loss(encoder, batch)["phase"].item()
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-2)
    for _ in range(80):
        losses = rhythm_loss(encoder, batch)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
    assert losses["phase"].item() < 0.15 < 0.5 < first


def test_labels_mark_the_true_beats():
    sources = procedural_sources(1, 12.0, seed=1)
    batch = crops(sources, range(2))
    on_beat = batch.beats == 1
    assert (batch.phase[..., 0][on_beat] > 0.9).all()
    assert (batch.downbeats <= batch.beats).all()
    assert batch.world.shape == (2, 144, 33, 3)
    assert batch.phase.shape == (2, 450, 2)


def test_a_sample_depends_on_its_index_and_not_on_the_batch():
    sources = procedural_sources(2, 12.0, seed=1)
    both = crops(sources, range(2))
    alone = crops(sources, range(1, 2))
    assert torch.equal(both.world[1:], alone.world)


def test_each_term_can_be_switched_off():
    encoder = PoseEncoder(TINY).eval()
    batch = crops(procedural_sources(1, 12.0, seed=1), range(1))
    whole = rhythm_loss(encoder, batch)
    without = rhythm_loss(encoder, batch, beat_weight=0.0, energy_weight=0.0)
    kept = whole["phase"] + whole["downbeat"] + whole["tempo"]
    torch.testing.assert_close(without["total"], kept)


@pytest.mark.slow(1)
def test_what_is_written_can_be_loaded_and_says_where_it_is_from(tmp_path):
    trained = train_pose_encoder(SETTINGS, tmp_path)
    loaded = PoseEncoder.from_pretrained(tmp_path)
    assert config_to_dict(loaded.config) == config_to_dict(TINY)
    world, present = torch.randn(1, 96, 33, 3) * 0.3, torch.ones(1, 96, dtype=torch.bool)
    torch.testing.assert_close(loaded(world, present).phase, trained(world, present).phase)
    metadata = json.loads((tmp_path / "config.json").read_text())["metadata"]
    assert metadata["steps"] == 4 and len(metadata["data"]) == 16
    assert metadata["metrics"]["loss"] > 0 and metadata["training"]["crop_s"] == 6.0
    assert metadata["package_version"]
    last = log_of(tmp_path)[-1]["validation"]
    assert last == metadata["metrics"]


@pytest.mark.slow(1)
def test_it_starts_from_another_encoder(tmp_path):
    train_pose_encoder(SETTINGS, tmp_path / "first")
    again = dataclasses.replace(SETTINGS, start_from=str(tmp_path / "first"), max_steps=1)
    train_pose_encoder(again, tmp_path / "second")
    first = log_of(tmp_path / "first")
    second = log_of(tmp_path / "second")
    assert second[0]["total"] < first[0]["total"]
    wide = dataclasses.replace(again, model=dataclasses.replace(TINY, channels=8))
    with pytest.raises(CheckpointError):
        train_pose_encoder(wide, tmp_path / "third")


@pytest.mark.slow
def test_pictures_and_beat_scores_reach_tensorboard(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    settings = dataclasses.replace(SETTINGS, tensorboard=True, max_steps=1)
    train_pose_encoder(settings, tmp_path)
    board = events.EventAccumulator(str(tmp_path)).Reload()
    assert {"train/phase", "validation/loss", "validation/beat_f"} <= set(board.Tags()["scalars"])
    (picture,) = board.Images("dancer")
    assert picture.width >= 480 and picture.height > 100


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_the_double_batch(tmp_path):
    script = (
        "import sys, dataclasses\n"
        "from tests.unit.models.pose_encoder.test_training import SETTINGS, train_pose_encoder\n"
        "train_pose_encoder(SETTINGS, sys.argv[1])\n"
    )
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    subprocess.run(
        [*command, "--nproc_per_node", "2", str(tmp_path / "script.py"), str(tmp_path / "two")],
        check=True, capture_output=True, stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    one = train_pose_encoder(dataclasses.replace(SETTINGS, batch_size=4), tmp_path / "one")
    two = PoseEncoder.from_pretrained(tmp_path / "two")
    for ours, theirs in zip(log_of(tmp_path / "two"), log_of(tmp_path / "one"), strict=True):
        if "validation" not in theirs:
            assert ours == {k: pytest.approx(v, rel=1e-3) for k, v in theirs.items()}
    for ours, theirs in zip(two.parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=1e-2)


def dance(**changes):
    world = np.random.default_rng(0).normal(0, 0.3, (240, 33, 3))
    values = {
        "dance_id": "D", "genre": "waltz", "split": "train", "sync_quality": "A", "bpm": 90.0,
        "beats_per_bar": 3, "downbeat_known": True, "figures": (), "audio_path": None,
        "beat_times": np.arange(0.5, 9.5, 0.67),
        "poses": fully_visible(world.astype(np.float32), 24.0),
    }  # fmt: skip
    return Dance(**{**values, "audio_path": Path("none"), **changes})


def test_dances_at_another_rate_are_brought_to_that_of_the_encoder():
    poses = dataclasses.replace(dance().poses, fps=30.0)
    assert source_of_dance(dance(poses=poses)).poses.fps == 24.0


@pytest.mark.parametrize("beats", [[], [1.0], [1.0, 1.0, 2.0]])
def test_dances_without_proper_beats_are_refused(beats):
    with pytest.raises(InputError, match="beats of D"):
        source_of_dance(dance(beat_times=np.array(beats, float)))


def write_dances(folder, world):
    (folder / "motion").mkdir(parents=True)
    columns = ["id", "genre", "split", "sync_quality", "bpm", "snap"]
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerow(["D", "waltz", "train", "A", "90", "downbeat"])
    np.savez(
        folder / "motion" / "D.npz", mp33=world, mp_fps=24.0, beat_times=np.arange(12) * 0.6,
        cau=np.array([], str), cau_beat=np.zeros(0), cau_beats=np.zeros(0),
    )  # fmt: skip


def write_config(tmp_path):
    (tmp_path / "c.yaml").write_text("n_procedural: 1\ncrop_s: 6.0\nmax_clip_s: 6.0\n")
    return tmp_path / "c.yaml"


@pytest.mark.slow
def test_poses_of_the_wrong_shape_are_one_line_before_the_first_step(tmp_path):
    """In a process of its own, without the checks that tests add to every call."""
    write_dances(tmp_path / "dances", np.zeros((240, 17, 3), np.float32))
    command = [sys.executable, "-m", "dancetomusic.cli", "train", "--model", "pose_encoder"]
    options = ["--config", str(write_config(tmp_path)), "--output", str(tmp_path / "run")]
    done = subprocess.run(
        [*command, *options, f"data={tmp_path / 'dances'}"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("dancetomusic: error: ")
    assert "D.npz: poses have shape" in done.stderr
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_poses_that_are_not_finite_are_refused_before_the_first_step(tmp_path):
    world = np.zeros((240, 33, 3), np.float32)
    world[7, 3] = np.nan
    write_dances(tmp_path / "dances", world)
    values = {"data": str(tmp_path / "dances")}
    with pytest.raises(InputError, match=r"D\.npz: .* not finite"):
        train("pose_encoder", write_config(tmp_path), values, tmp_path / "run")
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_no_dances_and_no_such_key_are_refused(tmp_path):
    config = write_config(tmp_path)
    with pytest.raises(InputError, match=r"index\.csv"):
        train("pose_encoder", config, {"data": str(tmp_path)}, tmp_path / "run")
    with pytest.raises(ConfigError, match="no key 'teacher_forcing_ratio'"):
        train("pose_encoder", config, {"teacher_forcing_ratio": 0.5}, tmp_path / "run")
    with pytest.raises(ConfigError, match="no key 'width'"):
        train("pose_encoder", config, {"model.width": 3}, tmp_path / "run")
    with pytest.raises(ConfigError, match="without keys"):
        train("pose_encoder", config, {"crop_s.width": 3}, tmp_path / "run")


def test_shipped_settings_load(repository):
    config = config_from_dict(
        PoseEncoderTrainingConfig,
        load_config_values(repository / "configs" / "pose_encoder.yaml"),
    )
    assert config.model.frame_rate == 75.0


@pytest.mark.parametrize(
    "values",
    [
        {"procedural_share": 2.0},
        {"procedural_share": 0.5, "data": None},
        {"data": "x", "min_clip_s": 9.0, "max_clip_s": 4.0},
        {"data": "x", "max_steps": 0},
        {"data": "x", "n_procedural": 0},
    ],
)
def test_impossible_settings_are_refused(values):
    with pytest.raises(ConfigError):
        PoseEncoderTrainingConfig(**values)


def test_a_clip_of_a_set_is_a_source_whose_beat_0_is_a_downbeat(tmp_path):
    record = add_clip(tmp_path, "video")
    clip = load_clip(clip_directory(tmp_path, record.key))
    times = np.array([0.1, 0.35, 0.6, 0.85])
    rhythm = danced_rhythm(clip.poses, times, np.array([3, 4, 1, 2]))
    source = source_of_clip(dataclasses.replace(clip, rhythm=rhythm))
    np.testing.assert_allclose(source.beat_times, [-0.4, -0.15, *times])
    assert source.beats_per_bar == 4 and source.beat_times[4] == 0.6
    alone = danced_rhythm(clip.poses, times[:1], np.array([1]))
    assert source_of_clip(dataclasses.replace(clip, rhythm=alone)) is None


def test_it_learns_from_clips_and_from_nothing_else(tmp_path):
    for number in range(3):
        add_clip(tmp_path / "set", f"video {number}", split="train")
    write_manifest(tmp_path / "set")
    settings = dataclasses.replace(
        SETTINGS, clips=str(tmp_path / "set"), procedural_share=0.0, max_steps=2
    )
    train_pose_encoder(settings, tmp_path / "run")
    metadata = json.loads((tmp_path / "run" / "config.json").read_text())["metadata"]
    assert len(metadata["data"].split()[1]) == 64
    with pytest.raises(ConfigError, match="both named"):
        dataclasses.replace(settings, data="dances")
