"""Music made in a process of its own: ``python -m dancetomusic.app.worker``.

Requests come as lines of JSON on standard input and are answered on standard output: any number
of ``{"stage", "share"}``, then ``{"result"}`` or ``{"problem", "remedy"}``. A process of its own
can be ended at any moment, and its decoders and models disturb neither requests nor live sound.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancetomusic.app.probe import without_path
from dancetomusic.errors import DanceToMusicError, InputError, OutputError, VideoError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.types import POSE_FPS

if TYPE_CHECKING:
    import numpy as np

    from dancetomusic.generate.one import DanceToMusic
    from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

Progress = Callable[[str, float], None]

MAX_MEMORY_BYTES = 24 * 2**30
"""Of address space, most of which is never touched."""

SOUND = "sound.wav"
SKELETON = "skeleton.bin"
POSES = "poses_{}.npz"
DANCERS = "dancers_{}"
RHYTHM = "rhythm_{}_{}.json"
LOUDNESS_HZ = 100
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

    from dancetomusic.generate.one import DanceToMusic

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


def read_rhythm(
    model: DanceToMusic,
    source: Path,
    *,
    beats_from: str,
    dancers: int,
    on_progress: Progress,
) -> dict[str, Any]:
    """Find the dancers and the likeliest readings of the beat, best first, for a page to draw.

    Poses, skeletons and the answer are kept beside the video, so that takes start from them.

    Raises:
        VideoError: If the video cannot be read.
        PoseError: If nobody dances in it, or for less than a second.
        InputError: If the beats are to be from a sound that has none.
    """
    from dancetomusic.generate.beat_source import estimate_rhythms, read_sound
    from dancetomusic.io.audio import read_audio

    people = _dancers(source, dancers, on_progress)
    write_skeletons(source.with_name(SKELETON), people)
    on_progress("rhythm", 0.0)
    try:
        own_sound = read_sound(source, beats_from)
        _, readings = estimate_rhythms(model.encoder, people, own_sound, beats_from=beats_from)
    except (InputError, VideoError) as error:
        if beats_from != "sound":
            raise
        raise InputError(error.problem, "Choose automatic or movement, or tap along.") from error
    sound = own_sound if beats_from != "movement" else read_audio(source)
    found = {
        "beats_from": beats_from,
        "dancers_wanted": dancers,
        "readings": [_beats_of(reading) for reading in readings],
        "energy": [round(float(value), 3) for value in readings[0].energy],
        "energy_rate": readings[0].energy_rate,
        "duration_s": readings[0].duration_s,
        "loudness": [] if sound is None else loudness(sound, readings[0].duration_s),
        "loudness_rate": LOUDNESS_HZ,
        "dancers": len(people),
        "frames": len(people[0]),
        "fps": people[0].fps,
        "model": _options_of(model),
    }
    with atomic_output(source.with_name(RHYTHM.format(beats_from, dancers))) as temporary:
        temporary.write_text(json.dumps(found))
    on_progress("rhythm", 1.0)
    return found


def make_take(
    model: DanceToMusic,
    source: Path,
    *,
    folder: str,
    seed: int,
    temperature: float | None,
    cfg_scale: float | None,
    style: str | None,
    beats_from: str,
    dancers: int,
    reading: int,
    beats: list[tuple[float, int]] | None,
    bpm: float | None,
    on_progress: Progress,
) -> dict[str, Any]:
    """Write a take's sound and skeletons into ``folder``; gives what a page draws of it.

    It is played on ``beats``, or at ``bpm``, or on one of the readings of the video.

    Raises:
        DanceToMusicError: As ``read_rhythm`` and ``DanceToMusic.generate`` do.
    """
    from dancetomusic.io.audio import write_wav
    from dancetomusic.pose.files import save_poses
    from dancetomusic.rhythm.beats import track_from_beats

    people = _dancers(source, dancers, on_progress)
    given = None
    if beats is not None:
        given = replace(track_from_beats(*_columns(beats), people[0].duration_s), source="file")
    elif bpm is None:
        kept = source.with_name(RHYTHM.format(beats_from, dancers))
        if not kept.is_file():
            read_rhythm(
                model, source, beats_from=beats_from, dancers=dancers, on_progress=on_progress
            )
        given = _reading(json.loads(kept.read_text()), reading)
    music = model.generate(
        people,
        seed=seed,
        bpm=bpm,
        beats=given,
        beats_from=beats_from,
        sound=source,
        num_dancers=dancers,
        temperature=temperature,
        cfg_scale=cfg_scale,
        style=style,
        on_progress=on_progress,
    )
    target = Path(folder)
    for number, poses in enumerate(music.dancers):
        save_poses(target / POSES.format(number), poses)
    write_skeletons(target / SKELETON, music.dancers)
    write_wav(target / SOUND, music.waveform)
    rhythm = music.rhythm
    return {
        **_beats_of(music.rhythm),
        "energy": [round(float(value), 3) for value in rhythm.energy],
        "energy_rate": rhythm.energy_rate,
        "duration_s": music.waveform.duration_s,
        "dancers": len(music.dancers),
        "frames": len(music.poses),
        "fps": music.poses.fps,
        "timings": {stage: round(seconds, 3) for stage, seconds in music.timings.items()},
    }


def _options_of(model: DanceToMusic) -> dict[str, Any]:
    """What the page offers of the model: its sampling settings with their defaults, its styles."""
    options = model.model.options
    defaults = {name: getattr(options.sampling, name) for name in options.sampling_fields}
    return {"sampling": defaults, "styles": list(options.styles)}


def _beats_of(rhythm: RhythmTrack) -> dict[str, Any]:
    """What a page shows of beats."""
    return {
        "source": rhythm.source,
        "verdict": rhythm.verdict,
        "certainty": round(rhythm.certainty, 3),
        "bpm": None if rhythm.beat_times.size < 2 else round(rhythm.bpm, 2),
        "beats_per_bar": rhythm.beats_per_bar,
        "beats": [
            [round(float(time), 4), int(number)]
            for time, number in zip(rhythm.beat_times, rhythm.beat_numbers, strict=True)
        ],
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

    Pictures are copied where ``.mp4`` can hold them and no skeleton is drawn, else re-encoded.

    Raises:
        DanceToMusicError: If the video cannot be read or the file not be written.
    """
    from dancetomusic.io.audio import read_audio, read_flac, write_wav
    from dancetomusic.io.mux import mux
    from dancetomusic.pose.files import load_poses
    from dancetomusic.score.mix import duck_under

    on_progress("file", 0.0)
    sound = read_flac(Path(folder) / SOUND)
    if mix:
        own = read_audio(source, sound.sample_rate, sound.samples.shape[0])
        sound = duck_under(sound, own, mix)
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


def _reading(found: dict[str, Any], index: int) -> RhythmTrack:
    """One of the readings that ``read_rhythm`` kept."""
    import numpy as np

    from dancetomusic.types import RhythmTrack

    readings = found["readings"]
    if index >= len(readings):
        raise InputError(f"there is no reading {index}", f"Choose one of 0 to {len(readings) - 1}.")
    chosen = readings[index]
    times, numbers = _columns(chosen["beats"])
    return RhythmTrack(
        beat_times=times,
        beat_numbers=numbers,
        energy=np.array(found["energy"], np.float32),
        energy_rate=found["energy_rate"],
        duration_s=found["duration_s"],
        source=chosen["source"],
        certainty=chosen["certainty"],
    )


def _columns(beats: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    times = np.array([time for time, _ in beats], float)
    return times, np.array([number for _, number in beats], np.int64)


def loudness(sound: Waveform, duration_s: float) -> list[int]:
    """The largest amplitude in each ``1 / LOUDNESS_HZ`` s, in percent of the largest of all."""
    import numpy as np

    size = sound.sample_rate // LOUDNESS_HZ
    parts = min(ceil(duration_s * LOUDNESS_HZ), sound.samples.shape[1] // size)
    peaks = np.abs(sound.samples[0, : parts * size]).reshape(parts, size).max(axis=1)
    return [round(float(100 * peak)) for peak in peaks / max(float(peaks.max(initial=0)), 1e-6)]


def _dancers(source: Path, wanted: int, on_progress: Progress) -> list[PoseSequence]:
    """Those of the video, found once for each number that is wanted."""
    from dancetomusic.generate.inputs import read_dancers
    from dancetomusic.pose.files import load_poses, save_poses

    on_progress("poses", 0.0)
    kept = source.with_name(DANCERS.format(wanted))
    if not kept.is_dir():
        people, _ = read_dancers(source, wanted, partial(on_progress, "poses"))
        unfinished = kept.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for number, poses in enumerate(people):
            save_poses(unfinished / POSES.format(number), poses)
        unfinished.rename(kept)
    on_progress("poses", 1.0)
    return [load_poses(file) for file in sorted(kept.glob(POSES.format("*")))]


def write_skeletons(path: Path, dancers: Sequence[PoseSequence]) -> None:
    """Write the positions of all landmarks in the picture for a page to draw.

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
            positions = np.round(1 + shares * 65534).astype("<u2")
            known = dancer.present & (dancer.image is not None)
            file.write((positions * known[:, None, None].astype("<u2")).tobytes())


def _drawer(dancers: Sequence[PoseSequence]) -> Callable[[int, Any], Any]:
    from dancetomusic.pose.draw import draw_skeleton

    def draw(index: int, frame: Any) -> Any:
        for dancer in dancers:
            if dancer.image is not None and index < len(dancer) and dancer.present[index]:
                frame = draw_skeleton(frame, dancer.image[index])
        return frame

    return draw


WORK: dict[str, Callable[..., dict[str, Any]]] = {
    "rhythm": read_rhythm,
    "take": make_take,
    "file": make_file,
}


if __name__ == "__main__":
    main()
