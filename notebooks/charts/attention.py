"""Charts of where a token decoder looks: at the movement, and at its own past, beat by beat."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from dancetomusic.errors import InputError
from dancetomusic.types import RhythmTrack

from .attention_maps import AttentionMaps
from .dance import beat_at, mark_beats, new_figure

PARTS_OF_BEAT = 8
PAST_BEATS = 8.0
PARTS_OF_PAST = 4
"""Parts of a beat by which the past is counted."""

ROW_IN = 2.4
"""Height of a row of heads, in inches."""

_BRIGHTEST = 0.99
_ROUNDING = 1e-6


def memory_by_beat_phase(
    maps: AttentionMaps, rhythm: RhythmTrack, n_parts: int = PARTS_OF_BEAT
) -> Float[np.ndarray, "layers parts"]:
    """How much each layer looks at movement in each part of the beat, as a multiple of chance.

    1 is what attention spread evenly over the memory gives; part 0 begins at the beat. Parts
    without a position of the memory are NaN. The null position is left out.

    Raises:
        InputError: If the rhythm has fewer than two beats.
    """
    phase = beat_at(rhythm, maps.memory_times.numpy()) * n_parts + _ROUNDING
    part = np.floor(phase).astype(int) % n_parts
    there = np.bincount(part, minlength=n_parts)
    looked = maps.to_memory[..., 1:].float().mean(dim=(1, 2)).numpy().astype(np.float64)
    shares = np.stack([looked[:, part == k].sum(axis=1) for k in range(n_parts)], axis=1)
    shares /= shares.sum(axis=1, keepdims=True)
    return np.where(there > 0, shares * part.size / np.maximum(there, 1), np.nan)


def past_by_beats(
    maps: AttentionMaps,
    rhythm: RhythmTrack,
    *,
    n_beats: float = PAST_BEATS,
    parts: int = PARTS_OF_PAST,
) -> Float[np.ndarray, "layers lags"]:
    """Share of attention on each part of a beat of the past, for steps that have all of it.

    Args:
        maps: Of a stretch longer than ``n_beats``.
        rhythm: Its beats.
        n_beats: How far back to look.
        parts: Parts that a beat is divided into; the first holds the step itself.

    Raises:
        InputError: If no step has so much past.
    """
    at = beat_at(rhythm, maps.step_times.numpy())
    late = at - at[0] >= n_beats
    if not late.any():
        raise InputError(
            f"the stretch lasts {at[-1] - at[0]:.1f} beats", f"Give more than {n_beats:g}."
        )
    lag = (at[late][:, None] - at[None]) * parts
    n_lags = round(n_beats * parts)
    place = np.where(lag < -_ROUNDING, n_lags, np.clip(lag + _ROUNDING, 0, n_lags)).astype(int)
    looked = maps.to_past.float().mean(dim=1).numpy()[:, late].astype(np.float64)
    summed = np.stack(
        [np.bincount(place.ravel(), layer.ravel(), n_lags + 1) for layer in looked], axis=0
    )
    return summed[:, :n_lags] / late.sum()


def draw_heads(maps: AttentionMaps, rhythm: RhythmTrack) -> Any:
    """Every head's attention on the movement: across, the step that is written; up, the pose.

    The dotted diagonal is movement at the same moment as the music, above it lies what is danced
    later. Each title says how much the head puts on the null position: on no movement at all.
    """
    n_layers, n_heads = maps.to_memory.shape[:2]
    figure = new_figure(ROW_IN * n_layers)
    axes = figure.subplots(n_layers, n_heads, sharex=True, sharey=True, squeeze=False)
    end_s = float(maps.step_times[-1])
    for layer, head in np.ndindex(n_layers, n_heads):
        axis, shares = axes[layer, head], maps.to_memory[layer, head].float().numpy()
        axis.imshow(
            shares[:, 1:].T, origin="lower", aspect="auto", cmap="magma",
            extent=(0, end_s, 0, _memory_end_s(maps)),
            vmin=0, vmax=float(np.quantile(shares[:, 1:], _BRIGHTEST)) or 1.0,
        )  # fmt: skip
        axis.plot([0, end_s], [0, end_s], color="white", linestyle=":", linewidth=0.6)
        for time, number in zip(rhythm.beat_times, rhythm.beat_numbers, strict=True):
            if time < end_s:
                width = 0.8 if number == 1 else 0.3
                axis.axhline(time, color="cyan", linewidth=width, alpha=0.6)
        axis.set_title(
            f"layer {layer + 1}, head {head + 1}: {shares[:, 0].mean():.0%} on nothing", fontsize=8
        )
    for axis in axes[-1]:
        axis.set_xlabel("music, s")
    for axis in axes[:, 0]:
        axis.set_ylabel("movement, s")
    return figure


def draw_attention_by_beats(maps: AttentionMaps, rhythm: RhythmTrack) -> Any:
    """Left: where in the beat the movement is looked at. Right: how far back the music is."""
    figure = new_figure(4.5)
    left, right = figure.subplots(1, 2)
    colours = _colours(maps.to_memory.shape[0])
    edges = np.arange(PARTS_OF_BEAT + 1) / PARTS_OF_BEAT
    phases = memory_by_beat_phase(maps, rhythm)
    pasts = past_by_beats(maps, rhythm)
    lags = (np.arange(pasts.shape[1]) + 0.5) / PARTS_OF_PAST
    for layer, (phase, past) in enumerate(zip(phases, pasts, strict=True)):
        left.stairs(phase, edges, color=colours[layer], label=f"layer {layer + 1}")
        right.plot(lags, past, color=colours[layer], marker=".", label=f"layer {layer + 1}")
    left.stairs(phases.mean(axis=0), edges, color="black", linewidth=2.5, label="mean")
    left.axhline(1.0, color="grey", linestyle=":")
    left.set(xlabel="part of the beat, 0 is on it", ylabel="attention on movement, × even")
    right.set(yscale="log", xlabel="beats back", ylabel="share of attention on the past")
    for bar in np.arange(rhythm.beats_per_bar, PAST_BEATS + 1e-9, rhythm.beats_per_bar):
        right.axvline(bar, color="grey", linestyle=":")
    left.legend(fontsize=8)
    return figure


def draw_past(maps: AttentionMaps, rhythm: RhythmTrack, layer: int) -> Any:
    """One layer's attention of each step (down) on the past (across), heads side by side, log.

    Args:
        maps: What was noted.
        rhythm: Beats of the stretch.
        layer: Counted from 0.

    Raises:
        InputError: If there is no such layer.
    """
    n_layers, n_heads = maps.to_past.shape[:2]
    if not 0 <= layer < n_layers:
        raise InputError(f"layer is {layer}", f"Give 0 to {n_layers - 1}.")
    figure = new_figure(ROW_IN + 1.4)
    axes = figure.subplots(1, n_heads, sharey=True, squeeze=False)[0]
    end_s = float(maps.step_times[-1])
    for head, axis in enumerate(axes):
        shares = maps.to_past[layer, head].float().numpy()
        axis.imshow(
            np.log10(shares + 1e-6), cmap="magma", vmin=-4, vmax=0, aspect="auto",
            extent=(0, end_s, end_s, 0),
        )  # fmt: skip
        mark_beats(axis, rhythm, "cyan")
        axis.set(xlim=(0, end_s), xlabel="the past, s")
        axis.set_title(f"layer {layer + 1}, head {head + 1}", fontsize=9)
    axes[0].set_ylabel("step, s")
    return figure


def _memory_end_s(maps: AttentionMaps) -> float:
    times = maps.memory_times
    return float(times[-1] + (times[1] - times[0])) if len(times) > 1 else 1.0


def _colours(n_layers: int) -> list[Any]:
    from matplotlib import colormaps

    return [colormaps["viridis"](k / max(1, n_layers - 1) * 0.9) for k in range(n_layers)]
