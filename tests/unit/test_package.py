import importlib.metadata
import json
import resource
import shutil
import subprocess
import sys
import zipfile

import pytest

import dancetomusic
from dancetomusic import released
from dancetomusic.errors import CheckpointError

HEAVY = {"torch", "numpy", "scipy", "mediapipe", "av", "transformers", "librosa", "pyvista"}


def run_python(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def cpu_seconds(command):
    """Processor time of a command, which other work on the machine does not lengthen."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def loaded_by(statement):
    printed = run_python(f"import sys, json; {statement}; print(json.dumps(sorted(sys.modules)))")
    return set(json.loads(printed.splitlines()[-1]))


@pytest.mark.realtime
def test_importing_the_package_loads_nothing_heavy_and_is_quick():
    assert not loaded_by("import dancetomusic") & HEAVY
    assert cpu_seconds([sys.executable, "-c", "import dancetomusic"]) < 0.3


@pytest.mark.realtime
def test_the_help_loads_nothing_heavy_and_is_quick():
    statement = (
        "import contextlib, dancetomusic.cli as cli\n"
        "with contextlib.suppress(SystemExit): cli.main(['generate', '--help'])\n"
    )
    assert not loaded_by(f"exec({statement!r})") & HEAVY
    assert cpu_seconds([sys.executable, "-m", "dancetomusic.cli", "--help"]) < 1.0


def test_every_public_name_is_there_and_listed():
    for name in dancetomusic.__all__:
        assert getattr(dancetomusic, name) is not None
        assert name in dir(dancetomusic)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="DanceToNoise"):
        _ = dancetomusic.DanceToNoise


def test_the_version_is_that_of_the_installed_package():
    assert importlib.metadata.version("dancetomusic") == dancetomusic.__version__


def test_the_packages_that_break_the_rest_are_not_installed():
    names = {dist.name.lower() for dist in importlib.metadata.distributions()}
    assert not names & {"torchaudio", "encodec", "opencv-python-headless"}


def make_checkpoint(folder, name):
    (folder / name).mkdir(parents=True)
    (folder / name / "config.json").write_text("{}")
    return folder / name


def test_a_released_checkpoint_is_found_by_name(tmp_path, monkeypatch):
    beside = make_checkpoint(tmp_path / "checkpoints", "beside")
    monkeypatch.setattr(released, "_FOLDERS", (tmp_path / "absent", tmp_path / "checkpoints"))
    assert released.released_checkpoints() == {"beside": beside}
    assert released.released_checkpoint("beside") == beside
    with pytest.raises(CheckpointError, match="'other'.*beside"):
        released.released_checkpoint("other")


def test_without_any_weights_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(released, "_FOLDERS", (tmp_path / "absent",))
    with pytest.raises(CheckpointError, match="none is installed"):
        released.released_checkpoint("codec")


@pytest.mark.slow
def test_a_wheel_carries_the_package_and_its_checkpoints(tmp_path, repository):
    tree = tmp_path / "tree"
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(repository / "dancetomusic", tree / "dancetomusic", ignore=skip)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(repository / name, tree)
    make_checkpoint(tree / "checkpoints", "tiny")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    command += ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(tree)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert "dancetomusic/_checkpoints/tiny/config.json" in inside
    sources = [*tree.glob("dancetomusic/**/*.py"), *tree.glob("dancetomusic/**/*.yaml")]
    assert {path.relative_to(tree).as_posix() for path in sources} <= inside
