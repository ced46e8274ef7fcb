"""Sources and outputs that are no files: a link, a pipe, standard input and output."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from dancetomusic.errors import InputError, OutputError

STANDARD = "-"
LINKS = ("http://", "https://")
LARGEST_BYTES = 4 << 30
"""Of what comes through a pipe; as the builder's downloads."""

PIPED_NAME = "music.wav"
"""What is written to an output without a suffix that is a pipe."""

_PIECE_BYTES = 1 << 20
_ZIP = b"PK\x03\x04"  # how an .npz of poses begins


def is_link(source: Path | str) -> bool:
    """Whether a source is to be downloaded."""
    return str(source).startswith(LINKS)


def is_stream(source: Path | str) -> bool:
    """Whether a source is no file and no folder, but a link, a pipe or standard input."""
    return str(source) == STANDARD or is_link(source) or Path(source).is_fifo()


@contextmanager
def local_source(source: Path | str) -> Iterator[Path]:
    """A file for a source, removed in the end if it is a copy; the path itself if it is no stream.

    Links are downloaded as the builder does it, with its limits and its errors.

    Raises:
        InputError: If what comes through a pipe is empty or larger than ``LARGEST_BYTES``.
        DownloadError: If a link leads to no video, to a live stream, or to one that is too long
            or too large.
    """
    if not is_stream(source):
        yield Path(source)
        return
    with TemporaryDirectory(prefix="dancetomusic-") as folder:
        if is_link(source):
            from dancetomusic.builder.download import fetch
            from dancetomusic.builder.sources import Section

            yield fetch(Section(str(source)), Path(folder)).path
        elif str(source) == STANDARD:
            yield _spool(sys.stdin.buffer.read, "standard input", Path(folder))
        else:
            with Path(source).open("rb") as pipe:
                yield _spool(pipe.read, str(source), Path(folder))


@contextmanager
def local_outputs(outputs: Sequence[Path]) -> Iterator[list[Path]]:
    """Files for outputs; ``-`` and pipes without a suffix are given WAV when the block succeeds.

    What is printed goes to standard error while standard output takes the sound.

    Raises:
        OutputError: If standard output is named twice, is a terminal, or cannot be written.
    """
    if [str(output) for output in outputs].count(STANDARD) > 1:
        raise OutputError("standard output is named twice", "Name each output once.")
    piped = {
        number: output
        for number, output in enumerate(outputs)
        if str(output) == STANDARD or (output.is_fifo() and not output.suffix)
    }
    if not piped:
        yield list(outputs)
        return
    standard = any(str(output) == STANDARD for output in piped.values())
    if standard and sys.stdout.isatty():
        raise OutputError("standard output is a terminal", "Redirect it, or name a file.")
    with ExitStack() as opened:
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="dancetomusic-")))
        files = list(outputs)
        for number in piped:
            (folder / str(number)).mkdir()
            files[number] = folder / str(number) / PIPED_NAME
        sink = sys.stdout
        if standard:
            opened.enter_context(redirect_stdout(sys.stderr))
        yield files
        for number, output in piped.items():
            with files[number].open("rb") as file:
                if str(output) == STANDARD:
                    shutil.copyfileobj(file, sink.buffer)
                    sink.buffer.flush()
                else:
                    with output.open("wb") as pipe:
                        shutil.copyfileobj(file, pipe)


def _spool(read: Callable[[int], bytes], name: str, folder: Path) -> Path:
    """All of a stream in a file, whose suffix says whether it holds poses."""
    piece = read(_PIECE_BYTES)
    if not piece:
        raise InputError(f"nothing came through {name}", "Pipe a video or poses into it.")
    path, size = folder / ("source.npz" if piece.startswith(_ZIP) else "source"), 0
    with path.open("wb") as file:
        while piece:
            size += len(piece)
            if size > LARGEST_BYTES:
                raise InputError(
                    f"more than {LARGEST_BYTES} bytes came through {name}", "Name a file."
                )
            file.write(piece)
            piece = read(_PIECE_BYTES)
    return path
