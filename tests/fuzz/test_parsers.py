"""Mutated files are refused in one line, or used: no traceback, no hang, no flood of memory.

``FUZZ_EXAMPLES`` says how many mutations each parser is given (``make fuzz`` takes 3000).
"""

import os
import resource
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.parsers import accepts, parsers

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
HANGS_S = 60
FLOOD_KB = 1_500_000
EDGES = (  # bytes at which numbers turn over
    b"\0",
    b"\xff",
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80",
    b"-",
    b"9" * 20,
)

MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(("flip", "put", "cut", "drop", "repeat", "insert", "swap")),
        st.floats(0, 1),
        st.floats(0, 1),
        st.one_of(st.sampled_from(EDGES), st.binary(min_size=1, max_size=6)),
    ),
    max_size=8,
)


def mutate(content: bytes, mutations: list[tuple[str, float, float, bytes]]) -> bytes:
    """The content after every mutation: each has a kind, a place, a length and some bytes.

    Places are squared, so that half of them are in the first quarter, where headers are.
    """
    data = bytearray(content)
    for kind, place, length, piece in mutations:
        at = int(place**2 * len(data))
        end = min(len(data), at + 1 + int(length**3 * 200))
        if kind == "flip" and at < len(data):
            data[at] ^= piece[0] or 1
        elif kind == "put":
            data[at : at + len(piece)] = piece
        elif kind == "cut":
            del data[at:]
        elif kind == "drop":
            del data[at:end]
        elif kind == "repeat":
            data[at:at] = data[at:end] * (1 + piece[0] % 8)
        elif kind == "insert":
            data[at:at] = piece
        elif kind == "swap":
            data[at:end] = data[at:end][::-1]
    return bytes(data)


@contextmanager
def within_limits() -> Iterator[None]:
    """Fail what takes longer than ``HANGS_S`` or more memory than ``FLOOD_KB``."""

    def hang(number: int, frame: object) -> None:
        raise AssertionError(f"not done after {HANGS_S} s")

    before = signal.signal(signal.SIGALRM, hang)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.alarm(HANGS_S)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < FLOOD_KB


@pytest.mark.parametrize("name", sorted(parsers()))
def test_real_files_are_accepted(name, tmp_path):
    parser = parsers()[name]
    path = tmp_path / f"file{parser.suffix}"
    path.write_bytes(parser.seeds[0])
    assert accepts(parser, path) or name == "video"  # whose middle is left out


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(parsers()))
def test_mutated_files_are_refused_in_one_line_or_used(name, tmp_path_factory):
    parser = parsers()[name]
    path = tmp_path_factory.mktemp(name) / f"file{parser.suffix}"

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    )
    @given(seed=st.sampled_from(parser.seeds), mutations=MUTATIONS)
    def run(seed, mutations):
        path.write_bytes(mutate(seed, mutations))
        with within_limits():
            accepts(parser, path)

    run()
