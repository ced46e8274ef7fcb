"""Options that say where many tasks are run, the same for every subcommand."""

from __future__ import annotations

from contextlib import AbstractContextManager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dancetomusic.parallel import Engine


class EngineName(StrEnum):
    """Where tasks are run."""

    processes = "processes"
    ray = "ray"
    serial = "serial"


EngineOption = Annotated[EngineName, typer.Option("--engine", help="Where the work is done.")]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", min=1, help="Tasks at once; all cores by default.")
]
RayAddressOption = Annotated[
    str | None, typer.Option("--ray_address", help="Ray cluster: auto, or HOST:PORT of its head.")
]


def open_tasks(
    engine: EngineName, workers: int | None, ray_address: str | None
) -> AbstractContextManager[Engine]:
    """The engine that the options ask for."""
    from dancetomusic.parallel import open_engine

    return open_engine(engine.value, workers=workers, ray_address=ray_address)
