"""Stems mixed to one stereo sound: levels, panning, tone, a common room, room for the kick.

Every stage but the sum works on one track, so that the tracks as they come out, written side by
side, add up to the mix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from dancetomusic.errors import InputError
from dancetomusic.io.audio import fit_length, resample
from dancetomusic.io.loudness import (
    frame_hop,
    gated_loudness,
    integrated_loudness,
    power_to_lufs,
    weighted_power,
)
from dancetomusic.score.equaliser import Band, equalised
from dancetomusic.score.gain import eased, held, released, smoothed, with_gain_db
from dancetomusic.score.limiter import limited
from dancetomusic.score.room import Room
from dancetomusic.types import Waveform

_DUCK_HOLD_S, _DUCK_RELEASE_S, _DUCK_EASE_S = 0.03, 0.09, 0.006
_LEVEL_LUFS, _MOST_LEVELLED_DB = -20.0, 24.0
_MOST_RAISED_DB = 12.0
_PAUSE_LU = 12.0  # music this far below its loudness counts as none
_PLAYING_S, _PAUSE_RELEASE_S = 0.05, 0.3

EQUALISERS: Mapping[str, tuple[Band, ...]] = {
    "drums": (
        Band("low_cut", 28.0),
        Band("peak", 350.0, -2.0, 0.9),
        Band("high_shelf", 9_000.0, 1.5),
    ),
    "bass": (Band("low_cut", 32.0), Band("peak", 250.0, -1.5, 0.9), Band("high_cut", 7_000.0)),
    "chords": (Band("low_cut", 140.0), Band("peak", 700.0, 1.5, 0.7)),
    "lead": (Band("low_cut", 180.0), Band("peak", 2_500.0, 1.5, 0.8)),
}
"""Tone of each track: each leaves the range free in which another one is at home."""


@dataclass(frozen=True)
class Channel:
    """How one track stands in the mix.

    Attributes:
        gain_db: Level against the stem's own, in [-60, 24].
        pan: From -1 (left) to 1 (right), at constant power; 0 leaves the stem as it is.
        room: Level of the room's answer against the track, in [0, 1].
        width: Level of a stereo effect that is silent in mono, in [0, 1].
        duck_db: How far each stroke of the kick turns the track down, in [0, 12].
        equaliser: Filters, in order.

    Raises:
        InputError: If a value is out of its range.
    """

    gain_db: float = 0.0
    pan: float = 0.0
    room: float = 0.0
    width: float = 0.0
    duck_db: float = 0.0
    equaliser: tuple[Band, ...] = ()

    def __post_init__(self) -> None:
        if not (-60 <= self.gain_db <= 24 and -1 <= self.pan <= 1):
            raise InputError(
                f"a track has a gain of {self.gain_db:g} dB and pan {self.pan:g}",
                "Give -60 to 24 dB, and -1 to 1.",
            )
        if not (0 <= self.room <= 1 and 0 <= self.width <= 1 and 0 <= self.duck_db <= 12):
            raise InputError(
                f"a track has room {self.room:g} and width {self.width:g}, and is ducked by "
                f"{self.duck_db:g} dB",
                "Give 0 to 1, 0 to 1, and 0 to 12 dB.",
            )


def levelled(stem: Waveform) -> Waveform:
    """A stem at the loudness that all have, so that gains say how loud tracks are in the mix.

    Instruments differ by more than a mix bears. Pauses do not count, silence stays silence, and
    no stem is raised by more than 24 dB.
    """
    gain_db = min(_LEVEL_LUFS - integrated_loudness(stem), _MOST_LEVELLED_DB)
    return Waveform(stem.samples * np.float32(10 ** (gain_db / 20)), stem.sample_rate)


def mix_stems(
    stems: Mapping[str, Waveform],
    channels: Mapping[str, Channel],
    *,
    kick_times_s: Float64[np.ndarray, " kicks"] | None = None,
) -> dict[str, Waveform]:
    """Each stem as it stands in the mix; their sum is the mix, see ``sum_stems``.

    A track that ``channels`` does not name is left as it is; at ``kick_times_s`` those with
    ``duck_db`` are turned down.

    Returns:
        By track name in the order of ``stems``, two channels each, rate and length as they came.

    Raises:
        InputError: If a stem has more than two channels.
    """
    kicks = np.zeros(0) if kick_times_s is None else kick_times_s
    return {
        name: _placed(stem, channels.get(name, Channel()), Room(), kicks)
        for name, stem in stems.items()
    }


def sum_stems(stems: Mapping[str, Waveform]) -> Waveform:
    """The sum of sounds of one rate, number of channels and length, added in order.

    Raises:
        InputError: If there is none, or rates or shapes differ.
    """
    kinds = {(stem.sample_rate, stem.samples.shape) for stem in stems.values()}
    if len(kinds) != 1:
        raise InputError(
            f"stems have {len(kinds)} different rates, channels or lengths",
            "Give one or more, all alike.",
        )
    [(sample_rate, shape)] = kinds
    total = np.zeros(shape, np.float32)
    for stem in stems.values():
        total += stem.samples
    return Waveform(total, sample_rate)


def duck_under(
    music: Waveform, original: Waveform | None, gain: float, *, duck_db: float = 6.0
) -> Waveform:
    """Music with the video's own sound ducked under it, as loud together as the music was.

    Where the music pauses, the original comes up by ``duck_db``. It is raised by 12 dB at most;
    peaks of the sum are limited.

    Args:
        music: Gives rate, channels and length of the result.
        original: ``None``, silence and silent music are no reason to fail.
        gain: Of the original against the music, in [0, 1]: 1 where both are equally loud.
        duck_db: In [0, 24].

    Raises:
        InputError: If a value is out of its range.
    """
    if not (0 <= gain <= 1 and 0 <= duck_db <= 24):
        raise InputError(
            f"the original sound has a gain of {gain:g} and is ducked by {duck_db:g} dB",
            "Give 0 to 1, and 0 to 24 dB.",
        )
    if original is None or gain == 0:
        return music
    n_channels, n_samples = music.samples.shape
    if original.samples.shape[0] != n_channels:
        mono = original.to_mono()
        original = Waveform(np.repeat(mono.samples, n_channels, axis=0), mono.sample_rate)
    original = fit_length(resample(original, music.sample_rate), n_samples)
    theirs = integrated_loudness(original)
    if theirs == -math.inf:
        return music
    frame_rate = music.sample_rate / frame_hop(music.sample_rate)
    power = weighted_power(music)
    ours = gated_loudness(power, frame_rate)
    if ours == -math.inf:
        samples = music.samples + np.float32(gain) * original.samples
        return limited(Waveform(samples, music.sample_rate))
    # How far the music plays, from 0 in its pauses to 1.
    level_lufs = power_to_lufs(smoothed(power, _PLAYING_S, frame_rate))
    playing = np.clip((level_lufs - ours) / _PAUSE_LU + 1, 0, 1)
    playing = released(playing, _PAUSE_RELEASE_S, frame_rate)
    playing = eased(playing, max(1, round(_PLAYING_S * frame_rate)))
    level_db = min(ours - theirs + 20 * math.log10(gain), _MOST_RAISED_DB)
    ducked = with_gain_db(original, level_db + duck_db * (1 - playing))
    mixed = sounding = Waveform(music.samples + ducked.samples, music.sample_rate)
    gain_db = 0.0
    for _ in range(10):  # limiting takes of the loudness a little, which the next turn gives back
        missing_db = ours - integrated_loudness(sounding)
        if abs(missing_db) < 0.1:
            break
        gain_db += missing_db
        factor = np.float32(10 ** (gain_db / 20))
        sounding = limited(Waveform(mixed.samples * factor, mixed.sample_rate))
    return sounding


def _placed(
    stem: Waveform, channel: Channel, room: Room, kicks: Float64[np.ndarray, " kicks"]
) -> Waveform:
    """One track at its level and pan position, with what the room adds to it."""
    if not 1 <= stem.samples.shape[0] <= 2:
        raise InputError(f"a stem has {stem.samples.shape[0]} channels", "Give one or two.")
    angle = math.pi / 4 * (channel.pan + 1)
    sides = math.sqrt(2) * np.array([[math.cos(angle)], [math.sin(angle)]])
    factor = (10 ** (channel.gain_db / 20) * sides).astype(np.float32)
    placed = Waveform(equalised(stem, channel.equaliser).samples * factor, stem.sample_rate)
    if channel.duck_db and kicks.size:
        placed = with_gain_db(placed, -channel.duck_db * _kick_shape(placed, kicks))
    if channel.room or channel.width:
        wet = room.reverberated(placed, channel.room, channel.width)
        placed = Waveform(placed.samples + wet.samples, placed.sample_rate)
    return placed


def _kick_shape(
    waveform: Waveform, kicks: Float64[np.ndarray, " kicks"]
) -> Float64[np.ndarray, " frames"]:
    """In [0, 1], 1 from each stroke on for 30 ms, then falling."""
    hop = frame_hop(waveform.sample_rate)
    frame_rate = waveform.sample_rate / hop
    struck = np.zeros(-(-waveform.samples.shape[1] // hop))
    frames = np.floor(kicks * frame_rate)
    struck[frames[(frames >= 0) & (frames < struck.size)].astype(int)] = 1
    ahead = max(1, round(_DUCK_EASE_S * frame_rate))
    shape = released(
        held(struck, round(_DUCK_HOLD_S * frame_rate), ahead), _DUCK_RELEASE_S, frame_rate
    )
    return eased(shape, ahead)
