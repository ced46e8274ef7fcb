from __future__ import annotations

import csv
import io
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dancetomusic.builder.sources import Section, parse_time, read_links
from dancetomusic.errors import InputError

MILLISECONDS = st.integers(0, 100 * 3600 * 1000)
CELLS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["url", "start", "http://a.b/c", "https://[::1]/", "file:///x", "1:2", "-", '"', "\n", "1"]
    ),
)


def written(milliseconds: int, form: int) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    fraction = f".{rest:03d}" if rest else ""
    if form == 0:
        return f"{seconds}{fraction}"
    if form == 1:
        return f"{seconds // 60}:{seconds % 60:02d}{fraction}"
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"


@given(MILLISECONDS, st.integers(0, 2))
def test_a_time_survives_being_written(milliseconds: int, form: int) -> None:
    assert abs(parse_time(written(milliseconds, form)) - milliseconds / 1000) < 1e-6


@pytest.mark.slow(1)
@given(st.text())
def test_a_time_is_a_number_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_time(text) >= 0


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 99), st.integers(1, 99)), min_size=1),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
)
def test_a_list_survives_being_written(
    rows: list[tuple[int, int, int]], form: int, header: bool, mark: bool
) -> None:
    wanted = {
        Section(f"https://example.org/{name}", float(start), float(start + length)): None
        for name, start, length in rows
    }
    text = io.StringIO()
    writer = csv.writer(text)
    if header:
        writer.writerow(("url", "start", "end"))
    for section in wanted:
        assert section.end_s is not None
        times = (section.start_s, section.end_s)
        writer.writerow((section.source, *(written(round(s * 1000), form) for s in times)))
    assert read(text.getvalue().encode("utf-8-sig" if mark else "utf-8")) == list(wanted)


@pytest.mark.slow
@given(st.lists(st.lists(CELLS, max_size=5), max_size=5), st.booleans())
def test_hostile_cells_give_sections_or_an_input_error(rows: list[list[str]], quoted: bool) -> None:
    if quoted:
        text = io.StringIO()
        csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
        content = text.getvalue()
    else:
        content = "\n".join(",".join(row) for row in rows)
    try:
        sections = read(content.encode("utf-8", "surrogatepass"))
    except InputError as error:
        assert "\n" not in str(error)
        return
    for section in sections:
        assert section.source.startswith(("http://", "https://")) and section.path is None
        assert section.end_s is None or 0 <= section.start_s < section.end_s


@pytest.mark.slow
@given(st.binary(max_size=200))
def test_any_bytes_give_sections_or_an_input_error(content: bytes) -> None:
    with suppress(InputError):
        read(content)


def read(content: bytes) -> list[Section]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "links.csv")
        file.write_bytes(content)
        return read_links(file)
