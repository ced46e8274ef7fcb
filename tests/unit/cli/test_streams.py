"""Links, pipes, standard input and output in place of files."""

import io
import os
import sys
import threading
from pathlib import Path

import pytest

from dancetomusic.builder.download import DownloadError
from dancetomusic.cli import streams
from dancetomusic.cli.streams import is_stream, local_outputs, local_source
from dancetomusic.errors import InputError, OutputError
from tests.http_faults import FaultyServer, status


class _Standard(io.TextIOWrapper):
    """A standard stream of bytes that is no terminal."""

    def __init__(self, content: bytes = b"") -> None:
        super().__init__(io.BytesIO(content))


def _fed(path: Path, content: bytes) -> threading.Thread:
    os.mkfifo(path)
    thread = threading.Thread(target=path.write_bytes, args=(content,))
    thread.start()
    return thread


def test_files_and_folders_are_no_streams(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"x")
    for plain in (tmp_path, tmp_path / "a.mp4", tmp_path / "absent.mp4"):
        assert not is_stream(plain)
        with local_source(plain) as file:
            assert file == plain


def test_what_comes_through_a_pipe_is_a_file_for_as_long_as_it_is_used(tmp_path):
    feeding = _fed(tmp_path / "pipe", b"video" * 1000)
    assert is_stream(tmp_path / "pipe")
    with local_source(tmp_path / "pipe") as file:
        assert file.read_bytes() == b"video" * 1000
    feeding.join()
    assert not file.exists() and not file.parent.exists()


def test_standard_input_may_hold_poses(monkeypatch, demo_dir):
    poses = (demo_dir / "steps_128bpm.npz").read_bytes()
    monkeypatch.setattr(sys, "stdin", _Standard(poses))
    with local_source("-") as file:
        assert file.suffix == ".npz" and file.read_bytes() == poses


def test_nothing_and_too_much_are_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", _Standard())
    with pytest.raises(InputError, match="nothing came"), local_source("-"):
        pass
    monkeypatch.setattr(streams, "LARGEST_BYTES", 10)
    monkeypatch.setattr(sys, "stdin", _Standard(bytes(11)))
    with pytest.raises(InputError, match="more than 10 bytes"), local_source("-"):
        pass


def test_links_are_downloaded_as_the_builder_does(demo_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("DANCETOMUSIC_CACHE", str(tmp_path))
    video = (demo_dir / "bounce_104bpm.mp4").read_bytes()
    with FaultyServer() as server:
        url = server.serve("/v.mp4", video)
        assert is_stream(url)
        with local_source(url) as file:
            assert file.read_bytes() == video
        assert not file.exists()
        for wrong in (
            server.serve("/page.html", b"<html>no video</html>", content_type="text/html"),
            server.serve("/gone.mp4", always=status(404)),
        ):
            with pytest.raises(DownloadError), local_source(wrong):
                pass


def test_standard_output_takes_the_sound_and_nothing_else(monkeypatch, tmp_path, capsys):
    written = _Standard()
    monkeypatch.setattr(sys, "stdout", written)
    with local_outputs([Path("-"), tmp_path / "b.wav"]) as files:
        assert files[0].suffix == ".wav" and files[1] == tmp_path / "b.wav"
        print("beats")
        files[0].write_bytes(b"RIFF sound")
    assert written.buffer.getvalue() == b"RIFF sound"
    assert capsys.readouterr().err == "beats\n"


def test_nothing_is_written_after_a_failure(monkeypatch):
    written = _Standard()
    monkeypatch.setattr(sys, "stdout", written)
    with pytest.raises(ValueError), local_outputs([Path("-")]) as files:
        files[0].write_bytes(b"half")
        raise ValueError
    assert written.buffer.getvalue() == b""


def test_a_pipe_without_a_suffix_takes_the_sound(tmp_path):
    os.mkfifo(tmp_path / "63")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "63").read_bytes()))
    reader.start()
    with local_outputs([tmp_path / "63"]) as files:
        files[0].write_bytes(b"sound")
    reader.join()
    assert read == [b"sound"]


def test_standard_output_is_named_once(monkeypatch):
    with pytest.raises(OutputError, match="twice"), local_outputs([Path("-"), Path("-")]):
        pass
