import numpy as np
import pytest

from benchmarks.paced_video import perform_video
from dancetomusic.errors import InputError
from dancetomusic.models.motion_vae.sampler import MotionSampler


@pytest.fixture
def codec(tiny_codec):
    return tiny_codec


@pytest.fixture
def model(tiny_sampler):
    return tiny_sampler


def test_every_block_of_a_paced_video_is_timed(model, codec, demo_dir):
    now = [100.0]

    def clock():
        now[0] += 0.001
        return now[0]

    def sleep(seconds):
        now[0] += seconds

    heard = []
    sampler = MotionSampler(model, codec)
    video = demo_dir / "steps_128bpm.mp4"
    latency = perform_video(
        sampler, video, seconds=1.0, on_sound=heard.append, clock=clock, sleep=sleep
    )
    assert len(heard) == 37 and latency.late_share == 0.0
    assert latency.segment_to_sound_s.size == 33
    assert np.allclose(latency.segment_to_sound_s, 0.1 + sampler.block_s)
    assert (latency.newest_to_sound_s >= sampler.block_s - 1e-9).all()
    assert (latency.newest_to_sound_s < sampler.block_s + 1 / 24).all()
    with pytest.raises(InputError, match="lasts 0.05 s"):
        perform_video(sampler, video, seconds=0.05)


def test_late_blocks_are_counted_and_heard_late(model, codec, demo_dir):
    now = [0.0]

    def clock():
        now[0] += 0.03
        return now[0]

    latency = perform_video(
        MotionSampler(model, codec), demo_dir / "steps_128bpm.mp4", seconds=0.5, clock=clock,
        sleep=lambda seconds: None,
    )  # fmt: skip
    assert latency.late_share > 0.9
    assert latency.segment_to_sound_s[-1] > 0.3
