"""Training: one loop, and one recipe per model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dancetomusic.errors import ConfigError

MODELS = (
    "codec",
    "pose_encoder",
    "pose2audio",
    "wavenet",
    "motion_vae",
    "dance_gan",
    "beat_network",
)


def train(model: str, config: Path | str, overrides: dict[str, Any], output: Path | str) -> None:
    """Train ``model`` by the settings of a file, some of them overridden, into ``output``.

    Args:
        model: Name of a recipe, one of ``MODELS``.
        config: YAML or JSON file.
        overrides: Values by key; ``corpus.n_pieces`` is the key ``n_pieces`` within ``corpus``.
        output: Directory of the run; a run found there goes on.

    Raises:
        ConfigError: If no recipe has this name, or the settings do not fit it.
        DanceToMusicError: If the recipe refuses its data, or training cannot go on.
    """
    from dancetomusic.config import config_from_dict, load_config_values

    recipe, config_class = _recipe(model)
    values = load_config_values(config)
    for key, value in overrides.items():
        values = _with_value(values, key.split("."), value)
    recipe(config_from_dict(config_class, values), Path(output))


def _with_value(values: Mapping[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    """A copy in which the value at a path of keys is another."""
    first, *rest = keys
    if rest:
        within = values.get(first) or {}
        if not isinstance(within, Mapping):
            raise ConfigError(f"{first} is {within!r}, without keys", "Name another key.")
        value = _with_value(within, rest, value)
    return {**values, first: value}


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
    if model == "wavenet":
        from dancetomusic.training import wavenet

        return wavenet.train_wavenet, wavenet.WaveNetTrainingConfig
    if model == "motion_vae":
        from dancetomusic.training import motion_vae

        return motion_vae.train_motion_vae, motion_vae.MotionVaeTrainingConfig
    if model == "dance_gan":
        from dancetomusic.training import dance_gan

        return dance_gan.train_dance_gan, dance_gan.DanceGanTrainingConfig
    if model == "beat_network":
        from dancetomusic.training import beat_network

        return beat_network.train_beat_network, beat_network.BeatNetworkTrainingConfig
    raise ConfigError(
        f"no recipe trains {model!r}", f"Choose {', '.join(MODELS[:-1])} or {MODELS[-1]}."
    )
