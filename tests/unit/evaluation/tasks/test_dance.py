import json
import math

import numpy as np
import pytest

from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import InputError
from dancetomusic.evaluation.tasks.dance import (
    MODEL,
    RANDOM,
    REAL,
    REGRESSION,
    LinearRegression,
    MadeDance,
    random_motion,
    summarise_dances,
    write_dance_report,
)
from dancetomusic.io.audio import read_audio
from dancetomusic.pose.skeleton import heading_of
from tests.evaluation_factory import write_dances


def made(row, song, rng, *, genre="waltz", spread=1.0, shift=0.0, **scores):
    features = rng.normal(shift, spread, (40, 6))
    known = {"skate": 0.1, "limbs": 0.02, "beat_f": 0.5, "tempo": 1.0, "alignment": 0.2}
    return MadeDance(row, song, genre, features, features[:, :4], known | scores)


def dances(**model):
    rng = np.random.default_rng(0)
    rows = []
    for song, genre in (("A", "waltz"), ("B", "cha-cha"), ("C", "rumba")):
        rows.append(made(REAL, song, rng, genre=genre))
        rows.append(made(REGRESSION, song, rng, genre=genre, spread=0.05, shift=-2.0))
        rows += [made(RANDOM, song, rng, genre=genre, beat_f=0.3) for _ in range(2)]
        given = {"beat_f": 0.9, "loop_tempo": 1.0} | model
        rows += [made(MODEL, song, rng, genre=genre, **given) for _ in range(2)]
    return rows


@pytest.mark.slow(1)
def test_what_is_like_real_motion_holds_every_target():
    report = summarise_dances(dances())
    assert report.rows[REAL]["frechet_kinetic"].mean == pytest.approx(0.0, abs=1e-6)
    assert (
        report.rows[MODEL]["frechet_kinetic"].mean < report.rows[REGRESSION]["frechet_kinetic"].mean
    )
    lead = report.lead["waltz"]
    assert (lead.mean, lead.low, lead.high) == pytest.approx((0.6, 0.6, 0.6))
    assert set(report.lead) == {"cha-cha", "waltz"}
    assert len(report.targets) == 8
    assert all(target.holds for target in report.targets)


@pytest.mark.slow(1)
@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({"skate": 0.3}, "foot skate"),
        ({"limbs": 0.05}, "limb-length"),
        ({"beat_f": 0.3}, "waltz"),
        ({"loop_tempo": 0.0}, "tempo comes back"),
        ({"spread": 0.3}, "diversity, kinetic"),
        ({"shift": 3.0}, "Fréchet"),
    ],
)
def test_what_is_not_like_it_fails_its_target(model, name):
    failed = [each.name for each in summarise_dances(dances(**model)).targets if not each.holds]
    assert any(name in target for target in failed), failed


@pytest.mark.slow(1)
def test_the_report_is_written_whole(tmp_path):
    rows = dances()
    page = write_dance_report(summarise_dances(rows), rows, tmp_path / "out")
    text = page.read_text()
    assert MODEL in text
    assert "does not separate a dance from chance" in text
    values = json.loads((tmp_path / "out" / "dances.json").read_text())
    assert len(values["dances"]) == len(rows)
    assert not math.isnan(values["rows"][MODEL]["beat_f"][0])


def test_without_the_real_dances_there_is_no_report():
    with pytest.raises(InputError, match="row is missing"):
        summarise_dances([dance for dance in dances() if dance.row != REAL])


def test_random_motion_is_of_the_length_asked_for(tmp_path):
    write_dances(tmp_path)
    known = load_dances(tmp_path, split="train")
    poses = random_motion(known, 700, np.random.default_rng(0))
    assert len(poses) == 700
    steps = np.linalg.norm(np.diff(poses.world, axis=0), axis=-1).max()
    own = max(np.linalg.norm(np.diff(dance.poses.world, axis=0), axis=-1).max() for dance in known)
    assert steps <= own + 1e-5


def test_regression_is_nearer_than_the_mean_pose_and_knows_no_heading(tmp_path):
    write_dances(tmp_path)
    known = load_dances(tmp_path, split="train")
    music = read_audio(known[0].audio_path)
    made = LinearRegression(known).dance(music)
    assert len(made) == pytest.approx(music.duration_s * 24, abs=1)
    assert np.abs(heading_of(made.world, 24.0)).max() < 0.5
    real = known[0].poses.world[: len(made)]
    apart = np.abs(made.world[: len(real)] - real).mean()
    assert apart < np.abs(real.mean(axis=0) - real).mean()
