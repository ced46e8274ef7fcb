"""Pairs of dancers at one tempo and at two, and whose beat is read."""

import json
import math

import numpy as np
import pytest

from dancetomusic.cli import main
from dancetomusic.data.wild import load_wild, trusted_clips
from dancetomusic.evaluation.tasks.duets import (
    FILMED,
    FOLLOWED,
    ONE_TEMPO,
    RANDOM,
    TWO_TEMPI,
    filmed_duets,
    rendered_duets,
    score_duet,
)
from dancetomusic.models.encoders import load_encoder
from dancetomusic.models.pose_encoder.movement_tempo import dance_logits
from dancetomusic.released import released_checkpoints
from dancetomusic.rhythm.beats import TEMPI_BPM
from tests.rhythm_factory import write_clips

needs_weights = pytest.mark.skipif(
    "pose2audio" not in released_checkpoints(), reason="no released weights"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wild")
    write_clips(folder)
    return folder


def tempo(poses):
    return float(TEMPI_BPM[np.argmax(dance_logits([poses]))])


def test_the_second_dancer_is_retimed_to_one_tempo_and_to_two(folder):
    duets = list(filmed_duets(trusted_clips(load_wild(folder))))
    assert [duet.tempi for duet in duets] == 2 * [ONE_TEMPO, TWO_TEMPI, TWO_TEMPI]
    for duet, ratio in zip(duets, 2 * (1.0, 0.8, 1.25), strict=True):
        first, second = duet.dancers
        bpm = {"anna": 100.0, "bert": 90.0}[duet.group]
        assert len(first) == len(second)
        assert duet.beat_times[0] == pytest.approx(0.0, abs=0.03)
        assert np.diff(duet.beat_times) == pytest.approx(60.0 / bpm)
        octaves = math.log2(tempo(second) / tempo(first) / ratio)
        assert octaves == pytest.approx(round(octaves), abs=0.06)


@needs_weights
def test_each_rule_reads_who_it_says(folder):
    duet = next(filmed_duets(trusted_clips(load_wild(folder))))
    scores = score_duet(load_encoder("pose2audio"), duet)
    assert set(scores) == {*FOLLOWED.values(), *RANDOM}
    assert scores["all together"][0] == 1.0 and scores["the most prominent"][0] == 0.0
    assert scores["the most prominent"][1] == 1.0
    assert math.isnan(scores[RANDOM[0]][0]) and scores[RANDOM[0]][1] == 1.0
    assert scores[RANDOM[1]][1] == 0.0


@pytest.mark.slow(2)
@needs_weights
def test_the_page_has_a_row_of_each_rule(folder, tmp_path):
    page = tmp_path / "duets.md"
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", "duets", str(folder), "--output", str(page), "--rendered", "0"])
    assert not ended.value.code
    cells = json.loads(page.with_suffix(".json").read_text())
    assert len(cells) == 2 * (len(FOLLOWED) + len(RANDOM))
    assert cells[f"{FILMED}, {ONE_TEMPO}, all together"][0]["mean"] == 1.0
    assert f"| {FILMED}, {TWO_TEMPI}, auto | 4 |" in page.read_text()


@pytest.mark.slow
def test_a_rendered_pair_is_read_through_the_detector(tmp_path):
    pytest.importorskip("pyvista")
    (duet,) = rendered_duets(1, tmp_path)
    assert duet.tempi == ONE_TEMPO
    assert all(dancer.present.mean() > 0.9 for dancer in duet.dancers)
    bpm = 60.0 / np.diff(duet.beat_times).mean()
    octaves = math.log2(tempo(duet.dancers[0]) / bpm)
    assert octaves == pytest.approx(round(octaves), abs=0.1)
