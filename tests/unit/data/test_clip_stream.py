import pickle

import pytest
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dancetomusic.data.clip import Clip, clip_directory
from dancetomusic.data.clip_stream import ClipStream, _given_by
from dancetomusic.data.manifest import open_manifest, write_manifest
from dancetomusic.data.shards import pack
from dancetomusic.errors import InputError
from tests.clip_factory import add_clip

N_TRAIN = 13


class Lengths(IterableDataset):
    """Every worker gives its own number, as often as it is told."""

    def __init__(self, lengths):
        self.lengths = lengths

    def __iter__(self):
        worker = get_worker_info().id
        return iter([worker] * self.lengths[worker])


def key_of(clip):
    return clip.record.key


def as_list(items):
    return items


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Thirteen clips to train on, one to validate, a refused one and a duplicate."""
    root = tmp_path_factory.mktemp("set")
    for number in range(N_TRAIN):
        add_clip(root, f"song {number % 3}", float(number))
    add_clip(root, "other", split="val")
    add_clip(root, "song 0", 100.0, status="refused", reason="silence")
    duplicate = add_clip(root, "song 1", 100.0)
    write_manifest(root, overrides={duplicate.key: {"status": "refused", "reason": "duplicate"}})
    return root


@pytest.fixture(scope="module")
def shards(clips, tmp_path_factory):
    """The same clips in shards of two, and one of one."""
    output = tmp_path_factory.mktemp("shards")
    largest = max(
        sum(file.stat().st_size for file in clip_directory(clips, r.key).iterdir())
        for r in open_manifest(clips).records(status="accepted")
    )
    manifest = pack(clips, output, shard_bytes=round(2.3 * largest) + 10_240)
    assert [n for name, n in sorted(manifest.shards.items()) if "train" in name] == [2] * 6 + [1]
    return output


@pytest.fixture(params=["directories", "shards"])
def root(request, clips, shards):
    return clips if request.param == "directories" else shards


def stream(root, **options):
    return ClipStream(root, transform=key_of, **options)


def train_keys(clips):
    return sorted(r.key for r in open_manifest(clips).records(split="train", status="accepted"))


def test_every_accepted_clip_of_the_split_comes_once(root, clips):
    assert sorted(stream(root)) == train_keys(clips)
    assert stream(root).n_clips == N_TRAIN
    assert len(list(stream(root, split="val"))) == 1
    assert isinstance(next(iter(ClipStream(root, verify=True))), Clip)


def test_the_order_goes_by_seed_and_epoch(root):
    first, again, other_seed = stream(root), stream(root), stream(root, seed=1)
    order = list(first)
    assert list(again) == order != sorted(order)
    assert list(other_seed) != order
    first.set_epoch(1)
    assert list(first) != order
    first.set_epoch(0)
    assert list(first) == order


def test_without_shuffling_clips_come_as_they_are_stored(clips, shards):
    stored = [r.key for r in open_manifest(clips).records(split="train", status="accepted")]
    assert list(stream(clips, shuffle=False)) == stored
    assert list(stream(shards, shuffle=False)) == train_keys(clips)


@pytest.mark.parametrize("world_size", [2, 3, 20])
def test_ranks_share_the_clips(root, clips, world_size):
    shares = [list(stream(root, rank=rank, world_size=world_size)) for rank in range(world_size)]
    assert sorted(key for share in shares for key in share) == train_keys(clips)


def test_a_small_buffer_still_gives_every_clip(shards, clips):
    order = list(stream(shards, shuffle_buffer=3))
    assert sorted(order) == train_keys(clips) and order != list(stream(shards, shuffle_buffer=1))


@pytest.mark.parametrize("given", [0, 1, 7, N_TRAIN])
def test_a_stream_goes_on_where_it_was(root, given):
    first, second = stream(root, shuffle_buffer=4), stream(root, shuffle_buffer=4)
    first.set_epoch(3)
    order = list(first)
    part = iter(first)
    assert [next(part) for _ in range(given)] == order[:given]
    assert first.state_dict() == {"epoch": 3, "given": given}
    second.load_state_dict(first.state_dict())
    assert second.state_dict() == {"epoch": 3, "given": given}
    assert list(second) == order[given:]
    assert second.state_dict()["given"] == N_TRAIN


@pytest.mark.slow(1)
@pytest.mark.parametrize("world_size", [1, 4])
def test_workers_share_the_clips_and_resume(root, clips, world_size):
    """Batches of 2 from 2 workers a rank; with 4 ranks there are more workers than shards."""
    found = []
    for rank in range(world_size):
        data = stream(root, batch_size=2, rank=rank, world_size=world_size)
        loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=as_list)
        batches = list(loader)
        found += [key for batch in batches for key in batch]
        for done in (1, 3, len(batches) - 1) if rank == 0 else ():
            data.load_state_dict({"epoch": 0, "given": sum(map(len, batches[:done]))})
            assert list(loader) == batches[done:]
    assert sorted(found) == train_keys(clips)


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_workers_take_turns_as_a_loader_asks_them(batch_size):
    lengths = [7, 3, 0, 4]
    loader = DataLoader(Lengths(lengths), batch_size=batch_size, num_workers=4, collate_fn=as_list)
    by = [0, 0, 0, 0]
    for number, batch in enumerate(loader):
        given, turn = _given_by(lengths, batch_size, sum(by))
        assert given == by
        expected = [w for w in (*range(turn, 4), *range(turn)) if by[w] < lengths[w]]
        assert set(batch) == {expected[0]}, number
        by[batch[0]] += len(batch)
    assert by == lengths


def test_epochs_reach_workers_that_stay(root):
    data = stream(root)
    loader = DataLoader(
        data, batch_size=None, num_workers=1, persistent_workers=True, collate_fn=as_list
    )
    for epoch in (0, 1):
        data.set_epoch(epoch)
        expected = stream(root)
        expected.set_epoch(epoch)
        assert list(loader) == list(expected)


def test_clips_cross_process_boundaries(root):
    loader = DataLoader(ClipStream(root, split="val"), batch_size=None, num_workers=1)
    (clip,) = loader
    assert clip.stem.duration_s == 1.0 and len(clip.poses) == 24


def test_what_cannot_be_streamed_is_reported(clips, shards, tmp_path):
    with pytest.raises(InputError, match="no set of clips"):
        ClipStream(tmp_path / "absent")
    with pytest.raises(InputError, match="does not exist"):
        ClipStream(tmp_path)
    for root in (clips, shards):
        with pytest.raises(InputError, match="no accepted clip of split 'test'"):
            ClipStream(root, split="test")
    for options in ({"rank": 2, "world_size": 2}, {"rank": -1}, {"batch_size": 0}, {"seed": -1}):
        with pytest.raises(InputError, match="do not go together"):
            ClipStream(clips, **options)
    for state in ({}, {"epoch": 0}, {"epoch": -1, "given": 0}):
        with pytest.raises(InputError, match="no state"):
            ClipStream(clips).load_state_dict(state)
    data = ClipStream(clips)
    data.load_state_dict({"epoch": 0, "given": N_TRAIN + 1})
    with pytest.raises(InputError, match="14 clips were given, of 13"):
        next(iter(data))


def test_mixed_codecs_are_refused(tmp_path):
    add_clip(tmp_path, "a")
    add_clip(tmp_path, "b", codec="encodec:4567")
    write_manifest(tmp_path)
    with pytest.raises(InputError, match="mixes codes of 2 codecs"):
        ClipStream(tmp_path)


def test_a_set_without_clips_is_refused(tmp_path):
    write_manifest(tmp_path)
    with pytest.raises(InputError, match="no accepted clip"):
        ClipStream(tmp_path)


def test_missing_clips_and_shards_are_named(tmp_path):
    record = add_clip(tmp_path / "set", "a")
    write_manifest(tmp_path / "set")
    pack(tmp_path / "set", tmp_path / "packed")
    place = clip_directory(tmp_path / "set", record.key)
    place.rename(tmp_path / "away")
    with pytest.raises(InputError, match=record.key):
        list(ClipStream(tmp_path / "set"))
    (tmp_path / "packed" / "train-000000.tar").unlink()
    with pytest.raises(InputError, match=r"lacks train-000000\.tar"):
        ClipStream(tmp_path / "packed")


def test_a_stream_can_be_sent_to_another_process(clips):
    data = pickle.loads(pickle.dumps(stream(clips)))
    assert sorted(data) == train_keys(clips)
