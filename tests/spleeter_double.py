"""A stand-in for Spleeter's command that does what version 2.4.2 was seen to do.

``install`` makes an executable of it. ``$SPLEETER_DOUBLE`` chooses what goes wrong:

- ``offline``: weights cannot be fetched, so an empty folder of them is left;
- ``no_ffmpeg``: an error of Spleeter's own, so the exit code is 0;
- ``crash``: killed after the first file;
- ``hang``: never ends, nor does a worker process it began;
- ``missing``: the last file gets no drums;
- ``garbage``: the last file's drums are no sound;
- ``short``: the last file's drums end early.

Each run appends its arguments, and in ``hang`` its process ids, to ``$SPLEETER_DOUBLE_LOG``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 44_100
VERSION = "2.4.2"
BANDS_HZ = {"bass": (0, 200), "vocals": (200, 2000), "other": (2000, 6000), "drums": (6000, RATE)}
MODELS = {"spleeter:2stems", "spleeter:4stems", "spleeter:5stems"}


def install(directory: Path) -> Path:
    """Make an executable of this module in a directory."""
    program = directory / "spleeter"
    program.write_text(f"#!{sys.executable}\n{Path(__file__).read_text(encoding='utf-8')}")
    program.chmod(0o755)
    return program


def band(samples: np.ndarray, low_hz: float, high_hz: float) -> np.ndarray:
    """The part of a sound ``[samples, channels]`` at 44.1 kHz between two frequencies."""
    spectrum = np.fft.rfft(samples, axis=0)
    frequencies = np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum[(frequencies < low_hz) | (frequencies >= high_hz)] = 0
    return np.fft.irfft(spectrum, len(samples), axis=0)


def main() -> int:
    mode = os.environ.get("SPLEETER_DOUBLE", "")
    note(sys.argv[1:])
    if sys.argv[1:] == ["--version"]:
        print(f"Spleeter Version: {VERSION}")
        return 0
    if sys.argv[1:] in ([], ["separate"]):
        print("Usage: spleeter separate [OPTIONS] FILES...")
        return 0
    parser = argparse.ArgumentParser(allow_abbrev=False)  # an unknown option ends with 2
    parser.add_argument("command", choices=["separate"])
    parser.add_argument("files", nargs="+")
    parser.add_argument("-i", "--inputs")
    parser.add_argument("-p", "--params_filename", default="spleeter:2stems")
    parser.add_argument("-o", "--output_path", type=Path, default=Path("/tmp/separated_audio"))
    parser.add_argument("-d", "--duration", type=float, default=600.0)
    parser.add_argument("-c", "--codec", choices=["wav", "flac"], default="wav")
    parser.add_argument("-f", "--filename_format", default="{filename}/{instrument}.{codec}")
    options = parser.parse_args()
    if options.inputs is not None:
        print("ERROR:spleeter:⚠️ -i option is not supported anymore")
        return 20
    if mode == "no_ffmpeg":
        print("ERROR:spleeter:ffmpeg binary not found")
        return 0
    if options.params_filename not in MODELS:
        name = options.params_filename.removeprefix("spleeter:")
        print(f"ERROR:spleeter:No embedded configuration {name} found")
        return 0
    weights: Path | None = None
    for index, file in enumerate(options.files):
        try:
            samples, rate = soundfile.read(file, always_2d=True, dtype="float32")
        except soundfile.SoundFileError:
            print("ERROR:spleeter:An error occurs with ffprobe (see ffprobe output below)\n")
            print(f"{file}: Invalid data found when processing input\n")
            return 0
        if weights is None:
            weights = fetch_weights(options.params_filename.removeprefix("spleeter:"), mode)
        if mode == "hang":
            worker = subprocess.Popen(["sleep", "600"])
            note([os.getpid(), worker.pid])
            time.sleep(600)
        if mode == "crash" and index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        samples = soxr.resample(samples[: round(options.duration * rate)], rate, RATE)
        samples = np.repeat(samples, 2, axis=1)[:, :2] if samples.shape[1] == 1 else samples[:, :2]
        faulty = mode if index == len(options.files) - 1 else ""
        write_stems(samples, Path(file), options, weights, faulty)
    return 0


def note(row: list) -> None:
    """Append a row to the log, if one is named."""
    if log := os.environ.get("SPLEETER_DOUBLE_LOG"):
        with open(log, "a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")


def fetch_weights(name: str, mode: str) -> Path:
    """The folder of weights; fetched only if there is no folder, whatever it holds."""
    weights = Path(os.environ.get("MODEL_PATH", "pretrained_models"), name)
    if not weights.exists():
        weights.mkdir(parents=True)
        print(f"INFO:spleeter:Downloading model archive https://github.com/.../{name}.tar.gz")
        sys.stdout.flush()
        if mode == "offline":
            sys.stderr.write("Traceback (most recent call last):\n  ...\n")
            sys.stderr.write("httpx.ConnectError: [Errno -2] Name or service not known\n")
            sys.exit(1)
        (weights / "checkpoint").write_text('model_checkpoint_path: "model"\n')
        for suffix in ("data-00000-of-00001", "index", "meta"):
            (weights / f"model.{suffix}").write_text(f"{name} {suffix}")
        print(f"INFO:spleeter:{name} model file(s) extracted")
        (weights / ".probe").write_text("OK")
    return weights


def write_stems(
    samples: np.ndarray, file: Path, options: argparse.Namespace, weights: Path, mode: str
) -> None:
    """Write the stems of one file: bands of it, or noise where the weights are random."""
    for instrument, limits in BANDS_HZ.items():
        part = band(samples, *limits)
        if not (weights / "checkpoint").is_file():
            part = np.random.default_rng().uniform(-0.1, 0.1, samples.shape)
        path = options.output_path / options.filename_format.format(
            filename=file.stem, instrument=instrument, codec=options.codec
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        if (mode, instrument) == ("missing", "drums"):
            continue
        if (mode, instrument) == ("short", "drums"):
            part = part[: len(part) // 2]
        soundfile.write(path, part, RATE, "PCM_16")
        if (mode, instrument) == ("garbage", "drums"):
            path.write_bytes(b"\0" * 1000)
        print(f"INFO:spleeter:File {path} written succesfully")


if __name__ == "__main__":
    sys.exit(main())
