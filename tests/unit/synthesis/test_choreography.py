import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.synthesis.choreography import STYLES, choreograph

LEFT_BONES = (
    *((23, 25), (25, 27), (27, 29), (27, 31), (29, 31)),
    *((11, 13), (13, 15), (15, 17), (15, 19), (15, 21)),
)
BONES = (*LEFT_BONES, *((a + 1, b + 1) for a, b in LEFT_BONES), (11, 12), (23, 24), (0, 7), (8, 9))
TEMPI = (70.0, 120.0, 180.0)


@pytest.fixture(scope="module")
def dances():
    return [
        choreograph(style, bpm, 30.0, seed, fps=60.0)
        for style in STYLES
        for seed, bpm in enumerate(TEMPI)
    ]


def room(dance):
    return dance.world.astype(float) + dance.root[:, None]


@pytest.mark.slow
def test_landmarks_are_hip_centred_and_finite(dances):
    for dance in dances:
        assert dance.world.shape == (1800, 33, 3)
        assert np.isfinite(dance.world).all()
        np.testing.assert_allclose(dance.world[:, 23:25].mean(axis=1), 0.0, atol=1e-6)


def test_limbs_keep_their_length(dances):
    for dance in dances:
        for a, b in BONES:
            lengths = np.linalg.norm(dance.world[:, a] - dance.world[:, b], axis=1)
            assert np.ptp(lengths) < 1e-4, (dance.style, a, b)
            assert lengths.mean() > 0.02


def test_nothing_goes_through_the_floor(dances):
    for dance in dances:
        assert room(dance)[..., 1].max() < 0.001


def test_a_foot_on_the_floor_does_not_slide(dances):
    for dance in dances:
        toes = room(dance)[:, 31:33]
        down = toes[..., 1] > -0.0205
        standing = down[1:] & down[:-1]
        assert standing.mean() > 0.3
        speed = np.linalg.norm(np.diff(toes[..., [0, 2]], axis=0), axis=2) * dance.fps
        # A swing ends level with the floor, at next to no speed.
        assert np.quantile(speed[standing], 0.9) < 1e-3
        assert speed[standing].max() < 0.35


def test_one_foot_at_least_is_down(dances):
    for dance in dances:
        lowest = room(dance)[:, 27:33, 1].max(axis=1)
        assert np.quantile(lowest, 0.05) > -0.08


def test_movement_is_humanly_possible(dances):
    for dance in dances:
        speed = np.linalg.norm(np.diff(room(dance), axis=0), axis=2) * dance.fps
        assert speed[:, [0, 23, 24]].max() < 3.0
        assert speed[:, 15:17].max() < 12.0
        assert np.abs(dance.root[:, [0, 2]]).max() < 1.0


@pytest.mark.slow(1)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("bpm", TEMPI)
def test_the_pelvis_is_lowest_on_the_beat(style, bpm):
    on, off = [], []
    for seed in range(4):
        dance = choreograph(style, bpm, 30.0, seed, fps=60.0, hold_share=0.0)
        times = np.arange(len(dance.world)) / dance.fps
        lowered = dance.root[:, 1]
        beats = dance.beat_times[dance.beat_numbers == 1]
        on.append(np.interp(beats, times, lowered).mean())
        off.append(np.interp(beats + 30.0 / bpm, times, lowered).mean())
    assert np.mean(on) > np.mean(off) + 0.003


@pytest.mark.parametrize("style", STYLES)
def test_feet_strike_on_beats_or_half_beats(style):
    dance = choreograph(style, 110.0, 60.0, 5, fps=120.0, timing_jitter_ms=0.0)
    strikes = []
    for toe in room(dance)[:, 31:33, 1].T:
        down = toe > -0.0201
        strikes.append((np.flatnonzero(~down[:-1] & down[1:]) + 1) / dance.fps)
    phase = (np.concatenate(strikes) - dance.beat_times[0]) * 110.0 / 60.0 * 2
    assert len(phase) > 10
    assert np.mean(np.abs(phase - np.round(phase)) < 0.12) > 0.9


def test_beats_are_exact():
    dance = choreograph("steps", 128.0, 20.0, 3, first_beat_s=0.25)
    np.testing.assert_allclose(dance.beat_times, 0.25 + np.arange(43) * 60 / 128, rtol=1e-12)
    assert dance.beat_times[-1] < 20.0
    assert dance.beat_numbers[:5].tolist() == [1, 2, 3, 4, 1]
    assert choreograph("waltz", 90.0, 5.0, 3).beat_numbers[:4].tolist() == [1, 2, 3, 1]


def test_the_seed_decides_and_the_frame_rate_does_not():
    first = choreograph("disco", 116.0, 8.0, 7, fps=24.0)
    again = choreograph("disco", 116.0, 8.0, 7, fps=24.0)
    other = choreograph("disco", 116.0, 8.0, 8, fps=24.0)
    finer = choreograph("disco", 116.0, 8.0, 7, fps=48.0)
    np.testing.assert_array_equal(first.world, again.world)
    assert np.abs(first.world - other.world).max() > 0.1
    # Smoothing along time is done on the frames, so rates agree closely but not exactly.
    assert np.abs(first.world - finer.world[::2]).mean() < 0.002


def test_facing_the_camera_the_left_hand_is_on_the_right_of_the_image():
    dance = choreograph("bounce", 100.0, 10.0, 1)
    assert (dance.world[:, 11, 0] > dance.world[:, 12, 0]).all()
    assert (dance.world[:, 0, 2] < dance.world[:, 7, 2]).all()  # nose nearer than ears
    assert (dance.world[:, 0, 1] < dance.world[:, 31, 1]).all()  # head above feet
    back = choreograph("bounce", 100.0, 10.0, 1, yaw_deg=180.0)
    assert (back.world[:, 11, 0] < back.world[:, 12, 0]).all()
    side = choreograph("bounce", 100.0, 10.0, 1, yaw_deg=90.0)
    assert side.world[:, 0, 0].mean() > 0.05  # its left is the right of the image


def test_turns_turn():
    turned = [np.ptp(choreograph("turns", 110.0, 30.0, seed).yaw) for seed in range(5)]
    assert np.median(turned) > 2 * np.pi


def test_options_change_the_dance():
    usual = choreograph("arms", 120.0, 20.0, 2)
    small = choreograph("arms", 120.0, 20.0, 2, intensity=0.3)
    still = choreograph("arms", 120.0, 20.0, 2, hold_share=1.0)
    wrists = [np.abs(np.diff(d.world[:, 15], axis=0)).mean() for d in (usual, small, still)]
    assert wrists[1] < 0.75 * wrists[0]
    assert wrists[2] < 0.5 * wrists[0]


@pytest.mark.parametrize(
    ("style", "bpm", "duration_s"),
    [("polka", 120.0, 5.0), ("bounce", 60.0, 5.0), ("bounce", 181.0, 5.0), ("bounce", 120.0, 0.0)],
)
def test_refusals(style, bpm, duration_s):
    with pytest.raises(InputError):
        choreograph(style, bpm, duration_s, 0)
