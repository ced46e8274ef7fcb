"""Sampling pieces: what is streamed equals the whole, bounds, seeds, guidance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dancetomusic.errors import ConfigError
from dancetomusic.models.pose2score.conditions import conditions_of
from dancetomusic.models.pose2score.events import FIELDS, N_DRUMS, TICKS_PER_BEAT
from dancetomusic.models.pose2score.generation import (
    ACCENTS,
    EventStream,
    _FieldReader,
    compose,
    sample_events,
)
from dancetomusic.models.pose2score.network import Composer, ComposerConfig
from dancetomusic.models.pose2score.training_data import make_up_dance
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.score.accents import place_answers
from dancetomusic.score.arrange import choose_key
from dancetomusic.score.frame import Frame, build_frame
from dancetomusic.score.grooves import released_library
from dancetomusic.score.style import load_style, style_names


@pytest.fixture(scope="module")
def model() -> Composer:
    torch.manual_seed(0)
    config = ComposerConfig(style_names(), d_model=32, n_layers=2, n_heads=2, field_width=32)
    return Composer(config).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def frame() -> Frame:
    rng = np.random.default_rng(0)
    style = load_style("house")
    clock, plan, _ = make_up_dance(style, (8, 12), released_library(), rng)
    return build_frame(clock, plan, style, choose_key(style, None, rng), rng)


@pytest.mark.slow(1)
def test_streamed_events_are_read_as_whole_pieces_are(model, frame):
    events = sample_events(model, frame, SamplingConfig(), np.random.default_rng(1))
    rows = conditions_of(frame, model.config.styles)[events.ticks]
    before = np.concatenate([np.zeros_like(events.values[:1]), events.values[:-1]])
    values = torch.from_numpy(events.values)[None]
    hidden = model.hidden(
        torch.from_numpy(before)[None], torch.from_numpy(rows)[None], torch.from_numpy(events.ticks)
    )
    logits = model.logits(hidden, values)[0].numpy()
    past, reader = EventStream(model, 1), _FieldReader(model, 10, SamplingConfig())
    for step, (tick, row) in enumerate(zip(events.ticks.tolist(), rows, strict=True)):
        streamed = past.advance(before[step], row[None], tick)
        np.testing.assert_allclose(streamed[0], hidden[0, step].numpy(), atol=1e-4)
        inner = streamed.copy()
        for k, size in enumerate(FIELDS.values()):
            np.testing.assert_allclose(reader._logits(inner, k), logits[step, k, :size], atol=1e-3)
            inner += reader.embedded[reader.first[k] + events.values[step, k]]


@pytest.mark.slow(1)
def test_pieces_are_scores_and_seeds_differ(model, frame):
    style = frame.style
    sampling = SamplingConfig(top_p=0.9, cfg_scale=1.5)
    first, again, other = (
        compose(model, frame.clock, frame.plan, style, "A minor", seed, sampling).score()
        for seed in (0, 0, 1)
    )
    assert first.key == "A minor"
    assert [track.name for track in first.tracks] == ["drums", "bass", "chords", "lead"]

    def starts(score):
        return [track.notes.start.tolist() for track in score.tracks]

    assert starts(first) == starts(again)
    assert starts(first) != starts(other)


@pytest.mark.slow(1)
def test_the_likeliest_classes_are_taken_at_temperature_0(model, frame):
    greedy = SamplingConfig(temperature=0.0)
    first, second = (
        sample_events(model, frame, greedy, np.random.default_rng(seed)) for seed in (0, 1)
    )
    assert (first.values == second.values).all()


@pytest.mark.slow(1)
def test_every_hit_gets_an_accent(model, frame):
    answers = place_answers(frame)
    hits = {tick for a in answers if (tick := round(a.beat * TICKS_PER_BEAT)) >= 0}
    assert any(tick % TICKS_PER_BEAT for tick in hits)
    for sampling in (SamplingConfig(), SamplingConfig(cfg_scale=2.0, temperature=0.5)):
        events = sample_events(model, frame, sampling, np.random.default_rng(2))
        accented = (events.values[:, 1 : 1 + N_DRUMS] >= ACCENTS).any(1)
        assert hits <= set(events.ticks[accented].tolist())
        assert (events.values[accented, 0] & 1).all()


@pytest.mark.slow(2)
def test_a_piece_longer_than_the_context_goes_on(frame):
    config = ComposerConfig(
        style_names(), d_model=16, n_layers=1, n_heads=2, field_width=16, context=8
    )
    model = Composer(config).eval().requires_grad_(False)
    rng = np.random.default_rng(0)
    style = load_style("house")
    clock, plan, _ = make_up_dance(style, (100, 101), released_library(), rng)
    long = build_frame(clock, plan, style, choose_key(style, None, rng), rng)
    events = sample_events(model, long, SamplingConfig(), rng)
    assert events.ticks.size > 300  # more than the buffers hold
    assert events.ticks[-1] // TICKS_PER_BEAT == plan.final_beat - 1


def test_checkpoints_come_back(model, tmp_path):
    model.save_pretrained(tmp_path, {})
    again = Composer.from_pretrained(tmp_path)
    assert again.config == model.config
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-3)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="heads of even width"):
        ComposerConfig((), d_model=30, n_heads=4)
    with pytest.raises(ConfigError, match="n_layers is 0"):
        ComposerConfig((), n_layers=0)
