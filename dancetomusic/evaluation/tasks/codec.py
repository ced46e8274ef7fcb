"""What a codec does to sounds, in a table beside Opus on the same sounds."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dancetomusic.codec.base import Codec
from dancetomusic.codec.registry import load_codec
from dancetomusic.errors import InputError
from dancetomusic.evaluation.pieces import read_sound
from dancetomusic.evaluation.report import Cell, cell_text, mean_cell, table
from dancetomusic.io.audio import fit_length, resample
from dancetomusic.metrics.audio_distance import (
    BUZZ_LIMIT_HZ,
    bass_pitch_agreement,
    hop_buzz,
    log_mel_distance_db,
    perplexity,
    si_sdr_db,
)
from dancetomusic.metrics.onsets import detect_onsets, onset_f1
from dancetomusic.metrics.sound_character import attack_ms, frame_lines_db
from dancetomusic.stems.base import Mix
from dancetomusic.stems.hpss import BASS_LIMIT_HZ, HpssSeparator
from dancetomusic.types import Waveform

OPUS_RATES_BPS = (6_000, 12_000, 24_000)
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")
COLUMNS = {
    "log_mel_db": "log-mel dB",
    "log_mel_low_db": f"below {BASS_LIMIT_HZ:.0f} Hz",
    "si_sdr_db": "SI-SDR dB",
    "onset_f1": "onset F1 50 ms",
    "onset_f1_10_ms": "10 ms",
    "bass_pitch": "bass pitch",
    "buzz": f"buzz > {BUZZ_LIMIT_HZ / 1000:.0f} kHz",
    "lines_db": "lines, dB",
    "attack_ms": "attack, ms",
}


def opus_round_trip(waveform: Waveform, bit_rate_bps: int) -> Waveform:
    """A mono sound through Opus at a bit rate and back, aligned with the input.

    Raises:
        InputError: If the rate is not one of Opus's own (8, 12, 16, 24 or 48 kHz).
    """
    import av

    if waveform.sample_rate not in (8_000, 12_000, 16_000, 24_000, 48_000):
        raise InputError(f"Opus has no rate of {waveform.sample_rate} Hz", "Resample first.")
    mono = np.ascontiguousarray(waveform.to_mono().samples)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=waveform.sample_rate, layout="mono")
        stream.bit_rate = bit_rate_bps
        frame = av.AudioFrame.from_ndarray(mono, format="flt", layout="mono")
        frame.sample_rate = waveform.sample_rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as coded:
        rate = coded.streams.audio[0].rate
        frames = [frame.to_ndarray() for frame in coded.decode(audio=0)]
    decoded = Waveform(np.concatenate(frames, axis=1).astype(np.float32), rate)
    return fit_length(resample(decoded.to_mono(), waveform.sample_rate), mono.shape[1])


def codec_round_trip(codec: Codec, waveform: Waveform) -> Waveform:
    """A sound through a codec and back, cut to the length of the input."""
    return fit_length(codec.decode(codec.encode(waveform)), waveform.samples.shape[1])


def measure(reference: Waveform, estimate: Waveform, *, hop_length: int = 320) -> dict[str, float]:
    """All columns of one sound; both at one rate and length."""
    onsets = detect_onsets(reference), detect_onsets(estimate)
    return {
        "log_mel_db": log_mel_distance_db(reference, estimate),
        "log_mel_low_db": log_mel_distance_db(reference, estimate, below_hz=BASS_LIMIT_HZ),
        "si_sdr_db": si_sdr_db(reference, estimate),
        "onset_f1": onset_f1(*onsets),
        "onset_f1_10_ms": onset_f1(*onsets, 0.01),
        "bass_pitch": bass_pitch_agreement(reference, estimate),
        "buzz": hop_buzz(estimate, hop_length),
        "lines_db": frame_lines_db(estimate, estimate.sample_rate / hop_length),
        "attack_ms": attack_ms(estimate),
    }


def codec_table(
    codecs: Mapping[str, Codec], waveforms: Sequence[Waveform]
) -> dict[str, dict[str, list[float]]]:
    """Values of every column, sound by sound, for the original, Opus and each codec.

    Raises:
        InputError: If there is no sound.
    """
    if not waveforms:
        raise InputError("there is no sound to measure", "Name audio files or folders.")
    ways: dict[str, Callable[[Waveform], Waveform]] = {"the original": lambda wave: wave}
    for rate in OPUS_RATES_BPS:
        ways[f"Opus {rate // 1000} kbit/s"] = partial(opus_round_trip, bit_rate_bps=rate)
    for name, codec in codecs.items():
        ways[name] = partial(codec_round_trip, codec)
    values: dict[str, dict[str, list[float]]] = {}
    for name, way in ways.items():
        rows = [measure(wave, way(wave)) for wave in waveforms]
        values[name] = {column: [row[column] for row in rows] for column in COLUMNS}
    return values


def codebook_perplexity(codec: Codec, waveforms: Sequence[Waveform]) -> list[float]:
    """Perplexity of each codebook over all sounds together."""
    codes = np.concatenate([codec.encode(wave).codes for wave in waveforms], axis=1)
    return [float(value) for value in perplexity(codes, codec.codebook_size)]


def quality_table(table_of: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Means with their 95 % bootstrap intervals over sounds, as a Markdown table."""
    rows = (
        [name, *(cell_text(_mean_of_finite(columns[column])) for column in COLUMNS)]
        for name, columns in table_of.items()
    )
    return "\n".join(table(["", *COLUMNS.values()], rows))


def _mean_of_finite(values: Sequence[float]) -> Cell:
    """Without the SI-SDR of what is not distorted."""
    return mean_cell(value for value in values if math.isfinite(value))


def read_sounds(paths: Iterable[Path], seconds: float | None = None) -> dict[str, Waveform]:
    """Sounds by file name, at 24 kHz mono; a folder stands for its audio files.

    At most ``seconds`` are taken, from the middle of each.

    Raises:
        InputError: If a path is missing or has no sound.
    """
    files: list[Path] = []
    for path in paths:
        inside = sorted(f for f in path.rglob("*") if f.suffix.lower() in AUDIO_SUFFIXES)
        files += inside if path.is_dir() else [path]
    sounds = {}
    for file in files:
        wave = read_sound(file)
        if seconds is not None:
            start = max(0, round((wave.duration_s - seconds) / 2 * wave.sample_rate))
            end = start + round(seconds * wave.sample_rate)
            wave = Waveform(wave.samples[:, start:end], wave.sample_rate)
        sounds[file.stem] = wave
    return sounds


def evaluate(
    audio: Annotated[
        list[Path], typer.Option("--audio", help="Audio file or folder; repeat for more.")
    ],
    codec: Annotated[
        list[str] | None,
        typer.Option(
            "--codec",
            help="Directory, released name or EnCodec's hub id; repeat. None: Opus alone.",
        ),
    ] = None,
    codebooks: Annotated[
        list[int] | None,
        typer.Option("--codebooks", help="Codebooks to use, 2 by default; repeat."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Length taken from the middle.")
    ] = None,
    stem: Annotated[
        bool, typer.Option("--stem", help="Measure the drum-and-bass part only.")
    ] = False,
) -> None:
    """Print the quality of codecs beside Opus as a Markdown table."""
    codecs: dict[str, Codec] = {}
    for place in codec or []:
        for count in codebooks or [2]:
            codecs[f"{place}, {count} codebook{'s' * (count > 1)}"] = load_codec(place, count)
    sounds = list(read_sounds(audio, seconds).values())
    if stem:
        sounds = HpssSeparator().drum_and_bass([Mix("sound", sound) for sound in sounds])
    print(quality_table(codec_table(codecs, sounds)))
    for name, made in codecs.items():
        values = ", ".join(f"{value:.0f}" for value in codebook_perplexity(made, sounds))
        print(f"\nPerplexity, {name}: {values} of {made.codebook_size}.")
