import logging
import sys

import numpy as np
import pytest

from dancetomusic.checkpoint import save_checkpoint
from dancetomusic.config import config_to_dict
from dancetomusic.errors import InputError
from dancetomusic.evaluation.baselines import metronome_times, render_clicks
from dancetomusic.evaluation.tasks.rhythm import estimators as rhythm_estimators
from dancetomusic.evaluation.tasks.rhythm.estimators import (
    Estimate,
    choosing_estimator,
    estimate_sound,
    file_estimator,
    installed_trackers,
    load_templates,
    movement_estimator,
    networks_without,
    sound_estimator,
)
from dancetomusic.evaluation.tasks.rhythm.set import load_rhythm_set
from dancetomusic.models.beat_network.network import BeatNetwork, BeatNetworkConfig
from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoderConfig
from dancetomusic.types import RhythmTrack, Waveform
from tests.rhythm_factory import write_clips

BEAT_THIS = """
class Audio2Beats:
    def __init__(self, device):
        pass

    def __call__(self, samples, rate):
        return [0.5, 1.0, 99.0], [0.5]
"""
BEATNET = """
class BeatNet:
    def __init__(self, model, mode, inference_model, plot, thread):
        pass

    def process(self, samples):
        assert samples.ndim == 1
        return [[0.5, 1.0], [1.0, 2.0], [99.0, 1.0]]
"""


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    return load_rhythm_set(folder).clips


@pytest.fixture
def doubles(tmp_path, monkeypatch):
    """Doubles of beat_this and BeatNet that can be imported, and are forgotten afterwards."""
    for package, module, text in (
        ("beat_this", "inference", BEAT_THIS),
        ("BeatNet", "BeatNet", BEATNET),
    ):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
        (tmp_path / package / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("beat_this", "BeatNet")]:
        del sys.modules[name]


def test_the_beats_of_clicks_are_found_and_silence_has_none(clips):
    estimate = sound_estimator()(clips[0])
    assert estimate is not None and estimate.source == "sound"
    assert np.median(np.diff(estimate.beat_times)) == pytest.approx(0.6, abs=0.01)
    assert estimate.beat_places is not None and estimate.compute_s > 0
    assert (estimate.beat_times < clips[0].duration_s).all()
    silent = estimate_sound(Waveform(np.zeros((1, 240_000), np.float32), 24_000), 10.0)
    assert silent.certainty == 0.0 and not silent.sure and silent.beat_times.size == 0
    shorter = estimate_sound(render_clicks(metronome_times(120.0, 12.0), 12.0), 6.0)
    assert shorter.beat_times.max() < 6.0


def test_other_trackers_are_rows_where_they_are_installed(clips, doubles):
    found = installed_trackers()
    for name, places in (("beat_this", None), ("BeatNet", [1, 2])):
        estimate = found[name](clips[0])
        assert estimate is not None
        np.testing.assert_array_equal(estimate.beat_times, [0.5, 1.0])
        given = None if estimate.beat_places is None else estimate.beat_places.tolist()
        assert given == places


def test_one_whose_weights_are_out_of_reach_is_left_out(doubles, monkeypatch, caplog):
    monkeypatch.setattr(rhythm_estimators.importlib, "import_module", _no_network)
    with caplog.at_level(logging.WARNING):
        found = installed_trackers()
    assert "beat_this" not in found
    assert "beat_this is left out: no network" in caplog.text


def _no_network(name):
    raise OSError("no network")


def test_beats_of_files_are_those_inside_the_clip(clips, tmp_path):
    (tmp_path / "one.csv").write_text("time_s,beat\n-0.1,4\n0.5,1\n1.0,2\n12.5,3\n")
    (tmp_path / "two.csv").write_text("time_s,beat\n0.5,\n1.0,\n")
    estimator = file_estimator(tmp_path)
    one, two, three = (estimator(clip) for clip in clips[:3])
    assert one is not None and two is not None and three is None
    assert one.beat_times.tolist() == [0.5, 1.0] and one.beat_places.tolist() == [1, 2]
    assert two.beat_places is None and np.isnan(two.certainty)
    with pytest.raises(InputError, match="not a folder"):
        file_estimator(tmp_path / "nowhere")


def test_sure_needs_beats():
    assert Estimate(np.array([1.0]), certainty=0.8).sure
    assert not Estimate(np.zeros(0), certainty=0.9).sure
    assert not Estimate(np.array([1.0])).sure


def test_the_sound_is_chosen_where_it_is_clear(clips):
    beats = np.array([0.5, 1.0])
    moved = Estimate(beats, certainty=0.1, source="movement")

    def choose(tracked, read=moved):
        return choosing_estimator(lambda clip: tracked, lambda clip: read)(clips[0])

    clear, doubtful = Estimate(beats, certainty=0.9), Estimate(beats, certainty=0.1)
    assert choose(clear) is clear
    assert choose(doubtful) is moved and choose(None) is moved
    assert choose(doubtful, None) is doubtful


def save_network(folder, **training):
    network = BeatNetwork(BeatNetworkConfig(channels=4, front=(2, 2), n_layers=1))
    save_checkpoint(
        folder,
        model=BeatNetwork.MODEL,
        config=config_to_dict(network.config),
        tensors=network.state_dict(),
        metadata={"training": {"n_folds": 2, **training}},
    )
    return folder


def test_a_clip_is_tracked_by_the_network_that_did_not_learn_from_it(clips, tmp_path):
    write_clips(tmp_path)
    folds = [save_network(tmp_path / f"fold{k}", wild="a folder", fold=k) for k in (0, 1)]
    network_of = networks_without(tmp_path, folds)
    networks = {clip.group: network_of(clip) for clip in clips}
    assert len({id(network) for network in networks.values()}) == 2
    assert networks_without(tmp_path, [])(clips[0]) is None
    everything = save_network(tmp_path / "all", wild="a folder", fold=None)
    with pytest.raises(InputError, match="held nothing out"):
        networks_without(tmp_path, [everything])


def test_a_clip_is_read_with_the_template_fitted_without_its_group(clips, tmp_path, monkeypatch):
    np.savez(tmp_path / "templates.npz", **{"wild:anna": np.ones(41), "wild:else": np.zeros(41)})
    templates = load_templates(tmp_path / "templates.npz")
    assert [clip.learned_with for clip in clips[:3]] == ["wild:anna", "wild:anna", "wild:bert"]
    used = []

    def read(encoder, dancers, template=None):
        used.append(template)
        return None, (movement_track,)

    movement_track = RhythmTrack(
        beat_times=np.array([0.5, 1.0]),
        beat_numbers=np.array([1, 2]),
        energy=np.zeros(1, np.float32),
        energy_rate=1.0,
        duration_s=12.0,
        certainty=0.2,
    )
    monkeypatch.setattr(rhythm_estimators, "movement_rhythms", read)
    estimator = movement_estimator(PoseEncoder(PoseEncoderConfig()), templates)
    anna, hidden, bert = (estimator(clip) for clip in clips[:3])
    assert anna is not None and (anna.source, anna.certainty) == ("movement", 0.2)
    assert hidden is None and bert is not None
    np.testing.assert_array_equal(used[0], np.ones(41))
    assert used[1] is None
    (tmp_path / "bad.npz").write_text("no arrays")
    with pytest.raises(InputError, match="hold_out_tempo"):
        load_templates(tmp_path / "bad.npz")
