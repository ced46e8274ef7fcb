"""Nothing of a run is kept anywhere but in our own cache."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dancetomusic.released import released_checkpoints

pytestmark = pytest.mark.skipif(
    not {"codec", "pose2audio"} <= set(released_checkpoints()), reason="no released weights"
)


@pytest.mark.slow
def test_a_run_leaves_nothing_in_an_empty_home(demo_dir, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    subprocess.run(
        [
            *(sys.executable, "-m", "dancetomusic.cli", "generate"),
            *(str(demo_dir / "bounce_104bpm.npz"), str(tmp_path / "out.wav")),
        ],
        env={**kept, "HOME": str(home), "PYTHONPATH": str(Path.cwd())},
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    left = {file.relative_to(home) for file in home.rglob("*") if file.is_file()}
    assert all("dancetomusic" in file.parts for file in left), sorted(left)
