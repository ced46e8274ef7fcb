import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dancetomusic.data import manifest as manifest_module
from dancetomusic.data.clip import clip_directory, write_record
from dancetomusic.data.manifest import (
    COLUMNS,
    MANIFEST_FILE,
    open_manifest,
    write_manifest,
    write_records,
)
from dancetomusic.errors import InputError, OutputError
from tests.clip_factory import add_clip, make_record

NAN_FREE = {"bpm": 0.0}


def add_records(root, records):
    """Clips that are records only, written without publishing."""
    for record in records:
        directory = clip_directory(root, record.key)
        directory.mkdir(parents=True)
        write_record(directory, record)


@pytest.fixture
def mixed(tmp_path):
    """Two sources, clips out of order, one refused, one failed."""
    add_records(
        tmp_path,
        [
            make_record("b", 5.0, split="val"),
            make_record("a", 10.0, status="refused", reason="silence", bpm=math.nan),
            make_record("a", 2.0),
            make_record("b", 0.0, split="val"),
            make_record("c, d", 0.0, status="failed", reason="404"),
        ],
    )
    return tmp_path


def test_rows_stand_in_order_and_say_what_the_records_say(mixed):
    manifest = write_manifest(mixed)
    records = list(manifest.records())
    assert [(r.source, r.start_s) for r in records] == [
        ("a", 2.0),
        ("a", 10.0),
        ("b", 0.0),
        ("b", 5.0),
        ("c, d", 0.0),
    ]
    assert manifest.n_clips == 5 and manifest.root == mixed
    assert math.isnan(records[1].bpm)
    assert replace(records[1], **NAN_FREE) == make_record(
        "a", 10.0, status="refused", reason="silence", **NAN_FREE
    )
    assert manifest.counts() == {
        "train": {"accepted": 1, "failed": 1, "refused": 1},
        "val": {"accepted": 2},
    }


def test_checksums_and_quality_come_back(tmp_path):
    record = add_clip(tmp_path, "x")
    assert list(write_manifest(tmp_path).records()) == [record]


def test_clips_are_chosen_by_split_and_status(mixed):
    manifest = write_manifest(mixed)
    assert [r.source for r in manifest.records(split="val")] == ["b", "b"]
    assert [r.reason for r in manifest.records(status="refused")] == ["silence"]
    assert list(manifest.records(split="val", status="failed")) == []
    assert list(manifest.records(split="test")) == []


def test_columns_are_read_by_name(mixed):
    columns = write_manifest(mixed).columns(["source", "quality.detected_share", "bpm"])
    assert list(columns) == ["source", "quality.detected_share", "bpm"]
    assert columns["source"].tolist() == ["a", "a", "b", "b", "c, d"]
    np.testing.assert_array_equal(columns["quality.detected_share"], 0.95)
    assert np.isnan(columns["bpm"]).tolist() == [False, True, False, False, False]
    with pytest.raises(InputError, match="no column colour"):
        write_manifest(mixed).columns(["colour"])


def test_the_same_set_gives_the_same_bytes_in_any_order(tmp_path):
    records = [make_record(source, start) for source in "abc" for start in (0.0, 1.0)]
    add_records(tmp_path / "one", records)
    add_records(tmp_path / "two", records[::-1])
    one, two = write_manifest(tmp_path / "one"), write_manifest(tmp_path / "two")
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.content_hash == two.content_hash
    add_records(tmp_path / "two", [make_record("d")])
    assert write_manifest(tmp_path / "two").content_hash != one.content_hash


def test_many_batches_are_one_manifest(mixed, monkeypatch):
    whole = write_manifest(mixed)
    records, digest = list(whole.records(status="accepted")), whole.content_hash
    monkeypatch.setattr(manifest_module, "ROWS_AT_ONCE", 2)
    parts = write_manifest(mixed)
    assert list(parts.records(status="accepted")) == records and parts.content_hash == digest
    assert pq.ParquetFile(parts.path).num_row_groups == 3
    assert parts.columns(["key"])["key"].size == 5


def test_duplicates_are_marked_by_key(mixed):
    key = make_record("a", 2.0).key
    plain = write_manifest(mixed).content_hash
    manifest = write_manifest(
        mixed, overrides={key: {"status": "refused", "reason": "duplicate of b"}}
    )
    assert [r.reason for r in manifest.records(status="refused")] == ["duplicate of b", "silence"]
    assert manifest.content_hash != plain


def test_a_set_without_clips_has_an_empty_manifest(tmp_path):
    manifest = write_manifest(tmp_path)
    assert manifest.n_clips == 0 and list(manifest.records()) == [] and manifest.counts() == {}
    assert manifest.columns(["key"])["key"].size == 0
    with pytest.raises(InputError, match="no accepted clip"):
        manifest.require_one_codec()


def test_codecs_are_not_mixed(tmp_path):
    add_records(
        tmp_path,
        [
            make_record("a", codec="spectral:1"),
            make_record("b", codec="spectral:1"),
            make_record("c", codec="", status="failed"),
        ],
    )
    assert write_manifest(tmp_path).require_one_codec() == "spectral:1"
    add_records(tmp_path, [make_record("d", codec="encodec:2")])
    with pytest.raises(InputError, match=r"2 codecs \(encodec:2, spectral:1\)"):
        write_manifest(tmp_path).require_one_codec()


def test_a_clip_under_another_key_is_reported(mixed):
    place = clip_directory(mixed, make_record("a", 2.0).key)
    place.rename(place.with_name("0" * 20))
    with pytest.raises(InputError, match="holds the record of clip"):
        write_manifest(mixed)


def test_a_damaged_record_is_reported_and_the_old_manifest_stays(mixed):
    before = write_manifest(mixed).path.read_bytes()
    (clip_directory(mixed, make_record("a", 2.0).key) / "clip.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        write_manifest(mixed)
    assert (mixed / MANIFEST_FILE).read_bytes() == before
    assert [p.name for p in mixed.iterdir() if p.is_file()] == [MANIFEST_FILE]


def test_what_is_no_manifest_is_refused(tmp_path):
    file = tmp_path / MANIFEST_FILE
    with pytest.raises(InputError, match="does not exist"):
        open_manifest(tmp_path)
    file.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        open_manifest(file)
    file.write_bytes(b"key,source\n")
    with pytest.raises(InputError, match="no Parquet file"):
        open_manifest(file)
    pq.write_table(pa.table({"key": ["a"]}), file)
    with pytest.raises(InputError, match="no manifest"):
        open_manifest(file)


def rewrite(file, *, facts=None, table=None):
    """Another table or other facts under the name of a manifest."""
    stored = pq.ParquetFile(file).metadata.metadata[b"dancetomusic"]
    metadata = {b"dancetomusic": facts or stored}
    pq.write_table((table or pq.read_table(file)).replace_schema_metadata(metadata), file)


def test_other_schemas_are_refused(mixed):
    file = write_manifest(mixed).path
    good = file.read_bytes()
    rewrite(file, table=pq.read_table(file).drop_columns(["bpm"]))
    with pytest.raises(InputError, match=r"other columns than a manifest \(bpm\)"):
        open_manifest(file)
    for facts, words in (
        (b'{"schema_version": 1}', "schema version 1"),
        (b'{"schema_version": 2}', "no manifest"),
        (b"{", "no manifest"),
        (b"[]", "no manifest"),
        (b'{"schema_version": 2, "content_hash": "", "package_version": "", "shards": 3}', "no"),
    ):
        file.write_bytes(good)
        rewrite(file, facts=facts)
        with pytest.raises(InputError, match=words):
            open_manifest(file)


def test_damage_within_is_reported_when_it_is_read(tmp_path):
    file = tmp_path / MANIFEST_FILE
    write_records(file, (make_record("a", float(n)) for n in range(500)))
    content = bytearray(file.read_bytes())
    content[4:2000] = bytes(1996)
    file.write_bytes(content)
    manifest = open_manifest(file)
    with pytest.raises(InputError, match="damaged"):
        list(manifest.records())


def test_a_place_that_cannot_be_written_is_reported(tmp_path):
    with pytest.raises(OutputError):
        write_records(tmp_path / "absent" / MANIFEST_FILE, [])


def test_columns_are_those_of_the_file(mixed):
    file = pq.ParquetFile(write_manifest(mixed).path)
    assert file.schema_arrow.names == list(COLUMNS)
    assert b"dancetomusic" in file.metadata.metadata
