from __future__ import annotations

import pytest
import torch

from dancetomusic.errors import InputError
from dancetomusic.nn.sampling import SamplingConfig, classifier_free_guidance, sample

PROBABILITIES = torch.tensor([0.1, 0.5, 0.05, 0.35])
DRAWS = 20_000


def shares(**settings: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    logits = PROBABILITIES.log().expand(DRAWS, -1)
    drawn = sample(logits, SamplingConfig(**settings), generator=generator)
    return torch.bincount(drawn, minlength=4) / DRAWS


def test_draws_follow_the_distribution() -> None:
    torch.testing.assert_close(shares(), PROBABILITIES, atol=0.015, rtol=0)


def test_temperature_divides_the_logits() -> None:
    expected = PROBABILITIES.log().div(0.5).softmax(-1)
    torch.testing.assert_close(shares(temperature=0.5), expected, atol=0.015, rtol=0)


def test_top_k_keeps_the_likeliest_in_proportion() -> None:
    expected = torch.tensor([0.0, 0.5, 0.0, 0.35]) / 0.85
    torch.testing.assert_close(shares(top_k=2), expected, atol=0.015, rtol=0)


def test_top_p_keeps_the_fewest_classes_that_reach_it() -> None:
    expected = torch.tensor([0.0, 0.5, 0.0, 0.35]) / 0.85
    torch.testing.assert_close(shares(top_p=0.8), expected, atol=0.015, rtol=0)
    assert shares(top_p=1e-6)[1] == 1


def test_zero_temperature_takes_the_likeliest() -> None:
    logits = torch.randn(3, 2, 8)
    assert torch.equal(sample(logits, SamplingConfig(temperature=0.0)), logits.argmax(-1))


def test_the_same_seed_draws_the_same_and_another_does_not() -> None:
    logits = torch.randn(2, 2, 64)
    drawn = [
        sample(
            logits,
            SamplingConfig(top_k=32, top_p=0.9),
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in (1, 1, 2)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [
        (-0.1, None, None),
        (float("nan"), None, None),
        (1.0, 0, None),
        (1.0, None, 0.0),
        (1.0, 5, 2.0),
    ],
)
def test_values_out_of_range_are_refused(
    temperature: float, top_k: int | None, top_p: float | None
) -> None:
    with pytest.raises(InputError):
        SamplingConfig(temperature, top_k, top_p)


def test_guidance_moves_the_first_book_alone_or_as_many_as_asked() -> None:
    without, given = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    logits = classifier_free_guidance(without, given, 2.5)
    torch.testing.assert_close(logits[:, 0], 2.5 * given[:, 0] - 1.5 * without[:, 0])
    assert torch.equal(logits[:, 1:], given[:, 1:])
    assert torch.equal(classifier_free_guidance(without, given, 0.0)[:, 0], without[:, 0])
    assert torch.equal(classifier_free_guidance(without, given, 0.0, n_guided=3), without)
