import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from dancetomusic.codec.spectral import SpectralCodec, SpectralCodecConfig, SpectralCodecModel
from dancetomusic.errors import ConfigError, InputError
from dancetomusic.models.spectral_codec import training
from dancetomusic.models.spectral_codec.training import train_codec, with_fine_band, with_gains
from dancetomusic.models.spectral_codec.training_data import CodecTrainingConfig, CorpusCrops
from dancetomusic.synthesis.corpus import CorpusConfig
from dancetomusic.synthesis.groove import SOUND_FONT
from dancetomusic.synthesis.score_pieces import ScoreCorpusConfig
from dancetomusic.training.losses import MelLoss
from tests.unit.synthesis.test_groove import write_groove_folder

pytestmark = pytest.mark.slow
needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUND_FONT.is_file(),
    reason="fluidsynth or its sound font is not installed",
)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grooves")
    write_groove_folder(folder)
    return CodecTrainingConfig(
        grooves=str(folder),
        codec=SpectralCodecConfig(
            encoder_channels=16, encoder_blocks=1, decoder_channels=32, decoder_blocks=1,
            codebook_size=32,
        ),
        corpus=CorpusConfig(n_pieces=2, seconds=6.0),
        validation=CorpusConfig(n_pieces=1, seconds=6.0, seed=1),
        max_steps=60, decoder_steps=10, batch_size=2, crop_s=0.4, warmup_steps=5,
        codebook_start=20, log_every=1, save_every=4, device="cpu", tensorboard=False,
    )  # fmt: skip


def log_of(output):
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


@needs_fluidsynth
def test_both_stages_learn_and_the_codes_stay_valid(config, tmp_path):
    codec = train_codec(config, tmp_path / "run")
    first = SpectralCodec.from_pretrained(tmp_path / "run" / "stage1")
    assert codec.identity == first.identity
    sounds = np.load(tmp_path / "run" / "corpus" / "samples.npy")[:1, :48_000]
    sound = torch.from_numpy(sounds.astype(np.float32) / 32768)
    loss = MelLoss(24_000)
    torch.manual_seed(0)
    untrained = SpectralCodecModel(config.codec)
    before = loss(untrained.decode_latent(untrained.encode_latent(sound)), sound)
    started = with_fine_band(first.model, 24)
    codes = first.model.encode(sound, 2)
    whole, start, end = (
        float(loss(model.decode(codes).detach(), sound))
        for model in (first.model, started, codec.model)
    )
    assert whole < 0.75 * before and end < start
    log = log_of(tmp_path / "run" / "stage1")
    assert (first.model.config.fine_from_bin, codec.model.config.fine_from_bin) == (0, 24)
    changed = (codec.model.head.weight - started.head.weight).abs().max()
    assert changed > 0
    assert {"loss", "perplexity_0", "perplexity_1"} == set(log[-1]["validation"])
    assert {"critic/total", "decoder/buzz"} <= set(log_of(tmp_path / "run")[0])
    metadata = json.loads((tmp_path / "run" / "config.json").read_text())["metadata"]
    assert metadata["stage"] == 2 and metadata["steps"] == 10


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def short(config):
    return replace(config, max_steps=6, decoder_steps=6, codebook_start=2, save_every=3)


@pytest.fixture(scope="module")
def whole(short, tmp_path_factory):
    """A run that was not stopped."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whole")
    train_codec(short, folder)
    return folder


@needs_fluidsynth
@pytest.mark.parametrize("stage", ["WholeCodecTask", "CodecDecoderTask"])
def test_either_stage_resumes_where_it_was_stopped(short, whole, tmp_path, monkeypatch, stage):
    """Codebooks with their averages, and discriminators with their optimiser, included."""
    shutil.copytree(whole / "corpus", tmp_path / "parts" / "corpus")
    shutil.copytree(whole / "validation", tmp_path / "parts" / "validation")
    kind = getattr(training, stage)
    original = kind.losses

    def stop_at_five(self, optimizer, batch, step):
        if step == 5:
            raise Stopped
        return original(self, optimizer, batch, step)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(kind, "losses", stop_at_five)
        train_codec(short, tmp_path / "parts")
    train_codec(short, tmp_path / "parts")
    for part in ("stage1", "."):
        assert log_of(tmp_path / "parts" / part) == log_of(whole / part)
        ours, theirs = (
            SpectralCodec.from_pretrained(run / part).model.state_dict()
            for run in (tmp_path / "parts", whole)
        )
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@needs_fluidsynth
def test_a_finished_first_stage_can_be_given(config, tmp_path):
    short = replace(config, max_steps=2, decoder_steps=2, codebook_start=1)
    train_codec(short, tmp_path / "run")
    again = replace(short, first_stage=str(tmp_path / "run" / "stage1"))
    train_codec(again, tmp_path / "again")
    assert not (tmp_path / "again" / "stage1").exists()
    assert log_of(tmp_path / "again") == log_of(tmp_path / "run")


def test_a_fine_band_begins_as_the_codec_sounds():
    codec = SpectralCodec.from_pretrained("codec")
    model = SpectralCodecModel(
        replace(codec.model.config, phase_noise=0.0, fine_from_bin=0, n_gains=0)
    )
    model.load_state_dict(
        {k: v for k, v in codec.model.state_dict().items() if "head" not in k}, strict=False
    )
    time = torch.arange(24_000) / 24_000
    tones = sum(torch.sin(2 * torch.pi * hz * time) for hz in (110.0, 440.0, 1830.0))[None] * 0.1
    latent = model.encode_latent(tones)
    finer = with_fine_band(model, 24)
    before, after = (m.decode_latent(latent)[0, 4000:-4000].detach() for m in (model, finer))
    spectra = [torch.fft.rfft(x * torch.hann_window(len(x))).abs() for x in (before, after)]
    low = slice(0, int(300 * len(before) / 24_000))
    assert torch.allclose(spectra[0][low], spectra[1][low], rtol=0.05, atol=0.5)
    assert with_fine_band(finer, 24) is finer
    with pytest.raises(ConfigError, match="fine_from_bin is 24"):
        with_fine_band(finer, 32)


def test_gains_begin_without_effect():
    model = SpectralCodec.from_pretrained("codec").model
    plain = SpectralCodecModel(replace(model.config, n_gains=0))
    started = with_gains(plain, 8)
    codes = torch.randint(0, 1024, (1, 2, 60))
    assert torch.equal(started.decode(codes), plain.decode(codes))
    assert started.head.bias.numel() == plain.head.bias.numel() + 2 * 8
    assert with_gains(started, 8) is started
    with pytest.raises(ConfigError, match="n_gains is 8"):
        with_gains(started, 4)
    coarse = SpectralCodecModel(replace(model.config, n_gains=0, fine_from_bin=0))
    with pytest.raises(ConfigError, match="a fine band"):
        with_gains(coarse, 8)


@needs_fluidsynth
def test_pieces_of_the_arranger_are_learned_from_too(config, tmp_path):
    scores = ScoreCorpusConfig(n_pieces=3, seconds=5.0)
    mixed = replace(config, scores=scores, n_gains=4, max_steps=2, decoder_steps=2)
    crops = CorpusCrops(mixed, mixed.corpus, scores, tmp_path / "corpus")
    assert [piece.size for piece in crops.pieces] == [6 * 24_000] * 2 + [5 * 24_000] * 3
    played = np.stack(crops.pieces[2:])
    assert (np.abs(played).max(axis=1) > 16_000).all()
    written = (tmp_path / "corpus" / "scores" / "samples.npy").stat().st_mtime_ns
    again = CorpusCrops(mixed, mixed.corpus, scores, tmp_path / "corpus")
    assert again.content_hash == crops.content_hash
    assert (tmp_path / "corpus" / "scores" / "samples.npy").stat().st_mtime_ns == written
    other = CorpusCrops(mixed, mixed.corpus, replace(scores, seed=5), tmp_path / "corpus")
    assert other.content_hash != crops.content_hash
    codec = train_codec(mixed, tmp_path / "run")
    assert codec.model.config.n_gains == 4
    with pytest.raises(InputError, match="longer than the pieces"):
        train_codec(replace(mixed, crop_s=5.5), tmp_path / "run")


def test_bad_settings_are_refused(config, tmp_path):
    with pytest.raises(InputError, match="longer than the pieces"):
        train_codec(replace(config, crop_s=7.0), tmp_path)
    with pytest.raises(InputError, match=r"info\.csv"):
        train_codec(replace(config, grooves=str(tmp_path)), tmp_path)
    with pytest.raises(ConfigError, match="buzz_weight is -1"):
        replace(config, buzz_weight=-1.0)
    with pytest.raises(ConfigError, match="decoder_steps is 0"):
        replace(config, decoder_steps=0)
