"""What a run shows, and what it says where a part is not installed."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from dancetomusic.training.logger import Logger
from dancetomusic.types import Waveform


def test_without_a_place_nothing_is_written(tmp_path):
    logger = Logger(None, wandb=True)
    logger.scalars({"loss": 1.0}, 0)
    assert not logger.is_open and not logger.problem


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_weights_and_biases_is_left_out_where_it_is_not_installed(tmp_path):
    logger = Logger(tmp_path, tensorboard=False, wandb=True)
    assert not logger.is_open and "pip install wandb" in logger.problem


def test_weights_and_biases_receives_curves_sounds_and_pictures(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = Logger(tmp_path, tensorboard=False, wandb=True)
    logger.scalars({"train/loss": 1.0}, 1)
    logger.audio("played", Waveform(np.zeros((1, 16_000), np.float32), 16_000), np.zeros(0), 1)
    logger.close()
    (run,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert run.stat().st_size > 0
