"""Whatever plays for a dance is opened by its checkpoint and played by the same words."""

import numpy as np
import pytest
import torch

from dancetomusic.cli.generate_checks import conditioned
from dancetomusic.data.dance import fully_visible
from dancetomusic.errors import CheckpointError, InputError
from dancetomusic.generate.one import DanceToMusic
from dancetomusic.models.pose2audio.model import Pose2AudioModel
from dancetomusic.models.score.model import ScoreModel
from dancetomusic.models.wavenet.model import WaveNetModel
from dancetomusic.models.wavenet.network import WaveNet, WaveNetConfig
from dancetomusic.synthesis.choreography import choreograph


@pytest.fixture(scope="module")
def poses():
    world = choreograph("steps", 120.0, 3.0, seed=0).world
    return fully_visible(world, 24.0)


@pytest.fixture(scope="module", params=["wavenet", "motion_vae"])
def instrument(request):
    return DanceToMusic.from_pretrained(request.param)


@pytest.mark.slow
def test_an_instrument_plays_as_long_as_the_dance(instrument, poses):
    stages = []
    music = instrument.generate(poses, seed=1, on_progress=lambda stage, _: stages.append(stage))
    assert music.waveform.duration_s == pytest.approx(poses.duration_s, abs=1e-3)
    assert np.abs(music.waveform.samples).max() > 0.01
    assert music.rhythm.beat_times.size > 3 and music.codes is None
    assert list(dict.fromkeys(stages)) == ["poses", "rhythm", "sound", "master"]
    again = instrument.generate(poses, seed=1).waveform.samples
    other = instrument.generate(poses, seed=2).waveform.samples
    assert np.array_equal(music.waveform.samples, again)
    assert not np.array_equal(music.waveform.samples, other)


@pytest.mark.slow
def test_an_instrument_plays_on_the_beats_that_are_asked_for(instrument, poses):
    first, faster, later = (
        instrument.generate(poses, seed=1, **choice).waveform.samples
        for choice in ({}, {"bpm": 150.0}, {"offset_ms": 120.0})
    )
    assert not np.array_equal(first, faster) and not np.array_equal(first, later)


def test_a_choice_that_is_not_the_models_is_refused(instrument, poses):
    with pytest.raises(InputError, match="no choice of swing. Leave --swing out"):
        instrument.generate(poses, swing=0.5)
    with pytest.raises(InputError, match="style"):
        instrument.generate(poses, style="polka")


def test_guidance_is_a_choice_of_the_wavenet_alone(poses):
    with pytest.raises(InputError, match="cfg_scale is -1"):
        DanceToMusic.from_pretrained("wavenet").generate(poses, cfg_scale=-1.0)
    with pytest.raises(InputError, match="no choice of cfg_scale"):
        DanceToMusic.from_pretrained("motion_vae").generate(poses, cfg_scale=2.0)


@pytest.mark.slow
def test_a_wavenet_conditioned_on_frames_needs_a_video(repository, poses):
    torch.manual_seed(0)
    shape = WaveNetConfig(channels=4, skip_channels=8, movement="pictures", latent_dim=2)
    instrument = DanceToMusic(WaveNetModel(WaveNet(shape)))
    with pytest.raises(InputError, match="reads pictures, not poses"):
        instrument.generate(poses)
    music = instrument.generate(repository / "data" / "demo" / "steps_128bpm.mp4")
    assert music.waveform.duration_s == pytest.approx(12.0, abs=0.05)
    assert {"pictures", "sound"} <= music.timings.keys()


@pytest.mark.slow
def test_a_wavenet_of_sound_alone_plays_without_beats(poses):
    torch.manual_seed(0)
    shape = WaveNetConfig(channels=4, skip_channels=8, movement="none")
    music = DanceToMusic(WaveNetModel(WaveNet(shape))).generate(poses)
    assert music.waveform.duration_s == pytest.approx(poses.duration_s, abs=1e-3)


def test_what_an_instrument_is_conditioned_on_decides_the_checkpoint(poses):
    assert conditioned("wavenet", "frames") == "wavenet_frames"
    assert conditioned("wavenet", "poses") == conditioned("wavenet", None) == "wavenet"
    assert conditioned("motion_vae", "poses") == "motion_vae"
    assert conditioned("pose2audio", "score") == "pose2audio_score"
    assert conditioned("pose2audio", None) == "pose2audio"
    with pytest.raises(InputError, match="--condition is frames. Give poses"):
        DanceToMusic.from_pretrained("wavenet").generate(poses, condition="frames")
    with pytest.raises(InputError, match="no choice of condition"):
        DanceToMusic.from_pretrained("score").generate(poses, condition="poses")


def test_what_is_read_of_a_dance_is_a_choice_of_the_sampler():
    model = DanceToMusic.from_pretrained("motion_vae")
    model.check({"condition": "motiongram"})
    model.check({"condition": "poses"})
    with pytest.raises(InputError, match="--condition is sound. Give motiongram or poses"):
        model.check({"condition": "sound"})
    with pytest.raises(InputError, match="--condition is score. Give rhythm"):
        DanceToMusic.from_pretrained("pose2audio").check({"condition": "score"})


def test_the_family_decides_what_is_opened():
    assert isinstance(DanceToMusic.from_pretrained("pose2audio").model, Pose2AudioModel)
    assert isinstance(DanceToMusic.from_pretrained().model, ScoreModel)
    with pytest.raises(CheckpointError, match="plays no music"):
        DanceToMusic.from_pretrained("codec")
    with pytest.raises(CheckpointError, match="no released checkpoint"):
        DanceToMusic.from_pretrained("nothing")


def test_a_style_is_looked_at_before_anything_is_played():
    model = DanceToMusic.from_pretrained("pose2audio")
    model.check({"style": "waltz", "swing": 0.5})
    with pytest.raises(InputError, match="polka"):
        model.check({"style": "polka"})
    with pytest.raises(InputError):
        model.check({"swing": 2.0})
