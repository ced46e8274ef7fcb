"""A WaveNet's samples by passes over its whole receptive field, as ``SampleQueues`` gives them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from dancetomusic.codec.mulaw import N_CLASSES
from dancetomusic.models.wavenet.network import WaveNet


@torch.no_grad()
def generate_naively(
    model: WaveNet,
    gates: Float32[Tensor, "1 layers twice frames"],
    uniform: Float[np.ndarray, " samples"],
    history: UInt8[np.ndarray, " history"],
    *,
    temperature: float = 1.0,
) -> UInt8[np.ndarray, " samples"]:
    """The same as ``SampleQueues``, each sample by a pass over its whole receptive field.

    Args:
        model: Any.
        gates: From the first sample of ``history`` to the last one to be written.
        uniform: Decides each sample, in [0, 1).
        history: Classes to continue from, at least a receptive field of them, whole frames.
        temperature: Divides the logits; 0 takes the likeliest class.
    """
    field, hop = model.receptive_field, model.config.hop_length
    classes = np.concatenate([history, np.zeros(uniform.size, np.uint8)])
    for number, chance in enumerate(uniform):
        at = history.size + number
        first, last = (at - field + 1) // hop, at // hop + 1
        window = torch.from_numpy(classes[at - field : at].astype(np.int64))[None]
        logits = model(window, gates[..., first : last + 1], ahead=last * hop - at - 1)
        classes[at] = _draw(logits[0, :, 0].numpy(), float(chance), temperature)
    return classes[history.size :]


def _draw(logits: Float32[np.ndarray, " classes"], chance: float, temperature: float) -> int:
    """The class at which the probabilities add up to ``chance``."""
    if temperature == 0:
        return int(logits.argmax())
    weights = np.exp((logits - logits.max()) / temperature, dtype=np.float64)
    total = np.cumsum(weights)
    return min(int((total <= chance * total[-1]).sum()), N_CLASSES - 1)
