"""What a build will come to: clips, hours, disk and time, before anything is downloaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dancetomusic.builder.settings import BuildSettings
from dancetomusic.builder.sources import Section
from dancetomusic.builder.stages.cut import ROUNDING_S
from dancetomusic.codec.encodec import is_encodec
from dancetomusic.errors import InputError
from dancetomusic.io.video import probe_video

POSES_S = 0.40
"""Work of one core for a second of video, in seconds, of all stages but the codec's, with HPSS as
separator (``python benchmarks/bench_build.py``)."""

ENCODEC_S, OWN_CODEC_S = 0.095, 0.003
"""Likewise of the codecs."""

BYTES_PER_S = 100_000
"""Disk for a second of an accepted clip: two FLACs of 24 kHz and poses."""


@dataclass(frozen=True)
class Estimate:
    """What sections will come to if all of their clips are accepted.

    Attributes:
        clips: How many.
        hours: Their length together.
        disk_gb: What they take, in gigabytes; videos under way not counted.
        work_hours: Time of all workers together, downloads and the separator's not counted.
        unknown: Sections that are not counted, since they end where their video ends.
    """

    clips: int
    hours: float
    disk_gb: float
    work_hours: float
    unknown: int


def estimate(sections: Iterable[Section], settings: BuildSettings, *, workers: int) -> Estimate:
    """Estimate a build from the lengths of its sections; local videos are probed for theirs."""
    lengths = [_length_s(section) for section in sections]
    clips = sum(
        int((length_s + ROUNDING_S) / settings.max_seq_len)
        for length_s in lengths
        if length_s is not None
    )
    seconds = clips * settings.max_seq_len
    codec_s = ENCODEC_S if is_encodec(settings.codec) else OWN_CODEC_S
    return Estimate(
        clips=clips,
        hours=seconds / 3600,
        disk_gb=seconds * BYTES_PER_S * settings.sample_rate / 24_000 / 1e9,
        work_hours=seconds * (POSES_S * settings.fps / 24.0 + codec_s) / workers / 3600,
        unknown=lengths.count(None),
    )


def _length_s(section: Section) -> float | None:
    """How long a section is; 0 where its file is no video, ``None`` where only the site knows."""
    end_s = section.end_s
    if section.path is not None:
        try:
            video_s = probe_video(section.path).duration_s
        except InputError:
            return 0.0
        end_s = video_s if end_s is None else min(end_s, video_s)
    return None if end_s is None else max(0.0, end_s - section.start_s)
