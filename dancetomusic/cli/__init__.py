"""The command ``dancetomusic``: parse, check what is cheap to check, call the package, print.

One module a subcommand. Errors that a user can repair are one line on stderr and exit code 2, and
so is what the machine refuses, memory or disk; an interrupt is one line and 130, SIGTERM one line
and 143; any other exception is a bug and keeps its traceback. Nothing heavy is imported before a
subcommand needs it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from dancetomusic import __version__
from dancetomusic.cli.app import app
from dancetomusic.cli.build import build
from dancetomusic.cli.capture import capture
from dancetomusic.cli.dance import dance
from dancetomusic.cli.evaluate import evaluate
from dancetomusic.cli.generate import generate
from dancetomusic.cli.info import info
from dancetomusic.cli.inspect import inspect
from dancetomusic.cli.live import live
from dancetomusic.cli.pack import pack
from dancetomusic.cli.styles import styles
from dancetomusic.cli.surroundings import explain
from dancetomusic.cli.train import train
from dancetomusic.errors import DanceToMusicError

_INTERRUPTED = 128 + signal.SIGINT  # how typer exits at an interrupt

commands = typer.Typer(
    name="dancetomusic",
    help="A dance video goes in, music that fits the movement comes out.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    generate, styles, live, app, dance, build, capture, inspect, pack, train, info
):  # fmt: skip
    commands.command()(command)
commands.add_typer(evaluate)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command with ``argv`` (the process's own arguments by default) and exit."""
    _make_printing_safe()
    with _sigterm_as_interrupt() as was_terminated:
        try:
            try:
                commands(args=None if argv is None else list(argv), prog_name="dancetomusic")
            finally:
                sys.stdout.flush()
        except Exception as error:
            explained = explain(error)
            if explained is None:
                raise
            _refuse(explained)
        except SystemExit as end:
            if end.code != _INTERRUPTED:
                raise
            word = "terminated" if was_terminated() else "interrupted"
            print(f"dancetomusic: {word}; what was finished before is kept", file=sys.stderr)
            sys.exit(128 + signal.SIGTERM if was_terminated() else _INTERRUPTED)


def _refuse(error: DanceToMusicError) -> None:
    print(f"dancetomusic: error: {' '.join(str(error).split())}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:  # what is left to print has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(2)


@contextmanager
def _sigterm_as_interrupt() -> Iterator[Callable[[], bool]]:
    """Let SIGTERM clean up as an interrupt does; gives whether it has come."""
    received = []

    def interrupt(number: int, _frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # no other may take signals
        yield lambda: False
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, before)


def _make_printing_safe() -> None:
    """Let nothing that is printed fail: a character that the terminal lacks is escaped.

    Where standard input, output or error is closed, the null device takes its place, also for
    libraries and processes that know it by its number.
    """
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        os.set_inheritable(null, True)
        null = os.open(os.devnull, os.O_RDWR)
    os.close(null)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"dancetomusic {__version__}")
        raise typer.Exit
    return wanted


@commands.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass
