"""Score movement alone on groups its template was not fitted to, and fit its certainty."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from dancetomusic.checkpoint import checkpoint_family
from dancetomusic.data.street import load_street
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.data.wild import load_wild
from dancetomusic.evaluation.tasks.movement import (
    RIGHT_F,
    certainty_evidence,
    fit_certainty,
    movement_clips,
    read_held_out,
    score_rows,
    smoothed,
)
from dancetomusic.models.pose2audio.network import Pose2Audio
from dancetomusic.models.pose_encoder.movement_rhythm import CERTAINTY_NETWORK, CERTAINTY_POOLED
from dancetomusic.models.pose_encoder.network import PoseEncoder, load_pose_encoder
from dancetomusic.models.pose_encoder.tempo_fit import (
    held_out_templates,
    make_examples,
    tempo_sources,
)
from dancetomusic.released import locate_checkpoint
from dancetomusic.types import FAIR, SURE

SAME_TEMPO = 0.04


def main(
    wild: Annotated[Path, typer.Argument(help="Folder of real clips with beats and poses.")],
    street: Annotated[Path, typer.Argument(help="Folder of street dance fragments.")],
    dances: Annotated[Path, typer.Argument(help="Folder of Tang et al.'s dances.")],
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="Whose encoder.")] = "pose2audio",
    deals: Annotated[int, typer.Option("--deals", min=1, help="Ways to deal out folds.")] = 3,
) -> None:
    """Print a table with baselines, how far smoothing changes tempi, and the calibration."""
    torch.set_num_threads(1)
    encoder = _encoder(checkpoint)
    rate = encoder.config.frame_rate
    real, fragments = load_wild(wild), load_street(street)
    sources = tempo_sources(real, fragments, load_dances(dances, split="train"))
    examples = make_examples(sources)
    templates = [held_out_templates(examples, seed=1 + deal) for deal in range(deals)]
    val = load_dances(dances, split="val", qualities=("A", "B"))
    clips = movement_clips(encoder, real, fragments, val)
    readings = [read_held_out(clips, own, rate) for own in templates]

    typer.echo("| set | row | clips | tempo | octaves allowed | beat F | 85-150 BPM |")
    typer.echo("|---|---|---|---|---|---|---|")
    for row in score_rows(clips, readings):
        cells = " | ".join(
            f"{cell.mean:.2f} [{cell.low:.2f}, {cell.high:.2f}]"
            for cell in (row.tempo, row.tempo_octaves, row.f)
        )
        typer.echo(f"| {row.set} | {row.row} | {row.clips} | {cells} | {row.danceable:.2f} |")

    chosen = [index for index, clip in enumerate(clips) if clip.set == "real clips"]
    smooth = read_held_out(
        [smoothed(encoder, clips[index]) for index in chosen], templates[0], rate
    )
    changed = [
        abs(reading.track.bpm / readings[0][index].track.bpm - 1.0) > SAME_TEMPO
        for index, reading in zip(chosen, smooth, strict=True)
    ]
    typer.echo(f"smoothed by one frame, tempo changes by > 4 %: {np.mean(changed):.2f}")

    for kind, by_encoder, shipped in (
        ("encoder", True, CERTAINTY_NETWORK),
        ("pooled", False, CERTAINTY_POOLED),
    ):
        agreement, right, weight = certainty_evidence(clips, readings, by_encoder=by_encoder)
        fitted = fit_certainty(agreement, right, weight)
        typer.echo(f"{kind}: certainty fitted ({fitted[0]:.2f}, {fitted[1]:.2f})")
        certainty = 1.0 / (1.0 + np.exp(-shipped[0] - shipped[1] * agreement))
        for low, high in pairwise((0.0, 0.1, 0.25, FAIR, SURE, 1.001)):
            inside = (certainty >= low) & (certainty < high)
            if inside.any():
                share = np.average(right[inside], weights=weight[inside])
                typer.echo(
                    f"  certainty {low:.2f}-{min(high, 1.0):.2f}: {inside.sum()} readings, "
                    f"beat F >= {RIGHT_F} in {share:.2f}"
                )


def _encoder(checkpoint: str) -> PoseEncoder:
    """The encoder of a released model, or one as it was trained."""
    directory = locate_checkpoint(checkpoint)
    if checkpoint_family(directory) == "pose_encoder":
        return load_pose_encoder(directory)
    return Pose2Audio.from_pretrained(directory).eval().encoder


if __name__ == "__main__":
    typer.run(main)
