"""``dancetomusic inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect(
    folder: Annotated[Path, typer.Argument(metavar="SET", help="A set of clips.")],
    output: Annotated[
        Path | None, typer.Option("--output", help="The page; SET/inspect.html by default.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Clips to show at most.")] = 500,
) -> None:
    """Write a page that shows the clips of a set, and why some were refused."""
    from dancetomusic.builder.contact_sheet import write_contact_sheet

    print(f"wrote    {write_contact_sheet(folder, output, limit=limit)}")
