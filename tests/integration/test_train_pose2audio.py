import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dancetomusic.checkpoint import save_checkpoint
from dancetomusic.codec.spectral import SpectralCodec, SpectralCodecConfig, SpectralCodecModel
from dancetomusic.config import config_to_dict
from dancetomusic.data.clip import clip_directory, write_record
from dancetomusic.data.manifest import write_manifest
from dancetomusic.errors import CheckpointError, ConfigError, InputError, OutputError
from dancetomusic.generate.one import DanceToMusic
from dancetomusic.models.pose2audio.network import Pose2Audio
from dancetomusic.models.pose2audio.training import Pose2AudioTask, train_pose2audio
from dancetomusic.models.pose2audio.training_config import Pose2AudioTrainingConfig
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoderConfig
from dancetomusic.pose.files import load_poses
from dancetomusic.synthesis.corpus import CorpusConfig
from dancetomusic.synthesis.groove import SOUND_FONT
from dancetomusic.synthesis.score_pieces import ScoreCorpusConfig
from dancetomusic.training.distributed import distributed_context
from tests.clip_factory import add_clip
from tests.unit.synthesis.test_groove import write_groove_folder

pytestmark = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUND_FONT.is_file(),
    reason="fluidsynth or its sound font is not installed",
)


@pytest.fixture(scope="module")
def config(shared_data, tmp_path_factory):
    """Two dances, two short grooves, and small random parts."""
    root = tmp_path_factory.mktemp("parts")
    torch.manual_seed(0)
    codec = SpectralCodecModel(
        SpectralCodecConfig(encoder_channels=8, encoder_blocks=1, decoder_channels=8,
                            decoder_blocks=1, codebook_size=16)
    )  # fmt: skip
    latent = codec.encode_latent(torch.randn(2, 48_000)).detach()
    codec.quantizer.start_from(latent, torch.Generator().manual_seed(0))
    codec.save_pretrained(root / "codec", {})
    encoder = PoseEncoder(PoseEncoderConfig(channels=16, dilations=(1, 2)))
    save_checkpoint(
        root / "encoder", model="pose_encoder", config=config_to_dict(encoder.config),
        tensors=encoder.state_dict(), metadata={},
    )  # fmt: skip
    source, dances = shared_data / "tang2018", root / "dances"
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
    (root / "grooves").mkdir()
    write_groove_folder(root / "grooves")
    return Pose2AudioTrainingConfig(
        grooves=str(root / "grooves"),
        dances=str(dances),
        codec=str(root / "codec"),
        pose_encoder=str(root / "encoder"),
        corpus=CorpusConfig(n_pieces=2, seconds=10.0),
        validation=CorpusConfig(n_pieces=2, seconds=10.0, seed=1),
        dance_versions=1, d_model=32, n_layers=1, n_heads=2, window_s=3, batch_size=2,
        max_steps=30, learning_rate=0.01, warmup_steps=2, threads=1, log_every=1, device="cpu",
        pose_memory=True, tensorboard=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def prepared(config, tmp_path_factory):
    """What a run renders and encodes before its first step."""
    directory = tmp_path_factory.mktemp("prepared")
    task_of(config, directory)
    return directory


@pytest.fixture
def run(prepared, tmp_path):
    """The directory of a run that has been prepared."""
    return Path(shutil.copytree(prepared, tmp_path / "run"))


def task_of(config, output):
    output.mkdir(exist_ok=True)
    with distributed_context("cpu") as context:
        return Pose2AudioTask(config, output, context)


def log_of(output):
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_it_learns_and_what_it_writes_can_be_loaded(config, run):
    task = task_of(config, run)
    assert [len(item.memory) > 0 for item in task.data.paired] == [True, True]
    # The music of a pair is as long as its dance, and memory and codes share their time.
    for item in task.data.paired:
        assert item.memory.shape[0] / 12 == pytest.approx(item.codes.shape[1] / 75, abs=0.2)
    with torch.no_grad():
        before = task.validate()["loss"]
    model = train_pose2audio(config, run)
    assert log_of(run)[-1]["validation"]["loss"] < before - 0.2
    assert model.config.codec_id == task.codec.identity
    metadata = json.loads((run / "config.json").read_text())["metadata"]
    assert metadata["training"]["window_s"] == 3 and metadata["steps"] == 30
    assert (
        metadata["data"] == task.data.content_hash and metadata["pose_encoder"]["package_version"]
    )


@pytest.mark.slow
def test_an_example_depends_on_its_place_and_not_on_the_batch(config, run):
    task = task_of(config, run)
    both, second = task.data.batch(3, range(2)), task.data.batch(3, range(1, 2))
    assert torch.equal(both.codes[1:], second.codes)
    assert torch.equal(both.memory[1:], second.memory)
    assert not torch.equal(task.data.batch(4, range(2)).rhythm, both.rhythm)


@pytest.mark.slow
def test_every_loss_can_be_switched_on(config, run):
    """Sampled past, sound, critic, and an encoder that learns beside the decoder."""
    before = task_of(config, run).encoder.state_dict()
    everything = replace(
        config, max_steps=2, teacher_forcing_ratio=0.5, perceptual_weight=0.1, perceptual_s=1,
        adversarial_weight=0.1, train_encoder=True, encoder_rate=1.0, paired_share=1.0,
        styles=("waltz", "funk"), tensorboard=True, shown_s=1,
    )  # fmt: skip
    model = train_pose2audio(everything, run)
    first = log_of(run)[0]
    for term in ("codes", "perceptual", "adversarial", "phase", "downbeat", "book_1"):
        assert f"decoder/{term}" in first
    assert "critic/distance" in first
    assert "beat_f" in log_of(run)[-1]["validation"]
    after = model.encoder.state_dict()
    assert any(not torch.allclose(after[name], before[name], atol=1e-3) for name in before)
    assert model.config.decoder.styles == ("waltz", "funk")


@pytest.mark.slow
def test_it_starts_from_a_released_decoder(config, run, prepared, tmp_path):
    train_pose2audio(config, run)
    again = replace(config, start_from=str(run), max_steps=1)
    shutil.copytree(prepared, tmp_path / "again")
    train_pose2audio(again, tmp_path / "again")
    assert log_of(tmp_path / "again")[0]["total"] < log_of(run)[0]["total"]
    with pytest.raises(CheckpointError, match="another shape"):
        train_pose2audio(replace(again, d_model=16), tmp_path / "other")
    with pytest.raises(CheckpointError, match="another shape"):
        train_pose2audio(replace(again, n_layers=2), tmp_path / "other")


@pytest.mark.slow
def test_a_causal_decoder_with_fewer_layers_and_styles_begins_with_what_there_is(config, run):
    deep = replace(config, n_layers=3, max_steps=1)
    start = train_pose2audio(deep, run).decoder
    task = task_of(
        replace(config, start_from=str(run), n_layers=2, memory_layers=0, causal=True,
                styles=("funk",)),
        run,
    )  # fmt: skip
    for ours, theirs in zip(task.decoder.blocks, (start.blocks[0], start.blocks[2]), strict=True):
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-2)
    assert task.decoder.styles is not None and not task.decoder.styles.weight.any()
    plain = task_of(replace(config, start_from=str(run), n_layers=3, pose_memory=False), run)
    for ours, theirs in zip(plain.decoder.blocks, start.blocks, strict=True):
        assert torch.equal(ours.feed_forward.expand.weight, theirs.feed_forward.expand.weight)
        assert not hasattr(ours, "cross_attention")


@pytest.mark.slow
def test_past_codes_are_hidden_in_a_share_of_windows(config, run):
    task = task_of(replace(config, hidden_share=0.6), run)
    hidden = torch.cat([task.data.batch(step, range(4)).hidden for step in range(40)])
    shares = hidden.float().mean(1)
    assert 0.1 < (shares == 1).float().mean() < 0.4 and 0.25 < (shares == 0).float().mean() < 0.55
    batch = task.data.batch(0, range(2))
    with torch.no_grad():
        task.decoder.eval()
        blind = replace(batch, hidden=torch.ones_like(batch.hidden))
        other = replace(blind, codes=(blind.codes + 1) % 16)
        torch.testing.assert_close(task.logits(blind)[0], task.logits(other)[0])


@pytest.fixture
def clips(config, tmp_path):
    """A set of five clips, their codes small enough for the codec."""
    codec = SpectralCodec.from_pretrained(config.codec).identity
    for number in range(5):
        record = add_clip(tmp_path / "set", f"video {number}", codec=codec, split="train")
        directory = clip_directory(tmp_path / "set", record.key)
        codes = np.load(directory / "codes.npy")
        np.save(directory / "codes.npy", codes % 16)
        write_record(directory, record)
    write_manifest(tmp_path / "set")
    return tmp_path / "set"


@pytest.mark.slow
def test_it_learns_from_a_set_of_clips(config, clips, run):
    settings = replace(config, clips=str(clips), window_s=1, paired_share=1.0, max_steps=3)
    train_pose2audio(settings, run)
    metadata = json.loads((run / "config.json").read_text())["metadata"]
    assert len(metadata["data"].split()[1]) == 64


def write_yaml(config, file):
    values = json.loads(json.dumps(config_to_dict(config)))
    file.write_text(yaml.safe_dump(values))
    return file


def start(config_file, output):
    return subprocess.Popen(
        [sys.executable, "-m", "dancetomusic.cli", "train", "--model", "pose2audio",
         "--config", str(config_file), "--output", str(output)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.slow(14)
def test_a_killed_run_resumes_as_if_it_had_not_been(config, clips, run, prepared, tmp_path):
    """Music from memory and clips from a stream, with a real SIGKILL in between."""
    settings = replace(
        config, clips=str(clips), window_s=1, paired_share=0.5, max_steps=60, save_every=5,
        validate_every=20, ema_decay=0.9, dropout=0.1,
    )  # fmt: skip
    file = write_yaml(settings, tmp_path / "config.yaml")
    whole = Path(shutil.copytree(prepared, tmp_path / "whole"))
    process = start(file, run)
    while not (run / "resume.pt").is_file() or len((run / "log.jsonl").read_text()) < 2500:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    stopped = len(log_of(run))
    assert start(file, run).wait() == 0
    train_pose2audio(settings, whole)
    assert stopped < len(log_of(run))
    assert log_of(run) == log_of(whole)
    ours, theirs = (Pose2Audio.from_pretrained(d).state_dict() for d in (run, whole))
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name])


@pytest.mark.slow
def test_two_processes_share_the_clips(config, clips, run, repository, tmp_path):
    """Five clips: three for one process, two for the other."""
    settings = replace(config, clips=str(clips), window_s=1, paired_share=1.0, save_every=2)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    settings = replace(settings, max_steps=4)
    file = write_yaml(settings, tmp_path / "c.yaml")
    subprocess.run(
        [sys.executable, *torchrun, str(repository / "train.py"), "--model", "pose2audio",
         "--config", str(file), "--output", str(run)],
        check=True, stdin=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    state = torch.load(run / "resume.pt", weights_only=True)["state"]
    assert state["step"] == 4
    # Each process took eight clips: two epochs of three and two more, or four epochs of two.
    assert state["positions"] == [{"epoch": 2, "given": 2}, {"epoch": 3, "given": 2}]
    assert [entry["step"] for entry in log_of(run) if "total" in entry] == [1, 2, 3, 4]
    with pytest.raises(CheckpointError, match="processes 2, now 1"):
        train_pose2audio(settings, run)


@pytest.mark.slow
def test_a_set_that_does_not_fit_is_refused(config, clips, run, tmp_path):
    long = replace(config, clips=str(clips), window_s=2, paired_share=1.0)
    with pytest.raises(InputError, match=r"lasts 1 s.*Set window_s"):
        train_pose2audio(long, run)
    short = replace(long, window_s=1)
    sound = next(clips.rglob("mix.*"))
    kept = sound.read_bytes()
    sound.unlink()
    with pytest.raises(InputError, match="lacks mix"):
        train_pose2audio(short, run)
    sound.write_bytes(kept)
    other = replace(short, codec="codec", max_steps=1)
    with pytest.raises(InputError, match="the codes in .* are of"):
        train_pose2audio(other, run)
    add_clip(clips, "another video", codec="spectral:ffff", split="train")
    write_manifest(clips)
    with pytest.raises(InputError, match="mixes codes"):
        train_pose2audio(short, run)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError):
        train_pose2audio(replace(short, clips=str(tmp_path / "empty")), run)
    assert not (run / "log.jsonl").exists()


@pytest.mark.slow
def test_a_checkpoint_of_another_schema_is_refused(config, run, tmp_path):
    shutil.copytree(config.pose_encoder, tmp_path / "encoder")
    file = tmp_path / "encoder" / "config.json"
    file.write_text(file.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(CheckpointError, match="schema 2"):
        train_pose2audio(replace(config, pose_encoder=str(tmp_path / "encoder")), run)


@pytest.mark.parametrize(
    "values",
    [{"teacher_forcing_ratio": 1.5}, {"perceptual_weight": -1.0}, {"window_s": 0},
     {"paired_share": float("nan")}],
)  # fmt: skip
def test_impossible_settings_are_refused(values):
    with pytest.raises(ConfigError):
        Pose2AudioTrainingConfig(**values)


@pytest.fixture(scope="module")
def with_scores(config):
    """Pieces of the arranger are all there is, and the music of the two dances is arranged."""
    return replace(
        config, grooves=None, scores=ScoreCorpusConfig(n_pieces=3, seconds=8.0),
        score_validation=ScoreCorpusConfig(n_pieces=2, seconds=8.0, seed=1), no_score_share=0.2,
        max_steps=25, batch_size=4, pose_memory=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def scored(with_scores, tmp_path_factory):
    """The directory of a run on scores."""
    output = tmp_path_factory.mktemp("scored")
    train_pose2audio(with_scores, output)
    return output


@pytest.mark.slow
def test_it_learns_to_play_a_score(with_scores, scored):
    metrics = log_of(scored)[-1]["validation"]
    for kind in ("score", "unheard"):
        for book in ("book_0", "book_1"):
            assert metrics[f"{kind}_{book}"] > 0 and metrics[f"{kind}_without_score_{book}"] > 0
    assert metrics["loss"] == pytest.approx(
        np.mean([metrics["score_book_0"], metrics["score_book_1"]])
    )
    model = Pose2Audio.from_pretrained(scored)
    assert model.config.decoder.score
    assert model.decoder.score.out.weight.abs().max() > 0.01  # it was zero
    task = task_of(with_scores, scored)
    for item in [*task.data.music, *task.data.paired]:
        assert item.notes.given.all() and item.notes.start_s.size > 10
        held_out = {8 + 1}, {35 + 1}
        assert item.notes.instruments[0] not in held_out[0]
        assert item.notes.instruments[1] not in held_out[1]
    for item in task.held_out["unheard"].music:
        assert item.notes.instruments[:2].tolist() == [8 + 1, 35 + 1]


@pytest.mark.slow
def test_scores_are_rendered_once_and_parts_of_them_withheld(with_scores, scored, tmp_path):
    kept = {file: file.stat().st_mtime_ns for file in scored.rglob("*.npz")}
    assert {file.parent.name for file in kept} > {"scores", "held_out_scores", "held_out_kits"}
    shared = replace(with_scores, prepared=str(scored), no_part_share=0.5)
    task = task_of(shared, tmp_path / "run")
    assert {file: file.stat().st_mtime_ns for file in scored.rglob("*.npz")} == kept
    batches = [task.data.batch(step, range(4)) for step in range(20)]
    given = torch.cat([batch.roll[:, 0, :4] for batch in batches])
    assert set(given.unique().tolist()) == {0.0, 1.0}
    assert 0.1 < float((given.sum(1) == 0).float().mean()) < 0.5
    instruments = torch.cat([batch.instruments for batch in batches])
    assert not instruments[given == 0].any() and instruments[given == 1].any()
    # The held-out windows have the whole score.
    assert task.held_out["score"].batch(0, range(4)).roll[:, 0, :4].all()


@pytest.mark.slow
def test_the_composed_score_is_played_by_the_instrument(scored, demo_dir, tmp_path):
    """No step by hand, and the notes that were played are written."""
    model = DanceToMusic.from_pretrained(scored)
    assert model.model.options.score and "house" in model.styles
    poses = load_poses(demo_dir / "steps_128bpm.npz")
    music = model.generate(poses, style="house", key="A minor", seed=1)
    assert music.score is not None and music.score.key == "A minor" and music.codes is not None
    music.save(tmp_path / "out.mid")
    assert "house in A minor" in music.about
    other = model.generate(poses, style="house", key="A minor", seed=1, programs={"bass": 32})
    assert not np.array_equal(music.codes.codes, other.codes.codes)
    for refused in ({"soundfont": "any.sf2"}, {"style": "none"}, {"programs": {"flute": 1}}):
        with pytest.raises(InputError):
            model.check(refused)
    with pytest.raises(OutputError):
        model.check_outputs([tmp_path / "a.wav"], tmp_path / "stems")


@pytest.mark.slow
def test_a_decoder_without_score_goes_on_with_one(config, with_scores, run, tmp_path):
    start = train_pose2audio(replace(config, max_steps=1), run)
    again = replace(with_scores, start_from=str(run), n_codebooks=4)
    task = task_of(again, tmp_path / "again")
    (note,) = task.notes
    assert "another number of codebooks" in note
    size = start.config.decoder.codebook_size
    ours, theirs = task.decoder, start.decoder
    torch.testing.assert_close(
        ours.heads.weight[: 2 * size], theirs.heads.weight, atol=1e-3, rtol=1
    )
    with torch.no_grad():
        ours.eval()
        batch = task.held_out["score"].batch(0, range(2))
        silent = replace(batch, roll=torch.zeros_like(batch.roll))
        torch.testing.assert_close(task.logits(batch)[0], task.logits(silent)[0])
