"""Prepared training material: kept in the run's directory, and named by a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from dancetomusic.io.atomic import atomic_output

T = TypeVar("T")


def hash_arrays(arrays: Iterable[np.ndarray]) -> str:
    """First 16 hexadecimal digits of SHA-256 over types, shapes and contents, in this order.

    Example:
        >>> hash_arrays([np.arange(3)]) == hash_arrays([np.arange(4)])
        False
    """
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def load_or_make(
    file: Path,
    source: Any,
    make: Callable[[], Iterable[T]],
    pack: Callable[[T], Mapping[str, np.ndarray]],
    unpack: Callable[[Mapping[str, np.ndarray]], T],
) -> list[T]:
    """Read items from an ``.npz`` file, or make and keep them there.

    Args:
        file: The file; array ``NAME7`` is ``NAME`` of item 7.
        source: Plain values that decide the items; where others are in the file, it is made again.
        make: Makes the items.
        pack: The arrays of an item by name.
        unpack: The item of arrays.

    Returns:
        The items as they are read from the file, also where they were just made.
    """
    origin = json.dumps(source, sort_keys=True)
    if file.is_file():
        with np.load(file, allow_pickle=False) as arrays:
            if "n_items" in arrays and str(arrays["origin"]) == origin:
                return _unpack_all(arrays, unpack)
    packed = [pack(item) for item in make()]
    held = {"origin": np.array(origin), "n_items": np.array(len(packed))}
    for number, parts in enumerate(packed):
        held |= {f"{name}{number}": array for name, array in parts.items()}
    with atomic_output(file) as temporary:
        np.savez(temporary, allow_pickle=False, **held)
    return _unpack_all(held, unpack)


def _unpack_all(
    arrays: Mapping[str, np.ndarray], unpack: Callable[[Mapping[str, np.ndarray]], T]
) -> list[T]:
    names = {key.rstrip("0123456789") for key in arrays} - {"origin", "n_items"}
    count = int(arrays["n_items"])
    return [unpack({name: arrays[f"{name}{n}"] for name in names}) for n in range(count)]
