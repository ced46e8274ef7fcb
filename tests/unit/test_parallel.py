"""Engines: what they promise holds when workers and parents die."""

import contextlib
import operator
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import as_completed
from contextlib import suppress
from pathlib import Path

import pytest

from dancetomusic.errors import DanceToMusicError, InputError, OutputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.parallel import (
    LOST_NODES,
    ONE_THREAD,
    TRIES,
    Engine,
    WorkerDied,
    _RayWorker,
    open_engine,
    perform,
    usable_cpus,
)

LOCAL = ("processes", "serial")


class Foreign(Exception):
    """Its pickle cannot be read."""

    def __init__(self, left, right):
        super().__init__(f"{left} and {right}")


def square(number):
    return number * number


def slow_square(number, seconds):
    time.sleep(seconds)
    return number * number


def die_until(folder, lives):
    """Die at each call until ``lives`` have been spent; files count the calls."""
    count = len(os.listdir(folder))
    Path(folder, str(count)).touch()
    if count < lives:
        os._exit(9)
    return count


def fail(kind):
    if kind == "user":
        raise OutputError("disk is full", "Free some space.")
    if kind == "foreign":
        raise Foreign("salt", "pepper")
    raise KeyError(kind)


def not_picklable():
    return threading.Lock()


def environment(*names):
    return [os.environ.get(name) for name in names]


def thread_counts():
    import cv2
    import torch

    return torch.get_num_threads(), cv2.getNumThreads()


def note_program(path, seconds):
    """Start a program and wait for it, as is done with separators."""
    program = subprocess.Popen(["sleep", str(seconds)])
    Path(path).write_text(f"{os.getpid()} {program.pid}")
    return program.wait()


def is_running(pid):
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def children():
    """Processes that were started in this test."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has just ended
            found.update(map(int, (task / "children").read_text().split()))
    return found - _from_before


_from_before = set()


@pytest.fixture(autouse=True)
def _new_children_only():
    """What other tests have left in this process, such as Python's resource tracker, is theirs."""
    _from_before.clear()
    _from_before.update(children())


@pytest.fixture(params=LOCAL)
def engine(request):
    with open_engine(request.param, workers=2) as opened:
        yield opened


def test_it_is_an_engine(engine):
    assert isinstance(engine, Engine)
    assert engine.workers in (1, 2)


@pytest.mark.slow(1)
def test_results_belong_to_their_tasks_in_whatever_order_they_come(engine):
    futures = {
        engine.submit(slow_square, n, 0.02 * (n % 3)): n for n in range(20)
    }  # fmt: skip
    assert all(future.result() == futures[future] ** 2 for future in as_completed(futures))


def test_errors_come_back_as_themselves(engine):
    user = engine.submit(fail, "user").exception()
    assert isinstance(user, OutputError)
    assert user.problem == "disk is full"
    assert str(user) == "disk is full. Free some space."
    other = engine.submit(fail, "beat").exception()
    assert isinstance(other, KeyError)
    assert other.args == ("beat",)
    assert "in fail" in "".join(other.__notes__)
    foreign = engine.submit(fail, "foreign").exception()
    assert isinstance(foreign, RuntimeError)
    assert "salt and pepper" in str(foreign)
    assert engine.submit(square, 3).result() == 9


def test_what_cannot_be_pickled_is_an_error_of_its_task(engine):
    assert isinstance(engine.submit(not_picklable).exception(), TypeError)
    with pytest.raises((TypeError, AttributeError)):
        engine.submit(square, threading.Lock())
    assert engine.submit(square, 3).result() == 9


@pytest.mark.slow
def test_workers_compute_in_one_thread(monkeypatch):
    for name in ONE_THREAD:
        monkeypatch.setenv(name, "3")
    with open_engine("processes", workers=1) as engine:
        assert engine.submit(environment, *ONE_THREAD).result() == ["1"] * len(ONE_THREAD)
        assert engine.submit(thread_counts).result() == (1, 1)


@pytest.mark.slow(1)
def test_a_task_whose_worker_dies_is_tried_once_more(tmp_path):
    with open_engine("processes", workers=2) as engine:
        others = [engine.submit(slow_square, n, 0.01) for n in range(20)]
        assert engine.submit(die_until, str(tmp_path), 1).result() == 1
        assert [other.result() for other in others] == [n * n for n in range(20)]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow(1)
def test_a_task_that_kills_every_worker_fails_and_the_others_go_on(tmp_path):
    with open_engine("processes", workers=2) as engine:
        deadly = engine.submit(die_until, str(tmp_path), 99)
        others = [engine.submit(slow_square, n, 0.01) for n in range(20)]
        with pytest.raises(WorkerDied, match="died twice, by exit code 9"):
            deadly.result()
        assert [other.result() for other in others] == [n * n for n in range(20)]
        exits = engine.submit(sys.exit, 3)
        assert isinstance(exits.exception(), WorkerDied)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow(1)
def test_an_idle_worker_that_is_killed_costs_no_try():
    with open_engine("processes", workers=1) as engine:
        for _ in range(3):
            os.kill(engine.submit(os.getpid).result(), signal.SIGKILL)
            assert wait_until(lambda: not any(map(is_running, children())))
            assert engine.submit(square, 3).result() == 9


def test_programs_of_a_worker_that_is_killed_end_with_it(tmp_path):
    note = tmp_path / "pids"
    with open_engine("processes", workers=1) as engine:
        task = engine.submit(note_program, str(note), 60)
        pids = []
        for _ in range(2):
            assert wait_until(lambda: note.exists() and len(note.read_text().split()) == 2)
            worker, program = map(int, note.read_text().split())
            note.unlink()
            pids.append(program)
            os.kill(worker, signal.SIGKILL)
        assert isinstance(task.exception(), WorkerDied)
        assert "signal 9" in str(task.exception())
        assert wait_until(lambda: not any(map(is_running, pids)), 2.0)


@pytest.mark.slow
def test_ten_thousand_tasks_take_little_memory():
    with open_engine("processes", workers=2) as engine:
        engine.submit(square, 0).result()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        futures = [engine.submit(operator.add, n, 1) for n in range(10_000)]
        assert sum(future.result() for future in futures) == 50_005_000
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_large_results_and_arguments_pass():
    with open_engine("processes", workers=1) as engine:
        assert len(engine.submit(operator.mul, b"x" * 5_000_000, 4).result()) == 20_000_000


@pytest.mark.slow(1)
def test_closing_forgets_what_has_not_begun_and_waits_for_the_rest():
    with pytest.raises(ZeroDivisionError), open_engine("processes", workers=1) as engine:
        first = engine.submit(slow_square, 3, 0.5)
        others = [engine.submit(square, n) for n in range(50)]
        assert wait_until(first.running)
        raise ZeroDivisionError
    assert first.result() == 9
    assert all(other.cancelled() for other in others)
    assert not children()


def test_workers_start_when_they_are_needed():
    with open_engine("processes", workers=50) as engine:
        assert not children()
        engine.submit(square, 2).result()
        assert len(children()) == 1
    assert not children()


SCRIPT = """
import os, sys, time
sys.path.insert(0, {repository!r})
from dancetomusic.parallel import open_engine
from tests.unit.test_parallel import note_program, slow_square
folder = sys.argv[1]
with open_engine("processes", workers=2) as engine:
    notes = [engine.submit(note_program, f"{{folder}}/{{n}}", {seconds}) for n in range(6)]
    for note in notes:
        note.result()
print("all done")
"""


@contextlib.contextmanager
def script(folder, repository, seconds):
    """A script with two workers, each running a program."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(repository=str(repository), seconds=seconds), folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert wait_until(lambda: len(noted(folder)) == 4), process.communicate(timeout=10)
        yield process
    finally:
        process.kill()
        process.communicate()


def noted(folder):
    return [int(pid) for note in sorted(folder.iterdir()) for pid in note.read_text().split()]


@pytest.mark.slow(1)
def test_nothing_outlives_a_parent_that_is_killed(tmp_path, repository):
    with script(tmp_path, repository, 60) as process:
        pids = noted(tmp_path)
        assert all(map(is_running, pids))
        process.kill()
        assert wait_until(lambda: not any(map(is_running, pids)), 2.0)
        assert process.communicate()[1] == ""


@pytest.mark.slow
def test_an_interrupt_lets_tasks_in_hand_finish(tmp_path, repository):
    with script(tmp_path, repository, 4) as process:  # in hand still when the signal comes
        pids = noted(tmp_path)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
        assert process.returncode == -signal.SIGINT
        assert "all done" not in output
        assert errors.strip().splitlines()[-1] == "KeyboardInterrupt"
        assert len(noted(tmp_path)) == 4  # of twelve
        assert not any(map(is_running, pids))


@pytest.mark.slow
def test_a_second_interrupt_kills(tmp_path, repository):
    with script(tmp_path, repository, 60) as process:
        pids = noted(tmp_path)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        assert wait_until(lambda: not any(map(is_running, pids)), 2.0)


def write_slowly(path, seconds):
    """A file that is half written for a while."""
    with atomic_output(path) as temporary:
        temporary.write_bytes(b"half")
        time.sleep(seconds)


WRITER = """
import sys
sys.path.insert(0, {repository!r})
from dancetomusic.parallel import open_engine
from tests.unit.test_parallel import write_slowly
with open_engine("processes", workers=2) as engine:
    tasks = [engine.submit(write_slowly, f"{folder}/{{n}}.wav", 60) for n in range(2)]
    tasks[0].result()
"""


@pytest.mark.slow(1)
@pytest.mark.parametrize("how", ["a second interrupt", "a kill"])
def test_a_task_that_is_broken_off_leaves_no_half_written_file(tmp_path, repository, how):
    code = WRITER.format(repository=str(repository), folder=tmp_path)
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    try:
        assert wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        if how == "a kill":
            process.kill()
        else:
            process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=10)[1]
        assert wait_until(lambda: not list(tmp_path.iterdir()), 2.0)
        assert b"_BrokenOff" not in errors
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow(1)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupts_do_not_reach_workers(number):
    with open_engine("processes", workers=1) as engine:
        worker = engine.submit(os.getpid).result()
        task = engine.submit(slow_square, 3, 0.3)
        os.kill(worker, number)
        assert task.result() == 9
        assert engine.submit(os.getpid).result() == worker


def open_another():
    with open_engine("processes", workers=1):
        pass


def test_a_script_that_its_workers_import_does_not_start_workers_without_end():
    with open_engine("processes", workers=1) as engine:
        error = engine.submit(open_another).exception()
    assert isinstance(error, RuntimeError)
    assert "__main__" in str(error)


@pytest.mark.parametrize(
    "options",
    [
        {"name": "threads"},
        {"name": "processes", "workers": 0},
        {"name": "processes", "ray_address": "auto"},
        {"name": "ray", "ray_address": "nonsense"},
        {"name": "ray", "ray_address": "127.0.0.1:1"},
        {"name": "ray", "ray_address": "127.0.0.1:99999"},
    ],
)
def test_options_that_cannot_be_are_one_line(options):
    if options["name"] == "ray":
        pytest.importorskip("ray")
    with pytest.raises(InputError) as caught, open_engine(**options):
        pass
    assert len(str(caught.value).splitlines()) == 1
    assert isinstance(caught.value, DanceToMusicError)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DanceToMusicError, match=r"dancetomusic\[ray\]"), open_engine("ray"):
        pass


def test_processors_are_counted():
    assert 1 <= usable_cpus() <= len(os.sched_getaffinity(0))


def test_a_task_that_cannot_be_read_is_an_error_not_a_death():
    assert b"No module named" in perform(b"cno_such_module\nfunction\n.")


@pytest.mark.parametrize(
    ("errors", "survives"),
    [
        (["NodeDiedError"] * LOST_NODES, True),
        (["WorkerCrashedError", "NodeDiedError", "NodeDiedError"], True),
        (["WorkerCrashedError"] * TRIES, False),
        (["NodeDiedError"] * (TRIES * (LOST_NODES + 1)), False),
    ],
)
def test_a_lost_node_is_not_the_fault_of_its_task(monkeypatch, errors, survives):
    ray = pytest.importorskip("ray")
    waiting = [getattr(ray.exceptions, name) for name in errors]

    class Remote:
        def options(self, **_):
            return self

        def remote(self, task):
            return task

    def get(task):
        if waiting:
            error = waiting.pop(0)
            raise error("gone") if error is ray.exceptions.NodeDiedError else error()
        return perform(task)

    monkeypatch.setattr(ray, "remote", lambda function: Remote())
    monkeypatch.setattr(ray, "get", get)
    engine = Engine(_RayWorker, 1)
    with contextlib.closing(engine):
        begun = engine.submit(operator.add, 2, 3)
        if survives:
            assert begun.result(60) == 5
        else:
            with pytest.raises(WorkerDied):
                begun.result(60)
    assert not waiting
