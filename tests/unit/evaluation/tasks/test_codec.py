import numpy as np
import pytest

pytest.importorskip("mir_eval")
pytest.importorskip("librosa")

from dancetomusic.errors import InputError
from dancetomusic.evaluation.baselines import metronome_times, render_clicks, white_noise
from dancetomusic.evaluation.tasks.codec import (
    COLUMNS,
    codebook_perplexity,
    codec_round_trip,
    codec_table,
    measure,
    opus_round_trip,
    quality_table,
    read_sounds,
)
from dancetomusic.io.audio import write_audio
from dancetomusic.stems.base import Mix
from dancetomusic.stems.hpss import HpssSeparator
from dancetomusic.types import CodeSequence, Waveform

RATE = 24_000


def beat(seconds: float = 4.0) -> Waveform:
    """Clicks over a bass line of two notes: every column has something to measure."""
    times = np.arange(round(seconds * RATE)) / RATE
    bass = 0.2 * np.sin(2 * np.pi * np.where(times % 1.0 < 0.5, 55.0, 73.4) * times)
    clicks = render_clicks(metronome_times(120.0, seconds, phase=0.5), seconds)
    hiss = 0.01 * white_noise(seconds, 0).samples
    return Waveform((clicks.samples + hiss + bass).astype(np.float32), RATE)


class CoarseCodec:
    """Sixteen-bit samples as two codebooks; only the first ``n_codebooks`` are used."""

    identity = "coarse"
    sample_rate = RATE
    hop_length = 1
    frame_rate = float(RATE)
    codebook_size = 256

    def __init__(self, n_codebooks: int) -> None:
        self.n_codebooks = n_codebooks

    def encode(self, waveform: Waveform) -> CodeSequence:
        levels = np.clip(np.round((waveform.samples[0] + 1) * 32768), 0, 65535).astype(np.int64)
        codes = np.stack([levels // 256, levels % 256])[: self.n_codebooks]
        return CodeSequence(codes, self.frame_rate, self.identity)

    def decode(self, codes: CodeSequence) -> Waveform:
        levels = codes.codes[0] * 256
        levels = levels + (codes.codes[1] if self.n_codebooks > 1 else 128)
        return Waveform((levels[None] / 32768 - 1).astype(np.float32), RATE)

    def decoder_stream(self):
        raise NotImplementedError


@pytest.mark.parametrize("bit_rate", [6_000, 12_000])
def test_opus_is_aligned_and_lossy(bit_rate):
    wave = beat()
    restored = opus_round_trip(wave, bit_rate)
    assert restored.samples.shape == wave.samples.shape
    original, changed = wave.samples[0, 1000:-1000], restored.samples[0]
    lags = range(-200, 201)
    matches = [original @ changed[1000 + lag : len(changed) - 1000 + lag] for lag in lags]
    assert abs(lags[int(np.argmax(matches))]) <= 12  # half a millisecond
    assert 0.1 < measure(wave, restored)["log_mel_db"] < 15.0


def test_more_bits_are_closer():
    wave = beat()
    low, high = (measure(wave, opus_round_trip(wave, rate)) for rate in (6_000, 24_000))
    assert high["log_mel_db"] < low["log_mel_db"]
    assert high["si_sdr_db"] > low["si_sdr_db"]


def test_opus_refuses_a_rate_it_does_not_have():
    with pytest.raises(InputError, match="44100"):
        opus_round_trip(Waveform(np.zeros((1, 100), dtype=np.float32), 44_100), 6_000)


def test_a_perfect_codec_has_perfect_columns():
    wave = beat()
    values = measure(wave, wave)
    assert set(values) == set(COLUMNS)
    assert values["log_mel_db"] == 0.0 and values["log_mel_low_db"] == 0.0
    assert values["onset_f1"] == 1.0 and values["bass_pitch"] == 1.0
    assert values["onset_f1_10_ms"] == 1.0 and values["si_sdr_db"] == np.inf


@pytest.mark.slow(1)
def test_table_ranks_a_fine_codec_above_a_coarse_one():
    waves = [beat(), beat(3.0)]
    codecs = {"coarse": CoarseCodec(1), "fine": CoarseCodec(2)}
    table = codec_table(codecs, waves)
    assert list(table) == [
        "the original",
        "Opus 6 kbit/s",
        "Opus 12 kbit/s",
        "Opus 24 kbit/s",
        "coarse",
        "fine",
    ]
    assert all(len(values) == 2 for columns in table.values() for values in columns.values())
    assert np.mean(table["fine"]["log_mel_db"]) < np.mean(table["coarse"]["log_mel_db"])
    assert np.mean(table["fine"]["si_sdr_db"]) > 60.0
    lines = quality_table(table).splitlines()
    assert len(lines) == 2 + len(table)
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| the original | 0.00 [0.00, 0.00] | 0.00 [0.00, 0.00] | – |")
    assert f"| fine | {np.mean(table['fine']['log_mel_db']):.2f} [" in lines[-1]


def test_perplexity_and_length():
    wave = white_noise(1.0, 0)
    fine = CoarseCodec(2)
    first, second = codebook_perplexity(fine, [wave])
    assert 1.0 < first < 100.0 and second > 200.0
    assert codec_round_trip(fine, wave).samples.shape == wave.samples.shape


def test_no_sound_is_refused():
    with pytest.raises(InputError):
        codec_table({}, [])


def test_folders_are_read(tmp_path):
    write_audio(tmp_path / "a.wav", beat(3.0))
    (tmp_path / "notes.txt").write_text("no sound")
    sounds = read_sounds([tmp_path], seconds=1.0)
    assert list(sounds) == ["a"]
    assert sounds["a"].duration_s == 1.0
    np.testing.assert_allclose(
        sounds["a"].samples, beat(3.0).samples[:, RATE : 2 * RATE], atol=1e-4
    )


def test_drum_and_bass_keeps_clicks_and_bass_and_drops_the_melody():
    wave = beat()
    times = np.arange(wave.samples.shape[1]) / RATE
    melody = (0.2 * np.sin(2 * np.pi * 600.0 * times)).astype(np.float32)
    (part,) = HpssSeparator().drum_and_bass([Mix("beat", Waveform(wave.samples + melody, RATE))])
    assert part.samples.shape == wave.samples.shape

    def strength(sound: Waveform, hz: float) -> float:
        return abs(sound.samples[0] @ np.exp(-2j * np.pi * hz * times))

    mixed = Waveform(wave.samples + melody, RATE)
    assert strength(part, 600.0) < 0.2 * strength(mixed, 600.0)
    assert strength(part, 55.0) > 0.8 * strength(mixed, 55.0)
    assert np.abs(part.samples).max() > 0.3
