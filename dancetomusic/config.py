"""Dataclass configurations to and from JSON and YAML; an unknown key is an error."""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from dancetomusic.errors import ConfigError

T = TypeVar("T")

_POWER_OF_TEN = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+")  # text in YAML 1.1


def config_to_dict(config: Any) -> dict[str, Any]:
    """Plain values of a dataclass instance, nested dataclasses included."""
    return dataclasses.asdict(config)


def config_from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """Build ``cls`` from plain values; its own ``__post_init__`` checks ranges.

    Where a float is wanted, a whole number is one, and so is a text such as ``1e-3``: YAML 1.1
    takes numbers with a power of ten for text unless they have a point and a sign.

    Raises:
        ConfigError: On an unknown key, a missing value or a value of the wrong type.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Size:
        ...     width: int = 3
        >>> config_from_dict(Size, {"width": 4})
        Size(width=4)
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{cls.__name__} is {values!r}", "Give a mapping of keys to values.")
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(
            f"{cls.__name__} has no key {', '.join(map(repr, unknown))}",
            f"Known keys: {', '.join(sorted(known))}.",
        )
    converted = {key: _convert(hints[key], value, key) for key, value in values.items()}
    try:
        return cls(**converted)
    except TypeError as error:
        raise ConfigError(f"{cls.__name__}: {error}", "Give every required key.") from error


def load_config_values(path: Path | str) -> dict[str, Any]:
    """The mapping that a ``.json``, ``.yaml`` or ``.yml`` file holds; empty for an empty file.

    Raises:
        ConfigError: If the file is missing, malformed or no mapping.
    """
    import yaml

    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        values = json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"cannot read {file} ({error})", "Name a YAML or JSON file.") from error
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} is malformed ({error})", "Correct the file.") from error
    if not isinstance(values, dict | None):
        raise ConfigError(f"{file} holds {type(values).__name__}", "Write keys and values.")
    return values or {}


def _convert(hint: Any, value: Any, key: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert(next(a for a in args if a is not type(None)), value, key)
    if dataclasses.is_dataclass(hint):
        return config_from_dict(typing.cast(type, hint), value)
    if origin is tuple and isinstance(value, list | tuple):
        inner = args[0] if args else Any
        return tuple(_convert(inner, item, key) for item in value)
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{key} is {value!r}", f"Choose one of {', '.join(map(repr, args))}.")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str) and _POWER_OF_TEN.fullmatch(value):
        return float(value)
    if hint in (int, float, str, bool) and (
        not isinstance(value, hint) or (hint is int and isinstance(value, bool))
    ):
        raise ConfigError(f"{key} is {value!r}", f"Give a value of type {hint.__name__}.")
    return value
