import json
from pathlib import Path

import numpy as np
import pytest

from dancetomusic.data.wild import WildClip, load_wild, wild_folds
from dancetomusic.errors import ConfigError, InputError
from dancetomusic.models.beat_network.held_out import HeldOutNetworks
from dancetomusic.models.beat_network.network import (
    FRAME_RATE,
    N_MELS,
    BeatNetworkConfig,
    load_beat_network,
)
from dancetomusic.models.beat_network.training import (
    BeatNetworkRecipe,
    BeatNetworkTrainingConfig,
    Recording,
    _cut,
    train_beat_network,
)
from tests.rhythm_factory import write_clips

SECONDS = 8.0
TINY = BeatNetworkConfig(channels=8, front=(4, 6), n_layers=3)


def recording(beats, bars_known=True):
    power = np.full((N_MELS, round(SECONDS * FRAME_RATE)), -4.0, np.float16)
    for beat in beats:
        power[:, round(beat * FRAME_RATE)] = 0.0
    beats = np.asarray(beats, float)
    return Recording(power, beats, beats[::4], bars_known)


@pytest.fixture
def cache(tmp_path):
    """Six songs of clicks and two stretches without a beat, as rendering would leave them."""
    folder = tmp_path / "songs"
    folder.mkdir()
    songs = [recording(np.arange(0.1, SECONDS, 60.0 / bpm)) for bpm in (80, 96, 110, 120, 133, 150)]
    songs += [recording([]), recording([])]
    np.save(folder / "power.npy", np.stack([song.power for song in songs]))
    entries = [
        {"beats": s.beat_times.tolist(), "downbeats": s.downbeat_times.tolist()} for s in songs
    ]
    wanted = {"songs": 6, "seconds": SECONDS, "noises": 2}
    (folder / "index.json").write_text(json.dumps({"wanted": wanted, "entries": entries}))
    return folder


def settings(cache, **changes):
    return BeatNetworkTrainingConfig(
        **{
            "model": TINY,
            "dances": None,
            "dance_share": 0.0,
            "cache": str(cache),
            "n_songs": 6,
            "n_noises": 2,
            "song_s": SECONDS,
            "crop_s": 4.0,
            "batch_size": 4,
            "max_steps": 3,
            "warmup_steps": 1,
            "log_every": 1,
            "tensorboard": False,
            **changes,
        }
    )


def test_targets_lie_on_the_beats_at_any_speed():
    source = recording([1.0, 2.0, 3.0, 4.0, 5.0])
    for speed in (1.0, 0.8, 1.25):
        power, targets, weights = _cut(source, 0, 200, speed)
        on = np.flatnonzero(targets[0] == 1.0)
        np.testing.assert_array_equal(on, [round(50 * k / speed) for k in range(1, 6)][: on.size])
        assert power[:, on].mean() > power.mean() + 1.0
        assert weights.min() == 1.0
    assert np.flatnonzero(targets[1] == 1.0).size == 1 + (5 / 1.25 < 4.0)


def test_what_is_past_the_end_has_no_weight():
    power, _, weights = _cut(recording([1.0]), 350, 100, 1.0)
    np.testing.assert_array_equal(weights[0], (np.arange(100) < 50).astype(np.float32))
    assert power[:, 60:].max() < -9


def test_unknown_bars_are_not_learned():
    _, _, weights = _cut(recording([1.0, 2.0], bars_known=False), 0, 100, 1.0)
    assert weights[0].all() and not weights[1].any()


@pytest.mark.slow
def test_a_run_lowers_its_loss_and_writes_a_network(cache, tmp_path):
    train_beat_network(settings(cache, max_steps=30, learning_rate=1e-2), tmp_path / "run")
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    losses = [entry["total"] for entry in log if "total" in entry]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:3])
    assert load_beat_network(tmp_path / "run").config == TINY


def test_examples_are_the_same_for_the_same_step_and_place(cache):
    recipe = BeatNetworkRecipe(settings(cache))
    one, two = recipe.batch(5, range(2, 4)), recipe.batch(5, range(0, 4))
    np.testing.assert_array_equal(one.levels.numpy(), two.levels[2:].numpy())


def test_noise_has_no_beat(cache):
    batch = BeatNetworkRecipe(settings(cache, noise_share=1.0, cut_share=0.0)).batch(0, range(4))
    assert batch.targets.max() == 0 and batch.weights.max() == 1


@pytest.mark.parametrize(
    "values",
    [
        {"noise_share": 1.2},
        {"wild_share": 0.5},
        {"dance_share": 0.5},
        {"fold": 4},
        {"n_songs": 0},
        {"crop_s": 0.5},
    ],
)
def test_impossible_settings_are_refused(cache, values):
    with pytest.raises(ConfigError):
        settings(cache, **values)


def clip(group):
    return WildClip(
        id=group,
        group=group,
        style="",
        duration_s=1.0,
        beat_times=np.zeros(0),
        bar_times=np.zeros(0),
        bar_places=np.zeros(0, np.int64),
        second_beat_times=np.zeros(0),
        pulse=1.0,
        agreement=1.0,
        sound_path=Path("none.opus"),
        poses=None,
    )


def test_folds_are_even_and_do_not_depend_on_order():
    clips = [clip(f"group {number}") for number in range(11)]
    folds = wild_folds(clips, 3)
    assert folds == wild_folds(clips[::-1], 3)
    assert sorted(np.bincount(list(folds.values()))) == [3, 4, 4]


@pytest.fixture
def wild(tmp_path):
    """Two real clips in miniature, of two groups."""
    (tmp_path / "wild").mkdir()
    write_clips(tmp_path / "wild")
    return tmp_path / "wild"


@pytest.mark.slow
def test_the_network_that_held_a_group_out_is_found(cache, wild, tmp_path):
    clips = load_wild(wild)
    real = {"wild": str(wild), "wild_share": 0.5, "max_steps": 1, "n_folds": 2}
    runs = [tmp_path / f"run{fold}" for fold in range(2)]
    for fold, run in enumerate(runs):
        train_beat_network(settings(cache, fold=fold, seed=fold, **real), run)
    networks = HeldOutNetworks(clips, runs)
    folds = wild_folds(clips, 2)
    for group, fold in folds.items():
        assert networks.of(group) is load_beat_network(runs[fold])
    with pytest.raises(InputError, match="every network learned"):
        HeldOutNetworks(clips, runs[:1]).of(next(g for g, f in folds.items() if f == 1))
    whole, without = tmp_path / "whole", tmp_path / "without"
    train_beat_network(settings(cache, **real), whole)
    with pytest.raises(InputError, match="held nothing out"):
        HeldOutNetworks(clips, [whole])
    train_beat_network(settings(cache, max_steps=1), without)
    assert HeldOutNetworks(clips, [without]).of("anna") is load_beat_network(without)
