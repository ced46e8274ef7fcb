"""Sound read from any file in step with its picture, resampled, mixed and written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from av.container import InputContainer
from jaxtyping import Float32

from dancetomusic.errors import InputError, OutputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.video import media_start, open_media, sound_stream
from dancetomusic.types import Waveform

_JITTER_S = 0.02  # containers round and wander in their sound times; real gaps are longer
_LONGEST_GAP_S = 3600
_MAX_PADDING = 4096  # samples: two of the longest AAC blocks


def read_audio(path: Path | str, sample_rate: int = 24_000) -> Waveform | None:
    """Read the sound of any media file as one channel, whole; see ``stream_audio``.

    Returns:
        ``None`` when there is no sound track, or nothing of it decodes.

    Raises:
        VideoError: If the file cannot be read.
    """
    parts = list(stream_audio(path, sample_rate))
    return Waveform(np.concatenate(parts)[None], sample_rate) if parts else None


def stream_audio(
    path: Path | str, sample_rate: int = 24_000
) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Read the sound of any media file as one channel in chunks; none where it has no sound.

    The first sample is at the picture's time 0. Silence fills gaps, and the time before sound
    that starts late. Sound that cannot be decoded is left out. The length is the sound's own,
    not the picture's. Memory does not grow with length.

    Args:
        path: A video or sound file.
        sample_rate: Rate to give, in Hz.

    Raises:
        VideoError: If the file cannot be read.
    """
    with open_media(path) as container:
        stream = sound_stream(container)
        if stream is None:
            return
        rate = stream.codec_context.sample_rate
        resampler = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
        reserve = _MAX_PADDING * sample_rate // rate + 1  # may turn out to be padding
        held, given, length = np.zeros(0, np.float32), 0, 0
        for chunk in _in_step(container, stream, rate):
            length += chunk.size
            resampled = resampler.resample_chunk(chunk) if rate != sample_rate else chunk
            held = np.concatenate([held, resampled])
            if held.size > 2 * reserve:
                yield held[:-reserve]
                given += held.size - reserve
                held = held[-reserve:]
        if rate != sample_rate and length:
            rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            held = np.concatenate([held, rest])
        length -= _padding(container, stream, length, rate)
        held = held[: round(length * sample_rate / rate) - given]
        if held.size:
            yield held


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


def mix(waveform: Waveform, original: Waveform | None, share: float) -> Waveform:
    """Lay the original sound under the new: ``(1 - share) * new + share * original``.

    The result has the rate, channels and length of ``waveform``; without an original it is
    ``waveform``.

    Raises:
        InputError: If ``share`` is not in [0, 1].
    """
    if not 0 <= share <= 1:
        raise InputError(f"share of the original sound is {share}", "Give a value in [0, 1].")
    if original is None:
        return waveform
    if original.samples.shape[0] != waveform.samples.shape[0]:
        original = original.to_mono()
    other = fit_length(resample(original, waveform.sample_rate), waveform.samples.shape[1])
    mixed = np.float32(1 - share) * waveform.samples + np.float32(share) * other.samples
    return Waveform(mixed, waveform.sample_rate)


def peak_safe(waveform: Waveform) -> Waveform:
    """Turn the sound down as a whole if a sample exceeds full scale; else leave it."""
    peak = float(np.abs(waveform.samples).max(initial=0.0))
    if peak <= 1:
        return waveform
    return Waveform(waveform.samples / np.float32(peak), waveform.sample_rate)


def write_wav(path: Path | str, waveform: Waveform) -> None:
    """Write 16-bit PCM, whole or not at all; sound above full scale is turned down first.

    Raises:
        OutputError: If the file cannot be written there.
    """
    samples = peak_safe(waveform).samples.T
    with sound_output(path) as temporary:
        soundfile.write(
            os.fsencode(temporary), samples, waveform.sample_rate, "PCM_16", format="WAV"
        )


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
    samples, sample_rate = soundfile.read(os.fsencode(path), dtype="float32")
    return Waveform(samples[None], sample_rate)


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


def _in_step(
    container: InputContainer, stream: av.AudioStream, rate: int
) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Consecutive mono chunks from time 0 on, silence where the file has none."""
    start, position = media_start(container), 0
    for frame in _decoded(container, stream):
        chunk = _to_mono(frame)
        if frame.pts is not None:
            time = frame.pts * (stream.time_base or Fraction(1, rate)) - start
            late = round(time * rate) - position
            if abs(late) > _LONGEST_GAP_S * rate:  # a clock that wrapped or broke, no silence
                late = 0
            if position == 0 or abs(late) > _JITTER_S * rate:
                if late > 0:
                    yield np.zeros(late, np.float32)
                    position += late
                chunk = chunk[max(0, -late) :]
        position += chunk.size
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


def _to_mono(frame: av.AudioFrame) -> Float32[np.ndarray, " samples"]:
    """Mean of the channels, full scale at 1."""
    data = frame.to_ndarray()
    if not frame.format.is_planar:
        data = data.reshape(-1, len(frame.layout.channels)).T
    mean = data.mean(axis=0, dtype=np.float64)
    if data.dtype.kind in "iu":  # the unsigned kind has its zero in the middle
        full_scale = 2.0 ** (8 * data.dtype.itemsize - 1)
        mean = mean / full_scale - (data.dtype.kind == "u")
    return mean.astype(np.float32)
