import numpy as np

from dancetomusic.evaluation.tasks.motion_loudness import score_loudness
from dancetomusic.models.motion_vae.training_data import ride_fader
from tests.unit.models.motion_vae.test_training import dancer, noise


def test_sound_mixed_for_a_dance_scores_high_and_for_another_near_none(tiny_rng):
    def speeds():
        return np.repeat(tiny_rng.uniform(0.1, 2.0, 60), 12)

    own, others = dancer(speeds()), [dancer(speeds()) for _ in range(6)]
    sound = noise(30.0, tiny_rng)
    assert score_loudness(own, ride_fader(sound, own)) > 0.8
    assert abs(np.mean([score_loudness(own, ride_fader(sound, o)) for o in others])) < 0.2
    assert abs(score_loudness(own, sound)) < 0.35
