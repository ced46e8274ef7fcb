"""Frames of a camera in, sound out: the engine behind the command and the web page."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Condition, Thread
from types import TracebackType
from typing import cast

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from dancetomusic.checkpoint import checkpoint_family
from dancetomusic.errors import DanceToMusicError, InputError
from dancetomusic.live.sound_queue import SoundQueue
from dancetomusic.live.status import LiveStatus, Percentiles, StageTimes
from dancetomusic.live.watcher import Observation, Watcher
from dancetomusic.models.live import DEFAULT_LIVE_MODEL, Block
from dancetomusic.models.registry import find_family
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.pose.mediapipe import Detection, detect_poses
from dancetomusic.released import locate_checkpoint
from dancetomusic.types import POSE_FPS

logger = logging.getLogger(__name__)

MOVEMENT, ACCENT = "movement to sound", "accent to sound"
COMPOSING = "compose a block"

MAX_MORE_LEAD_S, MORE_LEAD_S, LESS_LEAD = 0.2, 0.02, 0.002
"""Sound kept ready beyond the composer's ``LEAD_S``: more after every under-run, up to a limit,
and then less again by a share of the time."""

SCARCE_LEAD_S = 0.05
"""With so much more lead after under-runs, computing is scarce."""

STALLED_S = 8.0
"""Without a frame for this long, the dancer counts as gone."""

ACCENT_DB = 6.0
"""Between the strongest movement and none."""

WARM_UP_SIDE = 64
CLOCK_DRIFT = 0.002
KEPT_BEATS = 2048


class LiveEngine:
    """One performer's engine: two threads, one that looks and one that composes.

    ``push_frame`` and ``pull`` may be called from any thread and never wait for either. Sound
    continues whatever happens to the frames: on the predicted grid while they are late, and faded
    out on the grid within two bars when the dancer is gone.

    Args:
        checkpoint: Of a family that plays live; the released one by default.
        seed: Of the codes sampled.
        style: One of ``styles``; left to the model by default.
        follow: Who is followed: ``"largest"``, ``"all"`` (everyone, weighted by presence), or the
            number of a dancer from 1, in order of appearance.
        num_dancers: Dancers looked for; more cost more.
        output_latency_s: From a pull until its first sample is played back: sound card's buffer,
            network, jitter buffer. Beats are played early by it.
        predict: Whether beats are played early by the latency; without, the sound is as late as
            a system that waits for the movement. For measurements.
        cfg_scale: Classifier-free guidance; 1 is none.
        temperature: Above 1 bolder, below 1 safer.
        top_p: Probability mass to choose within.

    Raises:
        CheckpointError: If the checkpoint is missing, foreign or does not play live.
        InputError: If ``style`` or ``follow`` is unknown or a number is out of range.
        DependencyError: If MediaPipe cannot be loaded.

    Example:
        >>> with LiveEngine() as engine:  # doctest: +SKIP
        ...     engine.push_frame(picture, time_s)
        ...     sound = engine.pull(480)
    """

    def __init__(
        self,
        checkpoint: Path | str | None = None,
        *,
        seed: int = 0,
        style: str | None = None,
        follow: str = "largest",
        num_dancers: int = 1,
        output_latency_s: float = 0.04,
        predict: bool = True,
        cfg_scale: float = 2.5,
        temperature: float = 1.1,
        top_p: float | None = 0.95,
    ) -> None:
        if not 0 <= output_latency_s < 2:
            raise InputError(f"output latency is {output_latency_s} s", "Give 0 to 2 seconds.")
        directory = locate_checkpoint(checkpoint or DEFAULT_LIVE_MODEL)
        model = find_family(checkpoint_family(directory)).open_live(
            directory,
            style=style,
            sampling=SamplingConfig(temperature, None, top_p, cfg_scale),
            seed=seed,
        )
        self._composer, self._styles = model.composer, model.styles
        self.sample_rate = model.composer.sample_rate
        self._predict = predict
        self._latency_s = output_latency_s
        self._times = StageTimes()
        self._watcher = Watcher(model.encoder, num_dancers=num_dancers, follow=follow)
        self._sound = SoundQueue(self.sample_rate, output_latency_s)

        self._arrival = Condition()
        self._frame: _Frame | None = None
        self._looked_at: _Frame | None = None
        self._frames_in = self._frames_dropped = 0
        self._last_time_s = -np.inf
        self._clock_offset_s: float | None = None

        self._observed = Observation()
        self._uncomposed: deque[float] = deque(maxlen=64)
        self._accents: deque[float] = deque(maxlen=64)
        self._pending: deque[tuple[int, Callable[[float], None]]] = deque(maxlen=1024)
        self._blocks: deque[Block] = deque(maxlen=128)
        self._beats: deque[tuple[float, int]] = deque(maxlen=KEPT_BEATS)
        self._last_beat = -1
        self._more_lead_s = 0.0
        self._largest_pull = 0
        self._gain = self._level = 0.0

        self._closed = False
        self._error: str | None = None
        pictures = self._pictures()
        self._found = cast(
            Generator[list[Detection]], detect_poses(pictures, POSE_FPS, num_dancers=num_dancers)
        )
        next(self._found)  # loads MediaPipe, whose errors belong to the caller
        self._composer.warm_up()
        self._threads = [
            Thread(target=self._guarded, args=(task,), name=name, daemon=True)
            for name, task in (("look", self._look), ("compose", self._compose))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def styles(self) -> tuple[str, ...]:
        """Styles of music that can be asked for."""
        return self._styles

    def push_frame(self, picture: UInt8[np.ndarray, "height width 3"], time_s: float) -> None:
        """Give the newest picture; one not yet looked at is dropped for it.

        Args:
            picture: RGB. It is not copied: do not write into it afterwards.
            time_s: When it was taken, on any steady clock in seconds; increasing. Frames whose
                time does not increase are dropped.
        """
        now_s = time.monotonic()
        with self._arrival:
            self._frames_in += 1
            if not time_s > self._last_time_s:
                self._frames_dropped += 1
                return
            self._frames_dropped += self._frame is not None
            self._keep_clock(time_s, now_s)
            self._last_time_s = time_s
            self._frame = _Frame(picture, time_s, now_s)
            self._arrival.notify()

    def pull(self, n_samples: int) -> Float32[np.ndarray, " n_samples"]:
        """What is to be played next, in [-1, 1]; silence until somebody dances."""
        now_s = time.monotonic()
        before, underruns = self._sound.pulled, self._sound.underruns
        self._largest_pull = max(self._largest_pull, n_samples)
        sound = self._sound.pull(n_samples, now_s)
        if self._sound.underruns > underruns:
            self._more_lead_s = min(MAX_MORE_LEAD_S, self._more_lead_s + MORE_LEAD_S)
        else:
            less_s = LESS_LEAD * n_samples / self.sample_rate
            self._more_lead_s = max(0.0, self._more_lead_s - less_s)
        playback_s = now_s + self._latency_s
        while self._pending and self._pending[0][0] < self._sound.pulled:
            sample, note = self._pending.popleft()
            note(playback_s + max(0, sample - before) / self.sample_rate)
        while self._accents:
            self._times.add(ACCENT, playback_s - self._accents.popleft())
        gain = 10 ** (ACCENT_DB * (self._observed.accent - 1.0) / 20)
        sound = sound * np.linspace(self._gain, gain, n_samples, endpoint=False, dtype=np.float32)
        self._gain = gain
        self._level = float(np.sqrt(np.mean(np.square(sound)))) if n_samples else 0.0
        return np.clip(sound, -1.0, 1.0).astype(np.float32)

    def status(self) -> LiveStatus:
        """A look at the engine; cheap enough for every frame of a screen."""
        observed, now_s = self._observed, time.monotonic()
        beat = observed.beat
        position = self._position(now_s)
        return LiveStatus(
            bpm=beat.bpm,
            beat_phase=position % 1.0,
            beat_number=int((np.floor(position) - beat.first_downbeat) % beat.beats_per_bar) + 1,
            beats_per_bar=beat.beats_per_bar,
            confidence=beat.confidence,
            energy=observed.energy,
            level=self._level,
            present=self._present(now_s),
            dancers=observed.dancers,
            landmarks=observed.landmarks,
            movement_to_sound=self._times.of(MOVEMENT),
            accent_to_sound=self._times.of(ACCENT),
            frames_in=self._frames_in,
            frames_dropped=self._frames_dropped,
            underruns=self._sound.underruns,
            error=self._error,
        )

    def latency(self) -> dict[str, Percentiles]:
        """How long every stage takes."""
        return self._times.table()

    def margin(self) -> float:
        """How many times as fast as it is played sound was composed, among all else done."""
        seconds = self._times.mean(COMPOSING)
        block_s = self._composer.block_samples / self.sample_rate
        return block_s / seconds if seconds else float("nan")

    def played_beats(self) -> list[tuple[float, int]]:
        """The last beats played: times on the clock of the frames, and positions in the bar."""
        offset = self._clock_offset_s or 0.0
        return [(time_s - offset, number) for time_s, number in list(self._beats)]

    def close(self) -> None:
        """Stop both threads; further pulls are silent. May be called twice."""
        self._closed = True
        for condition in (self._arrival, self._sound.changed):
            with condition:
                condition.notify_all()
        for thread in self._threads:
            thread.join()
        self._found.close()

    def __enter__(self) -> LiveEngine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _guarded(self, task: Callable[[], None]) -> None:
        """Run a thread; an error in it is reported by ``status`` and ends both."""
        torch.set_num_threads(1)
        try:
            task()
        except Exception as error:
            self._error = str(error)
            self._closed = True
            if not isinstance(error, DanceToMusicError):
                logger.exception("the live engine failed")

    def _keep_clock(self, time_s: float, now_s: float) -> None:
        """Frames arrive late, never early: the least delay seen is how the clocks differ."""
        offset = now_s - time_s
        known = self._clock_offset_s
        if known is not None:
            passed = max(0.0, time_s - self._last_time_s)
            offset = min(offset, known + CLOCK_DRIFT * passed)
        self._clock_offset_s = offset

    def _pictures(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """A black picture, and then the newest there is whenever the detector is free."""
        yield np.zeros((WARM_UP_SIDE, WARM_UP_SIDE, 3), np.uint8)
        while True:
            with self._arrival:
                self._arrival.wait_for(lambda: self._frame is not None or self._closed)
                frame, self._frame = self._frame, None
            if self._closed or frame is None:
                return
            self._looked_at = frame
            self._times.add("wait for the detector", time.monotonic() - frame.arrived_s)
            yield frame.picture

    def _look(self) -> None:
        began_s = time.monotonic()
        for found in self._found:
            frame = self._looked_at
            assert frame is not None and self._clock_offset_s is not None
            seen_s = time.monotonic()
            self._times.add("find landmarks", seen_s - max(began_s, frame.arrived_s))
            observed = self._watcher.watch(found, frame.time_s)
            beat = replace(observed.beat, time_s=observed.beat.time_s + self._clock_offset_s)
            self._observed = replace(observed, beat=beat, arrived_s=frame.arrived_s)
            for waiting in (self._uncomposed, self._accents):
                waiting.append(frame.arrived_s)
            began_s = time.monotonic()
            self._times.add("follow the beat", began_s - seen_s)
            if self._more_lead_s > SCARCE_LEAD_S:  # sound comes first: look at every other picture
                time.sleep(1.0 / POSE_FPS)

    def _compose(self) -> None:
        while True:
            with self._sound.changed:
                self._sound.changed.wait_for(lambda: self._closed or self._lacks())
            if self._closed:
                return
            self._compose_block()

    def _lacks(self) -> bool:
        lead_s = self._composer.LEAD_S + self._more_lead_s
        ready = self._largest_pull + round(lead_s * self.sample_rate)
        return self._sound.waiting < ready

    def _compose_block(self) -> None:
        now_s = time.monotonic()
        observed, composer = self._observed, self._composer
        present = self._present(now_s)
        playback_s = self._sound.playback_time(composer.next_code_at, now_s)
        for movement in self._watcher.movements():
            began_s = movement.began_s + (self._clock_offset_s or 0.0)
            composer.move(replace(movement, began_s=began_s), playback_s)
        frames = [self._uncomposed.popleft() for _ in range(len(self._uncomposed))]
        beat = observed.beat if self._predict else replace(observed.beat, time_s=playback_s)
        block = composer.compose(playback_s, beat, observed.energy, present)
        self._sound.push(block.samples)
        self._blocks.append(block)
        if composer.silent:
            return
        self._times.add(COMPOSING, time.monotonic() - now_s)
        for arrived_s in frames:
            self._pending.append((block.codes_at, self._note_movement(arrived_s)))
        beats = block.beats_per_s * composer.block_samples / self.sample_rate
        for count in range(int(np.ceil(block.position)), int(np.ceil(block.position + beats))):
            if count <= self._last_beat:
                continue
            self._last_beat = count
            after = (count - block.position) / block.beats_per_s * self.sample_rate
            number = (count - beat.first_downbeat) % beat.beats_per_bar + 1
            self._pending.append((block.codes_at + round(after), self._note_beat(number)))

    def _note_movement(self, arrived_s: float) -> Callable[[float], None]:
        return lambda playback_s: self._times.add(MOVEMENT, playback_s - arrived_s)

    def _note_beat(self, number: int) -> Callable[[float], None]:
        return lambda playback_s: self._beats.append((playback_s, number))

    def _present(self, now_s: float) -> bool:
        return self._observed.present and now_s - self._observed.arrived_s < STALLED_S

    def _position(self, now_s: float) -> float:
        """Grid position, in beats, of the sound that is played back at a time."""
        blocks = list(self._blocks)
        if not blocks:
            return self._observed.beat.at(now_s)
        origin_s = self._sound.playback_time(0, now_s)
        sample = (now_s - origin_s) * self.sample_rate
        block = next((b for b in reversed(blocks) if b.codes_at <= sample), blocks[0])
        return block.position + (sample - block.codes_at) / self.sample_rate * block.beats_per_s


@dataclass(frozen=True)
class _Frame:
    picture: UInt8[np.ndarray, "height width 3"]
    time_s: float
    arrived_s: float
