"""A performance: a camera or a video paced like one, the engine, and a sound card or a file."""

from __future__ import annotations

import json
import os
import signal
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Event, Lock, Thread, current_thread, main_thread
from types import FrameType
from typing import Any, cast

import numpy as np
import soundfile
from jaxtyping import Float32, UInt8

from dancetomusic.builder.capture import Picture, SoundCard, record_take
from dancetomusic.errors import DependencyError, InputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.audio import sound_output
from dancetomusic.io.video import prefetch, read_frames
from dancetomusic.live.engine import LiveEngine
from dancetomusic.pose.mediapipe import DETECTION_SIDE
from dancetomusic.types import POSE_FPS

CHUNK_S = 0.01
LONGEST_S = 24 * 3600.0


class Player(ABC):
    """What plays an engine's sound.

    Attributes:
        on_sound: Called with every chunk that is played.
    """

    on_sound: Callable[[Float32[np.ndarray, " samples"]], None] | None = None

    @property
    @abstractmethod
    def latency_s(self) -> float:
        """From a pull until its first sample is played back."""

    @abstractmethod
    def play(self, engine: LiveEngine) -> None:
        """Begin; returns at once."""

    @abstractmethod
    def stop(self) -> None:
        """End; may be called twice."""

    def _pull(self, engine: LiveEngine, n_samples: int) -> Float32[np.ndarray, " n_samples"]:
        sound = engine.pull(n_samples)
        if self.on_sound is not None:
            self.on_sound(sound)
        return sound


class PacedPlayer(Player):
    """Plays into nothing, or a file, at the speed of a sound card.

    Args:
        latency_s: Of the sound card that it stands for.
    """

    def __init__(self, latency_s: float = 0.04) -> None:
        self._latency_s = latency_s
        self._stopped = Event()
        self._thread: Thread | None = None

    @property
    def latency_s(self) -> float:
        """From a pull until its first sample is played back."""
        return self._latency_s

    def play(self, engine: LiveEngine) -> None:
        """Begin."""
        self._thread = Thread(target=self._run, args=(engine,), name="play", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the chunk that is played."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, engine: LiveEngine) -> None:
        began_s, pulled = time.monotonic(), 0
        chunk = round(CHUNK_S * engine.sample_rate)
        while not self._stopped.is_set():
            while pulled / engine.sample_rate <= time.monotonic() - began_s:
                self._pull(engine, chunk)
                pulled += chunk
            self._stopped.wait(max(0.0, began_s + pulled / engine.sample_rate - time.monotonic()))


class CardPlayer(Player):
    """Plays on a sound card, through PortAudio.

    Args:
        device: Name or number of the output; the system's own choice by default.
        sample_rate: In Hz.

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

    @property
    def latency_s(self) -> float:
        """What the sound card says of itself."""
        return float(self._stream.latency)

    def play(self, engine: LiveEngine) -> None:
        """Begin."""
        self._engine = engine
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


def paced_pictures(
    path: Path | str, *, fps: float = POSE_FPS, clock: Callable[[], float] = time.monotonic
) -> Generator[Picture]:
    """Pictures of a video when they are due, as a camera would give them.

    A picture that cannot be given in time is left out, as a camera's would be.

    Args:
        path: The video.
        fps: Pictures a second.
        clock: Says what time it is, and gives the times of the pictures.

    Raises:
        VideoError: If the video cannot be read.
    """
    frames = prefetch(read_frames(path, fps, max_side=DETECTION_SIDE))
    with closing(cast(Generator, frames)):
        first = next(frames, None)
        if first is None:
            return
        began_s = clock()
        yield began_s, first
        for number, frame in enumerate(frames, start=1):
            due_s = began_s + number / fps
            if clock() > due_s + 1 / fps:
                continue
            time.sleep(max(0.0, due_s - clock()))
            yield due_s, frame


def perform(
    engine: LiveEngine,
    pictures: Iterable[Picture],
    player: Player,
    *,
    seconds: float | None = None,
    output: Path | str | None = None,
    record: Path | str | None = None,
) -> dict[str, Any]:
    """Play until the pictures end, the time is over, or the process is interrupted.

    Args:
        engine: Made with the latency of ``player``.
        pictures: With their times, as they come.
        player: Plays the sound.
        seconds: Longest time to play.
        output: A ``.wav`` of the sound from the first picture on, written as it is played.
        record: An ``.mp4`` of the pictures with the sound.

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
        shown = _shown(pictures, engine, player, stop, length_s)
        began_s = time.monotonic()
        if record is None:
            for _ in shown:
                pass
        else:
            record_take(record, shown, length_s, sound=taken)
        player.stop()
        if written is not None and engine.status().frames_in == 0:
            raise InputError("there was no picture", "Look whether another program uses it.")
        return summarize(engine, time.monotonic() - began_s)


def summarize(engine: LiveEngine, seconds: float) -> dict[str, Any]:
    """Figures of a performance as plain values: latencies by stage, losses, margin, beats.

    Args:
        engine: After or while it plays.
        seconds: How long it has played.
    """
    status = engine.status().to_json()
    status.pop("landmarks")
    return {
        "seconds": round(seconds, 3),
        "sound_per_computing": round(engine.margin(), 3),
        **status,
        "stages_ms": {stage: asdict(times) for stage, times in engine.latency().items()},
        "beats": [[round(time_s, 4), number] for time_s, number in engine.played_beats()],
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

    Args:
        sample_rate: In Hz.
        latency: Samples by which playback is delayed.
    """

    def __init__(self, sample_rate: int, latency: int) -> None:
        self._rate = sample_rate
        self._silence: np.ndarray | None = np.zeros(latency, np.float32)
        self._chunks: deque[np.ndarray] = deque()
        self._lock = Lock()

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self._rate

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
    pictures: Iterable[Picture], engine: LiveEngine, player: Player, stop: Event, length_s: float
) -> Iterator[Picture]:
    """Give every picture to the engine; sound begins with the first one."""
    began_s: float | None = None
    for taken_s, picture in pictures:
        if began_s is None:
            began_s = taken_s
            player.play(engine)
        if stop.is_set() or taken_s - began_s >= length_s or engine.status().error is not None:
            return
        engine.push_frame(picture, taken_s)
        yield taken_s, _even(picture)


def _even(picture: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height2 width2 3"]:
    height, width = picture.shape[:2]
    return picture[: height // 2 * 2, : width // 2 * 2]


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
        file.write(np.zeros(latency, np.float32))
        yield file.write


def _both(
    *takers: Callable[[Float32[np.ndarray, " samples"]], None] | None,
) -> Callable[[Float32[np.ndarray, " samples"]], None]:
    wanted = [taker for taker in takers if taker is not None]

    def give(sound: Float32[np.ndarray, " samples"]) -> None:
        for taker in wanted:
            taker(sound)

    return give


@contextmanager
def _interrupted() -> Iterator[Event]:
    """An event that the first interrupt sets; a second one interrupts as usual."""
    stop = Event()
    if current_thread() is not main_thread():
        yield stop
        return
    usual = signal.getsignal(signal.SIGINT)

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, usual)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, usual)
