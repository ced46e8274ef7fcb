"""What estimated rhythm is scored on: clips with their beats, sound and poses, from any folder.

Four layouts are known by what lies in the folder: real clips (``data/wild.py``), fragments of
street dance (``data/street.py``), ballroom dances (``data/tang2018.py``), and videos with
their beats beside them: ``NAME.beats.csv`` or ``NAME.csv``, lines of ``time_s,beat``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Int

from dancetomusic.data import wild
from dancetomusic.data.dance import Dance
from dancetomusic.data.index import INDEX
from dancetomusic.data.street import StreetClip, load_street
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import InputError, PoseError
from dancetomusic.evaluation.clips import OFFSETS, nominal_grids
from dancetomusic.evaluation.pieces import QUALITIES, SAMPLE_RATE, piece_of_dance
from dancetomusic.generate.inputs import read_dancers
from dancetomusic.io.audio import read_audio
from dancetomusic.io.folder import find_videos
from dancetomusic.io.video import probe_video
from dancetomusic.metrics.beats import Times, slice_beats
from dancetomusic.metrics.rhythm_scores import interval_bpm
from dancetomusic.pose.landmarks import cut_poses, resample_poses
from dancetomusic.types import POSE_FPS, PoseSequence, Waveform

BEAT_SUFFIXES = (".beats.csv", ".csv")

WILD_NOTE = """\
Real clips (`{data}`), scored where the music has a pulse and two reference trackers agree at some
metrical level; annotators choose one level, so F at the best level stands beside F.
The second of those trackers is librosa's, so its row is favoured: clips on which it fails are left
out.
Intervals are over groups (a dancer or a song; all clips of the bachata couple are one)."""
STREET_NOTE = """\
Fragments of street dance (`{data}`): tempo is certain, phase is a nominal grid that may be late by
a constant. F is therefore taken at the one offset for each genre that suits it best, for every row
alike, random ones too: read tempo first, and F only against the row of random phase. Six clips
have no depth (flat); three (Perfume) have no phase and are scored for tempo alone. Groups are
songs."""
TANG_NOTE = """\
Ballroom dances (`{data}`, split `{split}`), whose movement was aligned to the beat grid figure by
figure. Dances of `val` share captures with `train`: 76 % of their four-beat windows lie within
10 mm a joint of a training window, and no stretch without such a window is longer than nine beats,
so this is no test of movement never seen (`hold_out=captures` trains without them). The movement
of the waltz carries an imposed delay of a quarter of a beat (`motion_delay_beats`): what is scored
there is that rule, learned from the training set."""
VIDEO_NOTE = """\
Videos (`{data}`) with their beats beside them. Groups are the folders that hold them, or the videos
themselves where they lie in one folder."""


@dataclass(frozen=True)
class RhythmClip:
    """One clip with the beats that an estimate is scored against.

    Attributes:
        group: Intervals are taken over groups: a dancer or a song.
        references: Annotated beats; several sets of them where they may be late by a constant,
            the same for all clips of a style. Empty where only the tempo is known.
        bar_times: Annotated beats whose position in the bar is known.
        bar_places: Their positions; 1 is the downbeat.
        scored: Whether the reference can be trusted.
        has_pulse: Whether the music has a pulse at all.
        video_path: Video to read poses from; ``None`` where they are given or absent.
        poses: The most prominent dancer; ``None`` where they are read from a video or absent.
        start_s: Where a stretch begins in the file with the sound; ``None`` for the whole file.
        learned_with: Name of the group in ``models/pose_encoder/tempo_fit.py``; empty outside
            its sets.
    """

    name: str
    group: str
    style: str
    duration_s: float
    references: tuple[Times, ...]
    bpm: float
    bar_times: Times
    bar_places: Int[np.ndarray, " placed"]
    scored: bool = True
    has_pulse: bool = True
    sound_path: Path | None = None
    video_path: Path | None = None
    poses: PoseSequence | None = None
    start_s: float | None = None
    learned_with: str = ""

    @property
    def beat_times(self) -> Times:
        """The annotated beats; the nominal ones where they may be late by a constant."""
        return self.references[0]

    def sound(self) -> Waveform | None:
        """The sound at 24 kHz; ``None`` without."""
        if self.sound_path is None or not self.sound_path.is_file():
            return None
        sound = _read_sound(self.sound_path)
        if sound is None or self.start_s is None:
            return sound
        first = round(self.start_s * SAMPLE_RATE)
        last = first + round(self.duration_s * SAMPLE_RATE)
        return Waveform(sound.samples[:, first:last], SAMPLE_RATE)

    def dancer(self) -> PoseSequence | None:
        """The dancer at 24 poses a second; ``None`` where nobody is seen."""
        if self.poses is not None:
            return resample_poses(self.poses, POSE_FPS)
        if self.video_path is None:
            return None
        try:
            return read_dancers(self.video_path, workers=1)[0][0]
        except PoseError:
            return None

    def cut(self, start_s: float, end_s: float) -> RhythmClip:
        """A stretch of the clip."""
        poses = self.dancer()
        inside = (self.bar_times >= start_s) & (self.bar_times < end_s)
        return replace(
            self,
            name=f"{self.name}_{start_s:g}",
            duration_s=end_s - start_s,
            references=tuple(slice_beats(beats, start_s, end_s) for beats in self.references),
            bar_times=slice_beats(self.bar_times, start_s, end_s),
            bar_places=self.bar_places[inside],
            video_path=None,
            poses=None if poses is None else _cut(poses, start_s, end_s),
            start_s=start_s + (self.start_s or 0.0),
        )

    def windows(self, length_s: float) -> list[RhythmClip]:
        """Stretches side by side from the start; an incomplete last one is left out."""
        poses = self.dancer()
        whole = replace(self, poses=poses, video_path=None)
        count = int((self.duration_s + 1e-6) / length_s)
        return [whole.cut(k * length_s, (k + 1) * length_s) for k in range(count)]


@dataclass(frozen=True)
class RhythmSet:
    """Clips of one folder, and what must be said beside their scores."""

    clips: tuple[RhythmClip, ...]
    note: str


def load_rhythm_set(data: Path | str, *, split: str = "val", limit: int | None = None) -> RhythmSet:
    """Read the clips of a folder of any known layout.

    Only a ballroom folder has splits; ``limit`` takes the first clips.

    Raises:
        InputError: If the folder has no known layout, or a file is malformed.
    """
    folder = Path(data)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", "Name a folder of clips with their beats.")
    load, note = _layout(folder)
    clips = load(folder, split)
    return RhythmSet(tuple(clips[:limit]), note.format(data=folder, split=split))


def read_beat_file(path: Path | str) -> tuple[Times, Int[np.ndarray, " beats"]]:
    """Times in seconds and positions in the bar from lines of ``time_s,beat`` under that header.

    Nothing is filled in: an empty list of beats is an answer.

    Raises:
        InputError: If the file cannot be read, a line has no numbers, or times do not increase.
    """
    remedy = "Write the header time_s,beat and one line per beat."
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        times = np.array([float(row["time_s"]) for row in rows], np.float64)
        positions = np.array([int(row.get("beat") or 0) for row in rows], np.int64)
    except (OSError, KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read beats from {path} ({error})", remedy) from error
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise InputError(f"the beats of {path} do not increase", remedy)
    return times, positions


def beat_file_of(video: Path) -> Path | None:
    """The file with the beats of a video, beside it; ``None`` without."""
    for suffix in BEAT_SUFFIXES:
        file = video.with_name(video.stem + suffix)
        if file.is_file():
            return file
    return None


@lru_cache(maxsize=1)
def _read_sound(path: Path) -> Waveform | None:
    """The sound of a file; the last one is kept, for it is asked for once a stretch."""
    return read_audio(path, SAMPLE_RATE)


Load = Callable[[Path, str], Sequence[RhythmClip]]


def _layout(folder: Path) -> tuple[Load, str]:
    """How to read a folder, and the note for its tables."""
    if (folder / INDEX).is_file():
        with (folder / INDEX).open(encoding="utf-8", newline="") as file:
            columns = set(csv.DictReader(file).fieldnames or ())
        if "snap" in columns:
            return _load_ballroom, TANG_NOTE
        return _load_wild, WILD_NOTE
    if any(folder.glob("*.npz")):
        return _load_street, STREET_NOTE
    return _load_videos, VIDEO_NOTE


def _load_wild(folder: Path, split: str) -> list[RhythmClip]:
    return [
        RhythmClip(
            name=clip.id,
            group=clip.group,
            style=clip.style,
            duration_s=clip.duration_s,
            references=(clip.beat_times,),
            bpm=clip.bpm,
            bar_times=clip.bar_times,
            bar_places=clip.bar_places,
            scored=clip.trusted,
            has_pulse=clip.pulse >= wild.TRUSTED_PULSE,
            sound_path=clip.sound_path,
            poses=clip.poses,
            learned_with=f"wild:{clip.group}",
        )
        for clip in wild.load_wild(folder)
    ]


def _load_street(folder: Path, split: str) -> list[RhythmClip]:
    return [
        RhythmClip(
            name=clip.name,
            group=_song_of(clip.name),
            style=f"{clip.genre}, flat" if clip.flat else clip.genre,
            duration_s=clip.poses.duration_s,
            references=_grids(clip),
            bpm=clip.bpm,
            bar_times=np.zeros(0),
            bar_places=np.zeros(0, np.int64),
            poses=clip.poses,
            learned_with=f"street:{clip.genre}",
        )
        for clip in load_street(folder)
    ]


def _grids(clip: StreetClip) -> tuple[Times, ...]:
    """The nominal grid late by each constant that is tried; no beats where no phase is known."""
    if clip.beat_times.size == 0:
        return tuple(np.zeros(0) for _ in OFFSETS)
    return nominal_grids(clip.bpm, clip.poses.duration_s)


def _song_of(name: str) -> str:
    """The song that an AIST clip names (``mBR0``); else what stands before the first ``_``."""
    found = re.search(r"_(m[A-Z]{2}\d)", name)
    return found.group(1) if found else name.split("_")[0]


def _load_ballroom(folder: Path, split: str) -> list[RhythmClip]:
    return [
        _ballroom_clip(dance) for dance in load_dances(folder, split=split, qualities=QUALITIES)
    ]


def _ballroom_clip(dance: Dance) -> RhythmClip:
    piece = piece_of_dance(dance)
    return RhythmClip(
        name=dance.dance_id,
        group=dance.dance_id,
        style=dance.genre,
        duration_s=dance.poses.duration_s,
        references=(dance.beat_times,),
        bpm=dance.bpm,
        bar_times=dance.beat_times if dance.downbeat_known else np.zeros(0),
        bar_places=piece.beat_numbers if dance.downbeat_known else np.zeros(0, np.int64),
        sound_path=dance.audio_path,
        poses=dance.poses,
    )


def _load_videos(folder: Path, split: str) -> list[RhythmClip]:
    clips = []
    for video in find_videos(folder):
        file = beat_file_of(video)
        if file is not None:
            clips.append(_video_clip(folder, video, *read_beat_file(file)))
    if not clips:
        raise InputError(
            f"{folder} has no video with its beats beside it",
            "Put NAME.beats.csv (time_s,beat) beside NAME.mp4, or name another folder.",
        )
    return clips


def _video_clip(
    folder: Path, video: Path, times: Times, positions: Int[np.ndarray, " beats"]
) -> RhythmClip:
    name = video.relative_to(folder.absolute()).with_suffix("").as_posix()
    placed = positions > 0
    return RhythmClip(
        name=name.replace("/", "_"),
        group=name.rpartition("/")[0] or name,
        style="",
        duration_s=probe_video(video).duration_s,
        references=(times,),
        bpm=interval_bpm(times),
        bar_times=times[placed],
        bar_places=positions[placed],
        has_pulse=times.size > 1,
        scored=times.size > 1,
        sound_path=video,
        video_path=video,
    )


def _cut(poses: PoseSequence, start_s: float, end_s: float) -> PoseSequence:
    return cut_poses(poses, slice(round(start_s * poses.fps), round(end_s * poses.fps)))
