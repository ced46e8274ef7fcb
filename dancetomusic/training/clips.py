"""An endless stream of training clips, with a position to resume from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, TypeVar

from dancetomusic.data.clip import ACCEPTED, Clip
from dancetomusic.data.clip_stream import ClipStream
from dancetomusic.data.manifest import open_manifest
from dancetomusic.errors import InputError
from dancetomusic.training.distributed import DistributedContext

T = TypeVar("T")


class EndlessClips(Iterator[T], Generic[T]):
    """The clips of the split ``train``, shared by all processes, epoch after epoch.

    ``make`` is applied to every clip.

    Raises:
        InputError: If there is no set, or no clip of it; while reading, if a clip is damaged, or
            there are fewer clips than processes.
    """

    def __init__(
        self, root: str, make: Callable[[Clip], T], seed: int, context: DistributedContext
    ) -> None:
        self.stream = ClipStream(
            root, seed=seed, rank=context.rank, world_size=context.world_size, transform=make
        )
        self._clips: Iterator[T] | None = None

    def __next__(self) -> T:
        for _ in range(2):
            if self._clips is None:
                self._clips = iter(self.stream)
            for item in self._clips:
                return item
            self.load_state_dict({"epoch": self.state_dict()["epoch"] + 1, "given": 0})
        raise InputError(
            f"{self.stream.root} has fewer clips than processes train", "Start fewer processes."
        )

    def try_one(self) -> None:
        """Read one clip, so that bad data is refused before the first step, and start again."""
        next(self)
        self.load_state_dict({"epoch": 0, "given": 0})

    def state_dict(self) -> dict[str, int]:
        """The epoch, and the clips of it that this process has read."""
        return self.stream.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume from a state."""
        self.stream.load_state_dict(state)
        self._clips = None


def validation_clips(
    root: str, make: Callable[[Clip], T], count: int
) -> tuple[list[T], tuple[str, ...]]:
    """The first clips of the split ``val``, or of ``train`` where a small set has none in ``val``.

    Returns:
        What was made of them, and a line that says so where they are also trained on.

    Raises:
        InputError: If there is no set, no such clip, or one is damaged.
    """
    has_val = ACCEPTED in open_manifest(root).counts().get("val", {})
    stream = ClipStream(root, split="val" if has_val else "train", shuffle=False, transform=make)
    note = f"{root} has no clip of the split val: the validation loss is of clips trained on"
    return list(islice(stream, count)), () if has_val else (note,)
