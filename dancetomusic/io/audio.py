"""Sound read from any file in step with its picture, resampled and written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Literal

import av
import numpy as np
import soundfile
import soxr
from av.container import InputContainer, OutputContainer
from jaxtyping import Float32

from dancetomusic.errors import InputError, OutputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.video import media_start, open_media, sound_stream
from dancetomusic.types import Waveform

_JITTER_S = 0.02  # containers round and wander in their sound times; real gaps are longer
_LONGEST_GAP_S = 3600
_MAX_PADDING = 4096  # samples: two of the longest AAC blocks

SOUND_CODEC_RATES = {  # what their containers time exactly, or their players take
    "aac": (24_000, 44_100, 48_000),
    "libopus": (48_000,),
    "libmp3lame": (44_100, 48_000),
}
_BITS_PER_CHANNEL = 128_000
# FFmpeg's AAC as plain as it can be: what serves low bit rates (noise substitution, intensity
# stereo, temporal noise shaping) adds up to 2.5 dB to peaks at this one, and the other search for
# scale factors starves the first block.
_CODER_OPTIONS = {"aac": {"aac_coder": "fast", "aac_pns": "0", "aac_is": "0", "aac_tns": "0"}}


@dataclass(frozen=True)
class _CodedFile:
    """How a file with a given suffix is written: FFmpeg's names of container and encoder."""

    format: str
    codec: str
    options: Mapping[str, str]


_CODED = {
    ".mp3": _CodedFile("mp3", "libmp3lame", {"id3v2_version": "3"}),
    ".m4a": _CodedFile("ipod", "aac", {"movflags": "+faststart"}),
    ".ogg": _CodedFile("ogg", "libopus", {}),
}
SOUND_SUFFIXES = (".wav", ".flac", *_CODED)
"""Suffixes that ``write_audio`` can write."""
_TAG_NAMES = ("title", "artist", "album", "comment", "copyright", "license", "genre", "date")


def read_audio(path: Path | str, sample_rate: int = 24_000, n_channels: int = 1) -> Waveform | None:
    """Read the sound of any media file, whole; see ``stream_audio``.

    Args:
        path: A video or sound file.
        sample_rate: Rate to give, in Hz.
        n_channels: Channels to give; if the file has another number, each is the mean of all.

    Returns:
        ``None`` when there is no sound track, or nothing of it decodes.

    Raises:
        VideoError: If the file cannot be read.
    """
    parts = list(_stream(path, sample_rate, n_channels))
    return Waveform(np.concatenate(parts, axis=1), sample_rate) if parts else None


def stream_audio(
    path: Path | str, sample_rate: int = 24_000
) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Read the sound of any media file as one channel in chunks; none where it has no sound.

    The first sample is at the picture's time 0. Silence fills gaps, and the time before sound
    that starts late. Sound that cannot be decoded is left out. The length is the sound's own,
    not the picture's. Memory does not grow with length.

    Raises:
        VideoError: If the file cannot be read.
    """
    for chunk in _stream(path, sample_rate, 1):
        yield chunk[0]


def resample(waveform: Waveform, sample_rate: int) -> Waveform:
    """Change the rate with a linear-phase filter; times of events stay.

    Raises:
        InputError: If the rate is not positive.
    """
    if sample_rate <= 0:
        raise InputError(f"sample rate is {sample_rate} Hz", "Give a positive rate.")
    if sample_rate == waveform.sample_rate:
        return waveform
    samples = soxr.resample(waveform.samples.T, waveform.sample_rate, sample_rate).T
    return Waveform(np.ascontiguousarray(samples, dtype=np.float32), sample_rate)


def fit_length(waveform: Waveform, n_samples: int) -> Waveform:
    """Cut, or fill with silence, to ``n_samples`` a channel."""
    samples = waveform.samples[:, :n_samples]
    missing = n_samples - samples.shape[1]
    return Waveform(np.pad(samples, ((0, 0), (0, missing))), waveform.sample_rate)


def peak_safe(waveform: Waveform) -> Waveform:
    """Turn the sound down as a whole if a sample exceeds full scale; else leave it."""
    peak = float(np.abs(waveform.samples).max(initial=0.0))
    if peak <= 1:
        return waveform
    return Waveform(waveform.samples / np.float32(peak), waveform.sample_rate)


def write_audio(
    path: Path | str,
    waveform: Waveform,
    *,
    bits: Literal[16, 24] = 16,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write a sound file of the kind that the suffix says, whole or not at all.

    Sound above full scale is turned down first. Sample 0 is at time 0 for every player that
    honours what the file says about its coder's delay.

    Args:
        path: ``.wav``, ``.flac``, ``.mp3``, ``.m4a`` (AAC) or ``.ogg`` (Opus); the last three are
            coded at 128 kbit/s a channel.
        waveform: More than two channels become one.
        bits: Of a sample in ``.wav`` and ``.flac``, 16 or 24.
        tags: Texts by name, such as ``title`` and ``comment``; those that the kind of file has no
            place for are left out.

    Raises:
        OutputError: If the file cannot be written there, or has an unknown suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SOUND_SUFFIXES:
        raise OutputError(
            f"{path} does not end in a known sound suffix", f"Use {', '.join(SOUND_SUFFIXES)}."
        )
    if waveform.samples.shape[0] > 2:
        waveform = waveform.to_mono()
    waveform = peak_safe(waveform)
    if suffix in _CODED:
        _write_coded(path, waveform, _CODED[suffix], tags or {})
    else:
        _write_samples(path, waveform, suffix[1:].upper(), f"PCM_{bits}", tags or {})


def write_stems(
    folder: Path | str, stems: Mapping[str, Waveform], *, tags: Mapping[str, str] | None = None
) -> list[Path]:
    """Write ``NAME.wav`` for each stem, of 32-bit floats, so that they add up as they are.

    Signs that a file name may not have become ``-``.

    The folder is made if it is not there; ``tags`` are as for ``write_audio``.

    Raises:
        OutputError: If a file cannot be written there.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the folder {folder} ({error.strerror})", "Choose another folder."
        ) from error
    paths = [Path(folder) / (re.sub(r"[^\w .+-]", "-", name) + ".wav") for name in stems]
    for path, stem in zip(paths, stems.values(), strict=True):
        _write_samples(path, stem, "WAV", "FLOAT", tags or {})
    return paths


def write_flac(path: Path | str, waveform: Waveform) -> None:
    """Write one channel as 16-bit FLAC, whole or not at all; sound above full scale is clipped.

    Raises:
        OutputError: If the file cannot be written there.
    """
    samples = waveform.to_mono().samples[0].clip(-1.0, 1.0)
    with sound_output(path) as temporary:
        soundfile.write(
            os.fsencode(temporary), samples, waveform.sample_rate, "PCM_16", format="FLAC"
        )


def read_flac(path: Path | str) -> Waveform:
    """Read exactly what ``write_flac`` wrote."""
    samples, sample_rate = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    return Waveform(np.ascontiguousarray(samples.T), sample_rate)


@contextmanager
def sound_output(path: Path | str) -> Iterator[Path]:
    """``atomic_output`` for libsndfile, which has errors of its own.

    Raises:
        OutputError: If the file cannot be written.
    """
    with atomic_output(path) as temporary:
        try:
            yield temporary
        except soundfile.LibsndfileError as error:
            raise OutputError(
                f"writing {path} failed ({error.error_string.rstrip('.')})",
                "Free some disk space or choose another output path.",
            ) from error


def coded_sound(sound: Waveform, output: OutputContainer, codec: str) -> Iterator[av.Packet]:
    """``sound`` as packets of a new track of ``output``, sample 0 at time 0.

    The sound has one or two channels at one of the codec's ``SOUND_CODEC_RATES``; ``codec`` is
    FFmpeg's name of the encoder.
    """
    n_channels = sound.samples.shape[0]
    stream = output.add_stream(
        codec,
        sound.sample_rate,
        bit_rate=n_channels * _BITS_PER_CHANNEL,
        layout="mono" if n_channels == 1 else "stereo",
        options=_CODER_OPTIONS.get(codec, {}),
    )
    assert isinstance(stream, av.AudioStream)
    return _encoded_sound(sound, stream)


def _encoded_sound(sound: Waveform, stream: av.AudioStream) -> Iterator[av.Packet]:
    for start in range(0, sound.samples.shape[1], sound.sample_rate):
        chunk = np.ascontiguousarray(sound.samples[:, start : start + sound.sample_rate])
        frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout=stream.layout.name)
        frame.sample_rate, frame.time_base = sound.sample_rate, Fraction(1, sound.sample_rate)
        frame.pts = start
        yield from stream.encode(frame)
    yield from stream.encode(None)


def fit_rate(waveform: Waveform, codec: str) -> Waveform:
    """At a rate that a codec takes: its own one, else the codec's highest."""
    rates = SOUND_CODEC_RATES[codec]
    return waveform if waveform.sample_rate in rates else resample(waveform, max(rates))


def _write_coded(
    path: Path | str, waveform: Waveform, kind: _CodedFile, tags: Mapping[str, str]
) -> None:
    sound = fit_rate(waveform, kind.codec)
    options = {"fflags": "+bitexact", **kind.options}
    if kind.codec == "aac":  # else the length is rounded to milliseconds
        options["movie_timescale"] = str(sound.sample_rate)
    with atomic_output(path) as temporary:
        try:
            with av.open(
                str(temporary), "w", format=kind.format, container_options=options
            ) as output:
                output.metadata.update(tags)
                for packet in coded_sound(sound, output, kind.codec):
                    output.mux(packet)
        except av.FFmpegError as error:
            raise OutputError(
                f"writing {path} failed ({error.strerror})", "Choose another output path or type."
            ) from error


def _write_samples(
    path: Path | str, waveform: Waveform, container: str, subtype: str, tags: Mapping[str, str]
) -> None:
    rate, n_channels = waveform.sample_rate, waveform.samples.shape[0]
    with (
        sound_output(path) as temporary,
        soundfile.SoundFile(
            os.fsencode(temporary), "w", rate, n_channels, subtype, format=container
        ) as file,
    ):
        for name in _TAG_NAMES:
            if name in tags:
                setattr(file, name, tags[name])
        file.write(waveform.samples.T)


def _stream(
    path: Path | str, sample_rate: int, n_channels: int
) -> Iterator[Float32[np.ndarray, "channels samples"]]:
    """The sound of any media file in chunks, in step with its picture; see ``stream_audio``."""
    with open_media(path) as container:
        stream = sound_stream(container)
        if stream is None:
            return
        rate = stream.codec_context.sample_rate
        resampler = soxr.ResampleStream(rate, sample_rate, n_channels, dtype="float32")
        reserve = _MAX_PADDING * sample_rate // rate + 1  # may turn out to be padding
        none = np.zeros((n_channels, 0), np.float32)
        held, given, length = none, 0, 0

        def resampled(
            chunk: Float32[np.ndarray, "channels samples"], last: bool = False
        ) -> Float32[np.ndarray, "channels resampled"]:
            if rate == sample_rate:
                return chunk
            flat = chunk.T if n_channels > 1 else chunk[0]
            result = resampler.resample_chunk(np.ascontiguousarray(flat), last=last)
            return result.T if n_channels > 1 else result[None]

        for chunk in _in_step(container, stream, rate, n_channels):
            length += chunk.shape[1]
            held = np.concatenate([held, resampled(chunk)], axis=1)
            if held.shape[1] > 2 * reserve:
                yield held[:, :-reserve]
                given += held.shape[1] - reserve
                held = held[:, -reserve:]
        if length:
            held = np.concatenate([held, resampled(none, last=True)], axis=1)
        length -= _padding(container, stream, length, rate)
        held = held[:, : round(length * sample_rate / rate) - given]
        if held.shape[1]:
            yield held


def _in_step(
    container: InputContainer, stream: av.AudioStream, rate: int, n_channels: int
) -> Iterator[Float32[np.ndarray, "channels samples"]]:
    """Consecutive chunks from time 0 on, silence where the file has none."""
    start, position = media_start(container), 0
    for frame in _decoded(container, stream):
        chunk = _to_channels(frame, n_channels)
        if frame.pts is not None:
            time = frame.pts * (stream.time_base or Fraction(1, rate)) - start
            late = round(time * rate) - position
            if abs(late) > _LONGEST_GAP_S * rate:  # a clock that wrapped or broke, no silence
                late = 0
            if position == 0 or abs(late) > _JITTER_S * rate:
                if late > 0:
                    yield np.zeros((n_channels, late), np.float32)
                    position += late
                chunk = chunk[:, max(0, -late) :]
        position += chunk.shape[1]
        yield chunk


def _padding(container: InputContainer, stream: av.AudioStream, length: int, rate: int) -> int:
    """Samples at the end that only fill the coder's last block, by the track's length."""
    if stream.duration is None or "mp4" not in container.format.name:
        return 0
    ticks = (stream.start_time or 0) + stream.duration
    end = (ticks * (stream.time_base or Fraction(1, rate))) - media_start(container)
    excess = length - round(end * rate)
    return excess if 0 < excess <= _MAX_PADDING else 0


def _decoded(container: InputContainer, stream: av.AudioStream) -> Iterator[av.AudioFrame]:
    """Frames that can be decoded; what cannot leaves a gap in their times."""
    for packet in chain(_packets(container, stream), [None]):
        try:
            frames = stream.codec_context.decode(packet)
        except av.FFmpegError:
            continue
        yield from frames


def _packets(container: InputContainer, stream: av.AudioStream) -> Iterator[av.Packet]:
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except av.FFmpegError:
        return  # the file ends here


def _to_channels(frame: av.AudioFrame, n_channels: int) -> Float32[np.ndarray, "channels samples"]:
    """The channels if there are that many, else their mean for each, full scale at 1."""
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, len(frame.layout.channels)).T
    sound = data.astype(np.float64)
    if len(data) != n_channels:
        sound = sound.mean(axis=0, keepdims=True).repeat(n_channels, axis=0)
    if data.dtype.kind in "iu":  # the unsigned kind has its zero in the middle
        full_scale = 2.0 ** (8 * data.dtype.itemsize - 1)
        sound = sound / full_scale - (data.dtype.kind == "u")
    return sound.astype(np.float32)
