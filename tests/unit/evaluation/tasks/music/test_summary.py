import json
from pathlib import Path

import numpy as np
import pytest

from dancetomusic.data.dance import fully_visible
from dancetomusic.evaluation.pieces import Piece
from dancetomusic.evaluation.report import to_json
from dancetomusic.evaluation.tasks.music.measure import (
    CODEC,
    MUSICNN,
    Findings,
    GrooveTake,
    LongTake,
    Take,
)
from dancetomusic.evaluation.tasks.music.page import render_page
from dancetomusic.evaluation.tasks.music.rows import (
    METRONOME_120,
    NOISE,
    TRUTH,
    TRUTH_STEM,
    metronome_on,
)
from dancetomusic.evaluation.tasks.music.scores import COLUMNS
from dancetomusic.evaluation.tasks.music.summary import summarise

NAN = float("nan")


def piece(name, dance):
    poses = fully_visible(np.zeros((24, 33, 3), np.float32), 24.0)
    return Piece(name, dance, "", 120.0, poses, np.zeros(0), np.zeros(0, int), False, Path(dance))


def take(rng, row, name, offset=0.0, **scores):
    everything = {**dict.fromkeys(COLUMNS, 0.5), "tempo_error": NAN, **scores}
    embeddings = (rng.normal(size=(40, 3)) + offset).astype(np.float32)
    return Take(row, name, everything, {CODEC: embeddings, MUSICNN: 2 * embeddings})


@pytest.fixture
def findings(tiny_rng):
    pieces = [piece(name, dance) for name, dance in (("a1", "a"), ("a2", "a"), ("b", "b"))]
    findings = Findings(pieces)
    values = {"a1": 0.2, "a2": 0.4, "b": 0.9}
    for name, value in values.items():
        for row, offset in ((TRUTH, 0), (TRUTH_STEM, 0), (NOISE, 9), (METRONOME_120, 9)):
            findings.add(take(tiny_rng, row, name, offset, f=0.1 if offset else 1.0))
        findings.add(take(tiny_rng, metronome_on("m"), name, 9, f=value))
        for change in (-0.1, 0.1):
            findings.add(
                take(tiny_rng, "**m**", name, 1, f=value + change, librosa_f=1.0, grid_tempo=1.0)
            )
    long = {"longest_silence_s": 0.1, "longest_drone_s": 9.0, "clipped_share": 0.0}
    findings.add(LongTake("m", {**long, "grid_f_last_minute": 1.0}))
    real = tiny_rng.normal(size=(40, 3)).astype(np.float32)
    findings.add(GrooveTake({"density": 8.0, "low": NAN}, {CODEC: real}))
    findings.add(GrooveTake({"density": 10.0, "waltz_accent": 1.0}, {CODEC: real}))
    return findings


@pytest.mark.slow
def test_means_are_over_seeds_then_pieces_then_dances(findings):
    summary = summarise(findings, ["m"])
    cell = summary.rows["**m**"]["f"]
    assert cell.mean == pytest.approx((0.3 + 0.9) / 2)
    assert (cell.low, cell.high, cell.dances) == (pytest.approx(0.3), pytest.approx(0.9), 2)
    assert list(summary.rows)[:2] == [TRUTH, TRUTH_STEM]
    assert summary.rows[TRUTH]["tempo_error"].dances == 0
    assert summary.leads["m", NOISE]["f"].mean == pytest.approx(0.6 - 0.1)


@pytest.mark.slow
def test_distances_are_to_the_true_drums_and_bass(findings):
    summary = summarise(findings, ["m"])
    assert summary.frechet[TRUTH_STEM].mean < 0.3
    assert summary.frechet["**m**"].mean == pytest.approx(3.0, rel=0.3)
    assert summary.frechet[NOISE].mean == pytest.approx(243.0, rel=0.1)
    assert summary.frechet_songs["**m**"].mean == pytest.approx(12.0, rel=0.3)
    assert summary.frechet_grooves[NOISE] > summary.frechet_grooves["**m**"]
    assert summary.frechet["**m**"].low < summary.frechet["**m**"].high


@pytest.mark.slow
def test_targets_say_what_holds(findings):
    targets = {target.name: target for target in summarise(findings, ["m"]).targets["m"]}
    assert targets["beat F of the sound below that of its grid"].holds
    assert targets["Fréchet distance, of that of white noise"].holds
    assert targets["3 min: longest silence"].holds
    assert not targets["3 min: longest sound without an onset"].holds
    assert not targets["onsets/s, range of real grooves"].holds
    assert targets["onsets/s, range of real grooves"].wanted == "8.10 to 9.90"


@pytest.mark.slow
def test_page_and_json_know_no_nan(findings):
    summary = summarise(findings, ["m"])
    page = render_page(summary, {"data": "x"}, ["rows.png"])
    assert "nan" not in page and "![rows.png](rows.png)" in page
    assert "| m over white noise |" in page and "**fails**" in page
    values = json.dumps(to_json(summary), allow_nan=False)
    assert json.loads(values)["rows"][TRUTH]["tempo_error"]["mean"] is None


@pytest.mark.slow(1)
def test_without_models_only_baselines_are_reported(findings):
    findings.takes = [take for take in findings.takes if "m" not in take.row.strip("*").split()]
    findings.long, findings.grooves = [], []
    page = render_page(summarise(findings, []), {}, [])
    assert "What a groove must hold" not in page
    assert NOISE in page
