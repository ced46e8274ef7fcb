from __future__ import annotations

import logging

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.io.loudness import integrated_loudness
from dancetomusic.score.master import glue_db, master, master_stems
from dancetomusic.types import Waveform

RATE = 44_100


def drums(
    rate: int = RATE, seconds: float = 4.0, every_s: float = 0.5, gain_db: float = 0.0
) -> Waveform:
    """A kick and a noise stroke in turn, two channels: high peaks, much silence."""
    rng = np.random.default_rng(1)
    t = np.arange(round(seconds * rate)) / rate
    since = t % every_s
    kick = np.sin(2 * np.pi * 55 * since + 8 * (1 - np.exp(-since / 0.02))) * np.exp(-since / 0.1)
    snare = rng.standard_normal((2, t.size)) * np.exp(-since / 0.05) * 0.3
    mixed = np.where((t // every_s) % 2 == 0, kick, snare) * 10 ** (gain_db / 20)
    return Waveform(mixed.astype(np.float32), rate)


def dense(rate: int = RATE, seconds: float = 4.0, channels: int = 2, gain: float = 0.2) -> Waveform:
    rng = np.random.default_rng(2)
    t = np.arange(round(seconds * rate)) / rate
    chord = sum(np.sin(2 * np.pi * f * t) for f in (110, 220, 277, 330))
    noise = rng.standard_normal((channels, t.size))
    return Waveform((gain * (chord + noise) / 3).astype(np.float32), rate)


def measured_lufs(sound: Waveform) -> float:
    pyloudnorm = pytest.importorskip("pyloudnorm")
    return float(
        pyloudnorm.Meter(sound.sample_rate).integrated_loudness(sound.samples.T.astype(np.float64))
    )


# The interpolator of ITU-R BS.1770-4, annex 2: two of its four phases; the others are these
# reversed.
PHASES = np.array([
    [0.0017089843750, 0.0109863281250, -0.0196533203125, 0.0332031250000, -0.0594482421875,
     0.1373291015625, 0.9721679687500, -0.1022949218750, 0.0476074218750, -0.0266113281250,
     0.0148925781250, -0.0083007812500],
    [-0.0291748046875, 0.0292968750000, -0.0517578125000, 0.0891113281250, -0.1665039062500,
     0.4650878906250, 0.7797851562500, -0.2003173828125, 0.1015625000000, -0.0582275390625,
     0.0330810546875, -0.0189208984375],
])  # fmt: skip


def measured_peak_db(sound: Waveform) -> float:
    peaks = [
        np.abs(np.convolve(channel, phase)).max()
        for channel in sound.samples.astype(np.float64)
        for phase in (*PHASES, *PHASES[:, ::-1])
    ]
    return float(20 * np.log10(max(peaks)))


def crest_db(sound: Waveform) -> float:
    samples = sound.samples.astype(np.float64)
    return float(20 * np.log10(np.abs(samples).max() / np.sqrt(np.mean(samples**2))))


SOUNDS = {
    "drums": drums(),
    "quiet drums": drums(gain_db=-34),
    "clipping drums": drums(gain_db=12),
    "sparse strokes": drums(every_s=1.9),
    "dense": dense(),
    "very loud": dense(gain=8.0),
    "quiet": dense(gain=0.003),
    "mono 24 kHz": dense(24_000, channels=1),
    "mono drums 24 kHz": drums(24_000),
    "48 kHz": drums(48_000),
}


@pytest.mark.parametrize("wanted", [-14.0, -23.0])
@pytest.mark.parametrize("name", SOUNDS)
def test_loudness_and_true_peak_are_met(name: str, wanted: float) -> None:
    sound = SOUNDS[name]
    mastered = master(sound, wanted)
    assert mastered.sample_rate == sound.sample_rate
    assert mastered.samples.shape == sound.samples.shape
    assert measured_lufs(mastered) == pytest.approx(wanted, abs=0.5)
    assert measured_peak_db(mastered) <= -1.0


def test_none_leaves_the_sound_alone() -> None:
    sound = SOUNDS["very loud"]
    assert master(sound, None) is sound


def test_the_same_sound_is_mastered_to_the_same() -> None:
    np.testing.assert_array_equal(master(SOUNDS["drums"]).samples, master(SOUNDS["drums"]).samples)


@pytest.mark.parametrize("n_samples", [0, 1, 2, 7, 50, 441, 4_410, 17_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_short_sounds_are_mastered(n_samples: int, channels: int) -> None:
    sound = Waveform(dense(channels=channels).samples[:, :n_samples].copy(), RATE)
    mastered = master(sound)
    assert mastered.samples.shape == (channels, n_samples)
    assert np.abs(mastered.samples).max(initial=0) <= 10 ** (-1 / 20)


def test_silence_stays_silence() -> None:
    assert not master(Waveform(np.zeros((2, RATE), np.float32), RATE)).samples.any()
    hiss = np.random.default_rng(0).standard_normal((2, RATE)) * 1e-4
    raised = master(Waveform(hiss.astype(np.float32), RATE))
    assert np.abs(raised.samples).max() < 1e-3


def test_what_is_almost_silent_is_not_blown_up() -> None:
    sound = dense(gain=1e-3)
    before = integrated_loudness(sound)
    assert -70 < before < -54
    assert integrated_loudness(master(sound)) == pytest.approx(before + 40, abs=1.5)


def test_peaks_that_stand_too_high_leave_a_sound_quieter(caplog: pytest.LogCaptureFixture) -> None:
    samples = dense(gain=0.01).samples.copy()
    samples[:, RATE] = 1.0
    sound = Waveform(samples, RATE)
    with caplog.at_level(logging.WARNING):
        mastered = master(sound, -6.0)
    assert integrated_loudness(mastered) < -6.5 and measured_peak_db(mastered) <= -1.0
    assert len(caplog.records) == 1 and "LUFS" in caplog.text


@pytest.mark.parametrize("offset", [0.3, -0.8])
def test_offset_is_removed_without_a_thump(offset: float) -> None:
    clean = SOUNDS["dense"]
    shifted = Waveform(clean.samples + np.float32(offset), RATE)
    mastered = master(shifted)
    assert np.abs(mastered.samples.mean(axis=1)).max() < 1e-4
    np.testing.assert_allclose(mastered.samples, master(clean).samples, atol=0.01)


def test_drift_is_removed() -> None:
    drift = np.linspace(-0.5, 0.5, SOUNDS["dense"].samples.shape[1], dtype=np.float32)
    mastered = master(Waveform(SOUNDS["dense"].samples + drift, RATE))
    seconds = mastered.samples.reshape(2, 4, RATE)
    assert np.abs(seconds.mean(axis=2)).max() < 0.01


def test_both_ends_start_and_end_at_zero() -> None:
    mastered = master(Waveform(dense().samples[:, 333:-777].copy(), RATE))
    assert not mastered.samples[:, 0].any() and not mastered.samples[:, -1].any()
    start = np.abs(mastered.samples[:, :20]).max()
    end = np.abs(mastered.samples[:, -100:]).max()
    assert max(start, end) < 0.03  # of 0.8
    long = master(dense(), fade_out_s=2.0).samples
    loud, faded = long[:, RATE : 2 * RATE], long[:, -RATE // 2 :]
    assert np.std(faded) < 0.2 * np.std(loud)


def test_fade_in_keeps_the_first_stroke() -> None:
    before, after = SOUNDS["drums"].samples[:, :4_410], master(SOUNDS["drums"]).samples[:, :4_410]
    assert np.abs(after).max() > 0.8 * np.abs(master(SOUNDS["drums"]).samples).max()
    peaks = [np.abs(part[0]).argmax() / RATE for part in (before, after)]
    assert peaks[0] == pytest.approx(peaks[1], abs=0.005)


def test_channels_are_turned_down_together() -> None:
    sound = SOUNDS["clipping drums"]
    lopsided = Waveform(sound.samples * np.array([[1.0], [0.25]], np.float32), RATE)
    left, right = master(lopsided).samples
    audible = np.abs(left) > 0.01
    kicks = lopsided.samples[0] == 4 * lopsided.samples[1]
    np.testing.assert_allclose(right[kicks & audible] / left[kicks & audible], 0.25, atol=0.01)


def test_glue_holds_loud_passages_back_by_about_2_db() -> None:
    frame_rate, even = 3_150.0, np.full(6 * 3_150, 10 ** (-20 / 10))
    even[: 3 * 3_150] *= 0.1
    held_db = glue_db(even, -22.0, frame_rate)
    assert held_db[3_000] == pytest.approx(0, abs=0.1)
    assert 1 < held_db[-1] < 2.5
    even[-3_150:] *= 100
    assert glue_db(even, -22.0, frame_rate).max() <= 3.0


@pytest.mark.parametrize(
    ("name", "value"),
    [("loudness_lufs", 3.0), ("loudness_lufs", -90.0), ("loudness_lufs", float("nan")),
     ("true_peak_db", 1.0), ("fade_in_s", -1.0), ("fade_out_s", float("inf"))],
)  # fmt: skip
def test_values_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match="Give"):
        master(SOUNDS["dense"], **{name: value})


def test_mastered_stems_add_up_to_the_mastered_sum():
    loud, quiet = drums(gain_db=6.0), drums(every_s=0.3, gain_db=-9.0)
    together = Waveform(loud.samples + quiet.samples, RATE)
    stems = master_stems({"a": loud, "b": quiet}, -14.0)
    assert list(stems) == ["a", "b"]
    total = stems["a"].samples + stems["b"].samples
    assert np.abs(total - master(together, -14.0).samples).max() < 1e-5
    unmastered = master_stems({"a": loud}, None)["a"]
    assert np.array_equal(unmastered.samples, loud.samples)
    silence = Waveform(np.zeros((2, RATE), np.float32), RATE)
    assert not master_stems({"a": silence})["a"].samples.any()
    with pytest.raises(InputError):
        master_stems({})
