from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from dancetomusic.checkpoint import load_checkpoint
from dancetomusic.errors import CheckpointError, ConfigError
from dancetomusic.models.pose2audio.network import Pose2Audio, Pose2AudioConfig
from dancetomusic.rhythm.features import RHYTHM_FEATURES

POSES, FRAMES = 24, 75


def inputs() -> tuple[torch.Tensor, ...]:
    return (
        torch.randn(1, POSES, 33, 3),
        torch.ones(1, POSES, dtype=torch.bool),
        torch.randint(0, 1024, (1, 2, FRAMES)),
        torch.randn(1, FRAMES, len(RHYTHM_FEATURES)),
    )


@pytest.fixture
def model() -> Pose2Audio:
    return Pose2Audio(Pose2AudioConfig.of_size("tiny", codec_id="test")).eval()


@torch.inference_mode()
def test_saved_and_loaded_models_give_equal_logits(model: Pose2Audio, tmp_path: Path) -> None:
    for parameter in model.parameters():  # what float16 can hold survives exactly
        parameter.copy_(parameter.half().float())
    for buffer in model.buffers():
        buffer.copy_(buffer.half().float())
    model.save_pretrained(tmp_path, {"seed": 3})
    loaded = Pose2Audio.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert not loaded.training
    given = inputs()
    assert torch.equal(loaded(*given)[0], model(*given)[0])
    metadata = load_checkpoint(tmp_path, model="pose2audio").metadata
    assert (metadata["codec"], metadata["seed"]) == ("test", 3)


@torch.inference_mode()
def test_styles_survive_saving(tmp_path: Path) -> None:
    styles = ("rock", "cha-cha")
    config = Pose2AudioConfig.of_size("tiny", codec_id="test", styles=styles)
    model = Pose2Audio(config).eval()
    assert model.decoder.styles is not None
    model.decoder.styles.weight[2] = 0.5
    model.save_pretrained(tmp_path, {})
    loaded = Pose2Audio.from_pretrained(tmp_path)
    assert loaded.config.decoder.styles == styles
    given, style = inputs(), torch.tensor([loaded.config.decoder.style_index("cha-cha")])
    assert not torch.equal(loaded(*given, style=style)[0], loaded(*given)[0])


def test_logits_and_encoding_fit_each_other(model: Pose2Audio) -> None:
    logits, encoding = model(*inputs())
    assert logits.shape == (1, 2, FRAMES, 1024)
    assert encoding.phase.shape == (1, FRAMES, 2)


def test_the_music_depends_on_the_dance_through_memory(model: Pose2Audio) -> None:
    world, *rest = inputs()
    logits = model(world, *rest)[0]
    logits.sum().backward()
    gradients = [p.grad for p in model.encoder.parameters() if p.grad is not None]
    assert max(float(g.abs().max()) for g in gradients) > 0


def test_the_default_size_stays_small() -> None:
    model = Pose2Audio(Pose2AudioConfig.of_size("small", codec_id="test"))
    assert sum(parameter.numel() for parameter in model.parameters()) <= 15_000_000


def test_every_size_has_a_valid_config() -> None:
    for size in ("tiny", "small", "base"):
        assert Pose2AudioConfig.of_size(size, codec_id="test", pattern="flatten").codec_id == "test"
    with pytest.raises(ConfigError, match="'huge'"):
        Pose2AudioConfig.of_size("huge", codec_id="test")


def test_halves_that_do_not_fit_are_refused() -> None:
    config = Pose2AudioConfig.of_size("tiny", codec_id="test")
    for change in ({"memory_dim": 3}, {"frame_rate": 50.0}):
        with pytest.raises(ConfigError):
            dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, **change))


def test_a_checkpoint_that_contradicts_its_config_is_refused(
    model: Pose2Audio, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path, {})
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"n_layers": 2', '"n_layers": 3'))
    with pytest.raises(CheckpointError):
        Pose2Audio.from_pretrained(tmp_path)
