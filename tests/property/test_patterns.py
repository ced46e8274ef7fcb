"""Patterns undo themselves, and write codes in an order that a decoder can follow."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dancetomusic.codec.patterns import CodePattern

EMPTY = 99
patterns = st.builds(CodePattern, st.sampled_from(["delay", "flatten"]), st.integers(1, 5))


@settings(deadline=None, max_examples=60)
@given(patterns, st.integers(1, 3), st.integers(0, 12))
def test_revert_undoes_build(pattern: CodePattern, batch: int, frames: int) -> None:
    codes = torch.randint(0, EMPTY, (batch, pattern.n_codebooks, frames))
    steps = pattern.build(codes, EMPTY)
    assert steps.shape == (batch, pattern.n_codebooks, pattern.n_steps(frames))
    assert torch.equal(pattern.revert(steps, frames), codes)
    assert int((steps != EMPTY).sum()) == codes.numel()


@settings(deadline=None, max_examples=60)
@given(patterns, st.integers(1, 12))
def test_finer_codes_come_after_coarser_ones_and_frames_in_turn(
    pattern: CodePattern, frames: int
) -> None:
    steps = pattern.step_of(frames)
    assert (steps.diff(dim=0) > 0).all()
    assert (steps.diff(dim=1) > 0).all()
    assert int(steps.max()) == pattern.n_steps(frames) - 1


@settings(deadline=None, max_examples=60)
@given(patterns, st.integers(1, 12), st.integers(0, 12))
def test_a_cut_piece_is_laid_out_as_the_start_of_the_whole(
    pattern: CodePattern, frames: int, cut: int
) -> None:
    kept = min(cut, frames)
    codes = torch.randint(0, EMPTY, (1, pattern.n_codebooks, frames))
    whole, part = pattern.build(codes, EMPTY), pattern.build(codes[:, :, :kept], EMPTY)
    known = part != EMPTY
    assert torch.equal(whole[:, :, : part.shape[2]][known], part[known])


@pytest.mark.parametrize("name", ["delay", "flatten"])
def test_revert_keeps_further_axes(name: str) -> None:
    pattern = CodePattern(name, 2)
    steps = torch.randn(3, 2, pattern.n_steps(4), 7)
    back = pattern.revert(steps, 4)
    for book in range(2):
        for frame in range(4):
            step = int(pattern.step_of(4)[book, frame])
            assert torch.equal(back[:, book, frame], steps[:, book, step])
