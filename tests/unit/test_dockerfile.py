"""The Dockerfile without an engine: linted, its steps taken in folders and clean environments.

A stage becomes a folder with a virtual environment; ``COPY`` takes what ``.dockerignore`` lets
through, ``RUN`` runs in the stage's folder. What only a container has (packages of Debian, users)
is checked by name.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

import pytest

import dancetomusic
from tests.conftest import REPOSITORY

SYSTEM_STEPS = ("apt-get ", "useradd ")
"""What the first program of a ``RUN`` is called where it needs a container."""

TOKEN = "a secret of some length"
START_S = 300.0


@dataclass(frozen=True)
class Step:
    """One instruction: its name in capitals, its flags, and the rest of its text."""

    name: str
    text: str
    flags: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        """The arguments, given as JSON or as words."""
        return json.loads(self.text) if self.text.startswith("[") else self.text.split()


def read_steps(path: Path) -> list[Step]:
    """Instructions of a Dockerfile in order, without comments, long lines joined."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    steps = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        name, *rest = line.split()
        flags = list(takewhile(lambda word: word.startswith("--"), rest))
        text = re.sub(r"\s+", " ", " ".join(rest[len(flags) :]))
        pairs = dict(flag.removeprefix("--").split("=", 1) for flag in flags)
        steps.append(Step(name.upper(), text, pairs))
    return steps


def stages(steps: list[Step]) -> dict[str, list[Step]]:
    """Steps after each ``FROM``, by the stage's name."""
    found: dict[str, list[Step]] = {}
    for step in steps:
        if step.name == "FROM":
            *_, name = step.words
            found[name] = []
        else:
            found[name].append(step)
    return found


def is_sent(path: str, patterns: list[str]) -> bool:
    """Whether ``.dockerignore`` lets a file through; the last pattern that fits decides."""
    sent = True
    parents = [path, *map(str, Path(path).parents)][:-1]
    for pattern in patterns:
        plain = pattern.removeprefix("!").removeprefix("**/")
        anywhere = pattern.startswith("**/")
        for parent in parents:
            if fnmatch.fnmatchcase(Path(parent).name if anywhere else parent, plain):
                sent = pattern.startswith("!")
    return sent


STEPS = read_steps(REPOSITORY / "Dockerfile")
STAGES = stages(STEPS)
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
    patterns = [
        line
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
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


class Container:
    """Stages as folders under ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = self.where = root
        self.folders: dict[str, Path] = {}
        self.environment: dict[str, str] = {}

    def build(self) -> None:
        """Take every step of every stage."""
        for number, (name, steps) in enumerate(STAGES.items()):
            self.folders[name] = stage = self.root / f"stage{number}"
            where = stage
            subprocess.run([sys.executable, "-m", "venv", stage / "venv"], check=True)
            path = f"{stage / 'venv/bin'}:{os.environ['PATH']}"
            kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
            self.environment = kept | {"PATH": path, "HOME": str(stage)}
            for step in steps:
                if step.name == "WORKDIR":
                    where = self._inside(stage, step.text)
                    where.mkdir(parents=True, exist_ok=True)
                elif step.name == "ENV":
                    self.environment |= dict(pair.split("=", 1) for pair in step.words)
                elif step.name == "COPY":
                    self._copy(step, where)
                elif step.name == "RUN" and not step.text.startswith(SYSTEM_STEPS):
                    self._run(step.text, where)
            self.where = where

    def start(self, command: list[str], **changes: str) -> subprocess.Popen[str]:
        """A command of the last stage."""
        environment = self.environment | changes
        program = shutil.which(command[0], path=environment["PATH"])
        assert program and program.startswith(str(self.root)), command[0]
        return subprocess.Popen(
            [program, *command[1:]], cwd=self.where, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def output(self, *command: str) -> str:
        """What a command of the last stage prints."""
        process = self.start(list(command))
        printed, errors = process.communicate(timeout=START_S)
        assert process.returncode == 0, errors
        return printed

    def _run(self, script: str, where: Path) -> None:
        done = subprocess.run(
            ["/bin/sh", "-e", "-c", script], cwd=where, env=self.environment, text=True,
            capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        assert "does not provide the extra" not in done.stderr, done.stderr

    def _copy(self, step: Step, where: Path) -> None:
        *sources, target = step.words
        stage = self.folders.get(step.flags.get("from", ""), None)
        to = self._inside(where, target) if target.startswith("/") else where / target
        for source in sources:
            file = REPOSITORY / source if stage is None else self._inside(stage, source)
            if file.is_dir():
                shutil.copytree(file, to, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(file, to)

    @staticmethod
    def _inside(folder: Path, path: str) -> Path:
        return folder / path.lstrip("/")


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """The image as folders; minutes of installing, and gigabytes that do not stay."""
    root = tmp_path_factory.mktemp("image")
    built = Container(root)
    built.build()
    yield built
    shutil.rmtree(root)


@pytest.mark.slow
def test_the_command_is_installed_with_what_it_needs(container):
    assert dancetomusic.__version__ in container.output("dancetomusic", "--version")
    assert "--token" in container.output("dancetomusic", "app", "--help")
    assert "No broken requirements" in container.output("pip", "check")
    place = "import dancetomusic; print(dancetomusic.__file__)"
    assert container.output("python", "-c", place).startswith(str(container.root))


@pytest.mark.slow
def test_without_a_secret_it_does_not_serve(container):
    process = container.start(the("CMD").words)
    _, errors = process.communicate(timeout=START_S)
    assert process.returncode == 2
    assert "--token" in errors


@pytest.mark.slow
def test_it_serves_and_the_health_check_sees_it(container):
    with socket.create_server(("127.0.0.1", 0)) as any_free:
        port = str(any_free.getsockname()[1])
    published = the("EXPOSE").text
    command = [port if word == published else word for word in the("CMD").words]
    check = json.loads(the("HEALTHCHECK").text.removeprefix("CMD "))
    check = [word.replace(f":{published}/", f":{port}/") for word in check]

    def is_well() -> bool:
        process = container.start(check)
        process.communicate(timeout=60)
        return process.returncode == 0

    assert not is_well()
    server = container.start(command, DANCETOMUSIC_TOKEN=TOKEN)
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
