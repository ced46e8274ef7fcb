"""The beats of drums and bass: the rhythm that a dance's music really has.

Onsets in four bands are correlated with a pattern, at every tempo and phase, that says where in
two beats a drummer and a bassist play; the best match is the beat.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Complex64, Float, Float32, Int

from dancetomusic.io.spectrum import band_power
from dancetomusic.rhythm.beats import PRIOR_BPM, PRIOR_OCTAVES, fit_grid
from dancetomusic.rhythm.energy import ENERGY_RATE, loudness_energy
from dancetomusic.types import RhythmTrack, Waveform

FRAME_RATE = 100.0
BAND_EDGES_HZ = (30.0, 150.0, 1200.0, 5000.0, 11000.0)
SILENCE = 1e-4
STEPS_PER_BEAT = 16
WINDOW_S = 8.0
SLOWEST_HZ, FASTEST_HZ = 0.83, 3.55
PRIOR_WEIGHT = 3.0

PATTERN = np.array(
    [
        [
            *(38, 32, 17, -15, -19, -23, -25, -1, 1, -4, -29, 9, 5, -1, -6, 0),
            *(18, 34, 10, -17, -9, -23, -18, -5, 7, 13, -14, -2, 10, 2, -8, 21),
        ],
        [
            *(24, 2, -13, -11, 8, -12, -6, 6, 22, -5, -4, 7, 3, 7, -38, 15),
            *(21, -19, -18, -4, 11, -7, -22, 22, 30, -9, 5, 5, 2, 2, -35, 11),
        ],
        [
            *(8, -9, -20, -8, -7, -2, -9, 2, -8, -7, 5, 18, 26, 0, -25, 24),
            *(26, -14, -26, -4, 2, -4, -7, 5, 0, -13, 19, 20, 11, 3, -5, 1),
        ],
        [
            *(20, -21, -31, -9, -3, -6, -9, 15, 17, -27, 12, 9, 23, -4, -11, 19),
            *(33, -14, -36, -13, 0, 3, -6, 2, 16, -27, 23, 14, 2, -16, 11, 13),
        ],
    ],
    np.float32,
) / 100  # fmt: skip
"""What an onset in a band, at a position in two beats, says for a beat at position 0."""

DOWNBEAT = np.array([0.45, -0.10, -0.02, -0.32, -1.41], np.float32)
"""Log-odds that a beat is the first of its bar: for each band's onset there, and without any."""

_WINDOW_LENGTH_S = 0.0427
_LAG = 2  # frames over which a rise counts
_FLOOR = 10**-2.5  # 50 dB below the loudest
_SUB_BANDS = 24
_SAME_TEMPO = 0.04  # share by which tempi may differ


def fit_onset_pattern(waveform: Waveform) -> RhythmTrack:
    """Find the beats of a drum-and-bass sound of about 5 s or more.

    One tempo between 50 and 213 BPM is found for the whole sound; the beats may drift about it a
    little, as players do, but not change it for another. Where two tempi explain the sound
    equally well the one nearer to 110 BPM is taken. Which beat opens a bar, of 3 or of 4, is a
    guess.

    Returns:
        Beats over the whole sound with its loudness as energy; a beat's confidence is how far
        the sound near it rules out other beats. Silence, and less than a second, has no beat.

    References:
        Klapuri, Eronen and Astola, "Analysis of the meter of acoustic musical signals", 2006:
        onsets in bands. ``building_tools/fit_beat_pattern.py`` fits it.
    """
    onsets = onset_bands(waveform)
    energy = loudness_energy(waveform)
    if waveform.duration_s < 1.0 or not onsets.any():
        return RhythmTrack(
            beat_times=np.zeros(0),
            beat_numbers=np.zeros(0, np.int64),
            energy=energy,
            energy_rate=ENERGY_RATE,
            duration_s=waveform.duration_s,
        )
    centres, scores = _score_windows(onsets)
    rate, vectors = _read_phase(onsets.shape[1], centres, scores)
    return fit_grid(
        np.stack([vectors.real, vectors.imag], axis=1).astype(np.float32),
        FRAME_RATE,
        energy=energy,
        energy_rate=ENERGY_RATE,
        duration_s=waveform.duration_s,
        downbeat_logits=(DOWNBEAT[:4] @ onsets + DOWNBEAT[4]).astype(np.float32),
        bpm=60.0 * rate,
    )


def onset_bands(waveform: Waveform) -> Float32[np.ndarray, "4 frames"]:
    """Strength of onsets in four bands, 100 frames a second; mean 0, about unit variance.

    The rise over 20 ms of levels within 50 dB of the loudest; 0 everywhere in silence.
    """
    samples = waveform.to_mono().samples[0]
    length, hop = (round(s * waveform.sample_rate) for s in (_WINDOW_LENGTH_S, 1 / FRAME_RATE))
    n_frames = -(-samples.size // hop)
    if not n_frames or np.abs(samples).max() < SILENCE:
        return np.zeros((len(BAND_EDGES_HZ) - 1, n_frames), np.float32)
    weights, band_of = _sub_bands(waveform.sample_rate, length)
    levels = band_power(samples, weights, window=length, hop=hop, n_frames=n_frames)
    levels = np.log10(_FLOOR + np.sqrt(levels / levels.max()))
    rises = np.zeros_like(levels)
    rises[_LAG:] = np.maximum(levels[_LAG:] - levels[:-_LAG], 0.0)
    bands = np.stack([rises[:, band_of == b].mean(axis=1) for b in range(4)])
    bands -= bands.mean(axis=1, keepdims=True)
    return (bands / (bands.std(axis=1, keepdims=True) + 0.05)).astype(np.float32)


def beat_rates(window_s: float) -> Float[np.ndarray, " tempi"]:
    """Tempi to try on a window, in Hz, so close that their beats stay together."""
    return np.arange(SLOWEST_HZ, FASTEST_HZ, 1.0 / (16.0 * window_s))


def tempo_prior(rates: Float[np.ndarray, " tempi"]) -> Float32[np.ndarray, " tempi"]:
    """Log-likelihood of tempi in Hz, before any observation."""
    octaves = np.log2(60.0 * rates / PRIOR_BPM) / PRIOR_OCTAVES
    return (-0.5 * PRIOR_WEIGHT * octaves**2).astype(np.float32)


def pattern_spectra(
    onsets: Float32[np.ndarray, "4 frames"], rates: Float[np.ndarray, " tempi"]
) -> Complex64[np.ndarray, "4 tempi harmonics"]:
    """Fourier coefficients of a window at the harmonics of half of each tempo.

    Time 0 is the middle of the window.
    """
    n_frames = onsets.shape[1]
    n_fft = 1 << int(np.ceil(np.log2(16 * n_frames)))
    bins = np.rint(np.outer(rates, np.arange(1, STEPS_PER_BEAT + 1) / 2) * n_fft / FRAME_RATE)
    turn = np.exp(2j * np.pi * bins / n_fft * (n_frames // 2))
    spectra = np.fft.rfft(onsets, n_fft, axis=1)[:, bins.astype(int)] * turn
    return spectra.astype(np.complex64)


def _sub_bands(
    sample_rate: int, length: int
) -> tuple[Float32[np.ndarray, "sub_bands bins"], np.ndarray]:
    """Weights of power for narrow bands, and the band each belongs to."""
    edges = np.geomspace(BAND_EDGES_HZ[0], BAND_EDGES_HZ[-1], _SUB_BANDS + 1)
    middles = np.sqrt(edges[1:] * edges[:-1])
    frequencies = np.fft.rfftfreq(length, 1 / sample_rate)
    weights = np.zeros((_SUB_BANDS, frequencies.size), np.float32)
    for weight, low, middle, high in zip(weights, edges[:-1], middles, edges[1:], strict=True):
        inside = (frequencies >= low) & (frequencies < high)
        if not inside.any():
            inside[np.argmin(np.abs(frequencies - middle))] = True
        weight[inside] = 1.0 / inside.sum()
    return weights, np.searchsorted(BAND_EDGES_HZ[1:-1], middles)


@cache
def _harmonics() -> tuple[np.ndarray, np.ndarray]:
    """The pattern's coefficients, and what turns a sum of harmonics into positions in two beats."""
    n_steps = PATTERN.shape[1]
    k = np.arange(1, STEPS_PER_BEAT + 1)
    coefficients = np.fft.rfft(PATTERN, axis=1).conj()[:, 1:] * (2 / n_steps)
    positions = np.exp(2j * np.pi * np.outer(k, np.arange(n_steps)) / n_steps)
    return coefficients.astype(np.complex64), positions.astype(np.complex64)


def _score_windows(
    onsets: Float32[np.ndarray, "4 frames"],
) -> tuple[Int[np.ndarray, " windows"], Float32[np.ndarray, "windows tempi positions"]]:
    """Log-likelihood of every tempo and phase in each window, up to a constant.

    Position ``p`` puts a beat ``p`` sixteenths of a beat after the middle of the window.
    """
    n_frames = onsets.shape[1]
    length = min(n_frames, round(WINDOW_S * FRAME_RATE))
    n_windows = 1 + -(-2 * (n_frames - length) // length)
    starts = np.rint(np.linspace(0, n_frames - length, n_windows)).astype(int)
    rates = beat_rates(length / FRAME_RATE)
    prior = tempo_prior(rates)[:, None]
    coefficients, positions = _harmonics()
    scores = np.empty((n_windows, rates.size, positions.shape[1]), np.float32)
    for score, start in zip(scores, starts, strict=True):
        spectra = pattern_spectra(onsets[:, start : start + length], rates)
        score[:] = (np.einsum("bfk,bk->fk", spectra, coefficients) @ positions).real + prior
    return starts + length // 2, scores


def _read_phase(
    n_frames: int,
    centres: Int[np.ndarray, " windows"],
    scores: Float32[np.ndarray, "windows tempi positions"],
) -> tuple[float, Complex64[np.ndarray, " frames"]]:
    """The tempo in Hz, and the phase of its beat in each frame; its length is how sure it is."""
    length_s = min(n_frames / FRAME_RATE, WINDOW_S)
    rates = beat_rates(length_s)
    # The tempo whose best phase scores highest, over all windows; some neighbours count as it.
    evidence = scores.max(axis=2).mean(axis=0)
    best = rates[int(evidence.argmax())]
    near = np.abs(rates / best - 1.0) < _SAME_TEMPO
    tempi = np.exp(evidence - evidence.max())
    # Softmax over tempi and phases near it in each window, and the mean unit vector of phase:
    # its direction is the phase, its length how far the window agrees on one.
    phases = np.exp(scores[:, near] - scores[:, near].max(axis=(1, 2), keepdims=True))
    shares = phases.sum(axis=1) / phases.sum(axis=(1, 2))[:, None]
    turns = np.exp(-2j * np.pi * np.arange(scores.shape[2]) / STEPS_PER_BEAT)
    # Turned back at that tempo, the vectors of a steady beat all point one way.
    seconds = centres / FRAME_RATE
    still = (shares @ turns) * np.exp(-2j * np.pi * best * seconds)
    still *= tempi[near].sum() / tempi.sum()
    # The tempo between two of the grid at which they agree best, by the length of their sum.
    steps = (rates[1] - rates[0]) * np.linspace(-1.0, 1.0, 81)
    sums = np.abs(np.exp(-2j * np.pi * np.outer(steps, seconds)) @ still)
    step = steps[int(sums.argmax())] if centres.size > 1 else 0.0
    still = still * np.exp(-2j * np.pi * step * seconds)
    # From windows to frames, then turned on again.
    frames = np.arange(n_frames)
    between = np.interp(frames, centres, still.real) + 1j * np.interp(frames, centres, still.imag)
    rate = float(best + step)
    return rate, (between * np.exp(2j * np.pi * rate * frames / FRAME_RATE)).astype(np.complex64)
