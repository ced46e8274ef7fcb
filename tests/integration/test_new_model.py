"""A model that another package brings: one folder and one registration, and it works everywhere."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dancetomusic.app.jobs import Worker
from dancetomusic.checkpoint import save_checkpoint
from dancetomusic.io.audio import read_audio
from tests.evaluation_factory import write_dances

PACKAGE = '''
"""Plays a short tone on every beat, higher on downbeats."""
from dancetomusic.models.registry import Family

FAMILY = Family("toy", "toy_player", plays=True)
'''

MODEL = """
import numpy as np

from dancetomusic.checkpoint import load_checkpoint
from dancetomusic.models.base import ModelOptions, MusicModel, Sound
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.types import Waveform

RATE = 24_000


class ToyModel(MusicModel):
    def __init__(self, pitches):
        self.pitches = pitches

    @property
    def options(self):
        return ModelOptions(SamplingConfig(temperature=0.0), ("temperature",), ("low", "high"))

    def generate(self, conditions, sampling, stages):
        rhythm = conditions.rhythm
        octave = {None: 1.0, "low": 1.0, "high": 2.0}[conditions.style]
        with stages.stage("sound"):
            samples = np.zeros((1, round(rhythm.duration_s * RATE)), np.float32)
            time = np.arange(RATE // 10) / RATE
            for start_s, number in zip(rhythm.beat_times, rhythm.beat_numbers):
                pitch = octave * self.pitches[0 if number == 1 else 1]
                tone = np.exp(-40 * time) * np.sin(2 * np.pi * pitch * time)
                place = samples[0, round(start_s * RATE) :][: tone.size]
                place += 0.5 * tone[: place.size].astype(np.float32)
        return Sound(Waveform(samples, RATE))


def open_model(directory, codec=None):
    return ToyModel(load_checkpoint(directory, model="toy").tensors["pitches"].tolist())
"""


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """Its checkpoint, and an environment in which its package is installed."""
    folder = tmp_path_factory.mktemp("toy")
    package, record = folder / "toy_player", folder / "toy_player-1.0.dist-info"
    for made in (package, record):
        made.mkdir()
    (package / "__init__.py").write_text(PACKAGE)
    (package / "model.py").write_text(MODEL)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: toy_player\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text("[dancetomusic.models]\ntoy = toy_player:FAMILY\n")
    save_checkpoint(
        folder / "weights",
        model="toy",
        config={},
        tensors={"pitches": torch.tensor([880.0, 440.0])},
        metadata={},
        half=False,
    )
    searched = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return folder / "weights", {**os.environ, "PYTHONPATH": searched}


def run(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dancetomusic.cli", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_generate_plays_it_and_refuses_what_it_has_not(toy, demo_dir, tmp_path):
    weights, environment = toy
    poses = demo_dir / "steps_128bpm.npz"
    out = tmp_path / "out.wav"
    made = run(environment, "generate", poses, out, "--checkpoint", weights, "--bpm", 128)
    assert made.returncode == 0, made.stderr
    sound = read_audio(out)
    loud = np.abs(sound.samples[0]) > 0.1
    assert sound.sample_rate == 24_000 and 0.02 < loud.mean() < 0.5
    high = tmp_path / "high.wav"
    made = run(environment, "generate", poses, high, "--checkpoint", weights, "--style", "high")
    assert made.returncode == 0, made.stderr
    assert not np.array_equal(read_audio(high).samples, sound.samples)
    for option, value, message in (
        ("--style", "polka", "Choose one of low, high."),
        ("--cfg_scale", 2, "this model has no choice of cfg_scale"),
    ):
        made = run(environment, "generate", poses, out, "--checkpoint", weights, option, value)
        assert made.returncode == 2 and message in made.stderr


def test_info_names_it(toy):
    assert "wavenet, motion_vae, toy\n" in run(toy[1], "info").stdout


def test_the_page_offers_its_choices_and_plays_it(toy, demo_dir, tmp_path, monkeypatch):
    weights, environment = toy
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    source = Path(shutil.copy(demo_dir / "bounce_104bpm.mp4", tmp_path / "video.mp4"))
    take = tmp_path / "take"
    take.mkdir()
    wish = {"source": str(source), "beats_from": "movement", "dancers": 1}

    async def use() -> tuple[dict, dict]:
        worker = Worker({"checkpoint": str(weights), "codec": None, "threads": 1})
        try:
            read = await worker.work({"work": "rhythm", **wish}, lambda **_: None, 300)
            choices = {"seed": 1, "temperature": 0.0, "cfg_scale": None, "style": "low"}
            choices |= {"key": None, "energy": None}
            beats = {"reading": 0, "beats": None, "bpm": None}
            request = {"work": "take", "folder": str(take), **wish, **choices, **beats}
            return read, await worker.work(request, lambda **_: None, 300)
        finally:
            await worker.stop()

    read, made = asyncio.run(use())
    assert read["model"] == {
        "sampling": {"temperature": 0.0},
        "styles": ["low", "high"],
        "keys": [],
    }
    assert made["duration_s"] == pytest.approx(read["duration_s"], abs=0.05)
    assert np.abs(read_audio(take / "sound.wav").samples).max() > 0.3


@pytest.mark.slow(60)
def test_evaluate_has_a_row_for_it(toy, tmp_path):
    weights, environment = toy
    (tmp_path / "dances").mkdir()
    write_dances(tmp_path / "dances")
    made = run(
        environment, "evaluate", "--data", tmp_path / "dances", "--output", tmp_path / "out",
        "--checkpoint", weights, "--seeds", 1, "--engine", "serial",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    table = json.loads((tmp_path / "out" / "report.json").read_text())["summary"]["rows"]
    assert table["**weights**"]["librosa_f"]["mean"] > 0.8  # it plays on the beats it is given
