"""What to make clips of: rows of a link list, or files of a folder."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dancetomusic.errors import InputError
from dancetomusic.io.folder import FOLDER_SUFFIXES, find_videos

_COLUMNS = ("url", "start", "end")
_SEPARATORS = (",", "\t", ";")
_NAMED_SEPARATOR = re.compile(r'"?sep=([,;\t])"?')  # first line of what Excel writes and reads
_LICENCE_NAMES = ("licence", "license")
_ROW_REMEDY = "Write url,start,end with times as HH:MM:SS, MM:SS or seconds, or remove the lines."
_SHOWN_LINES = 5
_SHOWN_CHARACTERS = 80
_TIME = re.compile(r"(?:(?:([0-9]{1,4}):)?([0-9]{1,6}):)?([0-9]{1,9}(?:\.[0-9]{0,9})?)")
_SMUGGLED = "__youtubedl_smuggle"  # yt-dlp reads options out of a URL's fragment of this name


@dataclass(frozen=True, slots=True)
class Section:
    """A part of one video.

    Attributes:
        source: Its URL, or its path relative to the input folder with ``/`` between.
        end_s: End of the part, in seconds; ``None`` for the video's own end.
        path: The file, for local videos; ``None`` for what is to be downloaded.
    """

    source: str
    start_s: float = 0.0
    end_s: float | None = None
    path: str | None = None
    licence: str = ""


def read_links(path: Path | str, *, allow_file_urls: bool = False) -> list[Section]:
    """Read a link list: CSV with a URL, a start and an end on each line.

    Cells are separated by commas, or as spreadsheets also write them, by semicolons or tabs; the
    first line that can be read in one of these ways decides. Times may have a decimal comma where
    it does not separate.

    A first line with a cell ``url`` names the columns, in any order: ``url``, ``start``, ``end``,
    ``licence``; others are ignored. Without it they are URL, start and end. An empty
    start is the video's, an empty end too. Blank lines and repeated lines are skipped. All lines
    are checked before any is given, since what they lead to may run for hours.

    Args:
        path: The list, in UTF-8 or UTF-16, with or without byte-order mark.
        allow_file_urls: Take ``file://`` URLs besides ``http(s)``, as local videos.

    Raises:
        InputError: If the file cannot be read or has no link, or a line cannot be used; the
            first such lines are named.
    """
    sections: dict[Section, None] = {}
    refused: list[str] = []
    columns: Sequence[str] | None = None
    try:
        text = _text_of(Path(path).read_bytes())
        separator, text = _separator_of(text)
        for line, row in _rows(text, separator):
            try:
                if isinstance(row, csv.Error):
                    raise ValueError(str(row))
                if columns is None:
                    columns = _COLUMNS
                    if "url" in (cell.lower() for cell in row):
                        columns = _named_columns(row)
                        continue
                if separator != ",":
                    row = _with_decimal_points(row, columns)
                sections[_section_of(row, columns, allow_file_urls)] = None
            except ValueError as error:
                refused.append(f"line {line}: {error}")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not in UTF-8 or UTF-16 ({error.reason})", "Save it as UTF-8."
        ) from error
    except OSError as error:
        raise InputError(f"cannot read {path} ({error.strerror})", "Check the path.") from error
    refuse_lines(path, refused, _ROW_REMEDY)
    if not sections:
        raise InputError(f"{path} has no links", "Write one line url,start,end for each section.")
    return list(sections)


def refuse_lines(path: Path | str, refused: Sequence[str], remedy: str) -> None:
    """Refuse a list of which some lines cannot be used; the first of them are named.

    Raises:
        InputError: If there are such lines.
    """
    if refused:
        more = len(refused) - _SHOWN_LINES
        shown = "; ".join(refused[:_SHOWN_LINES]) + (f"; and {more} more" if more > 0 else "")
        raise InputError(f"{path} has lines that cannot be used ({len(refused)}): {shown}", remedy)


def read_folder(path: Path | str) -> list[Section]:
    """Take the videos that ``find_videos`` finds in a folder, in order of their names.

    Names that are no UTF-8 have their strange bytes in hexadecimal in ``source``.

    Raises:
        InputError: If there is no such folder, it cannot be read, or it has no videos.
    """
    root = Path(path).absolute()
    sections = []
    for file in find_videos(root):
        relative = os.fsencode(file.relative_to(root).as_posix())
        source = relative.decode("utf-8", "backslashreplace")
        sections.append(Section(source, path=str(file)))
    if not sections:
        raise InputError(
            f"{path} has no videos", f"Put some there: {', '.join(sorted(FOLDER_SUFFIXES))}."
        )
    return sorted(sections, key=lambda section: (section.source, section.path))


def parse_time(text: str) -> float:
    """Seconds from ``HH:MM:SS``, ``MM:SS`` or plain seconds, each with an optional fraction.

    >>> parse_time("1:02:03.5"), parse_time("90:00"), parse_time("7")
    (3723.5, 5400.0, 7.0)

    Raises:
        ValueError: If it is anything else, or minutes or seconds run over 59 after a colon.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{_show(text)} is not a time")
    hours, minutes, seconds = match.groups()
    if (minutes and float(seconds) >= 60) or (hours and int(minutes) >= 60):
        raise ValueError(f"{_show(text)} is not a time")
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds)


def _text_of(content: bytes) -> str:
    """Decode UTF-8, or UTF-16 by its byte-order mark or by the zero of its first character."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    if content[:1] != b"\0" and content[1:2] == b"\0":
        return content.decode("utf-16-le")
    if content[:1] == b"\0" and content[1:2] != b"\0":
        return content.decode("utf-16-be")
    return content.decode("utf-8-sig")


def _separator_of(text: str) -> tuple[str, str]:
    """What separates the cells of a list, and its text without a line that only says so."""
    lines = text.splitlines()
    if lines and (named := _NAMED_SEPARATOR.fullmatch(lines[0])):
        return named[1], text[len(lines[0]) :]  # with its line end, for the numbers of lines
    for line in lines:
        for separator in _SEPARATORS:
            try:
                (row,) = csv.reader([line], delimiter=separator, strict=True)
            except csv.Error:
                continue
            cells = [cell.strip() for cell in row]
            if "url" in (cell.lower() for cell in cells):
                return separator, text
            times = [cell if separator == "," else cell.replace(",", ".") for cell in cells[1:]]
            if times and cells[0] and all(not time or _TIME.fullmatch(time) for time in times):
                return separator, text
    return ",", text


def _rows(text: str, separator: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Lines that are not blank with their numbers, or what is wrong with their form."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        try:
            row = [cell.strip(" ") for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, error
            continue
        if any(row):
            yield reader.line_num, row


def _with_decimal_points(row: Sequence[str], columns: Sequence[str]) -> list[str]:
    points = [
        cell.replace(",", ".") if name in ("start", "end") else cell
        for name, cell in zip(columns, row, strict=False)
    ]
    return [*points, *row[len(columns) :]]


def _named_columns(row: Sequence[str]) -> Sequence[str]:
    names = [name.lower() for name in row]
    names = ["licence" if name in _LICENCE_NAMES else name for name in names]
    for name in (*_COLUMNS, "licence"):
        if names.count(name) > 1:
            raise ValueError(f"the column {name} is there {names.count(name)} times")
    return names


def _section_of(row: Sequence[str], columns: Sequence[str], allow_file_urls: bool) -> Section:
    """One line as a section.

    Raises:
        ValueError: If a cell cannot be used.
    """
    if any(row[len(columns) :]):
        raise ValueError(f"it has {len(row)} cells for {len(columns)} columns")
    cells = dict(zip(columns, row, strict=False))
    url, licence = cells.get("url", ""), cells.get("licence", "")
    path = _check_url(url, allow_file_urls)
    if not licence.isprintable():
        raise ValueError(f"the licence {_show(licence)} has control characters")
    start_s = parse_time(cells["start"]) if cells.get("start") else 0.0
    end_s = parse_time(cells["end"]) if cells.get("end") else None
    if end_s is not None and start_s >= end_s:
        raise ValueError(f"its start, {start_s:g} s, is not before its end, {end_s:g} s")
    return Section(url, start_s, end_s, path, licence)


def _check_url(url: str, allow_file_urls: bool) -> str | None:
    """The path in a ``file://`` URL; ``None`` for one to be downloaded.

    Raises:
        ValueError: If it is neither, or holds what no URL may.
    """
    if not url:
        raise ValueError("it has no URL")
    if not url.isprintable() or " " in url or url.startswith("-") or _SMUGGLED in unquote(url):
        raise ValueError(f"{_show(url)} is not a URL")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"{_show(url)} is not a URL ({error})") from error
    if parts.scheme in ("http", "https") and host:
        return None
    if parts.scheme == "file":
        if not allow_file_urls:
            raise ValueError(f"{_show(url)} is a file (--allow_file_urls takes those)")
        path = unquote(parts.path)
        if path.startswith("/") and host in (None, "localhost") and "\0" not in path:
            return path
    raise ValueError(f"{_show(url)} is not an http(s) URL with a host")


def _show(text: str) -> str:
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
    return repr(cut)
