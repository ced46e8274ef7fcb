"""Takes of a camera and a sound card as videos, from which the builder makes a set of clips."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, cast

import av
import numpy as np
from av.container import OutputContainer
from jaxtyping import Float32, UInt8

from dancetomusic.errors import DependencyError, InputError, OutputError, VideoError
from dancetomusic.io.atomic import atomic_output, make_directory
from dancetomusic.io.audio import read_audio
from dancetomusic.io.video import prefetch, probe_video, read_frames
from dancetomusic.types import POSE_FPS

Picture = tuple[float, UInt8[np.ndarray, "height width 3"]]
"""When a picture was taken, on any clock in seconds, and its RGB values."""

CLOCK = Fraction(1, 90_000)
SHORTEST_S = 1.0
FILE_RATE = 24_000
"""Of a file's sound, in Hz."""

SKIP_S = 1.0


class SoundCard(ABC):
    """What gives sound as it is recorded."""

    sample_rate: int
    """In Hz."""

    @abstractmethod
    def read(self) -> Float32[np.ndarray, " samples"]:
        """All that was recorded since the last call, one channel."""


class Microphone(SoundCard):
    """A sound card's input, through PortAudio; recording begins when it is made.

    ``device`` is the name or number of the input, by default the system's own choice.

    Raises:
        DependencyError: If the package sounddevice or the library PortAudio is missing.
        InputError: If there is no such input, or it cannot be opened.
    """

    def __init__(self, device: str | int | None = None, sample_rate: int = 48_000) -> None:
        try:
            import sounddevice
        except (ImportError, OSError) as error:  # OSError: the library it wraps is missing
            raise DependencyError(
                f"sound cannot be recorded ({error})",
                "Install both: pip install sounddevice; apt-get install libportaudio2.",
            ) from error
        self.sample_rate = sample_rate
        self._blocks: SimpleQueue[np.ndarray] = SimpleQueue()
        try:
            self._stream = sounddevice.InputStream(
                samplerate=sample_rate, channels=1, device=device, callback=self._take
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise InputError(
                f"sound input {device!r} cannot be opened ({error})",
                "Plug one in, name another, or record without sound.",
            ) from error

    def read(self) -> Float32[np.ndarray, " samples"]:
        """All that was recorded since the last call."""
        blocks = [np.zeros(0, np.float32)]
        while True:
            try:
                blocks.append(self._blocks.get_nowait())
            except Empty:
                return np.concatenate(blocks)

    def close(self) -> None:
        """Stop recording."""
        self._stream.close()

    def _take(self, block: np.ndarray, frames: int, times: Any, status: Any) -> None:
        self._blocks.put(block[:, 0].astype(np.float32))


class PlayedFile(SoundCard):
    """A file's sound as time passes, as if a microphone heard it.

    The sound is read at once; it begins with the first ``read``, on ``clock``, which is in seconds.

    Raises:
        VideoError: If the file has no sound that can be decoded.
    """

    def __init__(self, path: Path | str, clock: Callable[[], float] = time.monotonic) -> None:
        sound = read_audio(path, FILE_RATE)
        if sound is None:
            raise VideoError(f"{path} has no sound", "Name a file that has, or leave it out.")
        self.sample_rate = FILE_RATE
        self._samples = sound.samples.mean(axis=0)
        self._clock = clock
        self._began_s: float | None = None
        self._given = 0

    def read(self) -> Float32[np.ndarray, " samples"]:
        """What was played since the last call."""
        now_s = self._clock()
        self._began_s = now_s if self._began_s is None else self._began_s
        first, self._given = self._given, int((now_s - self._began_s) * FILE_RATE)
        return self._samples[first : self._given]


@contextmanager
def open_sound(name: str | None = None) -> Iterator[SoundCard]:
    """A sound card's input, open until the block is left.

    Args:
        name: Name or number of the input, or a sound file or video that is played in its place;
            ``None`` for the system's own choice.

    Raises:
        DependencyError: If the package sounddevice or the library PortAudio is missing.
        InputError: If there is no such input, or it cannot be opened.
        VideoError: If a file has no sound.
    """
    if name is not None and Path(name).is_file():
        yield PlayedFile(name)
    else:
        with closing(Microphone(int(name) if name and name.isdecimal() else name)) as microphone:
            yield microphone


@contextmanager
def open_camera(
    camera: int | str | Path = 0,
    *,
    fps: float = 30.0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Iterator[Picture]]:
    """Pictures of a camera as they are taken, until the block is left.

    A ``camera`` is its number, a stream, or a video file, which is paced as a camera would be.

    Raises:
        InputError: If there is no such camera.
        VideoError: If a file cannot be read.
    """
    if not isinstance(camera, int) and Path(camera).is_file():
        with closing(paced_pictures(camera, fps=fps, clock=clock)) as pictures:
            yield pictures
        return
    import cv2

    # OpenCV tells ten lines about a camera that is not there; the error says it in one.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    device = cv2.VideoCapture(camera if isinstance(camera, int) else str(camera))
    try:
        if not device.isOpened():
            raise InputError(
                f"camera {camera} cannot be opened", "Plug one in, or name another by --camera."
            )
        device.set(cv2.CAP_PROP_FPS, fps)
        yield _pictures(device, clock)
    finally:
        device.release()


def _pictures(device: Any, clock: Callable[[], float]) -> Iterator[Picture]:
    import cv2

    while True:
        there, picture = device.read()
        if not there:
            return
        yield clock(), cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def paced_pictures(
    path: Path | str,
    *,
    fps: float = POSE_FPS,
    max_side: int | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Generator[Picture]:
    """Pictures of a video when they are due, as a camera would give them.

    A picture that cannot be given in time is left out, as a camera's would be; where decoding
    is ``SKIP_S`` behind, it goes on from where the video is by then.

    Pictures whose longer side exceeds ``max_side`` pixels are shrunk; ``clock`` gives the times of
    the pictures.

    Raises:
        VideoError: If the video cannot be read.
    """
    length_s = probe_video(path).duration_s
    began_s: float | None = None
    first: int | None = 0
    while first is not None and first / fps < length_s:
        frames = prefetch(read_frames(path, fps, max_side=max_side, start_s=first / fps))
        begin, first = first, None
        with closing(cast(Generator, frames)):
            for number, frame in enumerate(frames, start=begin):
                began_s = clock() if began_s is None else began_s
                due_s = began_s + number / fps
                late_s = clock() - due_s
                if late_s > 1 / fps and number > begin:
                    if late_s > SKIP_S:
                        first = number + round(late_s * fps)
                        break
                    continue
                sleep(max(0.0, -late_s))
                yield due_s, frame


def record_take(
    path: Path | str,
    pictures: Iterable[Picture],
    seconds: float,
    *,
    sound: SoundCard | None = None,
) -> float:
    """Write a take as a video, each picture at its own time, whole or not at all.

    Sound begins with the first picture; what was recorded before is dropped. Memory does not
    grow with the length.

    Pictures have even sides of one size. The take is silent without ``sound``, and shorter than
    ``seconds`` if the pictures end.

    Returns:
        The length recorded, in seconds.

    Raises:
        InputError: If ``seconds`` is below 1, the camera gives no picture, or one is odd in size.
        OutputError: If the file cannot be written.
    """
    if not seconds >= SHORTEST_S:
        raise InputError(f"a take of {seconds:g} s is too short", "Record at least 1 s.")
    source = iter(pictures)
    first = next(source, None)
    if first is None:
        raise InputError("the camera gives no picture", "Look whether another program uses it.")
    begin_s, picture = first
    if picture.shape[0] % 2 or picture.shape[1] % 2:
        raise InputError(
            f"pictures of {picture.shape[1]}x{picture.shape[0]} have an odd side",
            "Choose another size of the camera.",
        )
    if sound is not None:
        sound.read()
    try:
        with atomic_output(path) as temporary, av.open(str(temporary), "w") as container:
            take = _Take(container, picture.shape[1], picture.shape[0], sound)
            for taken_s, frame in chain([first], source):
                if taken_s - begin_s >= seconds:
                    break
                take.add(taken_s - begin_s, frame)
            take.finish()
            return take.length_s
    except av.FFmpegError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror})", "Name an .mp4 file."
        ) from error


class _Take:
    """A video that is being written, its sound beside it."""

    def __init__(
        self, container: OutputContainer, width: int, height: int, sound: SoundCard | None
    ) -> None:
        self._container, self._sound = container, sound
        self._video = container.add_stream("libx264", rate=30)
        self._video.width, self._video.height = width, height
        self._video.pix_fmt = "yuv420p"
        self._video.options = {"preset": "veryfast", "crf": "20"}
        self._video.codec_context.time_base = CLOCK
        self._audio = None
        if sound is not None:
            self._audio = container.add_stream("aac", rate=sound.sample_rate, layout="mono")
        self._samples = 0
        self._last_tick = -1
        self.length_s = 0.0

    def add(self, time_s: float, picture: UInt8[np.ndarray, "height width 3"]) -> None:
        tick = max(self._last_tick + 1, round(time_s / CLOCK))
        self._last_tick, self.length_s = tick, time_s
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = tick, CLOCK
        self._container.mux(self._video.encode(frame))
        self._add_sound()

    def finish(self) -> None:
        self._add_sound()
        self._container.mux(self._video.encode(None))
        if self._audio is not None:
            self._container.mux(self._audio.encode(None))

    def _add_sound(self) -> None:
        if self._sound is None or self._audio is None:
            return
        samples = self._sound.read()
        if not samples.size:
            return
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        rate = self._sound.sample_rate
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = self._samples
        self._samples += samples.size
        self._container.mux(self._audio.encode(frame))


def next_take(folder: Path | str) -> Path:
    """Where the next take goes: ``take_0001.mp4`` and so on, after the last there is.

    Raises:
        OutputError: If the folder cannot be made.
    """
    place = make_directory(folder)
    names = [file.stem.removeprefix("take_") for file in place.glob("take_*.mp4")]
    last = max((int(name) for name in names if name.isdecimal()), default=0)
    return place / f"take_{last + 1:04d}.mp4"
