"""Tempo from repetition: the view, the tempo and absent frames do not matter."""

import numpy as np
import pytest
import torch

from dancetomusic.data.augment import retime, turn
from dancetomusic.models.pose_encoder.tempo import (
    N_SIGNALS,
    TempoHead,
    known_frames,
    rhythm_signals,
    tempogram,
)
from dancetomusic.rhythm.beats import TEMPI_BPM, TEMPI_PER_OCTAVE
from dancetomusic.synthesis.choreography import choreograph

FPS = 24.0


def _dance(seconds: float = 30.0) -> np.ndarray:
    return choreograph("steps", 96.0, seconds, seed=4, timing_jitter_ms=0.0).world


def _signals(world: np.ndarray, *, causal: bool = False) -> torch.Tensor:
    return rhythm_signals(torch.from_numpy(world)[None], FPS, causal=causal)


def test_signals_do_not_depend_on_the_view() -> None:
    world = _dance(6.0)
    signals = _signals(world)
    assert signals.shape == (1, world.shape[0], N_SIGNALS)
    assert torch.allclose(_signals(turn(world, 1.1)), signals, atol=2e-3)


def test_causal_signals_know_no_future() -> None:
    world = _dance(6.0)
    part = _signals(world[:70], causal=True)
    assert torch.allclose(_signals(world, causal=True)[:, :70], part, atol=1e-5)


def test_a_faster_dance_is_the_same_tempogram_moved_along() -> None:
    world = _dance()
    moved = 6
    speed = 2.0 ** (moved / TEMPI_PER_OCTAVE)
    n_frames = int(world.shape[0] / speed)
    fast = retime(world, FPS, start_s=0.0, speed=speed, n_frames=n_frames)
    feet = 2
    slow_gram, fast_gram = (
        tempogram(_signals(w), torch.ones(1, w.shape[0], dtype=torch.bool), FPS)[0, feet]
        for w in (world, fast)
    )
    middle = slice(30, 110)
    likeness = np.corrcoef(slow_gram[middle], fast_gram[30 + moved : 110 + moved])[0, 1]
    assert likeness > 0.97


def test_absent_frames_have_no_say() -> None:
    world = _dance(12.0)
    present = torch.ones(1, world.shape[0], dtype=torch.bool)
    present[:, 100:160] = False
    other = world.copy()
    other[100:160] = 7.0
    head = TempoHead().eval()
    with torch.no_grad():
        said = head(_signals(world), present, FPS)
        assert torch.allclose(head(_signals(other), present, FPS), said, atol=1e-4)
    assert said.shape == (1, TEMPI_BPM.size)
    assert not known_frames(present)[0, 98:162].any()


@pytest.mark.parametrize("n_frames", [1, 2, 30])
def test_little_or_nothing_to_read_is_no_error(n_frames: int) -> None:
    signals = rhythm_signals(torch.zeros(2, max(2, n_frames), 33, 3), FPS)
    present = torch.zeros(2, max(2, n_frames), dtype=torch.bool)
    assert torch.isfinite(TempoHead().eval()(signals, present, FPS)).all()
