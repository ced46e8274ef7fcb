"""The tasks of ``dancetomusic evaluate TASK``: a line each, imported when asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple


class Task(NamedTuple):
    """A module of this package whose function ``evaluate`` is the command, and its help."""

    module: str
    summary: str


TASKS = {
    "music": Task("music.task", "Score music against the dance it is for."),
    "rhythm": Task("rhythm.task", "Score estimated beats where the beats are known."),
    "movement": Task("movement", "Score movement alone on groups its template was not fitted to."),
    "generalization": Task("generalization.task", "Score beats of movement not seen in training."),
    "duets": Task("duets", "Score whose beat is read where two people dance."),
    "stem_beats": Task("stem_beats", "Score the beats that the builder finds in drums and bass."),
    "codec": Task("codec", "Measure a codec beside Opus."),
    "wavenet": Task("wavenet", "Measure whether a WaveNet's sound depends on the movement."),
    "motion_loudness": Task("motion_loudness", "Score how the sampler's loudness follows motion."),
    "score": Task("score", "Score what is written for a dance: form, energy, hits."),
    "memory": Task("memory", "Measure what the pose memory is worth to Pose2Audio."),
    "dance": Task("dance", "Score dances made for held-out songs."),
    "insert": Task("insert", "Copy sections of reports into documents."),
}


def load_task(name: str) -> Callable[..., None]:
    """The function of a task; its parameters are the command's options."""
    module = importlib.import_module(f"dancetomusic.evaluation.tasks.{TASKS[name].module}")
    function: Callable[..., None] = module.evaluate
    return function
