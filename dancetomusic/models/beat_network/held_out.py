"""The network that did not learn from a clip, among networks trained with parts held out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dancetomusic.checkpoint import load_checkpoint
from dancetomusic.data.wild import WildClip, wild_folds
from dancetomusic.errors import InputError
from dancetomusic.models.beat_network.network import BeatNetwork, load_beat_network


class HeldOutNetworks:
    """Beat networks, each trained with one part of the real clips' groups held out, or with all.

    All ``clips`` decide the parts; the checkpoints' metadata say what was held out.

    Raises:
        CheckpointError: If one is missing or corrupted.
        InputError: If one was trained with nothing held out.
    """

    def __init__(self, clips: Sequence[WildClip], directories: Sequence[Path | str]) -> None:
        self._networks: dict[tuple[int, int], Path] = {}
        self._never_learned: Path | None = None
        for directory in directories:
            training = load_checkpoint(directory, model=BeatNetwork.MODEL).metadata["training"]
            if training["wild"] is None:
                self._never_learned = Path(directory)
                continue
            if training["fold"] is None:
                raise InputError(f"{directory} held nothing out", "Train it with fold=0 or more.")
            self._networks[training["fold"], training["n_folds"]] = Path(directory)
        self._folds = {n: wild_folds(clips, n) for _, n in self._networks}

    def of(self, group: str) -> BeatNetwork:
        """The network that did not learn from a group.

        Raises:
            InputError: If all of them did.
        """
        if self._never_learned is not None:
            return load_beat_network(self._never_learned)
        for (fold, n_folds), directory in self._networks.items():
            if self._folds[n_folds].get(group, fold) == fold:
                return load_beat_network(directory)
        raise InputError(f"every network learned from {group}", "Name one for each fold.")
