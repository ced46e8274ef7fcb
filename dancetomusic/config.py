"""Dataclass configurations to and from JSON and YAML; an unknown key is an error."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import typing
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError, create_model

from dancetomusic.errors import ConfigError

T = TypeVar("T")


def config_to_dict(config: Any) -> dict[str, Any]:
    """Plain values of a dataclass instance, nested dataclasses included."""
    return dataclasses.asdict(config)


def config_from_dict(cls: type[T], values: dict[str, Any]) -> T:
    """Build ``cls`` from plain values; its own ``__post_init__`` checks ranges.

    Types are those of JSON, taken strictly; a whole number is a float where one is wanted.

    Raises:
        ConfigError: On an unknown key, a missing value or a value of the wrong type.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Size:
        ...     width: int = 3
        >>> config_from_dict(Size, {"width": 4})
        Size(width=4)
    """
    try:
        config: T = _adapter(cls).validate_json(
            json.dumps(values, default=str), strict=True, extra="forbid"
        )
    except ValidationError as error:
        raise _explain(cls, error) from error
    return config


def load_config_values(path: Path | str) -> dict[str, Any]:
    """The mapping that a ``.json``, ``.yaml`` or ``.yml`` file holds; empty for an empty file.

    Raises:
        ConfigError: If the file is missing, malformed or no mapping.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        values = json.loads(text) if file.suffix == ".json" else read_yaml(text)
    except OSError as error:
        raise ConfigError(f"cannot read {file} ({error})", "Name a YAML or JSON file.") from error
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} is malformed ({error})", "Correct the file.") from error
    if not isinstance(values, dict | None):
        raise ConfigError(f"{file} holds {type(values).__name__}", "Write keys and values.")
    return values or {}


def read_yaml(text: str) -> Any:
    """The plain values of a YAML text, in which ``1e-3`` is a number.

    Raises:
        YAMLError: If it is malformed.
    """
    return yaml.load(text, _Loader)


class _Loader(yaml.SafeLoader):
    """Takes numbers with a power of ten as YAML 1.2 does; 1.1 wants a point and a sign in them."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def check_ranges(
    config: object, *, counts: str = "", positive: str = "", weights: str = "", shares: str = ""
) -> None:
    """Refuse settings out of range; each argument names settings, separated by spaces.

    Args:
        config: The settings.
        counts: At least 1.
        positive: More than 0.
        weights: 0 or more.
        shares: In [0, 1].

    Raises:
        ConfigError: If one is out of range, or not a number.
    """
    for keys, low, high, remedy in (
        (counts, 1, math.inf, "Give at least 1."),
        (positive, math.nextafter(0, 1), math.inf, "Give more than 0."),
        (weights, 0, math.inf, "Give 0 or more."),
        (shares, 0, 1, "Give a share in [0, 1]."),
    ):
        for key in keys.split():
            if not low <= getattr(config, key) <= high:
                raise ConfigError(f"{key} is {getattr(config, key)}", remedy)


def check_fields(config: Any) -> None:
    """Check an instance of a dataclass against the annotations of its fields, ranges included.

    Raises:
        ConfigError: If a value is of another type or out of its range.
    """
    cls: Any = type(config)
    try:
        _fields(cls).model_validate(vars(config), strict=True)
    except ValidationError as error:
        raise _explain(cls, error) from error


@cache
def _fields(cls: type) -> type[BaseModel]:
    hints = typing.get_type_hints(cls, include_extras=True)
    fields: dict[str, Any] = {name: (hint, ...) for name, hint in hints.items()}
    return create_model(cls.__name__, **fields)


_TYPES = {"int": "int", "float": "float", "string": "str", "bool": "bool"}
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)


def _explain(cls: type, error: ValidationError) -> ConfigError:
    """The first thing that is wrong, as one line with its remedy."""
    details = error.errors(include_url=False)
    first = details[0]
    kind, path = first["type"], [part for part in first["loc"] if isinstance(part, str)]
    for name in path[:-1]:
        cls = _dataclass_in(typing.get_type_hints(cls)[name])
    if kind == "unexpected_keyword_argument":
        unknown = sorted(
            str(detail["loc"][-1])
            for detail in details
            if detail["type"] == kind and detail["loc"][:-1] == first["loc"][:-1]
        )
        return ConfigError(
            f"{cls.__name__} has no key {', '.join(map(repr, unknown))}",
            f"Known keys: {', '.join(sorted(field.name for field in dataclasses.fields(cls)))}.",
        )
    if kind == "missing":
        return ConfigError(f"{cls.__name__} lacks {path[-1]}", "Give every required key.")
    problem = f"{path[-1] if path else cls.__name__} is {first['input']!r}"
    if kind == "literal_error":
        choices = first["ctx"]["expected"].replace(" or ", ", ")
        return ConfigError(problem, f"Choose one of {choices}.")
    if kind == "dataclass_type":
        return ConfigError(problem, "Give a mapping of keys to values.")
    wanted = _TYPES.get(kind.partition("_")[0])
    if wanted is not None:
        return ConfigError(problem, f"Give a value of type {wanted}.")
    return ConfigError(problem, first["msg"].replace("Input should be", "Give a value") + ".")


def _dataclass_in(hint: Any) -> type:
    """The dataclass that a field's type is, or may be."""
    choices = typing.get_args(hint) or (hint,)
    return next(choice for choice in choices if isinstance(choice, type))
