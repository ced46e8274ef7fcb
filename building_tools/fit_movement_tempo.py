"""Fit the template of ``pose_encoder/movement_tempo.py`` and print it as its source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dancetomusic.data.street import load_street
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.data.wild import load_wild
from dancetomusic.models.pose_encoder.tempo_fit import fit_template, make_examples, tempo_sources


def main(
    wild: Annotated[Path, typer.Argument(help="Folder of real clips with beats and poses.")],
    street: Annotated[Path, typer.Argument(help="Folder of street dance fragments.")],
    dances: Annotated[Path, typer.Argument(help="Folder of Tang et al.'s dances.")],
    seed: Annotated[int, typer.Option("--seed", help="Of the crops.")] = 0,
) -> None:
    """Fit to real clips, street and ballroom dances, and procedural dancers."""
    sources = tempo_sources(
        load_wild(wild), load_street(street), load_dances(dances, split="train")
    )
    template = fit_template(make_examples(sources, seed))
    for first in range(0, template.size, 8):
        row = ", ".join(f"{value:.2f}" for value in template[first : first + 8])
        typer.echo(f"        *({row}),")


if __name__ == "__main__":
    typer.run(main)
