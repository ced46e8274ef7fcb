import shutil

import numpy as np
import pytest
import torch

from dancetomusic.codec.spectral import SpectralCodec, SpectralCodecConfig
from dancetomusic.synthesis.corpus import CorpusConfig
from dancetomusic.synthesis.groove import SOUND_FONT
from dancetomusic.training.codec import CodecTrainer, CodecTrainingConfig, MelLoss
from tests.unit.test_groove import write_groove_folder

needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUND_FONT.is_file(),
    reason="fluidsynth or its sound font is not installed",
)


def test_loss_is_zero_on_the_same_sound_and_grows_with_the_difference():
    loss = MelLoss(24_000)
    sound = torch.randn(2, 9600) * 0.1
    same = loss(sound, sound)
    near = loss(sound + 0.01 * torch.randn_like(sound), sound)
    far = loss(0.1 * torch.randn_like(sound), sound)
    assert same.item() == pytest.approx(0, abs=1e-5)
    assert 0 < near < far


@needs_fluidsynth
def test_both_stages_learn_and_the_codes_stay_valid(tmp_path):
    write_groove_folder(tmp_path)
    config = CodecTrainingConfig(
        grooves=str(tmp_path),
        codec=SpectralCodecConfig(
            encoder_channels=16, encoder_blocks=1, decoder_channels=32, decoder_blocks=1,
            codebook_size=32,
        ),
        corpus=CorpusConfig(n_pieces=2, seconds=6.0),
        max_steps=60, decoder_steps=10, batch_size=2, crop_s=0.4, warmup_steps=5,
        codebook_start=20,
    )  # fmt: skip
    trainer = CodecTrainer(config, tmp_path / "run")
    sound = torch.from_numpy(trainer.corpus.samples[0][None, :48_000].astype(np.float32) / 32768)
    before = trainer.loss(trainer.model.decode_latent(trainer.model.encode_latent(sound)), sound)
    codec = trainer.run()
    first = SpectralCodec.from_pretrained(tmp_path / "run" / "stage1")
    assert codec.identity == first.identity
    after = trainer.loss(codec.model.decode(codec.model.encode(sound, 2)), sound)
    assert after < 0.7 * before
    changed = (codec.model.head.weight - first.model.head.weight).abs().max()
    assert changed > 0
