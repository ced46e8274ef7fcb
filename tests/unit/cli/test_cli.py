import inspect
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from dancetomusic import cli
from dancetomusic.cli import generate_checks
from dancetomusic.cli.train import parse_override
from dancetomusic.config import config_from_dict
from dancetomusic.errors import ConfigError, PoseError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.models import registry
from dancetomusic.training.config import LoopConfig
from dancetomusic.types import PoseQuality, PoseSequence, RhythmTrack, Waveform


class FakeMusic:
    about = ""
    doubts = ()
    lead = ""

    def __init__(self):
        self.waveform = Waveform(np.zeros((1, 48_000), np.float32), 24_000)
        self.rhythm = RhythmTrack(
            beat_times=np.arange(4) * 0.5,
            beat_numbers=np.arange(4) + 1,
            energy=np.zeros(150, np.float32),
            energy_rate=75.0,
            duration_s=2.0,
        )
        self.poses = PoseSequence(
            world=np.zeros((48, 33, 3), np.float32),
            present=np.ones(48, bool),
            visibility=np.ones((48, 33), np.float32),
            fps=24.0,
            quality=PoseQuality(detected_share=0.75, mean_visibility=0.9, repaired_share=0.0),
        )
        self.timings = {"poses": 1.5, "music": 0.25}
        self.saved = []

    def save(self, path, *, overlay_skeleton=False, mix_original=0.0, click=False):
        path.write_bytes(b"music")
        self.saved.append((path.name, overlay_skeleton, mix_original))
        self.clicked = click


@pytest.fixture
def pipeline(monkeypatch):
    """Stand in for the model: record what the command asks of it."""
    calls = SimpleNamespace(music=FakeMusic(), loaded=None, asked=None, error=None)

    class FakeModel:
        def check_outputs(self, outputs, stems):
            calls.outputs = outputs

        def generate(self, source, **options):
            calls.asked = {"source": source, **options}
            if calls.error is not None:
                raise calls.error
            return calls.music

        @classmethod
        def from_pretrained(cls, checkpoint=None, codec=None, **options):
            calls.loaded = {"checkpoint": checkpoint, "codec": codec, **options}
            return cls()

    module = ModuleType("dancetomusic.generate.one")
    module.DanceToMusic = FakeModel
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return calls


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a video, poses and an empty folder in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dance.mp4").write_bytes(b"a video")
    (tmp_path / "poses.npz").write_bytes(b"some poses")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "same.mp4").symlink_to(tmp_path / "dance.mp4")
    return tmp_path


def exit_code(arguments):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments.split())
    return exit_.value.code or 0


def test_generate_writes_every_output_and_prints_what_it_found(pipeline, folder, capsys):
    assert exit_code("generate dance.mp4 a.wav b.mp4 --overlay_skeleton --mix_original 0.3") == 0
    assert pipeline.music.saved == [("a.wav", False, 0.3), ("b.mp4", True, 0.3)]
    printed = capsys.readouterr()
    assert "120.0 BPM, 4 beats a bar" in printed.out
    assert "75.0% of frames" in printed.out
    assert "poses 1.5 s" in printed.out
    assert "for 2.0 s of music" in printed.out
    assert "a.wav" in printed.out and "b.mp4" in printed.out
    assert printed.err == ""


def test_only_the_sampling_options_that_were_given_are_passed(pipeline, folder):
    assert exit_code("generate dance.mp4 a.wav") == 0
    assert pipeline.loaded == {"checkpoint": None, "codec": None, "threads": None}
    assert not {"temperature", "top_k", "style", "swing"} & set(pipeline.asked)
    options = "--seed 7 --bpm 100 --num_dancers 2 --temperature 0.8 --top_k 50 --top_p 0.9"
    music = (
        "--style cha-cha --swing 0.5 --key Am --program bass=38 --loudness none --condition poses"
    )
    model = "--cfg_scale 2 --checkpoint mine --codec ours --threads 2"
    assert exit_code(f"generate dance.mp4 a.wav {options} {music} {model}") == 0
    assert pipeline.loaded["checkpoint"] == "mine" and pipeline.loaded["codec"] == "ours"
    assert pipeline.loaded["threads"] == 2
    expected = {"seed": 7, "bpm": 100.0, "num_dancers": 2, "temperature": 0.8}
    expected |= {"top_k": 50, "top_p": 0.9, "cfg_scale": 2.0}
    expected |= {"style": "cha-cha", "swing": 0.5, "key": "Am", "programs": {"bass": 38}}
    expected |= {"condition": "poses"}
    expected |= {"loudness_lufs": None}
    assert pipeline.asked.items() >= expected.items()


def test_who_leads_is_asked_for_and_said(pipeline, folder, capsys):
    assert exit_code("generate dance.mp4 a.wav") == 0
    assert pipeline.asked["follow"] == "auto" and "leads" not in capsys.readouterr().out
    pipeline.music.lead = "dancer 2 of 3, as asked"
    assert exit_code("generate dance.mp4 a.wav --num_dancers 3 --follow 2") == 0
    assert pipeline.asked["follow"] == "2"
    assert "leads    dancer 2 of 3, as asked" in capsys.readouterr().out
    assert exit_code("generate dance.mp4 a.wav --follow 1") == 0
    for options in ("--num_dancers 2 --follow 3", "--follow all", "--num_dancers 2 --follow best"):
        assert exit_code(f"generate dance.mp4 a.wav {options}") == 2
        assert "follow" in capsys.readouterr().err


def test_choices_about_the_beats_are_passed(pipeline, folder):
    assert exit_code("generate dance.mp4 a.wav") == 0
    assert pipeline.asked["beats_from"] == "auto" and pipeline.asked["beats"] is None
    assert not pipeline.music.clicked
    (folder / "beats.csv").write_text("0.5,1\n1.0,2\n")
    assert exit_code("generate dance.mp4 a.wav --beats_from beats.csv --offset_ms -40 --click") == 0
    assert pipeline.asked["beats"] == Path("beats.csv")
    assert pipeline.asked["offset_ms"] == -40.0 and pipeline.music.clicked
    assert exit_code("generate poses.npz a.wav --sound dance.mp4 --tempo half") == 0
    assert pipeline.asked["sound"] == Path("dance.mp4") and pipeline.asked["tempo"] == "half"


@pytest.mark.parametrize(
    ("source", "certainty", "said"),
    [
        ("sound", 0.93, "from the sound, sure (93%)"),
        ("movement", 0.6, "from the movement, fair (60%)"),
        ("movement", 0.2, "from the movement, a guess (20% sure)"),
        ("file", 1.0, "beats    given"),
    ],
)
def test_where_the_beats_come_from_is_said_in_one_line(
    pipeline, folder, capsys, source, certainty, said
):
    rhythm = pipeline.music.rhythm
    pipeline.music.rhythm = replace(rhythm, source=source, certainty=certainty)
    assert exit_code("generate dance.mp4 a.wav") == 0
    assert said in capsys.readouterr().out.splitlines()[0]


def test_the_pipeline_takes_what_the_command_passes():
    from dancetomusic.generate.beat_source import BEAT_SOURCES
    from dancetomusic.generate.one import DanceToMusic
    from dancetomusic.generate.result import Music

    assert generate_checks.BEAT_SOURCES == BEAT_SOURCES
    own = {"source", "outputs", "save_rhythm", "save_poses", "overlay_skeleton", "mix_original"}
    own |= {"click", "condition", "instrument", "stems"}
    own |= {"suffix", "engine", "ray_address"}
    loading = {"checkpoint", "codec", "threads"}
    options = set(inspect.signature(cli.generate).parameters) - own
    renamed = {"score": "midi", "program": "programs", "loudness": "loudness_lufs"}
    options = {renamed.get(option, option) for option in options}
    assert loading <= set(inspect.signature(DanceToMusic.from_pretrained).parameters)
    generation = set(inspect.signature(DanceToMusic.generate).parameters)
    assert (options - loading) | {"on_progress"} <= generation
    assert {"overlay_skeleton", "mix_original", "click"} <= set(
        inspect.signature(Music.save).parameters
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("absent.mp4 a.wav", "absent.mp4 does not exist"),
        (". a.wav", "is a folder, a.wav is not"),
        (". a b", "2 output folders"),
        (". music --beats dance.mp4", "--beats does not go with a folder"),
        (". music --bpm 300", "--bpm is 300"),
        (". music --sound dance.mp4", "--sound does not go with a folder"),
        ("dance.mp4 a.wav --beats_from nowhere", "nowhere is not a file of beats"),
        ("dance.mp4 a.wav --beats_from poses.npz --beats poses.npz", "both name a file"),
        ("dance.mp4 a.wav --beats_from sound --beats poses.npz", "exclude each other"),
        ("dance.mp4 a.wav --tempo thrice", "--tempo is thrice"),
        ("dance.mp4 a.wav --offset_ms 5000", "--offset_ms is 5000"),
        ("dance.mp4 a.wav --offset_ms nan", "--offset_ms is nan"),
        ("dance.mp4 a.wav --sound absent.wav", "absent.wav is not a file"),
        ("dance.mp4 a.wav --sound poses.npz --beats_from movement", "for finding beats"),
        ("poses.npz a.wav --beats_from sound", "has no sound to take the beats from"),
        ("dance.mp4 a.wav --suffix .mp4", "--suffix is for a folder"),
        ("dance.mp4 a.aiff", "extension '.aiff'"),
        ("dance.mp4 a", "extension '(none)'"),
        ("dance.mp4 a.wav b.txt", "extension '.txt'"),
        ("dance.mp4 dance.mp4", "is the input"),
        ("dance.mp4 ./dance.mp4", "is the input"),
        ("dance.mp4 same.mp4", "is the input"),
        ("dance.mp4 nowhere/a.wav", "directory nowhere does not exist"),
        ("dance.mp4 /proc/a.wav", "cannot write in /proc"),
        ("dance.mp4 folder.wav", "is a directory"),
        ("dance.mp4 a.wav --bpm 39.9", "--bpm is 39.9. Give a tempo from 40 to 240."),
        ("dance.mp4 a.wav --bpm 241", "--bpm is 241"),
        ("dance.mp4 a.wav --bpm nan", "--bpm is nan"),
        ("dance.mp4 a.wav --swing 1.5", "--swing is 1.5. Give 0 (straight) to 1 (triplets)."),
        (". music --swing nan", "--swing is nan"),
        ("dance.mp4 a.wav --beats absent.csv", "absent.csv is not a file"),
        ("dance.mp4 a.wav --bpm 100 --beats dance.mp4", "both set the tempo"),
        ("dance.mp4 a.wav --mix_original 1.5", "--mix_original is 1.5"),
        ("dance.mp4 a.wav --overlay_skeleton", "Name an output such as out.mp4"),
        ("dance.mp4 a.wav --save_rhythm beats.txt", "Use .csv."),
        ("dance.mp4 a.wav --save_poses nowhere/poses.npz", "directory nowhere does not exist"),
        ("poses.npz a.wav --save_poses poses.npz", "is the input"),
        ("poses.npz a.mp4", "has no picture"),
        ("poses.npz a.wav --mix_original 0.5", "has no sound"),
    ],
)
def test_a_refusal_is_one_line_before_any_work(pipeline, folder, capsys, arguments, message):
    before = sorted(folder.rglob("*"))
    assert exit_code(f"generate {arguments}") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("dancetomusic: error: ")
    assert printed.err.count("\n") == 1
    assert message in printed.err
    assert pipeline.loaded is None
    assert sorted(folder.rglob("*")) == before
    assert (folder / "dance.mp4").read_bytes() == b"a video"


def test_an_error_of_the_pipeline_is_one_line_too(pipeline, folder, capsys):
    pipeline.error = PoseError("nobody\nin view", "Film a dancer.")
    assert exit_code("generate dance.mp4 a.wav") == 2
    assert capsys.readouterr().err == "dancetomusic: error: nobody in view. Film a dancer.\n"
    assert not (folder / "a.wav").exists()


def test_a_bug_keeps_its_traceback(pipeline, folder):
    pipeline.error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        cli.main(["generate", "dance.mp4", "a.wav"])


def test_an_interrupt_exits_130(pipeline, folder, capsys):
    pipeline.error = KeyboardInterrupt()
    assert exit_code("generate dance.mp4 a.wav") == 130
    said = capsys.readouterr().err
    assert "interrupted" in said and said.count("\n") == 1


def test_sigterm_exits_143_and_leaves_nothing(pipeline, folder, capsys):
    def save(path, **_options):
        with atomic_output(path) as temporary:
            temporary.write_bytes(b"half")
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM), sorted(folder.iterdir())
    pipeline.music.save = save
    assert exit_code("generate dance.mp4 a.wav") == 143
    said = capsys.readouterr().err
    assert "terminated" in said and said.count("\n") == 1
    assert (signal.getsignal(signal.SIGTERM), sorted(folder.iterdir())) == before


def test_the_beats_and_poses_read_are_written(pipeline, folder):
    arguments = "generate dance.mp4 a.wav --save_rhythm beats.csv --save_poses read.npz"
    assert exit_code(arguments) == 0
    assert (folder / "beats.csv").read_text().splitlines()[0] == "time_s,beat,source,certainty"
    with np.load(folder / "read.npz", allow_pickle=False) as read:
        np.testing.assert_array_equal(read["poses"], pipeline.music.poses.world)


KINETICS = (
    "label,youtube_id,time_start,time_end,split\n"
    "breakdancing,-0aBcDeF_12,30,40,train\nbreakdancing,bbbbbbbbbbb,5,15,train\n"
    "salsa dancing,abcdefghijk,0,10,train\n"
)


def test_sections_of_a_kinetics_list_are_planned(folder, capsys):
    (folder / "list.csv").write_text(KINETICS)
    chosen = "--kinetics_class breakdancing --max_per_class 1"
    assert exit_code(f"build --output_path set --kinetics_csv list.csv {chosen} --dry_run") == 0
    assert capsys.readouterr().out.count("youtube.com") == 1
    assert not (folder / "set").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "one source of videos is needed"),
        ("--kinetics_csv list.csv --input_folder .", "one source of videos is needed"),
        ("--input_folder . --max_per_class 2", "Give --kinetics_csv."),
        ("--kinetics_csv list.csv --kinetics_class tango", "has no class 'tango'"),
    ],
)
def test_a_build_that_cannot_be_meant_is_refused(folder, capsys, arguments, message):
    (folder / "list.csv").write_text(KINETICS)
    assert exit_code(f"build --output_path set {arguments}") == 2
    assert message in capsys.readouterr().err


def test_train_hands_over_typed_overrides(monkeypatch, folder):
    calls = []
    monkeypatch.setattr(registry, "train", lambda *arguments: calls.append(arguments))
    command = (
        "train --model codec --config c.yaml --output run steps=3 rate=1e-1 name=a sizes=[1,2]"
    )
    assert exit_code(command) == 0
    assert exit_code("train --model codec --data set --output run") == 0
    (model, config, overrides, output, data), (_, none, _, _, of_clips) = calls
    assert (model, config.name, output.name, data) == ("codec", "c.yaml", "run", None)
    assert overrides == {"steps": 3, "rate": 0.1, "name": "a", "sizes": [1, 2]}
    assert none is None and of_clips.name == "set"


@pytest.mark.parametrize(("text", "value"), [("3e-4", 3e-4), ("1E-3", 1e-3), ("2.5e-1", 0.25)])
def test_a_power_of_ten_is_a_number_in_an_override(text, value):
    key, given = parse_override(f"learning_rate={text}")
    assert config_from_dict(LoopConfig, {key: given}).learning_rate == value


@pytest.mark.parametrize("seed", [-1, 2**64, 98765432109876543210, 10**40])
@pytest.mark.parametrize(
    "command",
    [
        "generate dance.mp4 a.wav",
        "dance song.mp3 dance.npz --seed 1",
        "live --video dance.mp4 --output a.wav",
        "train --model codec --config c.yaml --output run",
    ],
)
def test_a_seed_that_no_generator_takes_is_refused(pipeline, folder, capsys, command, seed):
    assert exit_code(f"{command} --seed {seed}") == 2
    printed = capsys.readouterr()
    assert printed.err == (
        f"dancetomusic: error: --seed is {seed}. Give 0 to 18446744073709551615.\n"
    )
    assert pipeline.asked is None


def test_a_long_seed_is_taken(pipeline, folder):
    assert exit_code("generate dance.mp4 a.wav --seed 12345678901234567890") == 0
    assert pipeline.asked["seed"] == 12345678901234567890


@pytest.mark.parametrize("text", ["steps", "=3", "steps=[1"])
def test_a_malformed_override_is_refused(text):
    with pytest.raises(ConfigError):
        parse_override(text)


def test_info_names_versions_and_optional_parts(capsys):
    assert exit_code("info") == 0
    printed = capsys.readouterr().out
    for word in ("dancetomusic", "torch", "released checkpoints", "cache", "fluidsynth"):
        assert word in printed


def test_version(capsys):
    assert exit_code("--version") == 0
    assert capsys.readouterr().out.startswith("dancetomusic ")


@pytest.mark.parametrize("script", ["generate.py", "train.py"])
def test_the_scripts_are_short_and_hand_on(repository, tmp_path, script):
    assert len((repository / script).read_text().splitlines()) <= 15
    command = [sys.executable, str(repository / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert done.returncode == 0
    assert f"dancetomusic {script.removesuffix('.py')}" in done.stdout
