"""The processes that train together, and the device of this one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from jaxtyping import Shaped
from torch import Tensor, distributed

from dancetomusic.errors import ConfigError

TIMEOUT = timedelta(hours=4)
"""How long a process waits for the others: one of them may render music before the first step."""


@dataclass(frozen=True)
class DistributedContext:
    """This process among all that train together."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is the process that validates, logs and writes."""
        return self.rank == 0

    def all_reduce(self, values: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """The sum over all processes, in place."""
        if self.world_size > 1:
            distributed.all_reduce(values)
        return values

    def all_gather(self, values: Shaped[Tensor, "*shape"]) -> list[Tensor]:
        """The values of each process, by rank, on the CPU."""
        if self.world_size == 1:
            return [values]
        held = values.to(self.device)
        gathered = [torch.empty_like(held) for _ in range(self.world_size)]
        distributed.all_gather(gathered, held)
        return [other.cpu() for other in gathered]

    def barrier(self) -> None:
        """Wait until every process is here."""
        self.all_reduce(torch.zeros(1, device=self.device))

    @contextmanager
    def rank_zero_first(self) -> Iterator[None]:
        """Let rank 0 run the block, then all others, which find on disk what it wrote."""
        if not self.is_rank_zero:
            self.barrier()
        yield
        if self.is_rank_zero:
            self.barrier()


@contextmanager
def distributed_context(device: str = "auto") -> Iterator[DistributedContext]:
    """Join the processes that ``torchrun`` started; alone without it.

    Processes communicate by NCCL on GPUs, one each, and by Gloo otherwise.

    Args:
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: If there is no such device.
    """
    rank, world_size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    chosen = _choose_device(device, int(os.environ.get("LOCAL_RANK", 0)))
    if world_size == 1:
        yield DistributedContext(0, 1, chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield DistributedContext(rank, world_size, chosen)
    finally:
        distributed.destroy_process_group()


def _choose_device(name: str, local_rank: int) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"there is no device {name!r}", "Choose auto, cpu or cuda.") from error
    if device.type == "cpu":
        return device
    number = device.index if ":" in name else local_rank
    if device.type != "cuda" or number >= torch.cuda.device_count():
        raise ConfigError(
            f"device {name!r} is asked for, and this machine has {torch.cuda.device_count()} GPUs",
            "Choose device: auto or cpu, and at most as many processes as GPUs.",
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)
