"""Beat grids: fitted to predicted phases, given by a tempo, or given beat by beat."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.ndimage import gaussian_filter1d

from dancetomusic.errors import InputError
from dancetomusic.types import RhythmTrack

DEFAULT_BPM = 120.0
LEVEL_ENERGY = 0.5
MIN_BPM, MAX_BPM = 40.0, 240.0
PRIOR_BPM, PRIOR_OCTAVES = 110.0, 0.7
TEMPI_PER_OCTAVE = 24
TEMPI_BPM = MIN_BPM * 2.0 ** (np.arange(63) / TEMPI_PER_OCTAVE)
LOGITS_WEIGHT = 0.5
EVIDENCE_PER_S = 1.5
LOCAL_S = 4.0
DRIFT_GAIN = 0.1
BAR_LENGTHS = (4, 3)


def extrapolate_beats(
    times: Float[np.ndarray, " beats"],
    numbers: Int[np.ndarray, " beats"],
    *,
    start_s: float = 0.0,
    end_s: float,
) -> tuple[Float[np.ndarray, " more_beats"], Int[np.ndarray, " more_beats"]]:
    """Add beats until one is at or before ``start_s`` and one after ``end_s``.

    The neighbouring interval and the count of the bar continue at both ends; a single beat
    continues at 120 BPM.

    Raises:
        InputError: If there is no beat to start from.
    """
    if times.size == 0:
        raise InputError("there is no beat to extrapolate from", "Give at least one beat.")
    intervals = np.diff(times) if times.size > 1 else np.array([60.0 / DEFAULT_BPM])
    n_before = max(0, int(np.ceil((times[0] - start_s) / intervals[0])))
    n_after = max(0, int(np.floor((end_s - times[-1]) / intervals[-1])) + 1)
    if times.size + n_after < 2:
        n_after = 1
    steps_before = np.arange(n_before, 0, -1)
    steps_after = np.arange(1, n_after + 1)
    bar = int(numbers.max())
    all_times = np.concatenate(
        [times[0] - steps_before * intervals[0], times, times[-1] + steps_after * intervals[-1]]
    )
    all_numbers = np.concatenate(
        [
            (numbers[0] - 1 - steps_before) % bar + 1,
            numbers,
            (numbers[-1] - 1 + steps_after) % bar + 1,
        ]
    )
    return all_times, all_numbers


def fit_grid(
    phase: Float32[np.ndarray, "frames 2"],
    frame_rate: float,
    *,
    energy: Float32[np.ndarray, " energy_frames"],
    energy_rate: float,
    duration_s: float | None = None,
    downbeat_logits: Float32[np.ndarray, " frames"] | None = None,
    weights: Float32[np.ndarray, " frames"] | None = None,
    tempo_logits: Float32[np.ndarray, " tempi"] | None = None,
    bpm: float | None = None,
    beats_per_bar: int | None = None,
) -> RhythmTrack:
    """Find the beat grid that best explains predicted beat phases.

    One tempo and one phase are fitted to the whole: for each tempo the predicted vectors
    are turned back by the phase it would have, and the length of their sum, with a weak
    log-normal prior on tempo and what ``tempo_logits`` say, scores it. Where local windows
    agree on other tempi, their best continuous path replaces the single tempo; where the
    phase wanders, it is followed slowly. Stretches that say nothing keep the grid of their
    surroundings, and without any evidence the grid is steady at the prior's tempo.

    Args:
        phase: Cosine and sine of the beat phase, 0 at the beat; the length of the
            vector says how sure the prediction is.
        frame_rate: Frames a second of ``phase``, in Hz.
        energy: Strength of movement in [0, 1], kept in the track.
        energy_rate: Values a second of ``energy``, in Hz.
        duration_s: Length to cover, by default that of ``phase``.
        downbeat_logits: Log-odds of a downbeat; bars start at the first beat without.
        tempo_logits: Log-odds of ``TEMPI_BPM`` from another source than ``phase``.
        weights: Trust in each frame in [0, 1], such as 0 where no dancer is seen.
        bpm: Tempo to keep; only the phase is then fitted.
        beats_per_bar: Bar length to keep, by default 3 or 4 as the downbeats say.

    Returns:
        Beats over the whole duration; a beat's confidence is how well the predicted
        phases within a few seconds of it agree with the grid.

    Raises:
        InputError: If ``bpm`` is outside 40-240, or ``beats_per_bar`` below 2.
    """
    if bpm is not None and not MIN_BPM <= bpm <= MAX_BPM:
        raise InputError(f"tempo is {bpm} BPM", f"Give {MIN_BPM:.0f} to {MAX_BPM:.0f}.")
    if beats_per_bar is not None and beats_per_bar < 2:
        raise InputError(f"a bar has {beats_per_bar} beats", "Give 2 or more.")
    vectors = phase[:, 0].astype(float) + 1j * phase[:, 1]
    if weights is not None:
        vectors = vectors * weights
    if duration_s is None:
        duration_s = phase.shape[0] / frame_rate
    if vectors.size == 0:
        vectors = np.zeros(1, complex)

    cycles = _steady_cycles(vectors, frame_rate, bpm, tempo_logits)
    if bpm is None:
        cycles = _follow_tempo(vectors, frame_rate, cycles)
    cycles = _follow_phase(vectors, frame_rate, cycles)

    times = _crossings(cycles, frame_rate, duration_s)
    agreement = _smooth(vectors * np.exp(-2j * np.pi * cycles), LOCAL_S / 2, frame_rate).real
    frames = np.arange(agreement.size) / frame_rate
    confidence = np.clip(np.interp(times, frames, agreement), 0.0, 1.0)
    numbers = _number_beats(times, downbeat_logits, frame_rate, beats_per_bar)
    return RhythmTrack(
        beat_times=times,
        beat_numbers=numbers,
        energy=energy,
        energy_rate=energy_rate,
        duration_s=duration_s,
        confidence=confidence,
    )


def track_from_beats(
    times: Float[np.ndarray, " beats"], numbers: Int[np.ndarray, " beats"], duration_s: float
) -> RhythmTrack:
    """Take beats as given and continue them over the whole duration, at level energy.

    Raises:
        InputError: If there are fewer than two beats, times do not increase or are not
            finite, an interval lies outside 20-400 BPM, or a number outside 1-16.
    """
    remedy = "Give at least two beats in order, 20 to 400 a minute, numbered from 1."
    if times.size < 2:
        raise InputError(f"{times.size} beats given", remedy)
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise InputError("beat times do not increase", remedy)
    bpm = 60.0 / np.diff(times)
    if bpm.max() > 400.0 or bpm.min() < 20.0:
        raise InputError(f"beats run from {bpm.min():.1f} to {bpm.max():.1f} BPM", remedy)
    if numbers.min() < 1 or numbers.max() > 16:
        raise InputError(f"beats are numbered {numbers.min()} to {numbers.max()}", remedy)
    all_times, all_numbers = extrapolate_beats(times.astype(float), numbers, end_s=duration_s)
    inside = (all_times >= 0) & (all_times < duration_s)
    return _track(all_times[inside], all_numbers[inside], duration_s)


def steady_grid(
    bpm: float, duration_s: float, *, first_beat_s: float = 0.0, beats_per_bar: int = 4
) -> RhythmTrack:
    """A metronome: steady beats with a downbeat at ``first_beat_s``, at level energy.

    Raises:
        InputError: If ``bpm`` is outside 20-400 or a bar has fewer than 2 beats.
    """
    if not 20.0 <= bpm <= 400.0:
        raise InputError(f"tempo is {bpm} BPM", "Give 20 to 400.")
    if beats_per_bar < 2:
        raise InputError(f"a bar has {beats_per_bar} beats", "Give 2 or more.")
    count = np.arange(beats_per_bar)
    return track_from_beats(first_beat_s + count * 60.0 / bpm, count + 1, duration_s)


def log_tempo_prior(
    bpm: Float[np.ndarray, " candidates"], logits: Float32[np.ndarray, " tempi"] | None = None
) -> Float[np.ndarray, " candidates"]:
    """Log prior of tempi, in nats up to a constant.

    A weak log-normal prior; with ``logits`` of ``TEMPI_BPM``, half of it and half of them:
    both sum up the same movement, so neither counts in full.
    """
    prior = -0.5 * (np.log2(bpm / PRIOR_BPM) / PRIOR_OCTAVES) ** 2
    if logits is None:
        return prior
    log_share = logits - np.logaddexp.reduce(logits)
    said = np.interp(np.log2(bpm), np.log2(TEMPI_BPM), log_share)
    return LOGITS_WEIGHT * said + (1.0 - LOGITS_WEIGHT) * prior


def _track(times: np.ndarray, numbers: np.ndarray, duration_s: float) -> RhythmTrack:
    energy = np.full(max(1, int(np.ceil(duration_s * 10))), LEVEL_ENERGY, np.float32)
    return RhythmTrack(
        beat_times=times,
        beat_numbers=numbers.astype(np.int64),
        energy=energy,
        energy_rate=10.0,
        duration_s=duration_s,
        source="file",
    )


def _smooth(vectors: np.ndarray, sigma_s: float, frame_rate: float) -> np.ndarray:
    """Gaussian mean over time; nothing is added past the ends."""
    sigma = sigma_s * frame_rate
    share = gaussian_filter1d(np.ones(vectors.size), sigma, mode="constant")
    real = gaussian_filter1d(vectors.real, sigma, mode="constant")
    imaginary = gaussian_filter1d(vectors.imag, sigma, mode="constant")
    return (real + 1j * imaginary) / share


def _steady_cycles(
    vectors: np.ndarray,
    frame_rate: float,
    bpm: float | None,
    tempo_logits: np.ndarray | None,
) -> np.ndarray:
    """Beats elapsed at each frame, for the one best tempo and phase."""
    seconds = np.arange(vectors.size) / frame_rate
    if bpm is None:
        n_fft = 16 * 1 << int(np.ceil(np.log2(max(vectors.size, frame_rate * 8))))
        candidates = np.fft.fftfreq(n_fft, 1 / frame_rate)[: n_fft // 2] * 60.0
        usable = (candidates >= MIN_BPM) & (candidates <= MAX_BPM)
        candidates = candidates[usable]
        sums = np.abs(np.fft.fft(vectors, n_fft)[: n_fft // 2][usable]) / frame_rate
        scores = EVIDENCE_PER_S * sums + log_tempo_prior(candidates, tempo_logits)
        bpm = float(candidates[np.argmax(scores)])
    turned = vectors * np.exp(-2j * np.pi * bpm / 60.0 * seconds)
    return seconds * bpm / 60.0 + np.angle(turned.sum()) / (2 * np.pi)


def _follow_tempo(vectors: np.ndarray, frame_rate: float, cycles: np.ndarray) -> np.ndarray:
    """Replace a steady tempo by the best path through local ones, if they agree on another.

    A path of tempi over windows of 8 s every 2 s is found by dynamic programming; a
    change costs by its size. The steady tempo stays unless the path explains clearly more.
    """
    window, hop = int(8 * frame_rate), int(2 * frame_rate)
    if vectors.size < 3 * window:
        return cycles
    n_windows = 1 + (vectors.size - window) // hop
    tempi = np.geomspace(MIN_BPM, MAX_BPM, 180)
    seconds = np.arange(window) / frame_rate
    # Length of the sum of a window's phase vectors, turned back at each tempo, in seconds.
    turns = np.exp(-2j * np.pi * np.outer(seconds, tempi) / 60.0) / frame_rate
    evidence = np.stack(
        [np.abs(vectors[k * hop : k * hop + window] @ turns) for k in range(n_windows)]
    )
    # The steady tempo stays where the path explains less than a tenth more of each window.
    steady_bpm = 60.0 * frame_rate * float(cycles[-1] - cycles[0]) / max(vectors.size - 1, 1)
    steady = int(np.argmin(np.abs(np.log(tempi / steady_bpm))))
    path = _best_path(EVIDENCE_PER_S * evidence + 0.25 * log_tempo_prior(tempi), tempi)
    gained = evidence[np.arange(n_windows), path] - evidence[:, steady - 1 : steady + 2].max(1)
    if gained.mean() < 0.1 * 8:
        return cycles
    # Beats elapsed along the path, corrected by the phase that is left over, smoothed.
    centres = np.arange(n_windows) * hop + window / 2
    frames = np.arange(vectors.size)
    rate = np.interp(frames, centres, tempi[path]) / 60.0 / frame_rate
    followed = np.cumsum(rate) - rate[0]
    turned = vectors * np.exp(-2j * np.pi * followed)
    offset = np.unwrap(np.angle(_smooth(turned, LOCAL_S / 2, frame_rate) + 1e-9))
    return followed + offset / (2 * np.pi)


def _best_path(scores: np.ndarray, tempi: np.ndarray) -> np.ndarray:
    """Viterbi path over ``scores`` [windows, tempi]; an octave of change costs 12."""
    octaves = np.abs(np.log2(tempi[:, None] / tempi[None, :]))
    cost = np.minimum(12.0 * octaves, 6.0)
    total = scores[0]
    origins = np.zeros(scores.shape, int)
    for k in range(1, scores.shape[0]):
        arrivals = total[:, None] - cost
        origins[k] = arrivals.argmax(axis=0)
        total = arrivals.max(axis=0) + scores[k]
    path = [int(total.argmax())]
    for k in range(scores.shape[0] - 1, 0, -1):
        path.append(int(origins[k, path[-1]]))
    return np.array(path[::-1])


def _follow_phase(vectors: np.ndarray, frame_rate: float, cycles: np.ndarray) -> np.ndarray:
    """Let the grid drift with the local phase where that explains clearly more."""
    turned = vectors * np.exp(-2j * np.pi * cycles)
    local = _smooth(turned, LOCAL_S, frame_rate)
    if np.abs(local).mean() - np.abs(turned.mean()) < DRIFT_GAIN:
        return cycles
    drift = np.unwrap(np.angle(local + 1e-9)) / (2 * np.pi)
    limit = 0.1 / LOCAL_S / frame_rate
    steps = np.clip(np.diff(drift, prepend=drift[:1]), -limit, limit)
    return cycles + drift[0] + np.cumsum(steps)


def _crossings(cycles: np.ndarray, frame_rate: float, duration_s: float) -> np.ndarray:
    """Times in [0, duration) at which ``cycles`` passes a whole number."""
    if cycles.size < 2:
        cycles = cycles[0] + np.arange(2) * DEFAULT_BPM / 60.0 / frame_rate
    seconds = np.arange(cycles.size) / frame_rate
    slope = (cycles[-1] - cycles[max(0, cycles.size - 1 - int(frame_rate))]) / min(
        1.0, (cycles.size - 1) / frame_rate
    )
    end_s = max(duration_s, seconds[-1]) + 1.0
    seconds = np.append(seconds, end_s)
    cycles = np.maximum.accumulate(np.append(cycles, cycles[-1] + slope * (end_s - seconds[-2])))
    whole = np.arange(np.ceil(cycles[0] - 1e-9), np.floor(cycles[-1]) + 1)
    times = np.maximum(np.interp(whole, cycles, seconds), 0.0)
    return times[times < duration_s]


def _number_beats(
    times: np.ndarray,
    logits: np.ndarray | None,
    frame_rate: float,
    beats_per_bar: int | None,
) -> np.ndarray:
    """Bar length and offset by the likelihood of downbeats at every beat."""
    count = np.arange(times.size)
    if logits is None or logits.size == 0 or times.size == 0:
        return count % (beats_per_bar or BAR_LENGTHS[0]) + 1
    frames = np.rint(times * frame_rate).astype(int)
    reach = int(0.04 * frame_rate)
    near = np.clip(frames[:, None] + np.arange(-reach, reach + 1), 0, logits.size - 1)
    odds = logits[near].max(axis=1).astype(float)
    odds[frames >= logits.size] = 0.0
    best, best_score = count, -np.inf
    for bar in (beats_per_bar,) if beats_per_bar else BAR_LENGTHS:
        for offset in range(bar):
            numbers = (count - offset) % bar + 1
            signed = np.where(numbers == 1, odds, -odds)
            score = -float(np.logaddexp(0.0, -signed).sum())
            if score > best_score + 1e-9:
                best, best_score = numbers, score
    return best
