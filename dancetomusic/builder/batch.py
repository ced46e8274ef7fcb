"""A batch of clips through all stages, in one worker."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

from dancetomusic.builder.quality import refusal
from dancetomusic.builder.settings import BuildSettings
from dancetomusic.builder.stages.beats import write_beats
from dancetomusic.builder.stages.cut import ClipTask
from dancetomusic.builder.stages.encode import encode
from dancetomusic.builder.stages.observe import QUALITY_FILE, observe
from dancetomusic.builder.stages.separate import separate
from dancetomusic.codec.base import Codec
from dancetomusic.codec.registry import load_codec
from dancetomusic.data.clip import (
    ACCEPTED,
    FAILED,
    MIX_FILE,
    PICTURES_FILE,
    POSES_FILE,
    REFUSED,
    ClipQuality,
    ClipRecord,
    clip_directory,
    publish_clip,
    read_record,
    source_id,
    split_of,
    write_record,
)
from dancetomusic.errors import InputError
from dancetomusic.stems.base import Separator
from dancetomusic.stems.choose import make_separator

WORK = ".work"
CLIPS_IN_WORK = "clips"
STOP_FILE = "stop"
"""Asks workers to begin no further clip."""


@dataclass(frozen=True)
class ClipReport:
    """What became of a clip.

    Attributes:
        seconds: Time spent on it, by stage.
    """

    key: str
    source: str
    status: str
    reason: str
    seconds: dict[str, float] = field(default_factory=dict)


def build_clips(
    tasks: Sequence[ClipTask], output: Path, settings: BuildSettings
) -> list[ClipReport]:
    """Make the clips of a batch and publish them, refused and failed ones too.

    A clip that cannot be made never stops the others. When the build is to stop, clips that
    were not begun are left out.

    Raises:
        DependencyError: If the separator or MediaPipe does not work.
        OutputError: If the set cannot be written.
    """
    import torch

    torch.set_num_threads(1)  # the workers share the cores, and sums must not depend on it
    makings = []
    for task in tasks:
        if (output / WORK / STOP_FILE).exists():
            break
        making = _Making(task, output, settings)
        makings.append(making)
        with making.stage("poses"):
            making.observe()
    usable = [making for making in makings if making.goes_on]
    if usable:
        separator = _separator(settings.separator, settings.stems_dir)
        together = separator.batch_size
        for first in range(0, len(usable), together):
            _separate(usable[first : first + together], separator)
        codec = _codec(settings.codec, settings.n_codebooks)
    for making in makings:
        if making.goes_on:
            with making.stage("codes"):
                making.encode(codec)
        if making.goes_on:
            with making.stage("beats"):
                making.write_beats()
        with making.stage("write"):
            making.publish()
    return [making.report for making in makings]


class _Making:
    """One clip in the making."""

    def __init__(self, task: ClipTask, output: Path, settings: BuildSettings) -> None:
        self.task, self.output, self.settings = task, output, settings
        self.work = output / WORK / CLIPS_IN_WORK / task.key
        self.seconds: dict[str, float] = {}
        self.record = new_record(task, settings)
        self.work.mkdir(parents=True, exist_ok=True)
        self._take_back()

    @property
    def goes_on(self) -> bool:
        """Whether there is more to do than to publish."""
        return self.record.status == ACCEPTED

    @property
    def report(self) -> ClipReport:
        record = self.record
        return ClipReport(record.key, record.source, record.status, record.reason, self.seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; what goes wrong with the clip itself makes it failed."""
        began = time.perf_counter()
        try:
            yield
        except InputError as error:
            self.fail(error)
        self.seconds[name] = time.perf_counter() - began

    def fail(self, error: InputError) -> None:
        reason = error.problem.replace(self.task.media, self.task.section.source)
        self.record = replace(self.record, status=FAILED, reason=reason)

    def observe(self) -> None:
        self.record = replace(self.record, n_frames=self.settings.n_frames)
        self.judge(observe(self.task, self.work, self.settings))

    def judge(self, quality: ClipQuality) -> None:
        reason = refusal(quality, self.settings.gate)
        status = REFUSED if reason else ACCEPTED
        self.record = replace(self.record, quality=quality, status=status, reason=reason)

    def encode(self, codec: Codec) -> None:
        encode(self.work, codec)
        self.record = replace(self.record, codec=codec.identity, code_rate=codec.frame_rate)

    def write_beats(self) -> None:
        track = self.task.beats
        assert track is not None  # without sound it is refused
        self.record = replace(self.record, bpm=track.bpm, beats_per_bar=track.beats_per_bar)
        agreement = write_beats(track, self.work)
        self.judge(replace(self.record.quality, beat_agreement=agreement))

    def publish(self) -> None:
        write_record(self.work, self.record)
        publish_clip(self.work, self.output)

    def _take_back(self) -> None:
        """Begin with what an earlier, refused version of the clip left."""
        published = clip_directory(self.output, self.task.key)
        if (self.work / QUALITY_FILE).is_file():
            return
        try:
            record = read_record(published)
        except InputError:  # there is none, or it is damaged
            return
        if record.status == REFUSED:
            for name in (POSES_FILE, MIX_FILE, PICTURES_FILE):
                if (published / name).is_file():
                    shutil.copyfile(published / name, self.work / name)
            quality = json.dumps(asdict(record.quality), sort_keys=True)
            (self.work / QUALITY_FILE).write_text(quality, encoding="utf-8")


def _separate(makings: Sequence[_Making], separator: Separator) -> None:
    """One call of the separator; a clip whose mix it cannot take, even alone, has failed."""
    began = time.perf_counter()
    identity = separator.identity
    try:
        separate([making.work for making in makings], separator)
    except InputError as error:
        if len(makings) > 1:
            for making in makings:
                _separate([making], separator)
            return
        makings[0].fail(error)
    for making in makings:
        making.seconds["stems"] = (time.perf_counter() - began) / len(makings)
        making.record = replace(
            making.record,
            separator=identity.name,
            separator_version=identity.version,
            separator_weights=identity.weights,
        )


def new_record(task: ClipTask, settings: BuildSettings) -> ClipRecord:
    """What is known of a clip before it is looked at."""
    identifier = source_id(task.section.source)
    return ClipRecord(
        key=task.key,
        source=task.section.source,
        source_id=identifier,
        licence=task.section.licence,
        start_s=task.start_s,
        end_s=task.end_s,
        split=split_of(identifier, val_share=settings.val_share, test_share=settings.test_share),
        fps=settings.fps,
        sample_rate=settings.sample_rate,
    )


@cache
def _separator(name: str, stems_dir: str | None) -> Separator:
    return make_separator(name, stems_dir=None if stems_dir is None else Path(stems_dir))


@cache
def _codec(name: str, n_codebooks: int) -> Codec:
    return load_codec(name, n_codebooks)
