"""Progress on the terminal; silent where stderr is none."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

LINE_EVERY_S = 15.0
"""Time between two lines of progress where stderr is no terminal, in seconds."""


@contextmanager
def stage_progress() -> Iterator[Callable[[str, float], None] | None]:
    """Give a callback (stage, share done) that draws on stderr; none if that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, share: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0)
            bars.update(tasks[stage], completed=share)

        yield report


@contextmanager
def item_progress(name: str) -> Iterator[Callable[[int], None]]:
    """Give a callback (items in all) that counts one item more, with rate and time left."""
    if not sys.stderr.isatty():
        yield lambda total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(name, total=None)

        def advance(total: int) -> None:
            bars.update(task, total=total, advance=1)

        yield advance


@contextmanager
def build_lines(
    n_sections: int, every_s: float = LINE_EVERY_S
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a listener to a build that prints a line on stderr from time to time, for a log."""
    sections: Counter[str] = Counter()
    clips: Counter[str] = Counter()
    stopped = Event()

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "section":
            sections[event["status"]] += 1
            clips["found"] += event.get("clips", 0)
        elif event["event"] == "clip":
            clips[event["status"]] += 1

    def print_lines() -> None:
        while not stopped.wait(every_s):
            made = clips.total() - clips["found"]
            line = f"sections {sections.total()} of {n_sections}, clips {made} of {clips['found']}"
            print(f"{line}, {clips['accepted']} accepted", file=sys.stderr, flush=True)

    lines = Thread(target=print_lines, daemon=True)
    lines.start()
    try:
        yield listen
    finally:
        stopped.set()
        lines.join()


@contextmanager
def build_progress(n_sections: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give a listener to a build that draws a bar for each stage, with rate and time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed or 0:.2f}/s")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        videos = bars.add_task("sections", total=n_sections)
        stages = {
            name: bars.add_task(name, total=0)
            for name in ("poses", "stems", "codes", "beats", "write")
        }

        def listen(event: dict[str, Any]) -> None:
            if event["event"] == "section":
                bars.advance(videos)
                for task in bars.tasks:
                    if task.id != videos:
                        bars.update(task.id, total=(task.total or 0) + event.get("clips", 0))
            elif event["event"] == "clip":
                for name, task_id in stages.items():
                    if name in event["seconds"]:
                        bars.advance(task_id)
                    else:  # a clip that was refused before it came there
                        bars.update(task_id, total=(bars.tasks[task_id].total or 1) - 1)

        yield listen
