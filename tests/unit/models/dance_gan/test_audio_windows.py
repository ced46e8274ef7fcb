import pytest
import torch

from dancetomusic.models.dance_gan.audio_windows import DESIGNS, OVERSAMPLING

GRAIN = 8


@pytest.fixture(params=sorted(DESIGNS))
def windows(request):
    return DESIGNS[request.param](6, 5).eval()


@pytest.mark.parametrize("n_poses", [1, 7, 24, 33])
def test_one_vector_for_each_pose(windows, n_poses):
    bands = torch.randn(2, 6, n_poses * OVERSAMPLING + 3)
    assert windows(bands).shape == (2, 5, n_poses)


def test_nothing_beyond_its_reach_matters(windows):
    bands = torch.randn(1, 6, 80 * OVERSAMPLING)
    changed = bands.clone()
    middle = 40 * OVERSAMPLING
    changed[:, :, middle] += 1.0
    moved = (windows(bands) - windows(changed)).abs().amax(dim=(0, 1)) > 1e-6
    poses = moved.nonzero()[:, 0]
    assert len(poses)
    assert (poses.max() - 40) * OVERSAMPLING <= windows.reach
    assert (40 - poses.min()) * OVERSAMPLING <= windows.reach + OVERSAMPLING


def test_a_sound_may_be_taken_piece_by_piece(windows):
    bands = torch.randn(1, 6, 96 * OVERSAMPLING)
    whole = windows(bands)
    margin = -(-windows.reach // (OVERSAMPLING * GRAIN)) * GRAIN
    start = 64 - margin
    part = windows(bands[:, :, start * OVERSAMPLING :])
    assert torch.allclose(part[:, :, margin:], whole[:, :, 64:], atol=1e-5)
