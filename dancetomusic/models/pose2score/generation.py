"""Sampling a piece from the composer, event by event."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float32, Int64
from scipy.special import erf

from dancetomusic.models.pose2score.conditions import conditions_of, withhold
from dancetomusic.models.pose2score.events import (
    FIELD,
    FIELDS,
    NEEDS,
    OFFSETS,
    TICKS_PER_BEAT,
    Events,
    decode,
    drum_keys,
)
from dancetomusic.models.pose2score.network import Composer
from dancetomusic.nn.attention import KVCache
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.score.arrange import Arrangement, choose_key, draw_programs
from dancetomusic.score.frame import Frame, build_frame
from dancetomusic.score.harmony import Key
from dancetomusic.score.notes import BeatClock
from dancetomusic.score.plan import Plan
from dancetomusic.score.style import Style

SLACK = 256
"""Events that are kept beyond the context before the oldest are forgotten."""


def compose(
    model: Composer,
    clock: BeatClock,
    plan: Plan,
    style: Style,
    key: Key | str | None,
    seed: int,
    sampling: SamplingConfig,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Arrangement:
    """Write a piece for a dance.

    Args:
        model: In evaluation mode.
        clock: When the beats are.
        plan: Sections, energy and hits, of the same clock.
        style: One that the model knows, or another, which it then writes as none in particular.
        key: Such as ``"A minor"``; drawn in a mode of the style by default.
        seed: Of every choice.
        sampling: Of all fields; guidance is by style, energy, players and hits.
        on_progress: Called with the share that is written.

    Raises:
        InputError: If the key has another form.
    """
    of_key, of_frame, of_sounds, of_events, of_notes = np.random.default_rng(seed).spawn(5)
    frame = build_frame(clock, plan, style, choose_key(style, key, of_key), of_frame)
    programs = {**draw_programs(style, of_sounds), "drums": int(of_sounds.choice(style.kits))}
    events = sample_events(model, frame, sampling, of_events, on_progress)
    return decode(events, frame, programs, of_notes)


def sample_events(
    model: Composer,
    frame: Frame,
    sampling: SamplingConfig,
    rng: np.random.Generator,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Events:
    """Events from beat 0 up to the last hit."""
    rows = conditions_of(frame, model.config.styles)
    guided = sampling.cfg_scale != 1.0
    table = np.stack([rows, withhold(rows)] if guided else [rows])
    reader = _FieldReader(model, len(drum_keys(frame.style)), sampling)
    past = _Past(model, len(table))
    ticks: list[int] = []
    values: list[Int64[np.ndarray, " fields"]] = []
    before = np.zeros(len(FIELDS), np.int64)
    tick = 0
    while tick < len(rows):
        hidden = past.advance(before, table[:, tick], tick)
        before = reader.sample(hidden, tick % TICKS_PER_BEAT, before, rng)
        ticks.append(tick)
        values.append(before)
        ahead = int(before[FIELD["next"]]) or TICKS_PER_BEAT
        tick += ahead - tick % TICKS_PER_BEAT
        on_progress(tick / len(rows))
    return Events(np.array(ticks, np.int64), np.array(values, np.int64).reshape(-1, len(FIELDS)))


class _Past:
    """The events written so far, as keys and values of each block."""

    def __init__(self, model: Composer, batch: int) -> None:
        self.model = model
        config = model.config
        shape = (
            batch,
            config.n_heads,
            config.context + SLACK,
            config.d_model // config.n_heads,
        )
        self.caches = [KVCache(torch.zeros(shape), torch.zeros(shape)) for _ in model.blocks]

    @torch.inference_mode()
    def advance(
        self,
        before: Int64[np.ndarray, " fields"],
        conditions: Int64[np.ndarray, "guided conditions"],
        tick: int,
    ) -> Float32[np.ndarray, "guided field_width"]:
        """What the next event's fields are read from, with its conditions and without."""
        batch = len(conditions)
        for cache in self.caches:
            cache.forget(self.model.config.context)
        hidden = self.model.hidden(
            torch.from_numpy(before).expand(batch, 1, -1),
            torch.from_numpy(conditions)[:, None],
            torch.tensor([tick]),
            self.caches,
        )
        return hidden[:, 0].numpy()


class _FieldReader:
    """Samples the fields of an event one after the other, as ``Composer.logits`` does all at once.

    In NumPy: most fields of most events are 0, and a call of PyTorch takes longer than a field.
    """

    def __init__(self, model: Composer, n_drums: int, sampling: SamplingConfig) -> None:
        self.sampling = sampling
        self.n_drums = n_drums
        self.first = model.field_rows.numpy()
        self.embedded = model.fields_before.weight.numpy()
        self.bias = model.field_bias.numpy()
        self.readout = [
            np.ascontiguousarray(model.readout[k, :, :size].numpy())
            for k, size in enumerate(FIELDS.values())
        ]
        self.readout_bias = [
            model.readout_bias[k, :size].numpy() for k, size in enumerate(FIELDS.values())
        ]

    def sample(
        self,
        hidden: Float32[np.ndarray, "guided field_width"],
        tick: int,
        before: Int64[np.ndarray, " fields"],
        rng: np.random.Generator,
    ) -> Int64[np.ndarray, " fields"]:
        """The fields of an event at a tick of a beat."""
        values = np.zeros(len(FIELDS), np.int64)
        noise = rng.random(len(FIELDS))
        hidden = hidden.copy()
        for k, name in enumerate(FIELDS):
            need = NEEDS.get(name, 0)
            if (need and not values[0] & need) or (need == 1 and k > self.n_drums):
                value = 0
            elif name in ("root", "quality") and tick:
                value = int(before[k])
            elif name == "offset" and values[0] <= 1:
                value = OFFSETS // 2
            else:
                logits = self._logits(hidden, k)
                if name == "next":
                    logits[1 : tick + 1] = -np.inf
                value = _draw(logits, self.sampling, noise[k])
            values[k] = value
            hidden += self.embedded[self.first[k] + value]
        return values

    def _logits(self, hidden: np.ndarray, k: int) -> np.ndarray:
        inner = hidden + self.bias[k]
        inner = 0.5 * inner * (1.0 + erf(inner * 0.7071067811865476))
        logits = inner @ self.readout[k] + self.readout_bias[k]
        if len(logits) == 1:
            return np.asarray(logits[0])
        return np.asarray(logits[1] + self.sampling.cfg_scale * (logits[0] - logits[1]))


def _draw(logits: np.ndarray, sampling: SamplingConfig, uniform: float) -> int:
    """A class by inverse transform sampling; temperature, top-k and top-p as ``nn.sampling``."""
    if sampling.temperature == 0:
        return int(logits.argmax())
    weights = np.exp((logits - logits.max()) / sampling.temperature)
    if sampling.top_k is not None or sampling.top_p is not None:
        order = np.argsort(-weights)
        mass = np.cumsum(weights[order]) / weights.sum()
        count = len(order) if sampling.top_k is None else sampling.top_k
        if sampling.top_p is not None:
            count = min(count, int(np.searchsorted(mass, sampling.top_p)) + 1)
        weights[order[count:]] = 0.0
    edges = np.cumsum(weights)
    return int(min(np.searchsorted(edges, uniform * edges[-1], side="right"), len(edges) - 1))
