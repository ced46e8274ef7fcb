"""Plans: sections where movement changes, energy by bar, hits, rests, pieces of any length."""

from __future__ import annotations

import numpy as np
import pytest

from dancetomusic.data.dance import fully_visible
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.rhythm.energy import danced_rhythm
from dancetomusic.score.notes import BeatClock
from dancetomusic.score.plan import Plan, bar_energy, bar_features, find_novelty, make_plan
from dancetomusic.types import PoseSequence, RhythmTrack

FPS = 24.0


def track(levels: list[float], bpm: float = 120.0, bar: int = 4) -> RhythmTrack:
    """A steady rhythm with one level of energy for each bar."""
    duration_s = len(levels) * bar * 60.0 / bpm
    steady = steady_grid(bpm, duration_s, beats_per_bar=bar)
    times = np.arange(0, duration_s, 0.1)
    energy = np.array(levels)[
        np.minimum((times / duration_s * len(levels)).astype(int), len(levels) - 1)
    ]
    return RhythmTrack(
        steady.beat_times, steady.beat_numbers, energy.astype(np.float32), 10.0, duration_s
    )


def plan_of(rhythm: RhythmTrack, *dancers: PoseSequence) -> Plan:
    return make_plan(BeatClock.from_rhythm(rhythm), rhythm, dancers)


def dancer(speed: np.ndarray, joints: slice = slice(0, 33)) -> PoseSequence:
    """Joints that swing at 2 Hz; ``speed`` scales how far, frame by frame."""
    seconds = np.arange(speed.size) / FPS
    world = np.zeros((speed.size, 33, 3), np.float32)
    world[:, :, 1] = np.linspace(-0.8, 0.9, 33)
    world[:, joints, 0] += (0.15 * speed * np.sin(2 * np.pi * 2 * seconds))[:, None]
    return fully_visible(world, FPS)


def names(plan: Plan) -> list[str]:
    return [section.name for section in plan.sections]


@pytest.mark.parametrize("n_bars", [1, 2, 3, 4, 5, 7, 8, 11, 16, 33, 64])
@pytest.mark.parametrize("bar", [3, 4])
def test_sections_cover_every_bar_of_any_piece(n_bars, bar):
    rhythm = track([0.5] * n_bars, bar=bar)
    plan = plan_of(rhythm)
    starts = [section.first_bar for section in plan.sections]
    ends = [section.first_bar + section.n_bars for section in plan.sections]
    assert starts == [0, *ends[:-1]] and ends[-1] == n_bars
    assert names(plan)[-1] == "ending"
    assert set(names(plan)) <= {"intro", "groove", "lift", "break", "ending"}
    if n_bars >= 3:
        assert names(plan)[0] != "ending"


def test_phrases_are_of_four_and_eight_bars():
    plan = plan_of(track([0.4] * 8 + [0.8] * 8 + [0.5] * 9))
    assert all(section.n_bars in (4, 8) for section in plan.sections[:-1])


def test_a_section_begins_where_movement_changes_and_a_lift_is_where_it_is_strongest():
    plan = plan_of(track([0.3] * 8 + [0.9] * 8 + [0.3] * 9))
    lift = [s for s in plan.sections if s.name == "lift"]
    assert [s.first_bar for s in lift] == [8] and lift[0].n_bars == 8


def test_a_calm_beginning_is_an_introduction():
    plan = plan_of(track([0.2] * 4 + [0.7] * 17))
    assert (names(plan)[0], plan.sections[0].n_bars) == ("intro", 4)


def test_who_stands_still_gets_a_break_and_who_starts_again_an_entry():
    bars, frames = 16, int(2.0 * FPS)
    speed = np.concatenate([np.ones(6 * frames), np.zeros(4 * frames), np.ones(6 * frames)])
    poses = dancer(speed)
    grid = steady_grid(120.0, bars * 2.0)
    rhythm = danced_rhythm(poses, grid.beat_times, grid.beat_numbers)
    plan = plan_of(rhythm, poses)
    rests = [s for s in plan.sections if s.name == "break"]
    assert [(s.first_bar, s.n_bars) for s in rests] == [(6, 4)]
    assert plan.sections[names(plan).index("break") + 1].first_bar == 10


def test_the_last_hit_is_where_the_dancer_comes_to_rest():
    frames = int(2.0 * FPS)
    poses = dancer(np.concatenate([np.ones(10 * frames), np.zeros(2 * frames)]))
    grid = steady_grid(120.0, 24.0)
    rhythm = danced_rhythm(poses, grid.beat_times, grid.beat_numbers)
    assert plan_of(rhythm, poses).final_beat == 40


@pytest.mark.parametrize(("duration_s", "beat"), [(8.0, 12), (9.2, 16), (10.6, 18)])
def test_the_last_hit_leaves_time_to_ring_and_not_too_much(duration_s, beat):
    rhythm = steady_grid(120.0, duration_s)
    plan = plan_of(rhythm)
    assert plan.final_beat == beat


def test_novelty_is_largest_where_the_limbs_change():
    frames = int(16.0 * FPS)
    arms, legs = dancer(np.ones(frames), slice(11, 23)), dancer(np.ones(frames), slice(23, 33))
    poses = fully_visible(np.concatenate([arms.world, legs.world]), FPS)
    grid = steady_grid(120.0, 32.0)
    plan = plan_of(danced_rhythm(poses, grid.beat_times, grid.beat_numbers), poses)
    assert int(plan.novelty.argmax()) == 8
    assert 8 in [section.first_bar for section in plan.sections]


def test_whoever_changes_makes_novelty():
    speed = np.ones(16 * 48)
    changing = np.where(np.arange(speed.size) < speed.size // 2, 1.0, 0.1)
    steady, turning = dancer(speed), dancer(changing, slice(11, 23))
    rhythm = track([0.5] * 16)
    clock = BeatClock.from_rhythm(rhythm, rhythm.duration_s)
    alone = bar_features(clock, rhythm, [steady])
    both = bar_features(clock, rhythm, [steady, turning])
    assert find_novelty(both)[8] == 1.0
    assert find_novelty(alone)[8] < 1.0


def test_novelty_of_nothing_is_nothing():
    assert find_novelty(np.zeros((0, 3))).size == 0
    assert find_novelty(np.ones((6, 3))).max() < 1e-6


def test_energy_of_bars_is_the_mean_of_what_they_last():
    rhythm = track([0.1, 0.9, 0.5, 0.3])
    found = bar_energy(BeatClock.from_rhythm(rhythm), rhythm)
    assert found == pytest.approx([0.1, 0.9, 0.5, 0.3], abs=0.05)
    empty = RhythmTrack(
        rhythm.beat_times, rhythm.beat_numbers, np.zeros(0, np.float32), 10.0, rhythm.duration_s
    )
    assert bar_energy(BeatClock.from_rhythm(empty), empty) == pytest.approx([0.5] * 4)


def test_an_arm_that_stops_dead_is_a_hit():
    frames = int(8.0 * FPS)
    world = dancer(0.1 * np.ones(frames)).world.copy()
    seconds = np.arange(frames) / FPS
    # Both hands fly upwards for a fifth of a second and stop at 2, 4 and 6 s.
    for stop in (2.0, 4.0, 6.0):
        rise = np.clip((seconds - stop + 0.2) / 0.2, 0.0, 1.0) ** 2
        fall = np.clip((seconds - stop - 0.6) / 1.0, 0.0, 1.0)
        world[:, 13:23, 1] -= (0.9 * (rise - fall))[:, None].astype(np.float32)
    poses = fully_visible(world, FPS)
    grid = steady_grid(120.0, 8.0)
    plan = plan_of(danced_rhythm(poses, grid.beat_times, grid.beat_numbers), poses)
    assert plan.hits.times == pytest.approx([2.0, 4.0, 6.0], abs=0.09)


def test_without_poses_there_are_no_hits_and_a_pickup_joins_the_first_section():
    rhythm = steady_grid(120.0, 17.0, first_beat_s=1.0)
    plan = plan_of(rhythm)
    assert len(plan.hits) == 0
    assert plan.sections[0].first_bar == 0
    assert sum(section.n_bars for section in plan.sections) == BeatClock.from_rhythm(rhythm).n_bars
