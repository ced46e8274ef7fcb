import numpy as np
import pytest

pytest.importorskip("librosa")

from dancetomusic.metrics.sound_harmony import bass_roots, pitch_classes, repeated_form
from dancetomusic.types import Waveform

RATE = 24_000
BEATS = np.arange(33) * 0.5
NUMBERS = np.arange(33) % 4 + 1


def tones(midi, seconds):
    time = np.arange(round(seconds * RATE)) / RATE
    parts = [np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) for pitch in midi]
    return np.concatenate(parts)


def test_a_pitch_is_its_class_in_any_octave():
    for midi, expected in ((69, 9), (57, 9), (60, 0), (78, 6)):
        sound = Waveform(0.3 * tones([midi], 1.0)[None].astype(np.float32), RATE)
        shares = pitch_classes(sound).mean(axis=1)
        assert shares.argmax() == expected and shares[expected] > 0.5
    assert not pitch_classes(Waveform(np.zeros((1, RATE), np.float32), RATE)).any()


def test_the_root_is_the_bass_of_the_first_half_of_the_bar(tiny_rng):
    # E, A, D, G for a second each, a C of a second after each; twice over.
    first = [40, 33, 38, 43] * 2
    samples = np.concatenate([tones([p, 36], 1.0) for p in first])
    samples += 0.01 * tiny_rng.standard_normal(samples.size)
    roots = bass_roots(Waveform(0.3 * samples[None].astype(np.float32), RATE), BEATS, NUMBERS)
    np.testing.assert_array_equal(roots, [p % 12 for p in first])
    assert repeated_form(roots) == (1.0, 0.0)


def test_silence_has_no_root():
    roots = bass_roots(Waveform(np.zeros((1, 16 * RATE), np.float32), RATE), BEATS, NUMBERS)
    assert (roots == -1).all()
    assert np.isnan(repeated_form(roots)).all()


def test_the_form_of_roots():
    again, sooner = repeated_form(np.array([0, 5, 7, 0, 0, 5, 7, 0]))
    assert again == 1.0
    assert sooner == pytest.approx(np.mean([1 / 7, 0.0, 2 / 5]))
    assert np.isnan(repeated_form(np.array([3, 3, 3]))[0])
    assert repeated_form(np.array([3, 3, 3]))[1] == 1.0
