"""The rhythm of a dance read from its movement alone, with other readings and how sure each is.

Two readers take turns. Where the pose encoder knows the movement, its phases agree with one grid
for the whole dance, and they decide. Elsewhere they say next to nothing, and must not choose the
tempo: it is then read from repetition alone (``models/pose_encoder/movement_tempo.py``), and
the phase is one
estimate for the whole stretch, pooled over the encoder's phases and the rule that feet are
quickest half-way between beats. Where even that is a guess, the eye is the judge: beats are put
where movement is seen to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float32

from dancetomusic.models.pose_encoder.movement_tempo import (
    body_signals,
    dance_logits,
    detrend,
    tempo_posterior,
)
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoding, encode_poses
from dancetomusic.pose.hits import visible_hits
from dancetomusic.rhythm.beats import MAX_BPM, MIN_BPM, TEMPI_BPM, fit_grid
from dancetomusic.rhythm.energy import ENERGY_RATE, group_energy
from dancetomusic.types import FAIR, PoseSequence, RhythmTrack

NETWORK_AGREES, HEAD_AGREES = 0.3, 0.1
"""The encoder decides alone where the mean confidence of its grid reaches the first, and its tempo
head gives the tempo of that grid at least the second. Chosen on real clips, street fragments and
ballroom dances; without the second a third more of the real clips were read wrong by it."""

FEET_QUICKEST = 0.56
"""Where in the beat the feet are quickest, in beats after it. Half-way in motion capture; poses
from video are smoothed by the detector and come a frame or two late."""

NETWORK_SHARE = 0.5
"""Weight of the encoder's phases in the pooled phase; the rest is the rule of the feet."""

CERTAINTY_NETWORK = (-3.10, 3.74)
CERTAINTY_POOLED = (-3.98, 3.58)
"""Log-odds that beat F is at least 0.9, at agreement 0 and per unit of it, for beats of the encoder
and pooled ones. Printed by ``building_tools/evaluate_movement.py`` for an encoder trained with
``hold_out=captures max_steps=600``, which has seen none of the captures it was asked about: on
movement it has never seen, even an encoder whose phases agree is right in two of three clips at
most, so that movement alone is never sure."""

MOST_READINGS = 3
ANOTHER_TEMPO_OCTAVES = 0.1
"""Tempi nearer than this are one reading."""

REFINED_OCTAVES = 0.045
"""How far the final tempo may lie from the best of the candidates, so that beats stay in place."""

HIT_REACH_S = 0.07
"""How far from a beat a hit still counts as on it, in seconds."""

HIT_MARGIN = 1.15
"""How many times stronger the hits half a beat away must be for the beats to go there. Among 1,
1.15 and 1.3 the least that costs street and ballroom dances nothing."""

_FEET = 2  # of ``models.tempo.rhythm_signals``: speed of both feet together
_BLOCK_S = 0.25  # over which vectors are summed before tempi nearby are compared
_CANDIDATES = np.geomspace(MIN_BPM, MAX_BPM, 901)


@dataclass(frozen=True)
class MovementReading:
    """One reading, and what its certainty is made of.

    Attributes:
        track: Beats, with their certainty.
        by_encoder: Whether the encoder decided alone; else the beats are pooled.
        agreement: In [0, 1]: the mean confidence of the encoder's grid, or how far the pooled
            phases agree on theirs times the probability of its tempo.
    """

    track: RhythmTrack
    by_encoder: bool
    agreement: float


@dataclass(frozen=True)
class _Evidence:
    """What dancers say together, at the encoder's frame rate and at the poses'."""

    encoding: PoseEncoding
    rate: float
    fps: float
    duration_s: float
    energy: Float32[np.ndarray, " energy_frames"]
    network: Float[np.ndarray, "frames 2"]
    seen: Float32[np.ndarray, " frames"]
    pooled: Float[np.ndarray, "frames 2"]
    hits: Float[np.ndarray, " poses"]


@torch.inference_mode()
def movement_rhythms(
    encoder: PoseEncoder,
    dancers: Sequence[PoseSequence],
    *,
    bpm: float | None = None,
    template: Float[np.ndarray, " knots"] | None = None,
    leaders: Sequence[int] | None = None,
) -> tuple[PoseEncoding, tuple[RhythmTrack, ...]]:
    """Read the rhythm that dancers show together.

    Args:
        encoder: In evaluation mode.
        dancers: At 24 poses a second, of one length, the most prominent first; energy and memory
            come from all of them.
        bpm: Tempo to keep; only the phase is then read.
        template: In place of ``movement_tempo.TEMPLATE``, such as one fitted without the style.
        leaders: Indices of those whose tempo and phase are read; all by default.

    Returns:
        The memory of all with the rhythm that the leaders show, and up to three readings, the
        likeliest first; others differ in tempo or by half a beat.

    Raises:
        PoseError: If poses are empty or not at 24 frames a second.
        InputError: If ``bpm`` is outside 40-240.
    """
    encodings = [encode_poses(encoder, dancer) for dancer in dancers]
    everyone = pool_encodings(encodings, dancers)
    chosen = range(len(dancers)) if leaders is None else leaders
    leading = [dancers[number] for number in chosen]
    encoding = pool_encodings([encodings[number] for number in chosen], leading)
    rate = encoder.config.frame_rate
    readings = readings_from_encoding(encoding, rate, leading, bpm=bpm, template=template)
    energy = group_energy(dancers)
    return (
        encoding._replace(memory=everyone.memory, memory_mask=everyone.memory_mask),
        tuple(replace(reading.track, energy=energy) for reading in readings),
    )


def readings_from_encoding(
    encoding: PoseEncoding,
    frame_rate: float,
    dancers: Sequence[PoseSequence],
    *,
    bpm: float | None = None,
    template: Float[np.ndarray, " knots"] | None = None,
) -> tuple[MovementReading, ...]:
    """The readings of :func:`movement_rhythms` from an encoding that is there already.

    The encoding is of all dancers together; ``template`` is as for :func:`movement_rhythms`.

    Raises:
        InputError: If ``bpm`` is outside 40-240.
    """
    evidence = _gather(encoding, dancers, frame_rate)
    network = _network_track(evidence, bpm)
    posterior = tempo_posterior(dance_logits(dancers, template), _CANDIDATES)
    knows = float(network.confidence.mean()) if network.confidence.size else 0.0
    readings: list[MovementReading] = []
    if knows >= NETWORK_AGREES and _head_share(encoding, network.bpm) >= HEAD_AGREES:
        readings.append(_reading(network, knows, by_encoder=True))
    for tempo in _likely_tempi(posterior) if bpm is None else [bpm]:
        readings.append(_pooled_reading(evidence, tempo, posterior, keep=bpm is not None))
    first = readings[0]
    if not first.by_encoder and first.track.certainty < FAIR:
        first = replace(first, track=_onto_hits(first.track, evidence))
    readings = [first, *_others(first, readings[1:])]
    if len(readings) < MOST_READINGS:
        later = _half_a_beat_on(first.track, evidence)
        later = replace(later, certainty=first.track.certainty / 2)
        readings.append(replace(first, track=later))
    return tuple(readings[:MOST_READINGS])


def pool_encodings(
    encodings: Sequence[PoseEncoding], dancers: Sequence[PoseSequence]
) -> PoseEncoding:
    """What all dancers show together, each weighted by the share of frames that show them.

    Memory is the mean over those who are in view at a step.
    """
    if len(encodings) == 1:
        return encodings[0]
    weights = torch.tensor([dancer.present_share for dancer in dancers])
    weights = weights / weights.sum().clamp(min=1e-9)
    values = (
        sum(w * getattr(e, name) for w, e in zip(weights, encodings, strict=True))
        for name in ("phase", "beat_logits", "downbeat_logits", "energy", "tempo_logits")
    )
    masks = torch.stack([encoding.memory_mask for encoding in encodings])
    seen = weights[:, None, None] * masks
    memories = torch.stack([encoding.memory for encoding in encodings])
    memory = (seen[..., None] * memories).sum(dim=0) / seen.sum(dim=0).clamp(min=1e-9)[..., None]
    return PoseEncoding(memory, masks.any(dim=0), *values)


def _gather(encoding: PoseEncoding, dancers: Sequence[PoseSequence], rate: float) -> _Evidence:
    first = dancers[0]
    network = encoding.phase[0].float().numpy().astype(np.float64)
    frame_s = np.arange(network.shape[0]) / rate
    at = np.minimum((frame_s * first.fps).astype(int), len(first) - 1)
    present = np.zeros(len(first), bool)
    for poses in dancers:
        present[: len(poses)] |= poses.present[: len(first)]
    # The rule of the feet as a rotating vector: speed of both feet, of unit variance, turned so
    # that its largest values fall FEET_QUICKEST of a beat after the beat.
    feet = np.interp(frame_s, np.arange(len(first)) / first.fps, _feet(dancers))
    turn = 2 * np.pi * FEET_QUICKEST
    rule = feet[:, None] * np.array([np.cos(turn), np.sin(turn)])
    seen = present[at].astype(np.float32)
    return _Evidence(
        encoding=encoding,
        rate=rate,
        fps=first.fps,
        duration_s=first.duration_s,
        energy=group_energy(dancers),
        network=network,
        seen=seen,
        pooled=NETWORK_SHARE * network + (1.0 - NETWORK_SHARE) * rule,
        hits=visible_hits(dancers),
    )


def _feet(dancers: Sequence[PoseSequence]) -> Float[np.ndarray, " poses"]:
    """Speed of the feet without its slow course, of unit variance, mean of all dancers."""
    total, weight = np.zeros(len(dancers[0])), 0.0
    for poses in dancers:
        known = poses.present.astype(np.float64)
        signal = detrend(body_signals(poses)[:, _FEET : _FEET + 1], known, poses.fps)[:, 0]
        size = np.sqrt((signal**2).sum() / max(known.sum(), 1.0))
        n_frames = min(total.size, signal.size)
        total[:n_frames] += poses.present_share * signal[:n_frames] / max(size, 1e-6)
        weight += poses.present_share
    return total / max(weight, 1e-9)


def _network_track(evidence: _Evidence, bpm: float | None) -> RhythmTrack:
    """The grid that the encoder's phases and its tempo head say."""
    encoding = evidence.encoding
    return fit_grid(
        evidence.network.astype(np.float32),
        evidence.rate,
        energy=evidence.energy,
        energy_rate=ENERGY_RATE,
        duration_s=evidence.duration_s,
        downbeat_logits=encoding.downbeat_logits[0].float().numpy(),
        tempo_logits=encoding.tempo_logits[0].float().numpy(),
        weights=evidence.seen,
        bpm=bpm,
    )


def _head_share(encoding: PoseEncoding, bpm: float) -> float:
    """Probability that the encoder's tempo head gives to tempi near ``bpm``."""
    shares = torch.softmax(encoding.tempo_logits[0].float(), dim=0).numpy()
    near = np.abs(np.log2(TEMPI_BPM / bpm)) < ANOTHER_TEMPO_OCTAVES / 2
    return float(shares[near].sum())


def _pooled_reading(
    evidence: _Evidence, bpm: float, posterior: Float[np.ndarray, " tempi"], *, keep: bool
) -> MovementReading:
    """The grid of one tempo whose phase the encoder and the feet say together."""
    vectors = (evidence.pooled[:, 0] + 1j * evidence.pooled[:, 1]) * evidence.seen
    exact = bpm if keep else _refined(vectors, evidence.rate, bpm)
    track = fit_grid(
        evidence.pooled.astype(np.float32),
        evidence.rate,
        energy=evidence.energy,
        energy_rate=ENERGY_RATE,
        duration_s=evidence.duration_s,
        downbeat_logits=evidence.encoding.downbeat_logits[0].float().numpy(),
        weights=evidence.seen,
        bpm=exact,
    )
    seconds = np.arange(vectors.size) / evidence.rate
    length = np.abs((vectors * np.exp(-2j * np.pi * exact / 60.0 * seconds)).mean())
    near = np.abs(np.log2(_CANDIDATES / bpm)) < REFINED_OCTAVES
    share = 1.0 if keep else float(np.exp(posterior[near]).sum())
    return _reading(track, float(length) * share, by_encoder=False)


def _refined(vectors: np.ndarray, rate: float, bpm: float) -> float:
    """The tempo near ``bpm`` at which a steady grid explains most, fine enough for the length."""
    seconds = np.arange(vectors.size) / rate
    # Turned back at the given tempo the vectors stand nearly still, so that sums over a quarter
    # of a second stand for them; each other tempo turns those sums a little on.
    turned = vectors * np.exp(-2j * np.pi * bpm / 60.0 * seconds)
    starts = np.arange(0, turned.size, max(1, round(_BLOCK_S * rate)))
    sums = np.add.reduceat(turned, starts) / rate
    step = 60.0 / max(vectors.size / rate, 1.0) / 16.0  # a sixteenth of a beat from end to end
    count = int(bpm * (2.0**REFINED_OCTAVES - 1.0) / step)
    tempi = bpm + step * np.arange(-count, count + 1)
    tempi = tempi[(tempi >= MIN_BPM) & (tempi <= MAX_BPM)]
    turns = np.exp(-2j * np.pi / 60.0 * np.outer(tempi - bpm, seconds[starts]))
    near = -0.5 * (np.log2(tempi / bpm) / (REFINED_OCTAVES / 1.5)) ** 2
    return float(tempi[np.argmax(np.abs(turns @ sums) + near)])


def _likely_tempi(posterior: Float[np.ndarray, " tempi"]) -> list[float]:
    """Peaks of a posterior over ``_CANDIDATES``, the likeliest first, none near another."""
    tempi: list[float] = []
    for index in np.argsort(-posterior):
        bpm = float(_CANDIDATES[index])
        low, high = max(0, index - 1), min(posterior.size, index + 2)
        if posterior[index] < posterior[low:high].max():
            continue
        if all(abs(np.log2(bpm / other)) > ANOTHER_TEMPO_OCTAVES for other in tempi):
            tempi.append(bpm)
        if len(tempi) == MOST_READINGS:
            break
    return tempi


def _others(first: MovementReading, readings: Sequence[MovementReading]) -> list[MovementReading]:
    """Those that differ from the first in tempo, none more certain than it."""
    most = first.track.certainty
    return [
        replace(other, track=replace(other.track, certainty=min(other.track.certainty, most)))
        for other in readings
        if abs(np.log2(other.track.bpm / first.track.bpm)) > ANOTHER_TEMPO_OCTAVES
    ]


def _onto_hits(track: RhythmTrack, evidence: _Evidence) -> RhythmTrack:
    """The track, or the same half a beat later where clearly stronger hits are seen there."""
    later = _half_a_beat_on(track, evidence)
    stronger = _hit_strength(later, evidence) > HIT_MARGIN * _hit_strength(track, evidence)
    return later if stronger else track


def _half_a_beat_on(track: RhythmTrack, evidence: _Evidence) -> RhythmTrack:
    """The same beats half a beat later, from the start of the dance."""
    times = track.beat_times
    if times.size < 2:
        return track
    half = np.diff(times, append=2 * times[-1] - times[-2]) / 2
    moved = np.concatenate([[times[0] - half[0]], times + half])
    numbers = np.concatenate(
        [[(track.beat_numbers[0] - 2) % track.beats_per_bar + 1], track.beat_numbers]
    )
    confidence = np.concatenate([track.confidence[:1], track.confidence])
    inside = (moved >= 0.0) & (moved < evidence.duration_s)
    return replace(
        track,
        beat_times=moved[inside],
        beat_numbers=numbers[inside],
        confidence=confidence[inside],
    )


def _hit_strength(track: RhythmTrack, evidence: _Evidence) -> float:
    """Mean strength of the strongest hit at each beat, 1 by chance alone or little more."""
    if track.beat_times.size == 0 or evidence.hits.size == 0:
        return 0.0
    reach = round(HIT_REACH_S * evidence.fps)
    frames = np.rint(track.beat_times * evidence.fps).astype(int)
    near = np.clip(frames[:, None] + np.arange(-reach, reach + 1), 0, evidence.hits.size - 1)
    return float(evidence.hits[near].max(axis=1).mean())


def _reading(track: RhythmTrack, agreement: float, *, by_encoder: bool) -> MovementReading:
    """The track with the probability that its beats are right."""
    at_zero, each = CERTAINTY_NETWORK if by_encoder else CERTAINTY_POOLED
    certainty = 1.0 / (1.0 + np.exp(-at_zero - each * agreement))
    named = replace(track, source="movement", certainty=float(certainty))
    return MovementReading(named, by_encoder, agreement)
