"""Electronic drums and synthesiser tones, computed.

Drums follow the circuits of the TR-808 and TR-909: swept sines for kicks and toms, six detuned
square waves for metal, shaped noise for the rest. Tones are sums of harmonics below the limit of
the audible range, so nothing aliases, over a whole number of periods, so loops do not click.

References:
    Werner, Abel and Smith, "A physically-informed, circuit-bendable, digital model of the Roland
    TR-808 bass drum circuit", DAFx 2014; Chowning, "The synthesis of complex audio spectra by
    means of frequency modulation", 1973.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
from scipy.signal import butter, sosfilt

from dancetomusic.score.soundfont import Sample

SAMPLE_RATE = 44100
HIGHEST_HZ = 17_000.0
_METAL_HZ = (205.3, 304.4, 369.6, 522.7, 540.0, 800.0)  # the TR-808's oscillators
_LOOP_S = 2.0
_MARGIN_S = 0.05


def drum(name: str, sound: np.ndarray, *, peak: float = 0.9) -> Sample:
    """A drum's sample: no DC, faded out at its end."""
    sound = sosfilt(butter(1, 20.0, "high", fs=SAMPLE_RATE, output="sos"), sound)
    fade = min(1024, sound.size // 4)
    sound[-fade:] *= np.linspace(1.0, 0.0, fade)
    sound *= peak / np.abs(sound).max()
    return Sample(name, sound.astype(np.float32), SAMPLE_RATE)


def _times(seconds: float) -> np.ndarray:
    return np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE


def _noise(t: np.ndarray, name: str) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(name.encode())).standard_normal(t.size)


def _band(sound: np.ndarray, low: float | None, high: float | None, order: int = 2) -> np.ndarray:
    if low is not None:
        sound = sosfilt(butter(order, low, "high", fs=SAMPLE_RATE, output="sos"), sound)
    if high is not None:
        sound = sosfilt(butter(order, high, "low", fs=SAMPLE_RATE, output="sos"), sound)
    return sound


def _swept(t: np.ndarray, hertz: float, *falls: tuple[float, float]) -> np.ndarray:
    """A sine that falls to ``hertz``; each fall is (Hz above, time constant in s)."""
    frequency = hertz + sum(above * np.exp(-t / tau) for above, tau in falls)
    return np.sin(2 * np.pi * np.cumsum(frequency * np.ones(t.size)) / SAMPLE_RATE)


def _square(t: np.ndarray, hertz: float, phase: float = 0.0) -> np.ndarray:
    harmonics = np.arange(1, max(2, int(HIGHEST_HZ / hertz)), 2)
    turns = 2 * np.pi * hertz * t + phase
    return np.sum([np.sin(k * turns) / k for k in harmonics], axis=0)


def _metal(t: np.ndarray, stretch: float = 1.0) -> np.ndarray:
    return np.mean([_square(t, hertz * stretch, k) for k, hertz in enumerate(_METAL_HZ)], axis=0)


def _decay(t: np.ndarray, tau: float, attack: float = 0.0) -> np.ndarray:
    rise = np.minimum(1.0, t / attack) if attack else np.ones(t.size)
    return np.asarray(rise * np.exp(-t / tau))


def kick_808(*, long: bool) -> Sample:
    """The boom; the long one rings for a second."""
    t = _times(1.6 if long else 0.7)
    tone = _swept(t, 49.0 if long else 54.0, (70.0, 0.012), (12.0, 0.06))
    body = np.tanh(1.6 * tone * _decay(t, 0.42 if long else 0.16, 0.001))
    click = _band(_noise(t, "kick 808"), 1200.0, 5000.0) * _decay(t, 0.0025) * 0.12
    return drum("808 kick long" if long else "808 kick short", body + click)


def kick_909(*, hard: bool) -> Sample:
    """The punch of house; the hard one is driven further."""
    t = _times(0.6)
    tone = _swept(t, 50.0, (260.0, 0.011), (55.0, 0.045))
    level = np.where(t < 0.03, 1.0, np.exp(-np.maximum(t - 0.03, 0) / (0.13 if hard else 0.16)))
    body = np.tanh((3.2 if hard else 1.8) * tone * level * np.minimum(1, t / 0.0008))
    click = _band(_noise(t, "kick 909"), 2000.0, 9000.0) * _decay(t, 0.0022) * 0.25
    return drum("909 kick hard" if hard else "909 kick", body + click)


def snare_808() -> Sample:
    """Two sines and a short noise."""
    t = _times(0.45)
    tone = _swept(t, 180.0, (25.0, 0.02)) * _decay(t, 0.07) * 0.8
    tone += _swept(t, 330.0, (40.0, 0.02)) * _decay(t, 0.045) * 0.5
    noise = _band(_noise(t, "snare 808"), 1400.0, 12_000.0) * _decay(t, 0.075, 0.001) * 0.45
    return drum("808 snare", np.tanh(1.3 * (tone + noise)))


def snare_909(*, bright: bool) -> Sample:
    """A pitched snap under wide noise."""
    t = _times(0.5)
    pitch = 210.0 if bright else 180.0
    tone = _swept(t, pitch, (120.0, 0.01)) * _decay(t, 0.055) * 0.9
    tone += _swept(t, 1.6 * pitch, (100.0, 0.008)) * _decay(t, 0.035) * 0.5
    name = "909 snare bright" if bright else "909 snare"
    noise = _band(_noise(t, name), 900.0, 14_000.0 if bright else 9000.0)
    tail = 0.7 * _decay(t, 0.05, 0.0005) + 0.3 * _decay(t, 0.15)
    return drum(name, np.tanh(1.5 * (tone + 0.55 * noise * tail)))


def clap(*, bright: bool) -> Sample:
    """Three quick bursts and a room of noise."""
    t = _times(0.55)
    name = "909 clap" if bright else "808 clap"
    noise = _band(_noise(t, name), 900.0 if bright else 700.0, 4500.0 if bright else 2300.0)
    level = sum(
        np.where(t >= start, np.exp(-np.maximum(t - start, 0) / 0.0045), 0.0)
        for start in (0.0, 0.0105, 0.0205)
    )
    tail_from = 0.029
    tail = np.exp(-np.maximum(t - tail_from, 0) / (0.085 if bright else 0.065))
    level = level + np.where(t >= tail_from, 0.9 * tail, 0.0)
    return drum(name, np.tanh(1.2 * noise * level))


def hat(kind: str, *, tau: float, stretch: float, noise_share: float, low: float) -> Sample:
    """A hi-hat of square waves and noise above ``low`` Hz, ringing with time constant ``tau``."""
    t = _times(min(1.6, 7 * tau + 0.05))
    raw = (1 - noise_share) * 2.0 * _metal(t, stretch) + noise_share * _noise(t, "hat" + kind)
    bright = _band(raw, low, None, 3)
    level = 0.75 * _decay(t, tau, 0.0004) + 0.25 * _decay(t, tau / 4)
    return drum(f"{kind}", bright * level)


def cymbal(name: str, *, tau: float, low: float, ping: float = 0.0) -> Sample:
    """A crash, or a ride if it has a ``ping``."""
    t = _times(min(3.2, 5 * tau))
    raw = 0.8 * _metal(t, 1.37) + 0.7 * _metal(t, 2.11) + 0.35 * _noise(t, name)
    wash = _band(raw, low, None, 2) * (0.7 * _decay(t, tau, 0.001) + 0.3 * _decay(t, tau / 5))
    bell = sum(np.sin(2 * np.pi * f * t) for f in (3140.0, 4270.0, 5390.0)) * _decay(t, tau / 2)
    return drum(name, wash + ping * bell)


def tom(name: str, hertz: float, *, punch: float) -> Sample:
    """A tom; ``punch`` is how far its pitch falls, as a share of it."""
    t = _times(0.8)
    tone = _swept(t, hertz, (punch * hertz, 0.03)) * _decay(t, 0.2, 0.001)
    skin = _band(_noise(t, name), 300.0, 3000.0) * _decay(t, 0.02) * 0.12
    return drum(name, np.tanh(1.5 * tone) + skin)


def conga_808(name: str, hertz: float) -> Sample:
    """A short pure tone."""
    t = _times(0.45)
    return drum(name, _swept(t, hertz, (0.12 * hertz, 0.01)) * _decay(t, 0.09, 0.0008))


def rim(name: str, high: float, low: float) -> Sample:
    """A dry knock of two frequencies."""
    t = _times(0.12)
    tone = np.sin(2 * np.pi * high * t) + 0.7 * np.sin(2 * np.pi * low * t)
    return drum(name, _band(np.tanh(3 * tone * _decay(t, 0.011)), 300.0, 10_000.0))


def claves() -> Sample:
    """A pure tone of 2.5 kHz."""
    t = _times(0.15)
    return drum("808 claves", np.sin(2 * np.pi * 2500.0 * t) * _decay(t, 0.022, 0.0004))


def cowbell() -> Sample:
    """Two square waves."""
    t = _times(0.6)
    tone = _band(_square(t, 540.0) + _square(t, 800.0, 1.0), 520.0, 4500.0)
    return drum("808 cowbell", tone * (0.6 * _decay(t, 0.02, 0.0005) + 0.4 * _decay(t, 0.12)))


def shaker(name: str, *, attack: float, tau: float) -> Sample:
    """High noise with a soft start."""
    t = _times(0.3)
    return drum(name, _band(_noise(t, name), 5000.0, 15_000.0) * _decay(t, tau, attack))


def knock() -> Sample:
    """The strike at the start of a bass note."""
    t = _times(0.08)
    return drum("bass knock", _swept(t, 60.0, (240.0, 0.008)) * _decay(t, 0.014, 0.0008))


Spectrum = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Amplitudes of harmonics, from their numbers and frequencies in Hz."""


def saw(number: np.ndarray, hertz: np.ndarray) -> np.ndarray:
    """All harmonics, falling by 6 dB an octave."""
    return 1.0 / number


def square(number: np.ndarray, hertz: np.ndarray) -> np.ndarray:
    """Odd harmonics, falling by 6 dB an octave."""
    return (number % 2) / number


def soft(number: np.ndarray, hertz: np.ndarray) -> np.ndarray:
    """Close to a triangle wave, with a little of the octave."""
    return (number % 2) / number**2 + 0.06 * (number == 2)


def sub(number: np.ndarray, hertz: np.ndarray) -> np.ndarray:
    """A sine with just enough overtones for small loudspeakers."""
    return np.select([number == 1, number == 2, number == 3, number == 5], [1, 0.16, 0.2, 0.05], 0)


def drawbars(number: np.ndarray, hertz: np.ndarray) -> np.ndarray:
    """An organ's 16', 8', 5 1/3', 4', 2 2/3' and 2' pipes, counted from the lowest."""
    pipes = {1: 0.8, 2: 1.0, 3: 0.7, 4: 0.5, 6: 0.3, 8: 0.35}
    return np.select([number == pipe for pipe in pipes], list(pipes.values()), 0.0)


def darkened(spectrum: Spectrum, cutoff_hz: float, slope: float = 2.0) -> Spectrum:
    """A spectrum that falls by ``6 * slope`` dB an octave more above a cutoff."""

    def dark(number: np.ndarray, hertz: np.ndarray) -> np.ndarray:
        return spectrum(number, hertz) / np.sqrt(1.0 + (hertz / cutoff_hz) ** (2 * slope))

    return dark


def tone(
    name: str,
    root: int,
    spectrum: Spectrum,
    *,
    detune_cents: Sequence[float] = (0.0,),
    octaves: Sequence[tuple[int, float]] = ((0, 1.0),),
    seed: int | None = None,
) -> Sample:
    """A tone that loops without a click after a whole number of periods.

    Args:
        name: Of the sample.
        root: MIDI pitch.
        spectrum: Of each of its voices.
        detune_cents: How far each voice is from the pitch; rounded so that each repeats with
            the loop.
        octaves: Transpositions in octaves, each with its gain.
        seed: Of the harmonics' random phases; all start at 0 without.
    """
    hertz = 440.0 * 2.0 ** ((root - 69) / 12)
    lowest = 2 ** -min(octave for octave, _ in octaves)  # voices below must repeat as well
    cycles = lowest * round(hertz * _LOOP_S / lowest)
    n = round(cycles * SAMPLE_RATE / hertz)
    random = np.random.default_rng(seed)
    bins = np.zeros(n // 2 + 1, complex)
    for octave, gain in octaves:
        for cents in detune_cents:
            voice = round(cycles * 2.0 ** (octave + cents / 1200.0))
            number = np.arange(1, int(HIGHEST_HZ * n / SAMPLE_RATE / voice) + 1)
            phases = random.uniform(0, 2 * np.pi, number.size) if seed is not None else 0.0
            amplitude = gain * spectrum(number, number * voice * SAMPLE_RATE / n)
            bins[number * voice] += amplitude * np.exp(1j * (phases - np.pi / 2))
    cycle = np.fft.irfft(bins, n)
    margin = round(_MARGIN_S * SAMPLE_RATE)
    whole = np.concatenate([cycle[-margin:], cycle, cycle[:margin]])
    whole *= 0.25 / np.sqrt((whole**2).mean())
    whole *= min(1.0, 0.95 / np.abs(whole).max())
    return Sample(name, whole.astype(np.float32), SAMPLE_RATE, root=root, loop=(margin, margin + n))


def bell(root: int) -> Sample:
    """A bell by frequency modulation, ringing out over three seconds."""
    t = _times(3.2)
    w = 2 * np.pi * 440.0 * 2.0 ** ((root - 69) / 12) * t
    bright = min(1.0, 2.0 ** ((84 - root) / 12))  # keeps the sidebands of high bells audible
    strike = np.sin(w + 1.6 * bright * np.exp(-t / 0.35) * np.sin(3.5 * w)) * _decay(t, 0.7, 0.001)
    body = np.sin(w + 0.3 * np.exp(-t / 1.0) * np.sin(w * 1.0023)) * _decay(t, 1.0, 0.002)
    made = drum(f"bell {root}", 0.45 * strike + 0.55 * body)
    return Sample(made.name, made.samples, SAMPLE_RATE, root=root)
