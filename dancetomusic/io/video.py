"""Pictures of a video at a steady rate, each at its true time.

Time 0 is the start of the file's presentation timeline. What an edit list hides lies before it.
A file whose sound starts before its picture shows its first picture from time 0 on.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from heapq import nlargest
from itertools import chain, repeat
from pathlib import Path
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar, cast

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from jaxtyping import UInt8

from dancetomusic.errors import VideoError
from dancetomusic.types import POSE_FPS

T = TypeVar("T")

logger = logging.getLogger(__name__)

_ROUNDING_S = Fraction(1, 2000)  # the coarsest usual container (Matroska) rounds times to 1 ms
_SHORTFALL_S = Fraction(1, 2)  # a file this close to its declared end counts as complete
_MAX_FPS = 300  # a header that says more speaks of its clock
_SEEK_MARGIN_S = 2  # a jump of less is not worth it
_LATE_S = 10  # a jump that landed late begins this much earlier
_CAN_SKIP = ("h264", "hevc")  # decoders that leave out the very packets that they are told to
_SHRUNK_FIRST = ("yuv420p", "yuvj420p")
_MOST_AHEAD = 1000  # packets that are kept before they are decoded
_REORDERED = 32  # packets; twice as many as coded order may differ from shown order
_TAIL_S = 2  # more than coded order differs from shown order
_NOT_VIDEO = ("image2", "tty", "concat", "hls", "dash")  # pictures, text and lists of other files
_GIVE_VIDEO = "Give a video file such as .mp4, .mov, .mkv or .webm."


@dataclass(frozen=True)
class VideoInfo:
    """What a video is, as a player shows it.

    Attributes:
        duration_s: When the last picture goes, in seconds; sound does not count.
        source_fps: Mean picture rate of the file, in Hz.
        width: In pixels, after rotation.
        height: In pixels, after rotation.
        rotation_deg: Clockwise turn that the file asks for: 0, 90, 180 or 270.
        has_audio: Whether it has a sound track that can be decoded.
        truncated: Whether it ends, or cannot be read, before its declared end.
    """

    path: Path
    duration_s: float
    source_fps: float
    width: int
    height: int
    rotation_deg: int
    has_audio: bool
    video_codec: str
    truncated: bool


def probe_video(path: Path | str) -> VideoInfo:
    """Describe a video; decodes its first picture and reads its last packets.

    Raises:
        VideoError: If there is no such file, or no picture in it can be decoded.
    """
    with open_video(path) as source:
        picture = next((picture for _, picture in source.pictures()), None)
        if picture is None:
            raise _no_picture(source.path)
        width, height = source.shown_size(picture)
        rotation = round(-picture.rotation / 90) * 90 % 360
        stream = source.stream
        has_audio = sound_stream(source.container) is not None
        codec = stream.codec_context.codec.canonical_name
        declared_fps = float(stream.average_rate or 0)
    extent, truncated = _measure_extent(path)
    return VideoInfo(
        path=Path(path),
        duration_s=float(extent.picture_end),
        source_fps=declared_fps if 0 < declared_fps <= _MAX_FPS else extent.picture_rate,
        width=height if rotation % 180 else width,
        height=width if rotation % 180 else height,
        rotation_deg=rotation,
        has_audio=has_audio,
        video_codec=codec,
        truncated=truncated,
    )


def read_frames(
    path: Path | str,
    fps: float = POSE_FPS,
    *,
    max_side: int | None = None,
    start_s: float = 0.0,
    n_frames: int | None = None,
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Yield RGB pictures: number ``k`` is the last whose time is at most ``start_s + k / fps``.

    Rotation is applied; before the first picture's time the first picture is given. A damaged
    video gives what can be decoded and logs one warning. Memory does not grow with length.

    Args:
        path: The video.
        fps: Pictures a second to give, in Hz.
        max_side: Shrink pictures whose longer side exceeds this many pixels.
        start_s: Time of the first picture, in seconds; what lies before is skipped quickly.
        n_frames: Pictures to give at most; by default all to the video's end.

    Raises:
        VideoError: If there is no such file, or no picture in it can be decoded.
    """
    if fps <= 0 or (max_side is not None and max_side <= 0):
        raise VideoError(f"fps is {fps} and max_side is {max_side}", "Give positive values.")
    if start_s < 0 or (n_frames is not None and n_frames < 0):
        raise VideoError(f"start is {start_s} s, for {n_frames} pictures", "Give 0 or more.")
    period, start = 1 / Fraction(fps), Fraction(start_s)
    with open_video(path) as source:
        held, time, gap, k = None, Fraction(0), Fraction(0), 0
        for next_time, picture in source.pictures(start, period):
            if held is None:
                view = _view_of(picture, source.shown_size(picture, max_side))
            else:
                while start + k * period < next_time - source.tolerance:
                    if k == n_frames:
                        return
                    yield view.to_rgb(held)
                    k += 1
                gap = next_time - time
            held, time = picture, next_time
        if held is None:
            raise _no_picture(source.path)
        end = time + source.length_of_last(held.duration, gap)
        while start + k * period < end - 2 * source.tolerance and k != n_frames:
            yield view.to_rgb(held)
            k += 1
        if k == n_frames:
            return
        if k == 0:
            raise _no_picture(source.path)
        declared = source.declared_end or end
        if source.damaged or declared - end > _SHORTFALL_S:
            logger.warning(
                "%s is damaged or incomplete: using the %.1f s that decode", path, float(end)
            )


def key_times(path: Path | str) -> list[float]:
    """When pictures are shown that are decoded without any before them, in seconds, in order.

    Reads the file and decodes nothing. Empty where the file does not say.

    Raises:
        VideoError: If it cannot be read or has no picture track.
    """
    with open_video(path) as source:
        start = media_start(source.container)
        ticks = [packet.pts for packet in source.packets() if packet.is_keyframe]
        return sorted(float(t * source.time_base - start) for t in ticks if t is not None)


def prefetch(iterator: Iterable[T], depth: int = 8) -> Generator[T, None, None]:
    """Run ``iterator`` in a thread of its own, at most ``depth`` items ahead.

    What it raises is raised here. Closing this generator stops the thread and closes
    ``iterator``.
    """
    items: Queue[tuple[bool, T | BaseException | None]] = Queue(maxsize=depth)
    stopped = Event()

    def put(more: bool, value: T | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                return items.put((more, value), timeout=0.1)
            except Full:
                continue

    def produce() -> None:
        try:
            for item in iterator:
                put(True, item)
                if stopped.is_set():
                    break
            put(False, None)
        except BaseException as error:  # handed to the consumer, whatever it is
            put(False, error)
        finally:
            if close := getattr(iterator, "close", None):
                close()

    thread = Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            more, value = items.get()
            if more:
                yield value  # type: ignore[misc]
            elif isinstance(value, BaseException):
                raise value
            else:
                return
    finally:
        stopped.set()
        thread.join()


@dataclass
class VideoSource:
    """An open video, its picture track, and whether damage was met while reading it."""

    path: Path
    container: InputContainer
    stream: VideoStream
    damaged: bool = False

    @property
    def time_base(self) -> Fraction:
        """Length of one tick of the picture track, in seconds."""
        return self.stream.time_base or Fraction(1, av.time_base)

    @property
    def tolerance(self) -> Fraction:
        """How far a stored time may lie from the true one, in seconds."""
        return min(self.time_base / 2, _ROUNDING_S)

    def packets(self, *others: av.stream.Stream) -> Iterator[av.Packet]:
        """Packets of the picture track (and ``others``) up to the end or to damage."""
        try:
            for packet in self.container.demux(self.stream, *others):
                if packet.is_corrupt:
                    self.damaged = True
                elif packet.size:
                    yield packet
        except av.FFmpegError:
            self.damaged = True

    def pictures(
        self, from_s: Fraction = Fraction(0), period_s: Fraction | None = None
    ) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        """Pictures with their times in seconds, in order of time.

        The first is the one shown at ``from_s``, or an earlier one. With a ``period_s``, pictures
        that are shown at no ``from_s + k * period_s`` may be left out.
        """
        moments = None if period_s is None else (from_s, period_s)
        for offset_s in (from_s, from_s - _LATE_S):
            if offset_s > _SEEK_MARGIN_S and _seek(self.container, int(offset_s * av.time_base)):
                pictures = self._in_order(from_s, moments)
                first = next(pictures, None)
                if first is not None and first[1].pts is not None and first[0] <= from_s:
                    yield first
                    yield from pictures
                    return
                _seek(self.container, 0)
                self.damaged = False
        yield from self._in_order(Fraction(0), moments)

    def _in_order(
        self, from_s: Fraction, moments: tuple[Fraction, Fraction] | None
    ) -> Iterator[tuple[Fraction, av.VideoFrame]]:
        start, last = media_start(self.container), None
        for picture in self._decoded(from_s, moments):
            ticks = picture.dts if picture.pts is None else picture.pts
            if ticks is not None:
                time = ticks * self.time_base - start
            else:
                time = Fraction(0) if last is None else last + self._usual_length()
            if last is None or time > last:
                yield time, picture
                last = time

    def _decoded(
        self, from_s: Fraction, moments: tuple[Fraction, Fraction] | None
    ) -> Iterator[av.VideoFrame]:
        """Pictures as they leave the decoder, before ``from_s`` only those that others need.

        The picture shown at that time is decoded with all that follow, wherever it is; of those
        that follow, if ``moments`` are given (the first and their period, in seconds), pictures
        that are shown at none of them only where others need them.
        """
        start, base = media_start(self.container), self.time_base
        from_ticks = (from_s + start) / base
        packets, before = self.packets(), []
        for packet in packets:
            before.append(packet)
            if packet.dts is None or packet.dts > from_ticks or len(before) == _MOST_AHEAD:
                break  # usually because all that follow are shown later still
        times = [packet.pts for packet in before if packet.pts is not None]
        shown = max((ticks for ticks in times if ticks <= from_ticks), default=None)

        def moments_before(ticks: int) -> int:
            first, period = cast(tuple[Fraction, Fraction], moments)
            return max(0, math.ceil((ticks * base - start - self.tolerance - first) / period))

        codec = self.stream.codec_context
        for packet, next_ticks in _with_next_time(chain(before, packets)):
            if codec.name in _CAN_SKIP:
                ticks = packet.pts
                unseen = ticks is not None and (
                    (shown is not None and ticks < shown)
                    or (moments is not None and next_ticks is not None
                        and moments_before(ticks) == moments_before(next_ticks))
                )  # fmt: skip
                codec.skip_frame = "NONREF" if unseen else "DEFAULT"
            yield from self._decode(packet)
        yield from self._decode(None)

    def _decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        try:
            return self.stream.codec_context.decode(packet)
        except av.FFmpegError:
            self.damaged = True
            return []

    def _usual_length(self) -> Fraction:
        return 1 / (self.stream.average_rate or self.stream.guessed_rate or Fraction(24))

    def length_of_last(self, ticks: int | None, gap: Fraction) -> Fraction:
        """How long the last picture shows, in seconds.

        Args:
            ticks: What the file says, in ticks; 0 or ``None`` if nothing.
            gap: Time between the last two pictures, in seconds; 0 if there is one.
        """
        return (ticks or 0) * self.time_base or gap or self._usual_length()

    @property
    def declared_end(self) -> Fraction | None:
        """When the pictures end by the header, in seconds; ``None`` if it does not say."""
        if self.stream.duration is None:
            return None
        ticks = self.stream.duration + (self.stream.start_time or 0)
        return ticks * self.time_base - media_start(self.container)

    def shown_size(self, picture: av.VideoFrame, max_side: int | None = None) -> tuple[int, int]:
        """Width and height with square pixels, before rotation, at most ``max_side``."""
        aspect = self.stream.sample_aspect_ratio or Fraction(1)
        width, height = picture.width * aspect, Fraction(picture.height)
        shrink = min(Fraction(1), (max_side or 10**9) / max(width, height))
        return max(1, round(width * shrink)), max(1, round(height * shrink))


@contextmanager
def open_video(path: Path | str) -> Iterator[VideoSource]:
    """Open a file for its pictures.

    Raises:
        VideoError: If it cannot be read or has no picture track that can be decoded.
    """
    with open_media(path) as container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
            raise VideoError(f"{path} has no video stream", _GIVE_VIDEO)
        if stream.codec_context is None:
            raise VideoError(
                f"the pictures of {path} are in an unknown codec", "Convert it to H.264 first."
            )
        stream.thread_type = "AUTO"
        yield VideoSource(Path(path), container, stream)


@contextmanager
def open_media(path: Path | str) -> Iterator[InputContainer]:
    """Open a file for its pictures or its sound.

    Raises:
        VideoError: If it is missing, a directory, empty, not readable or not a media file.
    """
    file = Path(path)
    if file.is_dir():
        raise VideoError(f"{file} is a directory", "Name a video file in it.")
    try:
        size = file.stat().st_size
    except OSError as error:
        raise VideoError(f"cannot read {file} ({error.strerror})", "Check the path.") from error
    if not file.is_file():
        raise VideoError(f"{file} is not a regular file", "Give a video file.")
    if size == 0:
        raise VideoError(f"{file} is empty", "Copy or export the video again.")
    try:
        container = av.open(str(file.absolute()), metadata_errors="replace")
    except PermissionError as error:
        raise VideoError(f"may not read {file}", "Change its permissions.") from error
    except av.FFmpegError as error:
        raise VideoError(
            f"{file} is not a video or is incomplete ({error.strerror})",
            "Give a video file, or copy it again.",
        ) from error
    with closing(container):
        if container.format.name in _NOT_VIDEO or container.format.name.endswith("_pipe"):
            raise VideoError(f"{file} is not a video ({container.format.long_name})", _GIVE_VIDEO)
        yield container


def _with_next_time(packets: Iterable[av.Packet]) -> Iterator[tuple[av.Packet, int | None]]:
    """Packets, each with the time in ticks of the picture that is shown after its own.

    ``None`` for the last two in order of time, and where a packet has none.
    """
    middle = _REORDERED
    window: deque[av.Packet | None] = deque([None] * (2 * middle + 1), maxlen=2 * middle + 1)
    times: list[int] = []  # of the pictures in the window, in order
    for packet in chain(packets, repeat(None, middle)):
        if (leaving := _shown_at(window[0])) is not None:
            times.remove(leaving)
        window.append(packet)
        if (coming := _shown_at(packet)) is not None:
            insort(times, coming)
        if (present := window[middle]) is not None:
            after = [] if present.pts is None else times[bisect_right(times, present.pts) :]
            yield present, after[0] if len(after) > 1 else None


def _shown_at(packet: av.Packet | None) -> int | None:
    return None if packet is None or packet.is_discard else packet.pts


def media_start(container: InputContainer) -> Fraction:
    """Container time of presentation time 0, in seconds."""
    return Fraction(container.start_time or 0, av.time_base)


def has_sound_track(path: Path | str) -> bool:
    """Whether a file has a sound track, decodable or not.

    Raises:
        VideoError: If the file cannot be read.
    """
    with open_media(path) as container:
        return any(stream.type == "audio" for stream in container.streams)


def sound_stream(container: InputContainer) -> av.AudioStream | None:
    """The sound track that a player plays, if one can be decoded."""
    stream = container.streams.best("audio")
    if isinstance(stream, av.AudioStream) and stream.codec_context is not None:
        return stream
    return None


@dataclass(frozen=True)
class _Extent:
    """What the packets of a file, or of its last part, say of its length."""

    picture_end: Fraction  # seconds; 0 without any
    sound_end: Fraction
    picture_rate: float  # Hz


def _measure_extent(path: Path | str) -> tuple[_Extent, bool]:
    """The extent of a file and whether it was to go on after that; reads its end if it can."""
    for whole in (False, True):
        with open_video(path) as source:
            container = source.container
            length = declared_length(container)
            if not whole and not _seek(container, length - _TAIL_S * av.time_base):
                continue
            extent = _packet_extent(source)
            if extent.picture_end > 0:
                reached, declared = extent.picture_end, source.declared_end
                if declared is None:  # the header speaks of picture and sound together
                    reached = max(reached, extent.sound_end)
                    declared = Fraction(length, av.time_base)
                return extent, source.damaged or declared - reached > _SHORTFALL_S
    raise VideoError(f"no picture in {path} has a time to show it at", "Convert it to .mp4 first.")


def declared_length(container: InputContainer) -> int:
    """How long the header says that picture and sound last, in microseconds; 0 if it does not.

    Matroska's length counts from the file's time 0, not from the first picture or sound, as
    FFmpeg and browsers write it. MKVToolNix leaves the time before the first out: of such a file
    as much may be missing unnoticed, rather than that a whole one is called cut short.
    """
    length = container.duration or 0
    if "matroska" in container.format.name:
        length -= container.start_time or 0
    return max(0, length)


def _seek(container: InputContainer, offset: int) -> bool:
    try:
        container.seek(max(0, offset) + (container.start_time or 0))
    except av.FFmpegError:
        return False
    return True


def _packet_extent(source: VideoSource) -> _Extent:
    """What the packets from here on say."""
    start, sound = media_start(source.container), sound_stream(source.container)
    sound_end, first, count = Fraction(0), None, 0
    last_two: list[tuple[int, int]] = []
    for packet in source.packets(*([sound] if sound else [])):
        ticks, duration = packet.dts if packet.pts is None else packet.pts, packet.duration or 0
        if ticks is None or packet.is_discard:
            continue
        if packet.stream_index == source.stream.index:
            last_two = nlargest(2, [*last_two, (ticks, duration)])
            first, count = min(ticks, ticks if first is None else first), count + 1
        else:
            sound_end = max(sound_end, (ticks + duration) * packet.time_base - start)
    if first is None:
        return _Extent(Fraction(0), sound_end, 0.0)
    last, duration = last_two[0]
    length = source.length_of_last(duration, (last - last_two[-1][0]) * source.time_base)
    end = last * source.time_base - start + length
    span = (last - first) * source.time_base + length
    return _Extent(end, sound_end, float(count / span))


@dataclass(frozen=True)
class _View:
    """How a player lays out every picture of a track: shrunk, then turned."""

    width: int
    height: int
    swaps_axes: bool = False
    flips_x: bool = False  # after swapping
    flips_y: bool = False
    scaler: VideoReformatter = field(default_factory=VideoReformatter)
    """Kept, for making its tables takes longer than using them; so is the next one."""
    shrinker: VideoReformatter = field(default_factory=VideoReformatter)

    def to_rgb(self, picture: av.VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
        """Convert, shrink and turn in the order that touches the fewest bytes."""
        size, layout = (self.width, self.height), picture.format.name
        if layout in _SHRUNK_FIRST and self.width < picture.width and self.height < picture.height:
            # In two steps, each with a fast path in FFmpeg; both at once has none.
            picture = self.shrinker.reformat(picture, *size, layout, interpolation="AREA")
        rgb = self.scaler.reformat(picture, *size, "rgb24", interpolation="AREA").to_ndarray()
        rgb = rgb.swapaxes(0, 1) if self.swaps_axes else rgb
        rgb = rgb[:, ::-1] if self.flips_x else rgb
        rgb = rgb[::-1] if self.flips_y else rgb
        return np.ascontiguousarray(rgb)


def _view_of(picture: av.VideoFrame, size: tuple[int, int]) -> _View:
    """Read it once a track: a picture asked for its side data lives until garbage collection."""
    matrix = picture.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return _View(*size)
    # Column vectors (x, y): x' = a x + c y, y' = b x + d y, with y pointing down.
    a, b, _, c, d = np.frombuffer(cast(bytes, matrix), np.int32)[:5]
    if abs(b) > abs(a):
        return _View(*size, swaps_axes=True, flips_x=bool(c < 0), flips_y=bool(b < 0))
    return _View(*size, flips_x=bool(a < 0), flips_y=bool(d < 0))


def _no_picture(path: Path) -> VideoError:
    return VideoError(
        f"no picture in {path} can be decoded", "Copy the video again or convert it to H.264."
    )
