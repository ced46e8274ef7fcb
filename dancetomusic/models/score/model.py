"""A score is planned from the dance, arranged in a style, and played from a SoundFont."""

from __future__ import annotations

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
from dancetomusic.score.plan import make_plan
from dancetomusic.score.soundfont import SoundFont
from dancetomusic.score.style import StyleChoice, choose_style, load_style, style_names


class ScoreModel(MusicModel):
    """Writes a score for the dance, or takes a given one, and plays it in stereo at 44.1 kHz."""

    @property
    def options(self) -> ModelOptions:
        """Style, key, score, SoundFont and programs; nothing is sampled from logits."""
        return ModelOptions(SamplingConfig(), (), style_names(), score=True, stems=True)

    def check(self, choice: ScoreChoice) -> None:
        """Read the key and the files; programs are for tracks of the score that will be played."""
        check_choice(choice)

    def generate(
        self, conditions: Conditions, sampling: SamplingConfig, stages: StageClock
    ) -> Sound:
        """Plan, arrange, play and mix."""
        choice = conditions.score
        with stages.stage("score"):
            score, chosen = compose(conditions)
        with stages.stage("sound"):
            stems = perform(
                score,
                load_style(chosen.name),
                soundfont=choice.soundfont,
                programs=choice.programs,
            )
            mix = sum_stems(stems)
        return Sound(mix, None, score, stems, describe(score, chosen))


def check_choice(choice: ScoreChoice) -> None:
    """Refuse a key, file or track that ``compose`` or the sampler would.

    Raises:
        InputError: If one is unusable.
    """
    if choice.key is not None:
        parse_key(choice.key)
    given = () if choice.midi is None else read_midi(choice.midi).tracks
    tracks = [track.name for track in given] or ARRANGED
    for name in choice.programs or {}:
        if name not in tracks:
            raise InputError(f"there is no track {name}", f"Name one of: {', '.join(tracks)}.")
    if choice.soundfont is not None:
        SoundFont(choice.soundfont)


def compose(conditions: Conditions) -> tuple[Score, StyleChoice]:
    """The score that is given, or one that is planned and arranged for the dance, and its style."""
    rhythm, choice, style = conditions.rhythm, conditions.score, conditions.style
    chosen = choose_style(rhythm) if style is None else StyleChoice(style, "as asked")
    clock = BeatClock.from_rhythm(rhythm, rhythm.duration_s)
    if choice.midi is not None:
        return score_from_midi(choice.midi, clock), chosen
    plan = make_plan(clock, rhythm, conditions.dancers)
    return arrange(clock, plan, chosen.name, choice.key, conditions.seed), chosen


def describe(score: Score, chosen: StyleChoice) -> str:
    """What was chosen, in one line."""
    key = f" in {score.key}" if score.key else ""
    return f"{chosen.name}{key}: {chosen.reason}"


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
