"""The sound of a video at one rate, as one channel, in a file that can be cut at any sample."""

from __future__ import annotations

import os
from pathlib import Path

import soundfile

from dancetomusic.io.audio import sound_output, stream_audio
from dancetomusic.io.video import open_media, sound_stream
from dancetomusic.types import Waveform


def standardise(media: Path, target: Path, sample_rate: int) -> Path | None:
    """Write the sound of ``media`` to ``target`` as 16-bit FLAC; sample 0 is at time 0.

    A target that exists is kept. Memory does not grow with length.

    Returns:
        ``None`` when there is no sound track.

    Raises:
        VideoError: If the file cannot be read.
        OutputError: If the target cannot be written.
    """
    if target.is_file():
        return target
    with open_media(media) as container:
        if sound_stream(container) is None:
            return None
    with (
        sound_output(target) as temporary,
        soundfile.SoundFile(
            os.fsencode(temporary), "w", sample_rate, 1, "PCM_16", format="FLAC"
        ) as sound,
    ):
        for chunk in stream_audio(media, sample_rate):
            sound.write(chunk.clip(-1.0, 1.0))
    return target


def read_part(sound: Path, start_s: float, n_samples: int) -> Waveform:
    """A part of a standardised sound; silence where it has ended."""
    with soundfile.SoundFile(os.fsencode(sound)) as file:
        file.seek(min(round(start_s * file.samplerate), file.frames))
        samples = file.read(n_samples, dtype="float32", fill_value=0.0)
        return Waveform(samples[None], file.samplerate)
