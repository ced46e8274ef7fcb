"""Other programs, run to their end within a limit, and never outliving what started them."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from dancetomusic.errors import DependencyError

_LINE_CHARACTERS = 300


class ProgramError(DependencyError):
    """A program failed or took too long.

    ``output`` is all that the program printed.
    """

    def __init__(self, problem: str, output: str = "") -> None:
        self.last_line = last_line(output)
        said = f"; its last line: {self.last_line}" if self.last_line else ""
        super().__init__(f"{problem}{said}", "Run it by hand to see why.")

    def __reduce__(self) -> tuple[type[ProgramError], tuple[str, str]]:
        return type(self), (self.problem, "")


def run_program(
    command: Sequence[Path | str],
    *,
    timeout_s: float = 600.0,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a program without a shell and give what it printed, standard error included.

    It has no input. At its end, at the limit, or when this process ends, all that it started is
    killed.

    Directory and environment are by default those of this process.

    Raises:
        ProgramError: If it fails or takes too long.
        OSError: If it cannot be started.
    """
    with tempfile.TemporaryFile() as printed:  # no pipe: what it started may hold that open
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environment,
            start_new_session=True,
            preexec_fn=_die_with_parent(),
        )
        try:
            code: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        printed.seek(0)
        output = printed.read().decode(errors="replace")
    if code == 0:
        return output
    if code is None:
        problem = f"did not end within {timeout_s:.0f} s"
    elif code < 0:
        problem = f"was ended by {signal.Signals(-code).name}"
    else:
        problem = f"ended with exit code {code}"
    raise ProgramError(f"{Path(command[0]).name} {problem}", output)


def last_line(output: str) -> str:
    """The last line that is not empty, shortened; empty if there is none."""
    lines = (line.strip() for line in reversed(output.split("\n")))
    return next((line[:_LINE_CHARACTERS] for line in lines if line), "")


def _die_with_parent() -> Callable[[], object] | None:
    """What a child calls on Linux so that it is killed when this process is."""
    if sys.platform != "linux":
        return None
    prctl, pr_set_pdeathsig = ctypes.CDLL(None).prctl, 1
    return lambda: prctl(pr_set_pdeathsig, signal.SIGKILL)
