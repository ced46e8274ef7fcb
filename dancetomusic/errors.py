"""Every error a user can cause, each one line that ends with the remedy."""

from __future__ import annotations


class DanceToMusicError(Exception):
    """Base of all errors that a caller or user can repair; the command exits 2 on it.

    Args:
        problem: What is wrong, with the value that was met.
        remedy: What to do about it, as an imperative sentence.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        problem = " ".join(line.strip() for line in problem.splitlines())
        super().__init__(f"{problem.rstrip('.')}. {remedy}")
        self.problem = problem
        self.remedy = remedy

    def __reduce__(self) -> tuple[type[DanceToMusicError], tuple[str, str]]:
        return type(self), (self.problem, self.remedy)  # to cross process boundaries


class InputError(DanceToMusicError):
    """A file or value given by the user cannot be used."""


class VideoError(InputError):
    """A video is missing, unreadable, empty or has no picture."""


class PoseError(InputError):
    """No usable dancer was found, or poses have the wrong form."""


class OutputError(DanceToMusicError):
    """The output cannot be written where it was asked for."""


class CheckpointError(DanceToMusicError):
    """A checkpoint is missing, corrupted, foreign, or does not fit its codec."""


class ConfigError(DanceToMusicError):
    """A configuration has an unknown key or a value out of range."""


class DependencyError(DanceToMusicError):
    """An optional part (a package, a program, a download) is not available."""


class TrainingError(DanceToMusicError):
    """Training cannot continue: a loss is not finite, or a batch does not fit in memory."""
