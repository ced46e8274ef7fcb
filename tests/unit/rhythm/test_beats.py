import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import extrapolate_beats, fit_grid, steady_grid, track_from_beats

RATE = 75.0
LEVEL = np.full(10, 0.5, np.float32)


def predicted_phase(bpm_per_frame, *, strength=0.6, noise=0.3, first_cycle=0.3):
    """Phase vectors of a dance at the given tempo, and its true beat times."""
    rng = np.random.default_rng(0)
    cycles = first_cycle + np.cumsum(bpm_per_frame) / 60 / RATE
    vectors = strength * np.exp(2j * np.pi * cycles)
    vectors = vectors + noise * (rng.normal(size=cycles.size) + 1j * rng.normal(size=cycles.size))
    whole = np.arange(np.ceil(cycles[0]), cycles[-1])
    beats = np.interp(whole, cycles, np.arange(cycles.size) / RATE)
    return np.stack([vectors.real, vectors.imag], axis=1).astype(np.float32), beats


def fit(phase, **options):
    return fit_grid(phase, RATE, energy=LEVEL, energy_rate=10.0, **options)


def share_hit(track, beats):
    return np.mean(np.abs(track.beat_times[:, None] - beats).min(axis=1) < 0.07)


@pytest.mark.parametrize("bpm", [52.0, 87.0, 124.0, 178.0])
def test_steady_dance_gives_its_beats(bpm):
    phase, beats = predicted_phase(np.full(1500, bpm))
    track = fit(phase)
    assert track.bpm == pytest.approx(bpm, rel=0.01)
    assert share_hit(track, beats) == 1.0
    assert np.ptp(np.diff(track.beat_times)) < 1e-6
    assert track.confidence.mean() == pytest.approx(0.6, abs=0.1)


def test_change_of_tempo_is_followed():
    phase, beats = predicted_phase(np.r_[np.full(3000, 97.0), np.full(3000, 131.0)])
    track = fit(phase)
    assert share_hit(track, beats) > 0.95
    assert np.diff(track.beat_times)[5] == pytest.approx(60 / 97, rel=0.03)
    assert np.diff(track.beat_times)[-5] == pytest.approx(60 / 131, rel=0.03)


def test_slow_drift_is_followed():
    phase, beats = predicted_phase(np.linspace(100, 110, 9000))
    assert share_hit(fit(phase), beats) > 0.95


def test_stretch_without_evidence_keeps_the_grid():
    phase, beats = predicted_phase(np.full(4500, 110.0))
    weights = np.ones(4500, np.float32)
    weights[1500:3000] = 0
    track = fit(phase, weights=weights)
    assert share_hit(track, beats) == 1.0
    middle = (track.beat_times > 28) & (track.beat_times < 32)
    assert track.confidence[middle].max() < 0.1 < track.confidence[:10].min()


def test_nothing_rhythmic_gives_a_steady_grid_without_confidence():
    track = fit(np.zeros((750, 2), np.float32))
    assert np.ptp(np.diff(track.beat_times)) < 1e-6
    assert 80 < track.bpm < 140
    assert track.confidence.max() == 0


def test_whole_duration_is_covered():
    phase, _ = predicted_phase(np.full(750, 120.0))
    track = fit(phase, duration_s=30.0)
    assert track.beat_times[0] < 0.5
    assert track.beat_times[-1] > 29.5
    assert track.beat_times[-1] < 30.0
    assert fit(np.zeros((0, 2), np.float32), duration_s=3.0).beat_times.size >= 5


def test_given_tempo_is_kept_and_phase_fitted():
    phase, beats = predicted_phase(np.full(1500, 124.0))
    assert fit(phase, bpm=62.0).bpm == pytest.approx(62.0)
    assert share_hit(fit(phase, bpm=124.0), beats) == 1.0


@pytest.mark.parametrize("bar", [3, 4])
@pytest.mark.parametrize("offset", [0, 2])
def test_downbeats_decide_bar_length_and_offset(bar, offset):
    phase, beats = predicted_phase(np.full(1500, 120.0))
    logits = np.full(1500, -4.0, np.float32)
    logits[np.rint(beats * RATE).astype(int)[offset::bar]] = 2.0
    track = fit(phase, downbeat_logits=logits)
    assert track.beats_per_bar == bar
    first = track.beat_times[np.argmax(track.beat_numbers == 1)]
    expected = beats[offset] - bar * 60 / 120 * ((beats[offset] - beats[0]) // (bar * 0.5))
    assert first == pytest.approx(expected, abs=0.05)


def test_bar_length_can_be_kept():
    phase, _ = predicted_phase(np.full(1500, 120.0))
    logits = np.zeros(1500, np.float32)
    assert fit(phase, downbeat_logits=logits, beats_per_bar=3).beats_per_bar == 3


@pytest.mark.parametrize("bpm", [39.0, 241.0, float("nan")])
def test_tempo_out_of_range_is_refused(bpm):
    with pytest.raises(InputError, match="Give 40 to 240"):
        fit(np.zeros((75, 2), np.float32), bpm=bpm)


def test_given_beats_are_kept_and_continued():
    times = np.array([1.0, 1.5, 2.1])
    track = track_from_beats(times, np.array([2, 3, 1]), 4.0)
    np.testing.assert_allclose(track.beat_times, [0, 0.5, 1.0, 1.5, 2.1, 2.7, 3.3, 3.9])
    assert track.beat_numbers.tolist() == [3, 1, 2, 3, 1, 2, 3, 1]
    assert (track.confidence == 1).all()


@pytest.mark.parametrize(
    ("times", "numbers"),
    [
        ([1.0], [1]),
        ([1.0, 0.5], [1, 2]),
        ([0.0, 0.01], [1, 2]),
        ([0.0, 9.0], [1, 2]),
        ([0.0, np.nan], [1, 2]),
        ([0.0, 0.5], [0, 1]),
    ],
)
def test_impossible_beats_are_refused(times, numbers):
    with pytest.raises(InputError):
        track_from_beats(np.array(times), np.array(numbers), 4.0)


def test_steady_grid_is_a_metronome():
    track = steady_grid(100.0, 6.0, first_beat_s=0.25, beats_per_bar=3)
    assert track.bpm == pytest.approx(100.0)
    assert track.beat_times[0] == pytest.approx(0.25)
    assert track.beat_numbers[:4].tolist() == [1, 2, 3, 1]
    with pytest.raises(InputError):
        steady_grid(0.0, 6.0)


def test_extrapolation_surrounds_the_duration():
    times, numbers = extrapolate_beats(np.array([2.0]), np.array([1]), end_s=4.0)
    assert numbers.size == times.size
    assert times[0] <= 0 < 4.0 < times[-1]
    with pytest.raises(InputError):
        extrapolate_beats(np.zeros(0), np.zeros(0, int), end_s=1.0)
