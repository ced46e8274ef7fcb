"""The sound of a score: its notes played from a SoundFont, one stereo stem per track.

References:
    "SoundFont Technical Specification", version 2.04, E-mu Systems, 2006, sections 8-9. As other
    players do, attenuation counts 0.4 of what a file states, and the strength of a note acts as
    the square of its velocity. A file's modulators and low-frequency oscillators are not played.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr
from jaxtyping import Float32
from scipy.signal import lfilter

from dancetomusic.released import released_folder
from dancetomusic.score.notes import Score, Track
from dancetomusic.score.soundfont import Gen, Region, SoundFont
from dancetomusic.types import Waveform

SAMPLE_RATE = 44100
SILENCE_DB = -90.0
"""Below this a voice has ended."""

_CHOKE_S = 0.008  # fade of a voice that another of its group cuts off
_END_FADE_S = 0.002  # fade of a sample that ends before its note does
_SEAM_SAMPLES = 256
_OPEN_CUTOFF = 13_400  # cents; a filter that is open wider does nothing
_FILTER_BLOCK = 512
_ATTENUATION_SHARE = 0.4
_LONGEST_S = 60.0  # of a single voice
_MOST_SAMPLES = 20_000_000  # that one voice takes from its sample, with repetitions


def shipped_soundfont() -> SoundFont:
    """The SoundFont that comes with the package; see ``checkpoints/sounds/README.md``.

    Raises:
        CheckpointError: If the package came without it.
    """
    return SoundFont(released_folder("sounds") / "dancetomusic.sf3")


def render_stems(
    score: Score,
    soundfont: SoundFont | Path | str | None = None,
    programs: Mapping[str, int] | None = None,
) -> Iterator[tuple[str, Waveform]]:
    """Play each track of a score by itself, one after another.

    Each note starts at its beat's time, to the sample. Drum strokes ring as long as their sample
    does, whatever their length, unless the kit lets another stroke cut them off (hi-hats).

    The SoundFont is by default the one that comes along; ``programs`` play in place of the own ones
    of the tracks that it names.

    Yields:
        Name and sound of a track, two channels at ``SAMPLE_RATE``, as long as the score.

    Raises:
        InputError: If the SoundFont is unusable or lacks a preset that the score needs, or
            ``programs`` names a track that is not there.
    """
    font = shipped_soundfont() if soundfont is None else soundfont
    font = font if isinstance(font, SoundFont) else SoundFont(font)
    chosen = dict(programs or {})
    for name in chosen:
        score.track(name)
    voices = _Voices(font)
    for track in score.tracks:
        program = chosen.get(track.name, track.program)
        yield track.name, _render(score, track, program, font, voices)


@dataclass(frozen=True)
class _Stroke:
    """One region of one note."""

    start: int  # frames
    held: int
    key: int
    gain: float
    region: Region


def _render(score: Score, track: Track, program: int, font: SoundFont, voices: _Voices) -> Waveform:
    frames = round(score.duration_s * SAMPLE_RATE)
    mix = np.zeros((2, frames), np.float32)
    strokes = list(_strokes(score, track, program, font))
    cuts = _choke_starts(strokes)
    for stroke in strokes:
        voice = voices.play(stroke.region, stroke.key, stroke.held, one_shot=track.is_drum)
        length = min(voice.size, frames - stroke.start)
        group = stroke.region[Gen.CHOKE_GROUP]
        if group:
            later = cuts[group][np.searchsorted(cuts[group], stroke.start, side="right") :]
            if later.size and later[0] - stroke.start < length:
                length = min(length, int(later[0]) - stroke.start + _frames(_CHOKE_S))
                voice = _faded(voice[:length], _frames(_CHOKE_S))
        end = stroke.start + length
        for channel, gain in enumerate(_pan(stroke.region[Gen.PAN])):
            if gain > 1e-4:
                mix[channel, stroke.start : end] += (gain * stroke.gain) * voice[:length]
    return Waveform(mix, SAMPLE_RATE)


def _strokes(score: Score, track: Track, program: int, font: SoundFont) -> Iterator[_Stroke]:
    notes = score.audible(track)
    if not len(notes):
        return
    preset = font.preset(program, drums=track.is_drum)
    starts = np.round(score.clock.seconds(notes.start) * SAMPLE_RATE).astype(int)
    ends = np.round(score.clock.seconds(notes.end) * SAMPLE_RATE).astype(int)
    regions: dict[tuple[int, int], list[Region]] = {}
    for start, end, key, velocity in zip(
        starts.tolist(), ends.tolist(), notes.pitch.tolist(), notes.velocity.tolist(), strict=True
    ):
        if (key, velocity) not in regions:
            regions[key, velocity] = [r for r in preset.regions if r.plays(key, velocity)]
        for region in regions[key, velocity]:
            played = region[Gen.VELOCITY] if 1 <= region[Gen.VELOCITY] <= 127 else velocity
            loss_db = _ATTENUATION_SHARE * np.clip(region[Gen.ATTENUATION], 0, 1440) / 10.0
            gain = (played / 127.0) ** 2 * 10.0 ** (-loss_db / 20.0)
            fixed = region[Gen.KEY]
            yield _Stroke(
                start=min(max(start, 0), round(score.duration_s * SAMPLE_RATE) - 1),
                held=max(end - start, 1),
                key=fixed if 0 <= fixed <= 127 else key,
                gain=float(gain),
                region=region,
            )


def _choke_starts(strokes: list[_Stroke]) -> dict[int, np.ndarray]:
    """For each group of sounds that cut each other off, when one of it starts."""
    starts: dict[int, set[int]] = {}
    for stroke in strokes:
        starts.setdefault(stroke.region[Gen.CHOKE_GROUP], set()).add(stroke.start)
    return {group: np.array(sorted(found)) for group, found in starts.items()}


@lru_cache
def _pan(pan: int) -> tuple[float, float]:
    """Gains of left and right, of equal power; -500 is left, 500 right."""
    angle = np.pi / 4 * (1.0 + np.clip(pan, -500, 500) / 500.0)
    return float(np.cos(angle)), float(np.sin(angle))


class _Voices:
    """Plays single keys of regions; what a sample gives at a pitch is kept."""

    def __init__(self, font: SoundFont) -> None:
        self._font = font
        self._pitched: dict[tuple[int, ...], Float32[np.ndarray, " frames"]] = {}
        self._complete: set[tuple[int, ...]] = set()
        self._shots: dict[tuple[int, int], Float32[np.ndarray, " frames"]] = {}

    def play(
        self, region: Region, key: int, held: int, *, one_shot: bool
    ) -> Float32[np.ndarray, " frames"]:
        """The region's sound at full strength.

        Args:
            region: What to play.
            key: MIDI pitch.
            held: Frames until the key is let go.
            one_shot: A sample without a loop sounds to its end, however short it is held.
        """
        looped = region[Gen.LOOP_MODE] in (1, 3)
        if one_shot and not looped:
            place = (id(region), key)
            if place not in self._shots:
                self._shots[place] = self._shape(region, key, _frames(_LONGEST_S))
            return self._shots[place]
        return self._shape(region, key, held)

    def _shape(self, region: Region, key: int, held: int) -> Float32[np.ndarray, " frames"]:
        """The sound at a pitch, under its volume envelope."""
        envelope = _Envelope(region, key)
        held = min(held, _frames(_LONGEST_S))
        frames = held + envelope.release_frames(held)
        if envelope.end is not None:
            frames = min(frames, envelope.end)
        sound = self._sound(region, key, frames)
        short = sound.size < frames
        sound = sound[:frames]
        voice = sound * envelope.curve(sound.size, held)
        return _faded(voice, _frames(_END_FADE_S)) if short else voice

    def _sound(self, region: Region, key: int, frames: int) -> Float32[np.ndarray, " frames"]:
        """At least ``frames`` of a region's sample at a pitch, filtered; fewer if it ends."""
        place = (
            region.sample,
            _cents(region, key),
            *(region[generator] for generator in _SOUND_GENERATORS),
        )
        known = self._pitched.get(place)
        if known is None or (known.size < frames and place not in self._complete):
            sound, ends = self._pitch(region, key, frames * 5 // 4)
            known = _filtered(sound, region)
            self._pitched[place] = known
            if ends:
                self._complete.add(place)
        return known

    def _pitch(
        self, region: Region, key: int, frames: int
    ) -> tuple[Float32[np.ndarray, " frames"], bool]:
        """A sample at a pitch, and whether that is all of it."""
        sample = self._font.sample(region.sample)
        root = region[Gen.ROOT_KEY] if 0 <= region[Gen.ROOT_KEY] <= 127 else sample.root
        cents = _cents(region, key) - root * region[Gen.SCALE_TUNING] + sample.correction
        ratio = 2.0 ** (np.clip(cents, -12_000, 12_000) / 1200.0)
        step = ratio * sample.sample_rate / SAMPLE_RATE  # source samples a frame
        needed = min(int(frames * step) + 64, _MOST_SAMPLES)
        source, ends = _unrolled(sample.samples, sample.loop, region, needed)
        ends = ends or needed == _MOST_SAMPLES
        if abs(step - 1.0) > 1e-5 and source.size:
            source = soxr.resample(source, step, 1.0, quality="HQ").astype(np.float32)
        return source, ends


_SOUND_GENERATORS = (
    Gen.START,
    Gen.START_COARSE,
    Gen.END,
    Gen.END_COARSE,
    Gen.LOOP_START,
    Gen.LOOP_START_COARSE,
    Gen.LOOP_END,
    Gen.LOOP_END_COARSE,
    Gen.LOOP_MODE,
    Gen.ROOT_KEY,
    Gen.SCALE_TUNING,
    Gen.FILTER_CUTOFF,
    Gen.FILTER_Q,
    Gen.FILTER_ENVELOPE,
    Gen.FILTER_DELAY,
    Gen.FILTER_ATTACK,
    Gen.FILTER_HOLD,
    Gen.FILTER_DECAY,
    Gen.FILTER_SUSTAIN,
)
"""What the sound at a pitch depends on, besides the sample and the pitch."""


def _cents(region: Region, key: int) -> int:
    return key * region[Gen.SCALE_TUNING] + 100 * region[Gen.COARSE_TUNE] + region[Gen.FINE_TUNE]


def _unrolled(
    samples: np.ndarray, loop: tuple[int, int], region: Region, needed: int
) -> tuple[np.ndarray, bool]:
    """The first ``needed`` samples as they are played, with the loop repeated.

    Returns:
        The samples, and whether there are no more.
    """
    start = max(0, region[Gen.START] + 32768 * region[Gen.START_COARSE])
    end = samples.size + min(0, region[Gen.END] + 32768 * region[Gen.END_COARSE])
    loop_start = loop[0] + region[Gen.LOOP_START] + 32768 * region[Gen.LOOP_START_COARSE]
    loop_end = loop[1] + region[Gen.LOOP_END] + 32768 * region[Gen.LOOP_END_COARSE]
    if region[Gen.LOOP_MODE] not in (1, 3) or not start <= loop_start < loop_end <= samples.size:
        return samples[start : min(end, start + needed)], start + needed >= end
    places = np.arange(start, start + needed)
    beyond = places >= loop_end
    places[beyond] = loop_start + (places[beyond] - loop_end) % (loop_end - loop_start)
    # Compression makes the ends of a loop differ a little: blend one into the other.
    blend = min(_SEAM_SAMPLES, loop_start - start, (loop_end - loop_start) // 2)
    seamless = samples[:loop_end].copy()
    weight = np.linspace(0.0, 1.0, blend, dtype=np.float32)
    before = samples[loop_start - blend : loop_start]
    seamless[loop_end - blend :] += weight * (before - seamless[loop_end - blend :])
    return seamless[places], False


class _Envelope:
    """The volume of a voice over time: delay, attack, hold, decay, sustain, release."""

    def __init__(self, region: Region, key: int) -> None:
        above = 60 - key
        self._delay = _time_frames(region[Gen.DELAY])
        self._attack = self._delay + _time_frames(region[Gen.ATTACK])
        hold = region[Gen.HOLD] + above * region[Gen.KEY_TO_HOLD]
        decay = region[Gen.DECAY] + above * region[Gen.KEY_TO_DECAY]
        self._hold = self._attack + _time_frames(hold)
        # dB a frame: a decay or release of its full time would lose 100 dB.
        self._decay_slope = -100.0 / max(_time_frames(decay), 1)
        self._release_slope = -100.0 / max(_time_frames(region[Gen.RELEASE]), 1)
        self._sustain_db = -float(np.clip(region[Gen.SUSTAIN], 0, 1000)) / 10.0
        decays = self._sustain_db <= SILENCE_DB
        self.end = self._hold + int(SILENCE_DB / self._decay_slope) if decays else None

    def _level_db(self, frame: int) -> float:
        """Level while the key is held."""
        if frame < self._attack:
            rise = (frame - self._delay) / max(self._attack - self._delay, 1)
            return float(20.0 * np.log10(max(rise, 1e-5)))
        if frame < self._hold:
            return 0.0
        return max(self._sustain_db, (frame - self._hold) * self._decay_slope)

    def release_frames(self, held: int) -> int:
        """Frames for which the voice continues after its key is let go."""
        left_db = max(0.0, self._level_db(held) - SILENCE_DB)
        return min(int(left_db / -self._release_slope), _frames(_LONGEST_S))

    def curve(self, frames: int, held: int) -> Float32[np.ndarray, " frames"]:
        """Gain at each of the first frames, for a key let go after ``held``."""
        gain = np.ones(frames, np.float32)
        gain[: self._delay] = 0.0
        rising = gain[self._delay : self._attack]
        rising *= np.arange(rising.size, dtype=np.float32) / max(self._attack - self._delay, 1)
        falls = self._hold + int(self._sustain_db / self._decay_slope)
        falling = gain[self._hold : min(falls, held)]
        falling *= _slope(falling.size, 0.0, self._decay_slope)
        gain[falls:held] = 10.0 ** (self._sustain_db / 20.0)
        if held < frames:
            gain[held:] = _slope(frames - held, self._level_db(held), self._release_slope)
        return gain


def _slope(frames: int, from_db: float, db_per_frame: float) -> Float32[np.ndarray, " frames"]:
    """Gain that falls evenly in decibels."""
    nepers = np.log(10.0) / 20.0
    levels = np.arange(frames, dtype=np.float32) * np.float32(db_per_frame * nepers)
    return np.exp(levels + np.float32(from_db * nepers))


def _filtered(sound: Float32[np.ndarray, " frames"], region: Region) -> np.ndarray:
    """The sound through the region's low-pass filter, whose envelope is not released."""
    cutoff, sweep = region[Gen.FILTER_CUTOFF], region[Gen.FILTER_ENVELOPE]
    resonance_db = np.clip(region[Gen.FILTER_Q], 0, 960) / 10.0
    if not sound.size or (cutoff + min(sweep, 0) >= _OPEN_CUTOFF and resonance_db == 0):
        return sound
    n_blocks = -(-sound.size // _FILTER_BLOCK)
    cents = cutoff + sweep * _filter_envelope(region, n_blocks) if sweep else np.full(1, cutoff)
    # Blocks whose cutoff stays the same to 20 cents are filtered in one go.
    steps = np.round(cents / 20.0)
    firsts = np.flatnonzero(np.diff(steps, prepend=np.nan))
    ends = np.append(firsts[1:] * _FILTER_BLOCK, sound.size)
    state = np.zeros(2)
    parts = []
    for first, end in zip(firsts, ends, strict=True):
        b, a = _low_pass(20.0 * steps[first], float(resonance_db))
        part, state = lfilter(b, a, sound[first * _FILTER_BLOCK : end], zi=state)
        parts.append(part)
    return np.concatenate(parts).astype(np.float32)


def _filter_envelope(region: Region, n_blocks: int) -> np.ndarray:
    """The modulation envelope in [0, 1] at the start of each block, for a key that is held."""
    times = np.cumsum(
        [
            _time_frames(region[generator])
            for generator in (
                Gen.FILTER_DELAY,
                Gen.FILTER_ATTACK,
                Gen.FILTER_HOLD,
                Gen.FILTER_DECAY,
            )
        ]
    )
    sustain = 1.0 - np.clip(region[Gen.FILTER_SUSTAIN], 0, 1000) / 1000.0
    at = np.arange(n_blocks) * _FILTER_BLOCK
    # A decay of its full time would go from 1 to 0, so it reaches its sustain earlier.
    times[3] = times[2] + (times[3] - times[2]) * (1.0 - sustain)
    return np.interp(at, times, [0.0, 1.0, 1.0, sustain])


def _low_pass(cents: float, resonance_db: float) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of a resonant second-order low-pass (Bristow-Johnson's cookbook)."""
    hertz = np.clip(8.176 * 2.0 ** (cents / 1200.0), 20.0, 0.45 * SAMPLE_RATE)
    omega = 2 * np.pi * hertz / SAMPLE_RATE
    alpha = np.sin(omega) / (2 * 10.0 ** ((resonance_db - 3.01) / 20.0))
    cosine = np.cos(omega)
    b = np.array([(1 - cosine) / 2, 1 - cosine, (1 - cosine) / 2])
    a = np.array([1 + alpha, -2 * cosine, 1 - alpha])
    return b / a[0], a / a[0]


def _faded(voice: np.ndarray, frames: int) -> np.ndarray:
    """A copy whose last frames fade out."""
    faded = voice.copy()
    frames = min(frames, faded.size)
    if frames:
        faded[-frames:] *= np.linspace(1.0, 0.0, frames, dtype=np.float32)
    return faded


@lru_cache
def _time_frames(timecents: int) -> int:
    """Frames of a time in timecents; below 2 ms counts as none."""
    seconds = 2.0 ** (np.clip(timecents, -12_000, 8_000) / 1200.0)
    return 0 if seconds < 0.002 else _frames(float(min(seconds, _LONGEST_S)))


def _frames(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)
