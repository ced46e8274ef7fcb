from __future__ import annotations

import pytest
import torch

from dancetomusic.codec.patterns import CodePattern
from dancetomusic.errors import ConfigError

CODES = torch.tensor([[[0, 1, 2, 3], [10, 11, 12, 13]]])
E = 99


def test_delay_is_as_drawn() -> None:
    drawn = [[0, 1, 2, 3, E], [E, 10, 11, 12, 13]]
    assert CodePattern("delay", 2).build(CODES, E)[0].tolist() == drawn


def test_flatten_is_as_drawn() -> None:
    drawn = [[0, E, 1, E, 2, E, 3, E], [E, 10, E, 11, E, 12, E, 13]]
    assert CodePattern("flatten", 2).build(CODES, E)[0].tolist() == drawn


def test_steps_of_five_seconds_at_75_frames_a_second() -> None:
    assert CodePattern("delay", 2).n_steps(375) == 376
    assert CodePattern("flatten", 2).n_steps(375) == 750


def test_the_coarsest_code_is_written_at_the_time_of_its_frame() -> None:
    for name in ("delay", "flatten"):
        pattern = CodePattern(name, 3)
        at = pattern.frame_of(pattern.n_steps(6))
        assert at[pattern.step_of(6)[0]].tolist() == [0, 1, 2, 3, 4, 5]


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(ConfigError, match="'spiral'"):
        CodePattern("spiral", 2)
    with pytest.raises(ConfigError, match="n_codebooks is 0"):
        CodePattern("delay", 0)
