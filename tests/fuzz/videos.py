"""Mutated videos into the reading layer, and a sample of them through the whole command.

    python -m tests.fuzz.videos --cases 500 --commands 25 --seed 1

Each case is a small video with one to four of: bits flipped, the end cut off, two boxes or pages
swapped, a range zeroed, a number in the header made extreme, the head of another file spliced in.
A worker reads it as the package does, within limited address space, and puts new sound on it. A
finding is anything but "used" or a one-line refusal: another exception, a crash, more than
``HANGS_S`` seconds of processor time (or ten times as long in all), more than ``MEMORY_MB`` of
memory. The file of a finding is kept.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import av
import numpy as np

from dancetomusic.errors import DanceToMusicError
from dancetomusic.io.audio import read_audio
from dancetomusic.io.mux import VIDEO_SUFFIXES, mux
from dancetomusic.io.video import key_times, probe_video, read_frames
from dancetomusic.types import Waveform
from tests.video_factory import clicks, write_video

HANGS_S = 60.0
MEMORY_MB = 1500
ADDRESS_SPACE_MB = 6000  # of what threads and libraries reserve, most is never touched
REPOSITORY = Path(__file__).resolve().parents[2]
REAL = REPOSITORY.parent / "shared" / "data" / "videos"
SIGNATURES = (  # of the parts that containers are made of
    b"moov mvhd trak tkhd edts elst mdia mdhd hdlr minf stbl stsd stts ctts stss stsc stsz stco "
    b"mdat moof traf tfhd trun avc1 avcC esds LIST hdrl strh strf movi idx1 00dc 01wb".split()
)
MATROSKA = (
    b"\x18\x53\x80\x67",  # segment
    b"\x15\x49\xa9\x66",  # its info
    b"\x44\x89",  # its duration
    b"\x16\x54\xae\x6b",  # tracks
    b"\x1f\x43\xb6\x75",  # cluster
    b"\xe7",  # its time
    b"\xa3",  # block
    b"\x1c\x53\xbb\x6b",  # cues
)
EDGES = (b"\0", b"\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1")

Outcome = Literal["used", "refused", "finding"]


@dataclass(frozen=True)
class Case:
    """A mutated video.

    Attributes:
        number: Of the case; with the seed it decides all that follows.
        path: The file.
        story: Its seed and its mutations, for a person.
    """

    number: int
    path: Path
    story: str


def seed_videos(folder: Path) -> list[Path]:
    """Small videos of each container, rendered; with real ones beside the checkout, those too."""
    sound = clicks([0.2, 0.7, 1.2], 1.5)
    kinds: dict[str, dict[str, str]] = {
        "a.mp4": {},
        "b.mov": {"codec": "libx265"},
        "c.mkv": {"sound_codec": "libopus"},
        "d.webm": {"codec": "libvpx-vp9", "sound_codec": "libopus"},
        "e.avi": {"codec": "mpeg4", "sound_codec": "libmp3lame"},
        "f.mp4": {"codec": "libsvtav1"},
        "g.ts": {},
    }
    made = [
        write_video(folder / name, n_frames=36, sound=sound, **options)  # type: ignore[arg-type]
        for name, options in kinds.items()
    ]
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    made.append(write_video(folder / "h.mp4", n_frames=36, container_options=fragments))
    demo = REPOSITORY / "data" / "demo" / "steps_128bpm.mp4"
    for source in [demo, *sorted(REAL.glob("*.mp4"))[:4]]:
        for suffix in (".mp4", ".mov", ".mkv"):
            made.append(_remuxed(source, folder / f"{source.stem[:12]}{suffix}", 1.5))
    return made


def _remuxed(source: Path, target: Path, length_s: float) -> Path:
    """The first seconds of a video in another container, with its sound."""
    with av.open(str(source)) as whole, av.open(str(target), "w") as cut:
        tracks = {
            stream.index: cut.add_stream_from_template(stream)
            for stream in whole.streams
            if stream.type in ("video", "audio")
        }
        for packet in whole.demux(*(whole.streams[index] for index in tracks)):
            if packet.dts is not None and packet.pts * packet.time_base < length_s:
                packet.stream = tracks[packet.stream_index]
                cut.mux(packet)
    return target


def mutate(content: bytes, other: bytes, chance: random.Random) -> tuple[bytes, str]:
    """One to four mutations; gives their names too."""
    data, names = bytearray(content), []
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        kind = chance.choice(MUTATIONS)
        names.append(kind.__name__.lstrip("_"))
        kind(data, other, chance)
    return bytes(data), "+".join(names)


def _place(data: bytes | bytearray, chance: random.Random) -> int:
    """Anywhere; as often near the head, the end, or the signature of a part."""
    where = chance.random()
    if where < 0.4 and (places := _parts(data)):
        return min(len(data) - 1, chance.choice(places) + chance.randrange(48))
    if where < 0.6:
        return chance.randrange(min(len(data), 512))
    if where < 0.7:
        return len(data) - 1 - chance.randrange(min(len(data), 4096))
    return chance.randrange(len(data))


def _parts(data: bytes | bytearray) -> list[int]:
    """Where signatures of parts are."""
    marks = MATROSKA if data[:4] == b"\x1aE\xdf\xa3" else SIGNATURES
    found = []
    for mark in marks:
        at = data.find(mark)
        for _ in range(4):
            if at < 0:
                break
            found.append(at)
            at = data.find(mark, at + 1)
    return sorted(found)


def _flip(data: bytearray, _other: bytes, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 4, 32))):
        if data:
            data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _truncate(data: bytearray, _other: bytes, chance: random.Random) -> None:
    del data[chance.randrange(1, max(2, len(data))) :]


def _zero(data: bytearray, _other: bytes, chance: random.Random) -> None:
    if data:
        at = _place(data, chance)
        end = min(len(data), at + chance.choice((4, 64, 4096)))
        data[at:end] = bytes(end - at)


def _extreme(data: bytearray, _other: bytes, chance: random.Random) -> None:
    """A number at, or near, the signature of a part."""
    if data:
        at, piece = _place(data, chance), chance.choice(EDGES)
        data[at : at + len(piece)] = piece


def _swap(data: bytearray, _other: bytes, chance: random.Random) -> None:
    """Two neighbouring parts; without signatures, any two ranges."""
    places = _parts(data)
    if len(places) < 3:
        places = sorted(chance.randrange(len(data) + 1) for _ in range(3))
    first = chance.randrange(len(places) - 2)
    a, b, c = places[first : first + 3]
    data[a:c] = data[b:c] + data[a:b]


def _splice(data: bytearray, other: bytes, chance: random.Random) -> None:
    """The head of another file, in place of this one's or before it."""
    length = chance.choice((16, 64, 1024, len(other) // 2))
    data[: chance.choice((0, length))] = other[:length]


MUTATIONS: tuple[Callable[[bytearray, bytes, random.Random], None], ...] = (
    _flip,
    _truncate,
    _zero,
    _extreme,
    _swap,
    _splice,
)


def cases(folder: Path, n_cases: int, seed: int) -> Iterator[Case]:
    """Mutated videos, written one by one."""
    seeds = seed_videos(folder)
    for number in range(n_cases):
        chance = random.Random(f"{seed} {number}")
        source, other = chance.sample(seeds, 2)
        content, story = mutate(source.read_bytes(), other.read_bytes(), chance)
        path = folder / f"case{number}{source.suffix}"
        path.write_bytes(content)
        yield Case(number, path, f"{source.name}: {story}")


def read(path: Path) -> None:
    """All that the package reads of a video, and its pictures with a new sound.

    Raises:
        DanceToMusicError: If it is refused.
    """
    info = probe_video(path)
    key_times(path)
    for _ in read_frames(path, max_side=160):
        pass
    for _ in read_frames(path, start_s=0.7 * min(info.duration_s, 9.0), n_frames=3):
        pass
    read_audio(path, 44_100, 2)
    suffix = path.suffix if path.suffix in VIDEO_SUFFIXES else ".mp4"
    target = path.with_name(f"muxed{suffix}")
    target.unlink(missing_ok=True)
    mux(path, Waveform(np.zeros((1, 44_100), np.float32), 44_100), target)


def _worker(requests: Connection) -> None:
    """Read each file that is named; answer with outcome, message and memory in MB."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    limit = ADDRESS_SPACE_MB * 10**6
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        path = requests.recv()
        outcome, said = "used", ""
        try:
            read(Path(path))
        except DanceToMusicError as error:
            outcome, said = "refused", str(error)
            if "\n" in said:
                outcome = "finding"
        except BaseException:
            outcome, said = "finding", traceback.format_exc()
        requests.send((outcome, said, _peak_mb()))


def _peak_mb() -> float:
    """Most memory that was resident; of ``getrusage`` that of the process that started this one
    would be part."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


class Reader:
    """A worker that is started again where a case has ended it."""

    def __init__(self) -> None:
        self._process: multiprocessing.process.BaseProcess | None = None
        self.most_mb = self.most_s = 0.0

    def read(self, path: Path) -> tuple[Outcome, str]:
        """What became of a file, and what was said of it."""
        if self._process is None:
            context = multiprocessing.get_context("spawn")
            self._link, theirs = context.Pipe()
            self._process = context.Process(target=_worker, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
            self._link.send("")  # waits for its imports
            self._link.recv()
        assert self._process.pid is not None
        begun_s, before_s = time.monotonic(), _processor_s(self._process.pid)
        self._link.send(str(path))
        try:
            while not self._link.poll(1.0):
                spent_s = _processor_s(self._process.pid) - before_s
                if spent_s > HANGS_S or time.monotonic() - begun_s > 10 * HANGS_S:
                    self.close()
                    return "finding", f"not done after {spent_s:.0f} s of processor time"
            outcome, said, used_mb = self._link.recv()
            self.most_s = max(self.most_s, _processor_s(self._process.pid) - before_s)
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self.close()
            return "finding", f"the process died with {code}"
        self.most_mb = max(self.most_mb, used_mb)
        if used_mb > MEMORY_MB:
            self.close()
            return "finding", f"{used_mb:.0f} MB were used"
        return outcome, said

    def close(self) -> None:
        """End the worker."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._link.close()
            self._process = None


def _processor_s(pid: int) -> float:
    """Processor time that a process has used, in seconds; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _limit_processor_time() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (round(HANGS_S), round(HANGS_S)))


def command(path: Path) -> tuple[Outcome, str]:
    """The whole ``generate`` command on a file: exit 0, or 2 with one line."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, f"out{path.suffix if path.suffix != '.ts' else '.mp4'}")
        arguments = [sys.executable, "-m", "dancetomusic.cli", "generate", str(path), str(output)]
        try:
            done = subprocess.run(
                arguments,
                capture_output=True,
                timeout=10 * HANGS_S,
                preexec_fn=_limit_processor_time,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
            )
        except subprocess.TimeoutExpired:
            return "finding", f"not done after {10 * HANGS_S:.0f} s"
        said = done.stderr.decode(errors="replace")
        left = sorted(file.name for file in Path(folder).iterdir())
    errors = [line for line in said.splitlines() if line.startswith("dancetomusic: error: ")]
    if done.returncode == 0 and left == [output.name]:
        return "used", said
    if done.returncode == 2 and len(errors) == 1 and not left and "Traceback" not in said:
        return "refused", said
    return "finding", f"exit {done.returncode}, files {left}\n{said}"


def attack(n_cases: int, seed: int, n_commands: int, keep: Path) -> tuple[Counter[str], list[str]]:
    """Run all cases; gives the outcomes and what was found."""
    outcomes: Counter[str] = Counter()
    findings: list[str] = []
    reader = Reader()
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder), n_cases, seed):
            tried: list[tuple[str, Callable[[Path], tuple[Outcome, str]]]] = [("read", reader.read)]
            if n_commands and case.number % max(1, n_cases // n_commands) == 0:
                tried.append(("generate", command))
            for name, attempt in tried:
                outcome, said = attempt(case.path)
                outcomes[f"{name}: {outcome}"] += 1
                if outcome == "finding":
                    keep.mkdir(parents=True, exist_ok=True)
                    kept = keep / case.path.name
                    kept.write_bytes(case.path.read_bytes())
                    findings.append(f"{name} {kept} ({case.story}): {said.strip()}")
                    print(findings[-1], file=sys.stderr, flush=True)
            case.path.unlink()
    reader.close()
    outcomes["read: most memory, MB"] = round(reader.most_mb)
    outcomes["read: most processor time, s"] = round(reader.most_s)
    return outcomes, findings


def main() -> None:
    """Print what became of the cases; exit 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--commands", type=int, default=25, help="of them through generate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("out/mutated"), help="for findings")
    arguments = parser.parse_args()
    outcomes, findings = attack(arguments.cases, arguments.seed, arguments.commands, arguments.keep)
    for name, count in sorted(outcomes.items()):
        print(f"{name} {count}")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
