"""Grooves rendered on the beats of dances."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import InputError
from dancetomusic.pose.landmarks import cut_poses
from dancetomusic.synthesis.danced_grooves import danced_grooves
from tests.groove_factory import link_short_grooves

pytestmark = pytest.mark.slow
RATES = {"sample_rate": 16_000, "fps": 25.0}


@pytest.fixture(scope="module")
def short_dance(shared_data):
    """Ten seconds of a dance with its beats."""
    if shutil.which("fluidsynth") is None:
        pytest.skip("fluidsynth is not installed")
    dance = load_dances(shared_data / "tang2018", split="val", qualities=("A",))[0]
    poses = cut_poses(dance.poses, slice(240))
    return replace(dance, poses=poses, beat_times=dance.beat_times[dance.beat_times < 10])


@pytest.fixture(scope="module")
def grooves(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("groove")
    return link_short_grooves(shared_data / "groove", folder, per_drummer=8)


def test_strokes_fall_on_the_beats_and_movement_lasts_as_long(grooves, short_dance, tmp_path):
    first, faster = danced_grooves([short_dance], grooves, tmp_path, versions=2, **RATES)
    assert first.duration_s == pytest.approx(10.0, abs=0.05)
    assert 0.7 < faster.duration_s / first.duration_s < 1.4
    for sound in (first, faster):
        assert abs(sound.poses.duration_s - sound.duration_s) < 0.1
        ratio = sound.beat_times[-1] / short_dance.beat_times[-1]
        assert ratio == pytest.approx(sound.duration_s / 10.0, rel=0.01)
    level = np.abs(first.samples[: 10 * 16_000 // 160 * 160].astype(float)).reshape(-1, 160).max(1)
    rise = np.maximum(np.diff(np.log(level + 30)), 0)
    near = np.zeros(rise.size, bool)
    for beat in first.beat_times:
        near[max(0, round(beat * 100) - 4) : round(beat * 100) + 4] = True
    assert rise[near].mean() > 1.3 * rise[~near].mean()


def test_what_was_rendered_is_kept_and_held_out_music_is_other_music(
    grooves, short_dance, tmp_path
):
    (first,) = danced_grooves([short_dance], grooves, tmp_path, **RATES)
    (file,) = tmp_path.glob("*.npy")
    written = file.stat().st_mtime_ns
    (again,) = danced_grooves([short_dance], grooves, tmp_path, **RATES)
    assert file.stat().st_mtime_ns == written and np.array_equal(first.samples, again.samples)
    (other,) = danced_grooves([short_dance], grooves, tmp_path, held_out=True, **RATES)
    assert not np.array_equal(first.samples, other.samples)
    with pytest.raises(InputError):
        danced_grooves([short_dance], tmp_path / "absent", tmp_path, **RATES)
