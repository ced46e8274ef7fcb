from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from dancetomusic.errors import InputError
from dancetomusic.io.audio import write_stems
from dancetomusic.io.loudness import integrated_loudness, true_peak
from dancetomusic.score.master import master
from dancetomusic.score.mix import EQUALISERS, Channel, duck_under, levelled, mix_stems, sum_stems
from dancetomusic.types import Waveform

RATE = 44_100


def tone(
    frequency_hz: float = 220.0, level: float = 0.2, seconds: float = 2.0, rate: int = RATE
) -> Waveform:
    wave = level * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate)) / rate)
    return Waveform(np.stack([wave, wave]).astype(np.float32), rate)


def noise(seed: int = 0, level: float = 0.1, seconds: float = 2.0) -> Waveform:
    rng = np.random.default_rng(seed)
    samples = level * rng.standard_normal((2, round(seconds * RATE)))
    return Waveform(samples.astype(np.float32), RATE)


def power(samples: np.ndarray) -> float:
    return float(np.sum(samples.astype(np.float64) ** 2))


STEMS = {"drums": noise(1), "bass": tone(55), "chords": tone(330), "lead": tone(880)}
CHANNELS = {
    "drums": Channel(0.0, 0.0, 0.12, equaliser=EQUALISERS["drums"]),
    "bass": Channel(-2.0, 0.0, 0.02, equaliser=EQUALISERS["bass"], duck_db=4.0),
    "chords": Channel(-6.0, -0.4, 0.25, equaliser=EQUALISERS["chords"], duck_db=2.0),
    "lead": Channel(-5.0, 0.3, 0.3, equaliser=EQUALISERS["lead"]),
}


def test_written_stems_add_up_to_the_mix(tmp_path: Path) -> None:
    loud = {name: Waveform(stem.samples * 20, RATE) for name, stem in STEMS.items()}
    stems = mix_stems(loud, CHANNELS, kick_times_s=np.array([0.0, 0.5, 1.0]))
    paths = write_stems(tmp_path / "new" / "stems", stems)
    assert [path.name for path in paths] == ["drums.wav", "bass.wav", "chords.wav", "lead.wav"]
    read = [soundfile.read(path, dtype="float32")[0] for path in paths]
    mix = sum_stems(stems).samples
    assert np.abs(mix).max() > 1  # more than integers could hold
    np.testing.assert_array_equal(sum(read), mix.T)


def test_a_track_that_is_alone_is_what_it_is_among_others() -> None:
    together = mix_stems(STEMS, CHANNELS)
    alone = mix_stems({"chords": STEMS["chords"]}, CHANNELS)
    np.testing.assert_array_equal(together["chords"].samples, alone["chords"].samples)
    assert list(together) == list(STEMS)


def test_a_plain_channel_changes_nothing() -> None:
    mixed = mix_stems(STEMS, {"drums": Channel()})
    for name, stem in STEMS.items():
        np.testing.assert_allclose(mixed[name].samples, stem.samples, atol=1e-7)


@pytest.mark.parametrize("pan", [-1.0, -0.6, 0.0, 0.25, 1.0])
def test_pan_keeps_the_power(pan: float) -> None:
    mono = Waveform(tone().samples[:1], RATE)
    for stem in (tone(), mono):
        placed = mix_stems({"a": stem}, {"a": Channel(pan=pan)})["a"].samples
        assert placed.shape == (2, 2 * RATE)
        assert power(placed) == pytest.approx(power(tone().samples), rel=1e-5)
        assert np.sign(power(placed[1]) - power(placed[0])) == pytest.approx(np.sign(pan), abs=1e-3)
    assert pan != 1 or not placed[0].any() or np.abs(placed[0]).max() < 1e-6


def test_gain_is_in_decibels() -> None:
    placed = mix_stems({"a": tone()}, {"a": Channel(gain_db=-20.0)})["a"]
    np.testing.assert_allclose(placed.samples, tone().samples / 10, atol=1e-7)


def test_the_kick_turns_other_tracks_down() -> None:
    kicks = np.array([0.5, 1.5, 9.0, -1.0])
    ducked = mix_stems({"a": noise()}, {"a": Channel(duck_db=6.0)}, kick_times_s=kicks)["a"]
    factor = ducked.samples[0] / noise().samples[0]
    times = np.arange(2 * RATE) / RATE
    for kick in (0.5, 1.5):
        full = (times > kick + 0.002) & (times < kick + 0.028)
        np.testing.assert_allclose(factor[full], 10 ** (-6 / 20), rtol=0.02)
    assert factor[(times > 0) & (times < 0.49)].min() > 0.99  # not before it
    assert factor[(times > 1.1) & (times < 1.49)].min() > 0.98  # nor long after it
    assert np.abs(np.diff(factor)).max() < 0.02  # no step
    unmoved = mix_stems({"a": noise()}, {"a": Channel(duck_db=6.0)})["a"].samples
    np.testing.assert_array_equal(unmoved, noise().samples)


def test_stems_of_different_shapes_have_no_sum() -> None:
    with pytest.raises(InputError, match="all alike"):
        sum_stems({"a": tone(), "b": tone(seconds=1.0)})
    with pytest.raises(InputError, match="Give one or more"):
        sum_stems({})


@pytest.mark.parametrize("level", [0.01, 0.2, 3.0])
def test_levelled_stems_are_equally_loud(level: float) -> None:
    for stem in (tone(level=level), noise(level=level)):
        assert integrated_loudness(levelled(stem)) == pytest.approx(-20, abs=0.1)
    silence = Waveform(np.zeros_like(tone().samples), RATE)
    assert not levelled(silence).samples.any()


def test_no_stem_is_raised_by_more_than_24_db() -> None:
    quiet = tone(level=1e-3)
    np.testing.assert_allclose(levelled(quiet).samples, quiet.samples * 10 ** (24 / 20), rtol=1e-5)


def test_width_spreads_a_track_and_mono_does_not_change() -> None:
    mono = noise(seconds=2.0).samples[:1]
    stem = Waveform(np.concatenate([mono, mono]), RATE)
    wide = mix_stems({"a": stem}, {"a": Channel(width=0.5)})["a"].samples
    np.testing.assert_allclose(wide.mean(axis=0), mono[0], atol=1e-6)
    assert np.corrcoef(wide)[0, 1] == pytest.approx(0.6, abs=0.1)
    bass = mix_stems({"a": tone(55)}, {"a": Channel(width=1.0)})["a"].samples
    assert np.corrcoef(bass)[0, 1] > 0.99


@pytest.mark.parametrize(
    "value", [{"pan": 1.5}, {"gain_db": 40.0}, {"room": -0.1}, {"width": 1.1}, {"duck_db": 13.0}]
)
def test_values_out_of_range_are_refused(value: dict[str, float]) -> None:
    with pytest.raises(InputError, match="Give"):
        Channel(**value)


def test_more_than_two_channels_are_refused() -> None:
    with pytest.raises(InputError, match="one or two"):
        mix_stems({"a": Waveform(np.zeros((3, 10), np.float32), RATE)}, {})


def test_original_is_ducked_under_the_music_and_rises_in_its_pauses() -> None:
    music = noise(seconds=6)
    music.samples[:, 3 * RATE : 4 * RATE + RATE // 2] = 0
    original = tone(1_000, level=0.02, seconds=9, rate=48_000)
    mixed = duck_under(music, original, 0.25)
    assert mixed.samples.shape == music.samples.shape
    assert integrated_loudness(mixed) == pytest.approx(integrated_loudness(music), abs=0.1)
    # Music of another level as a whole: what is not it is the original.
    share = float(np.vdot(mixed.samples, music.samples) / np.vdot(music.samples, music.samples))
    under = mixed.samples - np.float32(share) * music.samples

    def level_db(start_s: float, end_s: float) -> float:
        return integrated_loudness(
            Waveform(under[:, round(start_s * RATE) : round(end_s * RATE)].copy(), RATE)
        )

    playing = level_db(1, 2.9)
    assert playing == pytest.approx(integrated_loudness(noise(seconds=6)) - 12, abs=0.7)
    assert level_db(4, 4.4) == pytest.approx(playing + 6, abs=0.6)


def test_loud_music_with_its_original_stays_within_the_limit() -> None:
    music = master(noise(seconds=3), -9.0)
    mixed = duck_under(music, tone(300, seconds=3), 1.0)
    assert integrated_loudness(mixed) == pytest.approx(-9, abs=0.3)
    assert true_peak(mixed) <= -1


def test_original_of_any_kind_is_accepted() -> None:
    music = noise(seconds=1)
    assert duck_under(music, None, 0.25) is music
    silence = Waveform(np.zeros((1, RATE), np.float32), RATE)
    assert duck_under(music, silence, 0.25) is music
    mono = Waveform(tone(seconds=0.4).samples[:1], RATE)
    assert duck_under(music, mono, 0.0) is music
    for first in (music, Waveform(music.samples[:1], RATE)):
        assert duck_under(first, mono, 0.25).samples.shape == first.samples.shape
        assert duck_under(first, tone(), 0.25).samples.shape == first.samples.shape
    unheard = Waveform(np.zeros((2, RATE), np.float32), RATE)
    np.testing.assert_allclose(
        duck_under(unheard, tone(seconds=1), 0.5).samples, tone(seconds=1).samples / 2, atol=1e-6
    )
    faint = Waveform(tone(level=0.001, seconds=1).samples, RATE)
    # 12 dB up, no more
    assert np.abs(duck_under(music, faint, 0.5, duck_db=0.0).samples - music.samples).max() < 0.0042
    with pytest.raises(InputError, match="Give"):
        duck_under(music, mono, 1.1)
