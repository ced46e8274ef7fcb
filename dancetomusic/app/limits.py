"""What one server gives at most, and the answer to those who ask for more."""

from __future__ import annotations

from dataclasses import dataclass

from dancetomusic.errors import ConfigError, DanceToMusicError

MIN_TOKEN_LENGTH = 16
TAKEN = "Give .mp4, .mov, .mkv, .webm, .avi, .ts, .mts, .mpg, .flv or .ogv."
"""Containers that are taken; ``uploads`` knows them by their first bytes, ``probe`` by FFmpeg."""


@dataclass(frozen=True)
class Limits:
    """Bounds of everything a client can make grow.

    Attributes:
        stored_bytes: Size of all that is kept at a time.
        pixels: Size of its pictures, width times height.
        waiting_jobs: Jobs in line behind the one at work.
        keep_s: How long a video and its music are kept after the last job, in seconds.
        absent_s: How long a job continues with nobody watching it, in seconds.
        idle_s: How long a sender may be silent, in seconds.

    Raises:
        ConfigError: If one is not positive.
    """

    upload_bytes: int = 256 * 2**20
    stored_bytes: int = 4 * 2**30
    duration_s: float = 180.0
    pixels: int = 4096 * 2304
    waiting_jobs: int = 6
    live_sessions: int = 4
    keep_s: float = 3600.0
    absent_s: float = 15.0
    idle_s: float = 20.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ConfigError(f"{name} is {value}", "Give a positive value.")


class Refusal(DanceToMusicError):
    """A request that is not granted; the client gets the problem, the remedy and the status.

    ``retry_after_s`` says when to ask again, where that helps; ``job`` is the id of the client's
    own job that stands in the way.
    """

    def __init__(
        self,
        status: int,
        problem: str,
        remedy: str,
        *,
        retry_after_s: float | None = None,
        job: str | None = None,
    ) -> None:
        super().__init__(problem, remedy)
        self.status = status
        self.retry_after_s = retry_after_s
        self.job = job
