import csv
import shutil

import numpy as np
import pytest
import torch

from dancetomusic.checkpoint import save_checkpoint
from dancetomusic.codec.spectral import SpectralCodec, SpectralCodecConfig, SpectralCodecModel
from dancetomusic.config import config_to_dict
from dancetomusic.models.pose2audio import Pose2Audio
from dancetomusic.models.pose_encoder import PoseEncoder, PoseEncoderConfig
from dancetomusic.synthesis.corpus import CorpusConfig
from dancetomusic.synthesis.groove import SOUND_FONT
from dancetomusic.training.pose2audio import Pose2AudioTrainer, Pose2AudioTrainingConfig
from tests.unit.test_groove import write_groove_folder

pytestmark = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUND_FONT.is_file(),
    reason="fluidsynth or its sound font is not installed",
)


@pytest.fixture
def config(shared_data, tmp_path):
    """Two dances, two short grooves, and small random parts."""
    torch.manual_seed(0)
    codec = SpectralCodecModel(
        SpectralCodecConfig(encoder_channels=8, encoder_blocks=1, decoder_channels=8,
                            decoder_blocks=1, codebook_size=16)
    )  # fmt: skip
    latent = codec.encode_latent(torch.randn(2, 48_000)).detach()
    codec.quantizer.start_from(latent, torch.Generator().manual_seed(0))
    SpectralCodec(codec).save_pretrained(tmp_path / "codec", {})
    encoder = PoseEncoder(PoseEncoderConfig(channels=16, dilations=(1, 2)))
    save_checkpoint(
        tmp_path / "encoder", model="pose_encoder", config=config_to_dict(encoder.config),
        tensors=encoder.state_dict(), metadata={},
    )  # fmt: skip
    source, dances = shared_data / "tang2018", tmp_path / "dances"
    (dances / "motion").mkdir(parents=True)
    with (source / "index.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    chosen = [r for r in rows if r["id"] in ("DANCE_C_5", "DANCE_W_33")]
    for row in chosen:
        shutil.copy(source / "motion" / f"{row['id']}.npz", dances / "motion")
    with (dances / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(chosen)
    (tmp_path / "grooves").mkdir()
    write_groove_folder(tmp_path / "grooves")
    return Pose2AudioTrainingConfig(
        grooves=str(tmp_path / "grooves"),
        dances=str(dances),
        codec=str(tmp_path / "codec"),
        pose_encoder=str(tmp_path / "encoder"),
        corpus=CorpusConfig(n_pieces=2, seconds=10.0),
        validation=CorpusConfig(n_pieces=2, seconds=10.0, seed=1),
        dance_versions=1, d_model=32, n_layers=1, n_heads=2, window_s=3, batch_size=2,
        max_steps=30, learning_rate=0.01, warmup_steps=2, threads=1,
    )  # fmt: skip


def test_it_learns_and_what_it_writes_can_be_loaded(config, tmp_path):
    trainer = Pose2AudioTrainer(config, tmp_path / "run")
    assert [len(item.memory) > 0 for item in trainer.paired] == [True, True]
    before = trainer._validate()
    model = trainer.run()
    assert trainer._validate() < before - 0.2
    loaded = Pose2Audio.from_pretrained(tmp_path / "run")
    assert loaded.config == model.config
    assert loaded.config.codec_id == trainer.codec.identity
    # The music of a pair is as long as its dance, and memory and codes share their time.
    for item in trainer.paired:
        assert item.memory.shape[0] / 12 == pytest.approx(item.codes.shape[1] / 75, abs=0.2)


def test_a_stopped_run_goes_on_from_its_last_step(config, tmp_path):
    trainer = Pose2AudioTrainer(config, tmp_path / "run")
    trainer.run()
    again = Pose2AudioTrainer(config, tmp_path / "run")
    optimizer = torch.optim.AdamW(again.decoder.parameters())
    assert again._resume(optimizer) == config.max_steps
    for ours, theirs in zip(again.decoder.parameters(), trainer.decoder.parameters(), strict=True):
        assert np.array_equal(ours.detach().numpy(), theirs.detach().numpy())
