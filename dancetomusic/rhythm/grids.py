"""Beat grids as rekordbox and Ableton Live store them.

Both are XML. A file of many tracks is asked for the one that is named as the file is.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float, Int

from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import track_from_beats
from dancetomusic.types import RhythmTrack

LARGEST_BYTES = 100_000_000
"""Of the XML, unpacked: a collection of a hundred thousand tracks."""

BAR = 4
"""Beats a bar of Ableton's clips, which store none."""

_SLOWEST_BPM, _FASTEST_BPM = 20.0, 400.0
_ENTITIES = (b"<!DOCTYPE", b"<!ENTITY")  # which neither program writes: they can blow up memory
_GZIP = b"\x1f\x8b"

Beats = tuple[Float[np.ndarray, " beats"], Int[np.ndarray, " beats"]]
Reader = Callable[[ElementTree.Element, float], Beats]


def load_rekordbox(path: Path | str, duration_s: float) -> RhythmTrack:
    """The beat grid of a track in a collection that rekordbox exported as XML.

    Raises:
        InputError: If the file cannot be read, is no such XML, holds no grid or several of which
            none is named as the file, or a grid that is no tempo.
    """
    tracks = [
        (str(track.get("Name", "")), track)
        for track in _elements(path, "TRACK")
        if track.find("TEMPO") is not None
    ]
    return _load(path, tracks, _rekordbox_beats, duration_s)


def load_ableton(path: Path | str, duration_s: float) -> RhythmTrack:
    """The warp markers of an audio clip in a Live set or clip (``.als``, ``.alc``).

    Beat 0 of the clip is the first of a bar of four.

    Raises:
        InputError: As :func:`load_rekordbox`.
    """
    clips = []
    for clip in _elements(path, "AudioClip"):
        name = clip.find("Name")
        if len(clip.findall(".//WarpMarker")) > 1:
            clips.append(("" if name is None else str(name.get("Value", "")), clip))
    return _load(path, clips, _ableton_beats, duration_s)


def _load(
    path: Path | str,
    named: list[tuple[str, ElementTree.Element]],
    read: Reader,
    duration_s: float,
) -> RhythmTrack:
    wanted = named if len(named) == 1 else [one for one in named if one[0] == Path(path).stem]
    if len(wanted) != 1:
        raise InputError(
            f"{path} holds the beats of {len(named)} tracks",
            "Name the file as the track whose beats are wanted, or export that one alone.",
        )
    try:
        times, numbers = read(wanted[0][1], duration_s)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"the beats in {path} are malformed ({error})", "Export again.") from error
    return track_from_beats(times, numbers, duration_s)


def _elements(path: Path | str, tag: str) -> Iterator[ElementTree.Element]:
    """Elements of a tag in an XML file, packed or not."""
    try:
        with Path(path).open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            source = gzip.GzipFile(fileobj=file) if packed else file
            content = source.read(LARGEST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read beats from {path} ({error})", "Export it again.") from error
    if len(content) > LARGEST_BYTES:
        raise InputError(f"{path} is larger than {LARGEST_BYTES} bytes", "Export one track alone.")
    if any(entity in content for entity in _ENTITIES):
        raise InputError(f"{path} has entities", "Give what the program itself exported.")
    try:
        return ElementTree.fromstring(content).iter(tag)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path} is no XML ({error})", "Export it again.") from error


def _rekordbox_beats(track: ElementTree.Element, duration_s: float) -> Beats:
    """Each tempo runs from its beginning to the next; ``Battito`` is its place in the bar."""
    grids = sorted(
        (
            _finite(grid.get("Inizio")),
            _bpm(_finite(grid.get("Bpm"))),
            max(1, int(str(grid.get("Battito", "1")))),
            max(1, int(str(grid.get("Metro", "4/4")).split("/")[0])),
        )
        for grid in track.findall("TEMPO")
    )
    times: list[float] = []
    numbers: list[int] = []
    ends = [begin for begin, *_ in grids[1:]] + [max(duration_s, grids[-1][0]) + 60 / grids[-1][1]]
    for (begin, bpm, number, bar), end in zip(grids, ends, strict=True):
        # A beat that would come within a quarter of one before the next tempo is that one's first.
        count = max(1, math.ceil((min(end, duration_s + 60) - begin) * bpm / 60 - 0.25))
        times += [begin + k * 60 / bpm for k in range(count)]
        numbers += [(number - 1 + k) % bar + 1 for k in range(count)]
    return np.array(times), np.array(numbers, np.int64)


def _ableton_beats(clip: ElementTree.Element, duration_s: float) -> Beats:
    """Whole beats on the line through the markers, which continues beyond both ends."""
    markers = sorted(
        (_finite(marker.get("SecTime")), _finite(marker.get("BeatTime")))
        for marker in clip.iter("WarpMarker")
    )
    seconds, beats = np.array(markers).T
    if (np.diff(seconds) <= 0).any() or (np.diff(beats) <= 0).any():
        raise ValueError("warp markers do not increase")
    rates = np.diff(beats) / np.diff(seconds)
    for rate in rates:
        _bpm(60.0 * float(rate))
    first = beats[0] - seconds[0] * rates[0]
    last = beats[-1] + max(0.0, duration_s - seconds[-1]) * rates[-1]
    whole = np.arange(math.ceil(first), math.floor(last) + 1)
    segment = np.clip(np.searchsorted(beats, whole, side="right") - 1, 0, rates.size - 1)
    times = seconds[segment] + (whole - beats[segment]) / rates[segment]
    return times, whole % BAR + 1


def _finite(text: str | None) -> float:
    value = float(str(text))
    if not math.isfinite(value) or abs(value) > 1e6:
        raise ValueError(f"{text} is no time or tempo")
    return value


def _bpm(value: float) -> float:
    if not _SLOWEST_BPM <= value <= _FASTEST_BPM:
        raise ValueError(f"{value:g} BPM")
    return value
