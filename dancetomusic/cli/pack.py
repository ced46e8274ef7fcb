"""``dancetomusic pack``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pack(
    folder: Annotated[Path, typer.Argument(metavar="SET", help="A set of clips.")],
    output: Annotated[Path, typer.Argument(metavar="SHARDS", help="Folder for the tar files.")],
    shard_mb: Annotated[
        int, typer.Option("--shard_mb", min=1, help="Size of a tar file, in MB.")
    ] = 256,
) -> None:
    """Write the accepted clips of a set as WebDataset tar shards."""
    from dancetomusic.data.shards import pack as write_shards

    manifest = write_shards(folder, output, shard_bytes=shard_mb * 1_000_000)
    print(f"wrote    {len(manifest.shards)} shards in {output}")
