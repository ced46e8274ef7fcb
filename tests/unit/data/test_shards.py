import io
import json
import tarfile

import numpy as np
import pytest

from dancetomusic.data.clip import CLIP_FILES, clip_directory, load_clip
from dancetomusic.data.manifest import open_manifest, write_manifest
from dancetomusic.data.shards import pack, read_shard
from dancetomusic.errors import InputError, OutputError
from tests.clip_factory import add_clip

SMALL = 700_000  # bytes: two or three clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Eight accepted clips in train, two in val, one refused and one duplicate."""
    root = tmp_path_factory.mktemp("set")
    for number in range(8):
        add_clip(root, f"song {number % 3}", float(number))
    for number in range(2):
        add_clip(root, "other", float(number), split="val")
    add_clip(root, "song 0", 100.0, status="refused", reason="silence")
    duplicate = add_clip(root, "song 1", 100.0)
    write_manifest(root, overrides={duplicate.key: {"status": "refused", "reason": "duplicate"}})
    return root


def keys(root, split):
    return [r.key for r in open_manifest(root).records(split=split, status="accepted")]


def test_accepted_clips_are_packed_in_bounded_shards(clips, tmp_path):
    manifest = pack(clips, tmp_path, shard_bytes=SMALL)
    assert sorted(manifest.shards) == sorted(p.name for p in tmp_path.glob("*.tar"))
    assert list(manifest.shards)[:2] == ["train-000000.tar", "train-000001.tar"]
    assert max(file.stat().st_size for file in tmp_path.glob("*.tar")) <= SMALL
    for split, n_clips in (("train", 8), ("val", 2)):
        files = [f for name in sorted(manifest.shards) if name.startswith(split)
                 for f in read_shard(tmp_path / name, n_clips=manifest.shards[name])]  # fmt: skip
        read = [load_clip(f, verify=True) for f in files]
        assert [clip.record.key for clip in read] == sorted(keys(clips, split))
        assert len(read) == n_clips
    assert manifest.counts() == {"train": {"accepted": 8}, "val": {"accepted": 2}}
    assert list(manifest.records()) == list(open_manifest(clips).records(status="accepted"))


def test_contents_are_those_of_the_directories(clips, tmp_path):
    pack(clips, tmp_path, split="val")
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["manifest.parquet", "val-000000.tar"]
    for files in read_shard(tmp_path / "val-000000.tar"):
        directory = clip_directory(clips, json.loads(files["clip.json"])["key"])
        assert files == {p.name: p.read_bytes() for p in directory.iterdir()}


def test_packing_again_gives_the_same_bytes_and_leaves_no_old_shard(clips, tmp_path):
    pack(clips, tmp_path / "a", shard_bytes=SMALL)
    pack(clips, tmp_path / "b", shard_bytes=1)
    assert len(list((tmp_path / "b").glob("*.tar"))) == 10
    (tmp_path / "b" / "notes.txt").write_text("stay")
    pack(clips, tmp_path / "b", shard_bytes=SMALL)
    names = {p.name for p in (tmp_path / "a").iterdir()}
    assert {p.name for p in (tmp_path / "b").iterdir()} == {*names, "notes.txt"}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_members_carry_nothing_of_this_machine(clips, tmp_path):
    pack(clips, tmp_path, split="val")
    with tarfile.open(tmp_path / "val-000000.tar") as tar:
        members = tar.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {
        (0, 0, 0, "", "", 0o644)
    }
    names = [m.name.split(".", 1)[1] for m in members]
    assert names == ["json", *CLIP_FILES] * 2


def test_the_webdataset_package_reads_them(clips, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    pack(clips, tmp_path)
    dataset = webdataset.WebDataset(
        [str(tmp_path / "train-000000.tar")], shardshuffle=False, empty_check=False
    )
    samples = list(dataset)
    assert [sample["__key__"] for sample in samples] == sorted(keys(clips, "train"))
    clip = load_clip(clip_directory(clips, samples[0]["__key__"]))
    np.testing.assert_array_equal(np.load(io.BytesIO(samples[0]["codes.npy"])), clip.codes.codes)
    assert json.loads(samples[0]["json"])["source"] == clip.record.source
    assert set(samples[0]) >= {"json", *CLIP_FILES}


def test_what_cannot_be_packed_is_reported(clips, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        pack(tmp_path / "absent", tmp_path / "out")
    with pytest.raises(InputError, match="no accepted clip of split 'test'"):
        pack(clips, tmp_path / "out", split="test")
    with pytest.raises(InputError, match="0 bytes"):
        pack(clips, tmp_path / "out", shard_bytes=0)
    assert not (tmp_path / "out").exists()
    with pytest.raises(OutputError, match="set of clips itself"):
        pack(clips, clips)
    assert open_manifest(clips).n_clips == 12
    pack(clips, tmp_path / "out", split="val")
    with pytest.raises(InputError, match="packed already"):
        pack(tmp_path / "out", tmp_path / "again")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        pack(clips, tmp_path / "file")


def test_a_damaged_clip_leaves_no_manifest(tmp_path):
    record = add_clip(tmp_path / "set", "x")
    write_manifest(tmp_path / "set")
    place = clip_directory(tmp_path / "set", record.key)
    (place / "mix.flac").write_bytes(b"rot")
    with pytest.raises(InputError, match=r"mix\.flac is not what"):
        pack(tmp_path / "set", tmp_path / "out")
    (place / "mix.flac").unlink()
    with pytest.raises(InputError, match=r"mix\.flac"):
        pack(tmp_path / "set", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_shards_that_are_cut_off_or_foreign_are_reported(clips, tmp_path):
    pack(clips, tmp_path, split="val")
    shard = tmp_path / "val-000000.tar"
    content = shard.read_bytes()
    with pytest.raises(InputError, match="2 clips, not 3"):
        list(read_shard(shard, n_clips=3))
    with pytest.raises(InputError, match="missing or damaged"):
        list(read_shard(tmp_path / "absent.tar"))
    for cut in (0, 100, len(content) // 3):
        shard.write_bytes(content[:cut])
        with pytest.raises(InputError):
            list(read_shard(shard, n_clips=2))
    with tarfile.open(shard, "w") as tar:
        link = tarfile.TarInfo("0" * 20 + ".mix.flac")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(InputError, match="no part of a clip"):
        list(read_shard(shard))
    with tarfile.open(shard, "w") as tar:
        tar.addfile(tarfile.TarInfo("../x.json"))
    with pytest.raises(InputError, match="no part of a clip"):
        list(read_shard(shard))
