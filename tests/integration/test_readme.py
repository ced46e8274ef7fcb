"""README and guide show what works: their commands and Python are run, their paths exist."""

import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from dancetomusic.cli import main
from tests.dance_factory import small_copy
from tests.video_factory import cut_short


@pytest.fixture(scope="module")
def readme(repository):
    return (repository / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def guide(repository):
    return (repository / "docs" / "guide.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, demo_dir):
    """A directory as a reader would have it: only their own videos, and the list of links."""
    folder = tmp_path_factory.mktemp("reader")
    clips = sorted(demo_dir.glob("*.mp4"))
    cut_short(clips[0], folder / "my_dance.mp4", 2.5)
    (folder / "my_dances").mkdir()
    small_copy(clips[0], folder / "my_dances" / "one.mp4")
    beats = np.arange(24_000 * 4) % 12_000 < 1_200
    soundfile.write(
        folder / "song.mp3", beats * np.random.default_rng(0).normal(0, 0.2, beats.size), 24_000
    )
    shutil.copytree(demo_dir.parent / "youtube_links", folder / "data" / "youtube_links")
    return folder


def blocks(text, language):
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [body for kind, body in fenced if kind == language]


def said_by(arguments, capfd):
    """What the command says on standard error, in this process; warnings that a shell would see.

    But for how far a building has come, which is said every 15 s on a slow machine.
    """
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")
        for unseen in (DeprecationWarning, PendingDeprecationWarning, ResourceWarning):
            warnings.simplefilter("ignore", unseen)
        with pytest.raises(SystemExit) as end:
            main(arguments)
    said = re.sub(r"sections \d+ of \d+, clips .*\n", "", capfd.readouterr().err)
    said += "".join(str(warning.message) for warning in shown)
    assert not end.value.code, said
    return said


@pytest.mark.slow(70)
def test_the_commands_run_and_write_what_they_name(readme, guide, folder, capfd, monkeypatch):
    monkeypatch.chdir(folder)
    lines = "".join(blocks(readme, "bash") + blocks(guide, "bash")).splitlines()
    for line in dict.fromkeys(lines):
        program, *arguments = shlex.split(line)
        if program == "pip":
            continue
        assert program == "dancetomusic"
        if "--input_csv" in arguments:  # the only one that needs the network
            arguments.append("--dry_run")
        if arguments[0] == "train":  # as many steps as there is time for
            arguments += ["--max_steps", "1", "--batch_size", "2", "tensorboard=false"]
        assert said_by(arguments, capfd) == "", line
        for name in re.findall(r"(?<!/)\b\w+\.(?:wav|mp4|csv|npz)\b", line):
            assert (folder / name).stat().st_size > 0
    assert (folder / "music" / "one.mp4").is_file()
    assert (folder / "data" / "samples" / "inspect.html").is_file()
    sound, rate = soundfile.read(folder / "out.wav")
    assert rate == 44_100 and sound.shape[1] == 2
    assert np.abs(sound).max() > 0.01


@pytest.mark.slow
def test_the_python_runs(readme, folder):
    (block,) = blocks(readme, "python")
    done = subprocess.run([sys.executable, "-c", block], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"\d+ BPM, \d+\.\d s\n", done.stdout)


def test_the_first_commands_are_targets(readme, repository):
    lines = blocks(readme, "sh")[0].splitlines()
    assert [line.split()[:2] for line in lines] == [["make", "demo"], ["make", "test"]]
    for line in lines:
        command = ["make", "--dry-run", line.split()[1]]
        subprocess.run(command, cwd=repository, check=True, capture_output=True)


def test_every_path_of_the_tree_exists(readme, repository):
    (tree,) = (block for block in blocks(readme, "") if block.startswith("Makefile"))
    within = ""
    for line in tree.splitlines():
        name = line.split()[0]
        if not line.startswith(" "):
            within = name if name.endswith("/") else ""
            assert (repository / name).exists(), name
        else:
            assert (repository / within / name).exists(), f"{within}{name}"


def headings(path):
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_to_a_file_leads_somewhere(repository):
    for page in (repository / "README.md", *(repository / "docs").rglob("*.md")):
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text)
        assert links or page.parent != repository
        for target, anchor in links:
            led_to = page.parent / target if target else page
            assert led_to.exists(), (page, target)
            assert not anchor or anchor in headings(led_to), (page, target, anchor)


def test_the_table_of_models_has_all_that_ships_and_no_figure_of_its_own(repository):
    docs = repository / "docs"
    table = (docs / "models" / "index.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"`checkpoints/(\w+)`, ([\d.]+) MB", table))
    for folder in filter(Path.is_dir, (repository / "checkpoints").iterdir()):
        weights = max(path.stat().st_size for path in folder.iterdir())
        assert f"{weights / 1e6:.1f}" == named.pop(folder.name), folder.name
    assert not named
    measured = "".join(
        page.read_text(encoding="utf-8") for page in docs.rglob("*.md") if page.name != "index.md"
    )
    figures = re.findall(r"[\d.]+ \[[^]]*\](?!\()", table)
    assert figures
    for figure in figures:
        assert figure in measured, figure
