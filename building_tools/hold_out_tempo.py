"""Fit the template of ``pose_encoder/movement_tempo.py`` without a part of the dances.

One template for each group of dances, for ``dancetomusic evaluate rhythm --templates``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from dancetomusic.data.street import load_street
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.data.wild import load_wild
from dancetomusic.io.atomic import atomic_output
from dancetomusic.models.pose_encoder.tempo_fit import (
    held_out_templates,
    make_examples,
    tempo_sources,
)


def main(
    wild: Annotated[Path, typer.Argument(help="Folder of real clips with beats and poses.")],
    street: Annotated[Path, typer.Argument(help="Folder of street dance fragments.")],
    dances: Annotated[Path, typer.Argument(help="Folder of Tang et al.'s dances.")],
    output: Annotated[Path, typer.Argument(help="File to write, .npz.")],
    seed: Annotated[int, typer.Option("--seed", help="Of the crops.")] = 0,
) -> None:
    """Write for each group of dances the template that was fitted without it."""
    sources = tempo_sources(
        load_wild(wild), load_street(street), load_dances(dances, split="train")
    )
    templates: dict[str, Any] = dict(held_out_templates(make_examples(sources, seed)))
    with atomic_output(output) as temporary, temporary.open("wb") as file:
        np.savez(file, **templates)
    typer.echo(f"wrote    {output}")


if __name__ == "__main__":
    typer.run(main)
