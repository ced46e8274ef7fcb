"""Carry out the Dockerfile without a container engine or root, and try what it serves.

A stage begins as a root file system of Debian's packages, made by ``mmdebstrap`` (the
``debootstrap`` of users who aren't root), with Debian's Python in a virtual environment at
``/usr/local``, where the base image has its own. The steps run in it by ``chroot`` in a user
namespace. The command is then started without any network but loopback, its health check is run,
and a video is uploaded and set to music. Everything is deleted at the end.

Only Python's standard library is used: what the package needs is installed by the steps.
"""

from __future__ import annotations

import argparse
import ctypes
import fnmatch
import http.client
import io
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PASSED_ON = ("PIP_", "HTTP_", "HTTPS_", "NO_", "http_", "https_", "no_", "SSL_CERT_")
START_S = 600.0
NEW_NETWORK = 0x40000000  # CLONE_NEWNET of unshare(2)


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


def read_stages(steps: list[Step]) -> dict[str, list[Step]]:
    """Steps after each ``FROM``, by the stage's name (of the last, by its image)."""
    found: dict[str, list[Step]] = {}
    for step in steps:
        if step.name == "FROM":
            *_, name = step.words
            found[name] = []
        else:
            found[name].append(step)
    return found


def read_patterns(path: Path) -> list[str]:
    """Patterns of a ``.dockerignore`` in order."""
    lines = path.read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


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


def copy(
    sources: list[Path], target: Path, as_folder: bool, is_wanted: Callable[[Path], bool]
) -> None:
    """Copy as ``COPY`` does: a folder's content, or a file, into a folder or under a new name."""

    def unwanted(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if not is_wanted(Path(folder, name))]

    for source in sources:
        if source.is_dir():
            shutil.copytree(source, target, ignore=unwanted, symlinks=True, dirs_exist_ok=True)
        else:
            to = target / source.name if as_folder or target.is_dir() else target
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, to)


class Root:
    """A root file system in which steps are carried out.

    Args:
        path: Its folder, filled with the base.
        arguments: Values of ``ARG`` and what of the environment is passed on.
    """

    def __init__(self, path: Path, arguments: dict[str, str]) -> None:
        self.path = path
        self.arguments = arguments
        self.folder = "/"
        self.user = "0"

    def size_mb(self) -> float:
        """What its files take on disk, in units of 10⁶ bytes."""
        done = subprocess.run(
            ["du", "--summarize", "--block-size=1", "--one-file-system", self.path],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return int(done.stdout.split()[0]) / 1e6

    def command(self, words: list[str], **environment: str) -> list[str]:
        """How to run a command in it, as its user, in its folder, with its own environment."""
        home = "/"
        for line in (self.path / "etc/passwd").read_text().splitlines():
            if line.split(":")[2] == self.user:
                home = line.split(":")[5]
        settings = {
            "PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": home,
            **environment,
        }
        return [
            "chroot", f"--userspec={self.user}:{self.user}", str(self.path),
            "/usr/bin/env", "-i", f"--chdir={self.folder}",
            *(f"{name}={value}" for name, value in settings.items()), *words,
        ]  # fmt: skip

    def carry_out(self, step: Step, roots: dict[str, Root], patterns: list[str]) -> None:
        """One instruction that changes it."""
        if step.name == "RUN":
            command = self.command(["/bin/sh", "-c", step.text], **self.arguments)
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        elif step.name == "WORKDIR":
            self.folder = step.text
            (self.path / self.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif step.name == "COPY":
            *sources, target = step.words
            where = self.path / self.folder.lstrip("/") / target
            as_folder = target.endswith("/")
            if "from" in step.flags:
                other = roots[step.flags["from"]].path
                paths = [other / source.lstrip("/") for source in sources]
                copy(paths, where, as_folder, lambda path: True)
            else:
                paths = [REPOSITORY / source for source in sources]
                copy(
                    paths, where, as_folder,
                    lambda path: is_sent(str(path.relative_to(REPOSITORY)), patterns),
                )  # fmt: skip
        elif step.name == "USER":
            self.user = step.text
        elif step.name not in ("ARG", "EXPOSE", "HEALTHCHECK", "CMD"):
            sys.exit(f"{step.name} is not known here")


def open_root(path: Path, base: Path, binds: list[Path], arguments: dict[str, str]) -> Root:
    """A root file system of the base, with devices, processes and the host's names mounted.

    The mounts end with the namespace.
    """
    path.mkdir()
    run("tar", "--extract", f"--file={base}", f"--directory={path}", "--exclude=./dev/*")

    def mount(source: Path, *options: str) -> None:
        place = path / str(source).lstrip("/")
        if source.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        run("mount", *options, str(source), str(place))

    mount(Path("/dev"), "--rbind")
    mount(Path("/proc"), "--types=proc")
    for source in (Path("/etc/resolv.conf"), Path("/etc/hosts"), *binds):
        mount(source, "--rbind")
    return Root(path, arguments)


def run(*command: str) -> None:
    """A command that must succeed."""
    subprocess.run(command, check=True)


def make_base(image: str, path: Path) -> None:
    """A tar of Debian with its Python as the image ``python:VERSION-slim-RELEASE`` has it."""
    found = re.fullmatch(r"python:(\d+\.\d+)-slim-(\w+)", image)
    if found is None:
        sys.exit(f"{image} is not python:VERSION-slim-RELEASE, the only base that is known here")
    version, release = found.groups()
    packages = ["ca-certificates", "netbase", "tzdata", f"python{version}-venv"]
    run(
        "mmdebstrap", "--mode=unshare", "--variant=minbase", "--format=tar",
        "--dpkgopt=force-unsafe-io", f"--include={','.join(packages)}",
        f'--customize-hook=chroot "$1" python{version} -m venv /usr/local',
        release, str(path),
    )  # fmt: skip


class Page:
    """A client of the page."""

    def __init__(self, port: int, token: str) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.headers = {"Authorization": f"Bearer {token}"}

    def ask(self, path: str, body: bytes | dict[str, Any] | None = None) -> bytes:
        """The answer to a GET, or to a POST of bytes or of JSON."""
        headers = dict(self.headers)
        if isinstance(body, dict):
            headers["Content-Type"] = "application/json"
            body = json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, body, headers)
        with urllib.request.urlopen(request, timeout=START_S) as answer:
            return answer.read()

    def work(self, path: str, wish: dict[str, Any]) -> dict[str, Any]:
        """The result of a job."""
        job = json.loads(self.ask(path, wish))["job"]
        events = self.ask(f"/api/jobs/{job}").decode().splitlines()
        states = [json.loads(line[6:]) for line in events if line.startswith("data: ")]
        if states[-1]["state"] != "done":
            sys.exit(f"{path} failed: {states[-1]}")
        return states[-1]["result"]


def try_page(root: Root, steps: list[Step], video: Path) -> None:
    """Start the command without a network, run its health check, make a take of a video."""
    last = {step.name: step for step in steps}
    (port,) = map(int, last["EXPOSE"].words)
    token = secrets.token_hex(16)
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NETWORK):
        sys.exit(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    run("ip", "link", "set", "lo", "up")
    check = root.command(json.loads(last["HEALTHCHECK"].text.removeprefix("CMD ")))

    def is_well() -> bool:
        return subprocess.run(check, capture_output=True).returncode == 0

    started = time.monotonic()
    server = subprocess.Popen(root.command(last["CMD"].words, DANCETOMUSIC_TOKEN=token))
    try:
        while not is_well():
            if server.poll() is not None or time.monotonic() > started + START_S:
                sys.exit("the page never became healthy")
            time.sleep(0.5)
        say("healthy", started)
        page = Page(port, token)
        if b"<html" not in page.ask("/"):
            sys.exit("the page is none")
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/")
        if (refused := connection.getresponse().status) != 401:
            sys.exit(f"without the token the page answers {refused}")
        started = time.monotonic()
        clip = json.loads(page.ask("/api/clips?name=dance", video.read_bytes()))["id"]
        rhythm = page.work(f"/api/clips/{clip}/rhythm", {})["readings"][0]
        say(f"beats read: {rhythm['bpm']:.0f} BPM from the {rhythm['source']}", started)
        started = time.monotonic()
        take = page.work(f"/api/clips/{clip}/takes", {"reading": 0, "seed": 0})["take"]
        with wave.open(io.BytesIO(page.ask(f"/api/takes/{take}/sound"))) as sound:
            seconds = sound.getnframes() / sound.getframerate()
            is_silent = not any(sound.readframes(sound.getnframes()))
        if is_silent:
            sys.exit("the take is silent")
        say(f"a take made, {seconds:.1f} s of sound", started)
        file = page.work(f"/api/takes/{take}/files", {"format": "mp4"})["url"]
        say(f"its video fetched, {len(page.ask('/' + file)) / 1e6:.1f} MB", started)
    finally:
        server.terminate()
        server.wait(60)


def say(what: str, started: float) -> None:
    """Print what is done and how long it took."""
    print(f"{time.monotonic() - started:7.1f} s  {what}", flush=True)


def build_and_try(work: Path, base: Path, binds: list[Path], video: Path) -> None:
    """Carry out all stages and try the last, as root of a user namespace."""
    patterns = read_patterns(REPOSITORY / ".dockerignore")
    arguments = {k: v for k, v in os.environ.items() if k.startswith(PASSED_ON)}
    roots: dict[str, Root] = {}
    for name, steps in read_stages(read_steps(REPOSITORY / "Dockerfile")).items():
        root = open_root(work / f"stage{len(roots)}", base, binds, arguments)
        roots[name] = root
        print(f"stage {name}: {root.size_mb():.0f} MB, with", flush=True)
        run(*root.command(["python", "--version"]))
        for step in steps:
            started = time.monotonic()
            root.carry_out(step, roots, patterns)
            if step.name in ("RUN", "COPY"):
                say(f"{step.name} {step.text}", started)
        print(f"stage {name}: {root.size_mb():.0f} MB", flush=True)
        if any(step.name == "CMD" for step in steps):
            try_page(root, steps, video)


def main() -> None:
    """Make the base, then enter a user namespace and do the rest there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--video", type=Path, default=REPOSITORY / "data/demo/steps_128bpm.mp4")
    parser.add_argument(
        "--bind", type=Path, action="append", default=[],
        help="file or folder of this machine that the steps see at the same path, such as wheels "
        "named by PIP_FIND_LINKS or certificates named by PIP_CERT; again for more",
    )  # fmt: skip
    parser.add_argument(
        "--base", type=Path, help="keep the base in this .tar, or take it from there if it exists"
    )
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside is not None:
        build_and_try(options.inside, options.base, options.bind, options.video)
        return
    if os.geteuid() == 0:
        sys.exit("run this as an ordinary user: it needs no root, and proves that it needs none")
    for tool in ("mmdebstrap", "unshare", "newuidmap", "ip"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: apt-get install mmdebstrap uidmap util-linux iproute2")
    enter = ["unshare", "--user", "--map-root-user", "--map-auto", "--mount", "--pid", "--fork"]
    work = Path(tempfile.mkdtemp(prefix="dockerfile_"))
    try:
        started = time.monotonic()
        (image,) = {s.words[0] for s in read_steps(REPOSITORY / "Dockerfile") if s.name == "FROM"}
        base = options.base or work / "base.tar"
        if not base.exists():
            make_base(image, base)
            say(f"a base made instead of {image}", started)
        again = [sys.executable, __file__, *sys.argv[1:], f"--inside={work}", f"--base={base}"]
        subprocess.run([*enter, "--kill-child", *again], check=True)
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed: {shlex.join(map(str, error.cmd))}")
    finally:
        # Files in it belong to the users of the namespace.
        run(*enter, "rm", "--recursive", "--force", "--one-file-system", str(work))


if __name__ == "__main__":
    main()
