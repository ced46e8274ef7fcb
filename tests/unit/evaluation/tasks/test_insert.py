import pytest

from dancetomusic.cli import main
from dancetomusic.errors import InputError
from dancetomusic.evaluation.tasks.insert import insert_reports, sections_of

PAGE = "# Title\n\n## First\n\n| a |\n\nNote.\n\n## Second\n\n| b |\n"
DOCUMENT = """Text.

<!-- report wild: First; Second -->
TODO-FIGURE
<!-- end of report -->

<!-- report street: First -->
old
<!-- end of report -->
"""


def test_sections_are_under_their_headings():
    assert sections_of(PAGE) == {"First": "| a |\n\nNote.", "Second": "| b |"}
    assert sections_of("no heading") == {}


def test_blocks_are_renewed_and_others_stay():
    renewed = insert_reports(DOCUMENT, {"wild": PAGE})
    assert "TODO-FIGURE" not in renewed
    assert "<!-- report wild: First; Second -->\n| a |\n\nNote.\n\n| b |\n<!-- end of" in renewed
    assert "<!-- report street: First -->\nold\n<!-- end of" in renewed
    assert insert_reports(renewed, {"wild": PAGE}) == renewed


def test_a_missing_heading_is_an_error():
    with pytest.raises(InputError, match="no heading 'First'"):
        insert_reports(DOCUMENT, {"street": "## Other\n\ntext"})


def test_files_are_renewed_in_place(tmp_path):
    (tmp_path / "wild.md").write_text(PAGE)
    document = tmp_path / "doc.markdown"
    document.write_text(DOCUMENT)
    command = ["evaluate", "insert", "--reports", str(tmp_path)]
    with pytest.raises(SystemExit) as end:
        main([*command, str(document)])
    assert not end.value.code and "| b |" in document.read_text()
    with pytest.raises(SystemExit) as end:
        main([*command, str(tmp_path / "nowhere")])
    assert end.value.code == 2
