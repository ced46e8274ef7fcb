"""Music for a folder: all of it, whatever single videos are like."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import av
import numpy as np
import pytest
import soundfile

from dancetomusic.errors import CheckpointError, InputError, OutputError
from dancetomusic.generate.folder import (
    FAILED,
    JOURNAL_FILE,
    MADE,
    REPORT_FILE,
    SKIPPED,
    generate_folder,
)
from dancetomusic.io.folder import find_videos
from dancetomusic.io.lock import exclusive
from dancetomusic.parallel import open_engine
from dancetomusic.released import released_checkpoints
from tests.video_factory import cut_short, write_sound, write_video

pytestmark = pytest.mark.skipif(
    not {"codec", "pose2audio"} <= set(released_checkpoints()), reason="no released weights"
)
LENGTH_S = 2.0
OPTIONS = {"seed": 3}


@pytest.fixture(scope="module")
def dances(demo_dir, tmp_path_factory):
    """Two dances, and files that are none."""
    folder = tmp_path_factory.mktemp("dances")
    cut_short(demo_dir / "bounce_104bpm.mp4", folder / "one" / "bounce, é.mp4", LENGTH_S)
    cut_short(demo_dir / "steps_128bpm.mp4", folder / "steps.mp4", LENGTH_S)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "-rf;x\n.mp4").write_text("no video\n" * 100)
    (folder / "notes.txt").write_text("not looked at")
    (folder / "._steps.mp4").write_bytes(b"left by another system")
    write_sound(folder / "sound.mp4", np.zeros(48_000, np.float32))
    write_video(folder / "nobody.mp4", n_frames=30)
    return folder


@pytest.fixture(scope="module")
def made(dances, tmp_path_factory):
    """What a pool of processes makes of them."""
    output = tmp_path_factory.mktemp("made") / "new" / "folder"
    seen = []
    with open_engine("processes", workers=2) as engine:
        results = generate_folder(
            dances,
            output,
            engine,
            options=OPTIONS,
            on_finished=lambda result, total: seen.append((result, total)),
        )
    return output, results, seen


def sounds(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.wav")}


def report(folder):
    with (folder / REPORT_FILE).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.slow
def test_each_dance_has_music_and_each_other_file_a_reason(made):
    output, results, seen = made
    assert set(sounds(output)) == {"one/bounce, é.wav", "steps.wav"}
    assert soundfile.info(output / "steps.wav").duration == pytest.approx(LENGTH_S, abs=0.1)
    assert [r.video for r in results] == sorted(r.video for r in results)
    assert sorted(seen, key=lambda s: s[0].video) == [(r, len(results)) for r in results]
    rows = {row["video"]: row for row in report(output)}
    assert list(rows) == [r.video for r in results]
    reasons = {
        "empty.mp4": "empty",
        "-rf;x\n.mp4": "not a video",
        "sound.mp4": "no video",
        "nobody.mp4": "no person",
    }
    assert set(rows) == set(reasons) | {"one/bounce, é.mp4", "steps.mp4"}
    for name, words in reasons.items():
        assert rows[name]["status"] == FAILED
        assert words in rows[name]["reason"]
        assert len(rows[name]["reason"].splitlines()) == 1
    assert rows["steps.mp4"]["status"] == MADE
    assert float(rows["steps.mp4"]["bpm"]) > 40
    assert float(rows["steps.mp4"]["duration_s"]) == pytest.approx(LENGTH_S, abs=0.1)


@pytest.mark.slow
def test_one_by_one_gives_the_same_bytes(made, dances, tmp_path):
    output, _, _ = made
    with open_engine("serial") as engine:
        generate_folder(dances, tmp_path / "out", engine, options=OPTIONS)
    assert sounds(tmp_path / "out") == sounds(output)
    assert (tmp_path / "out" / REPORT_FILE).read_bytes() == (output / REPORT_FILE).read_bytes()


@pytest.mark.slow
def test_what_is_made_is_left_alone_until_something_changes(made, dances, tmp_path):
    folder, output = tmp_path / "in", tmp_path / "out"
    shutil.copytree(dances, folder)
    shutil.copytree(made[0], output)

    def states(**options):
        with open_engine("serial") as engine:
            results = generate_folder(folder, output, engine, options=options)
        return {r.video: r.status for r in results if r.status != FAILED}

    bounce, steps = "one/bounce, é.mp4", "steps.mp4"
    assert states(**OPTIONS) == {bounce: SKIPPED, steps: SKIPPED}
    assert (output / REPORT_FILE).read_bytes() == (made[0] / REPORT_FILE).read_bytes()
    (output / "steps.wav").unlink()
    with (output / JOURNAL_FILE).open("a") as journal:
        journal.write('{"output": "steps.wa')  # the power failed
    assert states(**OPTIONS) == {bounce: SKIPPED, steps: MADE}
    os.utime(folder / steps)
    assert states(**OPTIONS) == {bounce: SKIPPED, steps: MADE}
    assert sounds(output) == sounds(made[0])
    assert states(seed=4) == {bounce: MADE, steps: MADE}
    assert set(sounds(output)) == set(sounds(made[0]))
    assert sounds(output)["steps.wav"] != sounds(made[0])["steps.wav"]
    entries = [json.loads(line) for line in (output / JOURNAL_FILE).read_text().splitlines()]
    assert all(not os.path.isabs(entry["output"]) for entry in entries)


@pytest.mark.slow
def test_videos_of_one_stem_keep_their_suffixes_and_outputs_are_no_inputs(demo_dir, tmp_path):
    cut_short(demo_dir / "steps_128bpm.mp4", tmp_path / "a.mp4", 1.2)
    cut_short(demo_dir / "bounce_104bpm.mp4", tmp_path / "a.mov", 1.2)
    cut_short(demo_dir / "bounce_104bpm.mp4", tmp_path / "B.mkv", 1.2)
    output = tmp_path / "music"
    for expected in (MADE, SKIPPED):
        with open_engine("serial") as engine:
            results = generate_folder(tmp_path, output, engine, suffixes=(".wav", ".mp4"))
        assert [(r.video, r.status) for r in results] == [
            ("B.mkv", expected),
            ("a.mov", expected),
            ("a.mp4", expected),
        ]
    assert {p.name for p in output.iterdir() if not p.name.startswith(".")} == {
        *("B.wav", "B.mp4", "a.mov.wav", "a.mov.mp4", "a.mp4.wav", "a.mp4.mp4", REPORT_FILE),
    }
    with av.open(str(output / "a.mov.mp4")) as video:
        assert len(video.streams.audio) == 1


def test_folders_and_options_that_cannot_be_are_one_line(dances, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with open_engine("serial") as engine:
        for source, output, error, words in (
            (tmp_path / "absent", tmp_path / "out", InputError, "not a folder"),
            (empty, tmp_path / "out", InputError, "no videos"),
            (dances, dances, InputError, "output folder"),
            (dances / "one", dances, InputError, "output folder"),
            (dances, dances / "notes.txt", OutputError, "cannot make"),
        ):
            with pytest.raises(error, match=words) as caught:
                generate_folder(source, output, engine)
            assert len(str(caught.value).splitlines()) == 1
        with pytest.raises(OutputError, match="suffix"):
            generate_folder(dances, tmp_path / "out", engine, suffixes=(".aiff",))
        with pytest.raises(CheckpointError):
            generate_folder(dances, tmp_path / "out", engine, checkpoint="absent")
        with exclusive(tmp_path / "out"), pytest.raises(OutputError, match="another process"):
            generate_folder(dances, tmp_path / "out", engine)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[3])
from dancetomusic.generate.folder import generate_folder
from dancetomusic.parallel import open_engine
with open_engine("processes", workers=1) as engine:
    generate_folder(
        sys.argv[1], sys.argv[2], engine, options={"seed": 3},
        on_finished=lambda result, total: print(result.video, result.status, flush=True),
    )
"""


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_an_interrupt_or_a_kill_loses_nothing_that_was_finished(demo_dir, tmp_path, repository):
    folder, output = tmp_path / "in", tmp_path / "out"
    names = [f"{n}.mp4" for n in range(4)]
    for name in names:
        cut_short(demo_dir / "steps_128bpm.mp4", folder / name, 1.2)

    def finished():
        return sorted(p.name for p in output.glob("*.wav"))

    interrupted = start(folder, output, repository)
    interrupted.stdout.readline()
    time.sleep(0.1)
    interrupted.send_signal(signal.SIGINT)
    errors = interrupted.communicate(timeout=60)[1]
    assert errors.strip().splitlines()[-1] == "KeyboardInterrupt"
    after_interrupt = finished()
    assert 1 < len(after_interrupt) < 4
    assert [row["video"] for row in report(output)] == [
        name.replace(".wav", ".mp4") for name in after_interrupt
    ]

    killed = start(folder, output, repository)
    for _ in after_interrupt:
        assert killed.stdout.readline().split()[1] == SKIPPED
    killed.kill()
    killed.communicate()

    last = start(folder, output, repository)
    printed = last.communicate(timeout=120)[0]
    assert last.returncode == 0
    assert printed.count(SKIPPED) >= len(after_interrupt)
    assert finished() == [f"{n}.wav" for n in range(4)]
    assert len(set(sounds(output).values())) == 1
    hidden = {p.name for p in output.iterdir() if p.name.startswith(".")}
    assert hidden <= {".lock", JOURNAL_FILE}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_ends_cleanly_in_the_midst_of_a_folder(demo_dir, tmp_path, number, code):
    folder, output = tmp_path / "in", tmp_path / "out"
    for name in ("0.mp4", "1.mp4", "2.mp4", "3.mp4"):
        cut_short(demo_dir / "steps_128bpm.mp4", folder / name, 1.2)
    command = [sys.executable, "-m", "dancetomusic.cli", "generate", str(folder), str(output)]
    process = subprocess.Popen(
        [*command, "--workers", "1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list(output.glob("*.wav")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert errors.splitlines()[-1].endswith("what was finished before is kept")
    assert "Traceback" not in errors
    made = sorted(file.stem for file in output.glob("*.wav"))
    assert 1 <= len(made) < 4
    assert [row["video"] for row in report(output)] == [f"{stem}.mp4" for stem in made]
    hidden = {file.name for file in output.iterdir() if file.name.startswith(".")}
    assert hidden <= {".lock", JOURNAL_FILE}


def found_in(folder, **options):
    return [p.relative_to(folder).as_posix() for p in find_videos(folder, **options)]


def test_videos_are_found_in_order_without_hidden_ones(tmp_path):
    inside = tmp_path / "in"
    for name in ("b/2.MP4", "b/1.mov", "a.webm", ".hidden/3.mp4", ".4.mp4", "5.txt", "out/6.mp4"):
        (inside / name).parent.mkdir(parents=True, exist_ok=True)
        (inside / name).touch()
    (inside / "made.mp4").symlink_to(inside / "out" / "6.mp4")
    (inside / "made").symlink_to(inside / "out")
    assert found_in(inside, leave_out=inside / "out") == ["a.webm", "b/1.mov", "b/2.MP4"]


def test_links_to_videos_and_folders_are_followed(tmp_path, caplog):
    """The cache of a hub holds files without suffix, and links to them with a name."""
    snapshot, elsewhere = tmp_path / "snapshots" / "main", tmp_path / "elsewhere"
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "3fa9").touch()
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "deep" / "w.mkv").touch()
    snapshot.mkdir(parents=True)
    (snapshot / "dance.mp4").symlink_to("../../blobs/3fa9")
    (snapshot / "more").symlink_to(elsewhere)
    assert found_in(snapshot) == ["dance.mp4", "more/deep/w.mkv"]
    (tmp_path / "link").symlink_to(snapshot)
    assert found_in(tmp_path / "link") == ["dance.mp4", "more/deep/w.mkv"]
    assert not caplog.records


def test_no_video_is_found_twice_and_no_circle_is_walked(tmp_path, caplog):
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for name in (root / "z" / "real.mp4", elsewhere / "far.mp4"):
        name.parent.mkdir(parents=True)
        name.touch()
    (root / "a.mp4").symlink_to(root / "z" / "real.mp4")  # what has a name of its own keeps it
    (root / "a").symlink_to(root / "z")
    (root / "loop").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    (root / "self.mp4").symlink_to(root / "self.mp4")
    (root / "gone.mp4").symlink_to(tmp_path / "gone.mp4")
    (elsewhere / "back").symlink_to(root)
    (root / "b").symlink_to(elsewhere)
    (root / "c").symlink_to(elsewhere)
    (root / "d.mp4").symlink_to(elsewhere / "far.mp4")
    assert found_in(root) == ["b/far.mp4", "z/real.mp4"]
    (record,) = caplog.records
    assert "2 lead nowhere" in record.getMessage()
    assert "3 lead to a folder around them" in record.getMessage()
    assert "4 lead to what is found elsewhere" in record.getMessage()
