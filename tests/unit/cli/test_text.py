"""What is printed and named may be in any encoding, or have nowhere to go."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dancetomusic.builder.stages.standardise import read_part, standardise
from dancetomusic.io.audio import read_audio, read_flac, write_audio, write_flac
from dancetomusic.types import Waveform
from tests.video_factory import clicks, write_video

STRANGE = os.fsdecode(b"caf\xe9")
PRINT = (
    "import os, sys; from dancetomusic import cli\n"
    "@cli.commands.command('say')\n"
    "def say(text: str):\n"
    "    text = os.fsencode(text).decode()\n"
    "    print(text); print(text, file=sys.stderr); sys.stderr.isatty()\n"
    "cli.main()"
)


def run(*arguments, closed=(), **environment):
    """Run the command in a process of its own, some of its standard streams closed."""
    names = ("LC_ALL", "LANG", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONCOERCECLOCALE")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    shell = " ".join(f"{number}>&-" for number in closed)
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {shell}', "sh", sys.executable, "-c", PRINT, *arguments],
        env=clean | environment,
        capture_output=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({"PYTHONUTF8": "1"}, "a · b ≥ c"),
        ({"PYTHONUTF8": "1", "PYTHONIOENCODING": "latin-1"}, "a · b \\u2265 c"),
        ({"PYTHONUTF8": "1", "PYTHONIOENCODING": "ascii:strict"}, "a \\xb7 b \\u2265 c"),
    ],
)
def test_characters_that_the_terminal_lacks_are_escaped(environment, shown):
    done = run("say", "a · b ≥ c", **environment)
    assert done.returncode == 0
    encoding = "latin-1" if "latin-1" in environment.values() else "utf-8"
    assert done.stdout.decode(encoding) == done.stderr.decode(encoding) == f"{shown}\n"


@pytest.mark.slow
def test_a_terminal_without_any_locale():
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run("say", "a · b", **plain)
    assert done.returncode == 0 and done.stdout == b"a \\xb7 b\n"
    done = run("generate", "a · b.mp4", "c.wav", **plain)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1
    assert b"Traceback" not in done.stderr and b"does not exist" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (1, 2), (0, 1, 2)])
def test_closed_streams(tmp_path, closed):
    done = run("say", "x", closed=closed)
    assert done.returncode == 0
    assert done.stdout == (b"" if 1 in closed else b"x\n")
    assert done.stderr == (b"" if 2 in closed else b"x\n")
    assert run("generate", str(tmp_path / "absent.mp4"), "c.wav", closed=closed).returncode == 2


@pytest.mark.slow
def test_a_name_that_is_no_text_is_shown(tmp_path):
    done = run("generate", f"{STRANGE}.mp4", "c.wav", PYTHONUTF8="1")
    assert done.returncode == 2
    assert b"caf\\udce9.mp4 does not exist" in done.stderr


def test_sound_is_written_and_read_under_a_name_that_is_no_text(tmp_path: Path) -> None:
    sound = Waveform(np.full((1, 2400), 0.25, np.float32), 24_000)
    write_audio(tmp_path / f"{STRANGE}.wav", sound)
    heard = read_audio(tmp_path / f"{STRANGE}.wav")
    assert heard is not None and heard.duration_s == pytest.approx(0.1)
    write_flac(tmp_path / f"{STRANGE}.flac", sound)
    assert np.allclose(read_flac(tmp_path / f"{STRANGE}.flac").samples, 0.25)
    video = write_video(tmp_path / "v.mp4", sound=clicks([0.5], 2.0))
    video = video.rename(tmp_path / f"{STRANGE}.mp4")
    part = standardise(video, tmp_path / f"{STRANGE}2.flac", 24_000)
    assert part is not None and read_part(part, 0.0, 24_000).samples.shape == (1, 24_000)
