from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dancetomusic.errors import ConfigError, InputError
from dancetomusic.models.pose2audio.losses import codebook_losses
from dancetomusic.models.pose2audio.token_decoder import (
    ANY_STYLE,
    STYLE_POSITIONS,
    TokenDecoder,
    TokenDecoderConfig,
)
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.rhythm.features import RHYTHM_FEATURES

R, M, K, V = 5, 6, 2, 16
TINY = TokenDecoderConfig(
    rhythm_features=R, memory_dim=M, codebook_size=V, d_model=32, n_layers=2, n_heads=2, dropout=0.0
)
FRAMES = 12


def decoder(**changes: object) -> TokenDecoder:
    """Weights large enough that every input matters."""
    model = TokenDecoder(dataclasses.replace(TINY, **changes)).eval()  # type: ignore[arg-type]
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    return model


def inputs(batch: int = 2, frames: int = FRAMES) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    codes = torch.randint(0, V, (batch, K, frames))
    memory_mask = torch.rand(batch, 4) < 0.7
    return codes, torch.randn(batch, frames, R), torch.randn(batch, 4, M), memory_mask


def guided(without: Tensor, given: Tensor, scale: float) -> Tensor:
    """The first book's logits extrapolated, the others' as given."""
    first = without[:, 0] + scale * (given[:, 0] - without[:, 0])
    return torch.stack([first, *given[:, 1:].unbind(1)], 1)


@pytest.fixture(params=["delay", "flatten"])
def model(request: pytest.FixtureRequest) -> TokenDecoder:
    return decoder(pattern=request.param)


@torch.inference_mode()
def test_a_decoder_without_memory_is_the_smaller_and_ignores_what_is_given() -> None:
    plain = decoder(memory_dim=0, causal=True)
    assert not [name for name in plain.state_dict() if "memory" in name or "cross" in name]
    codes, rhythm, memory, mask = inputs()
    one = torch.tensor([True, False])
    given = plain(codes, rhythm, memory, mask, unconditional=one)
    torch.testing.assert_close(plain(codes, rhythm, unconditional=one), given)
    state = plain.start_live(FRAMES)
    plain.remember(state, memory[0, 0], 0.0)
    assert state.remembered == 0
    made = plain.generate(rhythm, memory, mask, sampling=SamplingConfig(temperature=0.0))
    assert torch.equal(made, plain(made, rhythm).argmax(-1))


@torch.inference_mode()
def test_cached_logits_equal_uncached(model: TokenDecoder) -> None:
    codes, *conditions = inputs()
    steps = model.pattern.build(codes, model.config.empty)
    before = functional.pad(steps, (1, -1), value=model.config.empty)
    state = model.start(*conditions)
    logits = [model.advance(state, before[:, :, :3])]
    logits += [model.advance(state, before[:, :, s : s + 1]) for s in range(3, steps.shape[2])]
    expected = model(codes, *conditions).log_softmax(-1)
    for book in range(K):
        for frame in range(FRAMES):
            step = int(model.pattern.step_of(FRAMES)[book, frame])
            if step >= 2:
                got = logits[step - 2][:, book].log_softmax(-1)
                torch.testing.assert_close(got, expected[:, book, frame], atol=1e-4, rtol=0)


@torch.inference_mode()
def test_greedy_generation_is_what_the_logits_say(model: TokenDecoder) -> None:
    _, *conditions = inputs()
    codes = model.generate(*conditions, sampling=SamplingConfig(temperature=0.0))
    assert torch.equal(model(codes, *conditions).argmax(-1), codes)


@torch.inference_mode()
def test_a_later_code_never_changes_earlier_logits(model: TokenDecoder) -> None:
    codes, *conditions = inputs()
    logits = model(codes, *conditions)
    steps = model.pattern.step_of(FRAMES)
    for book, frame in ((0, 5), (1, 5), (0, FRAMES - 1)):
        changed = codes.clone()
        changed[:, book, frame] = (changed[:, book, frame] + 1) % V
        moved = (model(changed, *conditions) - logits).abs().amax((0, 3))
        assert moved[steps <= steps[book, frame]].max() < 1e-6
        later = steps > steps[book, frame]
        assert not later.any() or moved[later].max() > 1e-3


@torch.inference_mode()
def test_rhythm_is_seen_half_a_span_ahead_and_no_further() -> None:
    model = decoder(rhythm_span=5)
    codes, rhythm, memory, mask = inputs()
    changed = rhythm.clone()
    changed[:, 8] += 1.0
    moved = model(codes, changed, memory, mask) - model(codes, rhythm, memory, mask)
    per_frame = moved.abs().amax((0, 3))
    assert per_frame[0, :6].max() < 1e-6
    assert per_frame[0, 6] > 1e-4


@torch.inference_mode()
def test_memory_matters_and_masked_memory_does_not(model: TokenDecoder) -> None:
    codes, rhythm, memory, _ = inputs()
    mask = torch.tensor([[True, True, True, False]]).expand(2, -1)
    logits = model(codes, rhythm, memory, mask)
    for position, matters in ((1, True), (3, False)):
        changed = memory.clone()
        changed[:, position] += 1.0
        moved = (model(codes, rhythm, changed, mask) - logits).abs().max()
        assert (moved > 1e-3) == matters


@torch.inference_mode()
def test_a_causal_decoder_knows_no_movement_that_is_still_to_come() -> None:
    """Memory positions last 6.25 code frames, and are known to steps after their end.

    The third ends within frame 18, of which the second book is written a step later.
    """
    model = decoder(causal=True, memory_layers=0, rhythm_span=1)
    codes, rhythm, memory, _ = inputs(frames=30)
    other = memory.clone()
    other[:, 2] += 1.0
    with torch.no_grad():
        changed = (model(codes, rhythm, memory) - model(codes, rhythm, other)).abs().amax((0, 1, 3))
    assert not changed[:18].any() and changed[19:].all()
    rest = torch.zeros(2, 4, dtype=torch.bool)
    rest[:, :2] = True
    with torch.no_grad():
        known = model(codes[:, :, :18], rhythm[:, :18], memory, rest)[:, :, :17]
        whole = model(codes, rhythm, memory)[:, :, :17]
    torch.testing.assert_close(known, whole)


def test_a_causal_decoder_generates_what_its_logits_say() -> None:
    model = decoder(causal=True, memory_layers=0)
    _, rhythm, memory, mask = inputs(frames=30)
    codes = model.generate(
        rhythm, memory, mask, sampling=SamplingConfig(temperature=0.0, cfg_scale=2.0)
    )
    with torch.no_grad():
        given = model(codes, rhythm, memory, mask)
        without = model(codes, rhythm, memory, mask, unconditional=torch.ones(2, dtype=torch.bool))
    assert torch.equal(codes, guided(without, given, 2.0).argmax(-1))


def test_music_without_a_dance_is_memory_masked_throughout(model: TokenDecoder) -> None:
    codes, rhythm, memory, mask = inputs()
    torch.testing.assert_close(
        model(codes, rhythm), model(codes, rhythm, memory, torch.zeros_like(mask))
    )


@torch.inference_mode()
def test_unconditional_items_see_neither_rhythm_nor_memory(model: TokenDecoder) -> None:
    codes, rhythm, memory, mask = inputs()
    unconditional = torch.tensor([False, True])
    logits = model(codes, rhythm, memory, mask, unconditional=unconditional)
    torch.testing.assert_close(logits[:1], model(codes, rhythm, memory, mask)[:1])
    torch.testing.assert_close(logits[1:], model(codes, torch.zeros_like(rhythm))[1:])


@torch.inference_mode()
def test_padding_a_batch_changes_nothing(model: TokenDecoder) -> None:
    codes, rhythm, memory, mask = inputs(batch=1, frames=7)
    alone = model(codes, rhythm, memory, mask)
    padded = model(
        functional.pad(codes, (0, 5), value=model.config.empty),
        functional.pad(rhythm, (0, 0, 0, 5)),
        functional.pad(memory, (0, 0, 0, 3), value=9.0),
        functional.pad(mask, (0, 3)),
    )
    torch.testing.assert_close(padded[:, :, :7], alone, atol=1e-5, rtol=1e-5)


def test_padding_does_not_count_in_the_loss() -> None:
    logits, codes = torch.randn(1, K, 5, V), torch.randint(0, V, (1, K, 5))
    padded = functional.pad(codes, (0, 3), value=V)
    more = torch.cat([logits, torch.randn(1, K, 3, V)], 2)
    torch.testing.assert_close(codebook_losses(more, padded), codebook_losses(logits, codes))


def test_a_prefix_is_kept_and_continued_as_if_never_interrupted(model: TokenDecoder) -> None:
    _, *conditions = inputs()
    whole = model.generate(*conditions, sampling=SamplingConfig(temperature=0.0))
    for given in (0, 1, 7, FRAMES):
        prefix = whole[:, :, :given]
        assert torch.equal(
            model.generate(
                *conditions, prefix_codes=prefix, sampling=SamplingConfig(temperature=0.0)
            ),
            whole,
        )
    prefix = torch.randint(0, V, (2, K, 5))
    continued = model.generate(*conditions, prefix_codes=prefix)
    assert torch.equal(continued[:, :, :5], prefix)
    assert continued.shape == whole.shape


def test_the_same_seed_gives_the_same_codes(model: TokenDecoder) -> None:
    _, *conditions = inputs()
    made = [
        model.generate(
            *conditions,
            sampling=SamplingConfig(top_k=8),
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (3, 3, 4)
    ]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert 0 <= int(made[0].min()) <= int(made[0].max()) < V


def test_guidance_extrapolates_the_logits_of_the_first_book(model: TokenDecoder) -> None:
    codes, rhythm, memory, mask = inputs()
    scale = 2.5
    codes = model.generate(
        rhythm,
        memory,
        mask,
        sampling=SamplingConfig(temperature=0.0, cfg_scale=scale),
    )
    with torch.inference_mode():
        given = model(codes, rhythm, memory, mask)
        without = model(codes, rhythm, memory, mask, unconditional=torch.ones(2, dtype=torch.bool))
    assert torch.equal(guided(without, given, scale).argmax(-1), codes)


def test_guidance_near_one_is_no_guidance(model: TokenDecoder) -> None:
    _, *conditions = inputs()
    plain = model.generate(*conditions, sampling=SamplingConfig(temperature=0.0))
    assert torch.equal(
        model.generate(*conditions, sampling=SamplingConfig(temperature=0.0, cfg_scale=1.0)), plain
    )
    assert torch.equal(
        model.generate(*conditions, sampling=SamplingConfig(temperature=0.0, cfg_scale=1.0 + 1e-6)),
        plain,
    )


def test_generation_leaves_training_mode_as_it_was() -> None:
    model = decoder(dropout=0.5).train()
    _, *conditions = inputs()
    made = [model.generate(*conditions, sampling=SamplingConfig(temperature=0.0)) for _ in range(2)]
    assert torch.equal(made[0], made[1])
    assert model.training


@pytest.mark.slow
def test_one_batch_is_learned_to_the_last_code(model: TokenDecoder) -> None:
    codes, *conditions = inputs(frames=24)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(300):
        loss = codebook_losses(model(codes, *conditions), codes).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.02:
            break
    assert torch.equal(model.generate(*conditions, sampling=SamplingConfig(temperature=0.0)), codes)


def test_no_frames_give_no_codes(model: TokenDecoder) -> None:
    assert model.generate(torch.zeros(2, 0, R)).shape == (2, K, 0)


def test_bfloat16_autocast_trains_close_to_float32(model: TokenDecoder) -> None:
    codes, *conditions = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        loss = codebook_losses(model(codes, *conditions), codes).mean()
    loss.backward()
    torch.testing.assert_close(
        loss, codebook_losses(model(codes, *conditions), codes).mean(), atol=0.05, rtol=0.02
    )


@pytest.mark.parametrize(
    "change",
    [
        {"d_model": 30, "n_heads": 4},
        {"n_layers": 0},
        {"pattern": "spiral"},
        {"dropout": 1.0},
        {"rhythm_span": 4},
        {"memory_layers": -1},
        {"frame_rate": 0.0},
        {"styles": ("rock",), "rhythm_features": 3},
        {"causal": True, "memory_layers": 1},
    ],
)
def test_a_config_out_of_range_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(TINY, **change)  # type: ignore[arg-type]


def test_what_cannot_be_generated_is_refused() -> None:
    model, (_, rhythm, *_) = decoder(), inputs()
    with pytest.raises(InputError, match="prefix has 20 frames"):
        model.generate(rhythm, prefix_codes=torch.zeros(2, K, 20, dtype=torch.long))
    with pytest.raises(InputError, match="from 16 to 16"):
        model.generate(rhythm, prefix_codes=torch.full((2, K, 3), V))
    with pytest.raises(InputError, match="cfg_scale is -1"):
        model.generate(rhythm, sampling=SamplingConfig(cfg_scale=-1.0))


STYLED = dataclasses.replace(TINY, styles=("rock", "waltz"))


def styled() -> TokenDecoder:
    """Styles that differ, and none in particular, which stays zero as in training."""
    model = TokenDecoder(STYLED).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    assert model.styles is not None
    with torch.no_grad():
        model.styles.weight[ANY_STYLE] = 0.0
    return model


@torch.inference_mode()
def test_a_new_table_of_styles_changes_nothing() -> None:
    plain = decoder()
    model = TokenDecoder(STYLED).eval()
    missing = model.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing == ["styles.weight"]
    codes, *conditions = inputs()
    for style in (None, torch.tensor([0, 0]), torch.tensor([1, 2])):
        assert torch.equal(model(codes, *conditions, style=style), plain(codes, *conditions))


@torch.inference_mode()
def test_styles_change_the_logits_of_their_own_items_alone() -> None:
    model = styled()
    codes, *conditions = inputs()
    without = model(codes, *conditions)
    assert torch.equal(model(codes, *conditions, style=torch.tensor([0, 0])), without)
    logits = model(codes, *conditions, style=torch.tensor([0, 2]))
    torch.testing.assert_close(logits[0], without[0])
    assert not torch.allclose(logits[1], without[1], atol=1e-3)


@torch.inference_mode()
def test_guidance_withholds_the_style_too() -> None:
    model = styled()
    codes, *conditions = inputs()
    unconditional = torch.ones(2, dtype=torch.bool)
    given = model(codes, *conditions, style=torch.tensor([1, 2]), unconditional=unconditional)
    assert torch.equal(given, model(codes, *conditions, unconditional=unconditional))


def test_a_decoder_without_styles_ignores_them() -> None:
    model = decoder()
    codes, *conditions = inputs()
    assert torch.equal(
        model(codes, *conditions, style=torch.tensor([0, 0])), model(codes, *conditions)
    )


def test_no_style_in_particular_is_not_trained() -> None:
    model = styled()
    codes, *conditions = inputs()
    codebook_losses(model(codes, *conditions, style=torch.tensor([0, 1])), codes).mean().backward()
    assert model.styles is not None and model.styles.weight.grad is not None
    moved = model.styles.weight.grad.abs().sum(1) > 0
    assert moved.tolist() == [False, True, False]


@pytest.mark.parametrize("cfg_scale", [1.0, 2.0])
def test_generation_in_a_style_is_what_the_logits_say(cfg_scale: float) -> None:
    model = styled()
    _, *conditions = inputs()
    style = torch.tensor([1, 2])
    sampling = {"sampling": SamplingConfig(temperature=0.0, cfg_scale=cfg_scale)}
    codes = model.generate(*conditions, style=style, **sampling)
    assert not torch.equal(codes, model.generate(*conditions, **sampling))
    with torch.inference_mode():
        given = model(codes, *conditions, style=style)
        none = model(codes, *conditions, unconditional=torch.ones(2, dtype=torch.bool))
    expected = guided(none, given, cfg_scale).argmax(-1)
    assert (codes == expected).float().mean() > 0.95


def test_styles_are_numbered_by_name_and_others_refused() -> None:
    assert [STYLED.style_index(s) for s in (None, "rock", "waltz")] == [ANY_STYLE, 1, 2]
    with pytest.raises(InputError, match=r"style is 'polka'. Choose one of rock, waltz\."):
        STYLED.style_index("polka")
    with pytest.raises(InputError, match="knows no styles"):
        TINY.style_index("rock")
    with pytest.raises(ConfigError, match="repeated"):
        dataclasses.replace(TINY, styles=("rock", "rock"))


@torch.inference_mode()
def test_a_style_acts_by_the_place_in_the_bar() -> None:
    model = styled()
    assert model.styles is not None
    at = 2 * torch.pi * torch.tensor([0.0, 0.25, 0.5]).repeat_interleave(2)
    rhythm = torch.zeros(1, 6, R)
    rhythm[0, :, RHYTHM_FEATURES.index("bar_cos")] = at.cos()
    rhythm[0, :, RHYTHM_FEATURES.index("bar_sin")] = at.sin()
    rock = torch.tensor([1])
    added = (
        model.start(rhythm, style=rock).conditions.rhythm - model.start(rhythm).conditions.rhythm
    )
    bar = model.styles.weight[1].unflatten(0, (STYLE_POSITIONS, -1))
    expected = bar[[0, 0, 12, 12, 24, 24]]
    torch.testing.assert_close(added[0, :6], expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(added[0, 6:], torch.zeros_like(added[0, 6:]))
    silent = torch.zeros(1, 6, R)
    assert torch.equal(
        model.start(silent, style=rock).conditions.rhythm, model.start(silent).conditions.rhythm
    )
