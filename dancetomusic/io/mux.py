"""New sound on a video."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from pathlib import Path

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream
from jaxtyping import UInt8

from dancetomusic.errors import OutputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.audio import coded_sound, fit_length, fit_rate, peak_safe
from dancetomusic.io.video import (
    VideoInfo,
    VideoSource,
    media_start,
    open_video,
    prefetch,
    probe_video,
    read_frames,
)
from dancetomusic.types import POSE_FPS, Waveform

logger = logging.getLogger(__name__)

_BT709 = 1  # ISO/IEC 23091-2: the number of matrix, primaries and transfer alike


@dataclass(frozen=True)
class _Container:
    """How a file with a given suffix is written.

    Attributes:
        codecs: Picture codecs that are copied into it as they are; empty for any but
            ``_NEVER_COPIED``.
        is_mov: Whether it has edit lists and codec tags.
    """

    format: str
    sound_codec: str
    video_codec: str
    video_options: dict[str, str]
    codecs: tuple[str, ...] = ()
    is_mov: bool = False


_NEVER_COPIED = ("gif", "apng", "png", "rawvideo")
_FASTEST_FPS = 60.0
_MP4 = ("h264", "hevc", "mpeg4", "av1", "vp9", "mpeg1video", "mpeg2video", "mjpeg")
_MOV = ("h264", "hevc", "mpeg4", "prores", "mpeg2video", "mjpeg", "dvvideo")
_X264 = ("libx264", {"crf": "20", "preset": "veryfast"})
_VP9 = ("libvpx-vp9", {"crf": "32", "b": "0", "deadline": "realtime", "cpu-used": "7"})
_CONTAINERS = {
    ".mp4": _Container("mp4", "aac", *_X264, codecs=_MP4, is_mov=True),
    ".m4v": _Container("mp4", "aac", *_X264, codecs=_MP4, is_mov=True),
    ".mov": _Container("mov", "aac", *_X264, codecs=_MOV, is_mov=True),
    ".mkv": _Container("matroska", "libopus", *_X264),
    ".webm": _Container("webm", "libopus", *_VP9, codecs=("vp8", "vp9", "av1")),
}
VIDEO_SUFFIXES = tuple(_CONTAINERS)
"""Suffixes that ``mux`` can write."""


def mux(
    video_path: Path | str,
    waveform: Waveform,
    output_path: Path | str,
    *,
    draw: Callable[[int, UInt8[np.ndarray, "height width 3"]], UInt8[np.ndarray, "height width 3"]]
    | None = None,
    fps: float = POSE_FPS,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write a video with ``waveform`` as its only sound, from the picture's time 0.

    Sound beyond the last picture is cut; missing sound is silence. Without ``draw`` the coded
    pictures, their times and their rotation are copied as they are, unless the output's container
    cannot hold them: they are then re-encoded at the video's own rate, with one warning.

    Args:
        video_path: Where the pictures come from.
        waveform: The new sound; more than two channels become one.
        output_path: ``.mp4``, ``.m4v``, ``.mov``, ``.mkv`` or ``.webm``.
        draw: Called with ``k`` and the picture at ``k / fps`` seconds; what it gives is
            re-encoded (an odd last row or column is lost).
        fps: Picture rate with ``draw``, in Hz.
        tags: Texts by name, such as ``title`` and ``comment``, to write into the file.

    Raises:
        VideoError: If the video cannot be read.
        OutputError: If the output cannot be written, is the input, or has an unknown suffix.
    """
    target = Path(output_path)
    container = _container_of(target)
    if target.exists() and target.samefile(video_path):
        raise OutputError(f"{target} is the input video", "Name another output file.")
    info = probe_video(video_path)
    copied = draw is None and _can_copy(container, info.video_codec)
    if draw is None and not copied:
        logger.warning(
            "%s cannot hold the %s pictures of %s: they are re-encoded",
            target.suffix,
            info.video_codec,
            video_path,
        )
        fps = min(info.source_fps, _FASTEST_FPS) or fps
    sound = _fit(waveform, info.duration_s, container.sound_codec)
    options = {"fflags": "+bitexact", "avoid_negative_ts": "disabled"}
    if container.is_mov:
        options["movflags"] = "+faststart"
    with ExitStack() as stack, atomic_output(target) as temporary:
        source = stack.enter_context(open_video(video_path))
        try:
            with av.open(
                str(temporary), "w", format=container.format, container_options=options
            ) as output:
                output.metadata.update(tags or {})
                if copied:
                    pictures = _copied(source, output, target, container, info)
                else:
                    frames = prefetch(read_frames(video_path, fps))
                    drawn = (draw(k, f) if draw else f for k, f in enumerate(frames))
                    stack.callback(frames.close)
                    pictures = _coded(drawn, output, container, info, fps)
                sounds = coded_sound(sound, output, container.sound_codec)
                for packet in merge(pictures, sounds, key=_decoding_time):
                    output.mux(packet)
        except av.FFmpegError as error:
            if copied and isinstance(error, av.ArgumentError):
                raise _cannot_hold(target, info) from error
            raise OutputError(
                f"writing {target} failed ({error.strerror})", "Choose another output path or type."
            ) from error


def _can_copy(container: _Container, codec: str) -> bool:
    """Whether pictures of a codec go into a container as they are."""
    return codec in container.codecs or not (container.codecs or codec in _NEVER_COPIED)


def _container_of(target: Path) -> _Container:
    suffix = target.suffix.lower()
    if suffix not in _CONTAINERS:
        raise OutputError(
            f"{target} does not end in a known video suffix", f"Use {', '.join(_CONTAINERS)}."
        )
    return _CONTAINERS[suffix]


def _fit(waveform: Waveform, duration_s: float, codec: str) -> Waveform:
    if waveform.samples.shape[0] > 2:
        waveform = waveform.to_mono()
    waveform = fit_rate(waveform, codec)
    return fit_length(peak_safe(waveform), round(duration_s * waveform.sample_rate))


def _copied(
    source: VideoSource,
    output: OutputContainer,
    target: Path,
    container: _Container,
    info: VideoInfo,
) -> Iterator[av.Packet]:
    """The source's picture packets for ``output``, with the presentation starting at 0."""
    try:
        stream = output.add_stream_from_template(source.stream, opaque=True)
    except ValueError as error:
        raise _cannot_hold(target, info) from error
    if container.is_mov and "mp4" in source.container.format.name:
        stream.codec_context.codec_tag = source.stream.codec_context.codec_tag
    elif container.is_mov and info.video_codec == "hevc":
        stream.codec_context.codec_tag = "hvc1"  # the only one that Apple's players take
    offset = round(media_start(source.container) / source.time_base)
    packets = source.packets()
    if not container.is_mov:
        packets = _without_hidden(packets, target, source.path)
    return _moved(_with_decoding_times(packets), stream, offset)


def _moved(packets: Iterable[av.Packet], stream: VideoStream, offset: int) -> Iterator[av.Packet]:
    for packet in packets:
        decoding = packet.dts or 0
        packet.dts = decoding - offset
        packet.pts = (decoding if packet.pts is None else packet.pts) - offset
        packet.stream = stream
        yield packet


def _without_hidden(
    packets: Iterable[av.Packet], target: Path, source: Path
) -> Iterator[av.Packet]:
    """Leave out pictures that an edit list hides, if the shown ones do not build on them."""
    hidden = shown = False
    for packet in packets:
        if packet.is_discard:
            hidden = True
            continue
        if hidden and not shown and not packet.is_keyframe:
            raise OutputError(
                f"{target.suffix} cannot hide the pictures before the start of {source}",
                "Name an .mp4 file.",
            )
        shown = True
        yield packet


def _with_decoding_times(packets: Iterable[av.Packet]) -> Iterator[av.Packet]:
    """Fill in the decoding times that some containers leave out of the first packets."""
    waiting: list[av.Packet] = []
    for packet in packets:
        waiting.append(packet)
        if packet.dts is None:
            continue
        for steps, early in enumerate(reversed(waiting)):
            early.dts = packet.dts - steps * max(1, packet.duration or 0)
        yield from waiting
        waiting.clear()
    # None at all: in the order of the shown times, early enough that each comes before its own.
    times = sorted(packet.pts or 0 for packet in waiting)
    lead = max((time - (p.pts or 0) for time, p in zip(times, waiting, strict=True)), default=0)
    for packet, time in zip(waiting, times, strict=True):
        packet.dts = time - lead
        yield packet


def _coded(
    frames: Iterable[UInt8[np.ndarray, "height width 3"]],
    output: OutputContainer,
    container: _Container,
    info: VideoInfo,
    fps: float,
) -> Iterator[av.Packet]:
    """Pictures as packets of a new track of ``output``, number ``k`` at ``k / fps``."""
    rate = Fraction(fps).limit_denominator(1001)
    stream = output.add_stream(container.video_codec, rate, container.video_options)
    assert isinstance(stream, VideoStream)
    stream.width, stream.height = info.width & ~1, info.height & ~1  # 4:2:0 needs even sizes
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = 1 / rate
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = ColorRange.MPEG
    return _encoded_pictures(frames, stream)


def _encoded_pictures(
    frames: Iterable[UInt8[np.ndarray, "height width 3"]], stream: VideoStream
) -> Iterator[av.Packet]:
    for k, frame in enumerate(frames):
        even = np.ascontiguousarray(frame[: stream.height, : stream.width])
        picture = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU709", dst_color_range=ColorRange.MPEG
        )
        picture.pts, picture.time_base = k, stream.codec_context.time_base
        yield from stream.encode(picture)
    yield from stream.encode(None)


def _decoding_time(packet: av.Packet) -> Fraction:
    return (packet.dts or 0) * packet.time_base


def _cannot_hold(target: Path, info: VideoInfo) -> OutputError:
    remedy = "Name an .mkv file" if target.suffix.lower() != ".mkv" else "Convert it to H.264"
    return OutputError(
        f"{target.suffix} cannot hold the {info.video_codec} pictures of {info.path}", f"{remedy}."
    )
