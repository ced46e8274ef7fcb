"""The one list of models: nothing else in the package names them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from dancetomusic.errors import ConfigError


@dataclass(frozen=True)
class Family:
    """A kind of model, and the folder that holds everything about it.

    Attributes:
        name: As in ``config.json`` of its checkpoints, and as ``--model`` of ``train``.
        package: The folder, as a dotted name. Its module ``training`` defines
            ``TRAINING: TrainingEntry``.
    """

    name: str
    package: str

    def training(self) -> TrainingEntry:
        """How the family is trained; imports PyTorch."""
        entry = import_module(f"{self.package}.training").TRAINING
        assert isinstance(entry, TrainingEntry)
        return entry


@dataclass(frozen=True)
class TrainingEntry:
    """How a model is trained.

    Attributes:
        config: Dataclass of its settings.
        run: Trains by settings into the directory of a run.
    """

    config: type
    run: Callable[[Any, Path], object]


_FAMILIES: dict[str, Family] = {}


def register(family: Family) -> None:
    """Make a family known by its name, in place of any of the same name."""
    _FAMILIES[family.name] = family


def family_names() -> tuple[str, ...]:
    """Every name that ``find_family`` knows, in the order of registration."""
    return tuple(_FAMILIES)


def find_family(name: str) -> Family:
    """The family of a name.

    Raises:
        ConfigError: If there is none.
    """
    if name not in _FAMILIES:
        *others, last = _FAMILIES
        raise ConfigError(f"there is no model {name!r}", f"Choose {', '.join(others)} or {last}.")
    return _FAMILIES[name]


for _name, _package in (
    ("codec", "spectral_codec"),
    ("pose_encoder", "pose_encoder"),
    ("pose2audio", "pose2audio"),
    ("wavenet", "wavenet"),
    ("motion_vae", "motion_vae"),
    ("dance_gan", "dance_gan"),
    ("beat_network", "beat_network"),
):
    register(Family(_name, f"{__package__}.{_package}"))


def train(model: str, config: Path | str, overrides: dict[str, Any], output: Path | str) -> None:
    """Train ``model`` by the settings of a file, some of them overridden, into ``output``.

    Args:
        model: Name of a family.
        config: YAML or JSON file.
        overrides: Values by key; ``corpus.n_pieces`` is the key ``n_pieces`` within ``corpus``.
        output: Directory of the run; a run found there is resumed.

    Raises:
        ConfigError: If no model has this name, or the settings do not fit it.
        DanceToMusicError: If the task refuses its data, or training cannot go on.
    """
    from dancetomusic.config import config_from_dict, load_config_values

    entry = find_family(model).training()
    values = load_config_values(config)
    for key, value in overrides.items():
        values = _with_value(values, key.split("."), value)
    entry.run(config_from_dict(entry.config, values), Path(output))


def _with_value(values: Mapping[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    """A copy in which the value at a path of keys is another."""
    first, *rest = keys
    if rest:
        within = values.get(first) or {}
        if not isinstance(within, Mapping):
            raise ConfigError(f"{first} is {within!r}, without keys", "Name another key.")
        value = _with_value(within, rest, value)
    return {**values, first: value}
