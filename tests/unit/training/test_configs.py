"""Settings: the shipped files, those that released checkpoints were trained with, overrides."""

from __future__ import annotations

import dataclasses
import json

import pytest

from dancetomusic.config import config_from_dict, load_config_values
from dancetomusic.models.registry import _with_value, families, find_family
from dancetomusic.released import released_checkpoint, released_checkpoints
from dancetomusic.training.config import LoopConfig


def test_shipped_settings_load(repository):
    files = sorted((repository / "configs").glob("*.yaml"))
    assert len(files) > 5
    for file in files:
        model = max((name for name in families() if file.stem.startswith(name)), key=len)
        values = load_config_values(file)
        assert isinstance(
            config_from_dict(find_family(model).training().config, values), LoopConfig
        )


@pytest.mark.parametrize("name", sorted(released_checkpoints()))
def test_settings_of_released_checkpoints_still_load(name):
    document = json.loads((released_checkpoint(name) / "config.json").read_text())
    values = document["metadata"]["training"]
    config = config_from_dict(find_family(document["model"]).training().config, values)
    assert config.max_steps == values["max_steps"]


@pytest.mark.parametrize("name", ["pose2audio", "pose2audio_score", "pose2audio_causal"])
def test_settings_of_pose2audio_are_those_that_were_measured(repository, name):
    """Each loss beyond the cross-entropy of codes is off until it is asked for."""
    values = load_config_values(repository / "configs" / f"{name}.yaml")
    config = config_from_dict(find_family("pose2audio").training().config, values)
    document = json.loads((released_checkpoint(name) / "config.json").read_text())
    measured = document["metadata"]["training"]
    machine = {"codec", "pose_encoder", "start_from", "threads"}
    for key in measured.keys() - machine:
        value = getattr(config, key)
        written = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
        assert json.loads(json.dumps(written)) == measured[key], key
    assert config.teacher_forcing_ratio == 1.0
    assert config.perceptual_weight == config.adversarial_weight == 0.0


def test_a_value_within_another_is_replaced_alone():
    values = {"a": 1, "corpus": {"seed": 1, "seconds": 2.0}}
    changed = _with_value(values, ["corpus", "seed"], 5)
    assert changed == {"a": 1, "corpus": {"seed": 5, "seconds": 2.0}}
    assert values["corpus"]["seed"] == 1
    assert _with_value({}, ["model", "kernel"], 3) == {"model": {"kernel": 3}}
