"""Sampling a piece from the composer, event by event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
from jaxtyping import Float32, Int64

from dancetomusic.models.pose2score.conditions import CONDITION, conditions_of, withhold
from dancetomusic.models.pose2score.events import (
    FIELD,
    FIELDS,
    HARMONY,
    NEEDS,
    OFFSETS,
    TICKS_PER_BEAT,
    VELOCITIES,
    Events,
    decode,
    drum_keys,
)
from dancetomusic.models.pose2score.network import SLOWEST, CausalBlock, Composer
from dancetomusic.nn.arrays import ArrayLayerNorm, ArrayLinear, gelu
from dancetomusic.nn.positional import rotation_speeds
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.score.arrange import Arrangement, choose_key, draw_programs
from dancetomusic.score.frame import Frame, build_frame
from dancetomusic.score.harmony import Key
from dancetomusic.score.notes import BeatClock
from dancetomusic.score.plan import Plan
from dancetomusic.score.style import Style

ACCENTS = 1 + (VELOCITIES - 1) * OFFSETS
"""The first value of a drum that is an accent, by which hits are answered."""

HIT, TO_HIT = CONDITION["hit"], CONDITION["ticks to hit"]

HARMONY_TEMPERATURE = 0.5
"""Of chords, as a share of that of all else: a chord that is drawn amiss breaks the progression
that comes back, where a stroke is a variation. Chosen on six dances of the training split of
``tang2018``, two pieces each: the same chord after four bars in .79 of them, .73 with 1."""

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
    """Events from beat 0 up to the last hit.

    Each hit of the dance gets an event, in which at least one drum strikes an accent: where the
    network draws none, the likeliest accent is taken.
    """
    rows = conditions_of(frame, model.config.styles)
    guided = sampling.cfg_scale != 1.0
    table = np.stack([rows, withhold(rows)] if guided else [rows])
    reader = _FieldReader(model, len(drum_keys(frame.style)), sampling)
    past = EventStream(model, len(table))
    ticks: list[int] = []
    values: list[Int64[np.ndarray, " fields"]] = []
    before = np.zeros(len(FIELDS), np.int64)
    tick = 0
    while tick < len(rows):
        hidden = past.advance(before, table[:, tick], tick)
        to_hit, hit = int(rows[tick, TO_HIT]), bool(rows[tick, HIT])
        before = reader.sample(hidden, tick % TICKS_PER_BEAT, before, to_hit, hit, rng)
        ticks.append(tick)
        values.append(before)
        ahead = int(before[FIELD["next"]]) or TICKS_PER_BEAT
        tick += ahead - tick % TICKS_PER_BEAT
        on_progress(tick / len(rows))
    return Events(np.array(ticks, np.int64), np.array(values, np.int64).reshape(-1, len(FIELDS)))


class EventStream:
    """The network, one event at a time, with the keys and values of the events before as state.

    Equal to ``Composer.hidden`` on the whole piece. In NumPy: on one event a call of PyTorch
    takes longer than its arithmetic, and a minute of music takes three times as long.
    """

    def __init__(self, model: Composer, batch: int) -> None:
        config = model.config
        self.context, self.length = config.context, 0
        self.heads, self.head_dim = config.n_heads, config.d_model // config.n_heads
        shape = (len(model.blocks), batch, self.heads, config.context + SLACK, self.head_dim)
        self.keys, self.values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.speeds = rotation_speeds(self.head_dim, SLOWEST).numpy()
        self.rows = model.field_rows.numpy(), model.condition_rows.numpy()
        self.tables = model.fields_in.weight.numpy(), model.conditions_in.weight.numpy()
        self.blocks = [
            (
                ArrayLayerNorm(block.norm1),
                ArrayLinear(block.self_attention.qkv),
                ArrayLinear(block.self_attention.out),
                ArrayLayerNorm(block.norm2),
                ArrayLinear(block.feed_forward.expand),
                ArrayLinear(block.feed_forward.contract),
            )
            for block in cast(list[CausalBlock], list(model.blocks))
        ]
        self.norm, self.to_fields = ArrayLayerNorm(model.norm), ArrayLinear(model.to_fields)

    def advance(
        self,
        before: Int64[np.ndarray, " fields"],
        conditions: Int64[np.ndarray, "guided conditions"],
        tick: int,
    ) -> Float32[np.ndarray, "guided field_width"]:
        """What the next event's fields are read from, with its conditions and without."""
        if self.length == self.keys.shape[3]:  # forget the oldest
            for part in (self.keys, self.values):
                part[..., : self.context, :] = part[..., -self.context :, :].copy()
            self.length = self.context
        here, self.length = self.length, self.length + 1
        x = self.tables[1][self.rows[1] + conditions].sum(1)
        x += self.tables[0][self.rows[0] + before].sum(0)
        turn = np.exp(1j * np.float32(tick) * self.speeds).astype(np.complex64)
        batch = len(x)
        for layer, (norm1, qkv, out, norm2, expand, contract) in enumerate(self.blocks):
            three = qkv(norm1(x)).reshape(batch, 3, self.heads, self.head_dim)
            turned = (three[:, :2].copy().view(np.complex64) * turn).view(np.float32)
            keys, values = self.keys[layer], self.values[layer]
            keys[:, :, here], values[:, :, here] = turned[:, 1], three[:, 2]
            scores = keys[:, :, : self.length] @ turned[:, 0, :, :, None] * self.head_dim**-0.5
            weights = np.exp(scores - scores.max(2, keepdims=True))
            weights /= weights.sum(2, keepdims=True)
            mixed = (weights * values[:, :, : self.length]).sum(2)
            x = x + out(mixed.reshape(batch, -1))
            x = x + contract(gelu(expand(norm2(x))))
        return self.to_fields(self.norm(x))


class _FieldReader:
    """Samples the fields of an event one after the other, as ``Composer.logits`` does all at once.

    In NumPy: most fields of most events are 0, and a call of PyTorch takes longer than a field.
    """

    def __init__(self, model: Composer, n_drums: int, sampling: SamplingConfig) -> None:
        self.sampling = sampling
        self.of_harmony = replace(sampling, temperature=sampling.temperature * HARMONY_TEMPERATURE)
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
        to_hit: int,
        hit: bool,
        rng: np.random.Generator,
    ) -> Int64[np.ndarray, " fields"]:
        """The fields of an event at a tick of a beat.

        ``to_hit`` is in ticks: the next hit is not passed over; 0 for none soon. With ``hit`` a
        drum has to strike an accent.
        """
        values = np.zeros(len(FIELDS), np.int64)
        noise = rng.random(len(FIELDS))
        hidden = hidden.copy()
        drums: list[np.ndarray] = []
        for k, name in enumerate(FIELDS):
            need = NEEDS.get(name, 0)
            if (need and not values[0] & need) or (need == 1 and k > self.n_drums):
                value = 0
            elif name in HARMONY and tick:
                value = int(before[k])
            elif name == "offset" and values[0] <= 1:
                value = OFFSETS // 2
            else:
                logits = self._logits(hidden, k)
                if name == "next":
                    logits[1 : tick + 1] = -np.inf
                    if 0 < to_hit < TICKS_PER_BEAT - tick:
                        logits[0] = logits[tick + to_hit + 1 :] = -np.inf
                elif hit and name == "tracks":
                    logits[::2] = -np.inf
                elif hit and need == 1:
                    drums.append(logits)
                sampling = self.of_harmony if name in HARMONY else self.sampling
                value = _draw(logits, sampling, noise[k])
            values[k] = value
            hidden += self.embedded[self.first[k] + value]
            if hit and k == self.n_drums and not (values[1 : k + 1] >= ACCENTS).any():
                drum, value = _likeliest_accent(drums)
                row = self.first[drum]
                hidden += self.embedded[row + value] - self.embedded[row + values[drum]]
                values[drum] = value
        return values

    def _logits(self, hidden: np.ndarray, k: int) -> np.ndarray:
        logits = gelu(hidden + self.bias[k]) @ self.readout[k] + self.readout_bias[k]
        if len(logits) == 1:
            return np.asarray(logits[0])
        return np.asarray(logits[1] + self.sampling.cfg_scale * (logits[0] - logits[1]))


def _likeliest_accent(drums: list[np.ndarray]) -> tuple[int, int]:
    """The drum's field and value of the accent that is likeliest of all."""
    odds = [logits - np.logaddexp.reduce(logits) for logits in drums]
    drum = int(np.argmax([of_drum[ACCENTS:].max() for of_drum in odds]))
    return 1 + drum, ACCENTS + int(odds[drum][ACCENTS:].argmax())


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
