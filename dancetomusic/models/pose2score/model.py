"""The trained composer behind the interface of models: its score is played from a SoundFont."""

from __future__ import annotations

from pathlib import Path

from dancetomusic.errors import InputError
from dancetomusic.models.pose2score.generation import compose
from dancetomusic.models.pose2score.network import Composer
from dancetomusic.models.score.model import ScoreModel
from dancetomusic.nn.sampling import SAMPLING_FIELDS, SamplingConfig
from dancetomusic.released import locate_checkpoint
from dancetomusic.score.notes import BeatClock, Score
from dancetomusic.score.plan import Plan
from dancetomusic.score.style import Style

DEFAULT_SAMPLING = SamplingConfig(temperature=0.6, top_p=0.95, cfg_scale=1.0)
"""Chosen on six dances of the training split of ``tang2018``, two pieces each: with guidance of
1.5 density follows energy a little more closely (.67 for .61), and the same chord comes back after
four bars in .79 of them, not in .93; it also takes twice as long."""


def open_model(directory: Path | str | None = None, codec: Path | str | None = None) -> ScoreModel:
    """Load a composer.

    Raises:
        CheckpointError: If it is missing, corrupted or holds another model.
        InputError: If a codec is named.
    """
    if codec is not None:
        raise InputError(
            "the score is played without a codec", "Leave the codec out, or name pose2audio."
        )
    network = Composer.from_pretrained(directory or locate_checkpoint("pose2score")).requires_grad_(
        False
    )

    def write(
        clock: BeatClock,
        plan: Plan,
        style: Style,
        key: str | None,
        seed: int,
        sampling: SamplingConfig,
    ) -> Score:
        return compose(network, clock, plan, style, key, seed, sampling).score()

    return ScoreModel(write, DEFAULT_SAMPLING, SAMPLING_FIELDS)
