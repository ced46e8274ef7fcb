"""The digest by which a checkpoint names what it was trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


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
