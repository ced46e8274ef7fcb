"""Sections of reports copied into documents, so that no figure is typed.

Run ``python -m dancetomusic.evaluation.insert --reports FOLDER DOCUMENT...``. In a document, the
lines between ``<!-- report wild: Every clip; By style -->`` and ``<!-- end of report -->`` are
replaced by the text under those headings of ``FOLDER/wild.md``, without the headings.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from dancetomusic.errors import DanceToMusicError, InputError
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

    Args:
        document: Markdown with blocks.
        reports: Name to page.

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


def main(argv: Sequence[str] | None = None) -> None:
    """Renew the blocks of documents from a folder of reports."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--reports", type=Path, required=True, help="Folder of NAME.md.")
    parser.add_argument("documents", type=Path, nargs="+")
    given = parser.parse_args(argv)
    try:
        reports = {file.stem: _read(file) for file in sorted(given.reports.glob("*.md"))}
        for document in given.documents:
            renewed = insert_reports(_read(document), reports)
            with atomic_output(document) as temporary:
                temporary.write_text(renewed, encoding="utf-8")
    except DanceToMusicError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {file} ({error.strerror})", "Name another file.") from error


if __name__ == "__main__":
    main()
