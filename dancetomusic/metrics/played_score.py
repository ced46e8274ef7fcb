"""How much of a score is heard in the sound that plays it: its onsets, its drums, its bass.

Each value stands beside what chance has. The sampler's own sound has less than 1, for a mix hides
soft notes: compare with it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64
from scipy import signal

from dancetomusic.metrics.audio_distance import PITCH_TOLERANCE_CENTS, low_pitch
from dancetomusic.metrics.calibration import beats_right
from dancetomusic.metrics.drum_balance import register_onset_times
from dancetomusic.metrics.onsets import onset_f1
from dancetomusic.metrics.score import TOGETHER_S
from dancetomusic.score.notes import Score
from dancetomusic.score.style import DRUM_KEYS
from dancetomusic.types import Waveform

ONSET_TOLERANCE_S = 0.03

DRUM_CLASSES = {
    name: tuple(DRUM_KEYS[key] for key in keys.split())
    for name, keys in {
        "kick": "kick kick2",
        "snare": "snare snare2 clap",
        "hat": "hat pedal ohat ride ride2 shaker",
    }.items()
}
"""General MIDI keys of drums that sound alike."""

ALONE_S = 0.05
FEWEST_STROKES = 8
STROKE_S = 0.05
BANDS, LOWEST_HZ = 24, 30.0

PITCH_STEP_S = 0.01
PITCH_AFTER_S = 0.05
"""From a note's start, before its pitch can be read."""
KICK_S = 0.12
"""From a kick's start, while it hides the bass's pitch."""


def onsets_heard(score: Score, waveform: Waveform, rng: np.random.Generator) -> tuple[float, float]:
    """F-measure of the score's onsets and the sound's, within ±30 ms; and by chance.

    Chance: as many written onsets at random times.
    """
    written = _apart(np.concatenate([_starts(score, track.name) for track in score.tracks]))
    heard = _apart(register_onset_times(waveform))
    anywhere = np.sort(rng.uniform(0.0, waveform.duration_s, written.size))
    right, chance = (onset_f1(times, heard, ONSET_TOLERANCE_S) for times in (written, anywhere))
    return right, chance


def drums_told_apart(score: Score, waveform: Waveform) -> tuple[float, float]:
    """Share of kicks, snares and hats that can be told by their sound; and by chance.

    What can be told: the first half of each class's strokes teaches a linear discriminant (mel
    bands of the 50 ms of the stroke, and their rise above the 50 ms before) that names the second
    half, and the other way round. Strokes with one of another class within 50 ms are left out, and
    classes with fewer than 8. Mean over classes, so that chance is one over their number; NaN with
    fewer than two. What else sounds tells a little, too, where it goes with a class.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    strokes = [np.sort(_starts(score, "drums", keys)) for keys in DRUM_CLASSES.values()]
    alone = [
        times[~beats_right(np.concatenate(strokes[:k] + strokes[k + 1 :]), times, ALONE_S)]
        for k, times in enumerate(strokes)
    ]
    sounds = [_stroke_bands(waveform, times) for times in alone if times.size >= FEWEST_STROKES]
    if len(sounds) < 2:
        return float("nan"), float("nan")
    halves = [(bands[: len(bands) // 2], bands[len(bands) // 2 :]) for bands in sounds]
    alike = np.full(len(sounds), 1.0 / len(sounds))
    right = []
    for taught in (0, 1):
        rows = np.concatenate([half[taught] for half in halves])
        names = np.repeat(np.arange(len(halves)), [len(half[taught]) for half in halves])
        rule = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=alike)
        rule.fit(rows, names)
        right += [(rule.predict(half[1 - taught]) == k).mean() for k, half in enumerate(halves)]
    return float(np.mean(right)), 1.0 / len(sounds)


def bass_heard(score: Score, waveform: Waveform, rng: np.random.Generator) -> tuple[float, float]:
    """Share of the bass's time in which its pitch is heard, within 50 cents; and by chance.

    Pitch is YIN's below 200 Hz every 10 ms. A note counts from 50 ms after its start to its end,
    but for the 120 ms after a kick. Chance: against the pitch written at another time. NaN without
    bass.

    References:
        de Cheveigné and Kawahara, "YIN, a fundamental frequency estimator", 2002.
    """
    heard, _ = low_pitch(waveform)
    times = np.arange(heard.size) * PITCH_STEP_S
    written = np.full(heard.size, np.nan)
    for track in score.tracks:
        if track.name == "bass":
            notes = score.audible(track)
            starts, ends = (score.clock.seconds(beats) for beats in (notes.start, notes.end))
            for start, end, pitch in zip(starts, ends, notes.pitch, strict=True):
                written[(times >= start) & (times < start + PITCH_AFTER_S)] = np.nan
                written[(times >= start + PITCH_AFTER_S) & (times < end)] = pitch
    for kick in _starts(score, "drums", DRUM_CLASSES["kick"]):
        written[(times >= kick) & (times < kick + KICK_S)] = np.nan
    clear = np.isfinite(written)
    if not clear.any():
        return float("nan"), float("nan")
    hz = 440.0 * 2.0 ** ((written[clear] - 69.0) / 12.0)
    cents = (1200.0 * np.abs(np.log2(heard[clear] / of)) for of in (hz, rng.permutation(hz)))
    right, chance = (float((apart <= PITCH_TOLERANCE_CENTS).mean()) for apart in cents)
    return right, chance


def _starts(score: Score, name: str, keys: tuple[int, ...] = ()) -> Float64[np.ndarray, " notes"]:
    """When notes of the tracks of a name begin, in seconds; of drums, those of some keys or all."""
    found = [np.zeros(0)]
    for notes in (score.audible(track) for track in score.tracks if track.name == name):
        chosen = np.isin(notes.pitch, keys) if keys else slice(None)
        found.append(score.clock.seconds(notes.start[chosen]))
    return np.concatenate(found)


def _apart(times: Float64[np.ndarray, " times"]) -> Float64[np.ndarray, " _apart"]:
    """In order, and of those within 30 ms of the one before, none."""
    ordered = np.sort(times)
    return ordered[np.diff(ordered, prepend=-np.inf) > TOGETHER_S]


def _stroke_bands(
    waveform: Waveform, times: Float64[np.ndarray, " strokes"]
) -> Float[np.ndarray, "strokes features"]:
    """Levels in mel bands, in dB, of the 50 ms of each stroke; and how far they rose."""
    import librosa

    mono = waveform.to_mono()
    rate, samples = mono.sample_rate, mono.samples[0]
    length = round(STROKE_S * rate)
    bands = librosa.filters.mel(sr=rate, n_fft=length, n_mels=BANDS, fmin=LOWEST_HZ)
    window = signal.windows.hann(length)
    levels = []
    for shift_s in (-STROKE_S, 0.0):
        starts = np.rint((times + shift_s) * rate).astype(int)
        starts = np.clip(starts, 0, samples.size - length)
        spectra = np.fft.rfft(samples[starts[:, None] + np.arange(length)] * window, axis=1)
        levels.append(10.0 * np.log10(np.abs(spectra) ** 2 @ bands.T + 1e-6))
    before, stroke = levels
    return np.concatenate([stroke, stroke - before], axis=1)
