from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from dancetomusic.errors import InputError, OutputError, VideoError
from dancetomusic.io.audio import (
    SOUND_SUFFIXES,
    fit_length,
    peak_safe,
    read_audio,
    resample,
    write_audio,
    write_stems,
)
from dancetomusic.io.loudness import true_peak
from dancetomusic.types import Waveform
from tests.video_factory import click_times, clicks, write_sound, write_video

CLICKS = [0.25, 0.5, 1.75]


def waveform(rate: int = 24_000, duration_s: float = 2.0, channels: int = 1) -> Waveform:
    return Waveform(np.repeat(clicks(CLICKS, duration_s, rate)[None], channels, axis=0), rate)


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"),
    [
        (".m4a", "aac", 48_000),
        (".m4a", "aac", 22_050),
        (".mp3", "libmp3lame", 44_100),
        (".ogg", "libopus", 48_000),
        (".flac", "flac", 44_100),
        (".wav", "pcm_s16le", 8_000),
        (".wav", "pcm_u8", 48_000),
        (".wav", "pcm_s32le", 24_000),
        (".wav", "pcm_f32le", 24_000),
    ],
)
def test_sound_files_keep_their_times(tmp_path: Path, suffix: str, codec: str, rate: int) -> None:
    path = write_sound(tmp_path / f"s{suffix}", clicks(CLICKS, 2, rate), rate, codec)
    heard = read_audio(path)
    assert heard is not None and heard.sample_rate == 24_000 and heard.samples.shape[0] == 1
    assert click_times(heard.samples[0], 24_000) == pytest.approx(CLICKS, abs=0.002)
    assert np.abs(heard.samples).max() == pytest.approx(0.8, rel=0.3)
    assert heard.duration_s == pytest.approx(2, abs=0.03)


@pytest.mark.parametrize("start_s", [0.0, 0.3])
def test_sound_is_aligned_to_the_picture(tmp_path: Path, start_s: float) -> None:
    sound = clicks(CLICKS, 2)
    path = write_video(tmp_path / "v.mp4", n_frames=60, sound=sound, sound_start_s=start_s)
    heard = read_audio(path)
    assert heard is not None
    assert click_times(heard.samples[0], 24_000) == pytest.approx(
        [time + start_s for time in CLICKS], abs=0.002
    )


def test_gap_in_the_sound_is_silence(tmp_path: Path) -> None:
    sound = clicks(CLICKS, 2)
    path = write_video(tmp_path / "v.mkv", sound=sound, sound_codec="pcm_s16le", sound_gap_s=0.5)
    heard = read_audio(path)
    assert heard is not None
    times = [time + (0.5 if time >= 1 else 0.0) for time in CLICKS]
    assert click_times(heard.samples[0], 24_000) == pytest.approx(times, abs=0.002)
    assert heard.duration_s == pytest.approx(2.5, abs=0.01)


def test_channels_are_averaged(tmp_path: Path) -> None:
    left_only = np.stack([np.full(4800, 0.5), np.zeros(4800)], axis=1)
    soundfile.write(tmp_path / "s.wav", left_only, 24_000)
    heard = read_audio(tmp_path / "s.wav")
    assert heard is not None
    np.testing.assert_allclose(heard.samples, 0.25, atol=1e-4)


def test_no_sound_is_none(tmp_path: Path) -> None:
    assert read_audio(write_video(tmp_path / "v.mp4", n_frames=2)) is None


def test_truncated_sound_is_read_to_the_break(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "s.mp3", clicks([0.5, 3.5], 4), codec="libmp3lame")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    heard = read_audio(path)
    assert heard is not None
    assert click_times(heard.samples[0], 24_000) == pytest.approx([0.5], abs=0.002)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="No such file"):
        read_audio(tmp_path / "none.wav")


@settings(max_examples=25, deadline=None)
@given(
    source=st.sampled_from([16_000, 22_050, 24_000, 44_100, 48_000]),
    target=st.sampled_from([16_000, 22_050, 24_000, 44_100, 48_000]),
    start=st.floats(0.1, 0.8),
)
def test_resampling_keeps_time_and_length(source: int, target: int, start: float) -> None:
    sound = Waveform(clicks([start], 1, source)[None], source)
    result = resample(sound, target)
    assert abs(result.duration_s - 1) <= 1 / target
    assert click_times(result.samples[0], target) == pytest.approx([start], abs=0.001)


def test_resampling_to_the_same_rate_changes_nothing() -> None:
    sound = waveform()
    assert resample(sound, 24_000) is sound
    with pytest.raises(InputError, match="positive"):
        resample(sound, 0)


@pytest.mark.parametrize("n", [0, 10, 48_000, 60_000])
def test_fit_length_cuts_or_adds_silence(n: int) -> None:
    sound = waveform()
    fitted = fit_length(sound, n).samples
    assert fitted.shape == (1, n)
    kept = min(n, 48_000)
    np.testing.assert_array_equal(fitted[:, :kept], sound.samples[:, :kept])
    assert not fitted[:, kept:].any()


@pytest.mark.parametrize("gain", [1.0, 4.0])
def test_wav_is_written_without_clipping(tmp_path: Path, gain: float) -> None:
    sound = Waveform(waveform(channels=2).samples * np.float32(gain), 24_000)
    write_audio(tmp_path / "s.wav", sound)
    data, rate = soundfile.read(tmp_path / "s.wav", always_2d=True)
    info = soundfile.info(tmp_path / "s.wav")
    assert (rate, info.subtype, info.format) == (24_000, "PCM_16", "WAV")
    np.testing.assert_allclose(data.T, peak_safe(sound).samples, atol=2 / 32768)
    assert np.abs(data).max() <= 1
    assert list(tmp_path.iterdir()) == [tmp_path / "s.wav"]


def test_wav_cannot_be_written_into_nowhere(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        write_audio(tmp_path / "none" / "s.wav", waveform())


def test_peak_safe_leaves_what_is_in_range() -> None:
    sound = waveform()
    assert peak_safe(sound) is sound
    empty = Waveform(np.zeros((1, 0), np.float32), 24_000)
    assert peak_safe(empty) is empty


def test_a_clock_that_jumps_by_hours_is_not_filled_with_silence(tmp_path):
    sound = clicks([0.5], 3.0)
    path = write_video(tmp_path / "a.mkv", n_frames=72, sound=sound, sound_gap_s=40_000)
    assert read_audio(path).duration_s == pytest.approx(3.0, abs=0.1)


TAGS = {
    "title": "Waltz – für N.",
    "comment": "Music made with dancetomusic; grooves: Groove MIDI Dataset, CC BY 4.0",
}


def own_rate(path: Path) -> int:
    with av.open(str(path)) as container:
        return container.streams.audio[0].rate


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
@pytest.mark.parametrize("suffix", SOUND_SUFFIXES)
def test_every_kind_of_file_keeps_time_length_and_sides(
    tmp_path: Path, suffix: str, rate: int
) -> None:
    left = clicks(CLICKS, 2, rate)
    sound = Waveform(np.stack([left, -0.5 * left]), rate)
    path = tmp_path / f"s{suffix}"
    write_audio(path, sound, tags=TAGS)
    heard = read_audio(path, own_rate(path), 2)
    assert heard is not None and heard.samples.shape[0] == 2
    assert click_times(heard.samples[0], heard.sample_rate) == pytest.approx(CLICKS, abs=0.0005)
    wanted = resample(sound, heard.sample_rate).samples
    assert abs(heard.samples.shape[1] - wanted.shape[1]) <= 1
    n_samples = min(heard.samples.shape[1], wanted.shape[1])
    spectra = np.fft.rfft(heard.samples[0, :n_samples]), np.fft.rfft(wanted[0, :n_samples])
    likeness = np.fft.irfft(spectra[0] * spectra[1].conj(), n_samples)
    assert likeness.argmax() == 0  # not a sample late
    assert heard.samples[1] @ heard.samples[0] == pytest.approx(
        -0.5 * float(heard.samples[0] @ heard.samples[0]), rel=0.1
    )


@pytest.mark.parametrize("suffix", SOUND_SUFFIXES)
def test_tags_are_written_and_the_same_sound_gives_the_same_file(
    tmp_path: Path, suffix: str
) -> None:
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        write_audio(path, waveform(44_100, channels=2), tags={**TAGS, "no such": "text"})
    assert paths[0].read_bytes() == paths[1].read_bytes()
    with av.open(str(paths[0])) as container:
        found = {**container.metadata, **container.streams.audio[0].metadata}
    assert {name: found[name] for name in TAGS} == TAGS


@pytest.mark.parametrize("suffix", [".mp3", ".m4a", ".ogg"])
def test_coding_adds_little_to_peaks(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    since = np.arange(3 * 44_100) / 44_100 % 0.25
    chord = sum(np.sin(2 * np.pi * f * since) for f in (110.0, 220.0, 276.0)) * 0.15
    noise = rng.standard_normal((2, since.size)) * np.exp(-since / 0.03) * 0.15
    sound = Waveform((chord + noise).astype(np.float32), 44_100)
    sound = Waveform(sound.samples * np.float32(10 ** ((-1.3 - true_peak(sound)) / 20)), 44_100)
    write_audio(tmp_path / f"s{suffix}", sound)
    heard = read_audio(tmp_path / f"s{suffix}", 48_000, 2)
    assert heard is not None and true_peak(heard) < -0.5


def test_aac_keeps_strokes_from_the_first_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    since = np.arange(2 * 44_100) / 44_100 % 0.5
    kick = 0.8 * np.sin(2 * np.pi * 55 * since + 8 * (1 - np.exp(-since / 0.02)))
    noise = 0.3 * rng.standard_normal((2, since.size)) * np.exp(-since / 0.05)
    strokes = (kick * np.exp(-since / 0.1) + noise) * np.minimum(since / 0.002, 1)
    sound = Waveform(strokes.astype(np.float32), 44_100)
    sound = Waveform(sound.samples * np.float32(10 ** ((-1.3 - true_peak(sound)) / 20)), 44_100)
    write_audio(tmp_path / "s.m4a", sound)
    heard = read_audio(tmp_path / "s.m4a", 44_100, 2)
    assert heard is not None and true_peak(heard) < -0.9
    assert np.abs(heard.samples - sound.samples).max() < 0.3


@pytest.mark.parametrize("suffix", SOUND_SUFFIXES)
@pytest.mark.parametrize("n_samples", [1, 100, 3_000])
def test_tiny_and_loud_sounds_of_many_channels_are_written(
    tmp_path: Path, suffix: str, n_samples: int
) -> None:
    path = tmp_path / f"s{suffix}"
    write_audio(path, Waveform(np.full((3, n_samples), 4.0, np.float32), 44_100))
    heard = read_audio(path, own_rate(path))
    assert heard is not None
    assert heard.duration_s == pytest.approx(
        n_samples / 44_100, abs=1e-4 if n_samples > 1 else 2e-3
    )


@pytest.mark.parametrize(("bits", "step"), [(16, 2.0**-15), (24, 2.0**-23)])
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_samples_have_their_bits(tmp_path: Path, suffix: str, bits: int, step: float) -> None:
    sound = Waveform(np.random.default_rng(0).uniform(-1, 1, (2, 999)).astype(np.float32), 44_100)
    write_audio(tmp_path / f"s{suffix}", sound, bits=bits)
    assert soundfile.info(tmp_path / f"s{suffix}").subtype == f"PCM_{bits}"
    read = soundfile.read(tmp_path / f"s{suffix}")[0]
    np.testing.assert_allclose(read.T, sound.samples, atol=1.01 * step)


def test_stems_are_written_above_full_scale(tmp_path: Path) -> None:
    stems = {name: waveform(44_100, channels=2) for name in ("drums", "bass", "a/b: ü")}
    stems["bass"] = Waveform(stems["bass"].samples * 3, 44_100)
    paths = write_stems(tmp_path / "new" / "stems", stems)
    assert [path.name for path in paths] == ["drums.wav", "bass.wav", "a-b- ü.wav"]
    for path, stem in zip(paths, stems.values(), strict=True):
        np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0].T, stem.samples)
    with pytest.raises(OutputError, match="cannot make the folder"):
        write_stems(paths[0] / "in a file", stems)


def test_other_sound_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"suffix.*\.flac"):
        write_audio(tmp_path / "s.aiff", waveform())
    with pytest.raises(OutputError, match="does not exist"):
        write_audio(tmp_path / "none" / "s.mp3", waveform())
    assert not list(tmp_path.iterdir())


def test_two_channels_are_read_as_they_are(tmp_path: Path) -> None:
    sides = np.stack([np.full(4800, 0.5), np.zeros(4800)], axis=1)
    soundfile.write(tmp_path / "s.wav", sides, 24_000)
    soundfile.write(tmp_path / "one.wav", sides[:, 0], 24_000)
    soundfile.write(tmp_path / "four.wav", np.tile(sides, 2), 24_000)
    for name, expected in (("s", (0.5, 0.0)), ("one", (0.5, 0.5)), ("four", (0.25, 0.25))):
        for rate in (24_000, 44_100):
            heard = read_audio(tmp_path / f"{name}.wav", rate, 2)
            assert heard is not None and heard.duration_s == pytest.approx(0.2, abs=1e-4)
            middle = heard.samples[:, rate // 20 : rate // 10].mean(axis=1)
            assert middle == pytest.approx(expected, abs=1e-3)
