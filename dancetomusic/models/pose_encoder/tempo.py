"""Tempo read from how movement repeats, the same way at every tempo.

A figure never seen still repeats its steps, swings and bounces. Autocorrelations of signals
that no view of the dancer changes are sampled at lags spaced evenly in octaves: there a faster
dance is the same picture moved along, and a convolution reads every tempo alike.

References:
    Grosche, Müller and Kurth, "Cyclic tempogram", 2010; Quinton, "Equivariant self-supervision
    for musical tempo estimation", 2022.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.rhythm.beats import MIN_BPM, TEMPI_BPM, TEMPI_PER_OCTAVE

N_SIGNALS = 25
SIGNAL_REACH = 3
"""Frames before and after, of which a signal and its change may know."""
CHANNELS = 24
_REACH = 2 * TEMPI_PER_OCTAVE
_SHORTEST_OVERLAP_S = 0.75
_LAGS_S = (
    60.0 / MIN_BPM / 2.0 ** ((np.arange(TEMPI_BPM.size + 2 * _REACH) - _REACH) / TEMPI_PER_OCTAVE)
)
_FEET = ((27, 31), (28, 32))
_BODY = (0, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28, 31, 32)


class TempoHead(nn.Module):
    """Log-odds of every tempo of ``TEMPI_BPM``, from the signals of one stretch.

    It weighs how movement repeats from two octaves below to two above each tempo, alike for
    all of them; what is danced at 80 and at 120 BPM looks the same to it.
    """

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.drop_signals = nn.Dropout1d(dropout)
        self.near = nn.Conv1d(N_SIGNALS + 1, CHANNELS, 13, padding=6)
        self.far = nn.Conv1d(CHANNELS, CHANNELS, 2 * _REACH + 1)
        self.out = nn.Conv1d(CHANNELS, 1, 5, padding=2)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        signals: Float[Tensor, "batch poses signals"],
        present: Bool[Tensor, "batch poses"],
        fps: float,
    ) -> Float[Tensor, "batch tempi"]:
        """Read tempi from :func:`rhythm_signals`; absent frames may hold anything finite."""
        hidden = self.drop_signals(tempogram(signals, present, fps))
        hidden = self.dropout(functional.gelu(self.near(hidden)))
        hidden = self.dropout(functional.gelu(self.far(hidden)))
        return self.out(hidden)[:, 0]


def rhythm_signals(
    world: Float[Tensor, "batch poses 33 3"], fps: float, *, causal: bool = False
) -> Float[Tensor, "batch poses signals"]:
    """Speeds, heights and step positions that do not depend on the view.

    Speeds of feet, hands, knees, head and body with their rates of change; height of the
    pelvis over the lower foot and of the head; position of one foot relative to the other,
    sideways and forward of the hips; turning of the hips, and of the shoulders against them.

    Where ``causal``, rates of change look at the past only.
    """
    joints = world - world[:, :, (23, 24)].mean(dim=2, keepdim=True)
    velocity = _rate(joints, fps, causal)
    speed = velocity.square().sum(dim=-1).add(1e-8).sqrt()
    across = joints[:, :, 23] - joints[:, :, 24]
    side = functional.normalize(across[..., (0, 2)], dim=-1, eps=1e-3)
    left, right = (joints[:, :, pair].mean(dim=2) for pair in _FEET)
    left_speed, right_speed = (
        _rate(foot, fps, causal).square().sum(dim=-1).add(1e-8).sqrt() for foot in (left, right)
    )
    apart = left - right
    sideways = (apart[..., (0, 2)] * side).sum(dim=-1)
    forward = apart[..., 2] * side[..., 0] - apart[..., 0] * side[..., 1]
    height = joints[:, :, (27, 28, 29, 30, 31, 32), 1].amax(dim=2)
    hips = _turning(across, fps, causal)
    twist = _turning(joints[:, :, 11] - joints[:, :, 12], fps, causal) - hips
    body = speed[:, :, _BODY].mean(dim=2)
    feet = left_speed + right_speed
    head_y = joints[:, :, 0, 1]
    signals = [
        left_speed,
        right_speed,
        feet,
        left_speed - right_speed,
        (left_speed - right_speed).abs(),
        speed[:, :, 15],
        speed[:, :, 16],
        speed[:, :, (13, 14, 15, 16)].mean(dim=2),
        speed[:, :, (25, 26)].sum(dim=2),
        5.0 * height,
        _rate(height, fps, causal),
        _rate(height, fps, causal).abs(),
        sideways,
        _rate(sideways, fps, causal),
        forward,
        _rate(forward, fps, causal),
        apart.square().sum(dim=-1).add(1e-8).sqrt(),
        hips,
        hips.abs(),
        twist,
        twist.abs(),
        body,
        _rate(body, fps, causal).abs(),
        _rate(feet, fps, causal).abs(),
        _rate(head_y, fps, causal),
    ]
    return torch.stack(signals, dim=-1).clamp(-8.0, 8.0)


def known_frames(
    present: Bool[Tensor, "batch poses"], *, causal: bool = False
) -> Bool[Tensor, "batch poses"]:
    """Frames whose signals are known: those present, as are the two before and the two after.

    Rates of change of speeds reach that far. A causal signal reaches back only.
    """
    known = present.clone()
    for step in (1, 2):
        known[:, step:] &= present[:, :-step]
        if not causal:
            known[:, :-step] &= present[:, step:]
    return known


def tempogram(
    signals: Float[Tensor, "batch poses signals"], present: Bool[Tensor, "batch poses"], fps: float
) -> Float[Tensor, "batch channels lags"]:
    """Autocorrelation of each signal at log-spaced lags; the last channel is the overlap.

    Frames without a dancer, and those beside them, have no say. Lags with less than 0.75 s of
    overlap are 0.
    """
    weight = known_frames(present).to(signals.dtype)
    count = weight.sum(dim=1).clamp(min=1.0)
    mean = (signals * weight[..., None]).sum(dim=1) / count[:, None]
    centred = (signals - mean[:, None]) * weight[..., None]
    # Autocorrelation over the frames that overlap, by the Fourier transform (padded, not circular):
    # r(lag) = mean of x(t) x(t + lag) over known pairs, divided by the variance.
    size = 1 << (2 * signals.shape[1] - 1).bit_length()
    products = _autocorrelation(centred, size)
    overlap = _autocorrelation(weight[..., None], size)
    variance = (products[:, :1] / count[:, None, None]).clamp(min=1e-6)
    likeness = products / overlap.clamp(min=1.0) / variance
    likeness = likeness * (overlap >= _SHORTEST_OVERLAP_S * fps)
    share = (overlap / count[:, None, None]).clamp(max=1.0)
    linear = torch.cat([likeness, share], dim=-1)
    # Linear interpolation between the whole-frame lags.
    at = torch.as_tensor(_LAGS_S * fps, dtype=signals.dtype, device=signals.device)
    at = at.clamp(max=size // 2 - 1)
    below = at.floor().long()
    part = (at - below)[None, :, None]
    sampled = linear[:, below] * (1 - part) + linear[:, below + 1] * part
    return sampled.transpose(1, 2)


def _autocorrelation(x: Tensor, size: int) -> Tensor:
    spectrum = torch.fft.rfft(x, size, dim=1)
    return torch.fft.irfft(spectrum.abs().square(), size, dim=1)[:, : size // 2 + 1]


def _rate(x: Tensor, fps: float, causal: bool) -> Tensor:
    """Difference along frames: central and one-sided at the ends, or from the frame before."""
    if x.shape[1] < 2:
        return torch.zeros_like(x)
    if causal:
        return (x - torch.cat([x[:, :1], x[:, :-1]], dim=1)) * fps
    padded = torch.cat([2 * x[:, :1] - x[:, 1:2], x, 2 * x[:, -1:] - x[:, -2:-1]], dim=1)
    return (padded[:, 2:] - padded[:, :-2]) * (fps / 2)


def _turning(across: Tensor, fps: float, causal: bool) -> Tensor:
    """Rate of turn of a line about the vertical, in rad/s."""
    x, z = across[..., 0], across[..., 2]
    moved_x, moved_z = _rate(x, fps, causal), _rate(z, fps, causal)
    return (x * moved_z - z * moved_x) / (x.square() + z.square()).clamp(min=1e-3)
