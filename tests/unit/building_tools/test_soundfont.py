from __future__ import annotations

import csv

import numpy as np
import pytest

from building_tools.soundfont import electronic
from building_tools.soundfont.balance import BAR, loudest, loudness, play
from building_tools.soundfont.sounds import ALIASES, BASS, TARGET_LUFS, role
from dancetomusic.released import released_folder
from dancetomusic.score.sampler import SAMPLE_RATE, shipped_soundfont
from dancetomusic.score.soundfont import DRUM_BANK

OTHERS = {other for others in ALIASES.values() for other in others}
UNPITCHED = (55, 116)  # orchestra hit, taiko drum
OWN = [program for program in range(128) if program not in OTHERS]
KITS = (0, 8, 16, 24, 25, 32, 40)
GM_PERCUSSION = range(35, 82)


@pytest.fixture(scope="module")
def font():
    return shipped_soundfont()


def cents_off(sound: np.ndarray, key: int) -> float:
    """Mean deviation of the power near the first four harmonics of a key."""
    hertz = 440.0 * 2 ** ((key - 69) / 12)
    power = np.abs(np.fft.rfft(sound * np.hanning(sound.size), 1 << 18)) ** 2
    frequency = np.fft.rfftfreq(1 << 18, 1 / SAMPLE_RATE)
    near = np.zeros(2)
    for harmonic in (1, 2, 3, 4):
        with np.errstate(divide="ignore"):
            cents = 1200 * np.log2(frequency / (harmonic * hertz))
        inside = np.abs(cents) < 60
        near += (power[inside] * cents[inside]).sum(), power[inside].sum()
    return float(near[0] / near[1])


@pytest.mark.slow(1)
@pytest.mark.parametrize("program", OWN)
def test_program_is_in_tune_clean_and_as_loud_as_its_role(font, program):
    key = 43 if program in BASS else 67
    sound = play(font, program, [key], drums=False, seconds=2.0)
    mono = sound.mean(axis=0)
    rms = np.sqrt((mono**2).mean())
    assert rms > 1e-4
    assert np.abs(sound).max() < 1.0
    assert abs(mono.mean()) < 0.02 * rms
    assert loudness(font, 0, program) == pytest.approx(TARGET_LUFS[role(program)], abs=3.0)
    if program not in UNPITCHED:
        assert abs(cents_off(mono[2000:80_000], key)) < 10.0
    # No click while the note is held: its sharpest turn is nowhere far above its surroundings.
    turns = np.abs(np.diff(mono[: round(1.7 * SAMPLE_RATE)], 2))[SAMPLE_RATE // 2 :]
    peaks = turns[: turns.size // 882 * 882].reshape(-1, 882).max(axis=1)
    usual = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(peaks, 10, "edge"), 21), 1)
    assert (peaks / (usual + 1e-3 * np.abs(mono).max())).max() < 3.0


@pytest.mark.parametrize("kit", KITS)
def test_kit_sounds_on_every_percussion_key(font, kit):
    sound = play(font, kit, GM_PERCUSSION, drums=True, seconds=0.25)
    frames = SAMPLE_RATE // 4
    for place in range(len(GM_PERCUSSION)):
        assert np.abs(sound[:, place * frames : (place + 1) * frames]).max() > 1e-3
    bar = play(font, kit, BAR, drums=True, seconds=0.25)
    assert loudest(bar) == pytest.approx(TARGET_LUFS["drums"], abs=3.0)


@pytest.mark.slow(1)
def test_every_general_midi_program_answers(font):
    for program in range(128):
        assert font.preset(program, drums=False).regions


def test_presets_are_listed_with_their_licence(font):
    folder = released_folder("sounds")
    text = (folder / "README.md").read_text()
    listed = list(csv.reader(text.partition("```csv\n")[2].partition("```")[0].splitlines()))[1:]
    expected = sorted(font.names.items())
    assert listed == [[str(bank), str(program), name] for (bank, program), name in expected]
    assert {program for bank, program in font.names if bank == DRUM_BANK} >= set(KITS)
    assert "Frank Wen" in (folder / "LICENSE").read_text()
    assert (folder / "dancetomusic.sf3").stat().st_size < 20e6


def test_tones_repeat_exactly_and_do_not_alias():
    tone = electronic.tone("saw", 57, electronic.saw, detune_cents=(-9.0, 9.0), seed=1)
    start, end = tone.loop
    cycle = tone.samples[start:end]
    assert tone.samples[end : end + 1000] == pytest.approx(cycle[:1000], abs=1e-5)
    spectrum = np.abs(np.fft.rfft(cycle))
    above = round(electronic.HIGHEST_HZ * cycle.size / SAMPLE_RATE) + 1
    assert spectrum[above:].max() < 1e-5 * spectrum.max()


def test_drums_start_at_once_and_end_in_silence():
    for drum in (electronic.kick_909(hard=False), electronic.kick_808(long=True)):
        assert np.abs(drum.samples[:200]).max() > 0.2
        assert abs(float(drum.samples[-1])) < 1e-4
        spectrum = np.abs(np.fft.rfft(drum.samples))
        assert 40 < spectrum.argmax() * SAMPLE_RATE / drum.samples.size < 75
