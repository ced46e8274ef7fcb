"""Sections of reports copied into documents, so that no figure is typed.

In a document, the lines between ``<!-- report wild: Every clip; By style -->`` and
``<!-- end of report -->`` are replaced by the text under those headings of ``wild.md`` in the
folder of reports, without the headings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from dancetomusic.errors import InputError
from dancetomusic.io.atomic import atomic_output

BLOCK = re.compile(
    r"(?P<begin><!-- report (?P<name>[\w-]+): (?P<headings>[^>]*?) -->\n).*?"
    r"(?P<end><!-- end of report -->)",
    flags=re.DOTALL,
)


def sections_of(page: str) -> dict[str, str]:
    """The text under every heading of the second level."""
    parts = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    return {heading: text.strip() for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def insert_reports(document: str, reports: Mapping[str, str]) -> str:
    """The document with every block renewed whose report is given; the others stay.

    Raises:
        InputError: If a report lacks a heading that a block names.
    """

    def renew(block: re.Match[str]) -> str:
        name = block["name"]
        if name not in reports:
            return block[0]
        sections = sections_of(reports[name])
        texts = []
        for heading in block["headings"].split("; "):
            if heading not in sections:
                raise InputError(
                    f"the report {name} has no heading {heading!r}",
                    f"It has {', '.join(sections)}.",
                )
            texts.append(sections[heading])
        return f"{block['begin']}" + "\n\n".join(texts) + f"\n{block['end']}"

    return BLOCK.sub(renew, document)


def evaluate(
    documents: Annotated[list[Path], typer.Argument(help="Markdown files with blocks.")],
    reports: Annotated[Path, typer.Option("--reports", help="Folder of NAME.md.")],
) -> None:
    """Renew the blocks of documents from a folder of reports."""
    pages = {file.stem: _read(file) for file in sorted(reports.glob("*.md"))}
    for document in documents:
        renewed = insert_reports(_read(document), pages)
        with atomic_output(document) as temporary:
            temporary.write_text(renewed, encoding="utf-8")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {file} ({error.strerror})", "Name another file.") from error
