"""Many independent tasks: in processes of this machine, on a Ray cluster, or one by one.

Every engine is the same pool of threads, each of which hands one task at a time to a
worker and waits for its answer. They differ in the worker alone, so that tries, errors,
cancellation and results are the same everywhere.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dancetomusic.errors import DependencyError, InputError

ENGINES = ("processes", "ray", "serial")

TRIES = 2
"""How often a task is begun before it is given up because its worker died."""

LOST_NODES = 5
"""Nodes of a cluster that may be lost under one task before that counts as a death: it is seldom
the task's fault."""

GRACE_S = 1.0
"""Time that an idle worker has to end by itself once its parent has hung up."""

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENCV_FOR_THREADS_NUM": "1",
}
"""Environment of a worker: N workers fill N cores, and sums are made in one order."""

_CONNECT_S = 5.0
_CUT = signal.SIGUSR1  # to a worker: break the task off


class WorkerDied(Exception):
    """A worker process ended before its task did, twice."""


@contextmanager
def open_engine(
    name: str,
    *,
    workers: int | None = None,
    ray_address: str | None = None,
) -> Iterator[Engine]:
    """Give an engine, closed at the end of the block however that comes.

    ``processes`` starts workers as they are needed. They compute in one thread, on one
    processor each where there are enough, leave interrupts and SIGTERM to this
    process, print to stderr, and end with it even if it is killed; so do the programs that they
    have started. ``serial`` takes the tasks in order in one thread of this process; a task that
    ends the process ends it all, and none can be interrupted.

    On a Ray cluster every node needs this package and sees inputs and outputs under the same
    absolute paths. Tasks are plain Ray tasks, not actors: they move away from nodes that are
    lost and on to nodes that join, while Ray reuses processes, so what a module caches is
    made once per process there too.

    Args:
        name: One of ``ENGINES``.
        workers: Tasks at once; by default the processors that this process may use, or those
            of the cluster. Always 1 for ``serial``.
        ray_address: ``auto`` or ``host:port`` of a running cluster; one of this machine alone
            is started where none is given.

    Raises:
        InputError: If a value is out of range or the cluster cannot be reached.
        DependencyError: If Ray is not installed.
    """
    if name not in ENGINES:
        raise InputError(f"engine is {name!r}", f"Give one of {', '.join(ENGINES)}.")
    if workers is not None and workers < 1:
        raise InputError(f"number of workers is {workers}", "Give at least 1.")
    if ray_address is not None and name != "ray":
        raise InputError(f"engine {name} has no Ray address", "Choose the engine ray.")
    if _serving.is_set():
        raise RuntimeError(
            "a worker cannot open an engine; put what the script does under "
            'if __name__ == "__main__"'
        )
    with ExitStack() as open_until_then:
        if name == "ray":
            n_processors = open_until_then.enter_context(_connected(ray_address, workers))
            engine = Engine(_RayWorker, workers or n_processors)
        elif name == "processes":
            n_workers = workers or usable_cpus()
            engine = Engine(partial(_ProcessWorker, _processors_for(n_workers)), n_workers)
        else:
            engine = Engine(_Worker, 1)
        yield open_until_then.enter_context(closing(engine))


def usable_cpus() -> int:
    """Processors that this process may use: its affinity, within the quota of its cgroup."""
    allowed = len(os.sched_getaffinity(0))
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
        own = next((line[3:] for line in groups if line.startswith("0::")), "/")
        quota, period = Path(f"/sys/fs/cgroup{own}", "cpu.max").read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else max(1, min(allowed, int(quota) // int(period)))


def _processors_for(workers: int) -> queue.SimpleQueue[int]:
    """One for each worker, if there are as many; none, for any to run anywhere, otherwise.

    A worker gains a tenth by staying where its caches are. Another process's workers most likely
    begin at another processor.
    """
    processors: queue.SimpleQueue[int] = queue.SimpleQueue()
    allowed = sorted(os.sched_getaffinity(0))
    if workers <= len(allowed) == usable_cpus():
        first = os.getpid() % len(allowed)
        for processor in [*allowed[first:], *allowed[:first]][:workers]:
            processors.put(processor)
    return processors


def perform(task: bytes) -> bytes:
    """Run a pickled task and give its outcome, pickled: whether it succeeded, and what came."""
    try:
        function, arguments = pickle.loads(task)
        return pickle.dumps((True, function(*arguments)))
    except Exception as error:
        report = "".join(traceback.format_exception(error))
        error.add_note(f"In the worker:\n{report}")
        try:
            outcome = pickle.dumps((False, error))
            pickle.loads(outcome)
        except Exception:  # whatever a foreign exception's pickling may raise
            return pickle.dumps((False, RuntimeError(report)))
        return outcome


_serving = threading.Event()


def serve(descriptor: int, processor: int | None = None) -> None:
    """Be a worker process: take tasks from a socket until the other side hangs up.

    Runs on one ``processor`` if that is given. If the other side hangs up during a task, or sends
    ``_CUT``, the task is broken off and may remove what it has half written; then, or after
    ``GRACE_S``, this process and all in its group are killed.
    """
    if processor is not None:
        os.sched_setaffinity(0, {processor})
    _serving.set()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: None)  # that is for the other side, too
    signal.signal(_CUT, _break_off)
    os.set_inheritable(descriptor, False)
    connection = Connection(descriptor)
    tasks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    busy = threading.Lock()

    def listen() -> None:
        with suppress(EOFError, OSError):
            while True:
                tasks.put(connection.recv_bytes())
        tasks.put(None)
        if busy.locked():
            os.kill(os.getpid(), _CUT)
        time.sleep(GRACE_S)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=listen, daemon=True).start()
    try:
        while (task := tasks.get()) is not None:
            with busy:
                outcome = perform(task)
            with suppress(OSError):
                connection.send_bytes(outcome)
    except _BrokenOff:
        os.killpg(0, signal.SIGKILL)


class _BrokenOff(BaseException):
    """A worker's task is to end at once."""


def _break_off(_number: int, _frame: object) -> None:
    signal.signal(_CUT, signal.SIG_IGN)  # once, so that nothing disturbs the cleaning up
    raise _BrokenOff


class _Died(Exception):
    """A worker ended before it gave an outcome."""


class _Worker:
    """Performs tasks in the calling thread."""

    def call(self, task: bytes) -> bytes:
        return perform(task)

    def has_ended(self) -> bool:
        return False

    def break_off(self) -> None:
        """Begin to end the task that is under way."""

    def kill(self) -> None:
        """End at once, with all that was started by it; a task may clean up within a second."""

    def hang_up(self) -> None:
        """Begin to end; no task is under way."""

    def wait(self) -> None:
        """Be ended."""


class _ProcessWorker(_Worker):
    """A fresh interpreter at the other end of a socket, leading a process group of its own."""

    def __init__(self, processors: queue.SimpleQueue[int]) -> None:
        self._processors = processors
        self._processor: int | None = None
        with suppress(queue.Empty):
            self._processor = processors.get_nowait()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-c",
                    f"import sys; sys.path[:] = {[str(p) for p in sys.path]!r}; "
                    f"from {__name__} import serve; serve({theirs.fileno()}, {self._processor})",
                ],
                env=os.environ | ONE_THREAD,
                stdin=subprocess.DEVNULL,
                stdout=2,
                pass_fds=(theirs.fileno(),),
                process_group=0,
            )
        self._connection = Connection(ours.detach())

    def call(self, task: bytes) -> bytes:
        try:
            self._connection.send_bytes(task)
            while not self._connection.poll(1.0):
                if self.has_ended() and not self._connection.poll(0.0):
                    raise EOFError
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            self.kill()
            code = self._process.returncode
            cause = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise _Died(cause) from None

    def break_off(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, _CUT)

    def kill(self) -> None:
        self.break_off()
        end = time.monotonic() + GRACE_S
        with suppress(ChildProcessError):  # another thread has seen its end
            while not self.has_ended() and time.monotonic() < end:
                time.sleep(0.01)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._processor is not None:
            self._processors.put(self._processor)
            self._processor = None

    def hang_up(self) -> None:
        self._connection.close()

    def wait(self) -> None:
        try:
            self._process.wait(2 * GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def has_ended(self) -> bool:
        # Without reaping it: its number stays taken, so its group can still be killed.
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self._process.pid, flags) is not None


class _RayWorker(_Worker):
    """One place in the cluster: at most one Ray task at a time."""

    def __init__(self) -> None:
        import ray

        self._perform = ray.remote(perform).options(
            num_cpus=1, max_retries=0, runtime_env={"env_vars": ONE_THREAD}
        )
        self._running: Any = None

    def call(self, task: bytes) -> bytes:
        import ray
        from ray.exceptions import NodeDiedError, RayError, RayTaskError, RuntimeEnvSetupError

        lost_nodes = 0
        while True:
            self._running = self._perform.remote(task)
            try:
                outcome: bytes = ray.get(self._running)
                return outcome
            except (RayTaskError, RuntimeEnvSetupError) as error:
                raise DependencyError(
                    f"a Ray node cannot run dancetomusic ({str(error).strip().splitlines()[-1]})",
                    "Install the same version of dancetomusic on every node.",
                ) from error
            except RayError as error:
                lost_nodes += isinstance(error, NodeDiedError)
                if lost_nodes > LOST_NODES or not isinstance(error, NodeDiedError):
                    raise _Died(type(error).__name__) from None
            finally:
                self._running = None

    def kill(self) -> None:
        import ray

        if self._running is not None:
            ray.cancel(self._running, force=True)


class Engine:
    """Runs functions of modules with picklable arguments and results; see ``open_engine``.

    Each task occupies a thread and a worker, of which there are equally many.

    Attributes:
        workers: Tasks that run at once.
    """

    def __init__(self, new_worker: Callable[[], _Worker], workers: int) -> None:
        self.workers = workers
        self._new_worker = new_worker
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="dancetomusic")
        self._alive: set[_Worker] = set()
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        self._killed = False

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Begin a task. If its worker dies it is tried once more, then fails with WorkerDied.

        A node of a cluster that is lost is not counted, up to ``LOST_NODES`` times.

        An exception of the task is raised by its future as itself, with the worker's
        traceback as a note. ``SystemExit`` counts as a death.
        """
        return self._threads.submit(self._run, pickle.dumps((function, arguments)))

    def close(self) -> None:
        """Forget tasks that have not begun and wait for those that have.

        Interrupting the wait kills the workers.
        """
        try:
            self._threads.shutdown(wait=True, cancel_futures=True)
        except KeyboardInterrupt:
            self._killed = True
            workers = list(self._alive)
            for worker in workers:
                worker.break_off()
            for worker in workers:
                worker.kill()
            raise
        finally:
            workers = list(self._alive)
            self._alive.clear()
            for worker in workers:
                worker.hang_up()
            for worker in workers:
                worker.wait()

    def _run(self, task: bytes) -> Any:
        for _ in range(TRIES):
            worker = self._take()
            try:
                succeeded, result = pickle.loads(worker.call(task))
            except _Died as death:
                self._alive.discard(worker)
                cause = str(death)
                if self._killed:
                    break
            else:
                self._idle.put(worker)
                if succeeded:
                    return result
                raise result
        raise WorkerDied(f"the worker process died twice, by {cause}")

    def _take(self) -> _Worker:
        """An idle worker that has not been killed meanwhile, or else a new one."""
        with suppress(queue.Empty):
            while True:
                worker = self._idle.get_nowait()
                if not worker.has_ended():
                    return worker
                worker.kill()
                self._alive.discard(worker)
        worker = self._new_worker()
        self._alive.add(worker)
        return worker


@contextmanager
def _connected(address: str | None, workers: int | None) -> Iterator[int]:
    """A connection to Ray; gives the number of processors there."""
    if importlib.util.find_spec("ray") is None:
        raise DependencyError("Ray is not installed", "Run: pip install 'dancetomusic[ray]'.")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # its news would go to our stdout
    import ray

    if address is not None:
        _check_reachable(address)
    alone = address is None
    try:
        ray.init(
            address="local" if address is None else address,
            num_cpus=(workers or usable_cpus()) if alone else None,
            include_dashboard=False if alone else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"cannot connect to Ray at {address or 'this machine'} ({reason})",
            "Run `ray start --head` and give the address that it prints.",
        ) from error
    try:
        yield max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Refuse a wrong address at once; Ray itself tries for a minute and ends the process."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise InputError(f"Ray address is {address!r}", "Give auto or host:port.")
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"no Ray cluster answers at {address} ({error})",
            "Run `ray start --head` and give the address that it prints.",
        ) from error
