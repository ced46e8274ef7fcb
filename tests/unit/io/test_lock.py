"""Two processes never work on one directory."""

import os
import signal
import subprocess
import sys

import pytest

from dancetomusic.errors import OutputError
from dancetomusic.io.lock import LOCK_FILE, exclusive

HOLD = """
import sys, time
from dancetomusic.io.lock import exclusive
with exclusive(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path, repository):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, cwd=repository
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_another_process_is_refused_in_one_line_that_names_the_holder(tmp_path, holder):
    with (
        pytest.raises(OutputError, match=f"process {holder.pid} on ") as caught,
        exclusive(tmp_path),
    ):
        pass
    assert len(str(caught.value).splitlines()) == 1


def test_a_killed_holder_leaves_no_lock(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with exclusive(tmp_path):
        assert f"process {os.getpid()} " in (tmp_path / LOCK_FILE).read_text()
    assert (tmp_path / LOCK_FILE).read_bytes() == b""


def test_it_is_free_again_after_the_block_and_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path):
        raise ZeroDivisionError
    with exclusive(tmp_path), pytest.raises(OutputError), exclusive(tmp_path):
        pass


def test_a_directory_that_is_absent_is_one_line(tmp_path):
    with pytest.raises(OutputError, match="cannot write in"), exclusive(tmp_path / "absent"):
        pass
