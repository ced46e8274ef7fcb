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
from dancetomusic.live.lead import SoundBeat, TapTempo
from dancetomusic.live.pressure import Pressure
from dancetomusic.live.sound_queue import SoundQueue
from dancetomusic.live.status import LiveStatus, Percentiles, StageTimes
from dancetomusic.live.watcher import Observation, Watcher
from dancetomusic.models.live import DEFAULT_LIVE_MODEL, BeatEstimate, Block
from dancetomusic.models.registry import find_family
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.pose.mediapipe import Detection, detect_poses
from dancetomusic.released import locate_checkpoint
from dancetomusic.rhythm.beats import MAX_BPM, MIN_BPM
from dancetomusic.types import POSE_FPS

logger = logging.getLogger(__name__)

MOVEMENT_LEADS, SOUND_LEADS, TAPS_LEAD = "movement", "sound", "taps"
MOVEMENT, ACCENT = "movement to sound", "accent to sound"
COMPOSING = "compose a block"

LISTEN_EVERY_S = 1.0
"""Between two looks for the beat of the sound that is playing."""

STALLED_S = 8.0
"""Without a frame for this long, the dancer counts as gone."""

ACCENT_DB = 6.0
"""Between the strongest movement and none."""

CEILING, KNEE = 10 ** (-1.0 / 20), 0.7
"""Largest amplitude played, 1 dB below full scale, and from where on peaks are rounded off."""

UNSEEN_PICTURES = 8
"""Pictures that wait for the composer; older ones are dropped."""

WARM_UP_SIDE = 64
CLOCK_DRIFT = 0.002
KEPT_BEATS = 2048


class LiveEngine:
    """One performer's engine: two threads, one that looks and one that composes.

    ``push_frame``, ``push_sound``, ``tap`` and ``pull`` may be called from any thread and never
    wait for either. Sound continues whatever happens to the frames: on the predicted grid while
    they are late, and faded out on the grid within two bars when the dancer is gone. Where the
    machine is too slow, pictures are left out, then quality (``live.pressure``), and a gap that
    opens all the same is bridged by the bar before.

    The beat is that of the movement, unless somebody taps, or ``push_sound`` gives a sound with
    a clear pulse; a third thread then listens.

    Args:
        checkpoint: Of a family that plays live; the released one by default.
        seed: Of the codes sampled.
        style: One of ``styles``; left to the model by default.
        condition: What the model reads of the dance, where it can read more than poses.
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
        bpm: Tempo to keep; the movement, or the sound, then says the phase alone.

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
        condition: str | None = None,
        follow: str = "largest",
        num_dancers: int = 1,
        output_latency_s: float = 0.04,
        predict: bool = True,
        cfg_scale: float = 2.5,
        temperature: float = 1.1,
        top_p: float | None = 0.95,
        bpm: float | None = None,
    ) -> None:
        if not 0 <= output_latency_s < 2:
            raise InputError(f"output latency is {output_latency_s} s", "Give 0 to 2 seconds.")
        if bpm is not None and not MIN_BPM <= bpm <= MAX_BPM:
            raise InputError(f"the tempo is {bpm:g} BPM", f"Give {MIN_BPM:g} to {MAX_BPM:g}.")
        directory = locate_checkpoint(checkpoint or DEFAULT_LIVE_MODEL)
        model = find_family(checkpoint_family(directory)).open_live(
            directory,
            style=style,
            condition=condition,
            sampling=SamplingConfig(temperature, None, top_p, cfg_scale),
            seed=seed,
        )
        self._composer = model.composer
        self.styles = model.styles
        """Styles of music that can be asked for."""
        self.sample_rate = model.composer.sample_rate
        self._predict = predict
        self._latency_s = output_latency_s
        self._times = StageTimes()
        self._watcher = Watcher(model.encoder, num_dancers=num_dancers, follow=follow, bpm=bpm)
        self._bpm = bpm
        self._sound = SoundQueue(self.sample_rate, output_latency_s)

        self._arrival, self._heard = Condition(), Condition()
        self._frame: _Frame | None = None
        self._unseen: deque[_Frame] = deque(maxlen=UNSEEN_PICTURES)
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
        self._taps = TapTempo()
        self._sound_beat: SoundBeat | None = None
        self._beat, self._lead = BeatEstimate(), MOVEMENT_LEADS
        self._pressure, self._underruns_before = Pressure(), 0
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
        self._threads: list[Thread] = []
        self._start("look", self._look)
        self._start("compose", self._compose)

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
            if self._composer.reads_pictures:
                self._unseen.append(self._frame)
            self._arrival.notify()

    def push_sound(
        self, samples: Float32[np.ndarray, " samples"], sample_rate: int, time_s: float
    ) -> None:
        """Give the sound that the dancer dances to, piece by piece; its beat then leads.

        Args:
            samples: What was played since the last call, one channel.
            sample_rate: In Hz, the same in every call.
            time_s: When the last of them was played, on the clock of ``time.monotonic``.
        """
        if self._sound_beat is None:
            self._sound_beat = SoundBeat(sample_rate, self._bpm)
            self._start("listen", self._listen)
        self._sound_beat.push(samples, time_s)

    def tap(self, time_s: float | None = None) -> None:
        """Take a tap on the beat; from the third in a row on, the taps lead.

        Args:
            time_s: When, on the clock of ``time.monotonic``; now by default.
        """
        self._taps.tap(time.monotonic() if time_s is None else time_s)

    def pull(self, n_samples: int, now_s: float | None = None) -> Float32[np.ndarray, " n_samples"]:
        """What is to be played next, at most ``CEILING`` loud; silence until somebody dances.

        Args:
            n_samples: How much.
            now_s: When it was due, on the clock of ``time.monotonic``; now by default.
        """
        now_s = time.monotonic() if now_s is None else now_s
        before = self._sound.pulled
        self._largest_pull = max(self._largest_pull, n_samples)
        sound = self._sound.pull(n_samples, now_s)
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
        return _below_full_scale(sound)

    def status(self) -> LiveStatus:
        """A look at the engine; cheap enough for every frame of a screen."""
        observed, now_s = self._observed, time.monotonic()
        beat = self._beat
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
            bridged_s=self._sound.bridged_s,
            lead=self._lead,
            leader=observed.leader,
            relief=self._pressure.highest,
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
        """The last beats played: times on the clock of ``pull``, and positions in the bar."""
        return list(self._beats)

    def close(self) -> None:
        """Stop both threads; further pulls are silent. May be called twice."""
        self._closed = True
        for condition in (self._arrival, self._sound.changed, self._heard):
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

    def _start(self, name: str, task: Callable[[], None]) -> None:
        thread = Thread(target=self._guarded, args=(task,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

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
            self._accents.append(frame.arrived_s)
            if not self._composer.reads_pictures:
                self._uncomposed.append(frame.arrived_s)
            began_s = time.monotonic()
            self._times.add("follow the beat", began_s - seen_s)
            time.sleep(self._pressure.relief.look_pause_s)  # sound comes first

    def _listen(self) -> None:
        """Look for the beat of the sound that is playing, again and again."""
        assert self._sound_beat is not None
        while not self._closed:
            began_s = time.monotonic()
            self._sound_beat.estimate()
            self._times.add("listen to the sound", time.monotonic() - began_s)
            with self._heard:
                self._heard.wait_for(lambda: self._closed, LISTEN_EVERY_S)

    def _choose_beat(self) -> BeatEstimate:
        """The beat of who leads, counted on from that of who led before."""
        heard = None if self._sound_beat is None else self._sound_beat.beat
        if self._taps.beat is not None:
            lead, beat = TAPS_LEAD, self._taps.beat
        elif heard is not None:
            lead, beat = SOUND_LEADS, heard
        else:
            lead, beat = MOVEMENT_LEADS, self._observed.beat
        self._beat, self._lead = beat.continuing(self._beat), lead
        return self._beat

    def _compose(self) -> None:
        while True:
            with self._sound.changed:
                self._sound.changed.wait_for(lambda: self._closed or self._lacks())
            if self._closed:
                return
            self._compose_block()

    def _lacks(self) -> bool:
        return self._sound.waiting / self.sample_rate < (
            self._wanted_s() + self._pressure.relief.lead_s
        )

    def _wanted_s(self) -> float:
        """Sound to keep ready where the machine is quick enough, in seconds."""
        return self._largest_pull / self.sample_rate + self._composer.LEAD_S

    def _relieve(self, now_s: float) -> None:
        """Leave out what the machine has no time for."""
        underruns = self._sound.underruns
        underrun, self._underruns_before = (
            underruns > self._underruns_before,
            underruns,
        )
        if not self._composer.silent:
            ready_s = self._sound.waiting / self.sample_rate
            self._pressure.note(ready_s, self._wanted_s(), now_s, underrun=underrun)
        self._composer.simplify(self._pressure.relief.simple)

    def _compose_block(self) -> None:
        now_s = time.monotonic()
        observed, composer = self._observed, self._composer
        self._relieve(now_s)
        chosen = self._choose_beat()
        present = self._present(now_s)
        playback_s = self._sound.playback_time(composer.next_code_at, now_s)
        for movement in self._watcher.movements():
            began_s = movement.began_s + (self._clock_offset_s or 0.0)
            composer.move(replace(movement, began_s=began_s), playback_s)
        while self._unseen:
            frame = self._unseen.popleft()
            composer.see(frame.picture, frame.time_s)
            self._uncomposed.append(frame.arrived_s)
        frames = [self._uncomposed.popleft() for _ in range(len(self._uncomposed))]
        beat = chosen if self._predict else replace(chosen, time_s=playback_s)
        bar_s = beat.beats_per_bar * 60.0 / beat.bpm
        self._sound.period = 0 if composer.silent else round(bar_s * self.sample_rate)
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
            return self._beat.at(now_s)
        origin_s = self._sound.playback_time(0, now_s)
        sample = (now_s - origin_s) * self.sample_rate
        block = next((b for b in reversed(blocks) if b.codes_at <= sample), blocks[0])
        return block.position + (sample - block.codes_at) / self.sample_rate * block.beats_per_s


@dataclass(frozen=True)
class _Frame:
    picture: UInt8[np.ndarray, "height width 3"]
    time_s: float
    arrived_s: float


def _below_full_scale(sound: Float32[np.ndarray, " samples"]) -> Float32[np.ndarray, " samples"]:
    """Round peaks off between ``KNEE`` and ``CEILING``; what is quieter stays as it is."""
    room = CEILING - KNEE
    size = np.abs(sound)
    rounded = np.copysign(KNEE + room * np.tanh((size - KNEE) / room), sound)
    return np.where(size <= KNEE, sound, rounded).astype(np.float32)
