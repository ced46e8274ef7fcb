"""Drums and bass by Demucs, in this process; the extra ``demucs`` brings it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from dancetomusic.errors import DependencyError
from dancetomusic.io.audio import fit_length, resample
from dancetomusic.stems.base import Mix, Separator, SeparatorIdentity
from dancetomusic.types import Waveform


@dataclass(frozen=True)
class DemucsSeparator(Separator):
    """Hybrid Transformer Demucs, on the CPU and without its random shifts.

    So the same mix gives the same stem, wherever it is made. The weights are fetched at first
    use and then kept in the cache of the Hugging Face hub.

    Attributes:
        model: A name that Demucs knows. ``hf://`` makes it load tensors only: without, it may
            fall back to an archive that runs code when it is loaded.

    References:
        Rouard et al., "Hybrid Transformers for Music Source Separation", ICASSP 2023.
    """

    model: str = "hf://htdemucs"

    @property
    def identity(self) -> SeparatorIdentity:
        """The package's version, and a hash of the tensors of its model.

        Raises:
            DependencyError: As ``drum_and_bass``.
        """
        from importlib.metadata import version

        loaded = _load(self.model)
        return SeparatorIdentity("demucs", version("demucs"), _digest(loaded))

    def drum_and_bass(self, mixes: Sequence[Mix]) -> list[Waveform]:
        """Drums plus bass of each mix: one channel, rate and length of the mix.

        Raises:
            DependencyError: If Demucs is not installed or its weights cannot be had.
        """
        loaded = _load(self.model)
        return [_separate(loaded, mix.waveform) for mix in mixes]


@cache
def _load(model: str) -> Any:
    try:
        from demucs import api
    except ImportError as error:
        raise DependencyError(
            f"demucs cannot be imported ({error})",
            "Install it: pip install 'dancetomusic[demucs]'.",
        ) from error
    try:
        return api.Separator(model=model, device="cpu", shifts=0)
    except Exception as error:  # a download fails in as many ways as there are HTTP libraries
        lines = str(error).split("\n")
        raise DependencyError(
            f"the weights of demucs cannot be loaded ({type(error).__name__}: {lines[0][:200]})",
            "Go online for the first use, or choose another separator.",
        ) from error


@cache
def _digest(loaded: Any) -> str:
    """SHA-256 over the names and values of the model's tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(loaded.model.state_dict().items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.numpy()).tobytes())
    return digest.hexdigest()


def _separate(loaded: Any, sound: Waveform) -> Waveform:
    import torch

    stereo = sound if sound.samples.shape[0] == 2 else sound.to_mono()
    samples = resample(stereo, loaded.samplerate).samples
    _, stems = loaded.separate_tensor(torch.from_numpy(np.repeat(samples, 3 - len(samples), 0)))
    part = (stems["drums"] + stems["bass"]).mean(dim=0, keepdim=True).numpy()
    back = resample(Waveform(part, loaded.samplerate), sound.sample_rate)
    return fit_length(back, sound.samples.shape[1])
