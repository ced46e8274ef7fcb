from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from dancetomusic.errors import InputError
from dancetomusic.models.pose2audio.onnx_decoder import OnnxTokenDecoder, exported_graph
from dancetomusic.models.pose2audio.token_decoder import TokenDecoder, TokenDecoderConfig
from dancetomusic.nn.sampling import SamplingConfig

R, M, K, V, FRAMES = 5, 6, 2, 64, 40


def decoder(
    pattern: str = "delay",
    styles: tuple[str, ...] = (),
    *,
    causal: bool = False,
    memory_dim: int = M,
) -> TokenDecoder:
    config = TokenDecoderConfig(
        rhythm_features=R,
        memory_dim=memory_dim,
        codebook_size=V,
        d_model=64,
        n_layers=3,
        n_heads=4,
        pattern=pattern,
        styles=styles,
        causal=causal,
        memory_layers=0 if causal else 1,
    )
    model = TokenDecoder(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def conditions(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.randn(batch, FRAMES, R),
        torch.randn(batch, 7, M),
        torch.arange(7) < torch.arange(7, 7 - batch, -1)[:, None],
    )


@pytest.mark.parametrize(("causal", "memory_dim"), [(False, M), (True, M), (False, 0), (True, 0)])
@pytest.mark.parametrize("pattern", ["delay", "flatten"])
@pytest.mark.parametrize("cfg_scale", [1.0, 2.0])
def test_greedy_codes_are_those_of_pytorch(
    pattern: str, cfg_scale: float, causal: bool, memory_dim: int, tmp_path: Path
) -> None:
    model = decoder(pattern, causal=causal, memory_dim=memory_dim)
    given = conditions()
    ours = OnnxTokenDecoder(model, cache_dir=tmp_path)
    codes = ours.generate(*given, sampling=SamplingConfig(temperature=0.0, cfg_scale=cfg_scale))
    assert len(codes.unique()) > 4
    assert torch.equal(
        codes, model.generate(*given, sampling=SamplingConfig(temperature=0.0, cfg_scale=cfg_scale))
    )


def test_a_style_sounds_as_in_pytorch(tmp_path: Path) -> None:
    model, given = decoder(styles=("rock", "waltz")), conditions()
    asked = {
        "style": torch.tensor([2, 0]),
        "sampling": SamplingConfig(temperature=0.0, cfg_scale=2.0),
    }
    codes = OnnxTokenDecoder(model, cache_dir=tmp_path).generate(*given, **asked)
    assert torch.equal(codes, model.generate(*given, **asked))
    assert not torch.equal(
        codes, model.generate(*given, sampling=SamplingConfig(temperature=0.0, cfg_scale=2.0))
    )


def test_sampled_and_continued_codes_are_those_of_pytorch(tmp_path: Path) -> None:
    model = decoder()
    given = conditions()
    made = [
        either.generate(
            *given,
            prefix_codes=torch.arange(K * 9).view(1, K, 9).expand(2, -1, -1),
            sampling=SamplingConfig(top_k=20, top_p=0.9),
            generator=torch.Generator().manual_seed(5),
        )
        for either in (model, OnnxTokenDecoder(model, cache_dir=tmp_path))
    ]
    assert torch.equal(made[0], made[1])


def test_music_without_a_dance(tmp_path: Path) -> None:
    model, (rhythm, *_) = decoder(), conditions(batch=1)
    codes = OnnxTokenDecoder(model, cache_dir=tmp_path).generate(
        rhythm, sampling=SamplingConfig(temperature=0.0)
    )
    assert torch.equal(codes, model.generate(rhythm, sampling=SamplingConfig(temperature=0.0)))


@pytest.mark.parametrize(("weight_bits", "allowed"), [(32, 1e-4), (8, 0.05)])
def test_logits_stay_within_a_share_of_their_spread(
    weight_bits: int, allowed: float, tmp_path: Path
) -> None:
    model = decoder()
    ours = OnnxTokenDecoder(model, weight_bits=weight_bits, cache_dir=tmp_path)
    torch_state, onnx_state = model.start(*(given := conditions())), model.start(*given)
    by_torch, by_onnx = model.stepper(torch_state), ours.stepper(onnx_state)
    for _ in range(10):
        column = torch.randint(0, V + 1, (2, K))
        expected = by_torch(column)
        assert (by_onnx(column) - expected).std() <= allowed * expected.std()
    assert onnx_state.position == torch_state.position == 10


def test_the_graph_is_exported_once_for_given_weights(tmp_path: Path) -> None:
    model = decoder()
    first = exported_graph(model, 32, tmp_path)
    assert isinstance(first, Path)
    written = first.stat().st_mtime_ns
    assert exported_graph(model, 32, tmp_path) == first
    assert first.stat().st_mtime_ns == written
    assert exported_graph(model, 8, tmp_path) != first
    with torch.no_grad():
        model.heads.weight[0, 0] += 1.0
    assert exported_graph(model, 32, tmp_path) != first


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANCETOMUSIC_CACHE", str(tmp_path / "cache"))
    graph = exported_graph(decoder(), 32)
    assert isinstance(graph, Path) and graph.parent == tmp_path / "cache"


def test_a_cache_without_room_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, allowed[1]))
    try:
        graph = exported_graph(decoder(), 32, tmp_path)
        OnnxTokenDecoder(decoder(), cache_dir=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert isinstance(graph, bytes) and "exported again" in caplog.text
    assert not list(tmp_path.iterdir())


def test_other_weight_widths_are_refused() -> None:
    with pytest.raises(InputError, match="weight_bits is 4"):
        OnnxTokenDecoder(decoder(), weight_bits=4)
