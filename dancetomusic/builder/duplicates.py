"""Clips that show the same pictures: found by their hashes, exactly, among a million."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, pairwise

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from dancetomusic.errors import InputError

_MAX_KEY_BITS = 60


def find_duplicates(
    keys: Sequence[str], hashes: Sequence[str], *, max_distance: int
) -> dict[str, str]:
    """Map each clip that repeats an earlier one to the first that it repeats.

    In the order given, a clip is kept unless its hash differs in at most ``max_distance``
    bits from that of a clip kept before. Empty hashes match nothing.

    Only hashes that agree in some band of their bits are compared, by the pigeonhole
    principle, so time grows nearly as the number of clips; memory is proportional to it, and
    to the number of pairs found.

    Hashes are hexadecimal, all of one length but the empty ones. A negative ``max_distance``, which
    is in bits, finds nothing.

    Raises:
        InputError: If lengths disagree, or a hash is not hexadecimal.

    References:
        Norouzi, Punjani & Fleet, "Fast Exact Search in Hamming Space With Multi-Index
        Hashing", 2014.
    """
    if len(keys) != len(hashes):
        raise InputError(f"{len(keys)} keys have {len(hashes)} hashes", "Give one for each.")
    firsts: dict[str, int] = {}  # of equal hashes, the first stands for all
    for index, value in enumerate(hashes):
        if value:
            firsts.setdefault(value, index)
    if max_distance < 0 or not firsts:
        return {}
    indices = list(firsts.values())
    kept_by = _keep_first(_near_pairs(_to_bytes(list(firsts)), max_distance), len(firsts))
    kept = {value: indices[first] for value, first in zip(firsts, kept_by.tolist(), strict=True)}
    return {
        keys[index]: keys[kept[value]]
        for index, value in enumerate(hashes)
        if value and kept[value] != index
    }


def _keep_first(pairs: Int64[np.ndarray, "pairs 2"], n: int) -> Int64[np.ndarray, " n"]:
    """For each of ``n``: itself, or the first kept one before it that it is near."""
    kept_by = np.arange(n)
    for later, earlier in pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))][:, ::-1].tolist():
        if kept_by[later] == later and kept_by[earlier] == earlier:
            kept_by[later] = earlier
    return kept_by


def _near_pairs(
    hashes: UInt8[np.ndarray, "n bytes"], max_distance: int
) -> Int64[np.ndarray, "pairs 2"]:
    """Every pair (earlier, later) within the distance, some more than once."""
    if len(hashes) < 2:
        return np.zeros((0, 2), np.int64)
    padded = np.pad(hashes, ((0, 0), (0, -hashes.shape[1] % 8)))
    words = np.ascontiguousarray(padded).view(np.uint64)
    found = [np.zeros((0, 2), np.int64)]
    for values in _shared_values(hashes, max_distance):
        order = np.argsort(values)
        values = values[order]
        left = np.arange(len(order) - 1)
        for step in count(1):
            left = left[left + step < len(order)]
            left = left[values[left] == values[left + step]]
            if not left.size:
                break
            a, b = order[left], order[left + step]
            differing = np.bitwise_count(words[a] ^ words[b]).sum(axis=1, dtype=np.int64)
            near = differing <= max_distance
            pairs = np.stack([a[near], b[near]], axis=1)
            found.append(np.sort(pairs, axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _shared_values(
    hashes: UInt8[np.ndarray, "n bytes"], max_distance: int
) -> Iterator[UInt64[np.ndarray, " n"]]:
    """Columns of numbers, of which hashes within the distance share at least one.

    ``max_distance + 1`` bands of bits have one without an error. Where those are too narrow
    to separate many hashes, half as many have one with at most one error, and each bit of
    it in turn is left out.
    """
    n_bits = hashes.shape[1] * 8
    narrow = n_bits / (max_distance + 1) < np.log2(len(hashes)) + 1
    n_bands = max_distance // 2 + 1 if narrow else max_distance + 1
    edges = np.linspace(0, n_bits, min(n_bands, n_bits) + 1).round().astype(int).tolist()
    for begin, end in pairwise(edges):
        band = _band(hashes, begin, end)
        if not narrow:
            yield band
            continue
        for bit in range(min(end - begin, _MAX_KEY_BITS)):
            yield band & ~np.uint64(1 << bit)


def _band(hashes: UInt8[np.ndarray, "n bytes"], begin: int, end: int) -> UInt64[np.ndarray, " n"]:
    """Bits ``begin`` to ``end`` of each hash as a number; of a wide band, the first 60."""
    end = min(end, begin + _MAX_KEY_BITS)
    value = np.zeros(len(hashes), np.uint64)
    for bit in range(begin, end):
        one = (hashes[:, bit // 8] >> (7 - bit % 8)) & 1
        value = (value << np.uint64(1)) | one.astype(np.uint64)
    return value


def _to_bytes(hashes: Sequence[str]) -> UInt8[np.ndarray, "n bytes"]:
    length = len(hashes[0])
    odd = next((value for value in hashes if len(value) != length), None)
    if odd is not None:
        raise InputError(
            f"hashes have {length * 4} and {len(odd) * 4} bits", "Measure all clips again."
        )
    try:
        content = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8)
        return content.reshape(len(hashes), length // 2)
    except ValueError as error:
        raise InputError(f"a hash is not hexadecimal ({error})", "Measure it again.") from error
