import numpy as np
import pytest
import torch

from dancetomusic.models.pose2audio.long_form import generate_codes, hop_seconds


class Recorder:
    """Writes the number of each frame of the piece, and notes what it was given."""

    def __init__(self):
        self.calls = []

    def __call__(self, rhythm, memory, memory_mask, *, prefix_codes, score, generator):
        self.calls.append((rhythm, memory, prefix_codes))
        number = rhythm[:, :, 0].long()
        codes = torch.stack([number, number * 2], dim=1)
        if prefix_codes is not None:
            assert torch.equal(codes[:, :, : prefix_codes.shape[2]], prefix_codes)
        return codes


def run(n_frames, n_memory, window_s=6):
    recorder, progress = Recorder(), []
    rhythm = np.arange(n_frames, dtype=np.float32)[:, None].repeat(9, axis=1)
    memory = torch.arange(n_memory, dtype=torch.float32)[None, :, None]
    mask = torch.ones(1, n_memory, dtype=torch.bool)
    codes = generate_codes(
        recorder, rhythm, memory, mask, frame_rate=75.0, memory_rate=12.0, window_s=window_s,
        seed=0, on_progress=progress.append,
    )  # fmt: skip
    return codes, recorder.calls, progress


def test_every_frame_is_written_once_and_in_order():
    for n_frames in (75, 449, 450, 451, 1000, 4501):
        codes, _, progress = run(n_frames, n_frames * 12 // 75 + 1)
        assert np.array_equal(codes[0], np.arange(n_frames))
        assert np.array_equal(codes[1], 2 * np.arange(n_frames))
        assert progress[-1] == 1.0


@pytest.mark.parametrize("window_s", [1, 5, 6, 20])
def test_windows_go_on_from_the_codes_before_and_see_their_own_dance(window_s):
    codes, calls, _ = run(2000, 320, window_s)
    hop_s = hop_seconds(window_s)
    assert np.array_equal(codes[0], np.arange(2000))
    for number, (rhythm, memory, prefix) in enumerate(calls):
        start_s = number * hop_s
        assert rhythm[0, 0, 0] == start_s * 75
        assert memory[0, 0, 0] == start_s * 12
        assert rhythm.shape[1] <= window_s * 75
        if number:
            assert prefix.shape[2] == (window_s - hop_s) * 75
