"""``dancetomusic generate``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancetomusic.cli import generate_options as opt
from dancetomusic.cli.engine import (
    EngineName,
    EngineOption,
    RayAddressOption,
    WorkersOption,
    open_tasks,
)
from dancetomusic.cli.options import CheckpointOption, CodecOption, ThreadsOption
from dancetomusic.cli.progress import item_progress, stage_progress
from dancetomusic.cli.streams import local_outputs, local_source
from dancetomusic.errors import InputError

if TYPE_CHECKING:
    from dancetomusic.generate.result import Music
    from dancetomusic.parallel import Engine
    from dancetomusic.types import RhythmTrack


def generate(
    source: opt.SourceArgument,
    outputs: opt.OutputsArgument,
    seed: opt.SeedOption = 0,
    bpm: opt.BpmOption = None,
    beats_from: opt.BeatsFromOption = "auto",
    beats: opt.BeatsOption = None,
    tempo: opt.TempoOption = None,
    offset_ms: opt.OffsetMsOption = 0.0,
    sound: opt.SoundFileOption = None,
    click: opt.ClickOption = False,
    instrument: opt.InstrumentOption = None,
    condition: opt.ConditionOption = None,
    style: opt.StyleOption = None,
    key: opt.KeyOption = None,
    score: opt.ScoreOption = None,
    soundfont: opt.SoundFontOption = None,
    program: opt.ProgramOption = None,
    energy: opt.EnergyOption = None,
    loudness: opt.LoudnessOption = "-14",
    stems: opt.StemsOption = None,
    swing: opt.SwingOption = None,
    num_dancers: opt.NumDancersOption = 1,
    follow: opt.FollowOption = "auto",
    save_rhythm: opt.SaveRhythmOption = None,
    save_poses: opt.SavePosesOption = None,
    overlay_skeleton: opt.OverlaySkeletonOption = False,
    mix_original: opt.MixOriginalOption = 0.0,
    temperature: opt.TemperatureOption = None,
    top_k: opt.TopKOption = None,
    top_p: opt.TopPOption = None,
    cfg_scale: opt.CfgScaleOption = None,
    checkpoint: CheckpointOption = None,
    codec: CodecOption = None,
    threads: ThreadsOption = None,
    suffix: opt.SuffixOption = None,
    workers: WorkersOption = None,
    engine: EngineOption = EngineName.processes,
    ray_address: RayAddressOption = None,
) -> None:
    """Make music for a dance video, or for every video of a folder."""
    folder = Path(source)
    is_folder = folder.is_dir()
    beats, beats_from = _given_beats(beats, beats_from)
    opt.check_scope(
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
    opt.check_rhythm(folder, bpm, beats, beats_from, tempo, offset_ms, sound)
    if instrument is not None and checkpoint is not None:
        family = _family(checkpoint)
        if family != instrument:
            raise InputError(f"{checkpoint} holds {family}, not {instrument}", "Give one of them.")
    checkpoint = checkpoint or opt.conditioned(instrument, condition)
    # Of the model itself; what is not given is left to its defaults.
    of_model = {
        **opt.read_style(style),
        "key": key,
        "midi": score,
        "soundfont": soundfont,
        "programs": opt.read_programs(program) if program else None,
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
        "follow": opt.read_follow(follow, num_dancers),
        "loudness_lufs": opt.read_loudness(loudness),
        **{name: value for name, value in of_model.items() if value is not None},
    }
    saving: dict[str, Any] = {
        "overlay_skeleton": overlay_skeleton,
        "mix_original": mix_original,
        "click": click,
    }
    if is_folder:
        opt.check_folder(folder, outputs)
        suffixes = suffix or [opt.SOUND_SUFFIX]
        named = [Path(f"music{end}") for end in suffixes]
        opt.check_saving(folder, named, swing=swing, mix_original=mix_original)
        if any(value is not None for value in of_model.values()) or any(map(opt.is_score, named)):
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
    extras = {".csv": save_rhythm, opt.POSE_SUFFIX: save_poses}
    with local_outputs(outputs) as files:
        opt.check_files(source, files, extras, [beats, sound, score, soundfont])
        opt.check_saving(
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
    if beats_from in opt.BEAT_SOURCES:
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
        overlay = saving["overlay_skeleton"] and opt.is_video(output)
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
