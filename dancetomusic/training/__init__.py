"""Training: one recipe per model, each a function of a configuration and an output directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dancetomusic.errors import ConfigError


def train(model: str, config: Path | str, overrides: dict[str, Any], output: Path | str) -> None:
    """Train ``model`` by the settings of a file, some of them overridden, into ``output``.

    Raises:
        ConfigError: If no recipe has this name, or the settings do not fit it.
    """
    from dancetomusic.config import config_from_dict, load_config_values

    recipe, config_class = _recipe(model)
    values = {**load_config_values(config), **overrides}
    recipe(config_from_dict(config_class, values), Path(output))


def _recipe(model: str) -> tuple[Callable[[Any, Path], object], type]:
    if model == "codec":
        from dancetomusic.training import codec

        return codec.train_codec, codec.CodecTrainingConfig
    if model == "pose_encoder":
        from dancetomusic.training import pose_encoder

        return pose_encoder.train_pose_encoder, pose_encoder.PoseEncoderTrainingConfig
    if model == "pose2audio":
        from dancetomusic.training import pose2audio

        return pose2audio.train_pose2audio, pose2audio.Pose2AudioTrainingConfig
    raise ConfigError(f"no recipe trains {model!r}", "Choose codec, pose_encoder or pose2audio.")
