"""Residual vector quantisation with codebooks that follow a moving average.

References:
    van den Oord et al., "Neural Discrete Representation Learning", 2017;
    Zeghidour et al., "SoundStream", 2021 (residual codebooks, quantiser dropout).
"""

from __future__ import annotations

import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn


class ResidualQuantizer(nn.Module):
    """Codebooks that each quantise the residual of those before.

    ``code_dim`` is the width in which distances are measured, ``decay`` that of the moving
    averages. Fewer than ``n_codebooks`` may be used.
    """

    codebooks: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        channels: int,
        *,
        n_codebooks: int,
        codebook_size: int,
        code_dim: int,
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        self.decay = decay
        self.project_in = nn.Linear(channels, code_dim)
        self.project_out = nn.Linear(code_dim, channels)
        shape = (n_codebooks, codebook_size, code_dim)
        self.register_buffer("codebooks", torch.zeros(shape))
        self.register_buffer("counts", torch.ones(shape[:2]), persistent=False)
        self.register_buffer("sums", torch.zeros(shape), persistent=False)

    def encode(
        self, latent: Float32[Tensor, "batch frames channels"], n_codebooks: int
    ) -> Int64[Tensor, "batch codebooks frames"]:
        """Index of the nearest entry of each codebook."""
        residual = self.project_in(latent)
        codes = []
        for book in self.codebooks[:n_codebooks]:
            index = _nearest(residual, book)
            residual = residual - book[index]
            codes.append(index)
        return torch.stack(codes, dim=1)

    def decode(
        self, codes: Int64[Tensor, "batch codebooks frames"]
    ) -> Float32[Tensor, "batch frames channels"]:
        """The sum of the codebooks' entries, in the latent's width."""
        total = self.codebooks[0][codes[:, 0]]
        for book, index in zip(self.codebooks[1:], codes.unbind(1)[1:], strict=False):
            total = total + book[index]
        return self.project_out(total)

    def expected(
        self, shares: Float32[Tensor, "batch codebooks frames entries"]
    ) -> Float32[Tensor, "batch frames channels"]:
        """``decode`` of codes that are sampled by their shares, on average."""
        codebooks = self.codebooks[: shares.shape[1]]
        return self.project_out(torch.einsum("bkte,kec->btc", shares, codebooks))

    def unquantized(
        self, latent: Float32[Tensor, "batch frames channels"]
    ) -> Float32[Tensor, "batch frames channels"]:
        """The latent through both projections only; what training starts with."""
        return self.project_out(self.project_in(latent))

    def forward(
        self,
        latent: Float32[Tensor, "batch frames channels"],
        n_codebooks: int,
        generator: torch.Generator,
    ) -> tuple[
        Float32[Tensor, "batch frames channels"],
        Float32[Tensor, ""],
        Int64[Tensor, "batch codebooks frames"],
    ]:
        """Quantise straight-through and move the codebooks towards what they were given.

        Returns:
            The quantised latent, the commitment loss, and the codes.
        """
        projected = self.project_in(latent)
        residual = projected.detach()
        quantized = torch.zeros_like(residual)
        codes = []
        for level in range(n_codebooks):
            index = _nearest(residual, self.codebooks[level])
            chosen = self.codebooks[level][index]
            self._update(level, residual.flatten(0, 1), index.flatten(), generator)
            quantized = quantized + chosen
            residual = residual - chosen
            codes.append(index)
        commitment = (projected - quantized).square().mean()
        straight = projected + (quantized - projected).detach()
        return self.project_out(straight), commitment, torch.stack(codes, dim=1)

    @torch.no_grad()
    def _update(
        self,
        level: int,
        vectors: Float32[Tensor, "vectors code_dim"],
        index: Int64[Tensor, " vectors"],
        generator: torch.Generator,
    ) -> None:
        size = self.codebooks.shape[1]
        uses = torch.bincount(index, minlength=size).float()
        sums = torch.zeros_like(self.sums[level]).index_add_(0, index, vectors)
        self.counts[level].lerp_(uses, 1 - self.decay)
        self.sums[level].lerp_(sums, 1 - self.decay)
        dead = self.counts[level] < 0.05 * self.counts[level].mean()
        if dead.any():
            pick = torch.randint(len(vectors), (int(dead.sum()),), generator=generator)
            fresh = self.counts[level].mean()
            self.counts[level][dead] = fresh
            self.sums[level][dead] = vectors[pick] * fresh
        self.codebooks[level] = self.sums[level] / self.counts[level].clamp_min(1e-6)[:, None]

    @torch.no_grad()
    def start_from(
        self,
        latent: Float32[Tensor, "batch frames channels"],
        generator: torch.Generator,
        *,
        rounds: int = 12,
    ) -> None:
        """Place all entries by k-means on ``latent``, codebook after codebook."""
        residual = self.project_in(latent).flatten(0, 1)
        size = self.codebooks.shape[1]
        for level in range(self.codebooks.shape[0]):
            pick = torch.randperm(len(residual), generator=generator)[:size]
            book = residual[pick].clone()
            for _ in range(rounds):
                index = _nearest(residual, book)
                uses = torch.bincount(index, minlength=size).float()
                sums = torch.zeros_like(book).index_add_(0, index, residual)
                used = uses > 0
                book[used] = sums[used] / uses[used, None]
            index = _nearest(residual, book)
            uses = torch.bincount(index, minlength=size).float().clamp_min(0.5)
            self.codebooks[level] = book
            self.counts[level] = uses / uses.mean()
            self.sums[level] = book * self.counts[level][:, None]
            residual = residual - book[index]


def _nearest(
    vectors: Float32[Tensor, "*batch code_dim"], book: Float32[Tensor, "entries code_dim"]
) -> Int64[Tensor, "*batch"]:
    # argmin |v - b|² = argmax 2 v·b - |b|²
    return (2 * vectors @ book.T - book.square().sum(1)).argmax(-1)
