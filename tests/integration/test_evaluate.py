import json

import numpy as np
import pytest

pytest.importorskip("librosa")
pytest.importorskip("mir_eval")
pytest.importorskip("matplotlib")

from dancetomusic.cli import main
from dancetomusic.errors import CheckpointError, InputError
from dancetomusic.evaluation import sound_scores
from dancetomusic.evaluation.baselines import metronome_times, render_clicks
from dancetomusic.evaluation.pieces import load_pieces
from dancetomusic.evaluation.report import Cell, cell_text
from dancetomusic.evaluation.sound_scores import BEAT_COLUMNS, CHARACTER_COLUMNS, FORM_COLUMNS
from dancetomusic.evaluation.tasks.music import measure, rows
from dancetomusic.evaluation.tasks.music.measure import embed, find_sounds, make_plan
from dancetomusic.evaluation.tasks.music.scores import GROOVE_COLUMNS, LEGACY_COLUMNS, TIME_COLUMNS
from dancetomusic.io.audio import write_audio
from dancetomusic.released import released_checkpoints
from dancetomusic.types import Waveform
from tests.evaluation_factory import write_dances

pytestmark = pytest.mark.skipif(
    not {"codec", "pose2audio"} <= released_checkpoints().keys(), reason="no released weights"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dances")
    write_dances(folder)
    (folder / "peer").mkdir()
    write_audio(folder / "peer" / "A.wav", render_clicks(metronome_times(100.0, 9.0), 9.0))
    return folder


@pytest.fixture(scope="module")
def report(folder):
    """A real run: the released model, a peer's sound, baselines; of what takes long, less."""
    arguments = ["evaluate", "--data", str(folder), "--output", str(folder / "out")]
    arguments += ["--checkpoint", "pose2audio", "--audio_dir", f"peer={folder / 'peer'}"]
    with pytest.MonkeyPatch.context() as patched, pytest.raises(SystemExit) as end:
        patched.setattr(measure, "LONG_S", 65.0)
        patched.setattr(sound_scores, "FRECHET_RESAMPLES", 10)
        main([*arguments, "--seeds", "2", "--engine", "serial"])
    assert not end.value.code
    return folder / "out"


@pytest.mark.slow(60)
def test_one_page_has_every_row_and_every_column(report):
    page = (report / "report.md").read_text(encoding="utf-8")
    for row in (rows.TRUTH, rows.TRUTH_STEM, rows.TRUTH_LATE, rows.TRUTH_CODEC, *rows.BASELINES):
        assert f"\n| {row} |" in page
    assert "\n| **pose2audio** |" in page and "\n| peer |" in page
    assert f"\n| {rows.metronome_on('pose2audio')} |" in page
    for columns in (TIME_COLUMNS, GROOVE_COLUMNS, LEGACY_COLUMNS):
        assert f"| {' | '.join(columns.values())} |" in page
    for columns in (BEAT_COLUMNS, FORM_COLUMNS, CHARACTER_COLUMNS):
        assert f"| {' | '.join(columns.values())} |" in page
    assert "nan" not in page
    for line in page.splitlines():
        if line.startswith("!["):
            picture = report / line.split("(")[1].rstrip(")")
            assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_scores_are_those_of_the_sounds(report):
    values = json.loads((report / "report.json").read_text(encoding="utf-8"))
    table = values["summary"]["rows"]
    assert next(iter(table)) in (rows.TRUTH, rows.TRUTH_STEM, "**pose2audio**", "peer") or (
        table[next(iter(table))]["f"]["mean"] > 0.9
    )
    assert table[rows.TRUTH]["f"]["mean"] > 0.95
    assert table[rows.TRUTH]["onset_f1"]["mean"] == 1.0
    assert table[rows.TRUTH_LATE]["f"]["mean"] < 0.2
    assert table[rows.METRONOME_120]["tempo"]["mean"] == 0.0
    assert table["peer"]["f"]["mean"] > 0.7
    assert table["peer"]["silence_s"]["mean"] == pytest.approx(3.0, abs=0.7)
    assert table["**pose2audio**"]["librosa_f"]["mean"] > 0.5
    takes = [take["row"] for take in values["takes"]]
    assert takes.count("**pose2audio**") == takes.count(rows.NOISE) == 2
    assert {target["name"] for target in values["summary"]["targets"]["pose2audio"]}
    assert values["summary"]["long"]["pose2audio"]["clipped_share"] < 1.0


def test_bad_input_is_one_line(folder, tmp_path, capsys):
    data = ["evaluate", "--data", str(folder), "--output", str(tmp_path / "out")]
    for arguments, words in (
        ([*data, "--audio_dir", "peer"], "Give NAME=DIR"),
        ([*data, "--audio_dir", f"peer={tmp_path}", "--engine", "serial"], "has no sound for any"),
        ([*data, "--split", "test"], "no dance of split 'test'"),
        (["evaluate", "--data", str(tmp_path), "--output", str(tmp_path)], "neither"),
        ([*data, "--checkpoint", "nowhere"], "nowhere"),
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_codec_is_no_row(tmp_path):
    with pytest.raises(CheckpointError, match="holds a codec"):
        make_plan(["codec"])
    with pytest.raises(InputError, match="two rows"):
        make_plan(["pose2audio", "pose2audio", "pose2audio"])


def test_sounds_are_found_by_the_name_of_the_piece(folder):
    pieces = load_pieces(folder, "val")
    assert find_sounds(pieces, {"peer": folder / "peer"}) == {
        "peer": {"A": folder / "peer" / "A.wav"}
    }
    with pytest.raises(InputError, match=r"such as A\.wav"):
        find_sounds(pieces, {"peer": folder / "motion"})


def test_embeddings_are_of_half_seconds_and_blind_to_gain(tiny_rng):
    samples = tiny_rng.normal(0, 0.1, (1, 60_000)).astype(np.float32)
    loud, soft = (embed(Waveform(samples * np.float32(g), 24_000)) for g in (1.0, 0.1))
    assert loud.shape[0] == 4
    np.testing.assert_allclose(loud, soft, atol=0.05)
    assert embed(Waveform(np.zeros((1, 0), np.float32), 24_000)).shape[0] == 0


def test_cells_without_a_value_are_dashes():
    assert cell_text(Cell(float("nan"), float("nan"), float("nan"), 0)) == "–"
    assert cell_text(Cell(0.5, 0.25, 0.75, 3)) == "0.50 [0.25, 0.75]"
