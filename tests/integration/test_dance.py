"""``dancetomusic dance``: music in; poses, or a video with that music, out."""

import numpy as np
import pytest
from scipy.io import wavfile

from dancetomusic.cli.dance import dance
from dancetomusic.errors import CheckpointError, InputError, OutputError, VideoError
from dancetomusic.io.audio import read_audio, write_audio
from dancetomusic.io.video import probe_video
from dancetomusic.models.dance_gan.network import DanceGanConfig, DanceGenerator
from dancetomusic.pose.files import load_poses
from dancetomusic.types import Waveform
from tests.dance_factory import drums
from tests.video_factory import SAMPLE_RATE

SECONDS = 2.0


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    times = np.arange(0.2, SECONDS, 0.5)
    sound = drums(times, np.arange(times.size) % 4 + 1, SECONDS)
    path = tmp_path_factory.mktemp("song") / "song.wav"
    write_audio(path, Waveform(sound[None], SAMPLE_RATE))
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    generator = DanceGenerator(DanceGanConfig(latent=8, width=16, hidden=16))
    generator.save_pretrained(folder, {})
    return str(folder)


def test_poses_for_several_seeds(song, checkpoint, tmp_path, capsys):
    dance([song, tmp_path / "dance.npz"], checkpoint, seed=[1, 2], bpm=120.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dance_1.npz", "dance_2.npz"]
    one, two = (load_poses(tmp_path / f"dance_{seed}.npz") for seed in (1, 2))
    assert len(one) == len(two) == SECONDS * 24
    assert not np.allclose(one.world, two.world)
    assert capsys.readouterr().out.count("wrote") == 2


@pytest.mark.slow
def test_a_video_has_the_dancer_and_the_song(song, checkpoint, tmp_path):
    pytest.importorskip("pyvista")
    output = tmp_path / "dance.mp4"
    dance([song, output], checkpoint, bpm=120.0)
    assert [path.name for path in tmp_path.iterdir()] == ["dance.mp4"]
    info = probe_video(output)
    assert info.duration_s == pytest.approx(SECONDS, abs=0.05)
    heard, given = (read_audio(path).samples[0] for path in (output, song))
    size = min(heard.size, given.size)
    assert np.corrcoef(heard[:size], given[:size])[0, 1] > 0.9


def test_dances_without_a_song_and_still_poses(tmp_path, capsys):
    dance([tmp_path / "waltz.npz"], seconds=3.0, style="waltz", num_dancers=2)
    one, two = (load_poses(tmp_path / f"waltz_{number}.npz") for number in (1, 2))
    assert len(one) == len(two) == 72
    assert not np.allclose(one.world, two.world)
    dance([tmp_path / "poses.npz"], pose=5)
    with np.load(tmp_path / "poses.npz") as arrays:
        poses = arrays["poses"]
    assert poses.shape == (5, 33, 3)
    nose, ankles = poses[:, 0, 1], poses[:, 27:29, 1].min(axis=1)
    assert (nose < ankles).all()  # y points down
    assert np.ptp(poses, axis=0).max() > 0.1
    assert capsys.readouterr().out.count("wrote") == 3


@pytest.mark.slow
def test_still_poses_are_drawn_and_several_dance_in_one_video(tmp_path):
    pytest.importorskip("pyvista")
    image = pytest.importorskip("PIL.Image")
    dance([tmp_path / "poses.png"], pose=3)
    with image.open(tmp_path / "poses.png") as sheet:
        assert sheet.size == (480, 480)
        assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 100
    dance([tmp_path / "two.mp4"], seconds=1.0, bpm=100.0, num_dancers=2)
    info = probe_video(tmp_path / "two.mp4")
    assert (info.width, info.height) == (640, 480)


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        (["a.npz"], {}, "1 files are named"),
        (["a.wav", "a.npz"], {"seconds": 3.0}, "2 files are named"),
        (["a.png"], {"pose": 3, "bpm": 100.0}, "--bpm has no meaning with --pose"),
        (["a.png"], {"pose": 3, "num_dancers": 2}, "--num_dancers has no meaning with --pose"),
        (["a.wav", "a.npz"], {"style": "waltz"}, "--style has no meaning with a song"),
        (["a.npz"], {"seconds": 3.0, "style": "polka"}, "no style 'polka'"),
        (["a.npz"], {"seconds": 3.0, "style": "waltz", "bpm": 90.0}, "--bpm and --style"),
    ],
)
def test_choices_that_contradict_each_other_are_refused(files, options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        dance([tmp_path / name for name in files], **options)
    assert not list(tmp_path.iterdir())


def test_beats_from_a_file(song, checkpoint, tmp_path):
    beats = tmp_path / "beats.csv"
    beats.write_text("time_s,beat\n0.2,1\n0.7,2\n")
    dance([song, tmp_path / "dance.npz"], checkpoint, beats=beats)
    assert len(load_poses(tmp_path / "dance.npz")) == SECONDS * 24
    dance([song, tmp_path / "dance.bvh"], checkpoint, beats=beats)
    assert f"Frames: {SECONDS * 24:.0f}" in (tmp_path / "dance.bvh").read_text()


def test_bad_input_is_one_error_and_nothing_is_written(song, checkpoint, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    silent = tmp_path / "silent.wav"
    write_audio(silent, Waveform(np.zeros((1, 48_000), np.float32), 24_000))
    short = tmp_path / "short.wav"
    write_audio(short, Waveform(np.full((1, 9_000), 0.1, np.float32), 24_000))
    broken = tmp_path / "broken.wav"
    wavfile.write(broken, 24_000, np.full(48_000, np.nan, np.float32))
    text = tmp_path / "text.mp3"
    text.write_text("no music")
    refused = {silent: InputError, short: InputError, broken: InputError, text: VideoError}
    for source, error in refused.items():
        with pytest.raises(error):
            dance([source, out / "dance.npz"], checkpoint, bpm=120.0)
    with pytest.raises(CheckpointError):
        dance([song, out / "dance.npz"], "pose2audio")
    with pytest.raises(OutputError):
        dance([song, out / "dance.txt"], checkpoint)
    with pytest.raises(OutputError):
        dance([song, tmp_path / "absent" / "dance.npz"], checkpoint)
    with pytest.raises(InputError):
        dance([song, out / "dance.npz"], checkpoint, bpm=120.0, beats=tmp_path / "beats.csv")
    with pytest.raises(InputError):
        dance([song, out / "dance.npz"], checkpoint, bpm=1.0)
    assert not list(out.iterdir())
