"""Sets that the builder makes of real videos, for the tests of building and of training on them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from tests.dance_factory import BUILD_OPTIONS, small_copy


def _once(folder: Path, make: Callable[[Path], None]) -> Path:
    """A folder that all processes of this run have in common, made by the first that needs it."""
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            make(folder)
    return folder


@pytest.fixture(scope="session")
def folder(shared_folder: Path, demo_dir: Path) -> Path:
    """Three good videos, one in a folder with a hostile name, and three that are none."""

    def make(folder: Path) -> None:
        (folder / "-rf; ..").mkdir(parents=True)
        for clip, name, side in (
            ("steps_128bpm", "steps.mp4", 192),
            ("bounce_104bpm", "-rf; ../'踊り'\n$(x).mp4", 192),
            ("steps_128bpm", "again.mp4", 256),
        ):
            small_copy(demo_dir / f"{clip}.mp4", folder / name, seconds=4.1, side=side)
        (folder / "empty.mp4").touch()
        (folder / "text.mp4").write_text("no video")
        whole = (folder / "steps.mp4").read_bytes()
        (folder / "broken.mp4").write_bytes(whole[: len(whole) // 2])

    return _once(shared_folder / "videos", make)


@pytest.fixture(scope="session")
def built(shared_folder: Path, folder: Path) -> Path:
    """The set of ``folder``: four accepted clips of two seconds."""

    def make(output: Path) -> None:
        arguments = ["--input_folder", str(folder), "--output_path", str(output), *BUILD_OPTIONS]
        result = subprocess.run(
            [sys.executable, "-m", "dancetomusic.cli", "build", *arguments],
            capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert not (output / ".work").exists()

    return _once(shared_folder / "set", make)
