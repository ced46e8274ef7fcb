"""Movement alone: steady tempi, honest certainty, energy of everybody."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from dancetomusic.data.dance import fully_visible
from dancetomusic.data.wild import load_wild, trusted_clips
from dancetomusic.errors import InputError
from dancetomusic.metrics.beats import beat_f
from dancetomusic.models.pose2audio.network import Pose2Audio
from dancetomusic.models.pose_encoder.movement_rhythm import (
    MOST_READINGS,
    movement_rhythms,
    pool_encodings,
)
from dancetomusic.models.pose_encoder.movement_tempo import (
    LAGS_S,
    TEMPLATE,
    dance_prior,
    repetition,
    template_logits,
    template_taps,
    tempo_posterior,
)
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoding, encode_poses
from dancetomusic.pose.hits import visible_hits
from dancetomusic.released import released_checkpoint
from dancetomusic.rhythm.beats import TEMPI_BPM
from dancetomusic.rhythm.energy import group_energy
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.types import PoseSequence

FPS = 24.0


@pytest.fixture(scope="module")
def encoder() -> PoseEncoder:
    return Pose2Audio.from_pretrained(released_checkpoint("pose2audio")).eval().encoder


def _sequence(world: np.ndarray) -> PoseSequence:
    return fully_visible(world.astype(np.float32), FPS)


def _dance(bpm: float = 104.0, seconds: float = 14.0, seed: int = 3) -> tuple:
    dance = choreograph("steps", bpm, seconds, seed=seed, timing_jitter_ms=0.0)
    return _sequence(dance.world), dance.beat_times


def _still(seconds: float = 6.0) -> PoseSequence:
    body = np.random.default_rng(0).normal(0.0, 0.2, (33, 3))
    return _sequence(np.repeat(body[None], round(seconds * FPS), axis=0))


def test_a_clear_dance_is_read_and_other_readings_differ(encoder: PoseEncoder) -> None:
    poses, beats = _dance()
    encoding, readings = movement_rhythms(encoder, [poses])
    assert 2 <= len(readings) <= MOST_READINGS
    assert beat_f(beats[beats < poses.duration_s], readings[0].beat_times) > 0.9
    assert encoding.memory.shape[1] == len(poses) // 2
    for reading in readings:
        assert reading.source == "movement" and 0.0 <= reading.certainty <= 1.0
        assert reading.certainty <= readings[0].certainty
        assert reading.energy.size == np.ceil(poses.duration_s * 10)
    for other in readings[1:]:
        same_tempo = abs(np.log2(other.bpm / readings[0].bpm)) < 0.05
        assert not same_tempo or beat_f(readings[0].beat_times, other.beat_times) < 0.5


def test_a_tempo_that_is_given_is_kept(encoder: PoseEncoder) -> None:
    poses, _ = _dance()
    _, readings = movement_rhythms(encoder, [poses], bpm=97.0)
    assert all(reading.bpm == pytest.approx(97.0, rel=0.01) for reading in readings)
    with pytest.raises(InputError):
        movement_rhythms(encoder, [poses], bpm=300.0)


def test_standing_still_gives_a_steady_guess(encoder: PoseEncoder) -> None:
    _, readings = movement_rhythms(encoder, [_still()])
    assert readings[0].verdict == "guess"
    assert 85.0 <= readings[0].bpm <= 150.0
    assert np.diff(readings[0].beat_times).std() < 0.01


def test_nobody_seen_and_a_single_second_do_not_fail(encoder: PoseEncoder) -> None:
    poses, _ = _dance(seconds=6.0)
    gone = replace(poses, present=np.zeros(len(poses), bool))
    for dancers in ([gone], [poses, gone], [_sequence(poses.world[:25])]):
        _, readings = movement_rhythms(encoder, dancers)
        assert np.isfinite(readings[0].beat_times).all() and readings[0].beat_times.size


def test_all_who_dance_are_listened_to(encoder: PoseEncoder) -> None:
    poses, beats = _dance()
    still = _still(14.0)
    _, alone = movement_rhythms(encoder, [still])
    _, together = movement_rhythms(encoder, [still, poses])
    assert beat_f(beats[beats < 14.0], together[0].beat_times) > 0.8
    assert not np.allclose(together[0].energy, alone[0].energy)


@pytest.mark.slow(1)
def test_the_leader_gives_the_beat_and_all_give_energy_and_memory(encoder: PoseEncoder) -> None:
    (slow, beats), (fast, _) = _dance(bpm=92.0), _dance(bpm=124.0, seed=5)
    of_both, _ = movement_rhythms(encoder, [fast, slow])
    of_one, alone = movement_rhythms(encoder, [slow])
    encoding, readings = movement_rhythms(encoder, [fast, slow], leaders=[1])
    np.testing.assert_array_equal(readings[0].beat_times, alone[0].beat_times)
    assert beat_f(beats[beats < slow.duration_s], readings[0].beat_times) > 0.9
    assert torch.equal(encoding.memory, of_both.memory)
    assert torch.equal(encoding.phase, of_one.phase)
    np.testing.assert_array_equal(readings[0].energy, group_energy([fast, slow]))


def test_pooling_one_dancer_changes_nothing(encoder: PoseEncoder) -> None:
    poses, _ = _dance(seconds=6.0)
    with torch.inference_mode():
        encoding = encode_poses(encoder, poses)
        twice = pool_encodings([encoding, encoding], [poses, poses])
    assert pool_encodings([encoding], [poses]) is encoding
    torch.testing.assert_close(twice.phase, encoding.phase)


def test_hits_are_where_movement_stops() -> None:
    at = np.arange(120) / FPS
    place = np.where(at < 2.0, at, 2.0)
    world = np.zeros((120, 33, 3))
    world[:, 15, 0] = place
    hits = visible_hits([_sequence(world)])
    assert abs(hits.argmax() / FPS - 2.0) < 0.1


def test_the_template_reads_every_tempo_alike() -> None:
    assert template_taps().shape == (LAGS_S.size - TEMPI_BPM.size + 1, TEMPLATE.size)
    likeness = np.cos(2 * np.pi * LAGS_S * 2.0)
    logits = template_logits(likeness)
    moved = template_logits(np.cos(2 * np.pi * LAGS_S * 2.0 * 2 ** (5 / 24)))
    np.testing.assert_allclose(moved[5:], logits[:-5], atol=1e-9)


def test_the_prior_prefers_what_people_dance_to() -> None:
    bpm = np.array([50.0, 85.0, 118.0, 150.0, 190.0])
    prior = dance_prior(bpm)
    assert prior.argmax() == 2 and prior[1] > prior[0] and prior[3] > prior[4]
    posterior = tempo_posterior(np.zeros(TEMPI_BPM.size), bpm)
    assert np.exp(posterior).sum() == pytest.approx(1.0)


def test_repetition_of_a_dance_is_at_its_beats() -> None:
    poses, _ = _dance(bpm=120.0)
    likeness = repetition([poses])
    at_two_beats = likeness[np.abs(LAGS_S - 1.0).argmin()]
    between = likeness[np.abs(LAGS_S - 0.75).argmin()]
    assert at_two_beats > between + 0.2
    assert np.abs(likeness).max() <= 1.5
    assert not repetition([_sequence(poses.world[:10])]).any()


@pytest.mark.slow
def test_detector_jitter_does_not_make_a_tempo(shared_data, encoder: PoseEncoder) -> None:
    clips = trusted_clips(load_wild(shared_data / "wild"))[:6]
    changed = []
    for clip in clips:
        assert clip.poses is not None
        smooth = gaussian_filter1d(clip.poses.world, 1.0, axis=0)
        tempi = [
            movement_rhythms(encoder, [poses])[1][0].bpm
            for poses in (clip.poses, replace(clip.poses, world=smooth))
        ]
        changed.append(abs(tempi[1] / tempi[0] - 1) > 0.04)
    assert sum(changed) <= 1


def test_memory_is_of_all_dancers_in_view():
    def encoding(value, mask):
        ones = torch.ones(1, 4)
        return PoseEncoding(
            torch.full((1, 2, 3), value), torch.tensor([mask]), torch.ones(1, 4, 2),
            ones, ones, ones, torch.ones(1, 63),
        )  # fmt: skip

    def dancer(share):
        present = np.arange(48) < share * 48
        world = np.zeros((48, 33, 3), np.float32)
        return PoseSequence(world, present, np.ones((48, 33), np.float32), 24.0)

    both = pool_encodings(
        [encoding(1.0, [True, True]), encoding(4.0, [True, False])], [dancer(1.0), dancer(0.5)]
    )
    assert both.memory_mask.all()
    torch.testing.assert_close(both.memory[0, :, 0], torch.tensor([2.0, 1.0]))
