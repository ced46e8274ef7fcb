"""Programs end within their limit, with all that they started, and their words are kept."""

import pickle
import sys
import time
from pathlib import Path

import pytest

from dancetomusic.io.process import ProgramError, run_program


def python(code, **options):
    return run_program([sys.executable, "-c", code], **options)


def test_what_it_prints_comes_back_in_order():
    code = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    assert python(code) == "out\nerr\n"


def test_it_runs_where_and_with_what_it_is_told(tmp_path):
    code = "import os; print(os.getcwd(), os.environ['A'])"
    printed = python(code, directory=tmp_path, environment={"A": "1"})
    assert printed.split() == [str(tmp_path), "1"]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("print('so'); print(); raise SystemExit(3)", "ended with exit code 3; its last line: so"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
    ],
)
def test_a_failure_is_one_line(code, problem):
    with pytest.raises(ProgramError, match=problem) as caught:
        python(code)
    assert len(str(caught.value).splitlines()) == 1
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.slow(2)
def test_at_the_limit_it_ends_with_what_it_started(tmp_path):
    note = tmp_path / "pid"
    code = (
        "import pathlib, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
        "time.sleep(600)"
    )
    with pytest.raises(ProgramError, match="did not end within 2 s"):
        python(code, timeout_s=2.0)
    end = time.monotonic() + 5.0
    stat = Path(f"/proc/{note.read_text()}/stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_program_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="absent"):
        run_program([tmp_path / "absent"])
