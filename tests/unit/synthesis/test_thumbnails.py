"""Small drawn pictures of a dancer."""

from __future__ import annotations

import numpy as np

from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.synthesis.thumbnails import draw_thumbnails

DANCE = choreograph("steps", 120, 4, seed=3, fps=25.0, hold_share=0.0)


def test_the_same_seed_draws_the_same_and_another_another():
    first, again, other = (
        draw_thumbnails(DANCE.world, 25.0, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert first.shape == (100, 64, 64) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 10


def test_only_the_dancer_moves():
    still = np.repeat(DANCE.world[:1], 20, axis=0)
    for seed in range(4):
        moved, held = (
            np.abs(
                np.diff(draw_thumbnails(w, 25.0, np.random.default_rng(seed)).astype(float), axis=0)
            )
            for w in (DANCE.world[:20], still)
        )
        # All that changes about one who stands still is the noise; one who dances changes more,
        # but never the greater part of the picture.
        assert held.max() < 40 and held.mean() < 5
        assert moved.max() > held.max()
        assert (moved.mean(0) > held.mean(0) + 6).mean() < 0.5


def test_pictures_change_most_when_the_dancer_does():
    quick = draw_thumbnails(DANCE.world, 25.0, np.random.default_rng(5)).astype(float)
    change = np.abs(np.diff(quick, axis=0)).mean((1, 2))
    speed = np.linalg.norm(np.diff(DANCE.world, axis=0), axis=-1).mean(1)
    assert np.corrcoef(change, speed)[0, 1] > 0.5
