"""Dancers keep their places, and the beat of who is followed is known ahead."""

import numpy as np
import pytest
import torch

from dancetomusic.errors import InputError
from dancetomusic.live.dancers import FORGET_S, DancerTracker
from dancetomusic.live.status import StageTimes
from dancetomusic.live.watcher import AGAIN_S, FIRST_S, GONE_S, Watcher
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoderConfig
from dancetomusic.pose.landmarks import TORSO
from dancetomusic.pose.mediapipe import Detection
from dancetomusic.synthesis.choreography import choreograph

FPS = 24.0


def _person(x: float, height: float = 0.6, world: np.ndarray | None = None) -> Detection:
    image = np.zeros((33, 3), np.float32)
    image[:, 0] = x
    image[:, 1] = np.linspace(0.5 - height / 2, 0.5 + height / 2, 33)
    corners = ((-0.05, 0.4), (0.05, 0.4), (-0.05, 0.6), (0.05, 0.6))
    for corner, (dx, y) in zip(TORSO, corners, strict=True):
        image[corner, :2] = x + dx, y
    body = np.zeros((33, 3), np.float32) if world is None else world.astype(np.float32)
    return Detection(image, body, np.ones(33, np.float32), 1.0)


def _encoder() -> PoseEncoder:
    return PoseEncoder(PoseEncoderConfig(channels=8, dilations=(1,), causal=True)).eval()


def _encoder_of(seed: int) -> PoseEncoder:
    torch.manual_seed(seed)
    return _encoder()


def test_places_stay_when_detections_change_their_order() -> None:
    tracker = DancerTracker(2, "all")
    left, right = _person(0.2), _person(0.8)
    assert tracker.update([left, right], 0.0) == [0, 1]
    first = [place.seen for place in tracker.places if place is not None]
    assert tracker.update([right, left], 0.04) == []
    assert [place.seen for place in tracker.places if place is not None] == first
    assert tracker.weights(0.04) == [0.5, 0.5]


def test_the_largest_leads_and_a_number_leads_alone() -> None:
    for follow, weights in (("largest", [0.0, 1.0]), ("1", [1.0, 0.0]), ("2", [0.0, 1.0])):
        tracker = DancerTracker(2, follow)
        small, large = _person(0.2, 0.4), _person(0.8, 0.8)
        tracker.update([small], 0.0)
        for k in range(1, 4):
            tracker.update([small, large], 0.04 * k)
        assert tracker.weights(0.12) == weights, follow


def test_who_leads_is_said() -> None:
    for follow, said in (
        ("largest", "dancer 2, the largest of 2"),
        ("1", "dancer 1, as asked"),
        ("all", "all 2 dancers together"),
    ):
        tracker = DancerTracker(2, follow)
        assert tracker.describe_lead(0.0) == ""
        tracker.update([_person(0.2, 0.4)], 0.0)
        tracker.update([_person(0.2, 0.4), _person(0.8, 0.8)], 0.04)
        assert tracker.describe_lead(0.04) == said
    alone = DancerTracker(1, "largest")
    alone.update([_person(0.5)], 0.0)
    assert alone.describe_lead(0.0) == ""


def test_the_memory_of_all_who_are_followed_is_remembered() -> None:
    bodies = [np.random.default_rng(seed).normal(0, 0.2, (33, 3)) for seed in (1, 2)]
    memories = {}
    for follow in ("1", "2", "all"):
        watcher = Watcher(_encoder_of(0), num_dancers=2, follow=follow)
        for k in range(8):
            people = [
                _person(x, world=b * (1 + k)) for x, b in zip((0.2, 0.8), bodies, strict=True)
            ]
            watcher.watch(people, k / FPS)
        memories[follow] = watcher.movements()[-1].memory
    assert not np.allclose(memories["1"], memories["2"])
    np.testing.assert_allclose(memories["all"], (memories["1"] + memories["2"]) / 2, atol=1e-6)


def test_a_place_is_given_up_in_the_end() -> None:
    tracker = DancerTracker(1, "largest")
    tracker.update([_person(0.2)], 0.0)
    tracker.update([], 1.0)
    assert tracker.places[0] is not None
    tracker.update([], FORGET_S + 1.5)
    assert tracker.places == [None]
    assert tracker.update([_person(0.9)], FORGET_S + 1.6) == [0]


@pytest.mark.parametrize("follow", ["", "0", "-1", "tallest"])
def test_a_senseless_leader_is_refused(follow: str) -> None:
    with pytest.raises(InputError, match="follow is"):
        DancerTracker(1, follow)


def test_poses_are_taken_between_detections_and_not_over_long_gaps() -> None:
    tracker = DancerTracker(1, "largest")
    for time_s in (0.0, 0.1, 2.0):
        tracker.update([_person(0.5, world=np.full((33, 3), time_s))], time_s)
    dancer = tracker.places[0]
    assert dancer is not None
    world, present = dancer.poses([0.0, 0.05, 1.0])
    assert present.tolist() == [True, True, False]
    assert np.allclose(world[1], 0.05)


@pytest.mark.slow(1)
def test_the_beat_of_a_dance_is_predicted(repository) -> None:  # type: ignore[no-untyped-def]
    from dancetomusic.models.pose2audio.network import Pose2Audio

    encoder = Pose2Audio.from_pretrained(repository / "checkpoints" / "pose2audio_causal").encoder
    dance = choreograph("disco", 128, 14, seed=34, hold_share=0.0)
    watcher = Watcher(encoder, num_dancers=1, follow="largest")
    errors = []
    for k, world in enumerate(dance.world):
        observed = watcher.watch([_person(0.5, world=world)], k / FPS)
        if k > 8 * FPS:
            ahead = k / FPS + 0.2
            beat_s = dance.beat_times[np.abs(dance.beat_times - ahead).argmin()]
            place = observed.beat.at(beat_s)
            errors.append(abs(place - round(place)) * 60 / observed.beat.bpm)
    assert observed.beat.bpm == pytest.approx(128, rel=0.02)
    assert np.median(errors) < 0.04
    assert observed.present and observed.dancers == 1


@pytest.mark.slow(1)
def test_who_leaves_is_gone_and_who_returns_is_played_for_sooner() -> None:
    watcher = Watcher(_encoder(), num_dancers=1, follow="largest")
    present = {}
    for k in range(round(10 * FPS)):
        time_s = k / FPS
        there = time_s < 4 or time_s > 7
        body = np.random.default_rng(k).normal(0, 0.1, (33, 3))
        observed = watcher.watch([_person(0.5, world=body)] if there else [], time_s)
        present[round(time_s, 3)] = observed.present
    began = [t for t, here in present.items() if here]
    assert began[0] == pytest.approx(FIRST_S, abs=0.1)
    assert not any(here for t, here in present.items() if 4.1 + GONE_S < t < 7)
    assert min(t for t in began if t > 5) == pytest.approx(7 + AGAIN_S, abs=0.1)


def test_the_beat_continues_over_a_gap_between_frames() -> None:
    watcher = Watcher(_encoder(), num_dancers=1, follow="largest")
    body = np.zeros((33, 3))
    for k in range(48):
        before = watcher.watch([_person(0.5, world=body)], k / FPS).beat
    after = watcher.watch([_person(0.5, world=body)], 8.0).beat
    assert after.time_s == pytest.approx(8.0, abs=0.1)
    assert after.at(8.0) > before.position + 3


def test_stage_times_know_their_percentiles() -> None:
    times = StageTimes()
    assert np.isnan(times.of("x").p50_ms)
    for value in range(101):
        times.add("x", value / 1000)
    assert times.of("x").p95_ms == pytest.approx(95)
    assert times.mean("x") == pytest.approx(0.05)
