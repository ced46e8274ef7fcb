"""A score is planned from the dance, arranged in a style, and played from a SoundFont."""

from __future__ import annotations

from dataclasses import replace
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
from dancetomusic.types import RhythmTrack


class ScoreModel(MusicModel):
    """Writes a score for the dance, or takes a given one, and plays it in stereo at 44.1 kHz."""

    @property
    def options(self) -> ModelOptions:
        """Style, key, energy, score, SoundFont and programs; nothing is sampled from logits."""
        return ModelOptions(SamplingConfig(), (), style_names(), score=True)

    def check(self, choice: ScoreChoice) -> None:
        """Read the key and the files; programs are for tracks of the score that will be played."""
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

    def generate(
        self, conditions: Conditions, sampling: SamplingConfig, stages: StageClock
    ) -> Sound:
        """Plan, arrange, play and mix."""
        choice = conditions.score
        with stages.stage("score"):
            chosen = _style(conditions.style, conditions.rhythm)
            score = self._score(conditions, chosen.name)
        with stages.stage("sound"):
            stems = perform(
                score,
                load_style(chosen.name),
                soundfont=choice.soundfont,
                programs=choice.programs,
            )
            mix = sum_stems(stems)
        key = f" in {score.key}" if score.key else ""
        return Sound(mix, None, score, stems, f"{chosen.name}{key}: {chosen.reason}")

    def _score(self, conditions: Conditions, style: str) -> Score:
        rhythm, choice = conditions.rhythm, conditions.score
        clock = BeatClock.from_rhythm(rhythm, rhythm.duration_s)
        if choice.midi is not None:
            return score_from_midi(choice.midi, clock)
        plan = replace(make_plan(clock, rhythm, conditions.dancers), push=choice.energy)
        return arrange(clock, plan, style, choice.key, conditions.seed)


def _style(asked: str | None, rhythm: RhythmTrack) -> StyleChoice:
    """The style asked for, or the one that suits the dance best."""
    return choose_style(rhythm) if asked is None else StyleChoice(asked, "as asked")


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
