import numpy as np
import pytest

from dancetomusic.pose.landmarks import LANDMARK
from dancetomusic.pose.limbs import limb_range
from dancetomusic.synthesis.choreography import choreograph


def test_the_range_is_that_of_nine_tenths_of_the_time() -> None:
    world = np.zeros((201, 33, 3), np.float32)
    world[:, LANDMARK["left_wrist"], 0] = np.linspace(0, 1, 201)
    assert limb_range(world) == pytest.approx(0.9 / 6)
    world[0, LANDMARK["left_wrist"], 0] = 50.0  # a glitch
    assert limb_range(world) == pytest.approx(0.9 / 6, abs=0.01)
    assert limb_range(world[:0]) == 0.0


def test_a_dancer_has_more_than_jitter(tiny_rng: np.random.Generator) -> None:
    dance = choreograph("steps", 110, 10, seed=1)
    still = dance.world[:1] + tiny_rng.normal(0, 0.015, dance.world.shape)
    assert limb_range(dance.world.astype(np.float32)) > 0.26
    assert limb_range(still.astype(np.float32)) < 0.1
