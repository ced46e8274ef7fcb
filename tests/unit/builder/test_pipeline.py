"""What the builder decides, with workers that do as they are told."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dancetomusic.builder import pipeline
from dancetomusic.builder.batch import build_clips
from dancetomusic.builder.settings import BuildSettings
from dancetomusic.builder.sources import Section, read_folder
from dancetomusic.builder.stages.cut import cut
from dancetomusic.data.clip import read_record
from dancetomusic.data.manifest import open_manifest
from dancetomusic.errors import CheckpointError, ConfigError, InputError
from dancetomusic.parallel import Engine, WorkerDied
from tests.clip_factory import add_clip
from tests.dance_factory import small_copy

SETTINGS = BuildSettings(max_seq_len=2.0, separator="hpss")


class Workers(Engine):
    """Runs tasks at once, but dies of every batch that holds a clip of some start."""

    workers = 2

    def __init__(self, deadly_start_s: float | None = None) -> None:
        self.deadly_start_s = deadly_start_s
        self.made: list[str] = []

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            if function is build_clips:
                if any(task.start_s == self.deadly_start_s for task in arguments[0]):
                    raise WorkerDied("the worker ended twice")
                self.made += [task.key for task in arguments[0]]
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, demo_dir: Path) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    small_copy(demo_dir / "steps_128bpm.mp4", folder / "steps.mp4", seconds=4.1)
    return folder


@pytest.mark.slow
def test_a_clip_that_kills_its_worker_is_recorded_and_the_others_are_made(
    folder: Path, tmp_path: Path
) -> None:
    summary = pipeline.build(read_folder(folder), tmp_path / "set", SETTINGS, Workers(2.0))
    assert summary.clips == {"accepted": 1, "failed": 1}
    records = {record.start_s: record for record in open_manifest(tmp_path / "set").records()}
    assert records[0.0].status == "accepted"
    assert (records[2.0].status, records[2.0].reason) == ("failed", "the worker ended twice")
    # It is not tried again by itself, but when asked for.
    again = Workers()
    pipeline.build(read_folder(folder), tmp_path / "set", SETTINGS, again)
    assert again.made == []
    pipeline.build(read_folder(folder), tmp_path / "set", SETTINGS, again, retry_failed=True)
    assert again.made == [records[2.0].key]
    assert {record.status for record in open_manifest(tmp_path / "set").records()} == {"accepted"}


def test_failures_stay_in_later_summaries(tmp_path: Path) -> None:
    gone = Section("gone.mp4", path=str(tmp_path / "gone.mp4"))
    first = pipeline.build([gone], tmp_path / "set", SETTINGS, Workers())
    later = pipeline.build([gone], tmp_path / "set", SETTINGS, Workers())
    assert later.clips == {} and later.skipped == 1
    assert later.failed == first.failed == first.reasons
    assert list(later.failed.values()) == [1]


@pytest.mark.parametrize(
    ("sources", "val_share", "expected"),
    [
        (("a", "b", "c"), 0.15, {"train": 2, "val": 1}),
        (("a", "b", "c"), 0.0, {"train": 3}),
        (("a",), 0.15, {"train": 1}),
    ],
)
def test_a_small_set_has_something_to_validate_on(
    tmp_path: Path, sources: tuple[str, ...], val_share: float, expected: dict[str, int]
) -> None:
    for source in sources:
        add_clip(tmp_path, source)
        add_clip(tmp_path, source, 1.0, status="refused", reason="no sound")
    gate = replace(SETTINGS.gate, max_hash_distance=-1)  # their pictures are alike
    pipeline.finish_manifest(tmp_path, replace(SETTINGS, val_share=val_share, gate=gate))
    counts = open_manifest(tmp_path).counts()
    assert {split: statuses["accepted"] for split, statuses in counts.items()} == expected
    assert {split: statuses["refused"] for split, statuses in counts.items()} == expected
    by_source = {(r.source, r.split) for r in open_manifest(tmp_path).records()}
    assert len(by_source) == len(sources)


def test_a_source_that_falls_into_val_leaves_the_others_where_they_are(tmp_path: Path) -> None:
    add_clip(tmp_path, "a"), add_clip(tmp_path, "b"), add_clip(tmp_path, "c", split="val")
    pipeline.finish_manifest(tmp_path, SETTINGS)
    splits = {record.source: record.split for record in open_manifest(tmp_path).records()}
    assert splits == {"a": "train", "b": "train", "c": "val"}


def test_a_codec_that_cannot_be_had_is_refused_before_any_work(tmp_path: Path) -> None:
    workers = Workers()
    settings = replace(SETTINGS, codec=str(tmp_path / "no_codec"))
    with pytest.raises(CheckpointError):
        pipeline.build([Section("a.mp4", path="a.mp4")], tmp_path / "set", settings, workers)
    assert not (tmp_path / "set" / "sections").exists()


@pytest.mark.slow
def test_sections_that_overlap_make_each_clip_once(folder: Path, tmp_path: Path) -> None:
    (section,) = read_folder(folder)
    sections = [section, replace(section, end_s=4.0), replace(section, start_s=2.0), section]
    workers = Workers()
    pipeline.build(sections, tmp_path / "set", SETTINGS, workers)
    assert len(workers.made) == len(set(workers.made)) == 2


@pytest.mark.slow
def test_a_stricter_gate_marks_what_is_there(folder: Path, tmp_path: Path) -> None:
    pipeline.build(read_folder(folder), tmp_path / "set", SETTINGS, Workers())
    strict = replace(SETTINGS, gate=replace(SETTINGS.gate, min_range_m=9.0))
    workers = Workers()
    pipeline.build(read_folder(folder), tmp_path / "set", strict, workers)
    assert workers.made == []
    for record in open_manifest(tmp_path / "set").records():
        assert record.status == "refused" and "range of the limbs" in record.reason


@pytest.mark.slow
def test_a_damaged_record_is_made_again(folder: Path, tmp_path: Path) -> None:
    pipeline.build(read_folder(folder), tmp_path / "set", SETTINGS, Workers())
    record = next(open_manifest(tmp_path / "set").records())
    directory = tmp_path / "set" / "clips" / record.key[:2] / record.key
    (directory / "clip.json").write_text("{")
    workers = Workers()
    pipeline.build(read_folder(folder), tmp_path / "set", SETTINGS, workers)
    assert workers.made == [record.key]
    assert read_record(directory) == record


def test_a_section_beyond_the_video_or_too_short_fails_with_the_reason(
    folder: Path, tmp_path: Path
) -> None:
    (section,) = read_folder(folder)
    sections = [
        replace(section, start_s=100.0),
        replace(section, start_s=3.0),
        Section("gone.mp4", path=str(folder / "gone.mp4")),
    ]
    summary = pipeline.build(sections, tmp_path / "set", SETTINGS, Workers())
    assert summary.clips == {"failed": 3}
    reasons = " ".join(record.reason for record in open_manifest(tmp_path / "set").records())
    for part in ("begins at 100 s", "the section lasts 1", "cannot read gone.mp4"):
        assert part in reasons
    assert str(folder) not in reasons


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (0.0, 10.0, [(0.0, 5.0), (5.0, 10.0)]),
        (40.0, 49.98, [(40.0, 45.0), (45.0, 50.0)]),
        (0.0, 9.9, [(0.0, 5.0)]),
        (1.0, 6.0, [(1.0, 6.0)]),
    ],
)
def test_clips_lie_side_by_side(
    start_s: float, end_s: float, expected: list[tuple[float, float]]
) -> None:
    assert cut(start_s, end_s, 5.0) == expected


def test_what_is_too_short_or_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match=r"lasts 3.00 s, a clip 5 s"):
        cut(0.0, 3.0, 5.0)
    for wrong in ({"max_seq_len": 0.5}, {"val_share": 0.9, "test_share": 0.2}, {"fps": 0.0}):
        with pytest.raises(ConfigError):
            BuildSettings(**wrong)
