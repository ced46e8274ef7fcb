"""Music made in a process of its own: ``python -m dancetomusic.app.worker``.

Requests come as lines of JSON on standard input and are answered on standard output: any number
of ``{"stage", "share"}``, then ``{"result"}`` or ``{"problem", "remedy"}``. A process of its own
can be ended at any moment, and its decoders and models disturb neither requests nor live sound.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancetomusic.app.probe import without_path
from dancetomusic.atomic import atomic_output
from dancetomusic.errors import DanceToMusicError, OutputError

if TYPE_CHECKING:
    from dancetomusic.inference.pipeline import DanceToMusic
    from dancetomusic.types import PoseSequence

Progress = Callable[[str, float], None]

MAX_MEMORY_BYTES = 24 * 2**30
"""Of address space, most of which is never touched."""

SOUND = "sound.wav"
SKELETON = "skeleton.bin"
POSES = "poses_{}.npz"
SKELETON_RANGE = (-1.0, 2.0)
"""Shares of the picture that the least and the largest coordinate of a skeleton file stand for."""


def main() -> None:
    """Answer requests until standard input ends; what libraries print goes to standard error."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    os.nice(5)  # live sound comes first
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")

    from dancetomusic.inference.pipeline import DanceToMusic

    try:
        model = DanceToMusic.from_pretrained(**json.loads(sys.argv[1]))
    except DanceToMusicError as error:
        answer(problem=error.problem, remedy=error.remedy)
        return
    answer(result={})
    for line in sys.stdin:
        request = json.loads(line)
        work = WORK[request.pop("work")]
        source = Path(request.pop("source"))
        try:
            result = work(
                model,
                source,
                on_progress=lambda stage, share: answer(stage=stage, share=round(share, 3)),
                **request,
            )
        except DanceToMusicError as error:
            answer(problem=without_path(error.problem, source), remedy=error.remedy)
        else:
            answer(result=result)


def make_take(
    model: DanceToMusic,
    source: Path,
    *,
    folder: str,
    seed: int,
    temperature: float,
    guidance: float,
    bpm: float | None,
    dancers: int,
    on_progress: Progress,
) -> dict[str, Any]:
    """Write a take's sound and skeletons into ``folder``; gives what a page draws of it.

    The poses of a single dancer are kept beside the video, so that further takes start from them.

    Raises:
        DanceToMusicError: As ``DanceToMusic.generate`` does.
    """
    from dancetomusic.media.audio import write_wav
    from dancetomusic.pose.files import load_poses, save_poses

    kept = source.with_name(POSES.format(0))
    known = dancers == 1 and kept.is_file()
    music = model.generate(
        load_poses(kept) if known else source,
        seed=seed,
        bpm=bpm,
        num_dancers=dancers,
        temperature=temperature,
        cfg_scale=guidance,
        on_progress=on_progress,
    )
    if dancers == 1 and not known:
        save_poses(kept, music.poses)
    target = Path(folder)
    for number, poses in enumerate(music.dancers):
        save_poses(target / POSES.format(number), poses)
    write_skeletons(target / SKELETON, music.dancers)
    write_wav(target / SOUND, music.waveform)
    rhythm = music.rhythm
    return {
        "bpm": None if rhythm.beat_times.size < 2 else round(rhythm.bpm, 2),
        "beats": [
            [round(float(time), 4), int(number)]
            for time, number in zip(rhythm.beat_times, rhythm.beat_numbers, strict=True)
        ],
        "energy": [round(float(value), 3) for value in rhythm.energy],
        "energy_rate": rhythm.energy_rate,
        "duration_s": music.waveform.duration_s,
        "dancers": len(music.dancers),
        "frames": len(music.poses),
        "fps": music.poses.fps,
        "timings": {stage: round(seconds, 3) for stage, seconds in music.timings.items()},
    }


def make_file(
    _model: DanceToMusic,
    source: Path,
    *,
    folder: str,
    target: str,
    mix: float,
    skeleton: bool,
    on_progress: Progress,
) -> dict[str, Any]:
    """Write a take as ``target``, ``.wav`` or ``.mp4``, with the video's own sound mixed in.

    Pictures are copied where ``.mp4`` can hold them and no skeleton is drawn, else coded anew.

    Raises:
        DanceToMusicError: If the video cannot be read or the file not be written.
    """
    from dancetomusic.media.audio import mix as mix_sounds
    from dancetomusic.media.audio import read_audio, read_flac, write_wav
    from dancetomusic.media.mux import mux
    from dancetomusic.pose.files import POSE_FPS, load_poses

    on_progress("file", 0.0)
    sound = read_flac(Path(folder) / SOUND)
    if mix:
        sound = mix_sounds(sound, read_audio(source, sound.sample_rate), mix)
    if target.endswith(".wav"):
        write_wav(target, sound)
    else:
        files = sorted(Path(folder).glob(POSES.format("*"))) if skeleton else []
        draw = _drawer([load_poses(file) for file in files])
        try:
            mux(source, sound, target, draw=draw if skeleton else None, fps=POSE_FPS)
        except OutputError:
            if skeleton:
                raise
            mux(source, sound, target, draw=draw, fps=POSE_FPS)
    on_progress("file", 1.0)
    return {"bytes": Path(target).stat().st_size}


def write_skeletons(path: Path, dancers: Sequence[PoseSequence]) -> None:
    """Write the places of all landmarks in the picture for a page to draw.

    Little-endian unsigned 16-bit numbers, [dancers, frames, 33, 2], x and y: 0 where a dancer is
    absent, else 1 to 65535 over ``SKELETON_RANGE``.

    Raises:
        OutputError: If the file cannot be written.
    """
    import numpy as np

    low, high = SKELETON_RANGE
    with atomic_output(path) as temporary, temporary.open("wb") as file:
        for dancer in dancers:
            if dancer.image is None:
                shares = np.zeros((len(dancer), dancer.world.shape[1], 2), np.float32)
            else:
                shares = (np.clip(dancer.image[..., :2], low, high) - low) / (high - low)
            places = np.round(1 + shares * 65534).astype("<u2")
            known = dancer.present & (dancer.image is not None)
            file.write((places * known[:, None, None].astype("<u2")).tobytes())


def _drawer(dancers: Sequence[PoseSequence]) -> Callable[[int, Any], Any]:
    from dancetomusic.pose.draw import draw_skeleton

    def draw(index: int, frame: Any) -> Any:
        for dancer in dancers:
            if dancer.image is not None and index < len(dancer) and dancer.present[index]:
                frame = draw_skeleton(frame, dancer.image[index])
        return frame

    return draw


WORK: dict[str, Callable[..., dict[str, Any]]] = {"take": make_take, "file": make_file}


if __name__ == "__main__":
    main()
