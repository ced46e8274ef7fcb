"""Which beats the music plays on: those of the video's sound, of the movement, or given ones."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from dancetomusic.errors import InputError, PoseError, VideoError
from dancetomusic.generate.doubts import is_still
from dancetomusic.io.audio import fit_length, read_audio
from dancetomusic.io.video import has_sound_track
from dancetomusic.models.beat_network.audio_beats import sound_rhythms
from dancetomusic.models.pose_encoder.movement_rhythm import movement_rhythms
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoding
from dancetomusic.rhythm.edit import change_tempo, shift_beats
from dancetomusic.rhythm.files import load_beats
from dancetomusic.rhythm.grids import load_ableton, load_rekordbox
from dancetomusic.score.midi import load_midi_beats
from dancetomusic.types import FAIR, PoseSequence, RhythmTrack, Waveform

logger = logging.getLogger(__name__)

BEAT_SOURCES = ("auto", "sound", "movement")
CLEAR_PULSE = 0.2
"""Certainty of the sound's beats from which ``auto`` prefers them to the movement's: speech, noise
and rooms stay below 0.1, and beats of movement are right less often than that."""

DOUBTED = FAIR / 2
"""The most that beats of a movement are certain when there are reasons to doubt it."""

AFTER_S = 10.0
"""How much of a sound that continues after the dance is analysed: it helps with a short dance."""

STEADY_BEATS = (32, 16, 8, 4)
STEADY_S = 0.03
"""Beats at an end that its tempo is fitted to: the most that a steady tempo fits to this error."""

BEAT_READERS: dict[str, Callable[[Path | str, float], RhythmTrack]] = {
    **dict.fromkeys((".mid", ".midi"), load_midi_beats),
    **dict.fromkeys((".als", ".alc"), load_ableton),
    ".xml": load_rekordbox,
}

_NO_SOUND_REMEDY = "Use --beats_from movement, or --beats FILE."


@dataclass(frozen=True)
class BeatChoice:
    """What a person decides about the beats.

    Attributes:
        beats_from: ``"sound"``, ``"movement"``, or ``"auto"``: the sound where it has a clear
            pulse, else the movement.
        beats: File of beats for ``read_beats``, or beats themselves, in place of estimated ones.
        bpm: Tempo to keep in beats a minute; only the phase is then estimated.
        tempo: ``"half"`` or ``"double"`` as fast as estimated.
        offset_ms: How much later (positive) or earlier the beats are, in milliseconds.
    """

    beats_from: str = "auto"
    beats: Path | str | RhythmTrack | None = None
    bpm: float | None = None
    tempo: str | None = None
    offset_ms: float = 0.0


def read_beats(path: Path | str, duration_s: float) -> RhythmTrack:
    """Beats from a file of another program, by its suffix, spread over ``duration_s`` seconds.

    MIDI (``.mid``), rekordbox (``.xml``) and Ableton Live (``.als``, ``.alc``); all else is text
    with a line for each beat.

    Raises:
        InputError: If the file cannot be read, or its beats are unusable.
    """
    return BEAT_READERS.get(Path(path).suffix.lower(), load_beats)(path, duration_s)


def read_sound(path: Path | str, beats_from: str = "auto") -> Waveform | None:
    """The sound to find beats in, on the clock of the video's picture.

    Returns:
        ``None`` where there is no sound track, and, unless the beats are to be from the sound,
        where it cannot be decoded (with one warning).

    Raises:
        VideoError: If the beats are to be from the sound and there is none.
    """
    if beats_from == "movement":
        return None
    sound = read_audio(path)
    if sound is not None:
        return sound
    if has_sound_track(path):
        problem = f"the sound of {path} cannot be decoded"
        if beats_from == "sound":
            raise VideoError(problem, _NO_SOUND_REMEDY)
        logger.warning("%s: the beats are estimated from the movement", problem)
    elif beats_from == "sound":
        raise VideoError(f"{path} has no sound", _NO_SOUND_REMEDY)
    return None


def sound_of(choice: BeatChoice, source: Path | str | None) -> Waveform | None:
    """The sound that a choice of beats needs, if any.

    Given beats need none; ``source`` is ``None`` for poses alone.

    Raises:
        VideoError: If it cannot be read.
        InputError: If the beats are to be from the sound of poses alone.
    """
    if choice.beats is not None:
        return None
    if source is None:
        if choice.beats_from == "sound":
            raise InputError("poses have no sound to take the beats from", "Give --sound FILE.")
        return None
    return read_sound(source, choice.beats_from)


@torch.inference_mode()
def estimate_rhythms(
    encoder: PoseEncoder,
    dancers: Sequence[PoseSequence],
    sound: Waveform | None = None,
    *,
    beats_from: str = "auto",
    bpm: float | None = None,
    doubts: Sequence[str] = (),
    leaders: Sequence[int] | None = None,
) -> tuple[PoseEncoding, tuple[RhythmTrack, ...]]:
    """Encode the dancers, and estimate the beats they dance to.

    Args:
        encoder: In evaluation mode.
        dancers: At 24 poses a second, of one length; energy comes from all of them.
        sound: What was playing, on the dancers' clock.
        beats_from: One of ``BEAT_SOURCES``.
        bpm: Tempo to keep; only the phase is then estimated.
        doubts: Reasons to doubt the movement (``generate.doubts``); with any, its beats are a
            guess.
        leaders: Indices of the dancers whose beats are read; all by default.

    Returns:
        The encoding of the movement, and the likeliest readings, the best first. Energy is
        that of the movement in all of them. The beats of a sound that
        ends before the dance continue at its tempo, with a certainty reduced in proportion.

    Raises:
        InputError: If the source is unknown, the beats are to be from a sound that has none,
            or ``bpm`` is outside 40-240.
    """
    if beats_from not in BEAT_SOURCES:
        raise InputError(
            f"beats are to come from {beats_from!r}", f"Give {', '.join(BEAT_SOURCES)}, or a file."
        )
    encoding, from_movement = movement_rhythms(encoder, dancers, bpm=bpm, leaders=leaders)
    if doubts:
        from_movement = tuple(
            replace(track, certainty=min(track.certainty, DOUBTED)) for track in from_movement
        )
    from_sound: list[RhythmTrack] = []
    is_clear = False
    if sound is not None and beats_from != "movement":
        duration_s = from_movement[0].duration_s
        longest = round((duration_s + AFTER_S) * sound.sample_rate)
        sound = fit_length(sound, min(longest, sound.samples.shape[1]))
        covered = min(1.0, sound.duration_s / duration_s)
        found = [track for track in sound_rhythms(sound, bpm=bpm) if track.beat_times.size > 1]
        from_sound = [_on_dance(track, from_movement[0], covered) for track in found]
        # Where the sound ends early its beats have to be likelier than the movement's.
        is_clear = bool(found) and found[0].certainty >= CLEAR_PULSE
    if beats_from == "sound":
        if not from_sound:
            raise InputError("no beat was found in the sound", _NO_SOUND_REMEDY)
        return encoding, tuple(from_sound)
    if is_clear and from_sound[0].certainty >= min(CLEAR_PULSE, from_movement[0].certainty):
        return encoding, (*from_sound[:2], *from_movement[:1])
    return encoding, (*from_movement[:2], *from_sound[:1])


def choose_rhythm(
    encoder: PoseEncoder,
    dancers: Sequence[PoseSequence],
    choice: BeatChoice,
    *,
    sound: Waveform | None = None,
    doubts: Sequence[str] = (),
    leaders: Sequence[int] | None = None,
) -> tuple[PoseEncoding, RhythmTrack, tuple[RhythmTrack, ...]]:
    """The encoding of the movement, the rhythm to play on, and all readings of it.

    Raises:
        PoseError: If the beats are to be those of the movement, and nobody moves.
        InputError: As :func:`estimate_rhythms`, or if given beats or corrections are unusable.
    """
    encoding, readings = estimate_rhythms(
        encoder,
        dancers,
        sound,
        beats_from="movement" if choice.beats is not None else choice.beats_from,
        bpm=choice.bpm,
        doubts=doubts,
        leaders=leaders,
    )
    rhythm = readings[0]
    is_free = choice.beats is None and choice.bpm is None
    if is_free and rhythm.source == "movement" and is_still(dancers):
        raise PoseError("nobody moves, so there is no tempo", "Give one by --bpm, or --beats FILE.")
    if choice.beats is not None:
        given = choice.beats
        if not isinstance(given, RhythmTrack):
            given = read_beats(given, rhythm.duration_s)
        if given.beat_times.size < 2:
            raise InputError(f"{given.beat_times.size} beats given", "Give at least two.")
        rhythm = replace(
            given,
            energy=rhythm.energy,
            energy_rate=rhythm.energy_rate,
            duration_s=rhythm.duration_s,
        )
    if choice.tempo is not None:
        rhythm = change_tempo(rhythm, choice.tempo)
    if choice.offset_ms:
        rhythm = shift_beats(rhythm, choice.offset_ms)
    if rhythm is not readings[0]:
        rhythm = _over(rhythm, rhythm.duration_s)
    return encoding, rhythm, readings


def _on_dance(sound: RhythmTrack, from_movement: RhythmTrack, covered: float) -> RhythmTrack:
    """The sound's beats over the whole dance, with the energy of the movement."""
    track = _over(sound, from_movement.duration_s)
    return replace(
        track,
        energy=from_movement.energy,
        energy_rate=from_movement.energy_rate,
        certainty=covered * sound.certainty,
    )


def _over(track: RhythmTrack, duration_s: float) -> RhythmTrack:
    """The track with beats from 0 s to ``duration_s`` and none outside.

    At each end the steady tempo of the beats there continues, and the count of the bar.
    """
    times, numbers, bar = track.beat_times, track.beat_numbers, track.beats_per_bar
    if times.size < 2:
        return replace(track, duration_s=duration_s)
    first, last = _interval_before(-times[::-1]), _interval_before(times)
    before = np.maximum(np.arange(times[0] - first, -1e-9, -first)[::-1], 0.0)
    after = np.arange(times[-1] + last, duration_s, last)
    all_times = np.concatenate([before, times, after])
    all_numbers = np.concatenate(
        [
            (numbers[0] - 1 - np.arange(before.size, 0, -1)) % bar + 1,
            numbers,
            (numbers[-1] + np.arange(after.size)) % bar + 1,
        ]
    )
    inside = (all_times >= 0) & (all_times < duration_s)
    all_times = all_times[inside]
    return replace(
        track,
        beat_times=all_times,
        beat_numbers=all_numbers[inside],
        confidence=np.interp(all_times, times, track.confidence),
        duration_s=duration_s,
    )


def _interval_before(times: Float[np.ndarray, " beats"]) -> float:
    """Length of the beats at the end of a list, in seconds.

    A line through many beats is far more precise than one interval: single beats are some
    milliseconds off, which add up with every beat that is added.
    """
    for count in STEADY_BEATS:
        near = times[-count:]
        index = np.arange(near.size)
        slope, start = np.polyfit(index, near, 1)
        if np.abs(near - start - slope * index).max() <= STEADY_S:
            return float(slope)
    return float(np.median(np.diff(times[-STEADY_BEATS[-1] :])))
