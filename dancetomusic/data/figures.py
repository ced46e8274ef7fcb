"""Movement figures held out: blocks of figures, dances without them, stretches of only them.

Held-out dances are made of the same figures as the others. To test movement never seen,
whole figures are kept from training, in every dance and with all their variations
(``W-8-1`` and ``W-8-3`` are both the figure ``W-8``). Which figures go together is decided
by which follow each other, so that long stretches of nothing but held-out figures exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from dancetomusic.data.dance import Dance, Figure
from dancetomusic.errors import InputError

FIGURES = "figures"
N_BLOCKS = 3
MARGIN_S = 0.5


def figure_family(name: str) -> str:
    """The figure of which ``name`` is a variation; empty for holds and starts.

    Example:
        >>> figure_family("W-8-3"), figure_family("HOLD")
        ('W-8', '')
    """
    return "-".join(name.split("-")[:2]) if name.count("-") == 2 else ""


def figure_span(dance: Dance, figure: Figure) -> tuple[float, float]:
    """Start and end of a figure in seconds, cut at the end of the dance."""
    count = np.arange(dance.beat_times.size)
    ends = np.array([figure.first_beat, figure.first_beat + figure.n_beats])
    seconds = np.interp(ends, count, dance.beat_times)
    seconds += np.maximum(ends - count[-1], 0.0) * 60.0 / dance.bpm
    start, end = np.clip(seconds, 0.0, dance.poses.duration_s)
    return float(start), float(end)


def figure_blocks(dances: Sequence[Dance]) -> tuple[frozenset[str], ...]:
    """Share out all figures among blocks that take about the same time of every genre.

    Genre by genre, figures are put in the order of the second eigenvector of the normalised
    Laplacian of how often they follow each other (Shi and Malik, 2000), and the order is cut
    into ``N_BLOCKS`` parts of equal danced time. The same dances give the same blocks.
    """
    blocks: list[set[str]] = [set() for _ in range(N_BLOCKS)]
    for genre in sorted({dance.genre for dance in dances}):
        seconds: dict[str, float] = {}
        follows: dict[tuple[str, str], int] = {}
        for dance in dances:
            if dance.genre != genre:
                continue
            families = [figure_family(figure.name) for figure in dance.figures]
            for figure, family in zip(dance.figures, families, strict=True):
                start, end = figure_span(dance, figure)
                if family:
                    seconds[family] = seconds.get(family, 0.0) + end - start
            for pair in pairwise(families):
                follows[pair] = follows.get(pair, 0) + 1
        # Similarity of figures: how often one follows the other, either way.
        names = sorted(seconds)
        linked = np.array([[follows.get((a, b), 0) for b in names] for a in names], float)
        linked = linked + linked.T
        np.fill_diagonal(linked, 0.0)
        linked += 1e-3
        # Fiedler vector: second eigenvector of I - D^(-1/2) W D^(-1/2), with a fixed sign.
        degree = np.sqrt(linked.sum(axis=1))
        _, vectors = np.linalg.eigh(np.eye(len(names)) - linked / np.outer(degree, degree))
        fiedler = vectors[:, 1] / degree
        fiedler *= np.sign(fiedler[np.argmax(np.abs(fiedler))])
        # Blocks: the order of its values, cut at equal shares of danced time.
        order = np.argsort(fiedler, kind="stable")
        lasting = np.array([seconds[names[index]] for index in order])
        middle = (np.cumsum(lasting) - lasting / 2) / lasting.sum()
        for index, share in zip(order, middle, strict=True):
            blocks[min(N_BLOCKS - 1, int(share * N_BLOCKS))].add(names[index])
    return tuple(frozenset(block) for block in blocks)


def figure_block(dances: Sequence[Dance], name: str) -> frozenset[str]:
    """The figures of a block named ``figures-N``, counted from 0.

    Args:
        dances: All dances of the set, of every split: they decide what the blocks are.
        name: ``figures`` alone is block 0.

    Raises:
        InputError: If there is no such block.
    """
    kind, _, number = name.partition("-")
    blocks = figure_blocks(dances)
    if kind != FIGURES or not (number or "0").isdecimal() or int(number or 0) >= len(blocks):
        raise InputError(
            f"no block of figures is {name!r}", f"Give {FIGURES}-0 to {FIGURES}-{N_BLOCKS - 1}."
        )
    return blocks[int(number or 0)]


def hold_out(dances: Sequence[Dance], name: str, everything: Sequence[Dance]) -> list[Dance]:
    """Dances to learn from when a genre, or a block ``figures-N``, is kept for testing.

    ``everything`` is all dances of the set, of every split.

    Raises:
        InputError: If there is no such genre or block, or nothing else.
    """
    if name.startswith(FIGURES):
        block = figure_block(everything, name)
        return [without_figures(dance, block) for dance in dances]
    others = [dance for dance in dances if dance.genre != name]
    if not others or len(others) == len(dances):
        genres = ", ".join(sorted({dance.genre for dance in everything}))
        raise InputError(f"{name!r} cannot be held out", f"Give one of several genres ({genres}).")
    return others


def stretches_of(dance: Dance, block: frozenset[str]) -> list[tuple[float, float]]:
    """Longest stretches in which only figures of a block are danced, in seconds."""
    stretches: list[tuple[float, float]] = []
    joined = False
    for figure in dance.figures:
        start, end = figure_span(dance, figure)
        held = figure_family(figure.name) in block and end > start
        if held and joined and start - stretches[-1][1] < 0.1:
            stretches[-1] = (stretches[-1][0], end)
        elif held:
            stretches.append((start, end))
        joined = held
    return stretches


def without_figures(dance: Dance, block: frozenset[str], *, margin_s: float = MARGIN_S) -> Dance:
    """The dance with nobody present during figures of a block and ``margin_s`` around them."""
    at = np.arange(len(dance.poses)) / dance.poses.fps
    present = dance.poses.present.copy()
    for start, end in stretches_of(dance, block):
        present &= (at < start - margin_s) | (at >= end + margin_s)
    return dance.showing(present)
