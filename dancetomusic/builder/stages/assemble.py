"""Clips of dances with known poses and beats: cut, given their sound, written, published."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from dancetomusic.builder.batch import CLIPS_IN_WORK, WORK
from dancetomusic.builder.quality import measure_quality, refusal
from dancetomusic.builder.settings import BuildSettings, settle
from dancetomusic.builder.stages.beats import track_within
from dancetomusic.builder.stages.cut import cut
from dancetomusic.builder.stages.encode import encode
from dancetomusic.builder.stages.separate import separate
from dancetomusic.codec.base import Codec
from dancetomusic.data.clip import (
    ACCEPTED,
    BEATS_FILE,
    FAILED,
    MIX_FILE,
    POSES_FILE,
    REFUSED,
    ClipRecord,
    clip_directory,
    clip_key,
    publish_clip,
    read_record,
    source_id,
    write_record,
)
from dancetomusic.data.manifest import Manifest, write_manifest
from dancetomusic.errors import ConfigError, InputError
from dancetomusic.io.audio import fit_length, write_flac
from dancetomusic.io.lock import exclusive
from dancetomusic.pose.files import save_poses
from dancetomusic.pose.landmarks import cut_poses
from dancetomusic.rhythm.files import save_beats
from dancetomusic.stems.base import Separator
from dancetomusic.types import PoseSequence, RhythmTrack, Waveform


@dataclass(frozen=True)
class Performance:
    """A whole dance with its exact beats.

    Attributes:
        play: Gives the sound, from the first pose on, at the sample rate of the set.
    """

    source: str
    licence: str
    split: str
    poses: PoseSequence
    track: RhythmTrack
    play: Callable[[], Waveform]


def add_performances(
    performances: Iterable[Performance],
    output: Path,
    settings: BuildSettings,
    *,
    separator: Separator,
    codec: Codec,
    on_clip: Callable[[ClipRecord], None] = lambda record: None,
) -> Manifest:
    """Cut dances into clips side by side and add them to the set at ``output``.

    A clip that is in the set already is skipped, and the sound of a dance is asked for only if
    one is missing. The rest of a dance at its end is left out. Clips are separated as many at a
    time as pay off.

    Raises:
        ConfigError: If the set was made by another separator or codec.
        DependencyError: If the separator does not work.
        OutputError: If the set cannot be written, or another process works on it.
    """
    output.mkdir(parents=True, exist_ok=True)
    with exclusive(output):
        settle(output, replace(settings, separator=separator.identity.name))
        clips = (
            clip
            for performance in performances
            for clip in _cut(performance, settings)
            if not _is_published(output, clip.key, separator, codec)
        )
        while batch := list(islice(clips, max(1, separator.batch_size))):
            for record in _publish(batch, output, settings, separator, codec):
                on_clip(record)
        return write_manifest(output)


@dataclass(frozen=True)
class _Part:
    """One clip of a performance."""

    performance: Performance
    number: int
    start_s: float
    end_s: float
    sound: Callable[[], Waveform]

    @property
    def key(self) -> str:
        return clip_key(self.performance.source, self.start_s, self.end_s)


def _cut(performance: Performance, settings: BuildSettings) -> Iterator[_Part]:
    played: list[Waveform] = []

    def sound() -> Waveform:
        if not played:
            played.append(performance.play())
        return played[0]

    length_s = settings.n_frames / settings.fps
    if len(performance.poses) >= settings.n_frames:
        duration_s = len(performance.poses) // settings.n_frames * length_s
        for number, (start_s, end_s) in enumerate(cut(0.0, duration_s, length_s)):
            yield _Part(performance, number, start_s, end_s, sound)


def _is_published(output: Path, key: str, separator: Separator, codec: Codec) -> bool:
    try:
        record = read_record(clip_directory(output, key))
    except InputError:
        return False
    for what, before, now in (
        ("separator", record.separator, separator.identity.name),
        ("codec", record.codec, codec.identity),
    ):
        if before and before != now:
            raise ConfigError(
                f"the set {output} was made with the {what} {before}, not {now}",
                "Use the same, or another output path.",
            )
    return record.status != FAILED


def _publish(
    parts: Sequence[_Part],
    output: Path,
    settings: BuildSettings,
    separator: Separator,
    codec: Codec,
) -> Iterator[ClipRecord]:
    works = {output / WORK / CLIPS_IN_WORK / part.key: part for part in parts}
    records = {work: _begin(part, work, settings) for work, part in works.items()}
    separate([work for work, r in records.items() if r.status == ACCEPTED], separator)
    identity = separator.identity
    for work, record in records.items():
        if record.status == ACCEPTED:
            encode(work, codec)
            record = replace(
                record,
                separator=identity.name,
                separator_version=identity.version,
                separator_weights=identity.weights,
                codec=codec.identity,
                code_rate=codec.frame_rate,
            )
        written = write_record(work, record)
        publish_clip(work, output)
        yield written


def _begin(part: _Part, work: Path, settings: BuildSettings) -> ClipRecord:
    """Write what is known of a clip, and judge it."""
    whole, n_frames = part.performance, settings.n_frames
    frames = slice(part.number * n_frames, (part.number + 1) * n_frames)
    poses = cut_poses(whole.poses, frames)
    start_s = part.number * n_frames / settings.fps
    sound = part.sound()
    samples = sound.samples[:, round(start_s * sound.sample_rate) :]
    mix = fit_length(Waveform(samples, sound.sample_rate), settings.n_samples)
    track = track_within(whole.track, start_s, start_s + poses.duration_s)
    quality = measure_quality(poses, mix, track, None)
    reason = refusal(quality, settings.gate)
    work.mkdir(parents=True, exist_ok=True)
    save_poses(work / POSES_FILE, poses)
    write_flac(work / MIX_FILE, mix)
    save_beats(work / BEATS_FILE, track)
    return ClipRecord(
        key=part.key,
        source=whole.source,
        source_id=source_id(whole.source),
        start_s=part.start_s,
        end_s=part.end_s,
        licence=whole.licence,
        split=whole.split,
        status=REFUSED if reason else ACCEPTED,
        reason=reason,
        fps=poses.fps,
        n_frames=len(poses),
        sample_rate=mix.sample_rate,
        quality=quality,
        bpm=track.bpm,
        beats_per_bar=whole.track.beats_per_bar,
        beats_from="annotated",
    )
