from __future__ import annotations

import os
from pathlib import Path

import pytest

from dancetomusic.builder.sources import Section, parse_time, read_folder, read_links
from dancetomusic.errors import InputError
from tests.video_factory import write_video

URL = "https://example.org/watch?v=1"


def listed(folder: Path, content: bytes | str, **options: bool) -> list[Section]:
    file = folder / "links.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_links(file, **options)


def refusal(folder: Path, content: bytes | str, **options: bool) -> str:
    with pytest.raises(InputError) as caught:
        listed(folder, content, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:40", 40), ("1:20", 80), ("90:00", 5400), ("12", 12), ("0:00:01.25", 1.25), ("7.", 7)],
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "-1", "1e3", "nan", "inf", "1:60", "1:60:00", "1:2:3:4", "٣", "1:", ":1", "1 2", "0x1"],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        parse_time(text)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("header", [b"", b"url,start,end\n"])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_marks_headers_and_line_ends(
    tmp_path: Path, mark: bytes, header: bytes, ending: bytes
) -> None:
    rows = f'{URL},00:00:40,00:00:50\n\n"{URL}", 1:20 ,80.5\n,,\n{URL}&t=1,,\n{URL}&t=2'.encode()
    assert listed(tmp_path, mark + (header + rows).replace(b"\n", ending)) == [
        Section(URL, 40.0, 50.0),
        Section(URL, 80.0, 80.5),
        Section(f"{URL}&t=1"),
        Section(f"{URL}&t=2"),
    ]


def test_a_header_names_columns_in_any_order(tmp_path: Path) -> None:
    content = f"License,end,Title,URL,start\nCC BY 4.0,0:20,a;b,{URL},0:10\n,9,,{URL},\n"
    assert listed(tmp_path, content) == [
        Section(URL, 10.0, 20.0, licence="CC BY 4.0"),
        Section(URL, 0.0, 9.0),
    ]


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
def test_lists_as_spreadsheets_write_them(
    tmp_path: Path, encoding: str, separator: str, header: bool
) -> None:
    comma = f"{URL}&a=1,2;3"  # quoted as a spreadsheet would
    rows = [[URL, "0:10", "0:20"], [f'"{comma}"', "", ""], [f"{URL}&é", "1.5", "2"]]
    rows = [["URL", "Start", "End"], *rows] if header else rows
    content = "".join(separator.join(row) + "\r\n" for row in rows)
    assert listed(tmp_path, content.encode(encoding)) == [
        Section(URL, 10.0, 20.0),
        Section(comma),
        Section(f"{URL}&é", 1.5, 2.0),
    ]


def test_a_separator_that_is_named_and_decimal_commas(tmp_path: Path) -> None:
    assert listed(tmp_path, f"sep=;\r\n{URL};0:10,5;1:00,25\r\n") == [Section(URL, 10.5, 60.25)]
    assert listed(tmp_path, f"{URL}\t10,5\t20\n") == [Section(URL, 10.5, 20.0)]
    assert "line 3" in refusal(tmp_path, f"sep=;\r\n{URL};1;2\r\n{URL};x;2\r\n")


def test_separators_within_links_do_not_separate(tmp_path: Path) -> None:
    links = [f"{URL};5", f"{URL}&a;b", f"{URL};c"]
    assert listed(tmp_path, f"{links[0]},1,2\n{links[1]}\n{links[2]},,\n") == [
        Section(links[0], 1.0, 2.0),
        Section(links[1]),
        Section(links[2]),
    ]


def test_repeated_lines_count_once(tmp_path: Path) -> None:
    assert listed(tmp_path, f"{URL},1,2\n{URL},0:01,0:02\n{URL},1,3\n") == [
        Section(URL, 1.0, 2.0),
        Section(URL, 1.0, 3.0),
    ]


@pytest.mark.parametrize(
    "url",
    [
        "notaurl",
        "-oexec=id",
        "--exec=touch x",
        "ytsearch:dance",
        "ftp://example.org/a.mp4",
        "javascript:alert(1)",
        "http://",
        "https:///a.mp4",
        "http://[::1",
        "http://example.org:port/",
        "http://example.org/a b",
        "http://example.org/a\tb",
        '"http://example.org/a\nb"',
        "http://example.org/\x00",
        "http://example.org/\u202egpm",
        "http://example.org/#__youtubedl_smuggle=%7B%7D",
        "http://example.org/#%5F_youtubedl_smuggle=%7B%7D",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "../../etc/passwd",
        "",
    ],
)
def test_cells_that_are_no_links(tmp_path: Path, url: str) -> None:
    said = refusal(tmp_path, f"{url},0,1\n")
    assert "links.csv" in said and "line " in said


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"{URL},5,5", "is not before its end"),
        (f"{URL},0:50,0:40", "is not before its end"),
        (f"{URL},x,1", "is not a time"),
        (f"{URL},0,1,surplus", "4 cells for 3 columns"),
        (f'"{URL},0,1', "end of data"),
        (f'"{URL}"x,0,1', "expected after"),
    ],
)
def test_rows_that_are_refused(tmp_path: Path, row: str, reason: str) -> None:
    assert reason in refusal(tmp_path, row)


def test_all_bad_lines_are_counted_and_the_first_named(tmp_path: Path) -> None:
    said = refusal(tmp_path, f"{URL},1,2\n" + "bad,1,2\n" * 7)
    assert "(7)" in said and "line 2:" in said and "line 6:" in said
    assert "line 7:" not in said and "and 2 more" in said


def test_a_long_cell_is_cut_in_the_message(tmp_path: Path) -> None:
    assert len(refusal(tmp_path, "x" * 100_000 + ",1,2\n")) < 500


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no links"),
        (b"url,start,end\n", "no links"),
        (b"url,url,end\n", "2 times"),
        (f"{URL},1,2\n".encode("utf-16")[:-1], "UTF-8"),
        (b"caf\xe9,1,2\n", "UTF-8"),
        (b"url,licence\nhttp://a.b/,\xc2\x9bx\n", "control characters"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    assert reason in refusal(tmp_path, content)


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_links(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="cannot read"):
        read_links(tmp_path)


def test_file_urls_are_local_videos_when_allowed(tmp_path: Path) -> None:
    rows = "file:///a/b%20c.mp4,1,2\nfile://localhost/d.mp4,,\n"
    assert [section.path for section in listed(tmp_path, rows, allow_file_urls=True)] == [
        "/a/b c.mp4",
        "/d.mp4",
    ]
    for url in ("file://host/a.mp4", "file:a.mp4", "file:///a%00b", "ftp://host/a.mp4"):
        refusal(tmp_path, url, allow_file_urls=True)


def test_the_shipped_lists(repository: Path) -> None:
    folder = repository / "data" / "youtube_links"
    links = read_links(folder / "youtube_links.csv")
    assert len(links) == 69 and len({section.source for section in links}) == 68
    assert set(read_links(folder / "youtube_links_test.csv")) <= set(links)
    assert not any(file.read_bytes().startswith(b"\xef") for file in folder.iterdir())


def test_the_shipped_list_is_the_one_given(repository: Path, shared_data: Path) -> None:
    for name in ("youtube_links.csv", "youtube_links_test.csv"):
        assert read_links(repository / "data" / "youtube_links" / name) == read_links(
            shared_data / "youtube_links" / name
        )


def test_a_folder_is_searched_in_order(tmp_path: Path) -> None:
    root, outside = tmp_path / "videos", tmp_path / "outside"
    (root / "sub" / ".hidden").mkdir(parents=True)
    outside.mkdir()
    names = ["b.MP4", "a.webm", "sub/c.mov", "-rf.mkv", "$(id);'\".mp4", "踊り.mp4", "a\nb.avi"]
    for name in names:
        (root / name).touch()
    for name in (".hidden.mp4", "notes.txt", "sub/.hidden/x.mp4"):
        (root / name).touch()
    write_video(outside / "o.mp4", n_frames=2)
    (root / "escape.mp4").symlink_to(outside / "o.mp4")
    (root / "folder").symlink_to(outside)
    (root / "broken.mp4").symlink_to(root / "absent.mp4")
    (root / "inside.mp4").symlink_to(root / "b.MP4")
    os.mkfifo(root / "pipe.mp4")
    (root / "directory.mp4").mkdir()
    sections = read_folder(root)
    assert [section.source for section in sections] == sorted([*names, "folder/o.mp4"])
    assert all(section.path == str(root / section.source) for section in sections)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")).touch()
    (section,) = read_folder(tmp_path)
    assert section.source == "\\xff.mp4"
    assert section.path is not None and Path(section.path).is_file()


def test_folders_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no videos"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        read_folder(tmp_path / "absent")
