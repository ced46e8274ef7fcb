"""A few of the mutated videos of ``tests.fuzz.videos``, as it reads many."""

from pathlib import Path

import pytest

from tests.fuzz.videos import attack


@pytest.mark.slow(15)
def test_mutated_videos_are_refused_in_one_line_or_used(tmp_path: Path) -> None:
    outcomes, findings = attack(20, seed=1, n_commands=0, keep=tmp_path)
    assert not findings
    assert outcomes["read: used"] and outcomes["read: refused"]
