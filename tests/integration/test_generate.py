"""The main job: a dance in, music out; and every input that cannot be used."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from dancetomusic.cli import main
from dancetomusic.errors import InputError
from dancetomusic.generate.one import DanceToMusic
from dancetomusic.io.audio import read_audio
from dancetomusic.io.loudness import integrated_loudness
from dancetomusic.models.pose2audio.long_form import hop_seconds
from dancetomusic.models.pose2audio.model import Pose2AudioModel
from dancetomusic.models.pose2audio.network import Pose2Audio
from dancetomusic.pose.files import load_poses
from dancetomusic.released import released_checkpoints
from tests.video_factory import cut_short, write_sound, write_video

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not {"codec", "pose2audio"} <= set(released_checkpoints()), reason="no released weights"
    ),
]
CLIPS = ("bounce_104bpm", "steps_128bpm", "duo_116bpm")


def run(*arguments):
    """Exit code of the command."""
    try:
        main([str(a) for a in arguments])
    except SystemExit as end:
        return 0 if end.code is None else end.code
    return 0


def true_bpm(demo_dir, name):
    with (demo_dir / f"{name}.csv").open() as lines:
        times = [float(row["time_s"]) for row in csv.DictReader(lines)]
    return 60.0 / np.median(np.diff(times))


def first_poses(path, length_s):
    whole = load_poses(path)
    n = round(length_s * whole.fps)
    return type(whole)(whole.world[:n], whole.present[:n], whole.visibility[:n], whole.fps)


@pytest.fixture(scope="module")
def made(demo_dir, tmp_path_factory):
    """All that the command writes for one demo clip."""
    folder = tmp_path_factory.mktemp("made")
    clip = demo_dir / "bounce_104bpm.mp4"
    code = run(
        "generate", clip, folder / "out.wav", folder / "out.mp4",
        "--save_rhythm", folder / "beats.csv", "--save_poses", folder / "poses.npz",
    )  # fmt: skip
    assert code == 0
    return folder


@pytest.fixture(scope="module")
def model():
    return DanceToMusic.from_pretrained("pose2audio")


def test_the_music_lasts_as_long_as_the_dance_and_sounds(made, demo_dir):
    samples, rate = soundfile.read(made / "out.wav")
    with av.open(str(demo_dir / "bounce_104bpm.mp4")) as video:
        length_s = video.duration / 1e6
    assert rate == 44_100 and samples.shape[1] == 2
    assert abs(len(samples) / rate - length_s) < 0.05
    assert 0.01 < np.sqrt((samples**2).mean()) < 0.5
    assert np.abs(samples).max() <= 1.0
    quiet = [
        np.abs(samples[i : i + rate]).max() < 0.01 for i in range(0, len(samples) - rate, rate)
    ]
    assert not any(quiet)


def test_the_video_keeps_its_pictures(made, demo_dir):
    def packets(path):
        with av.open(str(path)) as video:
            return [bytes(p) for p in video.demux(video.streams.video[0]) if p.size]

    assert packets(made / "out.mp4") == packets(demo_dir / "bounce_104bpm.mp4")
    with av.open(str(made / "out.mp4")) as video:
        assert len(video.streams.audio) == 1


def test_what_was_read_is_written(made):
    with (made / "beats.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) > 10
    assert load_poses(made / "poses.npz").present_share > 0.98


@pytest.mark.parametrize("name", CLIPS)
def test_the_tempo_of_a_demo_clip_is_read(name, model, demo_dir, dancers_of_demo):
    music = model.generate(dancers_of_demo(name, 1 + name.startswith("duo")))
    assert music.rhythm.bpm == pytest.approx(true_bpm(demo_dir, name), rel=0.04)
    assert len(music.dancers) == 1 + name.startswith("duo")


def test_the_same_seed_gives_the_same_file_and_another_does_not(model, demo_dir, tmp_path):
    poses = first_poses(demo_dir / "steps_128bpm.npz", 5.0)
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        model.generate(poses, seed=seed).save(tmp_path / f"{name}.wav")
    first, again, other = ((tmp_path / f"{n}.wav").read_bytes() for n in "abc")
    assert first == again
    assert first != other


def test_tempo_and_beats_can_be_given(model, demo_dir, tmp_path):
    poses = first_poses(demo_dir / "steps_128bpm.npz", 6.0)
    assert model.generate(poses, bpm=90.0).rhythm.bpm == pytest.approx(90.0, abs=0.1)
    beats = tmp_path / "beats.csv"
    beats.write_text("time_s,beat\n" + "".join(f"{0.1 + i * 0.6},{i % 3 + 1}\n" for i in range(8)))
    rhythm = model.generate(poses, beats=beats).rhythm
    assert rhythm.beats_per_bar == 3
    assert np.allclose(rhythm.beat_times[:8], 0.1 + 0.6 * np.arange(8))


def test_a_style_and_swing_change_the_music_and_not_the_beats(model, demo_dir):
    """A table of styles is put beside the weights; asked for nothing, it plays as before."""
    decoder = dataclasses.replace(model.model.network.config.decoder, styles=("rock", "waltz"))
    styled = Pose2Audio(dataclasses.replace(model.model.network.config, decoder=decoder))
    weights = {
        k: v for k, v in model.model.network.state_dict().items() if k != "decoder.styles.weight"
    }
    styled.load_state_dict(weights, strict=False)
    with torch.no_grad():
        styled.decoder.styles.weight[1:].normal_(std=0.3)
    player = DanceToMusic(Pose2AudioModel(styled, model.model.codec))
    assert player.styles == ("rock", "waltz")
    poses = first_poses(demo_dir / "steps_128bpm.npz", 4.0)
    plain = model.generate(poses)
    assert np.array_equal(player.generate(poses).waveform.samples, plain.waveform.samples)
    for asked in ({"style": "waltz"}, {"swing": 1.0}):
        music = player.generate(poses, **asked)
        assert np.array_equal(music.rhythm.beat_times, plain.rhythm.beat_times)
        assert not np.array_equal(music.codes.codes, plain.codes.codes)


def test_a_style_or_swing_that_cannot_be_is_refused_before_the_video_is_read(model):
    with pytest.raises(InputError, match="style is 'polka'"):
        model.generate("absent.mp4", style="polka")
    with pytest.raises(InputError, match="swing is -1"):
        model.generate("absent.mp4", swing=-1.0)


@pytest.mark.parametrize("source", ["steps_128bpm.npz", "."])
def test_the_command_names_the_styles_that_there_are(source, demo_dir, tmp_path, capfd):
    output = tmp_path / ("out.wav" if source.endswith("npz") else "out")
    assert run("generate", demo_dir / source, output, "--style", "polka") == 2
    error = capfd.readouterr().err.strip()
    assert len(error.splitlines()) == 1
    assert "style is 'polka'" in error
    assert not output.exists()


def test_windows_join_without_a_seam(model, demo_dir):
    """Around a joint the sound is no quieter and no more abrupt than elsewhere."""
    poses = load_poses(demo_dir / "steps_128bpm.npz")
    repeats = [np.tile(a, (3, *[1] * (a.ndim - 1))) for a in (poses.world, poses.visibility)]
    long = type(poses)(repeats[0], np.tile(poses.present, 3), repeats[1], poses.fps)
    music = model.generate(long)
    sound, rate = music.waveform.samples[0], music.waveform.sample_rate
    window_s = model.model.network.config.decoder.window_s
    joints = np.arange(window_s, music.waveform.duration_s - 1, hop_seconds(window_s))
    elsewhere = np.random.default_rng(0).uniform(1, music.waveform.duration_s - 1, 500)

    def level(times, width_s=0.05):
        width = int(width_s * rate)
        return np.array([np.sqrt((sound[int(t * rate) - width :][: 2 * width] ** 2).mean())
                         for t in times])  # fmt: skip

    def jump(times):
        return np.array([np.abs(np.diff(sound[int(t * rate) - 24 :][:48])).max() for t in times])

    assert np.median(level(joints)) > 0.5 * np.median(level(elsewhere))
    assert np.quantile(jump(joints), 0.9) < 2 * np.quantile(jump(elsewhere), 0.9)
    assert np.median(np.diff(music.rhythm.beat_times)) == pytest.approx(
        np.diff(music.rhythm.beat_times), abs=0.03
    )


def test_the_skeleton_is_drawn_and_the_original_mixed_in(demo_dir, tmp_path):
    clip = cut_short(demo_dir / "bounce_104bpm.mp4", tmp_path / "dance.mp4", 3.0)
    code = run("generate", clip, tmp_path / "out.mp4", "--overlay_skeleton")
    assert code == 0
    with av.open(str(tmp_path / "out.mp4")) as ours, av.open(str(clip)) as theirs:
        drawn = next(ours.decode(video=0)).to_ndarray(format="rgb24").astype(int)
        plain = next(theirs.decode(video=0)).to_ndarray(format="rgb24").astype(int)
    assert (np.abs(drawn - plain).max(axis=2) > 60).sum() > 300


def bad_inputs(folder, demo_dir):
    """Name, and the words that must be in the one line about it."""
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no video\n" * 100)
    write_sound(folder / "sound.mp4", np.zeros(48_000, np.float32))
    write_video(folder / "nobody.mp4", n_frames=48, size=(320, 240))
    write_video(folder / "short.mp4", n_frames=12)
    np.savez(folder / "foreign.npz", something=np.zeros(3))
    np.savez(folder / "nan.npz", poses=np.full((48, 33, 3), np.nan, np.float32), fps=24.0)
    np.savez(folder / "brief.npz", poses=np.zeros((12, 33, 3), np.float32), fps=24.0)
    return {
        "missing.mp4": "does not exist",
        "empty.mp4": "empty",
        "text.mp4": "not a video",
        "sound.mp4": "no video",
        "nobody.mp4": "no person",
        "short.mp4": "lasts 0.50 s",
        "foreign.npz": "poses",
        "nan.npz": "",
        "brief.npz": "0.50 s",
    }


def test_every_bad_input_is_one_line_and_leaves_nothing(demo_dir, tmp_path, capfd):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, words in bad_inputs(folder, demo_dir).items():
        capfd.readouterr()
        assert run("generate", folder / name, tmp_path / "out.wav") == 2, name
        error = capfd.readouterr().err
        assert len(error.strip().splitlines()) == 1, error
        assert error.startswith("dancetomusic: error: ")
        assert words in error, error
        assert "Traceback" not in error
        assert [p.name for p in tmp_path.iterdir()] == ["in"], name


def test_a_truncated_video_is_used_as_far_as_it_goes(demo_dir, tmp_path, caplog):
    # A fragmented or streamable file whose end is missing still has its index.
    whole = cut_short(demo_dir / "bounce_104bpm.mp4", tmp_path / "whole.mkv", 9.0)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with caplog.at_level("WARNING"):
        assert run("generate", cut, tmp_path / "out.wav") == 0
    assert "is cut short" in caplog.text
    assert 2.0 < soundfile.info(tmp_path / "out.wav").duration < 6.0


def damaged(kind, folder):
    source = released_checkpoints()["pose2audio"]
    copy = folder / kind
    shutil.copytree(source, copy)
    document = json.loads((copy / "config.json").read_text())
    if kind == "corrupted":
        weights = (copy / "model.safetensors").read_bytes()
        (copy / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    elif kind == "foreign":
        (copy / "config.json").write_text(json.dumps({"architectures": ["Other"]}))
    elif kind == "other_codec":
        document["config"]["codec_id"] = "spectral:0000"
        (copy / "config.json").write_text(json.dumps(document))
    return copy


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("corrupted", "corrupted"),
        ("foreign", "not written by"),
        ("other_codec", "trained on codec"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_one_line(kind, words, demo_dir, tmp_path, capfd):
    checkpoint = damaged(kind, tmp_path)
    code = run(
        "generate", demo_dir / "steps_128bpm.npz", tmp_path / "out.wav", "--checkpoint", checkpoint
    )
    error = capfd.readouterr().err.strip()
    assert code == 2
    assert len(error.splitlines()) == 1
    assert words in error
    assert not (tmp_path / "out.wav").exists()


def test_a_hub_id_without_network_is_one_line(demo_dir, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    code = run(
        "generate", demo_dir / "steps_128bpm.npz", tmp_path / "out.wav",
        "--codec", "facebook/encodec_24khz", "--instrument", "pose2audio",
    )  # fmt: skip
    error = capfd.readouterr().err.strip()
    assert code == 2
    assert len(error.splitlines()) == 1 and "facebook/encodec_24khz" in error
    assert not (tmp_path / "out.wav").exists()


def test_real_videos_go_through(shared_data, model, tmp_path):
    for name in ("d2mgan_aist_high1.mp4", "d2mgan_tiktok_high1.mp4", "dtmapp_sample_original.mp4"):
        video = shared_data / "videos" / name
        music = model.generate(video)
        output = tmp_path / f"{Path(name).stem}.mp4"
        music.save(output, mix_original=0.3)
        sound = read_audio(output, music.waveform.sample_rate, music.waveform.samples.shape[0])
        assert integrated_loudness(sound) == pytest.approx(-14, abs=0.5)
        assert 40 <= music.rhythm.bpm <= 240
        assert music.poses.present_share > 0.5
        assert np.isfinite(music.waveform.samples).all()
