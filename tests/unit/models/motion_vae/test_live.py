"""The sampler on a live grid: pictures come when they come, blocks when they are due."""

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.models.live import BeatEstimate, MovementStep
from dancetomusic.models.motion_vae.live import LATE_S, SamplerComposer, open_live
from dancetomusic.models.motion_vae.sampler import MotionSampler
from dancetomusic.nn.sampling import SamplingConfig


@pytest.fixture
def composer(tiny_sampler, tiny_codec):
    return SamplerComposer(MotionSampler(tiny_sampler, tiny_codec, playback_delay_s=0.0))


def compose(composer, n_blocks=1):
    blocks = [composer.compose(0.0, BeatEstimate(), 0.5, True) for _ in range(n_blocks)]
    return np.concatenate([block.samples for block in blocks])


def times(composer):
    return composer._sampler._reader.track.times_s


def test_pictures_keep_the_intervals_of_the_camera(composer):
    rng = np.random.default_rng(0)
    assert composer.reads_pictures
    for number in range(30):  # 25 pictures a second; blocks come in bursts of three
        if number % 2 == 0:
            compose(composer, 3)
        composer.see(rng.integers(0, 256, (32, 32, 3), np.uint8), 100.0 + number / 25)
    seen = times(composer)
    assert np.allclose(np.diff(seen)[-8:], 0.04, atol=1e-6)
    assert 0 <= composer._sampler.now_s - seen[-1] <= LATE_S


def test_pictures_after_a_pause_and_too_early_ones_stay_within_the_clock(composer):
    picture = np.zeros((32, 32, 3), np.uint8)
    compose(composer, 3)
    composer.see(picture, 10.0)
    composer.see(picture, 10.5)  # half a second later, in no time of the sampler's
    now_s = composer._sampler.now_s
    assert times(composer).tolist() == pytest.approx([now_s - LATE_S, now_s])
    compose(composer, 75)
    composer.see(picture, 10.6)
    assert times(composer)[-1] == pytest.approx(composer._sampler.now_s - LATE_S)


def test_pictures_or_poses_decide_the_sound(tiny_sampler, tiny_codec):
    rng = np.random.default_rng(0)
    pose = MovementStep(
        0.0,
        rng.normal(size=(2, 33, 3)).astype(np.float32),
        np.ones(2, bool),
        np.zeros(1, np.float32),
    )

    def played(source, given):
        sampler = MotionSampler(tiny_sampler, tiny_codec, source=source, playback_delay_s=0.0)
        composer, sounds = SamplerComposer(sampler), []
        for number in range(20):
            if given == "poses":
                composer.move(pose, 0.0)
            elif given == "pictures":
                composer.see(rng.integers(0, 256, (32, 32, 3), np.uint8), number / 30)
            sounds.append(compose(composer))
        return np.concatenate(sounds)

    still = played("motiongram", None)
    assert np.array_equal(played("motiongram", "poses"), still)
    assert not np.array_equal(played("motiongram", "pictures"), still)
    assert not np.array_equal(played("poses", "poses"), played("poses", None))


def test_what_it_cannot_read_is_refused():
    options = {"style": None, "sampling": SamplingConfig(), "seed": 0}
    with pytest.raises(InputError, match="--condition is frames.*motiongram or poses"):
        open_live("motion_vae", condition="frames", **options)
