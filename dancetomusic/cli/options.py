"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from dancetomusic.errors import InputError

CheckpointOption = Annotated[
    str | None, typer.Option("--checkpoint", help="Model: a directory or a released name.")
]
CodecOption = Annotated[
    str | None, typer.Option("--codec", help="Codec: a directory, released name or hub id.")
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads of the model.")
]

LARGEST_SEED = 2**64 - 1
"""The generators of random numbers take no larger one."""


def check_seed(seed: int | list[int] | None) -> int | list[int] | None:
    """Give the value of an option ``--seed`` back if it can be used.

    Raises:
        InputError: If it, or one of several, is negative or larger than ``LARGEST_SEED``.
    """
    for number in [seed] if isinstance(seed, int) else seed or ():
        if not 0 <= number <= LARGEST_SEED:
            raise InputError(f"--seed is {number}", f"Give 0 to {LARGEST_SEED}.")
    return seed


def device_of(text: str) -> str | int:
    """A camera or sound card by its number where ``text`` is one, else by its name."""
    return int(text) if text.isdecimal() else text
