"""Fit the certainty of beats found in sound and print the constants of ``audio_beats.py``."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dancetomusic.models.beat_network.audio_beats import EVIDENCE
from dancetomusic.models.beat_network.certainty_fit import (
    cross_validated,
    fit_certainty,
    gather_evidence,
)
from dancetomusic.types import SURE


def main(
    wild: Annotated[Path, typer.Argument(help="Folder of real clips with known beats.")],
    dances: Annotated[Path, typer.Argument(help="Directory of Tang et al.'s dances.")],
    networks: Annotated[
        list[Path], typer.Argument(help="Checkpoints trained with one fold each held out.")
    ],
) -> None:
    """Fit to all recordings; print the calibration, cross-validated by song and dancer."""
    evidence = gather_evidence(wild, dances, networks)
    weights, bias = fit_certainty(evidence)
    for name, weight in zip(EVIDENCE, weights, strict=True):
        typer.echo(f"{name:10s} {weight:.2f}")
    typer.echo(f"bias       {bias:.2f}")
    certainty = cross_validated(evidence)
    typer.echo("certainty  recordings  right")
    edges = np.array([0.0, 0.2, 0.4, 0.6, SURE, 0.9, 1.001])
    for low, high in itertools.pairwise(edges):
        inside = (certainty >= low) & (certainty < high)
        share = f"{evidence.right[inside].mean():.2f}" if inside.any() else "-"
        typer.echo(f"{low:.1f}-{min(high, 1):.1f}    {inside.sum():10d}  {share}")
    sure = certainty >= SURE
    typer.echo(f"sure       {sure.sum():10d}  {evidence.right[sure].mean():.2f}")


if __name__ == "__main__":
    typer.run(main)
