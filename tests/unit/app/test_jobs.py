from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from dancetomusic.app.jobs import JobQueue, State, Worker
from dancetomusic.app.limits import Limits, Refusal
from dancetomusic.errors import VideoError


class Script(Worker):
    """A worker that takes as long as the test wants."""

    def __init__(self) -> None:
        super().__init__({})
        self.go = asyncio.Event()
        self.stopped = 0

    async def start(self) -> None:
        pass

    async def work(
        self, request: dict[str, Any], on_progress: Callable[..., None], timeout_s: float
    ) -> dict[str, Any]:
        on_progress(stage="codes", share=0.5)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        if "fail" in request:
            raise VideoError("it is broken", "Repair it.")
        return {"echo": request["n"]}


def in_line(test: Callable[..., Any], **limits: Any) -> None:
    async def run() -> None:
        worker = Script()
        line = JobQueue(worker, Limits(**limits))
        runner = asyncio.create_task(line.run())
        await asyncio.sleep(0)
        await test(line, worker)
        runner.cancel()

    asyncio.run(run())


def submit(line: JobQueue, client: str, n: int = 0, **request: Any):
    return line.submit(client, {"n": n, **request}, timeout_s=9.0, on_end=lambda job: None)


async def last_state(line: JobQueue, job) -> dict[str, Any]:
    states = [state async for state in line.watch(job) if state]
    return states[-1]


def test_jobs_are_done_in_turn_and_watched():
    async def test(line, worker):
        jobs = [submit(line, f"client {n}", n) for n in range(3)]
        watchers = [asyncio.create_task(last_state(line, job)) for job in jobs]
        await asyncio.sleep(0.01)
        assert [job.state for job in jobs] == ["running", "waiting", "waiting"]
        worker.go.set()
        states = await asyncio.gather(*watchers)
        assert [state["result"] for state in states] == [{"echo": n} for n in range(3)]
        assert all(state["state"] == "done" for state in states)

    in_line(test)


def test_a_client_has_one_job_at_a_time():
    async def test(line, worker):
        submit(line, "me")
        with pytest.raises(Refusal, match="not done yet") as refusal:
            submit(line, "me")
        assert refusal.value.status == 429
        assert 1.0 <= refusal.value.retry_after_s <= 20.0

    in_line(test)


def test_a_full_line_refuses_with_the_time_to_wait():
    async def test(line, worker):
        submit(line, "first")
        await asyncio.sleep(0.01)
        for n in range(2):
            submit(line, f"waits {n}")
        with pytest.raises(Refusal, match="3 jobs are queued") as refusal:
            submit(line, "late")
        assert refusal.value.status == 429 and refusal.value.retry_after_s >= 1.0

    in_line(test, waiting_jobs=2)


def test_errors_reach_the_watcher():
    async def test(line, worker):
        worker.go.set()
        state = await last_state(line, submit(line, "me", fail=True))
        assert state["state"] == "failed"
        assert (state["problem"], state["remedy"]) == ("it is broken", "Repair it.")
        assert (await last_state(line, submit(line, "me", 7)))["result"] == {"echo": 7}

    in_line(test)


def test_an_unwatched_job_is_cancelled_and_the_next_begins():
    async def test(line, worker):
        lonely, watched = submit(line, "gone"), submit(line, "there", 1)
        watcher = asyncio.create_task(last_state(line, watched))
        await asyncio.sleep(0.2)
        assert lonely.state is State.cancelled and worker.stopped == 1
        worker.go.set()
        assert (await watcher)["state"] == "done"

    in_line(test, absent_s=0.05)


def test_leaving_for_a_moment_cancels_nothing():
    async def test(line, worker):
        job = submit(line, "me")
        first = asyncio.create_task(last_state(line, job))
        await asyncio.sleep(0.02)
        first.cancel()
        await asyncio.sleep(0.05)
        again = asyncio.create_task(last_state(line, job))
        await asyncio.sleep(0.3)
        worker.go.set()
        assert (await again)["state"] == "done"

    in_line(test, absent_s=0.2)


def test_a_waiting_job_is_cancelled_in_place():
    async def test(line, worker):
        first, second = submit(line, "a"), submit(line, "b")
        await asyncio.sleep(0.01)
        line.cancel(second)
        assert second.state is State.cancelled and first.state is State.running
        submit(line, "b")

    in_line(test)


def test_an_unknown_job_is_not_found():
    async def test(line, worker):
        with pytest.raises(Refusal) as refusal:
            line.find("x")
        assert refusal.value.status == 404

    in_line(test)


def test_a_job_that_takes_long_is_waited_for_longer(monkeypatch):
    now = [100.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("dancetomusic.app.jobs.time", clock)

    async def test(line, worker):
        submit(line, "me")
        await asyncio.sleep(0.01)
        usual = line.wait_s(1)
        waits = []
        for spent in (0.5 * usual, 10.0 * usual):
            now[0] = 100.0 + spent
            waits.append(line.wait_s(1))
        assert waits == [pytest.approx(0.5 * usual), pytest.approx(5.0 * usual)]
        assert line.wait_s(3) == pytest.approx(7.0 * usual)

    in_line(test)


@pytest.mark.slow(1)
def test_a_job_that_is_over_holds_nothing():
    async def test(line, worker):
        takes = {"a take"}  # of a video
        kept = weakref.ref(takes)
        ended = partial(set.clear, takes)
        job = line.submit("client", {"n": 1}, timeout_s=9.0, on_end=lambda job, end=ended: end())
        worker.go.set()
        await last_state(line, job)
        assert not takes
        del takes, ended
        gc.collect()
        assert kept() is None and job.result == {"echo": 1}

    in_line(test)


@pytest.mark.parametrize("printed", ["nonsense", "x" * 2**21])
def test_a_worker_that_cannot_be_understood_fails_its_job_and_not_the_next(printed):
    class Confused(Worker):
        async def start(self) -> None:
            program = "import sys; input(); print(sys.argv[1] * int(sys.argv[2]))"
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", program, printed[:8], str(len(printed) // 8)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=2**20,
            )

    async def test():
        line = JobQueue(Confused({}), Limits())
        runner = asyncio.create_task(line.run())
        for n in range(2):
            state = await last_state(line, submit(line, "client", n))
            assert state["state"] == "failed" and "understood" in state["problem"]
        runner.cancel()

    asyncio.run(test())
