"""What the machine refuses is told from bugs, whatever library met it first."""

import errno

import pytest

from dancetomusic.cli.surroundings import explain
from dancetomusic.errors import InputError, OutputError


def _chained(outer: Exception, inner: Exception) -> Exception:
    try:
        try:
            raise inner
        except Exception as error:
            raise outer from error
    except Exception as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        RuntimeError("unable to mmap 18066024 bytes from file <x>: Cannot allocate memory (12)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory"),
        _chained(InputError("x is no model", "Name one."), RuntimeError("map failed, errno=12")),
    ],
)
def test_too_little_memory_is_said(error):
    explained = explain(error)
    assert explained is not None and "not enough memory" in str(explained)


def test_a_full_disk_is_said_and_a_better_message_kept():
    full = OSError(errno.ENOSPC, "No space left on device")
    assert "No space left" in str(explain(full))
    told = OutputError("writing a.wav failed", "Free some disk space.")
    assert explain(_chained(told, full)) is told


@pytest.mark.parametrize(
    "bug", [ValueError("x"), KeyError("x"), FileNotFoundError(errno.ENOENT, "absent"), OSError("x")]
)
def test_bugs_are_not_explained(bug):
    assert explain(bug) is None
