"""Music for every video of a folder, whatever becomes of single ones."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from dancetomusic import __version__
from dancetomusic.checkpoint import CONFIG_FILE, TENSORS_FILE
from dancetomusic.errors import (
    CheckpointError,
    DanceToMusicError,
    DependencyError,
    InputError,
    OutputError,
)
from dancetomusic.generate.one import DanceToMusic
from dancetomusic.generate.result import OUTPUT_SUFFIXES
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.folder import FOLDER_SUFFIXES, find_videos
from dancetomusic.io.lock import exclusive
from dancetomusic.models.registry import DEFAULT_MODEL
from dancetomusic.parallel import Engine, WorkerDied
from dancetomusic.released import released_checkpoints

logger = logging.getLogger(__name__)

REPORT_FILE = "report.csv"
JOURNAL_FILE = ".generated.jsonl"

MADE, SKIPPED, FAILED = "made", "skipped", "failed"


@dataclass(frozen=True)
class VideoResult:
    """What became of one video.

    Attributes:
        status: ``made``; ``skipped``, for it was made by an earlier run; or ``failed``.
        duration_s: Length of the music, in seconds; NaN without.
        bpm: Its tempo; NaN without.
        beats: Where its beats come from, and how sure they are; empty without.
    """

    video: str
    status: str
    duration_s: float = math.nan
    bpm: float = math.nan
    beats: str = ""
    reason: str = ""


@dataclass(frozen=True)
class _Settings:
    """All that decides the music of a given video."""

    checkpoint: str
    codec: str | None
    overlay_skeleton: bool
    mix_original: float
    click: bool
    options: dict[str, Any]


def generate_folder(
    source_dir: Path | str,
    output_dir: Path | str,
    engine: Engine,
    *,
    suffixes: Sequence[str] = (".wav",),
    checkpoint: str | None = None,
    codec: str | None = None,
    overlay_skeleton: bool = False,
    mix_original: float = 0.0,
    click: bool = False,
    options: Mapping[str, Any] | None = None,
    on_finished: Callable[[VideoResult, int], None] | None = None,
) -> list[VideoResult]:
    """Make music for every video in a folder and the folders below it.

    ``dances/solo/a.mov`` becomes ``solo/a.wav`` in the output folder. Where videos differ in
    their suffix only, each keeps its own: ``a.mov.wav`` and ``a.mp4.wav``. A video that
    cannot be used is reported and the others continue. ``report.csv`` in the output folder says
    what became of each, in the order of their names.

    What an earlier run finished is left as it is if model, options, package version and the
    video (by size and modification time) are the same; it is made again otherwise, and so is
    all that failed. Each file is the same whichever engine makes it and in whatever order.

    An interrupt lets the videos in hand finish, writes the report, and is raised again.

    Args:
        source_dir: Searched as ``find_videos`` does; the output folder in it is left out.
        output_dir: Made if absent. One process at a time may work on it.
        engine: Each of its workers loads the model once and computes in one thread.
        suffixes: A file is made with each, of ``OUTPUT_SUFFIXES``.
        checkpoint: As for ``DanceToMusic.from_pretrained``.
        codec: As for ``DanceToMusic.from_pretrained``.
        overlay_skeleton: As for ``Music.save``, for video suffixes.
        mix_original: As for ``Music.save``.
        click: As for ``Music.save``.
        options: Keyword arguments of ``DanceToMusic.generate``.
        on_finished: Called with the result of each video, and how many videos there are.

    Returns:
        One result a video, in the order of their names.

    Raises:
        InputError: If the source folder is missing or has no videos, or the output folder is
            or holds the source folder.
        OutputError: If a suffix is unknown, or the output folder cannot be written or is
            being worked on.
        CheckpointError: If the model cannot be loaded.
        DependencyError: If a package or download is missing.
    """
    source, output = Path(source_dir).absolute(), Path(output_dir).absolute()
    for suffix in suffixes:
        if suffix not in OUTPUT_SUFFIXES:
            raise OutputError(
                f"output suffix is {suffix!r}", f"Use one of {', '.join(OUTPUT_SUFFIXES)}."
            )
    if source.resolve().is_relative_to(output.resolve()):
        raise InputError(
            f"the videos in {source} lie in the output folder {output}", "Name another for output."
        )
    videos = find_videos(source, leave_out=output)
    if not videos:
        raise InputError(
            f"{source} has no videos", f"Put some there: {', '.join(sorted(FOLDER_SUFFIXES))}."
        )
    settings = _Settings(
        str(_absolute_if_directory(checkpoint or DEFAULT_MODEL)),
        None if codec is None else str(_absolute_if_directory(codec)),
        overlay_skeleton,
        mix_original,
        click,
        dict(options or {}),
    )
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot make {output} ({error.strerror})", "Choose another output path."
        ) from error
    with exclusive(output):
        names = _output_names([video.relative_to(source) for video in videos], suffixes)
        folder = _Folder(source, output, names, settings)
        return folder.generate(engine, on_finished)


class _Folder:
    """One run over a folder: what is done, and what is to be done."""

    def __init__(
        self, source: Path, output: Path, names: dict[Path, list[str]], settings: _Settings
    ) -> None:
        self._source, self._output = source, output
        self._names = names
        self._settings = settings
        self._settings_digest = _digest(
            __version__,
            asdict(settings),
            _weights(settings.checkpoint),
            _weights(settings.codec or "codec"),
        )
        self._journal = _read_journal(output / JOURNAL_FILE)
        self._results: dict[Path, VideoResult] = {}

    def generate(
        self, engine: Engine, on_finished: Callable[[VideoResult, int], None] | None
    ) -> list[VideoResult]:
        def record(video: Path, result: VideoResult) -> None:
            self._results[video] = result
            if on_finished is not None:
                on_finished(result, len(self._names))

        running: dict[Future[Any], tuple[Path, str]] = {}
        try:
            for video in self._names:
                digest = self._digest(video)
                if (done := self._done(video, digest)) is not None:
                    record(video, done)
                    continue
                outputs = [str(self._output / name) for name in self._names[video]]
                future = engine.submit(
                    make_music, str(self._source / video), outputs, self._settings
                )
                running[future] = video, digest
            for future in as_completed(running):
                record(running[future][0], self._finish(future, *running[future]))
        except BaseException:
            engine.close()
            for future, (video, digest) in running.items():
                if video not in self._results and _succeeded(future):
                    self._results[video] = self._finish(future, video, digest)
            raise
        finally:
            results = [self._results[video] for video in self._names if video in self._results]
            _write_report(self._output / REPORT_FILE, results)
        return results

    def _digest(self, video: Path) -> str:
        """Of all that decides the files of a video; empty if it has vanished."""
        try:
            status = (self._source / video).stat()
        except OSError:
            return ""
        return _digest(self._settings_digest, status.st_size, status.st_mtime_ns)

    def _done(self, video: Path, digest: str) -> VideoResult | None:
        """The result of an earlier run, if all its files are there and of the same making."""
        entry: dict[str, Any] = {}
        for name in self._names[video]:
            entry = self._journal.get(name, {})
            if not digest or entry.get("digest") != digest or not (self._output / name).is_file():
                return None
        return VideoResult(
            video.as_posix(), SKIPPED, entry["duration_s"], entry["bpm"], entry.get("beats", "")
        )

    def _finish(self, future: Future[Any], video: Path, digest: str) -> VideoResult:
        name = video.as_posix()
        try:
            duration_s, bpm, beats = future.result()
        except (CheckpointError, DependencyError):
            raise  # no video's fault
        except (DanceToMusicError, WorkerDied) as error:
            return VideoResult(name, FAILED, reason=self._one_line(str(error)))
        except Exception as error:
            logger.exception("%s failed", name)
            reason = self._one_line(f"{type(error).__name__}: {error}")
            return VideoResult(name, FAILED, reason=reason)
        for output in self._names[video]:
            entry = {
                "output": output,
                "digest": digest,
                "duration_s": duration_s,
                "bpm": bpm,
                "beats": beats,
            }
            _append(self._output / JOURNAL_FILE, entry)
        return VideoResult(name, MADE, duration_s, bpm, beats)

    def _one_line(self, text: str) -> str:
        """With names relative to the folders, so that reports of the same videos are the same."""
        for folder in (self._source, self._output):
            text = text.replace(f"{folder}/", "")
        return " ".join(text.split())


def _succeeded(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def make_music(video: str, outputs: list[str], settings: _Settings) -> tuple[float, float, str]:
    """Make music for one video in this process; gives its length in seconds, tempo and source.

    Raises:
        DanceToMusicError: As ``DanceToMusic.generate`` and ``Music.save`` do.
    """
    model = _loaded(settings.checkpoint, settings.codec)
    music = model.generate(video, workers=1, **settings.options)
    for output in map(Path, outputs):
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make {output.parent} ({error.strerror})", "Choose another output path."
            ) from error
        music.save(
            output,
            overlay_skeleton=settings.overlay_skeleton,
            mix_original=settings.mix_original,
            click=settings.click,
        )
    rhythm = music.rhythm
    return music.waveform.duration_s, rhythm.bpm, f"{rhythm.source}, {rhythm.verdict}"


@lru_cache(maxsize=1)
def _loaded(checkpoint: str, codec: str | None) -> DanceToMusic:
    return DanceToMusic.from_pretrained(checkpoint, codec, threads=1)


def _output_names(videos: Sequence[Path], suffixes: Sequence[str]) -> dict[Path, list[str]]:
    """Relative output paths of each video: by its stem, or its whole name if stems collide."""
    stems = Counter(video.with_suffix("").as_posix().casefold() for video in videos)
    names = {}
    for video in videos:
        stem = video.with_suffix("").as_posix()
        base = stem if stems[stem.casefold()] == 1 else video.as_posix()
        names[video] = [base + suffix for suffix in dict.fromkeys(suffixes)]
    return names


def _absolute_if_directory(name: str) -> Path | str:
    return Path(name).absolute() if Path(name).is_dir() else name


def _weights(name: str) -> str:
    """Digest of a checkpoint's files; the name itself if it is none on this machine."""
    path = Path(name) if Path(name).is_dir() else released_checkpoints().get(name)
    if path is None:
        return name
    digest = hashlib.sha256()
    for file in (path / CONFIG_FILE, path / TENSORS_FILE):
        if not file.is_file():
            raise CheckpointError(f"{path} has no {file.name}", "Give a complete checkpoint.")
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _digest(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _read_journal(path: Path) -> dict[str, dict[str, Any]]:
    """Entries by output, the last of each; the file is left with these alone.

    A line that was cut off when the power failed is no entry.
    """
    if not path.is_file():
        return {}
    entries = {}
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            entry = json.loads(line)
            entries[entry["output"]] = entry
        except (ValueError, KeyError, TypeError):
            continue
    with atomic_output(path) as temporary:
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in entries.values()))
    return entries


def _append(path: Path, entry: Mapping[str, Any]) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    except OSError as error:
        raise OutputError(
            f"writing {path} failed ({error.strerror})", "Free some disk space and run it again."
        ) from error


def _write_report(path: Path, results: Sequence[VideoResult]) -> None:
    """The state of the folder: the same whether it was reached in one run or in several."""
    with (
        atomic_output(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("video", "status", "duration_s", "bpm", "beats", "reason"))
        for result in results:
            status = FAILED if result.status == FAILED else MADE
            numbers = (
                "" if math.isnan(value) else f"{value:.2f}"
                for value in (result.duration_s, result.bpm)
            )
            rows.writerow((result.video, status, *numbers, result.beats, result.reason))
