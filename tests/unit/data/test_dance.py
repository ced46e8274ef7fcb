from __future__ import annotations

import numpy as np
import pytest

from dancetomusic.data.dance import DanceDataset, fully_visible
from dancetomusic.data.street import Street, StreetClip
from dancetomusic.data.tang2018 import Tang2018
from dancetomusic.data.wild import Wild
from dancetomusic.errors import InputError
from tests.evaluation_factory import write_dances
from tests.rhythm_factory import write_clips


def test_every_dataset_has_dances_and_says_where_they_are_from(tmp_path):
    for name, write in (("tang2018", write_dances), ("wild", write_clips)):
        (tmp_path / name).mkdir()
        write(tmp_path / name)
    (tmp_path / "street").mkdir()
    world = np.zeros((48, 33, 3), np.float32)
    np.savez(tmp_path / "street" / "one.npz", mp33_24=world, bpm=np.array(100.0))
    for kind, count in ((Tang2018, 3), (Street, 1), (Wild, 5)):
        dataset = kind(root=tmp_path / kind.name)
        assert isinstance(dataset, DanceDataset)
        assert dataset.citation and dataset.licence
        assert len(dataset.dances()) == count
        with pytest.raises(InputError, match="split 'test'"):
            dataset.dances("test")
    (clip,) = Street(tmp_path / "street").dances()
    assert isinstance(clip, StreetClip) and clip.poses.present.all()
    (waltz,) = Tang2018(tmp_path / "tang2018").dances("val")
    assert waltz.beat_numbers[:4].tolist() == [1, 2, 3, 1]


def test_landmarks_are_visible_also_where_nobody_is_present():
    present = np.array([True, False])
    poses = fully_visible(np.zeros((2, 33, 3), np.float32), 24.0, present)
    assert poses.present is present and poses.visibility.min() == 1
