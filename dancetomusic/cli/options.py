"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

CheckpointOption = Annotated[
    str | None, typer.Option("--checkpoint", help="Model: a directory or a released name.")
]
CodecOption = Annotated[
    str | None, typer.Option("--codec", help="Codec: a directory, released name or hub id.")
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads of the model.")
]
