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
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dancetomusic.app.probe import without_path
from dancetomusic.errors import DanceToMusicError, InputError, VideoError
from dancetomusic.io.atomic import atomic_output

if TYPE_CHECKING:
    import numpy as np

    from dancetomusic.generate.one import DanceToMusic
    from dancetomusic.generate.result import Music
    from dancetomusic.score.notes import Score
    from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

Progress = Callable[[str, float], None]

MAX_MEMORY_BYTES = 24 * 2**30
"""Of address space, most of which is never touched."""

SOUND = "sound.wav"
SCORE, MIDI = "score.json", "score.mid"
STEM = "stem_{}.flac"
"""A track as it stands in the mix, before it is mastered; all are turned down alike to fit."""
HEARD = "heard_{}.flac"
"""A track as it stands in the mastered mix, likewise."""
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
    beats_from: str,
    dancers: int,
    reading: int,
    beats: list[tuple[float, int]] | None,
    bpm: float | None,
    on_progress: Progress,
    **options: Any,
) -> dict[str, Any]:
    """Write a take's sound, skeletons and score into ``folder``; gives what a page says of it.

    It is played on ``beats``, or at ``bpm``, or on one of the readings of the video; ``options``
    are more of ``DanceToMusic.generate``.

    Raises:
        DanceToMusicError: As ``read_rhythm`` and ``DanceToMusic.generate`` do.
    """
    from dancetomusic.io.audio import write_audio
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
        bpm=bpm,
        beats=given,
        beats_from=beats_from,
        sound=source,
        num_dancers=dancers,
        on_progress=on_progress,
        **options,
    )
    target = Path(folder)
    write_skeletons(target / SKELETON, music.dancers)
    write_audio(target / SOUND, music.waveform)
    rhythm = music.rhythm
    return {
        **_beats_of(rhythm),
        **_write_score(target, music),
        "energy": [round(float(value), 3) for value in rhythm.energy],
        "energy_rate": rhythm.energy_rate,
        "duration_s": music.waveform.duration_s,
        "dancers": len(music.dancers),
        "frames": len(music.poses),
        "fps": music.poses.fps,
        "timings": {stage: round(seconds, 3) for stage, seconds in music.timings.items()},
    }


def _write_score(folder: Path, music: Music) -> dict[str, Any]:
    """Write notes and stems, if there are any; gives style, key, and what the tracks are.

    ``stem_gain`` brings the tracks as they are heard to the level of the sound.
    """
    from dancetomusic.score.master import master_stems

    if music.score is None:
        return {"style": "", "key": "", "about": music.about, "tracks": [], "stem_gain": 1.0}
    music.save(folder / MIDI)
    (folder / SCORE).write_text(json.dumps(describe_score(music.score, music.dancers)))
    _write_stems(folder, STEM, music.stems, bits=24)
    return {
        "style": music.score.style,
        "key": music.score.key,
        "about": music.about,
        "tracks": list(music.stems),
        "stem_gain": _write_stems(folder, HEARD, master_stems(music.stems), bits=16),
    }


def _write_stems(
    folder: Path, name: str, stems: Mapping[str, Waveform], *, bits: Literal[16, 24]
) -> float:
    """Write stems within full scale, turned down by one factor; gives its inverse."""
    import numpy as np

    from dancetomusic.io.audio import write_audio
    from dancetomusic.types import Waveform

    gain = max(1.0, *(float(np.abs(stem.samples).max(initial=0)) for stem in stems.values()))
    for number, stem in enumerate(stems.values()):
        quieter = Waveform(stem.samples / np.float32(gain), stem.sample_rate)
        write_audio(folder / name.format(number), quieter, bits=bits)
    return gain


def describe_score(score: Score, dancers: Sequence[PoseSequence]) -> dict[str, Any]:
    """A score for a page to draw, with the hits of the dance; all times in seconds.

    Returns:
        ``sections`` as ``[name, start, end]``, ``tracks`` as ``{"name", "is_drum", "notes"}``, each
        note as ``[start, end, pitch, velocity]``, ``hits`` as ``[time, strength]``.
    """
    import numpy as np

    from dancetomusic.pose.hits import find_hits

    clock, hits = score.clock, find_hits(dancers)
    bars = np.append(clock.seconds(clock.bar_starts.astype(float)), clock.duration_s)
    bars = bars.clip(0, clock.duration_s).round(3).tolist()
    tracks = []
    for track in score.tracks:
        notes = score.audible(track)
        times = np.stack([clock.seconds(notes.start), clock.seconds(notes.end)], axis=1)
        rows = zip(
            times.clip(0, clock.duration_s).round(3).tolist(),
            notes.pitch.tolist(),
            notes.velocity.tolist(),
            strict=True,
        )
        notes_drawn = [[*span, pitch, velocity] for span, pitch, velocity in rows]
        tracks.append({"name": track.name, "is_drum": track.is_drum, "notes": notes_drawn})
    return {
        "sections": [
            [section.name, bars[section.first_bar], bars[section.first_bar + section.n_bars]]
            for section in score.sections
        ],
        "tracks": tracks,
        "hits": [
            [round(float(time), 3), round(float(strength), 3)]
            for time, strength in zip(hits.times, hits.strengths, strict=True)
            if time < clock.duration_s
        ],
    }


def _options_of(model: DanceToMusic) -> dict[str, Any]:
    """What the page offers of the model: its sampling settings with their defaults, its styles.

    Of a model that plays a score also the keys; else there are none.
    """
    from dancetomusic.score.harmony import NOTE_NAMES

    options = model.model.options
    defaults = {name: getattr(options.sampling, name) for name in options.sampling_fields}
    keys = [f"{name} {mode}" for mode in ("major", "minor") for name in NOTE_NAMES]
    return {
        "sampling": defaults,
        "styles": list(options.styles),
        "keys": keys if options.score else [],
    }


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
    levels: Mapping[str, float],
    on_progress: Progress,
) -> dict[str, Any]:
    """Write a take as ``target``: its sound, the video with it, its stems, or its notes.

    Args:
        source: The video.
        folder: Of the take.
        target: ``.wav``, ``.mp4``, ``.zip`` (each track before mastering, and the notes), ``.mid``.
        mix: Share of the video's own sound.
        levels: By track, its gain; the mix is mastered again where one is not 1. Stems and notes
            are as they were made.
        on_progress: Called with ``"file"`` and the share of it done.

    Raises:
        DanceToMusicError: If the video cannot be read or the file not be written.
    """
    from dancetomusic.generate.result import RIGHTS
    from dancetomusic.io.audio import read_audio, read_flac, write_audio
    from dancetomusic.io.mux import mux
    from dancetomusic.score.mix import duck_under

    on_progress("file", 0.0)
    path, kept = Path(target), Path(folder)
    if path.suffix == ".mid":
        shutil.copyfile(kept / MIDI, path)
    elif path.suffix == ".zip":
        _zip_stems(kept, path, list(levels))
    else:
        changed = any(level != 1 for level in levels.values())
        sound = _balanced(kept, list(levels.values())) if changed else read_flac(kept / SOUND)
        if mix:
            own = read_audio(source, sound.sample_rate, sound.samples.shape[0])
            sound = duck_under(sound, own, mix)
        tags = {"comment": RIGHTS} if levels else {}
        if path.suffix == ".wav":
            write_audio(path, sound, tags=tags)
        else:
            mux(source, sound, path, tags=tags)
    on_progress("file", 1.0)
    return {"bytes": path.stat().st_size}


def _balanced(folder: Path, levels: Sequence[float]) -> Waveform:
    """The tracks of a take at other levels, mastered."""
    import numpy as np

    from dancetomusic.io.audio import read_flac
    from dancetomusic.score.master import master
    from dancetomusic.score.mix import sum_stems
    from dancetomusic.types import Waveform

    stems = {}
    for number, level in enumerate(levels):
        stem = read_flac(folder / STEM.format(number))
        stems[str(number)] = Waveform(np.float32(level) * stem.samples, stem.sample_rate)
    return master(sum_stems(stems))


def _zip_stems(folder: Path, target: Path, tracks: Sequence[str]) -> None:
    """A zip of the tracks as 24-bit WAV files, sample-aligned, and of the notes."""
    from dancetomusic.io.audio import read_flac, write_audio

    with (
        atomic_output(target) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        tempfile.TemporaryDirectory(dir=folder) as unpacked,
    ):
        for number, track in enumerate(tracks):
            wav = Path(unpacked, f"{number}.wav")
            write_audio(wav, read_flac(folder / STEM.format(number)), bits=24)
            archive.write(wav, f"{track}.wav")
        archive.write(folder / MIDI, MIDI)


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


WORK: dict[str, Callable[..., dict[str, Any]]] = {
    "rhythm": read_rhythm,
    "take": make_take,
    "file": make_file,
}


if __name__ == "__main__":
    main()
