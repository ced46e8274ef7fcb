"""Copies among hashes, against comparing all with all."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dancetomusic.builder.duplicates import find_duplicates
from dancetomusic.errors import InputError


def slowly(keys, hashes, max_distance):
    kept, found = [], {}
    for key, value in zip(keys, hashes, strict=True):
        first = next(
            (
                other
                for other, known in kept
                if (int(known, 16) ^ int(value, 16)).bit_count() <= max_distance
            ),
            None,
        ) if value else None  # fmt: skip
        if first is not None:
            found[key] = first
        elif value:
            kept.append((key, value))
    return found


@st.composite
def hash_lists(draw):
    """Few hashes, copies of them with some bits changed, and empty ones."""
    n_bytes = draw(st.sampled_from([1, 3, 8, 9]))
    seeds = draw(st.lists(st.binary(min_size=n_bytes, max_size=n_bytes), min_size=1, max_size=4))
    values = []
    for _ in range(draw(st.integers(0, 25))):
        if draw(st.integers(0, 9)) == 0:
            values.append("")
            continue
        value = bytearray(draw(st.sampled_from(seeds)))
        for bit in draw(st.lists(st.integers(0, 8 * n_bytes - 1), max_size=6)):
            value[bit // 8] ^= 1 << bit % 8
        values.append(bytes(value).hex())
    return values


@pytest.mark.slow(1)
@settings(max_examples=60, deadline=None)
@given(hash_lists(), st.integers(-1, 80))
def test_as_comparing_all_with_all(hashes, max_distance):
    keys = [f"k{place}" for place in range(len(hashes))]
    expected = slowly(keys, hashes, max_distance)
    assert find_duplicates(keys, hashes, max_distance=max_distance) == expected


@pytest.mark.parametrize("max_distance", [0, 7, 24, 47])
def test_planted_copies_are_found_among_many(max_distance):
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (4000, 64), dtype=np.uint8)
    for later, earlier in ((3999, 3), (2000, 1999), (700, 0)):
        hashes[later] = hashes[earlier]
        bits = rng.choice(512, max_distance, replace=False)
        np.bitwise_xor.at(hashes[later], bits // 8, (1 << bits % 8).astype(np.uint8))
    keys = [str(place) for place in range(4000)]
    found = find_duplicates(keys, [h.tobytes().hex() for h in hashes], max_distance=max_distance)
    assert found == {"3999": "3", "2000": "1999", "700": "0"}


def test_a_copy_of_what_was_not_kept_is_no_copy():
    assert find_duplicates("abc", ["00", "01", "03"], max_distance=1) == {"b": "a"}


@pytest.mark.realtime
def test_many_equal_hashes_take_no_longer():
    begin = time.perf_counter()
    found = find_duplicates([str(k) for k in range(50_000)], ["ab" * 64] * 50_000, max_distance=47)
    assert len(found) == 49_999
    assert set(found.values()) == {"0"}
    assert time.perf_counter() - begin < 5


def test_nothing_matches_nothing():
    assert find_duplicates([], [], max_distance=5) == {}
    assert find_duplicates(["a", "b"], ["", ""], max_distance=5) == {}


@pytest.mark.parametrize("hashes", [["00"], ["00", "0000"], ["zz", "00"], ["000", "000"],
                                    ["0 0 ", "0000"]])  # fmt: skip
def test_bad_hashes_are_refused(hashes):
    with pytest.raises(InputError):
        find_duplicates(["a", "b"], hashes, max_distance=1)
