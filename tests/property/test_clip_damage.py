from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dancetomusic.data.clip import (
    CLIP_FILES,
    load_clip,
    read_record,
    record_to_bytes,
    source_id,
    split_of,
)
from dancetomusic.data.shards import read_shard, write_shard
from dancetomusic.errors import InputError
from tests.clip_factory import fill_clip, make_record


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    directory = tmp_path_factory.mktemp("clip")
    fill_clip(directory, make_record("x"))
    return {file.name: file.read_bytes() for file in directory.iterdir()}


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=st.sampled_from(("clip.json", *CLIP_FILES)), data=st.data())
def test_damage_anywhere_is_an_input_error_or_harmless(contents, name, data):
    content = bytearray(contents[name])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, min(len(content), 400) - 1))
        content[place] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    damaged = contents | {name: bytes(content[:end] if data.draw(st.booleans()) else content)}
    try:
        clip = load_clip(damaged)
        assert clip.mix.samples.size and clip.stem.samples.size
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_shard_is_an_input_error_or_whole(contents, tmp_path_factory, data):
    directory = tmp_path_factory.mktemp("shard")
    for name, content in contents.items():
        (directory / name).write_bytes(content)
    shard = directory / "train-000000.tar"
    write_shard(shard, [directory])
    content = bytearray(shard.read_bytes())
    content[data.draw(st.integers(0, 600))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)))
    shard.write_bytes(content[:end] if data.draw(st.booleans()) else content)
    try:
        for files in read_shard(shard, n_clips=1):
            load_clip(files, verify=True)
    except InputError as error:
        assert "\n" not in str(error)


@given(
    number=st.integers(0, 10**6),
    val=st.floats(0, 0.5),
    test=st.floats(0, 0.25),
    more=st.floats(0, 0.25),
)
def test_growing_shares_take_from_train_only(number, val, test, more):
    name = source_id(str(number))
    before = split_of(name, val_share=val, test_share=test)
    for after in (
        split_of(name, val_share=val, test_share=test + more),
        split_of(name, val_share=val + more, test_share=test),
    ):
        assert after == before or before == "train"


@given(
    source=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    reason=st.text(st.characters(exclude_categories=["Cs"])),
    bpm=st.floats(1, 1000),
    start=st.floats(0, 1e6),
)
def test_records_survive_their_bytes(source, reason, bpm, start):
    record = make_record(source, reason=reason, bpm=bpm)
    record = replace(record, start_s=start, end_s=start + 1.0)
    assert read_record(record_to_bytes(record)) == record
