"""Progress of training: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class TrainingProgress:
    """Prints lines and counts steps."""

    def __init__(self, first: int, steps: int, *, shown: bool, bars: Any = None) -> None:
        self.first, self.steps, self.shown = first, steps, shown
        self._bars = bars
        self._task = None if bars is None else bars.add_task("training", total=steps)
        if bars is not None:
            bars.update(self._task, completed=first)
        self._began = time.monotonic()

    def advance(self, done: int) -> None:
        """Set the number of finished steps."""
        if self._bars is not None:
            self._bars.update(self._task, completed=done)

    def print(self, line: str) -> None:
        """Print a line."""
        if self._bars is not None:
            self._bars.console.print(line, highlight=False, markup=False)
        elif self.shown:
            print(line, flush=True)

    def pace(self, done: int) -> str:
        """Seconds a step since the start of this run, and the time left."""
        seconds = (time.monotonic() - self._began) / max(done - self.first, 1)
        left = seconds * (self.steps - done)
        return f"{seconds:.2f} s/step, {left / 60:.0f} min left"


@contextmanager
def show_progress(first: int, steps: int, *, shown: bool) -> Iterator[TrainingProgress]:
    """A ``TrainingProgress`` for the block."""
    if not (shown and sys.stdout.isatty()):
        yield TrainingProgress(first, steps, shown=shown)
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Any) -> Text:
            return Text(f"{task.speed:.2f} steps/s" if task.speed else "")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate())
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), speed_estimate_period=300
    ) as b:
        yield TrainingProgress(first, steps, shown=shown, bars=b)
