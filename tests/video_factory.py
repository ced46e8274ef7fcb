"""Tiny test videos: every picture carries its own number, every sound its own clicks."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

os.environ.setdefault("SVT_LOG", "1")  # the AV1 encoder reports errors only

WIDTH, HEIGHT = 96, 64
SAMPLE_RATE = 48_000
_COLUMNS, _ROWS = 6, 2  # one bit a block: numbers up to 4095
_MATRICES = {  # degrees clockwise that a player turns the picture: tkhd's a, b, c, d
    0: (1, 0, 0, 1),
    90: (0, 1, -1, 0),
    180: (-1, 0, 0, -1),
    270: (0, -1, 1, 0),
}
_OPTIONS = {
    "libx264": {"preset": "ultrafast", "crf": "18", "bf": "2"},
    "libx265": {"preset": "ultrafast", "x265-params": "log-level=none:pools=1:bframes=2"},
    "libsvtav1": {"preset": "9", "crf": "4"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "20", "b": "0"},
    "mpeg4": {"qmin": "2", "qmax": "3", "bf": "1"},
}


def numbered(number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """A picture that shows ``number`` as twelve black or white blocks."""
    width, height = size
    bits = [number >> bit & 1 for bit in range(_COLUMNS * _ROWS)]
    blocks = np.array(bits, np.uint8).reshape(_ROWS, _COLUMNS) * 255
    picture = np.kron(blocks, np.ones((height // _ROWS, width // _COLUMNS), np.uint8))
    return np.repeat(picture[:, :, None], 3, axis=2)


def read_number(picture: np.ndarray) -> int:
    """The number that a picture shows, at any size, after any codec."""
    height, width = picture.shape[:2]
    rows = (np.arange(_ROWS) + 0.5) * height / _ROWS
    columns = (np.arange(_COLUMNS) + 0.5) * width / _COLUMNS
    bits = picture[rows.astype(int)][:, columns.astype(int), 1].ravel() > 127
    return int(sum(1 << bit for bit, on in enumerate(bits) if on))


def quadrants(_number: int = 0) -> np.ndarray:
    """Red top left, green top right, blue bottom left, white bottom right."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[: HEIGHT // 2, : WIDTH // 2, 0] = 255
    picture[: HEIGHT // 2, WIDTH // 2 :, 1] = 255
    picture[HEIGHT // 2 :, : WIDTH // 2, 2] = 255
    picture[HEIGHT // 2 :, WIDTH // 2 :] = 255
    return picture


def clicks(times: Sequence[float], duration_s: float, rate: int = SAMPLE_RATE) -> np.ndarray:
    """Mono sound with a short decaying burst that starts at each of ``times`` (seconds)."""
    sound = np.zeros(round(duration_s * rate), np.float32)
    t = np.arange(round(0.03 * rate)) / rate
    burst = (0.8 * np.exp(-t / 0.006) * np.cos(2 * np.pi * 1500 * t)).astype(np.float32)
    for time in times:
        start = round(time * rate)
        part = burst[: max(0, sound.size - start)]
        sound[start : start + part.size] += part
    return sound


def click_times(sound: np.ndarray, rate: int) -> list[float]:
    """Where bursts of ``clicks`` start, in seconds: first samples above a tenth of the peak."""
    loud = np.flatnonzero(np.abs(sound) > 0.1 * np.abs(sound).max())
    starts = loud[np.diff(loud, prepend=-rate) > 0.1 * rate]
    return [float(start) / rate for start in starts]


def write_video(
    path: Path,
    *,
    fps: Fraction | int = 24,
    n_frames: int = 48,
    times: Sequence[Fraction] | None = None,
    codec: str = "libx264",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    picture: Callable[[int], np.ndarray] | None = None,
    sound: np.ndarray | None = None,
    sound_rate: int = SAMPLE_RATE,
    sound_codec: str = "aac",
    sound_start_s: float = 0.0,
    sound_gap_s: float = 0.0,
    gop: int = 12,
    time_base: Fraction | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    container_format: str | None = None,
    codec_tag: str | None = None,
) -> Path:
    """Write a video whose picture ``k`` shows ``k`` at ``times[k]``, or at ``k / fps``.

    The sound pauses for ``sound_gap_s`` after its first second.
    """
    if times is None:
        times = [k / Fraction(fps) for k in range(n_frames)]
    base = time_base or (1 / Fraction(fps) if codec == "mpeg4" else Fraction(1, 120_000))
    draw = picture or (lambda number: numbered(number, size))
    with av.open(
        str(path), "w", format=container_format, container_options=container_options or {}
    ) as output:
        video = output.add_stream(
            codec, rate=Fraction(fps), options={**_OPTIONS.get(codec, {}), **(options or {})}
        )
        video.width, video.height, video.pix_fmt = size[0], size[1], "yuv420p"
        video.codec_context.gop_size = gop
        video.codec_context.time_base = base
        if codec_tag:
            video.codec_context.codec_tag = codec_tag
        audio = None
        if sound is not None:
            audio = output.add_stream(sound_codec, rate=sound_rate)
            audio.layout = "mono"
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw(number), format="rgb24")
            frame.pts, frame.time_base = round(time / base), base
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        if codec == "libsvtav1":  # freeing this encoder waits for itself once in a while
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(video.codec_context))
        if audio is not None and sound is not None:
            for frame in _sound_frames(sound, sound_rate, sound_start_s, sound_gap_s):
                output.mux(audio.encode(frame))
            output.mux(audio.encode(None))
    return path


def _sound_frames(
    sound: np.ndarray, rate: int, start_s: float = 0.0, gap_s: float = 0.0
) -> Iterator[av.AudioFrame]:
    for start in range(0, sound.size, 960):
        chunk = np.ascontiguousarray(sound[None, start : start + 960])
        frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = start + round((start_s + (gap_s if start >= rate else 0.0)) * rate)
        yield frame


def write_sound(path: Path, sound: np.ndarray, rate: int = SAMPLE_RATE, codec: str = "aac") -> Path:
    """Write a file that has sound and no picture."""
    with av.open(str(path), "w") as output:
        audio = output.add_stream(codec, rate=rate)
        audio.layout = "mono"
        for frame in _sound_frames(sound, rate):
            output.mux(audio.encode(frame))
        output.mux(audio.encode(None))
    return path


def cut_short(source: Path, target: Path, length_s: float) -> Path:
    """The first seconds of a video's pictures, copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(source)) as whole, av.open(str(target), "w") as cut:
        pictures = cut.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(whole.streams.video[0]):
            if packet.dts is not None and packet.pts * packet.time_base < length_s:
                packet.stream = pictures
                cut.mux(packet)
    return target


def set_rotation(path: Path, degrees: int, *, mirrored: bool = False) -> Path:
    """Make players turn an MP4's picture clockwise, by rewriting its track matrix."""
    data = bytearray(path.read_bytes())
    a, b, c, d = _MATRICES[degrees]
    if mirrored:
        a, c = -a, -c
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    for kind, start, _ in _boxes(data):
        if kind == "tkhd" and struct.unpack_from(">I", data, start + 76)[0]:  # it has a width
            data[start + 40 : start + 76] = matrix
    path.write_bytes(data)
    return path


def cut_in(path: Path, start_s: float) -> Path:
    """Hide the first ``start_s`` seconds of every track of an MP4 by its edit lists alone."""
    data = bytearray(path.read_bytes())
    starts: dict[str, list[int]] = {}
    for kind, start, _ in _boxes(data):
        starts.setdefault(kind, []).append(start)
    movie_scale = struct.unpack_from(">I", data, starts["mvhd"][0] + 12)[0]
    for media, edits in zip(starts["mdhd"], starts["elst"], strict=True):
        media_scale = struct.unpack_from(">I", data, media + 12)[0]
        duration, media_time = struct.unpack_from(">Ii", data, edits + 8)
        duration -= round(start_s * movie_scale)
        media_time += round(start_s * media_scale)
        struct.pack_into(">Ii", data, edits + 8, duration, media_time)
    path.write_bytes(data)
    return path


def _boxes(
    data: bytes | bytearray, start: int = 0, end: int | None = None
) -> Iterator[tuple[str, int, int]]:
    """Kind, start of the content and end of each ISO box, parents before children."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        name = kind.decode("latin1")
        yield name, start + 8, start + size
        if name in ("moov", "trak", "edts", "mdia"):
            yield from _boxes(data, start + 8, start + size)
        start += size


def declare_duration(path: Path, duration_s: float) -> Path:
    """Make the movie header of an MP4 state another length than its tracks have."""
    data = bytearray(path.read_bytes())
    start = next(start for kind, start, _ in _boxes(data) if kind == "mvhd")
    scale = struct.unpack_from(">I", data, start + 12)[0]
    struct.pack_into(">I", data, start + 16, round(duration_s * scale))
    path.write_bytes(data)
    return path
