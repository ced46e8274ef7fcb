"""The separators that need no program of their own, and the choice among all."""

from __future__ import annotations

import logging
import pickle
import sys

import numpy as np
import pytest
import soundfile

from dancetomusic.errors import ConfigError, DependencyError, InputError
from dancetomusic.stems.base import Mix, Separator
from dancetomusic.stems.choose import SEPARATORS, choose_separator, make_separator
from dancetomusic.stems.demucs import DemucsSeparator
from dancetomusic.stems.hpss import BASS_LIMIT_HZ, HpssSeparator
from dancetomusic.stems.none import NoSeparator
from dancetomusic.stems.precomputed import PrecomputedStems
from dancetomusic.types import Waveform
from tests import spleeter_double

RATE = 24_000


def tone(hz: float, seconds: float = 2.0) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.2 * np.sin(2 * np.pi * hz * times)).astype(np.float32)


def drums(seconds: float = 2.0) -> np.ndarray:
    """A burst of decaying noise twice a second."""
    rng = np.random.default_rng(0)
    sound = np.zeros(round(seconds * RATE), np.float32)
    decay = np.exp(-np.arange(RATE // 8) / (RATE * 0.02))
    for start in range(RATE // 4, sound.size - RATE // 8, RATE // 2):
        sound[start : start + decay.size] = 0.4 * decay * rng.uniform(-1, 1, decay.size)
    return sound


def wave(*parts: np.ndarray) -> Waveform:
    return Waveform(np.sum(parts, axis=0, dtype=np.float32)[None], RATE)


def si_sdr_db(estimate: np.ndarray, target: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al., 2019)."""
    projected = (estimate @ target) / (target @ target) * target
    return float(10 * np.log10((projected @ projected) / np.sum((estimate - projected) ** 2)))


@pytest.fixture
def nothing_installed(monkeypatch, tmp_path):
    monkeypatch.delenv("DANCETOMUSIC_SPLEETER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UV_TOOL_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "demucs", None)  # as if it were absent


@pytest.fixture
def spleeter_is_there(monkeypatch, tmp_path):
    monkeypatch.setenv("DANCETOMUSIC_SPLEETER", str(spleeter_double.install(tmp_path)))
    monkeypatch.setenv("DANCETOMUSIC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MODEL_PATH", raising=False)


def test_hpss_keeps_drums_and_bass_and_drops_a_melody():
    wanted, melody = drums() + tone(70.0), tone(660.0) + tone(990.0)
    mix = wave(wanted, melody)
    (stem,) = HpssSeparator().drum_and_bass([Mix("a", mix)])
    before, after = (si_sdr_db(sound.samples[0], wanted) for sound in (mix, stem))
    assert after > before + 8.0


def test_hpss_passes_silence_and_all_below_its_limit():
    bass = wave(tone(BASS_LIMIT_HZ / 3))
    silence = Waveform(np.zeros((1, RATE), np.float32), RATE)
    kept, nothing = HpssSeparator().drum_and_bass([Mix("a", bass), Mix("b", silence)])
    assert si_sdr_db(kept.samples[0], bass.samples[0]) > 30.0
    assert not nothing.samples.any()


@pytest.mark.parametrize("samples", [1, 500, 2048, 30_001])
def test_hpss_keeps_length_and_rate(samples, tiny_rng):
    sound = Waveform(tiny_rng.normal(0, 0.1, (2, samples)).astype(np.float32), 44_100)
    (stem,) = HpssSeparator().drum_and_bass([Mix("a", sound)])
    assert stem.samples.shape == (1, samples) and stem.sample_rate == 44_100


def test_hpss_stem_does_not_depend_on_the_call():
    mixes = [Mix("a", wave(drums())), Mix("b", wave(drums(), tone(440.0)))]
    together = HpssSeparator().drum_and_bass(mixes)
    (alone,) = HpssSeparator().drum_and_bass(mixes[1:])
    np.testing.assert_array_equal(alone.samples, together[1].samples)


def test_none_is_the_mix_as_one_channel(tiny_rng):
    sound = Waveform(tiny_rng.normal(0, 0.1, (2, 1000)).astype(np.float32), RATE)
    (stem,) = NoSeparator().drum_and_bass([Mix("a", sound)])
    np.testing.assert_array_equal(stem.samples, sound.to_mono().samples)


def test_ready_stems_are_found_by_key_and_fitted(tmp_path):
    sound = wave(drums(), tone(440.0))
    soundfile.write(tmp_path / "a1.wav", np.repeat(drums()[:, None], 2, 1), RATE, "FLOAT")
    soundfile.write(tmp_path / "b2.flac", drums()[: -RATE // 20], RATE)
    stems = PrecomputedStems(tmp_path).drum_and_bass([Mix("a1", sound), Mix("b2", sound)])
    for stem in stems:
        assert stem.samples.shape == sound.samples.shape and stem.sample_rate == RATE
        np.testing.assert_allclose(stem.samples[0, :RATE], drums()[:RATE], atol=1e-3)


def test_ready_stems_that_are_missing_or_foreign_are_refused(tmp_path):
    sound = wave(drums())
    stems = PrecomputedStems(tmp_path)
    with pytest.raises(InputError, match=r"has no stem of a1\. Add a1\.flac or a1\.wav"):
        stems.drum_and_bass([Mix("a1", sound)])
    soundfile.write(tmp_path / "a1.wav", drums()[:RATE], RATE)
    with pytest.raises(InputError, match=r"lasts 1\.00 s, its mix 2\.00 s"):
        stems.drum_and_bass([Mix("a1", sound)])


@pytest.mark.parametrize("key", ["", "../a", "a/b", "a b", "-p", "a\n"])
def test_a_key_never_is_a_path_or_an_option(key):
    with pytest.raises(InputError, match="letters, digits and hyphens"):
        Mix(key, wave(drums()))


def test_an_empty_mix_is_refused():
    with pytest.raises(InputError, match="no samples"):
        Mix("a", Waveform(np.zeros((1, 0), np.float32), RATE))


@pytest.mark.parametrize("name", [name for name in SEPARATORS if name != "auto"])
def test_every_separator_is_of_one_kind_and_can_be_sent_to_workers(name, tmp_path):
    separator = make_separator(name, stems_dir=tmp_path)
    assert isinstance(separator, Separator)
    assert pickle.loads(pickle.dumps(separator)) == separator
    assert separator.batch_size >= 1


@pytest.mark.parametrize("name", ["hpss", "none", "stems_dir"])
def test_identity_names_the_separator(name, tmp_path):
    assert choose_separator(name, stems_dir=tmp_path).identity.name == name


def test_auto_takes_hpss_where_nothing_is_installed(nothing_installed, caplog):
    caplog.set_level(logging.INFO, "dancetomusic")
    assert choose_separator("auto") == HpssSeparator()
    said = "\n".join(caplog.messages)
    assert "spleeter is not installed" in said and "dancetomusic[demucs]" in said
    assert caplog.messages[-1] == "hpss 1 separates the stems"


@pytest.mark.slow(1)
def test_auto_takes_spleeter_where_it_works(spleeter_is_there, caplog):
    caplog.set_level(logging.INFO, "dancetomusic")
    assert choose_separator("auto").identity.name == "spleeter"
    assert caplog.messages[-1] == f"spleeter {spleeter_double.VERSION} separates the stems"


def test_auto_passes_over_a_spleeter_that_does_not_work(
    nothing_installed, spleeter_is_there, monkeypatch
):
    monkeypatch.setenv("SPLEETER_DOUBLE", "offline")
    assert choose_separator("auto") == HpssSeparator()


@pytest.mark.parametrize("name", ["spleeter", "demucs"])
def test_a_named_separator_is_never_replaced(nothing_installed, name):
    with pytest.raises(DependencyError, match=name) as caught:
        choose_separator(name)
    assert "\n" not in str(caught.value)


def test_unknown_names_and_folders(tmp_path):
    with pytest.raises(ConfigError, match="'open-unmix'.*auto, spleeter, demucs"):
        choose_separator("open-unmix")
    for folder in (None, tmp_path / "absent"):
        with pytest.raises(InputError, match="folder of stems"):
            choose_separator("stems_dir", stems_dir=folder)


def test_demucs_runs_in_process(tiny_rng):
    """With Demucs' own untrained test model: its weights are fetched at run time."""
    pytest.importorskip("demucs.api")
    import torch

    torch.manual_seed(0)
    separator = DemucsSeparator("demucs_unittest")
    mixes = [
        Mix(f"k{channels}", Waveform(tiny_rng.normal(0, 0.1, (channels, RATE)).astype("f4"), RATE))
        for channels in (1, 2)
    ]
    stems = separator.drum_and_bass(mixes)
    assert [stem.samples.shape for stem in stems] == [(1, RATE)] * 2
    (alone,) = separator.drum_and_bass(mixes[1:])
    np.testing.assert_array_equal(alone.samples, stems[1].samples)
    assert separator.identity.name == "demucs" and len(separator.identity.weights) == 64
