"""A queue of work: one job at a time in a process that can be ended, and few that wait."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dancetomusic.app.limits import Limits, Refusal
from dancetomusic.errors import DanceToMusicError

_FIRST_GUESS_S = 20.0  # of a job's length, before any was done
_MEMORY_OF_LENGTHS = 0.7
_KEEP_FINISHED = 64  # outcomes that can still be asked for
_HEARTBEAT_S = 5.0
_MAX_LINE_BYTES = 2**20
_GIVE_BACK = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "1048576",
    "MALLOC_TRIM_THRESHOLD_": "1048576",
}
"""Of the worker's environment, for glibc: memory goes back to the system after each job. Without it
the process holds 200 MB more and grows with its jobs (``benchmarks/soak_app.py``)."""


class State(StrEnum):
    """Where a job stands."""

    waiting = "waiting"
    running = "running"
    done = "done"
    failed = "failed"
    cancelled = "cancelled"


@dataclass
class Job:
    """One piece of work and how far it is.

    Attributes:
        id: What the client knows it by; not guessable.
        timeout_s: When it is given up, in seconds of work.
        on_end: Called once when it is done, failed or cancelled, with its final state.
        share: How much of the stage is done, in [0, 1].
        watchers: Clients that look at its progress; without any it is cancelled.
    """

    id: str
    client: str
    request: dict[str, Any]
    timeout_s: float
    on_end: Callable[[Job], None]
    state: State = State.waiting
    stage: str = ""
    share: float = 0.0
    result: dict[str, Any] = field(default_factory=dict)
    error: tuple[str, str] | None = None
    watchers: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in (State.waiting, State.running)

    def notify(self, **values: Any) -> None:
        """Change some of its state and wake those who watch."""
        for name, value in values.items():
            setattr(self, name, value)
        self.changed.set()
        self.changed = asyncio.Event()


class JobQueue:
    """Jobs in the order they came; ``run`` does them one by one."""

    def __init__(self, worker: Worker, limits: Limits) -> None:
        self._worker = worker
        self._limits = limits
        self._waiting: list[Job] = []
        self._running: tuple[Job, asyncio.Task[dict[str, Any]], float] | None = None
        self._jobs: dict[str, Job] = {}
        self._usual_s = _FIRST_GUESS_S
        self._arrived = asyncio.Event()

    @property
    def _unfinished(self) -> list[Job]:
        return [*([self._running[0]] if self._running else []), *self._waiting]

    def wait_s(self, n_jobs: int) -> float:
        """When the first ``n_jobs`` unfinished ones will be done, in seconds from now.

        A job that takes longer than usual is expected to continue for half as long again.
        """
        spent = time.monotonic() - self._running[2] if self._running else 0.0
        left = max(self._usual_s - spent, 0.5 * spent)
        return max(1.0, left + (n_jobs - 1) * self._usual_s)

    def unfinished_on(self, source: str) -> list[Job]:
        """Jobs that wait or run for a video, the one at work first."""
        return [job for job in self._unfinished if job.request.get("source") == source]

    def require_idle(self, client: str) -> None:
        """Refuse a client that has a job already.

        Raises:
            Refusal: With the time until that job will be done.
        """
        for position, job in enumerate(self._unfinished, start=1):
            if job.client == client:
                raise Refusal(
                    429,
                    "your last job is not done yet",
                    "Wait for it, or cancel it.",
                    retry_after_s=self.wait_s(position),
                    job=job.id,
                )

    def submit(
        self,
        client: str,
        request: dict[str, Any],
        *,
        timeout_s: float,
        on_end: Callable[[Job], None],
    ) -> Job:
        """Queue a job.

        Raises:
            Refusal: If the client has one already or the queue is full, with the time to wait.
        """
        self.require_idle(client)
        if len(self._waiting) >= self._limits.waiting_jobs:
            raise Refusal(
                429,
                f"{len(self._unfinished)} jobs are queued",
                "Try again later.",
                retry_after_s=self.wait_s(1),
            )
        job = Job(secrets.token_urlsafe(16), client, request, timeout_s, on_end)
        self._waiting.append(job)
        self._jobs[job.id] = job
        for old in [job for job in self._jobs.values() if job.is_over][:-_KEEP_FINISHED]:
            del self._jobs[old.id]
        self._cancel_if_unwatched_later(job)
        self._arrived.set()
        return job

    def find(self, name: str) -> Job:
        """The job with this id.

        Raises:
            Refusal: If there is none (any more).
        """
        if name not in self._jobs:
            raise Refusal(404, "there is no such job (any more)", "Start it again.")
        return self._jobs[name]

    def cancel(self, job: Job) -> None:
        """End a job at once, whatever it does."""
        if self._running and self._running[0] is job:
            self._running[1].cancel()
        elif job in self._waiting:
            self._waiting.remove(job)
            self._end(job, State.cancelled)
            self._tell_places()

    async def watch(self, job: Job) -> AsyncIterator[dict[str, Any] | None]:
        """A job's progress whenever it changes, ``None`` as a sign of life in between.

        While the last one to watch is gone for longer than the limit, the job is cancelled.
        """
        job.watchers += 1
        try:
            while True:
                changed = job.changed
                yield self._describe(job)
                if job.is_over:
                    return
                while not changed.is_set():
                    try:
                        await asyncio.wait_for(changed.wait(), _HEARTBEAT_S)
                    except TimeoutError:
                        yield None
        finally:
            job.watchers -= 1
            self._cancel_if_unwatched_later(job)

    async def run(self) -> None:
        """Do jobs until cancelled."""
        while True:
            self._arrived.clear()
            if not self._waiting:
                with suppress(DanceToMusicError):  # the next job will say what is wrong
                    await self._worker.start()
                await self._arrived.wait()
                continue
            await self._do(self._waiting.pop(0))

    async def _do(self, job: Job) -> None:
        work = asyncio.create_task(self._worker.work(job.request, job.notify, job.timeout_s))
        self._running = job, work, time.monotonic()
        job.notify(state=State.running)
        self._tell_places()
        try:
            job.result = await work
        except asyncio.CancelledError:
            self._end(job, State.cancelled)
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                work.cancel()
                raise
        except DanceToMusicError as error:
            job.error = error.problem, error.remedy
            self._end(job, State.failed)
        else:
            spent = time.monotonic() - self._running[2]
            self._usual_s += (1 - _MEMORY_OF_LENGTHS) * (spent - self._usual_s)
            self._end(job, State.done)
        finally:
            self._running = None

    def _end(self, job: Job, state: State) -> None:
        job.state = state
        job.on_end(job)
        job.request, job.on_end = {}, lambda _: None  # they hold a video with all its takes
        job.notify()

    def _tell_places(self) -> None:
        for job in self._waiting:
            job.notify()

    def _describe(self, job: Job) -> dict[str, Any]:
        position = self._waiting.index(job) + 1 if job in self._waiting else 0
        return {
            "state": job.state,
            "stage": job.stage,
            "share": job.share,
            "place": position,
            "wait_s": round(self.wait_s(position)) if position else 0,
            "result": job.result,
            "problem": job.error[0] if job.error else "",
            "remedy": job.error[1] if job.error else "",
        }

    def _cancel_if_unwatched_later(self, job: Job) -> None:
        def check() -> None:
            if not job.watchers and not job.is_over:
                self.cancel(job)

        asyncio.get_running_loop().call_later(self._limits.absent_s, check)


class Worker:
    """The process ``dancetomusic.app.worker``, started when needed and ended to cancel.

    Args:
        options: Keywords of ``DanceToMusic.from_pretrained``.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Load the models, if that has not happened yet.

        Raises:
            DanceToMusicError: If they cannot be loaded.
        """
        if self._process is not None and self._process.returncode is None:
            return
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "dancetomusic.app.worker",
            json.dumps(self._options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_MAX_LINE_BYTES,
            env=_GIVE_BACK | os.environ,
        )
        try:
            await self._answer(lambda **_: None)
        except BaseException:
            await self.stop()
            raise

    async def work(
        self, request: dict[str, Any], on_progress: Callable[..., None], timeout_s: float
    ) -> dict[str, Any]:
        """Have one request done; cancelling this ends the process.

        Raises:
            DanceToMusicError: What the worker met, or that it took too long or crashed.
        """
        await self.start()
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            async with asyncio.timeout(timeout_s):
                return await self._answer(on_progress)
        except TimeoutError:
            await self.stop()
            raise Refusal(
                422, f"the work took more than {timeout_s:.0f} s", "Give a shorter video."
            ) from None
        except ValueError:  # no JSON, or a line without end
            await self.stop()
            raise Refusal(
                503, "the process that makes the music cannot be understood", "Try again."
            ) from None
        except BaseException as error:
            if not isinstance(error, DanceToMusicError):
                await self.stop()
            raise

    async def stop(self) -> None:
        """End the process, whatever it does."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _answer(self, on_progress: Callable[..., None]) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            if "problem" in answer:
                raise DanceToMusicError(answer["problem"], answer["remedy"])
            if "result" in answer:
                result: dict[str, Any] = answer["result"]
                return result
            on_progress(**answer)
        raise Refusal(
            503, "the process that makes the music ended", "Try again, or give another video."
        )
