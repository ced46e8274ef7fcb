"""Drums and bass by Spleeter, run as its own command in an environment of its own.

Spleeter 2.4.2 pins TensorFlow 2.12 and NumPy 1, so it cannot be imported here. What its command
does that a caller must know:

- it exits 0 after errors of its own (a missing ffmpeg, an unreadable file), without stems;
- it fetches its weights at first use. A failed download leaves an empty folder, and the next
  run then exits 0 with stems made by random weights. Only the file ``.probe``, written last,
  shows that the weights are whole;
- it leaves out all sound after ten minutes unless asked otherwise;
- its stems have 44 100 Hz, two channels, 16 bits, and the time and length of the mix.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import soundfile
from filelock import FileLock

from dancetomusic.errors import DependencyError, OutputError
from dancetomusic.io.audio import fit_length, resample
from dancetomusic.io.cache import cache_directory
from dancetomusic.io.process import ProgramError, last_line, run_program
from dancetomusic.stems.base import Mix, Separator, SeparatorIdentity
from dancetomusic.types import Waveform

PROGRAM_VARIABLE = "DANCETOMUSIC_SPLEETER"
MODEL = "4stems"
STEMS = ("drums", "bass")
SAMPLE_RATE = 44_100
_COMPLETE = ".probe"
_START_UP_S = 900.0  # TensorFlow on a busy machine, and a download of weights
_TIME_PER_SOUND = 20.0  # seconds for a second of sound, on one slow core

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpleeterSeparator(Separator):
    """``spleeter:4stems``, drums and bass summed; many mixes share one start of the command.

    The command is ``$DANCETOMUSIC_SPLEETER``, else ``spleeter`` on the path, else what
    ``uv tool install`` made. The weights are in ``$MODEL_PATH``, Spleeter's own variable, else
    in this package's cache. TensorFlow gets one thread and no GPU, so that the same mix gives
    the same stem wherever and with whatever others it is separated.

    References:
        Hennequin et al., "Spleeter: a fast and efficient music source separation tool with
        pre-trained models", JOSS 2020.
    """

    batch_size: ClassVar[int] = 32
    """Mixes for which a start of some seconds is a small part."""

    @property
    def identity(self) -> SeparatorIdentity:
        """What the command calls its version, and a hash of the files of its weights.

        Raises:
            DependencyError: As ``drum_and_bass``.
        """
        program = find_program()
        _have_weights(program)
        return SeparatorIdentity("spleeter", _version(program), _digest(_weights_directory()))

    def drum_and_bass(self, mixes: Sequence[Mix]) -> list[Waveform]:
        """Drums plus bass of each mix: one channel, rate and length of the mix.

        Raises:
            DependencyError: If Spleeter, ffmpeg or the weights are missing, or Spleeter fails.
            OutputError: If the mixes cannot be written for it.
            ValueError: If two mixes have the same key.
        """
        if len({mix.key for mix in mixes}) < len(mixes):
            raise ValueError("two mixes have the same key")
        if not mixes:
            return []
        program = find_program()
        _have_weights(program)
        return _separate(program, mixes)


def find_program() -> Path:
    """Where Spleeter's command is.

    Raises:
        DependencyError: If it is nowhere, or ``$DANCETOMUSIC_SPLEETER`` is no program.
    """
    named = os.environ.get(PROGRAM_VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise DependencyError(
                f"{PROGRAM_VARIABLE} is {named!r}, which is no program",
                "Set it to the path of Spleeter's command.",
            )
    else:
        data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
        tools = Path(os.environ.get("UV_TOOL_DIR") or Path(data, "uv", "tools"))
        found = shutil.which("spleeter") or shutil.which(tools / "spleeter" / "bin" / "spleeter")
        if found is None:
            raise DependencyError(
                "spleeter is not installed",
                "Run: uv tool install -p 3.11 spleeter==2.4.2, "
                f"or set {PROGRAM_VARIABLE} to the path of its command.",
            )
    return Path(found).absolute()


def _separate(program: Path, mixes: Sequence[Mix]) -> list[Waveform]:
    with tempfile.TemporaryDirectory(prefix="dancetomusic-spleeter-") as name:
        directory = Path(name)
        files = [directory / f"{mix.key}.wav" for mix in mixes]
        for mix, file in zip(mixes, files, strict=True):
            sound = mix.waveform
            stereo = sound if sound.samples.shape[0] == 2 else sound.to_mono()
            samples = resample(stereo, SAMPLE_RATE).samples.T
            try:
                soundfile.write(os.fsencode(file), samples, SAMPLE_RATE, "FLOAT", format="WAV")
            except (OSError, soundfile.SoundFileError) as error:
                raise OutputError(
                    f"cannot write {file} ({error})", "Free some disk space, or set TMPDIR."
                ) from error
        lengths_s = [mix.waveform.duration_s for mix in mixes]
        stems = directory / "stems"
        options = ["separate", "-p", f"spleeter:{MODEL}", "-o", str(stems)]
        options += ["-d", str(math.ceil(max(lengths_s)) + 1), "-f", "{filename}/{instrument}.wav"]
        output = _run(
            program,
            [*options, *map(str, files)],
            directory,
            _START_UP_S + _TIME_PER_SOUND * sum(lengths_s),
        )
        return [_read_stem(stems / mix.key, mix.waveform, output) for mix in mixes]


def _read_stem(directory: Path, sound: Waveform, output: str) -> Waveform:
    expected = round(sound.duration_s * SAMPLE_RATE)
    part = np.zeros(expected, np.float32)
    for stem in STEMS:
        path = directory / f"{stem}.wav"
        try:
            samples, rate = soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
        except (OSError, soundfile.SoundFileError) as error:
            raise _failure(f"wrote no {stem} for {directory.name}", output) from error
        if rate != SAMPLE_RATE or abs(len(samples) - expected) > 1:
            raise _failure(
                f"wrote {len(samples)} samples of {stem} at {rate} Hz for {directory.name} "
                f"instead of {expected} at {SAMPLE_RATE} Hz",
                output,
            )
        samples = samples.mean(axis=1)[:expected]
        part[: samples.size] += samples
    back = resample(Waveform(part[None], SAMPLE_RATE), sound.sample_rate)
    return fit_length(back, sound.samples.shape[1])


def _weights_directory() -> Path:
    return (_own_weights() or Path(os.environ["MODEL_PATH"]).absolute()) / MODEL


def _own_weights() -> Path | None:
    """Where this package keeps the weights; ``None`` if the user keeps them elsewhere."""
    return None if os.environ.get("MODEL_PATH") else cache_directory() / "spleeter"


def _have_weights(program: Path) -> None:
    """Let Spleeter fetch its weights if they are not whole; one process at a time."""
    weights = _weights_directory()
    if (weights / _COMPLETE).is_file():
        return
    try:
        lock = FileLock(weights.parent / ".lock").acquire()
    except OSError as error:
        raise DependencyError(
            f"spleeter has no weights, and {weights.parent} cannot be written ({error.strerror})",
            f"Set MODEL_PATH to a folder with a complete {MODEL}.",
        ) from error
    with lock:
        if (weights / _COMPLETE).is_file():
            return
        if weights.exists():
            if _own_weights() is None:
                raise DependencyError(
                    f"the weights of spleeter in {weights} are not complete",
                    f"Remove the folder to have it fetched again, or, if it was unpacked by hand, "
                    f"make the file {_COMPLETE} in it.",
                )
            shutil.rmtree(weights)
        _log.info("spleeter fetches its weights to %s", weights)
        trial = Waveform(np.zeros((1, SAMPLE_RATE), np.float32), SAMPLE_RATE)
        try:
            _separate(program, [Mix("trial", trial)])
        finally:
            if weights.exists() and not (weights / _COMPLETE).is_file():
                shutil.rmtree(weights)


def _run(program: Path, arguments: Sequence[str], directory: Path, limit_s: float) -> str:
    """Run Spleeter in a directory to its end, and give what it printed.

    Raises:
        DependencyError: If it fails, takes too long, or worked without whole weights.
    """
    weights = _weights_directory()
    try:
        output = run_program(
            [program, *arguments],
            timeout_s=limit_s,
            directory=directory,
            environment=_environment(weights.parent),
        )
    except ProgramError as error:
        raise DependencyError(error.problem, _remedy(error.last_line)) from error
    except OSError as error:
        raise DependencyError(
            f"{program} cannot be run ({error.strerror})",
            f"Install Spleeter again, or correct {PROGRAM_VARIABLE}.",
        ) from error
    if arguments[0] == "separate" and not (weights / _COMPLETE).is_file():
        raise _failure("did not get its weights", output)
    return output


def _failure(problem: str, output: str) -> DependencyError:
    error = ProgramError(f"spleeter {problem}", output)
    return DependencyError(error.problem, _remedy(error.last_line))


def _remedy(last_line: str) -> str:
    if "binary not found" in last_line:
        return "Install ffmpeg with ffprobe."
    if not (_weights_directory() / _COMPLETE).is_file():
        return (
            f"Go online for the first use, copy a complete {_weights_directory()} from another "
            "machine, or choose another separator."
        )
    return "Run it by hand on a sound file, or choose another separator."


def _environment(models: Path) -> dict[str, str]:
    ours = {"PYTHONPATH", "PYTHONHOME"}  # meant for this Python, not for Spleeter's
    return {name: value for name, value in os.environ.items() if name not in ours} | {
        "MODEL_PATH": str(models),
        "CUDA_VISIBLE_DEVICES": "-1",
        "OMP_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
    }


@cache
def _version(program: Path) -> str:
    with tempfile.TemporaryDirectory() as directory:
        line = last_line(_run(program, ["--version"], Path(directory), _START_UP_S))
    match = re.search(r"Version: (\S+)", line)
    if match is None:
        raise DependencyError(
            f"{program} --version says {line!r}", f"Set {PROGRAM_VARIABLE} to Spleeter's command."
        )
    return match[1]


@cache
def _digest(weights: Path) -> str:
    """SHA-256 over the names and contents of the checkpoint's files."""
    digest = hashlib.sha256()
    for file in sorted(weights.glob("model.*")):
        digest.update(file.name.encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()
