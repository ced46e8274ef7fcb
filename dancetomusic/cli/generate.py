"""``dancetomusic generate``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancetomusic.cli import generate_checks as checks
from dancetomusic.cli.engine import (
    EngineName,
    EngineOption,
    RayAddressOption,
    WorkersOption,
    open_tasks,
)
from dancetomusic.cli.options import CheckpointOption, CodecOption, ThreadsOption, check_seed
from dancetomusic.cli.progress import item_progress, stage_progress
from dancetomusic.cli.streams import local_outputs, local_source
from dancetomusic.errors import InputError

if TYPE_CHECKING:
    from dancetomusic.generate.result import Music
    from dancetomusic.parallel import Engine
    from dancetomusic.types import RhythmTrack


def generate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A dance video, poses as .npz, or a folder of videos; a link to a video, or - for "
            "standard input.",
        ),
    ],
    outputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUTPUT",
            help="Where the music goes: .wav, .flac, .mp3, .m4a or .ogg for the sound alone, .mp4, "
            ".mov, .mkv or .webm for the video with its new sound, .mid for the score. Several get "
            "the same music; - is standard output, as WAV. For a folder, a folder.",
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
            help="Where the beats come from: the video's own sound, the movement, or a file as for "
            "--beats. auto takes the sound's where they are clear.",
        ),
    ] = "auto",
    beats: Annotated[
        Path | None,
        typer.Option(
            "--beats",
            help="CSV of time_s,beat, the tempo map of a .mid, a grid of rekordbox (.xml) or "
            "Ableton Live (.als): the same as --beats_from FILE.",
        ),
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
    instrument: Annotated[
        str | None,
        typer.Option(
            "--instrument",
            help="What plays: score (by default), pose2audio, wavenet, motion_vae. The same as "
            "--checkpoint.",
        ),
    ] = None,
    condition: Annotated[
        str | None,
        typer.Option(
            "--condition",
            metavar="poses|frames|motiongram|rhythm|score",
            help="What the instrument reads of the dance: wavenet poses (by default) or frames, "
            "the pictures themselves; motion_vae the motiongram of the video (by default) or "
            "poses; pose2audio its rhythm (by default) or the score that is composed for it.",
        ),
    ] = None,
    style: Annotated[
        str | None,
        typer.Option(
            "--style",
            help="Style of music, chosen for the dance by default; dancetomusic styles lists them. "
            "Or the .yaml file of your own.",
        ),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help='Key of the score, such as "A minor" or "F# major".')
    ] = None,
    score: Annotated[
        Path | None,
        typer.Option(
            "--score", help="MIDI file to play on the dance's beats, not a composed score."
        ),
    ] = None,
    soundfont: Annotated[
        Path | None,
        typer.Option("--soundfont", help="SoundFont that plays the score, .sf2 or .sf3."),
    ] = None,
    program: Annotated[
        list[str] | None,
        typer.Option(
            "--program",
            metavar="TRACK=NUMBER",
            help="General MIDI program of a track, such as bass=38; repeat for several.",
        ),
    ] = None,
    energy: Annotated[
        float | None,
        typer.Option(
            "--energy", help="Livelier (to 1) or calmer (to -1) than the dance; 0 follows it."
        ),
    ] = None,
    loudness: Annotated[
        str,
        typer.Option(
            "--loudness", help="Loudness in LUFS to master to, or none to leave it as it is."
        ),
    ] = "-14",
    stems: Annotated[
        Path | None,
        typer.Option("--stems", help="Folder for one .wav a track; they sum to the mix."),
    ] = None,
    swing: Annotated[
        float | None,
        typer.Option("--swing", help="How late off-beats are played: 0 straight, 1 in triplets."),
    ] = None,
    num_dancers: Annotated[
        int, typer.Option("--num_dancers", min=1, help="Follow up to this many people.")
    ] = 1,
    follow: Annotated[
        str,
        typer.Option(
            "--follow",
            metavar="auto|largest|all|NUMBER",
            help="Whose beat is played: all dancers' together, the largest's, or a dancer's by "
            "number; auto: all, but those whose tempo differs from the largest's.",
        ),
    ] = "auto",
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
        typer.Option(
            "--mix_original", help="Duck the video's own sound under the music: 1 as loud, 0 none."
        ),
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
    folder = Path(source)
    is_folder = folder.is_dir()
    beats, beats_from = _given_beats(beats, beats_from)
    checks.check_scope(
        is_folder,
        {
            "--beats": beats,
            "--sound": sound,
            "--save_rhythm": save_rhythm,
            "--save_poses": save_poses,
            "--stems": stems,
            "--score": score,
            "--threads": threads,
        },
        {"--suffix": suffix, "--ray_address": ray_address},
    )
    checks.check_rhythm(folder, bpm, beats, beats_from, tempo, offset_ms, sound)
    if instrument is not None and checkpoint is not None:
        family = _family(checkpoint)
        if family != instrument:
            raise InputError(f"{checkpoint} holds {family}, not {instrument}", "Give one of them.")
    reads = condition or ("score" if score else None)  # a given score is there to be read
    checkpoint = checkpoint or checks.conditioned(instrument, reads)
    # Of the model itself; what is not given is left to its defaults.
    of_model = {
        **checks.read_style(style),
        "key": key,
        "midi": score,
        "soundfont": soundfont,
        "programs": checks.read_programs(program) if program else None,
        "energy": energy,
        "swing": swing,
        "condition": condition,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "cfg_scale": cfg_scale,
    }
    options: dict[str, Any] = {
        "seed": seed,
        "bpm": bpm,
        "beats_from": beats_from,
        "tempo": tempo,
        "offset_ms": offset_ms,
        "num_dancers": num_dancers,
        "follow": checks.read_follow(follow, num_dancers),
        "loudness_lufs": checks.read_loudness(loudness),
        **{name: value for name, value in of_model.items() if value is not None},
    }
    saving: dict[str, Any] = {
        "overlay_skeleton": overlay_skeleton,
        "mix_original": mix_original,
        "click": click,
    }
    if is_folder:
        checks.check_folder(folder, outputs)
        suffixes = suffix or [checks.SOUND_SUFFIX]
        named = [Path(f"music{end}") for end in suffixes]
        checks.check_saving(folder, named, swing=swing, mix_original=mix_original)
        if any(value is not None for value in of_model.values()) or any(
            map(checks.is_score, named)
        ):
            _check_model(checkpoint, codec, of_model, named)
        with open_tasks(engine, workers, ray_address) as tasks:
            _generate_folder(
                folder,
                outputs[0],
                tasks,
                suffixes=suffixes,
                checkpoint=checkpoint,
                codec=codec,
                options=options,
                **saving,
            )
        return
    extras = {".csv": save_rhythm, checks.POSE_SUFFIX: save_poses}
    with local_outputs(outputs) as files:
        checks.check_files(source, files, extras, [beats, sound, score, soundfont])
        checks.check_saving(
            Path(source),
            files,
            swing=swing,
            mix_original=mix_original,
            overlay_skeleton=overlay_skeleton,
        )
        _generate_one(
            source,
            dict(zip(files, outputs, strict=True)),
            checkpoint=checkpoint,
            codec=codec,
            threads=threads,
            save_rhythm=save_rhythm,
            save_poses=save_poses,
            stems=stems,
            beats=beats,
            sound=sound,
            options={**options, "workers": workers},
            saving=saving,
        )


def _given_beats(beats: Path | None, beats_from: str) -> tuple[Path | None, str]:
    """A file of beats, which either option may name, and where the beats come from without one."""
    if beats_from in checks.BEAT_SOURCES:
        return beats, beats_from
    if beats is not None:
        raise InputError("--beats and --beats_from both name a file", "Give one of them.")
    return Path(beats_from), "auto"


def _generate_one(
    source: str,
    outputs: Mapping[Path, Path],
    *,
    checkpoint: str | None,
    codec: str | None,
    threads: int | None,
    save_rhythm: Path | None,
    save_poses: Path | None,
    stems: Path | None,
    beats: Path | None,
    sound: Path | None,
    options: dict[str, Any],
    saving: dict[str, Any],
) -> None:
    """Make music for one video, write it, and say what was made."""
    from dancetomusic.generate.one import DanceToMusic

    started = time.perf_counter()
    with ExitStack() as opened:
        model = DanceToMusic.from_pretrained(checkpoint, codec, threads=threads)
        model.check_outputs(outputs, stems)
        video = opened.enter_context(local_source(source))
        given: dict[str, Any] = {
            name: None if path is None else opened.enter_context(local_source(path))
            for name, path in {"beats": beats, "sound": sound}.items()
        }
        with stage_progress() as on_progress:
            music = model.generate(video, on_progress=on_progress, **given, **options)
        written = _write(music, list(outputs), save_rhythm, save_poses, saving)
        if stems is not None:
            written += music.save_stems(stems)
    shown = [outputs.get(path, path) for path in written]
    _print_summary(music, shown, time.perf_counter() - started)


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


def _family(checkpoint: str) -> str:
    from dancetomusic.models.registry import locate_model

    return locate_model(checkpoint)[0].name


def _check_model(
    checkpoint: str | None, codec: str | None, of_model: dict[str, Any], outputs: Sequence[Path]
) -> None:
    """Refuse what the model cannot play, once for a whole folder."""
    from dancetomusic.generate.one import DanceToMusic

    model = DanceToMusic.from_pretrained(checkpoint, codec)
    model.check(of_model)
    model.check_outputs(outputs)


def _write(
    music: Music,
    outputs: Sequence[Path],
    save_rhythm: Path | None,
    save_poses: Path | None,
    saving: dict[str, Any],
) -> list[Path]:
    written = []
    for output in outputs:
        overlay = saving["overlay_skeleton"] and checks.is_video(output)
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


def _print_summary(music: Music, written: Sequence[Path], elapsed_s: float) -> None:
    quality = music.poses.quality
    share = music.poses.present_share if quality is None else quality.detected_share
    length_s = music.waveform.duration_s
    stages = " · ".join(f"{stage} {seconds:.1f} s" for stage, seconds in music.timings.items())
    print(f"beats    {_say_source(music.rhythm, music.doubts)}")
    if music.lead:
        print(f"leads    {music.lead}")
    print(f"tempo    {music.rhythm.bpm:.1f} BPM, {music.rhythm.beats_per_bar} beats a bar")
    if music.about:
        print(f"music    {music.about}")
    print(f"dancer   in {share:.1%} of frames")
    print(f"stages   {stages}")
    print(
        f"total    {elapsed_s:.1f} s for {length_s:.1f} s of music "
        f"({length_s / elapsed_s:.2f} times real time)"
    )
    for path in written:
        print(f"wrote    {path}")


def _say_source(rhythm: RhythmTrack, doubts: Sequence[str] = ()) -> str:
    """Where the beats come from and how sure they are, in words."""
    if rhythm.source == "file":
        return "given"
    where = {"sound": "from the sound", "movement": "from the movement"}[rhythm.source]
    if rhythm.verdict == "guess":
        why = f", for {' and '.join(doubts)}" if doubts else ""
        return (
            f"{where}, a guess ({rhythm.certainty:.0%} sure){why}: check with --click, "
            "correct with --bpm, --tempo, --offset_ms or --beats"
        )
    return f"{where}, {rhythm.verdict} ({rhythm.certainty:.0%})"
