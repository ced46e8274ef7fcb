"""Commands killed at random moments: nothing is lost or half-written, and the next run finishes.

    python -m tests.fuzz.kills --kills 200 --seed 1

Each command that writes for long is begun again and again and killed (SIGKILL, as when memory is
full): by itself in one half of the cases, with all its workers in the other. After each kill every
file that can be seen must be whole, and its workers must end by themselves. After one to four kills
the command may finish, and must leave what a run does that was never killed, byte for byte
(``live``, which plays in real time: a video that can be played), and no temporary file beside it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from dancetomusic.checkpoint import CONFIG_FILE, load_checkpoint
from dancetomusic.cli import main as run_command
from dancetomusic.data.clip import ACCEPTED, clip_directories, load_clip, read_record
from dancetomusic.generate.folder import JOURNAL_FILE
from dancetomusic.io.audio import read_audio
from dancetomusic.io.video import probe_video
from tests.dance_factory import BUILD_OPTIONS, SMALL_TRAINING, small_copy

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
LONGEST_S = 900.0  # of a run that is let alone, on a machine that does much else
ORPHANS_S = 20.0
TRAINING = SMALL_TRAINING + "validate_every: 10\nmax_steps: 40\ndevice: cpu\n"

Tree = dict[str, str]


def tree(folder: Path) -> Tree:
    """The checksum of every file, hidden ones included; but for the lock, which stays empty.

    Lines of the journal of ``generate`` stand in the order in which workers finished: sorted here.
    """
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != ".lock":
            content = file.read_bytes()
            if file.name == JOURNAL_FILE:
                content = b"".join(sorted(content.splitlines(keepends=True)))
            found[file.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


@dataclass(frozen=True)
class Task:
    """A command that is killed.

    Attributes:
        name: For the report.
        loaded: Modules that its processes begin with, so that few are killed while they load.
        words: Its arguments, given the folder for what it writes.
        check: Raises where a file of that folder that can be seen is not whole; also given the
            files of a run that was never killed, and those of the last that finished.
        exact: Whether a run that was killed ends with the bytes of one that was not, but for
            ``inexact`` files.
        inexact: Files of which only the name is compared.
    """

    name: str
    loaded: tuple[str, ...]
    words: Callable[[Path], list[str]]
    check: Callable[[Path, Tree, Tree], None]
    exact: bool = True
    inexact: tuple[str, ...] = ()

    def compare(self, found: Tree, whole: Tree) -> list[str]:
        """In what a finished run differs from one that was never killed."""
        names = found.keys() ^ whole.keys()
        if self.exact:
            names |= {name for name in found.keys() & whole.keys() if found[name] != whole[name]}
        return sorted(
            name
            for name in names
            if name not in self.inexact or not (name in found and name in whole)
        )


def tasks(inputs: Path) -> list[Task]:
    """All of them, with small inputs."""
    videos = inputs / "videos"
    videos.mkdir()
    for number, clip in enumerate(("steps_128bpm", "bounce_104bpm")):
        small_copy(DEMO / f"{clip}.mp4", videos / f"{number}.mp4", seconds=4.1)
    (inputs / "train.yaml").write_text(TRAINING)
    return [
        Task(
            "build",
            ("dancetomusic.builder.pipeline", "dancetomusic.builder.batch", "mediapipe"),
            lambda out: ["build", "--input_folder", str(videos), "--output_path", str(out / "set"),
                         *BUILD_OPTIONS],
            _check_set,
        ),
        Task(
            "train",
            ("dancetomusic.models.pose_encoder.training",),
            lambda out: ["train", "--model", "pose_encoder", "--config",
                         str(inputs / "train.yaml"), "--output", str(out / "run")],
            _check_run,
            inexact=("run/resume.pt",),  # torch writes the temporary file's name into it
        ),
        Task(
            "generate",
            ("dancetomusic.generate.folder", "mediapipe"),
            lambda out: ["generate", str(videos), str(out / "music"), "--workers", "2",
                         "--suffix", ".wav", "--suffix", ".mp4", "--suffix", ".mid"],
            _check_music,
        ),
        Task(
            "live",
            ("dancetomusic.live.engine", "dancetomusic.live.perform", "mediapipe"),
            lambda out: ["live", "--video", str(videos / "0.mp4"), "--seconds", "2",
                         "--record", str(out / "take.mp4"), "--output", str(out / "take.wav")],
            _check_take,
            exact=False,
        ),
    ]  # fmt: skip


def _check_set(out: Path, _whole: Tree, _before: Tree) -> None:
    for directory in clip_directories(out / "set"):
        if read_record(directory).status == ACCEPTED:
            load_clip(directory, verify=True)


def _check_run(out: Path, _whole: Tree, _before: Tree) -> None:
    import torch

    run = out / "run"
    if (run / "log.jsonl").exists():
        for line in (run / "log.jsonl").read_text().splitlines():
            json.loads(line)
    if (run / "resume.pt").exists():
        torch.load(run / "resume.pt", weights_only=True)
    if (run / CONFIG_FILE).exists():
        load_checkpoint(run, model="pose_encoder")


def _check_music(out: Path, whole: Tree, _before: Tree) -> None:
    for name, digest in tree(out).items():
        path = Path(name)
        if not path.name.startswith(".") and path.suffix != ".csv":
            assert digest == whole[name], f"{name} is not as it should be"


def _check_take(out: Path, _whole: Tree, before: Tree) -> None:
    now = {name: digest for name, digest in tree(out).items() if not name.startswith(".")}
    assert now.keys() >= before.keys(), "a take is lost"
    for name, digest in now.items():
        if before.get(name) != digest:  # the run that was killed had written it already
            _check_playable(out / name)


def _check_playable(path: Path) -> None:
    sound = read_audio(path)
    assert sound is not None and sound.duration_s > 1.0, f"{path.name} has no sound"
    if path.suffix == ".mp4":
        info = probe_video(path)
        assert not info.truncated and info.duration_s > 1.0, f"{path.name} is cut short"


def _run(words: list[str], folder: Path) -> None:
    """In a process of its own: the command, in a session of its own."""
    os.setsid()
    multiprocessing.set_start_method(None, force=True)  # the usual one, as in a process of its own
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder / "tmp")
    printed = os.open(folder / "printed", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    run_command(words)


def _session(leader: int) -> list[str]:
    """The command lines of all processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if fields[0] != "Z" and int(fields[3]) == leader:
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


@dataclass
class Attack:
    """One command's runs, and what came of them.

    Attributes:
        task: The command.
        folder: Where it writes.
        chance: When it is killed, and how.
        counts: Kills and finished runs.
        findings: What was not as it should be.
    """

    task: Task
    folder: Path
    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    usual_s: float = 0.0

    def run(self, context: ForkServerContext, n_kills: int) -> None:
        """Kill it so often, and let it finish in between."""
        self._context = context
        self.out = self.folder / "out"
        (self.folder / "tmp").mkdir(parents=True)
        self._begin_anew()
        begun_s = time.monotonic()
        self._finish()
        self.usual_s = time.monotonic() - begun_s
        self.whole = self.before = tree(self.out)
        while self.counts["kills"] < n_kills and len(self.findings) < 10:
            if self.task.exact:
                self._begin_anew()
            for _ in range(self.chance.choice((1, 1, 2, 3, 4))):
                if self._kill():
                    break
            self._finish()
            found = tree(self.out)
            if changed := self.task.compare(found, self.whole):
                self._find(f"after the kills these are not as without: {changed}")
                for name in found.keys() - self.whole.keys():
                    (self.out / name).unlink()
            self.before = tree(self.out)
            self._look_at_temporary_files()

    def _begin_anew(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        self.before: Tree = {}

    def _start(self) -> ForkServerProcess:
        process = self._context.Process(
            target=_run, args=(self.task.words(self.out), self.folder), daemon=False
        )
        process.start()
        return process

    def _kill(self) -> bool:
        """Begin it and kill it; whether it had finished before."""
        process = self._start()
        after_s = self.chance.uniform(0.05, 1.05 * self.usual_s)
        process.join(after_s)
        if process.exitcode is not None:
            if process.exitcode:
                self._find(f"exit {process.exitcode}: {self._printed()}")
            return True
        assert process.pid is not None
        together = self.chance.random() < 0.5
        if together:
            with suppress(ProcessLookupError):  # it leads no session yet
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
        self.counts["kills"] += 1
        print(f"{self.task.name}: kill {self.counts['kills']} at {after_s:.2f} s", flush=True)
        self.counts["with workers"] += together
        deadline_s = time.monotonic() + ORPHANS_S
        while (left := _session(process.pid)) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        if left:
            self._find(f"still there {ORPHANS_S:.0f} s after the kill: {left}")
            os.killpg(process.pid, signal.SIGKILL)
        try:
            self.task.check(self.out, self.whole, self.before)
        except Exception as error:
            self._find(f"killed after {after_s:.2f} s: {type(error).__name__}: {error}")
        return False

    def _finish(self) -> None:
        process = self._start()
        process.join(LONGEST_S)
        if process.exitcode != 0:
            self._find(f"a run that is let alone: exit {process.exitcode}: {self._printed()}")
            process.kill()
            process.join()
        self.counts["finished"] += 1

    def _look_at_temporary_files(self) -> None:
        left = tree(self.folder / "tmp")
        self.counts["left in the temporary folder"] += len(left)
        shutil.rmtree(self.folder / "tmp")
        (self.folder / "tmp").mkdir()

    def _printed(self) -> str:
        return (self.folder / "printed").read_text(errors="replace").strip()[-2000:]

    def _find(self, what: str) -> None:
        self.findings.append(f"{self.task.name}: {what}")
        print(self.findings[-1], file=sys.stderr, flush=True)


def main() -> None:
    """Print what came of the kills; exit 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="of all commands together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="one of the commands")
    arguments = parser.parse_args()
    context = multiprocessing.get_context("forkserver")
    found = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = [task for task in tasks(folder) if arguments.only in ("", task.name)]
        modules = {module for task in chosen for module in task.loaded}
        context.set_forkserver_preload(["dancetomusic.cli", *sorted(modules)])
        for task in chosen:
            attack = Attack(
                task, folder / task.name, random.Random(f"{arguments.seed} {task.name}")
            )
            attack.run(context, -(-arguments.kills // len(chosen)))
            counts = ", ".join(f"{count} {name}" for name, count in attack.counts.items())
            print(f"{task.name} ({attack.usual_s:.1f} s): {counts}", flush=True)
            found |= bool(attack.findings)
    sys.exit(found)


if __name__ == "__main__":
    main()
