"""What a model that makes music is: the interface between the commands and every model."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from dancetomusic.models.pose_encoder.network import PoseEncoder, PoseEncoding
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.score.notes import Score
from dancetomusic.types import CodeSequence, PoseSequence, RhythmTrack, Waveform

Progress = Callable[[str, float], None]
"""Called with a stage's name and the share of it done."""


@dataclass(frozen=True)
class ScoreChoice:
    """What a person decides about the score and the instruments that play it.

    Attributes:
        style_file: A style of one's own, in place of one by name.
        key: Such as ``"A minor"``; drawn by the seed by default.
        midi: File of notes to play in place of composed ones.
        soundfont: File to play from; the one that comes along by default.
        programs: By track name, the General MIDI program to use in place of the style's.
        energy: How much livelier (to 1) or calmer (to -1) the music is than the dance.
    """

    style_file: Path | None = None
    key: str | None = None
    midi: Path | str | None = None
    soundfont: Path | str | None = None
    programs: Mapping[str, int] | None = None
    energy: float = 0.0


@dataclass(frozen=True)
class Conditions:
    """What music is made for.

    Attributes:
        dancers: At 24 poses a second, of one length, the most prominent first.
        rhythm: The beats to play on.
        encoding: Of the movement of all dancers, by the encoder that read it.
        style: One of ``ModelOptions.styles``; ``None`` leaves it to the model.
        swing: How late the off-beats are: 0 half-way between the beats, 1 at two thirds.
        seed: The same seed gives the same music.
        score: What is decided about the score.
        video: The file that shows the dancers; ``None`` where poses were given.
        condition: One of ``ModelOptions.conditions``; ``None`` for the default.
    """

    dancers: tuple[PoseSequence, ...]
    rhythm: RhythmTrack
    encoding: PoseEncoding
    style: str | None = None
    swing: float = 0.0
    seed: int = 0
    score: ScoreChoice = ScoreChoice()
    video: Path | None = None
    condition: str | None = None


@dataclass(frozen=True)
class Sound:
    """What a model made.

    Attributes:
        waveform: The music before it is mastered.
        stems: By track name; they sum to ``waveform``. Empty where there are no tracks.
        about: What was chosen for the dance, in one line.
    """

    waveform: Waveform
    codes: CodeSequence | None = None
    score: Score | None = None
    stems: Mapping[str, Waveform] = field(default_factory=dict)
    about: str = ""


@dataclass(frozen=True)
class ModelOptions:
    """What can be chosen of a model; the command and the page offer just this.

    Attributes:
        sampling: Its defaults.
        sampling_fields: The fields of ``SamplingConfig`` that it uses.
        styles: Styles of music it can be conditioned on; may be empty.
        swing: Whether it can swing.
        score: Whether it plays a score, so that ``ScoreChoice`` has a meaning.
        stems: Whether it plays each track by itself.
        conditions: What it can read of a dance, the default first, if there is a choice; a dance
            without a video is read as poses.
    """

    sampling: SamplingConfig
    sampling_fields: tuple[str, ...]
    styles: tuple[str, ...] = ()
    swing: bool = False
    score: bool = False
    stems: bool = False
    conditions: tuple[str, ...] = ()


class MusicModel(ABC):
    """A model that makes the sound for a dance, with its weights loaded."""

    encoder: PoseEncoder | None = None
    """Estimates the rhythm of its dances; ``None`` where the released encoder does."""

    @property
    @abstractmethod
    def options(self) -> ModelOptions:
        """What can be chosen."""

    def check(self, choice: ScoreChoice) -> None:  # noqa: B027  # most models play no score
        """Refuse a choice about the score that ``generate`` would, before any work.

        Raises:
            InputError: If the key, the energy, a file, or a track is unusable.
        """

    @abstractmethod
    def generate(
        self, conditions: Conditions, sampling: SamplingConfig, stages: StageClock
    ) -> Sound:
        """Make the sound of a dance, as long as its rhythm.

        Raises:
            InputError: If the dance is too short for the model.
        """


class StageClock:
    """Times stages, in seconds, and reports their progress."""

    def __init__(self, on_progress: Progress | None = None) -> None:
        self.timings: dict[str, float] = {}
        self._on_progress = on_progress

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        """Time what is done within, under ``name``; yields what takes the share done."""

        def report(share: float) -> None:
            if self._on_progress is not None:
                self._on_progress(name, share)

        began = time.perf_counter()
        report(0.0)
        yield report
        report(1.0)
        self.timings[name] = time.perf_counter() - began
