"""People in a video, looked for in several stretches of it at once.

A stretch begins at a key picture, so that nothing is decoded in vain. What is found counts after
``WARM_UP_S``, and the stretch before goes on until then. Where stretches begin depends on the
video alone: the number of workers changes nothing in what is found.
"""

from __future__ import annotations

import logging
import math
import queue
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import wait
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from logging.handlers import QueueHandler
from pathlib import Path
from typing import cast

import numpy as np

from dancetomusic.errors import PoseError, VideoError
from dancetomusic.io.video import key_times, prefetch, read_frames
from dancetomusic.parallel import WorkerDied, open_engine, usable_cpus
from dancetomusic.pose.mediapipe import (
    DETECTION_SIDE,
    SAME_BODY,
    Detection,
    PoseDetector,
    body_distance,
)

STRETCH_S = 5.0
"""Least length of a stretch: shorter ones share more evenly, and warm up more often."""

WARM_UP_S = 0.5
"""So long what the detector sees depends on where it began. After that it differs from itself,
begun elsewhere, by what it always does: 3 to 14 mm, the medians over joints of four dancers."""

_POLL_S = 0.1


@dataclass(frozen=True)
class Stretch:
    """A part of a video that is looked at by itself.

    Attributes:
        first: The first frame that is looked at.
        warm_up: How many frames from there the stretch before gives.
        n_frames: How many are looked at in all; ``None`` for those to the video's end.
    """

    first: int
    warm_up: int
    n_frames: int | None


@dataclass(frozen=True)
class Sight:
    """What was found in a stretch.

    Attributes:
        frames: The people in each frame, those of the warm-up included.
        many_from: The frame, counted from the first, from which several people were looked for;
            ``None`` if only one was.
        log: Warnings that came up in a worker.
    """

    frames: list[list[Detection]]
    many_from: int | None
    log: tuple[logging.LogRecord, ...] = ()


Look = Callable[[Stretch, bool, Callable[[int], bool]], Sight]
"""Looks for several people, or for one, and asks with each frame whether to go on."""

Begin = Callable[[int, Stretch, bool], Callable[[], Sight]]
"""Begins to look at a stretch, given its number; what it returns waits for what is found."""


def find_people(
    video: Path | str,
    fps: float,
    *,
    num_dancers: int = 1,
    workers: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> list[list[Detection]]:
    """The people in each frame of a video, as ``detect_poses`` finds them in its frames.

    Where one person is wanted, several are looked for in a stretch if they were seen before it, or
    if another body is followed in it than before.

    A few more people than wanted are reported where they are seen. By default ``workers`` is one
    process for each processor that this one may use; where one is enough, this process looks
    itself. ``on_progress`` is given the number of frames looked at, which never falls.

    Raises:
        VideoError: If there is no such file, or no picture in it can be decoded.
        PoseError: If a worker dies.
        DependencyError: If MediaPipe cannot be loaded.
    """
    stretches = plan_stretches(video, fps)
    look = partial(_look, str(video), fps, num_dancers)
    report = on_progress or (lambda done: None)
    n_workers = min(workers or usable_cpus(), len(stretches))
    with ExitStack() as stack:
        if n_workers > 1:
            begin = stack.enter_context(_workers(look, n_workers, len(stretches), report))
        else:
            begin = _here(partial(look, overlap=True), len(stretches), report)
        return join(stretches, begin, ahead=2 * (n_workers - 1), many=num_dancers > 1)


def plan_stretches(video: Path | str, fps: float) -> list[Stretch]:
    """The stretches of a video: from key picture to key picture, not too short.

    Raises:
        VideoError: If the video cannot be read.
    """
    starts = [0]
    for time_s in key_times(video):
        frame = math.ceil(time_s * fps)
        if frame - starts[-1] >= STRETCH_S * fps:
            starts.append(frame)
    warm_up = round(WARM_UP_S * fps)
    lengths = [following + warm_up - first for first, following in pairwise(starts)]
    return [
        Stretch(first, warm_up if first else 0, n_frames)
        for first, n_frames in zip(starts, [*lengths, None], strict=True)
    ]


def join(
    stretches: Sequence[Stretch], begin: Begin, *, ahead: int, many: bool
) -> list[list[Detection]]:
    """The people in all frames, from stretches of which ``ahead`` are begun before their turn."""
    frames: list[list[Detection]] = []
    begun: deque[Callable[[], Sight]] = deque()
    for number, stretch in enumerate(stretches):
        while len(begun) <= ahead and (following := number + len(begun)) < len(stretches):
            begun.append(begin(following, stretches[following], many))
        sight = begun.popleft()()
        if number and sight.many_from != 0:
            at_joint = sight.frames[: stretch.warm_up][-1:]
            if many or not _are_known(at_joint, frames[-1]):
                sight = begin(number, stretch, True)()
        many = many or sight.many_from is not None
        for record in sight.log:
            logging.getLogger(record.name).handle(record)
        frames += sight.frames[stretch.warm_up :]
        if len(sight.frames) != stretch.n_frames:
            break  # the video ends here, or what can be read of it
    return frames


def _are_known(found: list[list[Detection]], before: list[Detection]) -> bool:
    """Whether all who are found were seen in the same frame by the stretch before."""
    return not before or all(
        min(body_distance(person, other) for other in before) <= SAME_BODY
        for people in found
        for person in people
    )


def _look(
    video: str,
    fps: float,
    num_dancers: int,
    stretch: Stretch,
    many: bool,
    go_on: Callable[[int], bool],
    *,
    overlap: bool = False,
) -> Sight:
    """Find the people in a stretch; one that cannot be decoded has no frames."""
    frames: list[list[Detection]] = []
    many_from = None
    pictures = read_frames(
        video,
        fps,
        max_side=DETECTION_SIDE,
        start_s=stretch.first / fps,
        n_frames=stretch.n_frames,
    )
    wanted = max(num_dancers, 2) if many else num_dancers
    try:
        with (
            closing(cast(Generator, prefetch(pictures) if overlap else pictures)) as given,
            PoseDetector(fps, num_dancers=wanted) as detector,
        ):
            for picture in given:
                frames.append(detector.detect(picture))
                if many_from is None and detector.looks_for_many:
                    many_from = len(frames) - 1
                if not go_on(len(frames)):
                    break
    except VideoError:
        if not stretch.first:
            raise
    return Sight(frames, many_from)


def _here(look: Look, n_stretches: int, report: Callable[[int], None]) -> Begin:
    """Look in this process, at a stretch when it is waited for."""
    counts = [0] * n_stretches

    def begin(number: int, stretch: Stretch, many: bool) -> Callable[[], Sight]:
        def go_on(n_seen: int) -> bool:
            counts[number] = max(counts[number], n_seen)
            report(sum(counts))
            return True

        return lambda: look(stretch, many, go_on)

    return begin


@contextmanager
def _workers(
    look: Look, n_workers: int, n_stretches: int, report: Callable[[int], None]
) -> Iterator[Begin]:
    """Let workers look; those that still do at the end stop with the next frame."""
    with (
        tempfile.NamedTemporaryFile(prefix="dancetomusic-") as file,
        open_engine("processes", workers=n_workers) as engine,
    ):
        # Shared with the workers: frames seen of each stretch, and whether to stop.
        counts = np.memmap(file.name, np.int64, "w+", shape=n_stretches + 1)

        def begin(number: int, stretch: Stretch, many: bool) -> Callable[[], Sight]:
            future = engine.submit(_look_in_worker, look, file.name, number, stretch, many)

            def result() -> Sight:
                while not wait([future], _POLL_S).done:
                    report(int(counts[:-1].sum()))
                try:
                    return future.result()
                except WorkerDied as error:
                    raise PoseError(
                        f"looking for dancers failed ({error})", "Choose --workers 1."
                    ) from error

            return result

        try:
            yield begin
            report(int(counts[:-1].sum()))
        finally:
            counts[-1] = True


def _look_in_worker(
    look: Look, counts_file: str, number: int, stretch: Stretch, many: bool
) -> Sight:
    counts = np.memmap(counts_file, np.int64, "r+")

    def go_on(n_seen: int) -> bool:
        counts[number] = max(counts[number], n_seen)
        return not counts[-1]

    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    logger, handler = logging.getLogger("dancetomusic"), QueueHandler(records)
    logger.addHandler(handler)
    logger.propagate = False
    try:
        sight = look(stretch, many, go_on)
    finally:
        logger.removeHandler(handler)
        logger.propagate = True
    log = []
    with suppress(queue.Empty):
        while True:
            log.append(records.get_nowait())
    return replace(sight, log=tuple(log))
