"""The command ``dancetomusic``: parse, check what is cheap to check, call the package, print.

One module a subcommand. Errors that a user can repair are one line on stderr and exit code 2;
an interrupt is 130; any other exception is a bug and keeps its traceback. Nothing heavy is
imported before a subcommand needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
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
from dancetomusic.cli.train import train
from dancetomusic.errors import DanceToMusicError

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
    generate, live, app, dance, build, capture, inspect, pack, train, info
):  # fmt: skip
    commands.command()(command)
commands.add_typer(evaluate)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command with ``argv`` (the process's own arguments by default) and exit."""
    try:
        commands(args=None if argv is None else list(argv), prog_name="dancetomusic")
    except DanceToMusicError as error:
        print(f"dancetomusic: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


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
