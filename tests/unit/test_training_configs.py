"""Settings: the shipped files, those that released checkpoints were trained with, overrides."""

from __future__ import annotations

import json

import pytest

from dancetomusic.config import config_from_dict, load_config
from dancetomusic.released import released_checkpoint
from dancetomusic.training import _recipe, _with_value
from dancetomusic.training.loop import LoopConfig


@pytest.mark.parametrize("model", ["codec", "pose_encoder", "pose2audio"])
def test_shipped_settings_load(repository, model):
    config = load_config(_recipe(model)[1], repository / "configs" / f"{model}.yaml")
    assert isinstance(config, LoopConfig)


@pytest.mark.parametrize("name", ["codec", "pose2audio"])
def test_settings_of_released_checkpoints_still_load(name):
    document = json.loads((released_checkpoint(name) / "config.json").read_text())
    values = document["metadata"]["training"]
    config = config_from_dict(_recipe(name)[1], values)
    assert config.max_steps == values["max_steps"]


def test_defaults_of_pose2audio_are_those_that_were_measured(repository):
    """Each loss beyond the cross-entropy of codes is off until it is asked for."""
    config = load_config(_recipe("pose2audio")[1], repository / "configs" / "pose2audio.yaml")
    document = json.loads((released_checkpoint("pose2audio") / "config.json").read_text())
    measured = document["metadata"]["training"]
    places = {"codec", "pose_encoder", "threads", "corpus", "validation"}
    for key in measured.keys() - places:
        assert getattr(config, key) == measured[key], key
    assert config.teacher_forcing_ratio == 1.0
    assert config.perceptual_weight == config.adversarial_weight == config.ema_decay == 0.0


def test_a_value_within_another_is_replaced_alone():
    values = {"a": 1, "corpus": {"seed": 1, "seconds": 2.0}}
    changed = _with_value(values, ["corpus", "seed"], 5)
    assert changed == {"a": 1, "corpus": {"seed": 5, "seconds": 2.0}}
    assert values["corpus"]["seed"] == 1
    assert _with_value({}, ["model", "kernel"], 3) == {"model": {"kernel": 3}}
