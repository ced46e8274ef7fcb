from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer

from building_tools.excerpt import main as excerpt
from dancetomusic.io.audio import read_audio, write_audio
from dancetomusic.types import Waveform


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Three seconds at 440 Hz, then three at 1,760 Hz."""
    times = np.arange(6 * 44_100) / 44_100
    tone = 0.3 * np.sin(2 * np.pi * np.where(times < 3, 440, 1760) * times)
    write_audio(tmp_path / "sound.wav", Waveform(np.tile(tone.astype(np.float32), (2, 1)), 44_100))
    return tmp_path / "sound.wav"


def test_it_is_the_part_asked_for_small_and_faded(sound, tmp_path):
    excerpt(sound, tmp_path / "part.ogg", start_s=3.5, length_s=2.0, compression=0.8)
    part = read_audio(tmp_path / "part.ogg", 48_000, 2)
    assert part is not None
    assert part.duration_s == pytest.approx(2.0, abs=0.03)
    spectrum = np.abs(np.fft.rfft(part.samples[0]))
    assert spectrum.argmax() / part.duration_s == pytest.approx(1760, rel=0.01)
    assert np.abs(part.samples[:, :240]).max() < 0.1 * np.abs(part.samples).max()
    assert (tmp_path / "part.ogg").stat().st_size < sound.stat().st_size / 5


def test_a_start_past_the_end_is_refused(sound, tmp_path):
    with pytest.raises(typer.BadParameter, match="ends before"):
        excerpt(sound, tmp_path / "part.ogg", start_s=7.0, length_s=2.0, compression=0.8)
    assert not (tmp_path / "part.ogg").exists()
