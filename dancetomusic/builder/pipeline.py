"""Sections of videos become a set of clips: what is downloaded when, what runs where, what is left.

Videos are downloaded by threads of this process; everything else is done by the workers of an
engine, in batches of clips. A set can be interrupted at any moment and built on later: a clip
is there whole or not at all, and what is there is not made again.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any

from dancetomusic.builder.batch import (
    CLIPS_IN_WORK,
    STOP_FILE,
    WORK,
    ClipReport,
    build_clips,
    new_record,
)
from dancetomusic.builder.download import DownloadError, Fetched, fetch, forget
from dancetomusic.builder.duplicates import find_duplicates
from dancetomusic.builder.quality import refusal
from dancetomusic.builder.settings import BuildSettings, settings_before, settle
from dancetomusic.builder.sources import Section
from dancetomusic.builder.stages.beats import find_song_beats
from dancetomusic.builder.stages.cut import ClipTask, cut
from dancetomusic.builder.stages.standardise import standardise
from dancetomusic.codec.registry import load_codec
from dancetomusic.data.clip import (
    ACCEPTED,
    FAILED,
    REFUSED,
    clip_directory,
    clip_key,
    publish_clip,
    read_record,
    write_record,
)
from dancetomusic.data.manifest import open_manifest, write_manifest
from dancetomusic.errors import DanceToMusicError, InputError, OutputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.lock import exclusive
from dancetomusic.parallel import Engine, WorkerDied
from dancetomusic.stems.choose import choose_separator, make_separator
from dancetomusic.types import RhythmTrack

SECTIONS = "sections"
DOWNLOADS = "downloads"
SOUNDS = "sounds"
PARALLEL_DOWNLOADS = 4

Listener = Callable[[dict[str, Any]], None]
"""Called with each event: ``section``, ``clip`` or ``summary``, as plain values."""


@dataclass(frozen=True)
class Summary:
    """What a build came to.

    Attributes:
        skipped: Of them, those that were finished before.
        clips: Clips of this run by status.
        reasons: Clips and sections of this run that were not accepted, by reason.
        failed: What has failed in the whole set, in this run or before, by reason.
        seconds: Work of this run by stage, summed over workers.
    """

    sections: int
    skipped: int
    clips: dict[str, int]
    reasons: dict[str, int]
    failed: dict[str, int]
    seconds: dict[str, float] = field(default_factory=dict)
    wall_s: float = 0.0


@dataclass(frozen=True)
class _Plan:
    """What is known of a section after it was fetched, kept beside the clips."""

    source: str
    start_s: float
    end_s: float | None
    clips: tuple[tuple[float, float], ...] = ()
    failed: str = ""
    permanent: bool = True


def plan_section(
    section: Section, fetched: Fetched, output: Path, settings: BuildSettings
) -> list[ClipTask]:
    """Standardise the sound of a video, cut the section into clips and find their beats.

    Raises:
        InputError: If the section is too short, or the video cannot be read.
    """
    name = f"{clip_key(str(fetched.path), 0.0, fetched.offset_s)}.flac"
    sound = standardise(fetched.path, output / WORK / SOUNDS / name, settings.sample_rate)
    end_s = fetched.offset_s + fetched.duration_s
    if section.end_s is not None:
        end_s = min(end_s, section.end_s)
    spans = cut(section.start_s, end_s, settings.max_seq_len)
    beats: Sequence[RhythmTrack | None] = [None] * len(spans)
    if sound is not None:
        within = [
            (start_s - fetched.offset_s, end_s - fetched.offset_s) for start_s, end_s in spans
        ]
        beats = find_song_beats(sound, settings.sample_rate, within)
    return [
        ClipTask(
            key=clip_key(section.source, start_s, stop_s),
            section=section,
            start_s=start_s,
            end_s=stop_s,
            media=str(fetched.path),
            sound=None if sound is None else str(sound),
            offset_s=fetched.offset_s,
            beats=track,
        )
        for (start_s, stop_s), track in zip(spans, beats, strict=True)
    ]


def pending_sections(
    sections: Iterable[Section], output: Path, settings: BuildSettings, *, retry_failed: bool
) -> Iterator[tuple[Section, bool]]:
    """Each section with whether there is still something to do for it."""
    for section in sections:
        plan = _read_plan(output, section)
        if plan is None:
            yield section, True
        elif plan.failed:
            yield section, retry_failed or not plan.permanent
        else:
            keys = [clip_key(section.source, *times) for times in plan.clips]
            yield (
                section,
                not all(_is_finished(output, key, settings, retry_failed) for key in keys),
            )


def build(
    sections: Sequence[Section],
    output: Path,
    settings: BuildSettings,
    engine: Engine,
    *,
    retry_failed: bool = False,
    keep_downloads: bool = False,
    on_event: Listener | None = None,
) -> Summary:
    """Make a set of clips of ``sections`` in ``output``, or resume one.

    Args:
        sections: What to make clips of.
        output: The set; made if absent.
        settings: How clips are made. A set that exists must have been made with the same, but
            for the gate, which may be moved, and the downloads.
        engine: Runs the work.
        retry_failed: Try again what failed for good.
        keep_downloads: Leave videos and sounds in the set's work directory.
        on_event: Called with every event.

    Raises:
        ConfigError: If the set was made with other settings.
        OutputError: If the set cannot be written, or another build works on it.
        CheckpointError: If there is no such codec.
        DependencyError: If a separator, codec or MediaPipe does not work.
    """
    load_codec(settings.codec, settings.n_codebooks)  # refused before anything is downloaded
    output = output.absolute()
    try:
        (output / WORK / SOUNDS).mkdir(parents=True, exist_ok=True)
        (output / SECTIONS).mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make the set {output} ({error.strerror})", "Choose another output path."
        ) from error
    with exclusive(output):
        (output / WORK / STOP_FILE).unlink(missing_ok=True)
        settings = settle(output, _with_separator(output, settings))
        run = _Build(
            output,
            settings,
            engine,
            retry_failed=retry_failed,
            keep_downloads=keep_downloads,
            on_event=on_event or (lambda event: None),
        )
        try:
            run.run(sections)
        except KeyboardInterrupt:
            run.stop()
            raise
        finally:
            run.end_downloads()
            finish_manifest(output, settings)
        if not keep_downloads:
            shutil.rmtree(output / WORK, ignore_errors=True)
        return run.summary()


def finish_manifest(output: Path, settings: BuildSettings) -> None:
    """Write the manifest, in which a clip that repeats an earlier one is refused.

    Where no source falls into the share for validation, the one with the lowest id is held out.
    """
    manifest = write_manifest(output)
    keys, hashes = [], []
    for record in manifest.records(status=ACCEPTED):
        keys.append(record.key)
        hashes.append(record.quality.picture_hash)
    repeated = find_duplicates(keys, hashes, max_distance=settings.gate.max_hash_distance)
    overrides: dict[str, dict[str, str]] = {
        key: {"status": REFUSED, "reason": f"repeats clip {first}"}
        for key, first in repeated.items()
    }
    usable: dict[str, str] = {}  # the split of each source that has clips
    for record in manifest.records(status=ACCEPTED):
        if record.key not in repeated:
            usable[record.source_id] = record.split
    in_training = sorted(source for source, split in usable.items() if split == "train")
    if settings.val_share and "val" not in usable.values() and len(in_training) > 1:
        for record in manifest.records():
            if record.source_id == in_training[0]:
                overrides.setdefault(record.key, {})["split"] = "val"
    if overrides:
        write_manifest(output, overrides=overrides)


class _Build:
    """The state of one run."""

    def __init__(
        self,
        output: Path,
        settings: BuildSettings,
        engine: Engine,
        *,
        retry_failed: bool,
        keep_downloads: bool,
        on_event: Listener,
    ) -> None:
        self.output, self.settings, self.engine = output, settings, engine
        self.retry_failed, self.keep_downloads = retry_failed, keep_downloads
        self.notify = on_event
        self.stopping = Event()
        self.store = output / WORK / DOWNLOADS
        self.batch_size = make_separator(
            settings.separator, stems_dir=_folder(settings.stems_dir)
        ).batch_size
        self.downloads = ThreadPoolExecutor(PARALLEL_DOWNLOADS, thread_name_prefix="download")
        self.tasks: deque[ClipTask] = deque()
        self.fetching: dict[Future[Any], Section] = {}
        self.planning: dict[Future[Any], Section] = {}
        self.making: dict[Future[Any], list[ClipTask]] = {}
        self.in_hand: set[str] = set()  # keys of tasks and of what is being made
        self.left: Counter[str] = Counter()  # what is still to be made of each source
        self.statuses: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.n_sections = self.n_skipped = 0
        self.began = time.monotonic()

    def run(self, sections: Sequence[Section]) -> None:
        first_of_key = {_plan_key(section): section for section in reversed(sections)}
        sections = list(first_of_key.values())[::-1]
        self.n_sections = len(sections)
        for section in sections:
            self.left[section.source] += 1
        waiting = pending_sections(
            sections, self.output, self.settings, retry_failed=self.retry_failed
        )
        more = True
        while True:
            more = more and self._fetch_more(waiting)
            self._make_more(flush=not (more or self.fetching or self.planning))
            running = [*self.fetching, *self.planning, *self.making]
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                self._take(future)

    def stop(self) -> None:
        """Let the clips in hand be finished, and nothing else be begun."""
        (self.output / WORK / STOP_FILE).touch()
        self.end_downloads()
        for future in [*self.planning, *self.making]:
            future.cancel()
        for future in wait([f for f in self.making if not f.cancelled()]).done:
            if future.exception() is None:
                for report in future.result():
                    self._count(report)

    def end_downloads(self) -> None:
        """Begin no other download, and let those that wait for another attempt give up."""
        self.stopping.set()
        self.downloads.shutdown(wait=False, cancel_futures=True)

    def summary(self) -> Summary:
        failed = open_manifest(self.output).records(status=FAILED)
        summary = Summary(
            self.n_sections,
            self.n_skipped,
            dict(self.statuses),
            dict(self.reasons.most_common()),
            dict(Counter(record.reason for record in failed).most_common()),
            {stage: round(seconds, 3) for stage, seconds in self.seconds.items()},
            round(time.monotonic() - self.began, 3),
        )
        self.notify({"event": "summary", **asdict(summary)})
        return summary

    def _fetch_more(self, waiting: Iterator[tuple[Section, bool]]) -> bool:
        """Begin downloads while there is room; false when no section is left."""
        room = 4 * self.batch_size * self.engine.workers
        while len(self.fetching) < 2 * PARALLEL_DOWNLOADS and len(self.tasks) < room:
            section, pending = next(waiting, (None, False))
            if section is None:
                return False
            if pending:
                future = self.downloads.submit(self._fetch, section)
                self.fetching[future] = section
            else:
                self.n_skipped += 1
                self._let_go(section)
                self.notify({"event": "section", "source": section.source, "status": "done before"})
        return True

    def _fetch(self, section: Section) -> tuple[Fetched, float]:
        began = time.perf_counter()
        fetched = fetch(section, self.store, self.settings.download, sleep=self._sleep)
        return fetched, time.perf_counter() - began

    def _sleep(self, seconds: float) -> None:
        if self.stopping.wait(seconds):
            raise DownloadError("the build was stopped", "Run it again.", permanent=False)

    def _make_more(self, *, flush: bool) -> None:
        """Begin batches while there is room; a last one may be smaller than the others."""
        while len(self.making) < 2 * self.engine.workers and (
            len(self.tasks) >= self.batch_size or (flush and self.tasks)
        ):
            n_tasks = min(self.batch_size, len(self.tasks))
            self._make([self.tasks.popleft() for _ in range(n_tasks)])

    def _make(self, tasks: list[ClipTask]) -> None:
        future = self.engine.submit(build_clips, tasks, self.output, self.settings)
        self.making[future] = tasks

    def _take(self, future: Future[Any]) -> None:
        if future in self.fetching:
            self._take_fetched(future, self.fetching.pop(future))
        elif future in self.planning:
            self._take_planned(future, self.planning.pop(future))
        else:
            self._take_made(future, self.making.pop(future))

    def _take_fetched(self, future: Future[Any], section: Section) -> None:
        error = future.exception()
        if error is not None:
            permanent = getattr(error, "permanent", True)
            self._give_up(section, _reason(error), permanent=permanent)
            return
        fetched, seconds = future.result()
        self.seconds["download"] += seconds
        future = self.engine.submit(plan_section, section, fetched, self.output, self.settings)
        self.planning[future] = section

    def _take_planned(self, future: Future[Any], section: Section) -> None:
        error = future.exception()
        if error is not None:
            self._give_up(section, _reason(error))
            return
        tasks = future.result()
        self._withdraw_failure(section)
        _write_plan(
            self.output,
            section,
            _Plan(
                section.source,
                section.start_s,
                section.end_s,
                clips=tuple((task.start_s, task.end_s) for task in tasks),
            ),
        )
        fresh = [
            task
            for task in tasks
            if task.key not in self.in_hand
            and not _is_finished(self.output, task.key, self.settings, self.retry_failed)
        ]
        self.in_hand.update(task.key for task in fresh)
        self.left[section.source] += len(fresh)
        self._let_go(section)
        self.tasks.extend(fresh)
        self.notify(
            {
                "event": "section",
                "source": section.source,
                "start_s": section.start_s,
                "status": "cut",
                "clips": len(fresh),
                "clips_done_before": len(tasks) - len(fresh),
            }
        )

    def _take_made(self, future: Future[Any], tasks: list[ClipTask]) -> None:
        error = future.exception()
        if error is None:
            for report in future.result():
                self._count(report)
        else:
            reason = _reason(error)
            if len(tasks) > 1:
                for task in tasks:
                    self._make([task])
                return
            record = replace(new_record(tasks[0], self.settings), status=FAILED, reason=reason)
            self._publish(record)
            self._count(ClipReport(record.key, record.source, FAILED, reason))
        for task in tasks:
            self.in_hand.discard(task.key)
            self._let_go(task.section)

    def _count(self, report: ClipReport) -> None:
        self.statuses[report.status] += 1
        if report.reason:
            self.reasons[report.reason] += 1
        self.seconds.update(report.seconds)
        self.notify({"event": "clip", **asdict(report)})

    def _give_up(self, section: Section, reason: str, *, permanent: bool = True) -> None:
        """Record a section of which no clip can be made."""
        if section.path is not None:
            reason = reason.replace(section.path, section.source)
        end_s = section.start_s if section.end_s is None else section.end_s
        task = ClipTask(_placeholder(section), section, section.start_s, end_s)
        self._publish(replace(new_record(task, self.settings), status=FAILED, reason=reason))
        _write_plan(
            self.output,
            section,
            _Plan(
                section.source, section.start_s, section.end_s, failed=reason, permanent=permanent
            ),
        )
        self.statuses[FAILED] += 1
        self.reasons[reason] += 1
        self._let_go(section)
        self.notify(
            {
                "event": "section",
                "source": section.source,
                "start_s": section.start_s,
                "status": FAILED,
                "reason": reason,
            }
        )

    def _publish(self, record: Any) -> None:
        work = self.output / WORK / CLIPS_IN_WORK / record.key
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        write_record(work, record)
        publish_clip(work, self.output)

    def _withdraw_failure(self, section: Section) -> None:
        """Remove the record of an earlier failure of a section that now has clips."""
        plan = _read_plan(self.output, section)
        if plan is not None and plan.failed:
            shutil.rmtree(clip_directory(self.output, _placeholder(section)), ignore_errors=True)

    def _let_go(self, section: Section) -> None:
        """Forget the download of a source when nothing more is to be made of it."""
        self.left[section.source] -= 1
        if not self.left[section.source]:
            del self.left[section.source]
            if not self.keep_downloads:
                forget(section, self.store)


def _reason(error: BaseException) -> str:
    """Why a section or a clip failed, on one line.

    Raises:
        BaseException: ``error`` itself, if it is of the build and not of one video.
    """
    if isinstance(error, DownloadError | InputError):
        reason = error.problem
    elif isinstance(error, DanceToMusicError) or not isinstance(error, Exception):
        raise error
    else:
        reason = str(error) if isinstance(error, WorkerDied) else f"unexpected: {error!r}"
    return " ".join(reason.split())


def _placeholder(section: Section) -> str:
    """Key under which a section that failed as a whole is recorded."""
    return clip_key(
        section.source, section.start_s, section.start_s if section.end_s is None else section.end_s
    )


def _is_finished(output: Path, key: str, settings: BuildSettings, retry_failed: bool) -> bool:
    """Whether a clip need not be made again; one that the gate now refuses is marked so."""
    directory = clip_directory(output, key)
    if not directory.is_dir():
        return False
    try:
        record = read_record(directory)
    except InputError:
        return False
    if record.status == FAILED:
        return not retry_failed
    reason = refusal(record.quality, settings.gate)
    if record.status == REFUSED:
        return bool(reason)
    if reason:
        write_record(directory, replace(record, status=REFUSED, reason=reason))
    return True


def _plan_key(section: Section) -> str:
    end_s = -1.0 if section.end_s is None else section.end_s
    return clip_key(section.source, section.start_s, end_s)


def _plan_path(output: Path, section: Section) -> Path:
    key = _plan_key(section)
    return output / SECTIONS / key[:2] / f"{key}.json"


def _read_plan(output: Path, section: Section) -> _Plan | None:
    try:
        values = json.loads(_plan_path(output, section).read_text(encoding="utf-8"))
        values["clips"] = tuple((float(start), float(end)) for start, end in values["clips"])
        return _Plan(**values)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _write_plan(output: Path, section: Section, plan: _Plan) -> None:
    path = _plan_path(output, section)
    path.parent.mkdir(exist_ok=True)
    with atomic_output(path) as temporary:
        temporary.write_text(json.dumps(asdict(plan), sort_keys=True), encoding="utf-8")


def _folder(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def _with_separator(output: Path, settings: BuildSettings) -> BuildSettings:
    """The settings with what ``auto`` stands for, after a trial of the separator."""
    before = settings_before(output).get("separator")
    if settings.separator == "auto" and before:
        settings = replace(settings, separator=before)
    separator = choose_separator(settings.separator, stems_dir=_folder(settings.stems_dir))
    return replace(settings, separator=separator.identity.name)
