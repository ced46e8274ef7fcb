"""``dancetomusic train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from dancetomusic.errors import ConfigError


def train(
    model: Annotated[
        str, typer.Option("--model", help="What to train: codec, pose_encoder or pose2audio.")
    ],
    config: Annotated[Path, typer.Option("--config", help="Its settings, YAML or JSON.")],
    output: Annotated[Path, typer.Option("--output", help="Directory of the run.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace the file's."),
    ] = None,
) -> None:
    """Train a model."""
    values = dict(parse_override(text) for text in overrides or [])

    from dancetomusic import training

    training.train(model, config, values, output)


def parse_override(text: str) -> tuple[str, Any]:
    """Read ``key=value``, the value as YAML."""
    import yaml

    key, separator, value = text.partition("=")
    if not key or not separator:
        raise ConfigError(f"override {text!r} has no key and value", "Write key=value.")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {text!r} is malformed", "Quote the value.") from error
