import torch

from dancetomusic.codec.quantizer import ResidualQuantizer


def quantizer_on(data, n_codebooks=2, size=32):
    torch.manual_seed(0)
    quantizer = ResidualQuantizer(8, n_codebooks=n_codebooks, codebook_size=size, code_dim=8)
    with torch.no_grad():
        for layer in (quantizer.project_in, quantizer.project_out):
            layer.weight.copy_(torch.eye(8))
            layer.bias.zero_()
    quantizer.start_from(data, torch.Generator().manual_seed(0))
    return quantizer


def test_encode_takes_the_nearest_entry_of_each_residual():
    data = torch.randn(2, 300, 8)
    quantizer = quantizer_on(data)
    codes = quantizer.encode(data, 2)
    residual = data
    for level in range(2):
        distance = torch.cdist(residual, quantizer.codebooks[level][None].expand(2, -1, -1))
        assert torch.equal(codes[:, level], distance.argmin(-1))
        residual = residual - quantizer.codebooks[level][codes[:, level]]


def test_each_further_book_reduces_the_error():
    data = torch.randn(2, 300, 8)
    quantizer = quantizer_on(data)
    errors = [
        (quantizer.decode(quantizer.encode(data, books)) - data).square().mean().item()
        for books in (1, 2)
    ]
    assert errors[1] < 0.8 * errors[0] < 0.8 * data.square().mean().item()


def test_gradient_passes_straight_through():
    data = torch.randn(1, 300, 8, requires_grad=True)
    quantizer = quantizer_on(data.detach())
    quantized, _, _ = quantizer(data, 2, torch.Generator().manual_seed(0))
    quantized.sum().backward()
    assert torch.allclose(data.grad, torch.ones_like(data))


def test_entries_that_are_never_used_are_placed_again():
    data = torch.randn(1, 400, 8)
    quantizer = quantizer_on(data, n_codebooks=1)
    quantizer.codebooks[0, :8] = 1000.0
    quantizer.sums[0, :8] = 1000.0
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        quantizer(data, 1, generator)
    assert quantizer.codebooks.abs().max() < 10
    assert len(quantizer.encode(data, 1).unique()) > 24
