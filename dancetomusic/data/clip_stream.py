"""Clips for training, streamed from a set of directories or of tar shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Int
from torch.utils.data import IterableDataset, get_worker_info

from dancetomusic.data.clip import ACCEPTED, Clip, clip_directory, load_clip
from dancetomusic.data.manifest import open_manifest
from dancetomusic.data.shards import read_shard
from dancetomusic.errors import InputError

T = TypeVar("T")


class ClipStream(IterableDataset[Any]):
    """The accepted clips of a split, each once an epoch, among all ranks and workers.

    A set of directories is read in a random order. Shards are read from start to end, in a
    random order and through a buffer of clips to shuffle; ranks and workers take whole shards,
    or every n-th clip of all shards where there are fewer shards than workers. The order
    depends on ``seed``, the epoch, and the number of ranks and workers.

    An epoch begins with ``set_epoch``, which also reaches the workers of a ``DataLoader`` that
    keeps them. To resume within an epoch, ``load_state_dict`` takes the number of clips that
    this rank was given: without workers ``state_dict`` counts them, with workers, which run
    ahead, the caller does. Ranks may be given numbers of clips that differ.

    Args:
        root: Directory of the set, with its manifest.
        split: ``train``, ``val`` or ``test``.
        shuffle: Whether to change the order; without, clips come as they are stored.
        seed: Of the order.
        rank: Which of the processes that train together this is, from 0.
        world_size: How many they are.
        batch_size: Clips that a ``DataLoader`` takes from one worker before the next; only
            resuming with workers depends on it.
        shuffle_buffer: Clips of shards to choose from, in memory for each worker.
        transform: Applied to every clip; what it gives is given.
        verify: Whether to compare every file with its checksum.

    Raises:
        InputError: If there is no set, no such clip, a shard is missing, codecs are mixed, or
            a number is out of range; while reading, if a clip is missing or damaged.
        DependencyError: If pyarrow is not installed.
    """

    def __init__(
        self,
        root: Path | str,
        *,
        split: str = "train",
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        batch_size: int = 1,
        shuffle_buffer: int = 128,
        transform: Callable[[Clip], Any] | None = None,
        verify: bool = False,
    ) -> None:
        if not 0 <= rank < world_size or batch_size < 1 or shuffle_buffer < 1 or seed < 0:
            raise InputError(
                f"rank {rank} of {world_size}, seed {seed}, batches of {batch_size} and a buffer"
                f" of {shuffle_buffer} do not go together",
                "Give a rank below the world size, a seed from 0, and sizes from 1.",
            )
        if not Path(root).is_dir():
            raise InputError(f"there is no set of clips at {root}", "Name its directory.")
        manifest = open_manifest(root)
        self.root = manifest.root
        self.content_hash = manifest.content_hash
        self.codec = manifest.require_one_codec()
        self.shuffle, self.seed = shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.batch_size, self.shuffle_buffer = batch_size, shuffle_buffer
        self.transform, self.verify = transform, verify
        self._shards = [
            (self.root / name, count)
            for name, count in sorted(manifest.shards.items())
            if name.startswith(f"{split}-")
        ]
        self._keys = np.zeros(0, "S20")
        if manifest.shards:
            absent = [file.name for file, _ in self._shards if not file.is_file()]
            if absent:
                raise InputError(f"{root} lacks {absent[0]}", "Copy the set again.")
        else:
            columns = manifest.columns(["key", "split", "status"])
            wanted = (columns["split"] == split) & (columns["status"] == ACCEPTED)
            self._keys = columns["key"][wanted].astype("S20")
        self.n_clips = self._keys.size + sum(count for _, count in self._shards)
        if not self.n_clips:
            counts = manifest.counts()
            found = {name: statuses.get(ACCEPTED, 0) for name, statuses in counts.items()}
            raise InputError(
                f"{root} has no accepted clip of split {split!r}"
                f" ({', '.join(f'{name}: {n}' for name, n in found.items())})",
                "A split holds whole videos: add some of other dances with `dancetomusic build`.",
            )
        self._position = torch.zeros(2, dtype=torch.int64).share_memory_()
        self._given = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next epoch and begin at its start."""
        self.load_state_dict({"epoch": epoch, "given": 0})

    def state_dict(self) -> dict[str, int]:
        """The epoch, and the clips of it given so far by this process."""
        return {"epoch": int(self._position[0]), "given": self._given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume an epoch after the clips that this rank was given of it.

        Raises:
            InputError: If the state is not one of ``state_dict``.
        """
        epoch, given = state.get("epoch", -1), state.get("given", -1)
        if epoch < 0 or given < 0:
            raise InputError(f"{state} is no state of a stream", "Give one of state_dict().")
        self._position[0], self._position[1] = epoch, given
        self._given = given

    def __iter__(self) -> Iterator[Any]:
        """Give the rest of the epoch, or this worker's share of it."""
        worker = get_worker_info()
        number, n_workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        epoch, given = (int(value) for value in self._position)
        lengths = [self._length(epoch, w, n_workers) for w in range(n_workers)]
        skips, turn = _given_by(lengths, self.batch_size, given)
        role = (number + turn) % n_workers  # a loader asks its workers in turn, from the first on
        self._given = given
        return self._give(self._read(epoch, role, n_workers, skips[role]))

    def _give(self, clips: Iterable[Path | dict[str, bytes]]) -> Iterator[Any]:
        for files in clips:
            clip = load_clip(files, verify=self.verify)
            self._given += 1
            yield clip if self.transform is None else self.transform(clip)

    def _read(
        self, epoch: int, worker: int, n_workers: int, skip: int
    ) -> Iterator[Path | dict[str, bytes]]:
        """Where a worker's clips are, or what is in their files, from the ``skip``-th on."""
        reader, n_readers = self._reader(worker, n_workers)
        if not self._shards:
            order = self._order(self._keys.size, epoch)[reader::n_readers]
            for index in order[skip:]:
                yield clip_directory(self.root, self._keys[index].decode())
            return
        clips: Iterator[dict[str, bytes]] = chain.from_iterable(
            read_shard(file, n_clips=count)
            for file, count in self._shards_of(epoch, worker, n_workers)
        )
        if len(self._shards) < n_readers:
            clips = islice(clips, reader, None, n_readers)
        if self.shuffle:
            rng = np.random.default_rng([self.seed, epoch, reader])
            clips = _shuffled(clips, self.shuffle_buffer, rng)
        yield from islice(clips, skip, None)

    def _length(self, epoch: int, worker: int, n_workers: int) -> int:
        """Clips of a worker in an epoch."""
        reader, n_readers = self._reader(worker, n_workers)
        if len(self._shards) < n_readers:
            return len(range(reader, self.n_clips, n_readers))
        return sum(count for _, count in self._shards_of(epoch, worker, n_workers))

    def _shards_of(self, epoch: int, worker: int, n_workers: int) -> list[tuple[Path, int]]:
        reader, n_readers = self._reader(worker, n_workers)
        order = self._order(len(self._shards), epoch)
        if len(order) >= n_readers:
            order = order[reader::n_readers]
        return [self._shards[index] for index in order]

    def _reader(self, worker: int, n_workers: int) -> tuple[int, int]:
        """The index of a worker among all workers of all ranks, and how many there are."""
        return self.rank + self.world_size * worker, self.world_size * n_workers

    def _order(self, size: int, epoch: int) -> Int[np.ndarray, " _"]:
        if not self.shuffle:
            return np.arange(size)
        return np.random.default_rng([self.seed, epoch]).permutation(size)


def _shuffled(items: Iterable[T], size: int, rng: np.random.Generator) -> Iterator[T]:
    """Give a random one of the ``size`` items read ahead, again and again."""
    held: list[T] = []
    for item in items:
        if len(held) < size:
            held.append(item)
            continue
        index = int(rng.integers(size))
        held[index], item = item, held[index]
        yield item
    for index in rng.permutation(len(held)):
        yield held[index]


def _given_by(lengths: list[int], batch_size: int, given: int) -> tuple[list[int], int]:
    """Clips given by each worker when all gave ``given``: a batch each in turn, while it lasts.

    Returns:
        Clips by worker, and whose turn is next.

    Raises:
        InputError: If there are not as many.
    """
    if given > sum(lengths):
        raise InputError(
            f"{given} clips were given, of {sum(lengths)} in the epoch", "Set the next epoch."
        )
    by, worker = [0] * len(lengths), 0
    while given:
        batch = min(batch_size, lengths[worker] - by[worker], given)
        by[worker] += batch
        given -= batch
        worker = (worker + 1) % len(lengths)
    return by, worker
