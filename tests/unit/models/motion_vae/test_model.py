"""Whole dances: the motiongram of the video by default, poses where they are asked for."""

import numpy as np
import pytest
import torch

from dancetomusic.data.dance import fully_visible
from dancetomusic.errors import InputError
from dancetomusic.io.video import read_frames
from dancetomusic.models.base import Conditions, StageClock
from dancetomusic.models.motion_vae.model import MotionVaeModel
from dancetomusic.models.motion_vae.sampler import play, play_frames
from dancetomusic.models.pose_encoder.network import PoseEncoding
from dancetomusic.pose.silhouette import draw_silhouettes
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.synthesis.scene import write_video

_frames = torch.zeros(1, 48)
NOT_READ = PoseEncoding(
    torch.zeros(1, 4, 8), torch.ones(1, 4, dtype=torch.bool), torch.zeros(1, 48, 2),
    _frames, _frames, _frames, torch.zeros(1, 8),
)  # fmt: skip


@pytest.mark.slow(2)
def test_the_video_is_read_unless_poses_are_asked_for(tiny_sampler, tiny_codec, tmp_path):
    dance = choreograph("steps", 120, 2.0, seed=1)
    poses, rhythm = fully_visible(dance.world, dance.fps), steady_grid(120.0, 2.0)
    video = tmp_path / "dance.mp4"
    write_video(video, draw_silhouettes(dance.world, np.random.default_rng(0)), dance.fps)
    model = MotionVaeModel(tiny_sampler, tiny_codec)

    def made(**changes):
        conditions = Conditions((poses,), rhythm, NOT_READ, seed=3, **changes)
        return model.generate(conditions, model.options.sampling, StageClock()).waveform.samples

    options = {"seed": 3, "rhythm": rhythm, "codec": tiny_codec}
    by_poses = play(tiny_sampler, poses, **options).samples
    by_video = play_frames(
        tiny_sampler, read_frames(video, dance.fps), dance.fps, 2.0, **options
    ).samples
    assert np.array_equal(made(video=video), by_video)
    assert np.array_equal(made(video=video, condition="motiongram"), by_video)
    assert np.array_equal(made(video=video, condition="poses"), by_poses)
    assert np.array_equal(made(), by_poses)
    assert not np.array_equal(by_video, by_poses)
    with pytest.raises(InputError, match="no motiongram.*--condition poses"):
        made(condition="motiongram")
