"""A template learns where movement returns, and is scored on groups that it was not fitted to."""

import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.evaluation.tasks.movement import fit_certainty
from dancetomusic.models.pose_encoder.movement_tempo import LAGS_S, template_logits
from dancetomusic.models.pose_encoder.tempo_fit import (
    PROCEDURAL,
    TempoExamples,
    TempoSource,
    fit_template,
    fold_of_groups,
    held_out_templates,
    make_examples,
    tempo_sources,
)
from dancetomusic.rhythm.beats import TEMPI_BPM


def _examples(n: int = 40) -> TempoExamples:
    rng = np.random.default_rng(0)
    bpm = np.exp(rng.uniform(np.log(60), np.log(180), n))
    turns = 2 * np.pi * LAGS_S * bpm[:, None] / 60
    likeness = 0.5 * np.cos(turns) + 0.3 * np.cos(turns / 2) + 0.1 * rng.normal(size=turns.shape)
    groups = tuple(f"wild:{index % 5}" for index in range(n))
    return TempoExamples(likeness, bpm, np.full(n, 1 / n), groups)


def test_a_fitted_template_finds_the_tempo() -> None:
    examples = _examples()
    template = fit_template(examples)
    found = [TEMPI_BPM[template_logits(x, template).argmax()] for x in examples.likeness]
    assert np.mean(np.abs(np.log2(np.array(found) / examples.bpm)) < 0.06) > 0.9
    np.testing.assert_array_equal(fit_template(examples), template)


def test_each_group_is_read_by_a_template_fitted_without_it() -> None:
    examples = _examples()
    folds = fold_of_groups([*examples.group, "street:a", PROCEDURAL], 5)
    assert sorted(folds.values())[:5] == [0, 0, 1, 2, 3] and PROCEDURAL not in folds
    seen: list[tuple[str, ...]] = []

    def fit(rest: TempoExamples) -> np.ndarray:
        seen.append(rest.group)
        assert rest.weight.sum() == pytest.approx(1.0)
        return np.array([float(len(seen))])

    templates = held_out_templates(examples, 5, fit=fit)
    for group, template in templates.items():
        assert group not in seen[int(template[0]) - 1]
    assert set(templates) == set(examples.group)


def test_kinds_weigh_the_same_however_many_dances_they_have() -> None:
    sources = tempo_sources(n_procedural=2)
    poses = sources[0].poses
    more = [TempoSource(poses, 100.0, "wild", f"wild:{k}", 1 + k) for k in range(2)]
    examples = make_examples([*sources, *more])
    by_group = {
        group: examples.weight[[g == group for g in examples.group]].sum()
        for group in examples.group
    }
    assert by_group["wild:0"] == pytest.approx(by_group["wild:1"])
    assert by_group["wild:0"] == pytest.approx(by_group[PROCEDURAL])
    with pytest.raises(InputError, match="no dance"):
        make_examples([])


def test_certainty_is_the_share_that_is_right() -> None:
    rng = np.random.default_rng(0)
    agreement = rng.random(4000)
    odds = -2.0 + 4.0 * agreement
    right = rng.random(4000) < 1 / (1 + np.exp(-odds))
    at_zero, each = fit_certainty(agreement, right, np.ones(4000))
    assert at_zero == pytest.approx(-2.0, abs=0.4) and each == pytest.approx(4.0, abs=0.8)
