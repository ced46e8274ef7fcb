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

PATIENCE = timedelta(hours=4)
"""How long a process waits for the others: one of them may render music before the first step."""


@dataclass(frozen=True)
class World:
    """This process among all that train together.

    Attributes:
        rank: Its number, from 0.
        size: How many they are.
        device: Where it computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that validates, writes and speaks."""
        return self.rank == 0

    def add_up(self, values: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """The sum over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(values)
        return values

    def gather(self, values: Shaped[Tensor, "*shape"]) -> list[Tensor]:
        """The values of each process, by rank."""
        if self.size == 1:
            return [values]
        held = values.to(self.device)
        gathered = [torch.empty_like(held) for _ in range(self.size)]
        distributed.all_gather(gathered, held)
        return [other.cpu() for other in gathered]

    @contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """Let the first process run the block, then all others at once.

        What it leaves on disk, the others find.
        """
        if not self.is_first:
            self._meet()
        yield
        if self.is_first:
            self._meet()

    def _meet(self) -> None:
        self.add_up(torch.zeros(1, device=self.device))


@contextmanager
def open_world(device: str = "auto") -> Iterator[World]:
    """Join the processes that ``torchrun`` started; alone without it.

    Processes talk by NCCL on GPUs, one each, and by Gloo otherwise.

    Args:
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        ConfigError: If there is no such device.
    """
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    chosen = _choose_device(device, int(os.environ.get("LOCAL_RANK", 0)))
    if size == 1:
        yield World(0, 1, chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield World(rank, size, chosen)
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
