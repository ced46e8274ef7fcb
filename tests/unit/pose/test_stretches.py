from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np
import pytest

from dancetomusic.errors import VideoError
from dancetomusic.io.video import read_frames
from dancetomusic.pose import stretches
from dancetomusic.pose.landmarks import LANDMARK
from dancetomusic.pose.mediapipe import Detection
from dancetomusic.pose.stretches import Sight, Stretch, find_people, join, plan_stretches
from tests.video_factory import cut_short, read_number, write_video

FPS = 24.0


def person(x: float, mark: float = 0.0) -> Detection:
    image = np.zeros((33, 3), np.float32)
    image[:, 0] = x
    image[:, 1] = np.linspace(0.1, 0.9, 33)
    for side, sign in (("left", 1), ("right", -1)):
        image[LANDMARK[f"{side}_hip"], 0] += sign * 0.03
    world = np.full((33, 3), mark, np.float32)
    return Detection(image, world, np.ones(33, np.float32), 1.0)


class NumberReader:
    """Stands for the detector: finds one person, marked with the number that the picture shows."""

    looks_for_many = False

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __enter__(self) -> NumberReader:
        return self

    def __exit__(
        self, a: type[BaseException] | None, b: BaseException | None, c: TracebackType | None
    ) -> None:
        pass

    def detect(self, frame: np.ndarray) -> list[Detection]:
        return [person(0.5, read_number(frame))]


def numbers(frames: Sequence[Sequence[Detection]]) -> list[int]:
    return [round(float(found[0].world[0, 0])) for found in frames]


@pytest.mark.parametrize(
    ("codec", "suffix", "rate"),
    [("libx264", ".mp4", Fraction(30)), ("libvpx-vp9", ".webm", Fraction(24000, 1001))],
)
def test_the_stretches_together_are_the_frames_of_the_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, suffix: str, rate: Fraction
) -> None:
    monkeypatch.setattr(stretches, "PoseDetector", NumberReader)
    video = write_video(
        tmp_path / f"a{suffix}",
        fps=rate,
        n_frames=round(14 * rate),
        codec=codec,
        gop=round(2 * rate),
        options={"sc_threshold": "0"} if codec == "libx264" else None,
    )
    planned = plan_stretches(video, FPS)
    assert [round(s.first / FPS) for s in planned] == [0, 6, 12]
    assert planned[0].warm_up == 0 and planned[-1].n_frames is None
    done: list[int] = []
    frames = find_people(video, FPS, workers=1, on_progress=done.append)
    assert numbers(frames) == [read_number(picture) for picture in read_frames(video, FPS)]
    assert done == sorted(done)


def test_a_video_without_key_pictures_is_one_stretch(tmp_path: Path) -> None:
    video = write_video(
        tmp_path / "a.mp4", fps=12, n_frames=144, gop=999, options={"sc_threshold": "0"}
    )
    assert plan_stretches(video, FPS) == [Stretch(0, 0, None)]


def test_a_video_that_is_cut_short_gives_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stretches, "PoseDetector", NumberReader)
    whole = write_video(tmp_path / "a.mkv", fps=30, n_frames=14 * 30, gop=60)
    short = cut_short(whole, tmp_path / "b.mkv", 9.0)
    frames = find_people(short, FPS, workers=1)
    assert numbers(frames) == [read_number(picture) for picture in read_frames(short, FPS)]
    with pytest.raises(VideoError):
        find_people(tmp_path / "none.mp4", FPS, workers=1)


PLAN = [Stretch(0, 0, 14), Stretch(10, 4, 14), Stretch(20, 4, 14), Stretch(30, 4, None)]
LENGTHS = (14, 14, 14, 10)


def looking(
    seen: Callable[[int, bool], Sight], begun: list[tuple[int, bool]]
) -> Callable[[int, Stretch, bool], Callable[[], Sight]]:
    def begin(number: int, stretch: Stretch, many: bool) -> Callable[[], Sight]:
        begun.append((number, many))
        return lambda: seen(number, many)

    return begin


@pytest.mark.parametrize("ahead", [0, 2, 6])
def test_several_are_looked_for_once_they_were_seen(ahead: int) -> None:
    def seen(number: int, many: bool) -> Sight:
        people = [person(0.3, number)] + ([person(0.8, number)] if many else [])
        return Sight([people] * LENGTHS[number], 0 if many else 3 if number == 1 else None)

    begun: list[tuple[int, bool]] = []
    frames = join(PLAN, looking(seen, begun), ahead=ahead, many=False)
    assert [len(found) for found in frames] == [1] * 24 + [2] * 16
    assert numbers(frames) == [0] * 14 + [1] * 10 + [2] * 10 + [3] * 6
    assert sum(many for _, many in begun) == 2  # none is looked at for nothing


def test_another_body_after_a_joint_is_looked_at_for_several() -> None:
    def seen(number: int, many: bool) -> Sight:
        one, other = person(0.2), person(0.8)
        people = [one, other] if many else [other if number == 2 else one]
        return Sight([people] * LENGTHS[number], 0 if many else None)

    begun: list[tuple[int, bool]] = []
    frames = join(PLAN, looking(seen, begun), ahead=1, many=False)
    assert [number for number, many in begun if many] == [2, 3]
    assert all(min(p.image[0, 0] for p in found) < 0.3 for found in frames)


def test_nothing_follows_a_stretch_that_ends_early() -> None:
    def seen(number: int, many: bool) -> Sight:
        length = 8 if number == 1 else LENGTHS[number]
        return Sight([[person(0.5, number)]] * length, None)

    frames = join(PLAN, looking(seen, []), ahead=2, many=False)
    assert numbers(frames) == [0] * 14 + [1] * 4
