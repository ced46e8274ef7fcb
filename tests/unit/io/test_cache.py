"""The cache is the user's, or a stand-in that nobody else can fill."""

import logging
import os

import pytest

from dancetomusic.errors import OutputError
from dancetomusic.io import cache
from dancetomusic.io.cache import cache_directory


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """A home that is a file, and temporary files in a folder of the test's own."""
    (tmp_path / "home").write_bytes(b"")
    (tmp_path / "tmp").mkdir()
    for name in ("DANCETOMUSIC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    cache._temporary.cache_clear()
    return tmp_path


def test_a_temporary_folder_stands_in_and_is_said_once(nowhere, caplog):
    with caplog.at_level(logging.WARNING):
        first, second = cache_directory(), cache_directory()
    assert first == second == nowhere / "tmp" / f"dancetomusic-{os.getuid()}"
    assert first.is_dir() and first.stat().st_mode & 0o777 == 0o700
    assert len(caplog.records) == 1 and str(first) in caplog.text


def test_a_folder_that_others_may_write_is_not_used(nowhere):
    planted = nowhere / "tmp" / f"dancetomusic-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    with pytest.raises(OutputError, match="belongs to somebody else"):
        cache_directory()
    planted.rmdir()
    planted.symlink_to(nowhere)
    with pytest.raises(OutputError, match="belongs to somebody else"):
        cache_directory()


def test_a_chosen_cache_is_used_or_refused(nowhere, monkeypatch):
    monkeypatch.setenv("DANCETOMUSIC_CACHE", str(nowhere / "mine"))
    assert cache_directory() == nowhere / "mine"
    monkeypatch.setenv("DANCETOMUSIC_CACHE", str(nowhere / "home" / "mine"))
    with pytest.raises(OutputError, match="Set DANCETOMUSIC_CACHE"):
        cache_directory()
