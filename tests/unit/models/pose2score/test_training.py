"""The composer learns from pieces of the arranger, kept on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dancetomusic.errors import ConfigError
from dancetomusic.models.pose2score.events import FIELD
from dancetomusic.models.pose2score.network import Composer
from dancetomusic.models.pose2score.training import train_composer
from dancetomusic.models.pose2score.training_data import (
    ComposerTrainingConfig,
    make_up_dance,
    open_pieces,
    write_pieces,
)
from dancetomusic.score.grooves import released_library
from dancetomusic.score.style import load_style, style_names

TINY = ComposerTrainingConfig(
    max_steps=30,
    batch_size=4,
    learning_rate=5e-3,
    warmup_steps=5,
    n_pieces=8,
    n_held_out=3,
    bars=(8, 12),
    events=64,
    d_model=32,
    n_layers=1,
    n_heads=2,
    log_every=1,
    ema_decay=0.0,
    num_workers=0,
    tensorboard=False,
)


@pytest.mark.slow(2)
def test_loss_falls_and_the_checkpoint_loads(tmp_path):
    train_composer(TINY, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    totals = [line["total"] for line in lines if "total" in line]
    assert np.mean(totals[-5:]) < 0.8 * np.mean(totals[:3])
    assert Composer.from_pretrained(tmp_path).config.styles == style_names()


@pytest.mark.slow(1)
def test_pieces_are_written_once_and_depend_on_their_number_alone(tmp_path):
    first, held_out = open_pieces(TINY, tmp_path)
    written = (tmp_path / "pieces.npz").stat().st_mtime_ns
    second, _ = open_pieces(TINY, tmp_path)
    assert (tmp_path / "pieces.npz").stat().st_mtime_ns == written
    assert first.content_hash == second.content_hash != held_out.content_hash
    alone = next(iter(write_pieces(TINY, range(3, 4), released_library())))
    assert (alone.values == first.pieces[3].values).all()


@pytest.mark.slow(1)
def test_crops_know_the_event_before_them(tmp_path):
    data, _ = open_pieces(TINY, tmp_path)
    batch = data.batch(0, range(6))
    assert batch.values.shape[:2] == (6, TINY.events)
    assert (
        batch.before[:, 1:][batch.present[:, 1:]] == batch.values[:, :-1][batch.present[:, 1:]]
    ).all()
    inside = batch.ticks % 12
    ahead = batch.before[..., FIELD["next"]]
    assert (ahead[:, 1:] == inside[:, 1:])[batch.present[:, 1:]].all()


def test_dances_are_made_up_in_the_metre_of_the_style():
    rng = np.random.default_rng(0)
    for name in ("waltz", "house", "samba"):
        style = load_style(name)
        for _ in range(5):
            clock, plan, performance = make_up_dance(style, (8, 16), released_library(), rng)
            assert clock.beats_per_bar in style.metres
            assert (np.diff(plan.hits.times) > 0.4).all()
            assert performance is None or style.grooves


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="n_pieces is 0"):
        ComposerTrainingConfig(n_pieces=0)
    with pytest.raises(ConfigError, match="withheld is 2"):
        ComposerTrainingConfig(withheld=2.0)
