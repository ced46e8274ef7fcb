"""Who leads instead of the movement: a musician who taps, or the sound that is playing."""

from __future__ import annotations

from collections import deque
from threading import Lock

import numpy as np
from jaxtyping import Float, Float32

from dancetomusic.models.beat_network.audio_beats import sound_rhythms
from dancetomusic.models.live import BeatEstimate
from dancetomusic.rhythm.beats import BAR_LENGTHS, MAX_BPM, MIN_BPM
from dancetomusic.types import Waveform

TAPS, FEWEST_TAPS = 12, 3
"""Taps that a beat is fitted to: the newest, and the fewest."""

PAUSE_BEATS, PAUSE_S = 2.5, 2.0
"""After a longer pause a tap begins again, with the first beat of a bar."""

WINDOW_S, FIRST_WINDOW_S = 12.0, 4.0
"""Newest sound that beats are looked for in, and the least."""

LINE_BEATS = 8
"""Beats that the line of a sound's beat is fitted to."""

CLEAR_PULSE = 0.2
"""Certainty from which a sound leads; as in ``generate.beat_source``."""


class TapTempo:
    """The beat that a musician taps; it goes on at the last tempo until another is tapped."""

    def __init__(self) -> None:
        self._taps: deque[float] = deque(maxlen=TAPS)
        self._lost = 0  # taps of this series that are no longer kept
        self.beat: BeatEstimate | None = None
        """``None`` before ``FEWEST_TAPS`` taps in a row."""

    def tap(self, time_s: float) -> None:
        """Take a tap; the first one, and one after a pause, is the first beat of a bar.

        Args:
            time_s: When, on any steady clock in seconds.
        """
        if self._taps and time_s <= self._taps[-1]:
            return
        intervals = np.diff(self._taps)
        usual_s = float(np.median(intervals)) if intervals.size else PAUSE_S / PAUSE_BEATS
        if self._taps and time_s - self._taps[-1] > min(PAUSE_S, PAUSE_BEATS * usual_s):
            self._taps.clear()
            self._lost = 0
        self._lost += len(self._taps) == TAPS
        self._taps.append(time_s)
        if len(self._taps) < FEWEST_TAPS:
            return
        seconds, first_s = np.polyfit(np.arange(len(self._taps)), self._taps, 1)
        if not MIN_BPM <= 60.0 / seconds <= MAX_BPM:
            return
        last = len(self._taps) - 1
        self.beat = BeatEstimate(
            time_s=float(first_s + last * seconds),
            position=float(self._lost + last),
            bpm=float(60.0 / seconds),
            confidence=1.0,
            beats_per_bar=BAR_LENGTHS[0],
        )


class SoundBeat:
    """The beat of the sound that is playing, from its last ``WINDOW_S`` seconds.

    Sound is given in pieces as it is played; ``estimate`` is slow and belongs in a thread of its
    own.

    Args:
        sample_rate: Of the sound, in Hz.
        bpm: Tempo to keep; only the phase is then estimated.
    """

    def __init__(self, sample_rate: int, bpm: float | None = None) -> None:
        self._rate, self._bpm = sample_rate, bpm
        self._lock = Lock()
        self._pieces: deque[np.ndarray] = deque()
        self._kept = self._received = 0
        self._began_s: float | None = None  # when sample 0 was played
        self.beat: BeatEstimate | None = None
        """``None`` until a clear pulse was found; kept while there is none."""

    def push(self, samples: Float32[np.ndarray, " samples"], time_s: float) -> None:
        """Add what was played up to ``time_s``; pieces follow each other without gap.

        Pieces arrive late, never early, so the earliest beginning that one implies is taken.
        """
        if not samples.size:
            return
        with self._lock:
            self._received += samples.size
            began_s = time_s - self._received / self._rate
            self._began_s = began_s if self._began_s is None else min(began_s, self._began_s)
            self._pieces.append(samples)
            self._kept += samples.size
            while self._kept - self._pieces[0].size >= WINDOW_S * self._rate:
                self._kept -= self._pieces.popleft().size

    def estimate(self) -> BeatEstimate | None:
        """Find the beat of what is kept; gives ``beat``, new where the pulse is clear."""
        with self._lock:
            if self._began_s is None or self._kept < FIRST_WINDOW_S * self._rate:
                return self.beat
            samples = np.concatenate(self._pieces)
            window_s = self._began_s + (self._received - self._kept) / self._rate
        best = sound_rhythms(Waveform(samples[None], self._rate), bpm=self._bpm)[0]
        if best.certainty >= CLEAR_PULSE and best.beat_times.size > FEWEST_TAPS:
            line = _line(best.beat_times, best.beat_numbers)
            self.beat = BeatEstimate(
                time_s=window_s + line[0],
                position=line[2],
                bpm=60.0 / line[1],
                confidence=best.certainty,
                beats_per_bar=best.beats_per_bar,
            )
        return self.beat


def _line(times: Float[np.ndarray, " beats"], numbers: np.ndarray) -> tuple[float, float, float]:
    """Time of the last beat, length of a beat, and position of the last beat in its bar from 0.

    The times lie on a line fitted to the last beats.
    """
    near = times[-LINE_BEATS:]
    seconds, first_s = np.polyfit(np.arange(near.size), near, 1)
    return float(first_s + (near.size - 1) * seconds), float(seconds), float(numbers[-1] - 1)
