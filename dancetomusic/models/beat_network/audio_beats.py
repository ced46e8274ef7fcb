"""Beats and bars of a recording, how certain they are, and what else they may be.

A small network says how likely a beat and a downbeat is at each moment; a bar-pointer model finds
the most probable path through them. Certainty comes from how clear the beats are, and from whether
a second, unlike estimator agrees.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32

from dancetomusic.models.beat_network.bar_pointer import (
    FASTEST_BPM,
    SLOWEST_BPM,
    decode_beats,
    number_beats,
)
from dancetomusic.models.beat_network.network import (
    FRAME_RATE,
    BeatNetwork,
    beat_activations,
    load_beat_network,
    mel_power,
)
from dancetomusic.released import locate_checkpoint
from dancetomusic.rhythm.energy import ENERGY_RATE, loudness_energy
from dancetomusic.rhythm.onset_pattern import fit_onset_pattern
from dancetomusic.types import RhythmTrack, Waveform

NETWORK = "beat_network"
"""The released checkpoint."""

FINE = 2
"""Activations are interpolated to this many times their rate, to resolve tempi."""

SILENCE = 1e-4
QUIET_DB, QUIET_CERTAINTY = -42.0, 0.1
"""Level (RMS about the mean, full scale) below which a sound is that of a room, and the most that
its beats are then certain: nobody dances to what is hardly there."""

SHORTEST_S = 1.0
RIVAL_RATIO = 1.3
"""A rival reading's tempo differs from the best by more than this factor."""

SAME_TEMPO = 0.03
TOLERANCE_S = 0.07
EVIDENCE = ("strength", "contrast", "agreement")
CERTAINTY_WEIGHTS = np.array([6.04, 1.77, 1.12])
CERTAINTY_BIAS = -4.27
"""Logistic regression of ``EVIDENCE`` on whether the F-measure is at least 0.9; fitted by
``building_tools/fit_beat_certainty.py`` to recordings that the networks did not learn from."""


def track_audio_beats(waveform: Waveform, *, network: BeatNetwork | None = None) -> RhythmTrack:
    """The likeliest beats of a recording; as the first of :func:`sound_rhythms`."""
    return sound_rhythms(waveform, network=network)[0]


def sound_rhythms(
    waveform: Waveform, *, bpm: float | None = None, network: BeatNetwork | None = None
) -> tuple[RhythmTrack, ...]:
    """The likeliest readings of a recording, the best first; they differ in tempo.

    Tempi from 50 to 215 BPM are considered, and may drift and change. Bars have three or four
    beats.

    With a tempo to keep, ``bpm``, there is one reading; the network is the released one by default.

    Returns:
        One reading or more, with the sound's loudness as energy. Silence, and less than a
        second, has one reading without a beat, of certainty 0.

    Raises:
        CheckpointError: If the released network is missing or corrupted.
    """
    if _is_silent(waveform):
        energy = loudness_energy(waveform)
        return (_track(waveform, energy, np.zeros(0), np.zeros(0), np.zeros(0), 0.0),)
    found = _find(waveform, bpm, network)
    ceiling = 1.0 if _level_db(waveform) > QUIET_DB else QUIET_CERTAINTY
    certainties = [min(ceiling, _certainty(found.evidence(n))) for n in range(len(found.paths))]
    energy = loudness_energy(waveform)
    readings = [
        _track(waveform, energy, times, found.beat, found.downbeat, certainties[number])
        for number, times in enumerate(found.paths)
        if number == 0 or times.size > 1
    ]
    # A rival is never called more certain than what the best leaves over.
    first, *others = readings
    spare = 1.0 - first.certainty
    rest = sorted(others, key=lambda track: -track.certainty)
    return (first, *(replace(track, certainty=min(track.certainty, spare)) for track in rest))


def sound_evidence(
    waveform: Waveform, *, network: BeatNetwork | None = None
) -> tuple[Float[np.ndarray, " beats"], Float[np.ndarray, " evidence"]]:
    """The likeliest beats in seconds, and what speaks for them, in the order of ``EVIDENCE``."""
    if _is_silent(waveform):
        return np.zeros(0), np.zeros(len(EVIDENCE))
    found = _find(waveform, None, network)
    return found.paths[0], found.evidence(0)


@dataclass(frozen=True)
class _Found:
    """What was found in a recording.

    Attributes:
        paths: Beat times, the most probable path first, then its rivals.
        second: Beats by the second estimator.
    """

    beat: Float32[np.ndarray, " frames"]
    downbeat: Float32[np.ndarray, " frames"]
    paths: list[Float[np.ndarray, " _"]]
    second: Float[np.ndarray, " others"]

    def evidence(self, number: int) -> Float[np.ndarray, " evidence"]:
        """What speaks for a path."""
        return beat_evidence(self.beat, FRAME_RATE * FINE, self.paths[number], self.second)


def _find(waveform: Waveform, bpm: float | None, network: BeatNetwork | None) -> _Found:
    if network is None:
        network = load_beat_network(locate_checkpoint(NETWORK))
    beat, downbeat = _probabilities(beat_activations(network, mel_power(waveform)))
    rate = FRAME_RATE * FINE
    if bpm is not None:
        slowest, fastest = bpm * (1 - SAME_TEMPO), bpm * (1 + SAME_TEMPO)
        paths = [decode_beats(beat, rate, slowest_bpm=slowest, fastest_bpm=fastest)]
    else:
        best = decode_beats(beat, rate)
        paths = [best, *_rivals(beat, rate, best)]
    return _Found(beat, downbeat, paths, fit_onset_pattern(waveform).beat_times)


def _is_silent(waveform: Waveform) -> bool:
    return waveform.duration_s < SHORTEST_S or float(np.abs(waveform.samples).max()) < SILENCE


def _level_db(waveform: Waveform) -> float:
    """RMS about the mean, in dB of full scale: a constant offset is inaudible."""
    return 20.0 * float(np.log10(max(float(waveform.samples.std()), 1e-10)))


def beat_evidence(
    beat: Float32[np.ndarray, " frames"],
    rate: float,
    times: Float[np.ndarray, " beats"],
    second: Float[np.ndarray, " others"],
) -> Float[np.ndarray, " evidence"]:
    """What speaks for beats, in the order of ``EVIDENCE``.

    ``second`` are beats by another estimator.
    """
    if times.size < 2:
        return np.zeros(len(EVIDENCE))
    frames = np.arange(beat.size) / rate
    on = _peak(beat, rate, times).mean()
    between = np.interp((times[1:] + times[:-1]) / 2, frames, beat).mean()
    return np.array([on, on - between, beats_agreement(times, second)])


def _certainty(evidence: Float[np.ndarray, " evidence"]) -> float:
    if not evidence.any():
        return 0.0
    return float(1.0 / (1.0 + np.exp(-(evidence @ CERTAINTY_WEIGHTS + CERTAINTY_BIAS))))


def _probabilities(
    log_odds: Float32[np.ndarray, "2 frames"],
) -> Float32[np.ndarray, "2 fine_frames"]:
    """Probabilities at ``FINE`` times the rate, interpolated linearly."""
    p = 1.0 / (1.0 + np.exp(-log_odds))
    count = p.shape[1]
    at = np.arange(FINE * count) / FINE
    return np.stack([np.interp(at, np.arange(count), row) for row in p]).astype(np.float32)


def _rivals(
    beat: Float32[np.ndarray, " frames"], rate: float, times: Float[np.ndarray, " beats"]
) -> list[Float[np.ndarray, " _"]]:
    """The best slower and the best faster reading."""
    if times.size < 2:
        return []
    bpm = 60.0 / float(np.median(np.diff(times)))
    rivals = []
    if bpm / RIVAL_RATIO > SLOWEST_BPM * 1.1:
        rivals.append(decode_beats(beat, rate, fastest_bpm=bpm / RIVAL_RATIO))
    if bpm * RIVAL_RATIO < FASTEST_BPM / 1.1:
        rivals.append(decode_beats(beat, rate, slowest_bpm=bpm * RIVAL_RATIO))
    return rivals


def _track(
    waveform: Waveform,
    energy: Float32[np.ndarray, " energy_frames"],
    times: Float[np.ndarray, " beats"],
    beat: Float[np.ndarray, " frames"],
    downbeat: Float[np.ndarray, " frames"],
    certainty: float,
) -> RhythmTrack:
    rate = FRAME_RATE * FINE
    times = times[times < waveform.duration_s]
    at_beats = _peak(beat, rate, times)
    # The probability of a downbeat given that there is a beat.
    numbers = number_beats(_peak(downbeat, rate, times) / np.maximum(at_beats, 1e-3))
    return RhythmTrack(
        beat_times=times,
        beat_numbers=numbers,
        energy=energy,
        energy_rate=ENERGY_RATE,
        duration_s=waveform.duration_s,
        confidence=at_beats.astype(float),
        source="sound",
        certainty=certainty,
    )


def _peak(
    values: Float[np.ndarray, " frames"], rate: float, times: Float[np.ndarray, " beats"]
) -> Float[np.ndarray, " beats"]:
    """The largest value within 30 ms of each time."""
    if times.size == 0:
        return np.zeros(0)
    reach = round(0.03 * rate)
    frames = np.rint(times * rate).astype(int)[:, None] + np.arange(-reach, reach + 1)
    return values[np.clip(frames, 0, values.size - 1)].max(axis=1)


def beats_agreement(
    times: Float[np.ndarray, " beats"], second: Float[np.ndarray, " others"]
) -> float:
    """F-measure at 70 ms between two lists of beats, in [0, 1]."""
    if not times.size or not second.size:
        return 0.0
    # Both lists increase: the nearest of the second lies on one side of where a time would go.
    after = np.searchsorted(second, times)
    sides = second[np.clip([after - 1, after], 0, second.size - 1)]
    near = np.abs(sides - times).min(axis=0) <= TOLERANCE_S
    return float(2.0 * near.sum() / (times.size + second.size))
