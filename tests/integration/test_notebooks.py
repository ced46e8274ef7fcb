"""Notebooks call and show, keep no outputs, and run from their first cell to their last."""

import pytest

from dancetomusic.released import released_checkpoints
from tests.conftest import REPOSITORY

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
CELL_S = 300
FIGURES = {"inspect_results": 9, "inspect_dataset": 5}
"""Charts that each notebook shows."""

SHORTER = {"end_s=10.0": "end_s=5.0"}
"""What is changed in a notebook to run it in less time."""

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_those_that_are_known():
    assert {path.stem for path in NOTEBOOKS} == set(FIGURES)
    assert all(any(long in path.read_text() for path in NOTEBOOKS) for long in SHORTER)


@every_notebook
def test_a_notebook_is_valid_and_has_neither_outputs_nor_logic(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert set(book.metadata) == {"kernelspec", "language_info"}
    for cell in book.cells:
        assert not cell.metadata
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None, "clear the outputs"
            assert "def " not in cell.source and "class " not in cell.source


@pytest.mark.slow(25)
@pytest.mark.skipif(
    not {"codec", "pose2audio"} <= released_checkpoints().keys(), reason="no released weights"
)
@every_notebook
def test_a_notebook_runs(path, monkeypatch):
    pytest.importorskip("librosa")
    monkeypatch.delenv("DANCETOMUSIC_SET", raising=False)
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        for long, short in SHORTER.items():
            cell.source = cell.source.replace(long, short)
    folder = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(book, timeout=CELL_S, kernel_name="python3", resources=folder).execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    shown = [output.data for output in outputs if "data" in output]
    assert sum("image/png" in data for data in shown) == FIGURES[path.stem]
    assert sum("<audio" in data.get("text/html", "") for data in shown) >= 2
    assert sum("|---|" in data.get("text/markdown", "") for data in shown) == 2
