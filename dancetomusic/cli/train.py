"""``dancetomusic train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dancetomusic.cli.options import check_seed
from dancetomusic.cli.outputs import check_directory
from dancetomusic.errors import ConfigError
from dancetomusic.models.registry import trained_families


def train(
    model: Annotated[
        str,
        typer.Option("--model", help=f"{', '.join(trained_families())}."),
    ],
    output: Annotated[
        Path, typer.Option("--output", help="Directory of the run; a run found there is resumed.")
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="A set that build made: all that pose2audio and pose_encoder need, which start "
            "from the released weights.",
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="Its settings, YAML or JSON.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Any setting that replaces the file's; corpus.seed=1 is seed within corpus.",
        ),
    ] = None,
    max_steps: Annotated[int | None, typer.Option("--max_steps", help="Optimiser steps.")] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", help="Passes over the data, instead of steps.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch_size", help="Samples a process takes at once.")
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option("--accumulate", help="Batches that make one step.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning_rate", help="Peak learning rate.")
    ] = None,
    ema_decay: Annotated[
        float | None,
        typer.Option("--ema_decay", help="Decay of the averages of weights (EMA); 0 for none."),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option("--patience", help="Validations without progress before stopping; 0: never."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", callback=check_seed, help="Seed of all randomness.")
    ] = None,
    teacher_forcing_ratio: Annotated[
        float | None,
        typer.Option(
            "--teacher_forcing_ratio",
            help="Share of past codes that are the true ones; the others are the model's samples.",
        ),
    ] = None,
    perceptual_weight: Annotated[
        float | None, typer.Option("--perceptual_weight", help="Weight of the loss on sound.")
    ] = None,
    adversarial_weight: Annotated[
        float | None, typer.Option("--adversarial_weight", help="Weight of the adversarial loss.")
    ] = None,
) -> None:
    """Train a model; under torchrun, with all processes together."""
    options = {
        "max_steps": max_steps,
        "epochs": epochs,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "learning_rate": learning_rate,
        "ema_decay": ema_decay,
        "patience": patience,
        "device": device,
        "seed": seed,
        "teacher_forcing_ratio": teacher_forcing_ratio,
        "perceptual_weight": perceptual_weight,
        "adversarial_weight": adversarial_weight,
    }
    values = {key: value for key, value in options.items() if value is not None}
    values |= dict(parse_override(text) for text in overrides or [])

    from dancetomusic.models import registry

    check_directory(output)
    registry.train(model, config, values, output, data)


def parse_override(text: str) -> tuple[str, Any]:
    """Read ``key=value``, the value as YAML."""
    import yaml

    from dancetomusic.config import read_yaml

    key, separator, value = text.partition("=")
    if not key or not separator:
        raise ConfigError(f"override {text!r} has no key and value", "Write key=value.")
    try:
        return key, read_yaml(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {text!r} is malformed", "Quote the value.") from error
