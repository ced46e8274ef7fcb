"""Kinetics lists as sections for the builder."""

from __future__ import annotations

import pytest

from dancetomusic.builder.kinetics import read_kinetics
from dancetomusic.builder.sources import Section
from dancetomusic.errors import InputError

HEADER = "label,youtube_id,time_start,time_end,split\n"
LINES = (
    "breakdancing,-0aBcDeF_12,30,40,train\n"
    "salsa dancing,abcdefghijk,0,10,train\n"
    "breakdancing,bbbbbbbbbbb,5,15,validate\n"
    "breakdancing,-0aBcDeF_12,30,40,train\n"
    '"breakdancing",ccccccccccc,1.5,11.5,test\n'
)


def write(folder, text):
    file = folder / "kinetics.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_line_is_a_section_of_its_video(tmp_path):
    sections = read_kinetics(write(tmp_path, HEADER + LINES))
    assert len(sections) == 4
    assert sections[0] == Section("https://www.youtube.com/watch?v=-0aBcDeF_12", 30.0, 40.0)
    assert sections[-1].start_s == 1.5


def test_classes_are_chosen_and_limited(tmp_path):
    file = write(tmp_path, HEADER + LINES)
    assert [s.source[-11:] for s in read_kinetics(file, classes=["Salsa_Dancing"])] == [
        "abcdefghijk"
    ]
    limited = read_kinetics(file, classes=["breakdancing"], max_per_class=2)
    assert [s.source[-11:] for s in limited] == ["-0aBcDeF_12", "bbbbbbbbbbb"]
    assert len(read_kinetics(file, max_per_class=1)) == 2


def test_columns_may_come_in_any_order_with_a_byte_order_mark(tmp_path):
    text = "\ufefftime_end,split,youtube_id,label,time_start\n10,train,abcdefghijk,waltz,0\n"
    assert read_kinetics(write(tmp_path, text)) == [
        Section("https://www.youtube.com/watch?v=abcdefghijk", 0.0, 10.0)
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("breakdancing,abc,0,10,train", "line 2: 'abc' is not a YouTube id"),
        ("breakdancing,--exec=rm%20,0,10,train", "is not a YouTube id"),
        ("breakdancing,abcdefghij/,0,10,train", "is not a YouTube id"),
        ("breakdancing,abcdefghijk,10,10,train", "is not before its end"),
        ("breakdancing,abcdefghijk,-1,10,train", "'-1' is not a time"),
        ("breakdancing,abcdefghijk,0", "'' is not a time"),
        (",abcdefghijk,0,10,train", "has no label"),
    ],
)
def test_lines_that_cannot_be_used_are_named(tmp_path, line, problem):
    with pytest.raises(InputError, match="lines that cannot be used") as caught:
        read_kinetics(write(tmp_path, HEADER + line + "\n"), classes=["salsa"])
    assert problem in str(caught.value)


def test_what_is_no_list_is_refused(tmp_path):
    with pytest.raises(InputError, match="lacks the column label"):
        read_kinetics(write(tmp_path, "url,start,end\n"))
    with pytest.raises(InputError, match="has no sections"):
        read_kinetics(write(tmp_path, HEADER))
    with pytest.raises(InputError, match="no class 'polka'"):
        read_kinetics(write(tmp_path, HEADER + LINES), classes=["polka"])
    with pytest.raises(InputError, match="max_per_class is 0"):
        read_kinetics(write(tmp_path, HEADER + LINES), max_per_class=0)
    with pytest.raises(InputError, match="cannot read"):
        read_kinetics(tmp_path / "absent.csv")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"caf\xe9,abcdefghijk,0,10,train\n")
    with pytest.raises(InputError, match="cannot read"):
        read_kinetics(tmp_path / "latin.csv")
