"""Training samples by step and index, and the loader that makes batches of them ahead of time."""

from __future__ import annotations

import dataclasses
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dancetomusic.errors import DanceToMusicError
from dancetomusic.training.clips import EndlessClips

B = TypeVar("B")
"""A batch: a dataclass of tensors whose first axis is the sample."""

Sample = tuple[np.ndarray, ...]
"""The arrays of one sample, in the order of the batch's fields."""


class TrainingSet(Dataset[Sample], ABC):
    """A map-style dataset: the key ``(step, index)`` is the sample at an index of the step's batch.

    A sample is a function of the seed, the step and the index, or comes from a stream of clips
    whose position ``state_dict`` gives. Workers hold copies: what a sample needs is on the CPU.

    Attributes:
        seed: Of all that is random.
        batch_type: Dataclass of a batch.
        content_hash: Digest of the data, written into the checkpoint.
        epoch_size: Samples in a pass over the data.
        clips: The stream that samples are made of; ``None`` without.
    """

    seed: int
    batch_type: type[Any]
    content_hash: str
    epoch_size: int
    clips: EndlessClips[Any] | None = None

    @abstractmethod
    def sample(self, rng: np.random.Generator, step: int = 0) -> Sample:
        """A random sample for the batch of a step."""

    def collate(self, samples: Sequence[Sample]) -> Any:
        """The batch of some samples."""
        return self.batch_type(*(torch.from_numpy(np.stack(a)) for a in zip(*samples, strict=True)))

    def rng(self, step: int, index: int) -> np.random.Generator:
        """The generator of all that is random about one sample."""
        return np.random.default_rng([self.seed, step, index])

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        return self.sample(self.rng(*key), key[0])

    def batch(self, step: int, indices: Iterable[int]) -> Any:
        """The samples at some indices of a step's batch, on the CPU."""
        return self.collate([self[step, index] for index in indices])

    def fixed_batch(self, count: int, seed: int = 0) -> Any:
        """The same samples in every step and run, on the CPU."""
        return self.collate(self.fixed_samples(count, seed))

    def fixed_samples(self, count: int, seed: int = 0) -> list[Sample]:
        """Samples that depend on ``seed`` alone."""
        return [self.sample(np.random.default_rng([seed, number])) for number in range(count)]

    def state_dict(self) -> dict[str, int]:
        """Position in the stream of clips; empty where samples follow from step and index."""
        return {} if self.clips is None else self.clips.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume from what ``state_dict`` gave."""
        if self.clips is not None:
            self.clips.load_state_dict(state)


class _Batches(Dataset[Any]):
    """Batches by ``(step, indices)``, each with the position in the data after it.

    Errors of the package are returned: a ``DataLoader`` passes on the text of one that is raised.
    """

    def __init__(self, data: TrainingSet) -> None:
        self.data = data

    def __getitem__(self, key: tuple[int, range]) -> tuple[Any, dict[str, int] | None]:
        try:
            return self.data.batch(*key), self.data.state_dict()
        except DanceToMusicError as error:
            return error, None


def load_batches(
    data: TrainingSet, keys: Sequence[tuple[int, range]], num_workers: int
) -> Generator[tuple[Any, dict[str, int]]]:
    """Make the batches of some keys in order, ahead of their use.

    ``keys`` are step and sample indices of each batch. ``num_workers`` processes make them, 0 for
    this one; a stream of clips has one at most, since it is read in order.

    Yields:
        A batch on the CPU, and the position in the data after it.

    Raises:
        DanceToMusicError: If a sample cannot be made.
    """
    loader: DataLoader[Any] = DataLoader(
        _Batches(data),
        sampler=keys,
        batch_size=None,
        num_workers=min(num_workers, 1) if data.state_dict() else num_workers,
        collate_fn=_as_it_is,
        generator=torch.Generator(),  # leaves the global one alone
        worker_init_fn=_leave_signals,
    )
    for batch, position in loader:
        if isinstance(batch, DanceToMusicError):
            raise batch
        yield batch, position


def _leave_signals(_worker: int) -> None:
    """Signals to the whole group, of a terminal or a job's manager, are for the training process.

    A worker ends when that one closes the loader, or is gone.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _as_it_is(batch: B) -> B:
    return batch


def tensors_of_batch(batch: Any) -> dict[str, Tensor]:
    """The tensors among the fields of a batch."""
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def to_device(batch: B, device: torch.device) -> B:
    """The batch with its tensors on a device."""
    moved = {name: tensor.to(device) for name, tensor in tensors_of_batch(batch).items()}
    return dataclasses.replace(batch, **moved)  # type: ignore[type-var]


def mean_losses(
    losses: Callable[[Any], dict[str, Tensor]],
    data: TrainingSet,
    samples: Sequence[Sample],
    batch_size: int,
    device: torch.device,
    *,
    loss: str = "total",
) -> dict[str, float]:
    """The mean of each loss over held-out samples.

    The loss of the name ``loss`` is called ``loss`` in the result.
    """
    means: dict[str, float] = {}
    for start in range(0, len(samples), batch_size):
        part = samples[start : start + batch_size]
        for name, value in losses(to_device(data.collate(part), device)).items():
            name = "loss" if name == loss else name
            means[name] = means.get(name, 0.0) + float(value) * len(part) / len(samples)
    return means
