"""Scores are measured beside chance, by a command that writes a page and its values."""

import json

import numpy as np
import pytest

from dancetomusic.cli import main
from dancetomusic.errors import InputError
from dancetomusic.evaluation.tasks.rhythm.set import load_rhythm_set
from dancetomusic.evaluation.tasks.score import ROWS, dances_of, evaluate, score_dance
from tests.evaluation_factory import write_dances


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dances")
    write_dances(folder)
    return folder


def test_form_is_above_chance_and_the_same_every_time(folder):
    clips = list(load_rhythm_set(folder, split="train").clips)
    dances = list(dances_of(clips))
    assert len(dances) == len(clips) > 0
    _, rhythm, poses = dances[0]
    values = score_dance(rhythm, poses, 2)
    again = score_dance(rhythm, poses, 2)
    assert values.keys() == ROWS.keys()
    for name in set(ROWS) - {"seconds"}:
        assert values[name] == again[name] or np.isnan(values[name])
    assert values["in_key"] > 0.95
    assert values["seeds"] < 0.9


def test_the_command_writes_a_page_and_its_values(folder, tmp_path, capsys):
    page = tmp_path / "new" / "page.md"
    arguments = ["evaluate", "score", "--data", str(folder), "--output", str(page), "--seeds", "2"]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code
    text = page.read_text(encoding="utf-8")
    for title in ROWS.values():
        assert f"\n| {title} |" in text
    assert text in capsys.readouterr().out
    values = json.loads(page.with_suffix(".json").read_text())
    assert values["in_key"]["mean"] > 0.95 and values["in_key"]["dances"] == 1


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a folder"):
        evaluate(tmp_path / "absent", tmp_path / "page.md")
