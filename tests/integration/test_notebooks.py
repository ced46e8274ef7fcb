import json
from pathlib import Path

import pytest

from dancetomusic.released import released_checkpoints

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.skipif("pose2audio" not in released_checkpoints(), reason="no released weights")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_and_defines_nothing(path, repository, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    monkeypatch.chdir(repository)
    namespace: dict[str, object] = {}
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            assert "def " not in source and "class " not in source
            assert not cell["outputs"], "clear the outputs before committing"
            exec(compile(source, str(path), "exec"), namespace)
    assert NOTEBOOKS
