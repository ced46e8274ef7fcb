"""The Dockerfile without an engine: linted, and what it names compared with what there is.

What only a container has (packages of Debian, users) is checked by name; ``try_dockerfile`` of
``building_tools`` carries the steps out. That the package installs is seen by ``make demo`` and by
the test of its wheel.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import dancetomusic
from building_tools.try_dockerfile import (
    Step,
    copy,
    is_sent,
    read_patterns,
    read_stages,
    read_steps,
)
from dancetomusic.cli import main
from tests.conftest import REPOSITORY

TOKEN = "a secret of some length"
START_S = 300.0


STEPS = read_steps(REPOSITORY / "Dockerfile")
STAGES = read_stages(STEPS)
FINAL = STAGES[list(STAGES)[-1]]


def the(name: str) -> Step:
    """The only instruction of this name in the final stage."""
    (step,) = [step for step in FINAL if step.name == name]
    return step


def test_the_linter_has_nothing_to_say():
    linter = Path(sys.executable).with_name("hadolint")
    if not linter.is_file():
        pytest.skip("hadolint is not installed")
    done = subprocess.run([linter, REPOSITORY / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_runs_as_nobody_in_particular_and_says_whether_it_is_well():
    assert the("USER").text.isdecimal() and int(the("USER").text) >= 1000
    assert f"--uid {the('USER').text}" in " ".join(s.text for s in FINAL if s.name == "RUN")
    assert FINAL.index(the("USER")) > max(k for k, step in enumerate(FINAL) if step.name == "RUN")
    assert the("HEALTHCHECK").text.startswith("CMD [")
    port = the("EXPOSE").text
    assert f":{port}/health" in the("HEALTHCHECK").text
    command = the("CMD").words
    assert command[:2] == ["dancetomusic", "app"]
    assert command[command.index("--host") + 1] == "0.0.0.0"
    assert command[command.index("--port") + 1] == port
    assert "--token" not in command  # it comes with the environment, and is in no list of processes


def test_the_python_of_the_image_is_one_that_the_package_takes(repository):
    pyproject = (repository / "pyproject.toml").read_text()
    for step in STEPS:
        if step.name == "FROM":
            version = re.match(r"python:(\d+\.\d+)-slim-\w+\b", step.text)[1]
            assert f"Programming Language :: Python :: {version}" in pyproject


def test_what_the_image_needs_is_sent_and_nothing_else():
    patterns = read_patterns(REPOSITORY / ".dockerignore")
    wanted = {
        source
        for step in STEPS
        if step.name == "COPY" and "from" not in step.flags
        for source in step.words[:-1]
    }
    assert {entry.name for entry in REPOSITORY.iterdir() if is_sent(entry.name, patterns)} == wanted
    assert is_sent("dancetomusic/cli/app.py", patterns)
    assert not is_sent("dancetomusic/cli/__pycache__/app.pyc", patterns)
    assert not is_sent(".git/config", patterns)
    assert not is_sent("data/samples/secret.mp4", patterns)


def test_copies_are_made_as_an_engine_makes_them(tmp_path):
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "kept.txt").write_text("kept")
    (source / "inner" / "left.pyc").write_text("left")
    (source / "one.txt").write_text("one")
    root = tmp_path / "root"
    copy([source], root / "package", False, lambda path: path.suffix != ".pyc")
    copy([source / "one.txt", source / "inner" / "kept.txt"], root, True, lambda path: True)
    copy([source / "one.txt"], root / "two.txt", False, lambda path: True)
    made = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert made == {
        "package/inner/kept.txt", "package/one.txt", "one.txt", "kept.txt", "two.txt"
    }  # fmt: skip


@pytest.mark.slow(1)
def test_packages_of_debian_exist():
    named = [
        word
        for step in FINAL
        if step.name == "RUN" and "apt-get install" in step.text
        for word in step.text.split("apt-get install")[1].split("&&")[0].split()
        if not word.startswith("-")
    ]
    assert named
    if shutil.which("apt-cache") is None:
        pytest.skip("this is no Debian")
    known = subprocess.run(["apt-cache", "pkgnames"], capture_output=True, text=True)
    if "python3-pip" not in known.stdout.split():
        pytest.skip("this machine has no list of Debian's packages")
    assert set(named) <= set(known.stdout.split())


def test_what_it_copies_exists():
    for name, steps in STAGES.items():
        for step in steps:
            if step.name == "COPY" and "from" not in step.flags:
                for source in step.words[:-1]:
                    assert (REPOSITORY / source).exists(), (name, source)


def test_the_wheel_is_taken_from_where_it_is_made():
    made = [step.text for step in STAGES["wheel"] if step.name == "RUN"]
    (where,) = [step.text for step in STAGES["wheel"] if step.name == "WORKDIR"]
    (folder,) = [re.search(r"--wheel-dir (\S+)", text)[1] for text in made]
    (copied,) = [step for step in FINAL if step.name == "COPY" and "from" in step.flags]
    assert copied.flags["from"] == "wheel"
    assert copied.words[0] == f"{where}/{folder}"
    assert f"set -- {copied.words[1]}/*.whl" in " ".join(s.text for s in FINAL if s.name == "RUN")


def test_what_it_installs_is_known_and_pinned():
    installs = [s.text for s in FINAL if s.name == "RUN" and "pip install" in s.text]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = {name for text in installs for name in re.findall(r"\[([\w,]+)\]\"", text)}
    assert extras == {"app"} <= set(project["optional-dependencies"])
    assert all("requirements.txt" in text for text in installs)
    lines = (REPOSITORY / "requirements.txt").read_text().splitlines()
    pinned = {Requirement(line).name: line for line in lines if line and not line.startswith("#")}
    for line in [*project["dependencies"], *project["optional-dependencies"]["app"]]:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        (version,) = Requirement(pinned[canonicalize_name(wanted.name)]).specifier
        assert version.operator == "==" and wanted.specifier.contains(version.version), line


def test_its_command_is_installed_and_has_its_options(capsys):
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    program, *arguments = the("CMD").words
    assert project["scripts"][program] == f"{main.__module__}:{main.__name__}"
    for asked, expected in (
        (["--version"], [dancetomusic.__version__]),
        ([arguments[0], "--help"], [*filter(lambda w: w.startswith("--"), arguments), "--token"]),
    ):
        with pytest.raises(SystemExit) as end:
            main(asked)
        assert not end.value.code
        printed = capsys.readouterr().out
        assert all(word in printed for word in expected)


def test_without_a_secret_it_does_not_serve(monkeypatch, capsys):
    monkeypatch.delenv("DANCETOMUSIC_TOKEN", raising=False)
    with pytest.raises(SystemExit) as end:
        main(the("CMD").words[1:])
    assert end.value.code == 2
    assert "--token" in capsys.readouterr().err


@pytest.mark.slow
def test_it_serves_and_the_health_check_sees_it():
    with socket.create_server(("127.0.0.1", 0)) as any_free:
        port = str(any_free.getsockname()[1])
    published = the("EXPOSE").text
    command = [port if word == published else word for word in the("CMD").words]
    interpreter, *check = json.loads(the("HEALTHCHECK").text.removeprefix("CMD "))
    assert interpreter == "python"
    check = [word.replace(f":{published}/", f":{port}/") for word in check]

    def is_well() -> bool:
        return subprocess.run([sys.executable, *check], capture_output=True).returncode == 0

    assert not is_well()
    server = subprocess.Popen(
        [sys.executable, "-m", "dancetomusic.cli", *command[1:]], text=True, cwd=REPOSITORY,
        env={**os.environ, "DANCETOMUSIC_TOKEN": TOKEN},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        waiting_until = time.monotonic() + START_S
        while not is_well():
            assert server.poll() is None, server.communicate()[1]
            assert time.monotonic() < waiting_until
            time.sleep(0.5)
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30)
        asked = urllib.request.Request(
            f"http://127.0.0.1:{port}/", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(asked, timeout=30) as page:
            assert "<html" in page.read().decode()
    finally:
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    assert not is_well()
