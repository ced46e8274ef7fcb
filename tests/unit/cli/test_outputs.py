import os
from pathlib import Path

import pytest

from dancetomusic.cli import main
from dancetomusic.cli.outputs import check_directory, check_distinct, check_output
from dancetomusic.errors import OutputError


def test_what_is_read_is_never_written(tmp_path):
    source = tmp_path / "a.mp4"
    source.write_bytes(b"video")
    hard, link = tmp_path / "hard.mp4", tmp_path / "link.mp4"
    os.link(source, hard)
    link.symlink_to(source)
    for output in (source, hard, link, tmp_path / "." / "a.mp4"):
        with pytest.raises(OutputError, match="is the input"):
            check_distinct([None, output], [None, source])
    check_distinct([tmp_path / "b.mp4"], [source])


def test_no_file_is_written_twice(tmp_path):
    (tmp_path / "folder").symlink_to(tmp_path)
    with pytest.raises(OutputError, match="named twice"):
        check_distinct([tmp_path / "b.wav", tmp_path / "folder" / "b.wav"], [])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.txt", "extension '.txt'"),
        ("a", r"extension '\(none\)'"),
        ("folder.wav", "is a directory"),
        ("absent/a.wav", "does not exist"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, message):
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(OutputError, match=message):
        check_output(tmp_path / name, (".wav",))


def test_a_directory_may_be_absent_but_not_a_file(tmp_path):
    check_directory(tmp_path / "run" / "one")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    for wrong in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OutputError, match="is a file"):
            check_directory(wrong)


@pytest.mark.parametrize(
    "command",
    ["dance a.mp4 a.mp4", "live --video a.mp4 --record a.mp4", "generate a.mp4 a.mp4"],
)
def test_commands_leave_their_input_alone(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    Path("a.mp4").write_bytes(b"video")
    with pytest.raises(SystemExit) as end:
        main(command.split())
    assert end.value.code == 2
    assert "is the input" in capsys.readouterr().err
    assert Path("a.mp4").read_bytes() == b"video"


def test_a_link_to_itself_is_compared_like_any_other(tmp_path):
    loop = tmp_path / "loop.wav"
    loop.symlink_to(loop)
    check_distinct([loop], [tmp_path / "a.mp4"])
    with pytest.raises(OutputError, match="named twice"):
        check_distinct([loop, loop], [])
