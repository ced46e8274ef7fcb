"""A set that was built from videos is all that training needs, and its checkpoint plays at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from dancetomusic.cli import main
from dancetomusic.codec.encodec import EncodecCodec
from dancetomusic.models.encoders import load_encoder
from dancetomusic.models.motion_vae.network import MotionVae
from dancetomusic.models.pose2audio.network import Pose2Audio
from dancetomusic.models.pose_encoder.network import PoseEncoder
from dancetomusic.released import released_checkpoint
from tests.dance_factory import BUILD_OPTIONS, small_copy
from tests.unit.codec.test_encodec import random_model

pytestmark = pytest.mark.slow
FEW_STEPS = (
    "--max_steps",
    "2",
    "--batch_size",
    "2",
    "--device",
    "cpu",
    "num_workers=0",
    "tensorboard=false",
)


def command(*arguments: object) -> int:
    """Exit code of ``dancetomusic`` in this process."""
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


def train(model: str, data: Path, output: Path, *more: str) -> int:
    return command(
        "train", "--model", model, "--data", data, "--output", output, *FEW_STEPS, *more
    )  # fmt: skip


@pytest.fixture
def poses(demo_dir: Path, tmp_path: Path) -> Path:
    """Three seconds of a dance."""
    with np.load(demo_dir / "steps_128bpm.npz") as held:
        values = dict(held)
    total, count = len(values["poses"]), round(3 * float(values["fps"]))
    cut = {n: v[:count] if v.ndim and len(v) == total else v for n, v in values.items()}
    np.savez(tmp_path / "poses.npz", **cut)
    return tmp_path / "poses.npz"


def test_both_models_start_from_the_released_weights(
    built: Path, poses: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The pose encoder, then Pose2Audio with it, then music, in a folder with nothing else."""
    encoder, run = tmp_path / "encoder", tmp_path / "run"
    assert train("pose_encoder", built, encoder, "n_procedural=2", "validation_crops=2") == 0
    found = PoseEncoder.from_pretrained(encoder).state_dict()
    for name, tensor in load_encoder().state_dict().items():
        torch.testing.assert_close(found[name], tensor, atol=0.01, rtol=0.05)
    capfd.readouterr()
    assert train("pose2audio", built, run, f"pose_encoder={encoder}") == 0
    said = capfd.readouterr()
    assert "training starts from pose2audio\n" in said.out
    assert "validation loss" in said.out and not said.err
    model = Pose2Audio.from_pretrained(run)
    released = Pose2Audio.from_pretrained(released_checkpoint("pose2audio"))
    assert model.config.codec_id == released.config.codec_id
    assert model.config.decoder.styles == released.config.decoder.styles
    assert model.config.decoder.window_s == 2
    for name, tensor in released.decoder.state_dict().items():
        torch.testing.assert_close(
            model.decoder.state_dict()[name], tensor, atol=0.01, rtol=0.05
        )  # fmt: skip
    output = tmp_path / "out.wav"
    options = ("--instrument", "pose2audio", "--checkpoint", run)
    assert command("generate", poses, output, *options) == 0
    sound, rate = soundfile.read(output)
    assert len(sound) / rate == pytest.approx(3.0, abs=0.01) and np.abs(sound).max() > 0.01
    assert command("generate", poses, output, "--instrument", "wavenet", "--checkpoint", run) == 2
    assert "holds pose2audio, not wavenet" in capfd.readouterr().err


def test_a_set_with_the_codes_of_encodec(
    demo_dir: Path, poses: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """EnCodec's real architecture with random weights, in a directory of the user's."""
    codec, videos, data, run = (tmp_path / name for name in ("encodec", "videos", "set", "run"))
    random_model().save_pretrained(codec)
    videos.mkdir()
    small_copy(demo_dir / "steps_128bpm.mp4", videos / "steps.mp4", seconds=2.1)
    options = ("--output_path", data, *BUILD_OPTIONS[:-2], "--engine", "serial")
    assert command("build", "--input_folder", videos, *options, "--codec", codec) == 0
    identity = EncodecCodec.from_pretrained(codec).identity

    capfd.readouterr()
    assert train("pose2audio", data, run) == 2
    refusal = capfd.readouterr().err
    assert identity in refusal and "codec=DIRECTORY" in refusal and refusal.count("\n") == 1
    assert not (run / "config.json").exists()

    assert train("pose2audio", data, run, f"codec={codec}") == 0
    (said,) = [line for line in capfd.readouterr().out.splitlines() if "starts from" in line]
    assert "another codec" in said
    model = Pose2Audio.from_pretrained(run)
    assert model.config.codec_id == identity
    released = Pose2Audio.from_pretrained(released_checkpoint("pose2audio")).decoder
    ours, theirs = (
        m.blocks[0].self_attention.qkv.weight for m in (model.decoder, released)
    )  # fmt: skip
    torch.testing.assert_close(ours, theirs, atol=0.01, rtol=0.05)
    apart = (model.decoder.heads.weight - released.heads.weight).abs().mean()
    assert apart > released.heads.weight.abs().mean() / 2

    output = tmp_path / "out.wav"
    assert command("generate", poses, output, "--checkpoint", run) == 0
    assert soundfile.info(output).duration == pytest.approx(3.0, abs=0.01)
    shutil.rmtree(codec)
    assert command("generate", poses, output, "--checkpoint", run) == 2
    refusal = capfd.readouterr().err
    assert identity in refusal and "--codec" in refusal and str(codec) in refusal


def test_the_sampler_learns_from_takes_and_plays(
    built: Path, folder: Path, poses: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, options = tmp_path / "run", ("crop_s=1", "validate_every=1")
    assert train("motion_vae", built, run, *options, f"takes={folder}") == 0
    released = MotionVae.from_pretrained(released_checkpoint("motion_vae")).state_dict()
    for name, tensor in MotionVae.from_pretrained(run).state_dict().items():
        torch.testing.assert_close(tensor, released[name], atol=0.01, rtol=0.05)
    with np.load(run / "clips.npz") as kept:
        filmed = [kept[name] for name in kept.files if name.startswith("features")]
    assert filmed and all(track.max() > 0.5 for track in filmed)  # seen in the videos
    output = tmp_path / "out.wav"
    assert command("generate", poses, output, "--checkpoint", run) == 0
    assert np.abs(soundfile.read(output)[0]).max() > 0.01
    capfd.readouterr()
    assert train("motion_vae", built, tmp_path / "none", *options, f"takes={tmp_path}") == 2
    assert "cannot read" in capfd.readouterr().err


def test_what_a_set_is_not_enough_for_is_said(
    built: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train("wavenet", built, tmp_path / "run") == 2
    assert "does not learn from a set alone" in capfd.readouterr().err
    assert command("train", "--model", "pose2audio", "--output", tmp_path / "run") == 2
    assert "Give --data SET" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
