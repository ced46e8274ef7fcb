"""The gate: what is measured, and what is refused for which reason."""

from dataclasses import replace
from typing import get_type_hints

import numpy as np
import pytest

from dancetomusic.builder.picture_watch import PictureWatch
from dancetomusic.builder.quality import GateThresholds, measure_quality, refusal
from dancetomusic.data.clip import ClipQuality
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import ConfigError
from dancetomusic.types import PoseQuality, PoseSequence, Waveform

GATE = GateThresholds()
GOOD = ClipQuality(
    detected_share=0.99,
    mean_visibility=0.9,
    weakest_visibility=0.8,
    glitch_share=0.01,
    motion_m_s=0.7,
    range_m=0.6,
    loudness_dbfs=-20.0,
    beat_certainty=0.9,
    beat_agreement=0.95,
    picture_hash="00",
)


def poses(**changes):
    rng = np.random.default_rng(0)
    values = {
        "world": rng.normal(0, 0.3, (48, 33, 3)).astype(np.float32),
        "present": np.ones(48, bool),
        "visibility": np.full((48, 33), 0.9, np.float32),
        "fps": 24.0,
    }
    return PoseSequence(**(values | changes))


def test_a_good_clip_is_accepted():
    assert refusal(GOOD, GATE) == ""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"detected_share": 0.0}, "no dancer was found"),
        ({"detected_share": 0.5}, "dancer detected in 50.0%, below 80.0%"),
        ({"mean_visibility": 0.5}, "mean visibility 0.50, below 0.60"),
        ({"weakest_visibility": 0.1}, "visibility of the least visible joints 0.10, below 0.40"),
        ({"framed_share": 0.6}, "trunk within the picture in 60.0%, below 90.0%"),
        ({"glitch_share": 0.2}, "landmarks repaired 20.0%, above 8.0%"),
        ({"n_swaps": 2}, "changes of dancer or camera 2, above 0"),
        ({"range_m": 0.08}, "range of the limbs 0.08 m, below 0.20 m"),
        ({"motion_m_s": 9.0}, "motion 9.000 m/s, above 5.000 m/s"),
        ({"still_share": 0.9}, "still pictures 90.0%, above 70.0%"),
        ({"loudness_dbfs": -120.0}, "no sound"),
        ({"loudness_dbfs": -70.0}, "loudness -70.0 dBFS, below -50.0 dBFS"),
        ({"beat_certainty": 0.0}, "no beat was found"),
        ({"beat_certainty": 0.05}, "certainty of the beats 0.05, below 0.20"),
        ({"beat_agreement": 0.4}, "agreement of the beats 0.40, below 0.70"),
        (
            {"n_swaps": 1, "still_share": 0.8},
            "changes of dancer or camera 1, above 0; still pictures 80.0%, above 70.0%",
        ),
    ],
)
def test_each_fault_is_named_with_its_value_and_limit(change, reason):
    assert refusal(replace(GOOD, **change), GATE) == reason


def test_the_limits_themselves_are_accepted():
    at_limit = ClipQuality(
        detected_share=GATE.min_detected_share,
        mean_visibility=GATE.min_mean_visibility,
        weakest_visibility=GATE.min_weakest_visibility,
        framed_share=GATE.min_framed_share,
        glitch_share=GATE.max_glitch_share,
        n_swaps=GATE.max_swaps,
        range_m=GATE.min_range_m,
        motion_m_s=GATE.max_motion_m_s,
        still_share=GATE.max_still_share,
        loudness_dbfs=GATE.min_loudness_dbfs,
        beat_certainty=GATE.min_beat_certainty,
        beat_agreement=GATE.min_beat_agreement,
    )
    assert refusal(at_limit, GATE) == ""


@pytest.mark.parametrize(
    "change",
    [
        {"min_detected_share": 1.1},
        {"min_beat_certainty": -0.1},
        {"min_range_m": float("nan")},
        {"max_swaps": -1},
        {"min_loudness_dbfs": 3.0},
        {"max_hash_distance": 500},
        {"max_hash_distance": -2},
    ],
)
def test_limits_out_of_range_are_refused(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        GateThresholds(**change)


def test_what_cleaning_knows_is_taken_over():
    known = PoseQuality(detected_share=0.7, mean_visibility=0.66, repaired_share=0.03)
    judged = measure_quality(poses(quality=known), None, None, None)
    assert (judged.detected_share, judged.mean_visibility, judged.glitch_share) == (0.7, 0.66, 0.03)
    assert judged.loudness_dbfs == -120.0
    assert judged.picture_hash == ""


def test_hidden_legs_show_in_the_weakest_joints():
    visibility = np.full((48, 33), 0.95, np.float32)
    visibility[:, 25:] = 0.1
    judged = measure_quality(poses(visibility=visibility), None, None, None)
    assert judged.weakest_visibility == pytest.approx(0.1)
    assert judged.mean_visibility > GATE.min_mean_visibility
    assert "least visible joints" in refusal(judged, GATE)


def test_a_face_that_fills_the_picture_at_first_shows_in_the_trunk():
    image = np.full((48, 33, 3), 0.5, np.float32)
    image[:12, [23, 24], 1] = 1.6  # the hips are below the picture for half a second
    judged = measure_quality(poses(image=image), None, None, None)
    assert judged.framed_share == 0.75
    assert "trunk within the picture" in refusal(judged, GATE)


def test_nobody_nothing_heard_nothing_seen():
    silence = Waveform(np.zeros((1, 48_000), np.float32), 24_000)
    for nobody in (None, poses(present=np.zeros(48, bool))):
        judged = measure_quality(nobody, silence, None, PictureWatch())
        assert refusal(judged, GATE) == (
            "no dancer was found; still pictures 100.0%, above 70.0%; no sound"
        )


def test_loudness_is_that_of_a_sine():
    t = np.arange(48_000) / 24_000
    sine = Waveform((0.1 * np.sin(2 * np.pi * 440 * t))[None].astype(np.float32), 24_000)
    assert measure_quality(None, sine, None, None).loudness_dbfs == pytest.approx(-23.01, abs=0.01)
    nothing = Waveform(np.zeros((1, 0), np.float32), 24_000)
    assert measure_quality(None, nothing, None, None).loudness_dbfs == -120.0


def test_values_have_the_types_of_their_fields():
    judged = measure_quality(poses(), Waveform(np.zeros((1, 9), np.float32), 24_000), None, None)
    for name, kind in get_type_hints(ClipQuality).items():
        assert type(getattr(judged, name)) is kind


def test_captured_dances_are_accepted(shared_data):
    for dance in load_dances(shared_data / "tang2018", split="val"):
        assert refusal(measure_quality(dance.poses, None, None, None), GATE) == "no sound"
