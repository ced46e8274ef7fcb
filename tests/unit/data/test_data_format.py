import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from dancetomusic.data.clip import (
    CLIP_FILES,
    RECORD_FILE,
    SCHEMA_VERSION,
    clip_directory,
    load_clip,
)
from dancetomusic.data.manifest import MANIFEST_FILE, write_manifest
from tests.clip_factory import add_clip


@pytest.fixture
def page(repository):
    return (repository / "docs" / "data_format.md").read_text(encoding="utf-8")


def section(page, title):
    return re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page, re.M | re.S)[1]


def test_every_column_of_the_file_is_described_with_its_type(page, tmp_path):
    schema = pq.ParquetFile(write_manifest(tmp_path).path).schema_arrow
    rows = re.findall(r"^\| `(\S+)` \| (.+?) \|", section(page, MANIFEST_FILE), re.M)
    types = {"string": "string", "double": "double", "int64": "int64"}
    types |= {"double, or null": "double", "map of strings": "map<string, string ('files')>"}
    described = [(name, types[kind], "null" in kind) for name, kind in rows]
    assert described == [(f.name, str(f.type), f.nullable) for f in schema]


def test_every_file_is_described(page):
    text = section(page, "The files of a clip")
    assert re.findall(r"^\| `(\S+\.\S+)` \|", text, re.M) == list(CLIP_FILES)
    for name in (RECORD_FILE, *CLIP_FILES, MANIFEST_FILE):
        assert name in page


def test_arrays_have_the_types_and_shapes_described(page, tmp_path):
    record = add_clip(tmp_path, "x")
    arrays = np.load(clip_directory(tmp_path, record.key) / "poses.npz")
    text = section(page, "The files of a clip").split("`mix.flac`")[0]
    found = {}
    for names, kind, shape in re.findall(
        r"\| (`[^|]+) \| (float32|float64|bool)( \[.*?\])? \|", text
    ):
        for name in re.findall(r"`(\w+)`", names):
            found[name] = (kind, shape.strip())
    sizes = {"": (), "[T]": (24,), "[T, 33]": (24, 33), "[T, 33, 3]": (24, 33, 3)}
    assert {name: (str(a.dtype), a.shape) for name, a in arrays.items()} == {
        name: (kind, sizes[shape]) for name, (kind, shape) in found.items()
    }


def test_the_snippet_reads_a_clip(page, tmp_path):
    record = add_clip(tmp_path, "x")
    directory = clip_directory(tmp_path, record.key)
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    assert "dancetomusic" not in code
    names = {"directory": str(directory)}
    exec(code, names)
    clip = load_clip(directory)
    np.testing.assert_array_equal(names["poses"], clip.poses.world)
    np.testing.assert_array_equal(names["present"], clip.poses.present)
    np.testing.assert_array_equal(names["codes"], clip.codes.codes)
    np.testing.assert_array_equal(names["stem"], clip.stem.samples[0])
    assert [time for time, _ in names["beats"]] == clip.rhythm.beat_times.tolist()
    assert names["pose_times"][-1] < 1.0 and names["code_times"][-1] < 1.0
    names["arrays"].close()


def test_the_version_is_the_one_written(page):
    assert f"`schema_version` is {SCHEMA_VERSION}." in page
