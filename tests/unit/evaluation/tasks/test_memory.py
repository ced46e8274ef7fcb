"""What a memory is worth is measured by exchanging it, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from dancetomusic.cli import main
from dancetomusic.codec.spectral import SpectralCodec, SpectralCodecConfig, SpectralCodecModel
from dancetomusic.data.clip import clip_directory, write_record
from dancetomusic.data.manifest import write_manifest
from dancetomusic.errors import InputError
from dancetomusic.evaluation.tasks.memory import LATER_S, ROWS, memory_losses
from dancetomusic.models.pose2audio.network import Pose2Audio, Pose2AudioConfig
from dancetomusic.models.pose2audio.preparation import Item
from dancetomusic.models.pose2audio.token_decoder import TokenDecoder, TokenDecoderConfig
from tests.clip_factory import add_clip


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    config = TokenDecoderConfig(9, 8, codebook_size=16, d_model=32, n_layers=1, n_heads=2,
                                dropout=0.0, window_s=2)  # fmt: skip
    return TokenDecoder(config).eval()


def item(seed, seconds=24, memory=None):
    rng = np.random.default_rng(seed)
    if memory is None:
        memory = rng.normal(size=(seconds * 12, 8)).astype(np.float32)
    return Item(
        rng.integers(0, 16, (2, seconds * 75)),
        rng.normal(size=(seconds * 75, 9)).astype(np.float32),
        memory,
    )


def memorise(decoder, items, steps=150):
    """Fit the decoder to true codes beside their own memory."""
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=3e-3)
    codes = torch.from_numpy(np.stack([item.codes[:, :150] for item in items]))
    rhythm = torch.zeros(len(items), 150, 9)
    memory = torch.from_numpy(np.stack([item.memory[:24] for item in items]))
    for step in range(steps):
        past = torch.full_like(codes, 16) if step % 2 else codes
        logits = decoder(past, rhythm, memory)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 2), codes.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.slow(2)
def test_a_memory_that_matters_is_told_from_one_that_does_not(decoder):
    """Codes that only the memory tells apart: constant, by the sign of the memory."""
    items = []
    for number in range(4):
        sign = 1 - 2 * (number % 2)
        steady = np.full((288, 8), sign, np.float32)
        one = item(number, memory=steady)
        codes = np.full_like(one.codes, 3 + number % 2)
        items.append(dataclasses.replace(one, codes=codes, rhythm=one.rhythm * 0))
    memorise(decoder, items)
    values = memory_losses(decoder, items)
    own, other, later = (
        np.mean([value[name] for value in values]) for name in ("own", "other", "later")
    )
    assert own < other - 0.1
    assert later == pytest.approx(own, abs=1e-4)  # it is the same all along


@pytest.mark.slow(1)
def test_each_row_has_the_memory_that_it_names(decoder):
    """Beside equal memories all rows but that without are equal; a short dance has no last row."""
    memory = np.tile(np.random.default_rng(5).normal(size=(12, 8)), (24, 1)).astype(np.float32)
    one, two = (item(seed, memory=memory) for seed in (0, 1))
    for value in memory_losses(decoder, [one, two]):
        assert value["own"] == pytest.approx(value["other"]) == pytest.approx(value["later"])
        assert value["none"] != pytest.approx(value["own"], abs=1e-6)
    short = memory_losses(decoder, [item(0, LATER_S + 1), item(1, LATER_S + 2)])
    assert [math.isnan(value["later"]) for value in short] == [True, False]
    with pytest.raises(InputError, match="Give two"):
        memory_losses(decoder, [one])


def test_the_command_measures_on_a_set(tmp_path, capsys):
    torch.manual_seed(0)
    codec = SpectralCodecModel(SpectralCodecConfig(
        encoder_channels=8, encoder_blocks=1, decoder_channels=8, decoder_blocks=1,
        codebook_size=16,
    ))  # fmt: skip
    codec.save_pretrained(tmp_path / "codec", {})
    identity = SpectralCodec.from_pretrained(tmp_path / "codec").identity
    config = Pose2AudioConfig.of_size("tiny", codec_id=identity, codebook_size=16, window_s=1)
    config = dataclasses.replace(config, codec=str(tmp_path / "codec"))
    Pose2Audio(config).save_pretrained(tmp_path / "model", {})
    for number in range(3):
        record = add_clip(tmp_path / "set", f"video {number}", codec=identity, split="val")
        directory = clip_directory(tmp_path / "set", record.key)
        np.save(directory / "codes.npy", np.load(directory / "codes.npy") % 16)
        write_record(directory, record)
    write_manifest(tmp_path / "set")
    page = tmp_path / "memory.md"
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "memory", "--checkpoint", str(tmp_path / "model"), "--data",
              str(tmp_path / "set"), "--output", str(page)])  # fmt: skip
    assert not end.value.code, capsys.readouterr().err
    text = page.read_text()
    assert all(title in text for title in ROWS.values())
    values = json.loads(page.with_suffix(".json").read_text())
    assert values["own"]["mean"] > 0 and values["own"]["dances"] == 3
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "memory", "--checkpoint", str(tmp_path / "model"), "--output", str(page)])
    assert end.value.code == 2
    plain = dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, memory_dim=0))
    Pose2Audio(plain).save_pretrained(tmp_path / "plain", {})
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "memory", "--checkpoint", str(tmp_path / "plain"), "--data",
              str(tmp_path / "set"), "--output", str(page)])  # fmt: skip
    assert end.value.code == 2 and "has no pose memory" in capsys.readouterr().err
