"""Checks of the options of ``dancetomusic generate`` that need no model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dancetomusic.cli.outputs import check_distinct, check_output
from dancetomusic.cli.streams import is_stream
from dancetomusic.errors import InputError, OutputError, VideoError

BEAT_SOURCES = ("auto", "sound", "movement")
BPM_RANGE = (40.0, 240.0)
CONDITIONED: dict[tuple[str | None, str | None], str] = {
    ("wavenet", "frames"): "wavenet_frames",
    ("pose2audio", "score"): "pose2audio_score",
}
"""Released checkpoint of an instrument where it is another one for what it is conditioned on."""
SOUND_SUFFIX = ".wav"
POSE_SUFFIX = ".npz"


def conditioned(instrument: str | None, condition: str | None) -> str | None:
    """The checkpoint of an instrument: another one for some of what it can be conditioned on."""
    return CONDITIONED.get((instrument, condition), instrument)


def check_source(source: Path | str) -> None:
    """Refuse a source that is neither a file nor a stream."""
    if not Path(source).is_file() and not is_stream(source):
        state = "is not a file" if Path(source).exists() else "does not exist"
        raise VideoError(f"{source} {state}", f"Name a video, or poses as {POSE_SUFFIX}.")


def read_follow(follow: str, num_dancers: int) -> str:
    """Whose beat is played, of so many dancers.

    Raises:
        InputError: If it means nothing, or there are too few dancers for it.
    """
    from dancetomusic.models.pose_encoder.lead import AUTO, check_follow

    check_follow(follow)
    needed = int(follow) if follow.isdecimal() else 2
    if follow != AUTO and num_dancers < needed:
        raise InputError(
            f"--follow {follow} is given for {num_dancers} dancers",
            f"Give --num_dancers {needed} too.",
        )
    return follow


def check_rhythm(
    source: Path,
    bpm: float | None,
    beats: Path | None,
    beats_from: str,
    tempo: str | None,
    offset_ms: float,
    sound: Path | None,
) -> None:
    """Refuse choices about the beats that are out of range or exclude each other."""
    from dancetomusic.rhythm.edit import LARGEST_OFFSET_MS, TEMPO_CHANGES

    low, high = BPM_RANGE
    if bpm is not None and not low <= bpm <= high:
        raise InputError(f"--bpm is {bpm:g}", f"Give a tempo from {low:g} to {high:g}.")
    if bpm is not None and beats is not None:
        raise InputError("--bpm and --beats both set the tempo", "Give one of them.")
    if beats is not None and not (beats.is_file() or beats.is_fifo()):
        raise InputError(
            f"{beats} is not a file of beats",
            f"Name a CSV of time_s,beat, or one of {', '.join(BEAT_SOURCES)}.",
        )
    if beats is not None and beats_from != "auto":
        raise InputError(f"--beats and --beats_from {beats_from} exclude each other", "Give one.")
    if tempo is not None and tempo not in TEMPO_CHANGES:
        raise InputError(f"--tempo is {tempo}", f"Give {' or '.join(TEMPO_CHANGES)}.")
    if not abs(offset_ms) <= LARGEST_OFFSET_MS:
        raise InputError(
            f"--offset_ms is {offset_ms:g}", f"Give at most {LARGEST_OFFSET_MS:.0f} either way."
        )
    if sound is not None and not (sound.is_file() or sound.is_fifo()):
        raise InputError(f"--sound {sound} is not a file", "Name a sound file or a video.")
    if sound is not None and (beats is not None or beats_from == "movement"):
        raise InputError("--sound is for finding beats in it", "Leave it out.")
    if source.suffix.lower() == POSE_SUFFIX and beats_from == "sound" and sound is None:
        raise InputError(f"{source} has no sound to take the beats from", "Give --sound FILE.")


def check_files(
    source: Path | str,
    outputs: Sequence[Path],
    extras: dict[str, Path | None],
    inputs: list[Path | None],
) -> None:
    """Refuse a source that is no file, and outputs that cannot be written or replace an input.

    ``extras`` are further outputs by their suffix, ``inputs`` what else is read.
    """
    check_source(source)
    for output in outputs:
        check_output(output, output_suffixes())
    for suffix, extra in extras.items():
        if extra is not None:
            check_output(extra, (suffix,))
    read = [] if is_stream(source) else [Path(source)]
    check_distinct([*outputs, *extras.values()], [*read, *inputs])


def check_folder(source: Path, outputs: Sequence[Path]) -> None:
    """Refuse anything but one folder as the output of a folder."""
    if len(outputs) != 1:
        raise InputError(f"{len(outputs)} output folders are named", "Name one.")
    if outputs[0].suffix.lower() in output_suffixes():
        raise InputError(f"{source} is a folder, {outputs[0]} is not", "Name a folder.")


def check_scope(is_folder: bool, of_one: dict[str, object], of_folder: dict[str, object]) -> None:
    """Refuse options of one video for a folder, and the other way round.

    Values of options that were not given are ``None``.
    """
    for name, value in of_one.items():
        if value is not None and is_folder:
            raise InputError(f"{name} does not go with a folder", "Leave it out.")
    for name, value in of_folder.items():
        if value is not None and not is_folder:
            raise InputError(f"{name} is for a folder of videos", "Leave it out.")


def check_saving(
    source: Path,
    outputs: Sequence[Path],
    *,
    swing: float | None,
    mix_original: float,
    overlay_skeleton: bool = False,
) -> None:
    """Refuse options out of range, and options that exclude each other."""
    video_outputs = [output for output in outputs if is_video(output)]
    if swing is not None and not 0.0 <= swing <= 1.0:
        raise InputError(f"--swing is {swing:g}", "Give 0 (straight) to 1 (triplets).")
    if not 0.0 <= mix_original <= 1.0:
        raise InputError(f"--mix_original is {mix_original:g}", "Give a gain from 0 to 1.")
    if overlay_skeleton and not video_outputs:
        raise InputError("--overlay_skeleton draws on a video", "Name an output such as out.mp4.")
    if source.suffix.lower() == POSE_SUFFIX:
        if video_outputs:
            raise OutputError(f"{source} has no picture for {video_outputs[0]}", "Name a .wav.")
        if mix_original:
            raise InputError(f"{source} has no sound to mix", "Leave --mix_original out.")


def output_suffixes() -> tuple[str, ...]:
    """Every kind of file that music can be written to."""
    from dancetomusic.generate.result import OUTPUT_SUFFIXES

    return OUTPUT_SUFFIXES


def is_score(output: Path) -> bool:
    """Whether an output is the notes."""
    from dancetomusic.generate.result import MIDI_SUFFIX

    return output.suffix.lower() == MIDI_SUFFIX


def is_video(output: Path) -> bool:
    """Whether an output is a video; the alternatives are sound alone and notes."""
    from dancetomusic.io.mux import VIDEO_SUFFIXES

    return output.suffix.lower() in VIDEO_SUFFIXES


def read_loudness(text: str) -> float | None:
    """The value of ``--loudness``.

    Raises:
        InputError: If it is neither ``none`` nor a number from -60 to 0.
    """
    if text == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -60 <= value <= 0:
        raise InputError(f"--loudness is {text}", "Give -60 to 0 LUFS, or none.")
    return value


def read_style(style: str | None) -> dict[str, str | Path | None]:
    """The style asked for: its name, or where it ends like one the path of its file."""
    if style is not None and style.endswith((".yaml", ".yml")):
        return {"style": None, "style_file": Path(style)}
    return {"style": None if style == "auto" else style, "style_file": None}


def read_programs(values: Sequence[str]) -> dict[str, int]:
    """The values of ``--program`` by track.

    Raises:
        InputError: If one is no ``TRACK=NUMBER``, or no program from 0 to 127.
    """
    programs = {}
    for value in values:
        track, _, number = value.partition("=")
        if not track or not number.isdecimal() or int(number) > 127:
            raise InputError(f"--program is {value!r}", "Give TRACK=NUMBER, 0 to 127, as bass=38.")
        programs[track] = int(number)
    return programs
