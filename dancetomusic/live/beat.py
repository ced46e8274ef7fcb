"""The beat heard in the dance so far, and the grid that is played on it ahead of time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

from dancetomusic.models.pose_encoder.causal_tracker import CausalBeatTracker
from dancetomusic.models.pose_encoder.network import PoseEncoder
from dancetomusic.rhythm.beats import BAR_LENGTHS, DEFAULT_BPM
from dancetomusic.rhythm.features import BUMP_WIDTH_S, REFERENCE_BPM, RHYTHM_FEATURES

BAR_MEMORY_BEATS = 32.0
BAR_MARGIN = 2.0
"""Nats by which another place of the downbeat has to be likelier to be taken up."""

DOWNBEAT_REACH_S = 0.04


@dataclass(frozen=True)
class BeatView:
    """Where the dance is in the music.

    Attributes:
        time_s: When.
        position: Beats since the beginning, fractions included.
        bpm: Beats a minute.
        confidence: In [0, 1].
        beats_per_bar: 3 or 4.
        first_downbeat: Number of the first beat that begins a bar.
    """

    time_s: float = 0.0
    position: float = 0.0
    bpm: float = DEFAULT_BPM
    confidence: float = 0.0
    beats_per_bar: int = BAR_LENGTHS[0]
    first_downbeat: int = 0

    def at(self, time_s: float) -> float:
        """Position at another time if the tempo goes on."""
        return self.position + (time_s - self.time_s) * self.bpm / 60.0


class BeatListener:
    """Follows the beat of a dance step by step, its tempo and its bars.

    Args:
        encoder: Whose tempo head reads how movement repeats.
        begin_s: Time of the first pose.
    """

    def __init__(self, encoder: PoseEncoder, begin_s: float) -> None:
        self._rate = encoder.config.frame_rate
        self._begin_s = begin_s
        self._tracker = CausalBeatTracker(encoder)
        self._frames = 0
        self._downbeats: deque[float] = deque(maxlen=round(self._rate))
        self._judged = 0
        self._bars = {bar: np.zeros(bar) for bar in BAR_LENGTHS}
        self._bar, self._offset = BAR_LENGTHS[0], 0

    def listen(
        self,
        phase: Float32[np.ndarray, "frames 2"],
        downbeat_logits: Float32[np.ndarray, " frames"],
        trust: float,
    ) -> None:
        """Take what the encoder says of the next step.

        Args:
            phase: Cosine and sine of the beat phase.
            downbeat_logits: Log-odds of a downbeat.
            trust: In [0, 1]; 0 where no dancer is seen.
        """
        weights = np.full(len(phase), trust, np.float32)
        self._tracker.push_phases(phase, weights)
        self._frames += len(phase)
        self._downbeats.extend((downbeat_logits * trust).tolist())
        self._judge_bars()

    def pause(self, seconds: float) -> None:
        """Let time go by in which nothing was seen."""
        frames = round(seconds * self._rate)
        self.listen(np.zeros((frames, 2), np.float32), np.zeros(frames, np.float32), 0.0)
        self._begin_s += seconds - frames / self._rate

    def watch(
        self, world: Float32[np.ndarray, "poses 33 3"], present: Bool[np.ndarray, " poses"]
    ) -> None:
        """Take the poses of a step, and now and then read the tempo from all of them."""
        self._tracker.push_poses(world, present)

    def view(self) -> BeatView:
        """Where the dance is at the end of what was heard."""
        return BeatView(
            time_s=self._begin_s + self._frames / self._rate,
            position=float(self._tracker.position),
            bpm=self._tracker.bpm,
            confidence=self._tracker.agreement,
            beats_per_bar=self._bar,
            first_downbeat=self._offset,
        )

    def _judge_bars(self) -> None:
        """Weigh, for every bar length and offset, whether its downbeats are danced as such."""
        reach = round(DOWNBEAT_REACH_S * self._rate)
        while self._judged < len(self._tracker.beat_times):
            frame = round(self._tracker.beat_times[self._judged] * self._rate)
            ago = self._frames - frame
            if ago <= reach:
                return
            self._judged += 1
            if ago + reach > len(self._downbeats):
                continue
            end = len(self._downbeats) - ago
            odds = max(list(self._downbeats)[max(0, end - reach) : end + reach + 1])
            for bar, scores in self._bars.items():
                signed = np.where(np.arange(bar) == self._judged % bar, odds, -odds)
                scores *= np.exp(-1.0 / BAR_MEMORY_BEATS)
                scores -= np.logaddexp(0.0, -signed)
            self._choose_bar()

    def _choose_bar(self) -> None:
        best = {bar: int(scores.argmax()) for bar, scores in self._bars.items()}
        bar = max(best, key=lambda length: float(self._bars[length][best[length]]))
        gain = self._bars[bar][best[bar]] - self._bars[self._bar][self._offset]
        if gain > BAR_MARGIN:
            self._bar, self._offset = bar, best[bar]


class PlayedGrid:
    """The grid that is played: drawn to where the dance will be when it is heard.

    Args:
        frame_rate: Code frames a second.
        reach: Rows of rhythm wanted before and after the frames that are written.
    """

    PULL = 0.3
    FASTEST = 0.06
    """Share of the distance closed with every block, and beats at most."""

    def __init__(self, frame_rate: float, reach: int) -> None:
        self._rate = frame_rate
        self._reach = reach
        self.position = 0.0
        self._past = np.zeros((reach, len(RHYTHM_FEATURES)), np.float32)

    def aim(self, position: float, *, at_once: bool = False) -> None:
        """Draw the next frame to a position; whole beats of difference change the bar alone.

        Args:
            position: Where the dance will be when the next frame is heard.
            at_once: Go there in one step, while nothing is heard.
        """
        self.position += round(position - self.position)
        error = position - self.position
        self.position += (
            error if at_once else float(np.clip(self.PULL * error, -self.FASTEST, self.FASTEST))
        )

    def foretell(
        self, n_frames: int, view: BeatView, energy: float
    ) -> Float32[np.ndarray, "frames features"]:
        """Rhythm of the next frames, with ``reach`` rows on either side, and go on by them."""
        ahead = np.arange(n_frames + self._reach) / self._rate * view.bpm / 60.0
        rows = grid_rows(self.position + ahead, view, energy)
        whole = np.concatenate([self._past, rows])
        self._past = whole[n_frames : n_frames + self._reach]
        self.position += n_frames / self._rate * view.bpm / 60.0
        return whole


def grid_rows(
    position: Float[np.ndarray, " frames"], view: BeatView, energy: float
) -> Float32[np.ndarray, "frames features"]:
    """The columns of ``rhythm.features.rhythm_features`` at places on a steady grid."""
    beat_s, bar = 60.0 / view.bpm, view.beats_per_bar
    bar_phase = ((position - view.first_downbeat) % bar) / bar
    turn, bar_turn = 2 * np.pi * position, 2 * np.pi * bar_phase
    beat_away = np.abs(position - np.rint(position)) * beat_s
    bar_away = np.minimum(bar_phase, 1 - bar_phase) * bar * beat_s
    columns = {
        "beat_cos": np.cos(turn),
        "beat_sin": np.sin(turn),
        "bar_cos": np.cos(bar_turn),
        "bar_sin": np.sin(bar_turn),
        "beat_bump": np.exp(-0.5 * (beat_away / BUMP_WIDTH_S) ** 2),
        "downbeat_bump": np.exp(-0.5 * (bar_away / BUMP_WIDTH_S) ** 2),
        "triple_metre": np.full(position.size, float(bar == 3)),
        "log2_tempo": np.full(position.size, np.log2(view.bpm / REFERENCE_BPM)),
        "energy": np.full(position.size, energy),
    }
    return np.stack([columns[name] for name in RHYTHM_FEATURES], axis=1).astype(np.float32)
