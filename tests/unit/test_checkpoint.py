import json

import pytest
import torch

from dancetomusic.checkpoint import checkpoint_family, load_checkpoint, load_into, save_checkpoint
from dancetomusic.errors import CheckpointError


@pytest.fixture
def saved(tmp_path):
    save_checkpoint(
        tmp_path / "it", model="toy", config={"width": 2},
        tensors={"weight": torch.tensor([[0.5, 1.0]]), "count": torch.tensor([3])},
        metadata={"seed": 7},
    )  # fmt: skip
    return tmp_path / "it"


def test_round_trip_restores_everything(saved):
    checkpoint = load_checkpoint(saved, model="toy")
    assert checkpoint.config == {"width": 2}
    assert checkpoint.metadata["seed"] == 7
    assert checkpoint.tensors["weight"].dtype == torch.float32
    assert checkpoint.tensors["weight"].tolist() == [[0.5, 1.0]]
    assert checkpoint.tensors["count"].tolist() == [3]
    assert sorted(file.name for file in saved.iterdir()) == ["config.json", "model.safetensors"]


def test_another_family_is_refused(saved):
    with pytest.raises(CheckpointError, match="'toy' model, not 'codec'"):
        load_checkpoint(saved, model="codec")


def test_a_missing_directory_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_checkpoint(tmp_path / "none", model="toy")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_corrupted_file_is_refused(saved, name):
    (saved / name).write_bytes(b"\x80\x04garbage")
    with pytest.raises(CheckpointError, match="Copy the checkpoint again"):
        load_checkpoint(saved, model="toy")


def test_a_truncated_weights_file_is_refused(saved):
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(CheckpointError, match="corrupted"):
        load_checkpoint(saved, model="toy")


def test_a_foreign_config_is_refused(saved):
    (saved / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(CheckpointError, match="not written by dancetomusic"):
        load_checkpoint(saved, model="toy")


def test_another_schema_is_refused(saved):
    document = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**document, "schema_version": 99}))
    with pytest.raises(CheckpointError, match="schema 99"):
        load_checkpoint(saved, model="toy")


def test_tensors_that_do_not_fit_the_config_are_refused(saved):
    with pytest.raises(CheckpointError, match="does not fit its own config"):
        load_into(torch.nn.Linear(3, 3), load_checkpoint(saved, model="toy"), saved)


def test_the_family_of_a_checkpoint_is_told(saved, tmp_path):
    assert checkpoint_family(saved) == "toy"
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        checkpoint_family(tmp_path)
