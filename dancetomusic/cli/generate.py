"""``dancetomusic generate``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancetomusic.cli.engine import (
    EngineName,
    EngineOption,
    RayAddressOption,
    WorkersOption,
    open_tasks,
)
from dancetomusic.cli.options import CheckpointOption, CodecOption, ThreadsOption, check_seed
from dancetomusic.cli.outputs import check_distinct, check_output
from dancetomusic.cli.progress import item_progress, stage_progress
from dancetomusic.errors import InputError, OutputError, VideoError

if TYPE_CHECKING:
    from dancetomusic.parallel import Engine

BEAT_SOURCES = ("auto", "sound", "movement")
BPM_RANGE = (40.0, 240.0)
SOUND_SUFFIX = ".wav"
POSE_SUFFIX = ".npz"


def generate(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="A dance video, poses as .npz, or a folder of videos."
        ),
    ],
    outputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUTPUT",
            help="Where the music goes: .wav for the sound alone, .mp4, .mov, .mkv or .webm for "
            "the video with its new sound. Several get the same music. For a folder, a folder.",
        ),
    ],
    seed: Annotated[
        int,
        typer.Option("--seed", callback=check_seed, help="The same seed gives the same file."),
    ] = 0,
    bpm: Annotated[
        float | None,
        typer.Option("--bpm", help="Tempo to use instead of the estimated one, 40 to 240."),
    ] = None,
    beats_from: Annotated[
        str,
        typer.Option(
            "--beats_from",
            metavar="auto|sound|movement|FILE",
            help="Where the beats come from: the video's own sound, the movement, or a CSV of "
            "time_s,beat. auto takes the sound's where they are clear.",
        ),
    ] = "auto",
    beats: Annotated[
        Path | None,
        typer.Option("--beats", help="CSV of time_s,beat: the same as --beats_from FILE."),
    ] = None,
    tempo: Annotated[
        str | None,
        typer.Option("--tempo", metavar="half|double", help="Count half or twice as fast."),
    ] = None,
    offset_ms: Annotated[
        float,
        typer.Option("--offset_ms", help="Play later (positive) or earlier, in milliseconds."),
    ] = 0.0,
    sound: Annotated[
        Path | None,
        typer.Option("--sound", help="Sound file to find the beats in, such as the song of poses."),
    ] = None,
    click: Annotated[
        bool, typer.Option("--click", help="Mix a click on every beat in, to check the rhythm.")
    ] = False,
    style: Annotated[
        str | None,
        typer.Option("--style", help="Style of music: cha-cha, waltz, rock, funk, latin and more."),
    ] = None,
    swing: Annotated[
        float | None,
        typer.Option("--swing", help="How late off-beats are played: 0 straight, 1 in triplets."),
    ] = None,
    num_dancers: Annotated[
        int, typer.Option("--num_dancers", min=1, help="Follow up to this many people.")
    ] = 1,
    save_rhythm: Annotated[
        Path | None, typer.Option("--save_rhythm", help="Write the beats, as .csv.")
    ] = None,
    save_poses: Annotated[
        Path | None, typer.Option("--save_poses", help="Write the poses read, as .npz.")
    ] = None,
    overlay_skeleton: Annotated[
        bool,
        typer.Option("--overlay_skeleton", help="Draw the poses on the video (re-encodes it)."),
    ] = False,
    mix_original: Annotated[
        float,
        typer.Option("--mix_original", help="Gain of the video's own sound in the mix, 0 to 1."),
    ] = 0.0,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="Above 1: bolder; below: safer.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top_k", help="Sample among this many likeliest codes.")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option("--top_p", help="Sample within this probability mass.")
    ] = None,
    cfg_scale: Annotated[
        float | None,
        typer.Option("--cfg_scale", help="Strength of classifier-free guidance; 1 is none."),
    ] = None,
    checkpoint: CheckpointOption = None,
    codec: CodecOption = None,
    threads: ThreadsOption = None,
    suffix: Annotated[
        list[str] | None,
        typer.Option("--suffix", help="For a folder: what is made of each video; .wav by default."),
    ] = None,
    workers: WorkersOption = None,
    engine: EngineOption = EngineName.processes,
    ray_address: RayAddressOption = None,
) -> None:
    """Make music for a dance video, or for every video of a folder."""
    # Options of the model itself, where they are given; it has its own defaults.
    playing: dict[str, Any] = {
        name: value
        for name, value in (
            ("style", style),
            ("swing", swing),
            ("temperature", temperature),
            ("top_k", top_k),
            ("top_p", top_p),
            ("cfg_scale", cfg_scale),
        )
        if value is not None
    }
    if beats_from not in BEAT_SOURCES:
        if beats is not None:
            raise InputError("--beats and --beats_from both name a file", "Give one of them.")
        beats, beats_from = Path(beats_from), "auto"
    rhythm = {
        "bpm": bpm,
        "beats_from": beats_from,
        "tempo": tempo,
        "offset_ms": offset_ms,
        "num_dancers": num_dancers,
    }
    saving = {"overlay_skeleton": overlay_skeleton, "mix_original": mix_original, "click": click}
    is_folder = source.is_dir()
    for name, given in (
        ("--beats", beats is not None),
        ("--sound", sound is not None),
        ("--save_rhythm", save_rhythm is not None),
        ("--save_poses", save_poses is not None),
        ("--threads", threads is not None),
    ):
        if given and is_folder:
            raise InputError(f"{name} does not go with a folder", "Leave it out.")
    for name, given in (
        ("--suffix", suffix is not None),
        ("--workers", workers is not None),
        ("--ray_address", ray_address is not None),
    ):
        if given and not is_folder:
            raise InputError(f"{name} is for a folder of videos", "Leave it out.")
    _check_rhythm(source, bpm, beats, beats_from, tempo, offset_ms, sound)
    options = {"seed": seed, **rhythm, **playing}
    if is_folder:
        _check_folder(source, outputs)
        _check_choices(source, [Path(text) for text in suffix or ()], swing, False, mix_original)
        if playing:
            _check_playing(checkpoint, codec, playing)
        with open_tasks(engine, workers, ray_address) as tasks:
            _generate_folder(
                source,
                outputs[0],
                tasks,
                suffixes=suffix or [SOUND_SUFFIX],
                checkpoint=checkpoint,
                codec=codec,
                options=options,
                **saving,
            )
        return
    _check_files(source, outputs, save_rhythm, save_poses)
    check_distinct([*outputs, save_rhythm, save_poses], [source, beats, sound])
    _check_choices(source, outputs, swing, overlay_skeleton, mix_original)
    _generate_one(
        source,
        outputs,
        checkpoint=checkpoint,
        codec=codec,
        threads=threads,
        save_rhythm=save_rhythm,
        save_poses=save_poses,
        options={**options, "beats": beats, "sound": sound},
        saving=saving,
    )


def _generate_one(
    source: Path,
    outputs: Sequence[Path],
    *,
    checkpoint: str | None,
    codec: str | None,
    threads: int | None,
    save_rhythm: Path | None,
    save_poses: Path | None,
    options: dict[str, Any],
    saving: dict[str, Any],
) -> None:
    """Make music for one video, write it, and say what was made."""
    from dancetomusic.generate.one import DanceToMusic

    started = time.perf_counter()
    with stage_progress() as on_progress:
        model = DanceToMusic.from_pretrained(checkpoint, codec, threads=threads)
        music = model.generate(source, on_progress=on_progress, **options)
    written = _write(music, outputs, save_rhythm, save_poses, saving)
    _print_summary(music, written, time.perf_counter() - started)


def _generate_folder(source: Path, output: Path, tasks: Engine, **options: Any) -> None:
    """Make music for a folder and say what became of each video.

    Raises:
        InputError: If a video failed; the others are made.
    """
    from dancetomusic.generate.folder import FAILED, generate_folder

    with item_progress("videos") as advance:
        results = generate_folder(
            source, output, tasks, on_finished=lambda _result, total: advance(total), **options
        )
    failed = [result for result in results if result.status == FAILED]
    for result in failed:
        print(f"failed   {result.video}: {result.reason}")
    print(f"made     {len(results) - len(failed)} of {len(results)}")
    print(f"wrote    {output}")
    if failed:
        raise InputError(
            f"{len(failed)} of {len(results)} videos could not be used",
            f"Their reasons are in {output / 'report.csv'}.",
        )


def _is_video(output: Path) -> bool:
    return output.suffix.lower() != SOUND_SUFFIX


def _check_source(source: Path) -> None:
    if not source.is_file():
        state = "is not a file" if source.exists() else "does not exist"
        raise VideoError(f"{source} {state}", f"Name a video, or poses as {POSE_SUFFIX}.")


def _check_folder(source: Path, outputs: Sequence[Path]) -> None:
    from dancetomusic.io.mux import VIDEO_SUFFIXES

    if len(outputs) != 1:
        raise InputError(f"{len(outputs)} output folders are named", "Name one.")
    if outputs[0].suffix.lower() in (SOUND_SUFFIX, *VIDEO_SUFFIXES):
        raise InputError(f"{source} is a folder, {outputs[0]} is not", "Name a folder.")


def _check_files(
    source: Path, outputs: Sequence[Path], save_rhythm: Path | None, save_poses: Path | None
) -> None:
    from dancetomusic.io.mux import VIDEO_SUFFIXES

    _check_source(source)
    for output in outputs:
        check_output(output, (SOUND_SUFFIX, *VIDEO_SUFFIXES))
    for extra, kind in ((save_rhythm, ".csv"), (save_poses, POSE_SUFFIX)):
        if extra is not None:
            check_output(extra, (kind,))


def _check_rhythm(
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
    if beats is not None and not beats.is_file():
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
    if sound is not None and not sound.is_file():
        raise InputError(f"--sound {sound} is not a file", "Name a sound file or a video.")
    if sound is not None and (beats is not None or beats_from == "movement"):
        raise InputError("--sound is for finding beats in it", "Leave it out.")
    if source.suffix.lower() == POSE_SUFFIX and beats_from == "sound" and sound is None:
        raise InputError(f"{source} has no sound to take the beats from", "Give --sound FILE.")


def _check_choices(
    source: Path,
    outputs: Sequence[Path],
    swing: float | None,
    overlay_skeleton: bool,
    mix_original: float,
) -> None:
    """Refuse options out of range, and options that exclude each other."""
    video_outputs = [output for output in outputs if _is_video(output)]
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


def _check_playing(checkpoint: str | None, codec: str | None, playing: dict[str, Any]) -> None:
    """Refuse what the model cannot play, once for a whole folder."""
    from dancetomusic.generate.one import DanceToMusic

    DanceToMusic.from_pretrained(checkpoint, codec).check(playing)


def _write(
    music: Any,
    outputs: Sequence[Path],
    save_rhythm: Path | None,
    save_poses: Path | None,
    saving: dict[str, Any],
) -> list[Path]:
    written = []
    for output in outputs:
        overlay = saving["overlay_skeleton"] and _is_video(output)
        music.save(output, **{**saving, "overlay_skeleton": overlay})
        written.append(output)
    if save_rhythm is not None:
        from dancetomusic.rhythm.files import save_beats

        save_beats(save_rhythm, music.rhythm)
        written.append(save_rhythm)
    if save_poses is not None:
        from dancetomusic.pose.files import save_poses as write_poses

        write_poses(save_poses, music.poses)
        written.append(save_poses)
    return written


def _print_summary(music: Any, written: Sequence[Path], elapsed_s: float) -> None:
    quality = music.poses.quality
    share = music.poses.present_share if quality is None else quality.detected_share
    length_s = music.waveform.duration_s
    stages = " · ".join(f"{stage} {seconds:.1f} s" for stage, seconds in music.timings.items())
    print(f"beats    {_say_source(music.rhythm)}")
    print(f"tempo    {music.rhythm.bpm:.1f} BPM, {music.rhythm.beats_per_bar} beats a bar")
    print(f"dancer   in {share:.1%} of frames")
    print(f"stages   {stages}")
    print(
        f"total    {elapsed_s:.1f} s for {length_s:.1f} s of music "
        f"({length_s / elapsed_s:.2f} times real time)"
    )
    for path in written:
        print(f"wrote    {path}")


def _say_source(rhythm: Any) -> str:
    """Where the beats come from and how sure they are, in words."""
    if rhythm.source == "file":
        return "given"
    where = {"sound": "from the sound", "movement": "from the movement"}[rhythm.source]
    if rhythm.verdict == "guess":
        return (
            f"{where}, a guess ({rhythm.certainty:.0%} sure): check with --click, "
            "correct with --bpm, --tempo, --offset_ms or --beats"
        )
    return f"{where}, {rhythm.verdict} ({rhythm.certainty:.0%})"
