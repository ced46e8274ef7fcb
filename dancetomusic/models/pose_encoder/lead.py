"""Whose beat is played where several people dance, by whether their tempi agree.

Each dancer's movement alone says little about the tempo, so whoever dances to one music is read
together. Whether two share one tempo is a comparison of two models, by the evidence that
:mod:`movement_tempo` weighs: one tempo for both, or one each.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dancetomusic.errors import InputError
from dancetomusic.models.pose_encoder.movement_tempo import dance_logits, dance_prior
from dancetomusic.rhythm.beats import TEMPI_BPM
from dancetomusic.types import PoseSequence

AUTO, LARGEST, ALL = "auto", "largest", "all"

SAME_TEMPO = -math.log(4.0)
"""Log Bayes factor of one tempo against two from which two dancers are read together: people who
are filmed together are taken to dance to one music four times as likely as not."""


@dataclass(frozen=True)
class Lead:
    """Whose beat is played.

    Attributes:
        leaders: Indices of the dancers who are read together, at least one.
        reason: Who they are and why, in words; empty where there is one dancer.
    """

    leaders: tuple[int, ...]
    reason: str = ""


def choose_lead(dancers: Sequence[PoseSequence], follow: str = AUTO) -> Lead:
    """Choose whose beat is played.

    Args:
        dancers: The most prominent first.
        follow: ``"all"``, ``"largest"`` (the most prominent), the number of a dancer from 1, or
            ``"auto"``: the most prominent, with all whose movement does not contradict that
            tempo.

    Raises:
        InputError: If ``follow`` is none of these, or there are fewer dancers.
    """
    check_follow(follow)
    n_dancers = len(dancers)
    if follow.isdecimal() and int(follow) > n_dancers:
        raise InputError(
            f"dancer {follow} is to be followed, of {n_dancers} seen", f"Give 1 to {n_dancers}."
        )
    if n_dancers == 1:
        return Lead((0,))
    if follow == ALL:
        return Lead(tuple(range(n_dancers)), f"all {n_dancers} dancers together, as asked")
    if follow == LARGEST:
        return Lead((0,), f"dancer 1 of {n_dancers}, the most prominent, as asked")
    if follow.isdecimal():
        return Lead((int(follow) - 1,), f"dancer {follow} of {n_dancers}, as asked")
    logits = [dance_logits([dancer]) for dancer in dancers]
    leaders = [0]
    for number in range(1, n_dancers):
        if same_tempo(logits[0], logits[number]) >= SAME_TEMPO:
            leaders.append(number)
    if len(leaders) == n_dancers:
        return Lead(tuple(leaders), f"all {n_dancers} dancers, whose tempi agree")
    own = [float(TEMPI_BPM[np.argmax(dance_prior(TEMPI_BPM) + each)]) for each in logits]
    others = [number for number in range(n_dancers) if number not in leaders]
    return Lead(
        tuple(leaders),
        f"{_names(leaders)} of {n_dancers}, the most prominent, at {own[0]:.0f} BPM; "
        f"{_names(others)} at {' and '.join(f'{own[number]:.0f}' for number in others)} BPM",
    )


def check_follow(follow: str) -> None:
    """Refuse what :func:`choose_lead` does not know.

    Raises:
        InputError: If it means nothing.
    """
    if follow not in (AUTO, LARGEST, ALL) and not (follow.isdecimal() and int(follow) >= 1):
        raise InputError(
            f"follow is {follow!r}", f"Give {AUTO}, {LARGEST}, {ALL}, or a number from 1."
        )


def same_tempo(first: Float[np.ndarray, " tempi"], second: Float[np.ndarray, " tempi"]) -> float:
    """Log Bayes factor of one tempo for two dancers against a tempo of each.

    The log-likelihoods are of each of ``TEMPI_BPM``, up to a constant.

    References:
        Kass and Raftery, "Bayes factors", 1995.
    """
    prior = dance_prior(TEMPI_BPM)
    prior = prior - np.logaddexp.reduce(prior)
    together = np.logaddexp.reduce(prior + first + second)
    apart = np.logaddexp.reduce(prior + first) + np.logaddexp.reduce(prior + second)
    return float(together - apart)


def _names(numbers: Sequence[int]) -> str:
    names = " and ".join(str(number + 1) for number in numbers)
    return f"dancer{'s' if len(numbers) > 1 else ''} {names}"
