"""What tests share: where data lies, fixed seeds, one thread, and a word about what was skipped."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

THREADS = ("OMP", "OPENBLAS", "MKL", "NUMEXPR")
# Read when PyTorch is loaded, and inherited by all processes that are started. What loads NumPy
# before this is pytest's plugin of jaxtyping, in the first process alone.
os.environ.update({f"{library}_NUM_THREADS": "1" for library in THREADS})

import numpy as np  # noqa: E402
import pytest  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
ABSENT = "../shared/data is absent"
MAX_WORKERS = 8
WORKER_BYTES = 2 * 2**30
"""Memory of a worker with the processes that its tests start."""

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A run in the background ignores interrupts, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Development data beside the checkout; it is no part of the project."""
    if not SHARED_DATA.is_dir():
        pytest.skip(ABSENT)
    return SHARED_DATA


@pytest.fixture(scope="session")
def demo_dir() -> Path:
    """The shipped demo clips with their true beats and poses."""
    return REPOSITORY / "data" / "demo"


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this run have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def dancers_of_demo(demo_dir: Path, shared_folder: Path) -> Callable[[str, int], list[Any]]:
    """Who is seen in a demo clip, as a video is read; each is looked at once by all processes."""
    from filelock import FileLock

    from dancetomusic.generate.inputs import read_dancers
    from dancetomusic.pose.files import load_poses, save_poses

    def dancers(name: str, count: int) -> list[Any]:
        folder = shared_folder / f"{name}_{count}"
        with FileLock(f"{folder}.lock"):
            if not folder.is_dir():
                found, _ = read_dancers(demo_dir / f"{name}.mp4", count)
                folder.mkdir()
                for number, poses in enumerate(found):
                    save_poses(folder / f"{number}.npz", poses)
        return [load_poses(file) for file in sorted(folder.iterdir())]

    return dancers


@pytest.fixture
def tiny_rng() -> np.random.Generator:
    """Small random inputs, the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _same_conditions() -> Iterator[None]:
    """One thread and one seed for torch, if the test's module has imported it."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
        torch.manual_seed(0)
    yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """``-n auto``: a worker for each processor, as long as there is memory for all of them."""
    from dancetomusic.parallel import usable_cpus

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(usable_cpus(), memory // WORKER_BYTES, MAX_WORKERS))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, lest one worker is left with them in the end."""
    seconds: Counter[Path] = Counter()
    for item in items:
        if mark := item.get_closest_marker("slow"):
            seconds[item.path] += mark.args[0] if mark.args else 3
    items.sort(key=lambda item: -seconds[item.path])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    absent = sum(
        ABSENT in str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])
    )
    if absent:
        terminalreporter.write_line(f"{absent} tests were skipped because {ABSENT}")
