"""The whole builder on real videos: real poses, real codec, real processes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from pathlib import Path

import cv2
import numpy as np
import pytest

from dancetomusic.cli import main
from dancetomusic.data.clip import clip_directories, clip_directory, load_clip, read_record
from dancetomusic.data.clip_stream import ClipStream
from dancetomusic.data.manifest import open_manifest
from dancetomusic.io.audio import read_audio
from dancetomusic.io.video import read_frames
from tests import spleeter_double
from tests.dance_factory import BUILD_OPTIONS as OPTIONS
from tests.dance_factory import small_copy
from tests.video_factory import set_rotation, write_video

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "dancetomusic.cli", "build"]

Build = Callable[..., subprocess.CompletedProcess[str]]


def build_in_this_process(arguments: Sequence[object]) -> int:
    """Exit code of the command."""
    with pytest.raises(SystemExit) as end:
        main(["build", *map(str, arguments)])
    return int(end.value.code or 0)


@pytest.fixture
def run_here(capfd: pytest.CaptureFixture[str]) -> Build:
    """The command without a process of its own, for what is not about processes."""

    def run_it(*arguments: object) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        code = build_in_this_process(arguments)
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run_it


def tree(folder: Path) -> dict[str, str]:
    """Every file of a set with its checksum, but for the lock."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != ".lock"
    }


SERIAL = (*OPTIONS[:-2], "--engine", "serial")
LOADED = ["tests.integration.test_build", "dancetomusic.builder.batch", "mediapipe", "torch"]


@pytest.fixture(scope="module")
def few(folder: Path) -> Path:
    """One good video of two clips, for builds that are disturbed."""
    return folder / "-rf; .."


@pytest.fixture(scope="module")
def few_built(tmp_path_factory: pytest.TempPathFactory, few: Path) -> Path:
    output = tmp_path_factory.mktemp("few") / "set"
    assert not build_in_this_process(("--input_folder", few, "--output_path", output, *SERIAL))
    return output


def test_a_set_is_built_from_a_folder(built: Path) -> None:
    manifest = open_manifest(built)
    records = list(manifest.records())
    assert {record.status for record in records} == {"accepted", "refused", "failed"}
    accepted = [record for record in records if record.status == "accepted"]
    assert len(accepted) == 4
    assert manifest.require_one_codec().startswith("spectral:")
    for record in accepted:
        clip = load_clip(built / "clips" / record.key[:2] / record.key, verify=True)
        assert clip.poses.world.shape == (48, 33, 3)
        assert clip.codes.codes.shape == (2, 150)
        assert clip.stem.samples.shape == clip.mix.samples.shape == (1, 48_000)
        assert record.separator == "hpss" and record.separator_version
    off = [min(abs(r.bpm / bpm - 1) for bpm in (128, 64, 104, 208)) for r in accepted]
    assert np.median(off) < 0.04  # two seconds are little to count beats in
    by_source = {record.source: record for record in records}
    assert by_source["empty.mp4"].status == by_source["text.mp4"].status == "failed"
    assert "empty" in by_source["empty.mp4"].reason


def test_a_copy_of_a_clip_is_refused_with_the_clip_that_it_repeats(built: Path) -> None:
    records = {r.key: r for r in open_manifest(built).records()}
    repeated = [r for r in records.values() if r.reason.startswith("repeats clip")]
    assert len(repeated) == 2
    for record in repeated:
        first = records[record.reason.split()[-1]]
        assert {first.source, record.source} == {"again.mp4", "steps.mp4"}
        assert first.start_s == record.start_s


def test_one_source_is_in_one_split(built: Path) -> None:
    splits: dict[str, set[str]] = {}
    for record in open_manifest(built).records():
        splits.setdefault(record.source, set()).add(record.split)
    assert all(len(names) == 1 for names in splits.values())


def test_building_again_does_nothing_and_changes_nothing(
    built: Path, folder: Path, run_here: Build
) -> None:
    before = tree(built)
    times = {file: file.stat().st_mtime_ns for file in built.rglob("clip.json")}
    result = run_here("--input_folder", folder, "--output_path", built, *OPTIONS, "--json")
    assert result.returncode == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert events[-1]["event"] == "summary" and events[-1]["clips"] == {}
    assert tree(built) == before
    assert times == {file: file.stat().st_mtime_ns for file in built.rglob("clip.json")}


def test_other_settings_on_the_same_set_are_refused(
    built: Path, folder: Path, run_here: Build
) -> None:
    options = ("--max_seq_len", "3", "--separator", "hpss")
    result = run_here("--input_folder", folder, "--output_path", built, *options)
    assert result.returncode == 2
    assert "max_seq_len 2.0, not 3.0" in result.stderr
    assert result.stderr.count("\n") == 1


def test_one_process_makes_the_same_bytes(
    built: Path, folder: Path, tmp_path: Path, run_here: Build
) -> None:
    output = tmp_path / "set"
    result = run_here("--input_folder", folder, "--output_path", output, *SERIAL)
    assert result.returncode == 0, result.stderr
    assert tree(output) == tree(built)


def test_a_moved_gate_decides_again_without_new_poses(
    few: Path, tmp_path: Path, run_here: Build
) -> None:
    output = tmp_path / "set"
    arguments = ("--input_folder", few, "--output_path", output, *SERIAL)
    strict = run_here(*arguments, "--gate", "min_range_m=9")
    assert strict.returncode == 2 and "no clip that was accepted" in strict.stderr
    assert {record.status for record in open_manifest(output).records()} == {"refused"}
    usual = run_here(*arguments)
    assert usual.returncode == 0, usual.stderr
    assert [record.status for record in open_manifest(output).records()] == ["accepted"] * 2


def test_a_dry_run_writes_nothing(folder: Path, tmp_path: Path, run_here: Build) -> None:
    result = run_here("--input_folder", folder, "--output_path", tmp_path / "set", "--dry_run")
    assert result.returncode == 0, result.stderr
    assert "6 of 6 sections to do" in result.stdout
    assert not (tmp_path / "set").exists()


def test_two_builders_on_one_set(few: Path, tmp_path: Path, run_here: Build) -> None:
    output = tmp_path / "set"
    output.mkdir()
    arguments = ["--input_folder", str(few), "--output_path", str(output), *SERIAL]
    first = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL)
    try:
        wait_for(output, ".work/clips/*/mix.flac")
        first.send_signal(signal.SIGSTOP)  # in the midst of its work for as long as it takes
        second = run_here(*arguments)
        assert second.returncode == 2
        assert f"process {first.pid}" in second.stderr and second.stderr.count("\n") == 1
    finally:
        first.kill()
        first.wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_finishes_the_clips_in_hand(
    few: Path, tmp_path: Path, number: int, code: int
) -> None:
    output = tmp_path / "set"
    arguments = ["--input_folder", str(few), "--output_path", str(output), *OPTIONS]
    builder = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(output, ".work/clips/*/mix.flac")
    builder.send_signal(number)
    _, errors = builder.communicate(timeout=60)
    assert builder.returncode == code, errors
    assert "Traceback" not in errors and errors.count("is kept\n") == 1
    hidden = [file.name for file in output.rglob(".*") if file.is_file()]
    assert not [name for name in hidden if name != ".lock"]
    for directory in clip_directories(output):
        read_record(directory)
    assert build_in_this_process([*arguments[:4], *SERIAL]) == 0


@pytest.fixture
def forks() -> Iterator[ForkServerContext]:
    """Processes that begin with everything loaded; none is left."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    yield context
    forkserver._forkserver._stop()
    resource_tracker._resource_tracker._stop()


def build_in_a_session(arguments: Sequence[str]) -> None:
    os.setsid()
    main(["build", *arguments])


def test_twenty_kills_leave_the_set_of_an_uninterrupted_build(
    few_built: Path, few: Path, tmp_path: Path, forks: ForkServerContext
) -> None:
    """Killed at random moments, workers included, and begun again until it is done.

    Builders are forks of a process that has loaded everything, so that few are killed while they
    load. Every fourth has workers.
    """
    output = tmp_path / "set"
    arguments = ["--input_folder", str(few), "--output_path", str(output)]
    chance = random.Random(1)
    kills = 0
    while kills < 20:
        options, longest_s = (SERIAL, 2.0) if kills % 4 else (OPTIONS, 5.0)
        builder = forks.Process(target=build_in_a_session, args=([*arguments, *options],))
        builder.start()
        builder.join(chance.uniform(0.2, longest_s))
        if builder.exitcode is None:
            kills += 1
            if chance.random() < 0.5:
                with suppress(ProcessLookupError):  # it leads no group yet
                    os.killpg(builder.pid, signal.SIGKILL)
            builder.kill()
            builder.join()
        else:  # done before it could be killed: take a clip away again
            for directory in list(clip_directories(output))[:1]:
                for file in directory.iterdir():
                    file.unlink()
                directory.rmdir()
        for directory in clip_directories(output):
            read_record(directory)
    assert build_in_this_process([*arguments, *SERIAL]) == 0
    assert tree(output) == tree(few_built)
    assert not [line for line in processes() if str(output) in line]


def test_the_set_can_be_trained_on_packed_or_not(built: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(["pack", str(built), str(tmp_path / "shards")])
    assert not end.value.code
    for root in (built, tmp_path / "shards"):
        keys = {clip.record.key for clip in ClipStream(root, split="train")}
        assert keys == {
            record.key for record in open_manifest(built).records(split="train", status="accepted")
        }


def test_a_full_disk_is_one_line(folder: Path, tmp_path: Path) -> None:
    """A limit on file sizes stands for the disk: every write beyond it fails."""
    limited = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "from dancetomusic.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    arguments = ["--input_folder", folder, "--output_path", tmp_path / "set", *OPTIONS]
    result = subprocess.run(
        [sys.executable, "-c", limited, "build", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 2, result.stderr
    assert "Free some disk space" in result.stderr and "Traceback" not in result.stderr
    statuses = {read_record(clip).status for clip in clip_directories(tmp_path / "set")}
    assert statuses <= {"failed"}  # of the videos that are none


def test_a_read_only_output_is_one_line(folder: Path, run_here: Build) -> None:
    result = run_here("--input_folder", folder, "--output_path", "/proc/set", *OPTIONS)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and "Choose another output path" in result.stderr


def wait_for(folder: Path, pattern: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not list(folder.glob(pattern)):
        assert time.monotonic() < deadline, f"{pattern} did not appear"
        time.sleep(0.02)


def processes() -> list[str]:
    """Command lines of all processes."""
    lines = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except (OSError, UnicodeDecodeError):
            continue
    return lines


def test_a_killed_worker_costs_nothing(few_built: Path, few: Path, tmp_path: Path) -> None:
    output = tmp_path / "set"
    arguments = ["--input_folder", str(few), "--output_path", str(output), *OPTIONS]
    builder = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.DEVNULL)
    wait_for(output, ".work/clips/*/mix.flac")
    workers = children(builder.pid)
    assert workers
    os.kill(workers[0], signal.SIGKILL)
    assert builder.wait(timeout=120) == 0
    assert tree(output) == tree(few_built)


def test_spleeter_is_run_once_for_many_clips(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_here: Build
) -> None:
    log = tmp_path / "runs"
    monkeypatch.setenv("DANCETOMUSIC_SPLEETER", str(spleeter_double.install(tmp_path)))
    monkeypatch.setenv("DANCETOMUSIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SPLEETER_DOUBLE_LOG", str(log))
    arguments = ("--input_folder", folder, "--max_seq_len", "2", "--engine", "serial")
    result = run_here(*arguments, "--output_path", tmp_path / "set", "--separator", "auto")
    assert result.returncode == 0, result.stderr
    accepted = list(open_manifest(tmp_path / "set").records(status="accepted"))
    assert len(accepted) == 4
    assert {record.separator for record in accepted} == {"spleeter"}
    assert all(len(record.separator_weights) == 64 for record in accepted)
    separations = [line for line in log.read_text().splitlines() if "separate" in line]
    assert len(separations) <= 3  # the trial, and the six clips together

    monkeypatch.setenv("SPLEETER_DOUBLE", "offline")
    monkeypatch.setenv("DANCETOMUSIC_CACHE", str(tmp_path / "other_cache"))
    result = run_here(*arguments, "--output_path", tmp_path / "other", "--separator", "spleeter")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1 and "spleeter" in result.stderr.lower()


def test_odd_videos_become_clips_or_say_why_not(
    tmp_path: Path, demo_dir: Path, run_here: Build
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    usual = small_copy(demo_dir / "steps_128bpm.mp4", folder / "usual.mp4", seconds=1.2)
    frames = list(read_frames(usual))
    sound = read_audio(usual)
    assert sound is not None
    write_video(
        folder / "mute.mp4",
        n_frames=len(frames),
        size=frames[0].shape[1::-1],
        picture=lambda k: frames[k],
    )
    options = {"sound": sound.samples[0], "sound_rate": 24_000, "n_frames": len(frames)}
    turned = [np.rot90(frame).copy() for frame in frames]
    set_rotation(
        write_video(
            folder / "turned.mp4",
            size=turned[0].shape[1::-1],
            picture=lambda k: turned[k],
            **options,
        ),
        90,
    )
    times = [Fraction(k, 24) + Fraction(k % 3, 150) for k in range(len(frames))]
    write_video(
        folder / "uneven.mkv",
        times=times,
        size=frames[0].shape[1::-1],
        picture=lambda k: frames[k],
        **options,
    )
    large = cv2.resize(frames[0], (3840, 3840 * frames[0].shape[0] // frames[0].shape[1] // 2 * 2))
    write_video(
        folder / "4k.mp4",
        size=large.shape[1::-1],
        picture=lambda k: cv2.resize(frames[k], large.shape[1::-1]),
        **options,
    )
    result = run_here(
        *("--input_folder", folder, "--output_path", tmp_path / "set", "--max_seq_len", "1"),
        *("--separator", "hpss", "--engine", "serial", "--gate", "max_hash_distance=-1"),
    )
    assert result.returncode == 0, result.stderr
    records = {record.source: record for record in open_manifest(tmp_path / "set").records()}
    assert records["mute.mp4"].reason == "no sound"
    shown = load_clip(clip_directory(tmp_path / "set", records["usual.mp4"].key)).poses
    for name in ("turned.mp4", "uneven.mkv", "4k.mp4"):
        assert records[name].status == "accepted", records[name].reason
        poses = load_clip(clip_directory(tmp_path / "set", records[name].key)).poses
        assert np.median(np.linalg.norm(poses.world - shown.world, axis=-1)) < 0.06, name


def children(process: int) -> list[int]:
    """Processes that this one has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent == process:
            found.append(int(folder.name))
    return found
