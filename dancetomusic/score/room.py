"""The sound of a room, made from noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float32, Float64
from scipy.signal import oaconvolve

from dancetomusic.errors import InputError
from dancetomusic.types import Waveform

_EDGES_HZ = (200.0, 600.0, 2_000.0, 6_000.0, 1e6)  # of bands; below, an echo would blur the bass
_SWELL_S = 0.025
_EARLY_S, _N_EARLY, _EARLY_SHARE = 0.045, 12, 0.35


@dataclass(frozen=True)
class Room:
    """A room that answers a sound in the middle with a different sound at either ear.

    Attributes:
        decay_s: Time until low and middle tones have fallen by 60 dB, in (0, 10].
        damping: By what share high tones fall faster, in [0, 1).
        delay_s: Time before the first reflection, in [0, 0.2].
        seed: Of the noise: another one is another room of the same kind.

    Raises:
        InputError: If a value is out of its range.

    References:
        Moorer, "About this reverberation business", 1979: reverberation as decaying noise.
    """

    decay_s: float = 0.9
    damping: float = 0.65
    delay_s: float = 0.008
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.decay_s <= 10 and 0 <= self.damping < 1 and 0 <= self.delay_s <= 0.2):
            raise InputError(
                f"the room decays in {self.decay_s:g} s with damping {self.damping:g} after "
                f"{self.delay_s:g} s",
                "Give a decay up to 10 s, damping in [0, 1), a delay up to 0.2 s.",
            )

    def reverberated(self, waveform: Waveform, level: float = 1.0, width: float = 0.0) -> Waveform:
        """What comes back from the room, two channels, as long as the sound.

        At level 1, noise comes back as loud as the sound was; the channels fuse to one source in
        the middle.

        Args:
            waveform: What is sent.
            level: Of the room.
            width: Level of a short echo, added at the left and taken away at the right (Schroeder,
                "An artificial stereophonic effect obtained from a single audio signal", 1958).
        """
        response = level * _response(self, waveform.sample_rate)
        if width:
            echo = width * _response(_WIDE, waveform.sample_rate)[0]
            longer = max(response.shape[1], echo.size)
            response = np.pad(response, ((0, 0), (0, longer - response.shape[1])))
            response[:, : echo.size] += np.stack([echo, -echo])
        sent = waveform.to_mono().samples
        n_samples = sent.shape[1]
        if not n_samples:
            return Waveform(np.zeros((2, 0), np.float32), waveform.sample_rate)
        wet = oaconvolve(sent, response, axes=1)[:, :n_samples]
        return Waveform(np.ascontiguousarray(wet, dtype=np.float32), waveform.sample_rate)


_WIDE = Room(0.06, damping=0.5, delay_s=0.0)


@cache
def _response(room: Room, sample_rate: int) -> Float32[np.ndarray, "2 taps"]:
    """The room's answer to an impulse; each ear's has an energy of 1."""
    generator = np.random.default_rng(room.seed)
    n_taps = round(room.decay_s * sample_rate) + 1
    ears = np.zeros((2, round(room.delay_s * sample_rate) + n_taps))
    for ear in ears:
        early = _unit(_early(room, sample_rate, n_taps, generator)) * _EARLY_SHARE**0.5
        late = _unit(_late(room, sample_rate, n_taps, generator)) * (1 - _EARLY_SHARE) ** 0.5
        ear[-n_taps:] = _unit(early + late)
    return ears.astype(np.float32)


def _early(
    room: Room, sample_rate: int, n_taps: int, generator: np.random.Generator
) -> Float64[np.ndarray, " taps"]:
    """Single reflections, weaker the later they come, duller than the sound."""
    times = generator.uniform(0, min(_EARLY_S, room.decay_s), _N_EARLY)
    signs = generator.choice([-1.0, 1.0], _N_EARLY)
    impulses = np.zeros(n_taps)
    np.add.at(impulses, (times * sample_rate).astype(int), signs / (1 + times / 0.01))
    bands = _bands(impulses, sample_rate)
    dulled = np.linspace(1, (1 - room.damping) ** 0.5, len(bands))
    return dulled @ bands


def _late(
    room: Room, sample_rate: int, n_taps: int, generator: np.random.Generator
) -> Float64[np.ndarray, " taps"]:
    """Noise that swells within 25 ms and falls exponentially, high bands faster."""
    time = np.arange(n_taps) / sample_rate
    bands = _bands(generator.standard_normal(n_taps), sample_rate)
    decays_s = room.decay_s * np.linspace(1, 1 - room.damping, len(bands))
    falling = 10 ** (-3 * time / decays_s[:, None])
    swell = np.sin(np.pi / 2 * np.clip(time / _SWELL_S, 0, 1)) ** 2
    return swell * (bands * falling).sum(axis=0)


def _bands(
    signal: Float64[np.ndarray, " taps"], sample_rate: int
) -> Float64[np.ndarray, "bands taps"]:
    """The signal's bands between ``_EDGES_HZ``, which overlap by an octave and add up to it."""
    frequency = np.fft.rfftfreq(2 * signal.size, 1 / sample_rate)
    octaves = np.log2(np.maximum(frequency, 1) / np.array(_EDGES_HZ)[:, None])
    below = np.cos(np.pi / 2 * np.clip(octaves + 0.5, 0, 1)) ** 2
    spectra = np.fft.rfft(signal, 2 * signal.size) * np.diff(below, axis=0)
    return np.fft.irfft(spectra, axis=1)[:, : signal.size]


def _unit(signal: Float64[np.ndarray, " taps"]) -> Float64[np.ndarray, " taps"]:
    return signal / max(float(np.sqrt(np.sum(signal**2))), 1e-9)
