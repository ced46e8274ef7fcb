"""EnCodec from a set to music: build, train and generate on its whole architecture.

The weights are random, as those of the hub cannot be had in a test; everything else is real, as
``docs/guide.md`` shows it.
"""

import shutil

import numpy as np
import pytest
import torch
import yaml

from dancetomusic.checkpoint import load_checkpoint, save_checkpoint
from dancetomusic.cli import main
from dancetomusic.codec.encodec import HUB_ID
from dancetomusic.config import config_to_dict
from dancetomusic.data.clip_stream import ClipStream
from dancetomusic.data.manifest import open_manifest
from dancetomusic.evaluation.baselines import white_noise
from dancetomusic.io.audio import read_audio, write_audio
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoderConfig
from dancetomusic.synthesis.groove import SOUND_FONT
from tests.dance_factory import small_copy
from tests.unit.synthesis.test_groove import write_groove_folder

pytest.importorskip("transformers")


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A directory as `huggingface-cli download facebook/encodec_24khz` leaves it."""
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    model = EncodecModel(EncodecConfig())
    with torch.no_grad():  # codebooks of what the encoder gives, so that codes differ
        latent = model.encoder(0.1 * torch.randn(1, 1, 1024 * 320))[0].T
        for layer in model.quantizer.layers:
            layer.codebook.embed.copy_(latent)
            latent = 0.3 * (latent - latent.mean(0))[torch.randperm(len(latent))]
    directory = tmp_path_factory.mktemp("encodec")
    model.save_pretrained(directory)
    return directory


@pytest.fixture
def videos(demo_dir, tmp_path):
    (tmp_path / "videos").mkdir()
    small_copy(demo_dir / "steps_128bpm.mp4", tmp_path / "videos" / "steps.mp4", seconds=4.1)
    return tmp_path / "videos"


def write_config(folder, weights, clips):
    """A small decoder and pose encoder; the codec is of full size."""
    encoder = PoseEncoder(PoseEncoderConfig(channels=16, dilations=(1, 2)))
    save_checkpoint(
        folder / "encoder",
        model="pose_encoder",
        config=config_to_dict(encoder.config),
        tensors=encoder.state_dict(),
        metadata={},
    )
    (folder / "grooves").mkdir()
    write_groove_folder(folder / "grooves")
    corpus = {"n_pieces": 2, "seconds": 4.0}
    settings = {
        "grooves": str(folder / "grooves"),
        "clips": str(clips),
        "codec": str(weights),
        "pose_encoder": str(folder / "encoder"),
        "corpus": corpus,
        "validation": corpus | {"seed": 1},
        "paired_share": 1.0,
        "d_model": 32,
        "n_layers": 1,
        "n_heads": 2,
        "window_s": 2,
        "batch_size": 2,
        "max_steps": 4,
        "threads": 1,
        "device": "cpu",
        "tensorboard": False,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    return folder / "config.yaml"


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUND_FONT.is_file(),
    reason="fluidsynth or its sound font is not installed",
)
def test_a_set_is_built_trained_on_and_played(weights, videos, tmp_path):
    clips, model, out = tmp_path / "set", tmp_path / "model", tmp_path / "out.wav"
    options = ("--max_seq_len", 2, "--separator", "hpss", "--engine", "serial")
    assert not run("build", "--codec", weights, "--input_folder", videos, "--output_path", clips,
                   *options)  # fmt: skip
    codec = open_manifest(clips).require_one_codec()
    assert codec.startswith("encodec-24khz:")
    found = list(ClipStream(clips, split="train", shuffle=False))
    assert [clip.codes.codes.shape for clip in found] == [(2, 150)] * 2
    assert len(np.unique(found[0].codes.codes)) > 10

    config = write_config(tmp_path, weights, clips)
    assert not run("train", "--model", "pose2audio", "--config", config, "--output", model)
    assert load_checkpoint(model, model="pose2audio").config["codec_id"] == codec

    assert not run("generate", videos / "steps.mp4", out, "--instrument", model, "--codec", weights)
    sound = read_audio(out)
    assert sound is not None and sound.duration_s == pytest.approx(4.1, abs=0.2)
    assert np.abs(sound.samples).max() > 0.01


def test_it_is_measured_beside_the_embedded_codec(weights, tmp_path, capfd):
    write_audio(tmp_path / "noise.wav", white_noise(1.5, 0))
    assert not run("evaluate", "codec", "--audio", tmp_path, "--codec", "codec", "--codec", weights,
                   "--codebooks", 2, "--codebooks", 4)  # fmt: skip
    lines = capfd.readouterr().out.splitlines()
    rows = [line.split("|")[1].strip() for line in lines if line.startswith("|")]
    ours = [f"codec, {n} codebooks" for n in (2, 4)]
    theirs = [f"{weights}, {n} codebooks" for n in (2, 4)]
    assert rows[2:] == ["the original", *(f"Opus {n} kbit/s" for n in (6, 12, 24)), *ours, *theirs]
    assert sum(line.startswith("Perplexity") for line in lines) == 4


@pytest.mark.parametrize("dry", [(), ("--dry_run",)])
def test_what_cannot_be_had_offline_is_refused_before_any_work(
    dry, videos, tmp_path, monkeypatch, capfd
):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    code = run("build", "--codec", HUB_ID, "--input_folder", videos, "--output_path",
               tmp_path / "set", *dry)  # fmt: skip
    error = capfd.readouterr().err.strip()
    assert code == 2 and HUB_ID in error and "\n" not in error
    assert not (tmp_path / "set").exists()
