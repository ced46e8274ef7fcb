"""A score is planned from the dance, arranged in a style, and played from a SoundFont."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dancetomusic.errors import InputError
from dancetomusic.models.base import (
    Conditions,
    ModelOptions,
    MusicModel,
    ScoreChoice,
    Sound,
    StageClock,
)
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.score.arrange import ARRANGED, arrange
from dancetomusic.score.harmony import parse_key
from dancetomusic.score.midi import read_midi, score_from_midi
from dancetomusic.score.mix import sum_stems
from dancetomusic.score.notes import BeatClock, Score
from dancetomusic.score.performance import perform
from dancetomusic.score.plan import Plan, make_plan
from dancetomusic.score.soundfont import SoundFont
from dancetomusic.score.style import Style, choose_style, load_style, style_names

Compose = Callable[[BeatClock, Plan, Style, str | None, int, SamplingConfig], Score]
"""Writes a piece from its clock and plan, style, key and seed, and how classes are sampled."""


def arrange_by_rules(
    clock: BeatClock,
    plan: Plan,
    style: Style,
    key: str | None,
    seed: int,
    sampling: SamplingConfig,
) -> Score:
    """The arranger's piece, which is not sampled from logits."""
    return arrange(clock, plan, style, key, seed)


class ScoreModel(MusicModel):
    """Writes a score for the dance, or takes a given one, and plays it in stereo at 44.1 kHz."""

    def __init__(
        self,
        compose: Compose = arrange_by_rules,
        sampling: SamplingConfig | None = None,
        sampling_fields: tuple[str, ...] = (),
    ) -> None:
        self._compose = compose
        self._options = ModelOptions(
            sampling or SamplingConfig(), sampling_fields, style_names(), score=True, stems=True
        )

    @property
    def options(self) -> ModelOptions:
        """All of ``ScoreChoice``, styles, and the sampling of a composer that has any."""
        return self._options

    def check(self, choice: ScoreChoice) -> None:
        """Read the key and the files; programs are for tracks of the score that will be played."""
        check_choice(choice)

    def generate(
        self, conditions: Conditions, sampling: SamplingConfig, stages: StageClock
    ) -> Sound:
        """Plan, arrange, play and mix."""
        choice = conditions.score
        with stages.stage("score"):
            written = write_score(conditions, sampling, self._compose)
        with stages.stage("sound"):
            stems = perform(
                written.score, written.style, soundfont=choice.soundfont, programs=choice.programs
            )
            mix = sum_stems(stems)
        return Sound(mix, None, written.score, stems, written.about)


def check_choice(choice: ScoreChoice) -> None:
    """Refuse a style, key, file or track that ``write_score`` or the sampler would.

    Raises:
        InputError: If one is unusable.
    """
    if choice.style_file is not None:
        load_style(choice.style_file)
    if choice.key is not None:
        parse_key(choice.key)
    if not -1 <= choice.energy <= 1:
        raise InputError(f"energy is {choice.energy:g}", "Give -1 (calmer) to 1 (livelier).")
    given = () if choice.midi is None else read_midi(choice.midi).tracks
    tracks = [track.name for track in given] or ARRANGED
    for name in choice.programs or {}:
        if name not in tracks:
            raise InputError(f"there is no track {name}", f"Name one of: {', '.join(tracks)}.")
    if choice.soundfont is not None:
        SoundFont(choice.soundfont)


@dataclass(frozen=True)
class WrittenScore:
    """A score for a dance, the style that it is played in, and what was chosen in one line."""

    score: Score
    style: Style
    about: str


def write_score(
    conditions: Conditions, sampling: SamplingConfig, compose: Compose = arrange_by_rules
) -> WrittenScore:
    """The score that is given, or one that is planned and composed for the dance.

    The style is the one asked for, or the one that suits the dance best.
    """
    rhythm, choice = conditions.rhythm, conditions.score
    asked = choice.style_file or conditions.style
    if asked is not None:
        style, reason = load_style(asked), "as asked"
    else:
        chosen = choose_style(rhythm)
        style, reason = load_style(chosen.name), chosen.reason
    clock = BeatClock.from_rhythm(rhythm, rhythm.duration_s)
    if choice.midi is not None:
        score = score_from_midi(choice.midi, clock)
    else:
        plan = replace(make_plan(clock, rhythm, conditions.dancers), push=choice.energy)
        score = compose(clock, plan, style, choice.key, conditions.seed, sampling)
    key = f" in {score.key}" if score.key else ""
    return WrittenScore(score, style, f"{style.name}{key}: {reason}")


def open_model(directory: Path | str | None = None, codec: Path | str | None = None) -> ScoreModel:
    """There are no weights to load.

    Raises:
        InputError: If a codec is named.
    """
    if codec is not None:
        raise InputError(
            "the score is played without a codec", "Leave the codec out, or name pose2audio."
        )
    return ScoreModel()
