"""A performance: a camera or a video paced like one, the engine, and a sound card or a file."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Event, Lock, Thread, current_thread, main_thread
from types import FrameType
from typing import Any

import numpy as np
import soundfile
from jaxtyping import Float32

from dancetomusic.builder.capture import Picture, SoundCard, record_take
from dancetomusic.errors import DependencyError, InputError, OutputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.audio import sound_output
from dancetomusic.live.engine import LiveEngine
from dancetomusic.live.pressure import RELIEFS

CHUNK_S = 0.01
TAP_KEY = b" "
KEY_WAIT_S = 0.2
LONGEST_S = 24 * 3600.0


class Player(ABC):
    """What plays an engine's sound.

    Attributes:
        on_sound: Called with every chunk that is played.
        failure: What it raised; it is then called no more.
        began_s: When the first sample was pulled, on the clock of ``time.monotonic``.
    """

    on_sound: Callable[[Float32[np.ndarray, " samples"]], None] | None = None
    failure: Exception | None = None
    began_s: float | None = None
    latency_s: float
    """From a pull until its first sample is played back."""

    @abstractmethod
    def play(self, engine: LiveEngine) -> None:
        """Begin; returns at once."""

    @abstractmethod
    def stop(self) -> None:
        """End; may be called twice."""

    def _pull(
        self, engine: LiveEngine, n_samples: int, now_s: float | None = None
    ) -> Float32[np.ndarray, " n_samples"]:
        sound = engine.pull(n_samples, now_s)
        if self.on_sound is not None and self.failure is None:
            try:
                self.on_sound(sound)
            except Exception as error:  # of this thread: ``perform`` raises it in its own
                self.failure = error
        return sound


class PacedPlayer(Player):
    """Plays into nothing, or a file, at the speed of a sound card.

    Args:
        latency_s: Of the sound card that it stands for.
    """

    def __init__(self, latency_s: float = 0.04) -> None:
        self.latency_s = latency_s
        self._stopped = Event()
        self._thread: Thread | None = None

    def play(self, engine: LiveEngine) -> None:
        """Begin."""
        self.began_s = time.monotonic()
        self._thread = Thread(target=self._run, args=(engine,), name="play", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the chunk that is played."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, engine: LiveEngine) -> None:
        assert self.began_s is not None
        began_s, pulled = self.began_s, 0
        chunk = round(CHUNK_S * engine.sample_rate)
        while not self._stopped.is_set() and self.failure is None:
            while pulled / engine.sample_rate <= time.monotonic() - began_s:
                self._pull(engine, chunk, began_s + pulled / engine.sample_rate)
                pulled += chunk
            self._stopped.wait(max(0.0, began_s + pulled / engine.sample_rate - time.monotonic()))


class CardPlayer(Player):
    """Plays on a sound card, through PortAudio.

    ``device`` is the name or number of the output, by default the system's own choice.

    Raises:
        DependencyError: If the package sounddevice or the library PortAudio is missing.
        InputError: If there is no such output, or it cannot be opened.
    """

    def __init__(self, device: str | int | None = None, sample_rate: int = 24_000) -> None:
        sounddevice = _sounddevice()
        self._engine: LiveEngine | None = None
        try:
            self._stream = sounddevice.OutputStream(
                samplerate=sample_rate,
                channels=1,
                dtype="float32",
                device=device,
                latency="low",
                callback=self._fill,
            )
        except (sounddevice.PortAudioError, ValueError) as error:
            raise InputError(
                f"sound output {device!r} cannot be opened ({error})",
                "Name one of --list_devices, or give --output file.wav.",
            ) from error
        self.latency_s = float(self._stream.latency)

    def play(self, engine: LiveEngine) -> None:
        """Begin."""
        self._engine, self.began_s = engine, time.monotonic()
        self._stream.start()

    def stop(self) -> None:
        """End at once."""
        self._stream.close()

    def _fill(self, block: np.ndarray, frames: int, times: Any, status: Any) -> None:
        assert self._engine is not None
        block[:, 0] = self._pull(self._engine, frames)


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the library that it wraps is missing
        raise DependencyError(
            f"there is no way to a sound card ({error})",
            "Run: pip install sounddevice; apt-get install libportaudio2. "
            "Or give --output file.wav.",
        ) from error
    return sounddevice


def list_devices() -> list[str]:
    """A line for every camera and every sound output, or why none is known."""
    cameras = sorted(Path("/dev").glob("video*"))
    lines = [f"camera {camera.name.removeprefix('video')}  {camera}" for camera in cameras]
    lines = lines or ["no camera"]
    try:
        devices = _sounddevice().query_devices()
    except DependencyError as error:
        return [*lines, str(error)]
    outputs = [
        f"sound {number}  {device['name']}"
        for number, device in enumerate(devices)
        if device["max_output_channels"] > 0
    ]
    return lines + (outputs or ["no sound output"])


def perform(
    engine: LiveEngine,
    pictures: Iterable[Picture],
    player: Player,
    *,
    seconds: float | None = None,
    output: Path | str | None = None,
    record: Path | str | None = None,
    sound: SoundCard | None = None,
) -> dict[str, Any]:
    """Play until the pictures end, the time is over, or the process is interrupted.

    Args:
        engine: Made with the latency of ``player``.
        pictures: With their times, as they come.
        player: Plays the sound.
        seconds: Longest time to play.
        output: A ``.wav`` of the sound from the first picture on, written as it is played.
        record: An ``.mp4`` of the pictures with the sound.
        sound: What the dancer dances to; its beat leads. On a terminal, the space key taps the
            beat.

    Returns:
        The figures of ``summarize``.

    Raises:
        OutputError: If a file cannot be written.
        InputError: If there is no picture.
    """
    length_s = LONGEST_S if seconds is None else seconds
    latency = round(player.latency_s * engine.sample_rate)
    with ExitStack() as opened:
        stop = opened.enter_context(_interrupted())
        written = None if output is None else opened.enter_context(_wav(output, engine, latency))
        taken = None if record is None else PlayedSound(engine.sample_rate, latency)
        player.on_sound = _both(written, taken.take if taken is not None else None)
        opened.callback(player.stop)
        opened.enter_context(_tapped(engine))
        shown = _shown(pictures, engine, player, sound, stop, length_s)
        began_s = time.monotonic()
        if record is None:
            for _ in shown:
                pass
        else:
            record_take(record, shown, length_s, sound=taken)
        player.stop()
        if player.failure is not None:
            raise player.failure
        if written is not None and engine.status().frames_in == 0:
            raise InputError("there was no picture", "Look whether another program uses it.")
        return summarize(engine, time.monotonic() - began_s, player.began_s or 0.0)


def summarize(engine: LiveEngine, seconds: float, began_s: float = 0.0) -> dict[str, Any]:
    """Figures of a performance as plain values: latencies by stage, losses, margin, beats.

    The recording began at ``began_s``; the beats are given from there.
    """
    status = engine.status().to_json()
    status.pop("landmarks")
    margin = engine.margin()
    return {
        "seconds": round(seconds, 3),
        "sound_per_computing": round(margin, 3) if margin == margin else None,
        **status,
        "relief": [relief.said for relief in RELIEFS[1 : status["relief"] + 1]],
        "stages_ms": {stage: asdict(times) for stage, times in engine.latency().items()},
        "beats": [[round(time_s - began_s, 4), number] for time_s, number in engine.played_beats()],
    }


def write_summary(path: Path | str, figures: dict[str, Any]) -> None:
    """Write the figures as JSON, whole or not at all.

    Raises:
        OutputError: If the file cannot be written.
    """
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


class PlayedSound(SoundCard):
    """The sound played back, to be recorded with the pictures; it begins with the first ``read``.

    Playback is delayed by ``latency`` samples.
    """

    def __init__(self, sample_rate: int, latency: int) -> None:
        self.sample_rate = sample_rate
        self._silence: np.ndarray | None = np.zeros(latency, np.float32)
        self._chunks: deque[np.ndarray] = deque()
        self._lock = Lock()

    def take(self, sound: Float32[np.ndarray, " samples"]) -> None:
        """Add a chunk that is played."""
        with self._lock:
            if self._silence is None:
                self._chunks.append(sound)

    def read(self) -> Float32[np.ndarray, " samples"]:
        """All samples played back since the last call."""
        with self._lock:
            if self._silence is not None:
                self._chunks.append(self._silence)
                self._silence = None
                return np.zeros(0, np.float32)
            chunks = [self._chunks.popleft() for _ in range(len(self._chunks))]
        return np.concatenate([np.zeros(0, np.float32), *chunks])


def _shown(
    pictures: Iterable[Picture],
    engine: LiveEngine,
    player: Player,
    sound: SoundCard | None,
    stop: Event,
    length_s: float,
) -> Iterator[Picture]:
    """Give every picture, and the sound so far, to the engine; music begins with the first one."""
    began_s: float | None = None
    for taken_s, picture in pictures:
        if began_s is None:
            began_s = taken_s
            player.play(engine)
        if stop.is_set() or taken_s - began_s >= length_s:
            return
        if engine.status().error is not None or player.failure is not None:
            return
        engine.push_frame(picture, taken_s)
        if sound is not None:
            engine.push_sound(sound.read(), sound.sample_rate, time.monotonic())
        height, width = picture.shape[:2]
        yield taken_s, picture[: height // 2 * 2, : width // 2 * 2]


@contextmanager
def _wav(
    path: Path | str, engine: LiveEngine, latency: int
) -> Iterator[Callable[[Float32[np.ndarray, " samples"]], None]]:
    """Write sound as it is played."""
    with (
        sound_output(path) as temporary,
        soundfile.SoundFile(
            os.fsencode(temporary),
            "w",
            engine.sample_rate,
            channels=1,
            subtype="PCM_16",
            format="WAV",
        ) as file,
    ):

        def write(sound: Float32[np.ndarray, " samples"]) -> None:
            try:
                file.write(sound)
            except (OSError, soundfile.LibsndfileError) as error:
                raise OutputError(
                    f"writing {path} failed ({error})",
                    "Free some disk space or choose another output path.",
                ) from error

        write(np.zeros(latency, np.float32))
        yield write


def _both(
    *takers: Callable[[Float32[np.ndarray, " samples"]], None] | None,
) -> Callable[[Float32[np.ndarray, " samples"]], None]:
    wanted = [taker for taker in takers if taker is not None]

    def give(sound: Float32[np.ndarray, " samples"]) -> None:
        for taker in wanted:
            taker(sound)

    return give


@contextmanager
def _tapped(engine: LiveEngine) -> Iterator[None]:
    """Give the space key of the terminal to the engine as taps; other input is left unread."""
    if not (sys.stdin.isatty() and current_thread() is main_thread()):
        yield
        return
    import select
    import termios
    import tty

    terminal, ended = sys.stdin.fileno(), Event()
    usual = termios.tcgetattr(terminal)

    def read_keys() -> None:
        while not ended.is_set():
            if select.select([terminal], [], [], KEY_WAIT_S)[0]:
                keys = os.read(terminal, 16)
                if not keys:
                    return
                if TAP_KEY in keys:
                    engine.tap()

    thread = Thread(target=read_keys, name="keys", daemon=True)
    tty.setcbreak(terminal)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        termios.tcsetattr(terminal, termios.TCSADRAIN, usual)


@contextmanager
def _interrupted() -> Iterator[Event]:
    """An event that the first interrupt or SIGTERM sets, so that all files are closed whole.

    A second signal acts as usual, and so does a SIGTERM once the block has ended.
    """
    stop = Event()
    if current_thread() is not main_thread():
        yield stop
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    received: list[int] = []

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def on_signal(number: int, frame: FrameType | None) -> None:
        received.append(number)
        stop.set()
        restore()

    for number in usual:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        restore()
    if signal.SIGTERM in received:
        signal.raise_signal(signal.SIGTERM)
