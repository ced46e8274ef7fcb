import os
import signal
import stat
import threading

import pytest

from dancetomusic.errors import OutputError
from dancetomusic.io.atomic import atomic_output, make_directory


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_whole_when_the_block_ends(tmp_path):
    target = tmp_path / "out.wav"
    with atomic_output(target) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".wav"
        temporary.write_bytes(b"sound")
        assert not target.exists()
    assert target.read_bytes() == b"sound"
    assert names(tmp_path) == ["out.wav"]


def test_a_writer_that_replaces_the_temporary_file_works(tmp_path):
    target = tmp_path / "out.npz"
    with atomic_output(target) as temporary:
        temporary.unlink()
        temporary.write_bytes(b"new")
    assert target.read_bytes() == b"new"


def test_what_a_killed_writer_left_is_removed_and_what_others_write_is_not(tmp_path):
    target, users = tmp_path / "out.wav", tmp_path / ".out.20261130.wav"
    users.write_bytes(b"hidden")
    killed = os.fork()
    if not killed:
        with atomic_output(target):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(killed, 0)
    assert len(names(tmp_path)) == 2
    with atomic_output(target) as first, atomic_output(target) as second:
        assert names(tmp_path) == sorted([users.name, first.name, second.name])
        second.write_bytes(b"second")
        first.write_bytes(b"first")
    assert target.read_bytes() == b"first"
    assert names(tmp_path) == [users.name, target.name]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "out.wav"
    target.write_bytes(b"old")
    with pytest.raises(error), atomic_output(target) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["out.wav"]


def test_permissions_are_those_of_a_plain_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with atomic_output(tmp_path / "atomic") as temporary:
        temporary.write_bytes(b"")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")}
    assert len(modes) == 1


def test_a_missing_directory_and_a_directory_as_target_are_refused(tmp_path):
    with pytest.raises(OutputError, match="does not exist"), atomic_output(tmp_path / "a" / "b"):
        pytest.fail("the block must not run")
    with pytest.raises(OutputError, match="is a directory"), atomic_output(tmp_path):
        pytest.fail("the block must not run")


def test_a_full_disk_is_an_output_error(tmp_path):
    with (
        pytest.raises(OutputError, match="No space left"),
        atomic_output(tmp_path / "out") as temporary,
        open("/dev/full", "wb") as full,
    ):
        full.write(temporary.name.encode())
    assert names(tmp_path) == []


def test_a_symbolic_link_is_written_through(tmp_path):
    kept = tmp_path / "kept.wav"
    kept.write_text("old")
    link = tmp_path / "link.wav"
    link.symlink_to(kept)
    with atomic_output(link) as temporary:
        temporary.write_text("new")
    assert link.is_symlink() and kept.read_text() == "new"


def test_a_file_keeps_its_permissions(tmp_path):
    target = tmp_path / "shared.csv"
    target.write_text("old")
    target.chmod(0o664)
    with atomic_output(target) as temporary:
        temporary.write_text("new")
    assert target.stat().st_mode & 0o777 == 0o664


def test_a_pipe_gets_the_content_and_stays(tmp_path):
    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    with atomic_output(pipe) as temporary:
        temporary.write_bytes(b"music")
    reader.join(timeout=10)
    assert read == [b"music"] and pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_the_longest_legal_name_can_be_written(tmp_path):
    target = tmp_path / ("n" * 251 + ".wav")
    with atomic_output(target) as temporary:
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits a process of its own")
def test_a_full_disk_that_a_library_hides_is_an_output_error(tmp_path):
    import resource

    torch = pytest.importorskip("torch")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OutputError, match="File too large"), atomic_output(tmp_path / "a"):
            raise RuntimeError("a library's own words")  # before anything is written
        with pytest.raises(OutputError), atomic_output(tmp_path / "b") as temporary:
            torch.save(torch.zeros(10_000), temporary)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []
    with pytest.raises(RuntimeError), atomic_output(tmp_path / "c"):
        raise RuntimeError("a bug")


def test_a_directory_is_made_or_refused(tmp_path):
    assert make_directory(tmp_path / "a" / "b").is_dir()
    assert make_directory(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="is a file"):
        make_directory(tmp_path / "file")
    with pytest.raises(OutputError, match="cannot make"):
        make_directory(tmp_path / "file" / "below")
