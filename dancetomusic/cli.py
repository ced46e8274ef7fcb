"""The command ``dancetomusic``: parse, check what is cheap to check, call the package, print.

Errors that a user can repair are one line on stderr and exit code 2; an interrupt is 130;
any other exception is a bug and keeps its traceback. Nothing heavy is imported before a
subcommand needs it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from dancetomusic import __version__
from dancetomusic.errors import (
    ConfigError,
    DanceToMusicError,
    InputError,
    OutputError,
    VideoError,
)

BPM_RANGE = (40.0, 240.0)
SOUND_SUFFIX = ".wav"
POSE_SUFFIX = ".npz"

app = typer.Typer(
    name="dancetomusic",
    help="A dance video goes in, music that fits the movement comes out.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command with ``argv`` (the process's own arguments by default) and exit."""
    try:
        app(args=None if argv is None else list(argv), prog_name="dancetomusic")
    except DanceToMusicError as error:
        print(f"dancetomusic: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def _print_version(wanted: bool) -> bool:
    if wanted:
        print(f"dancetomusic {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


@app.command()
def generate(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A dance video, or poses as .npz.")
    ],
    outputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="OUTPUT",
            help="Where the music goes: .wav for the sound alone, .mp4, .mov, .mkv or .webm for "
            "the video with its new sound. Several get the same music.",
        ),
    ],
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same file.")] = 0,
    bpm: Annotated[
        float | None,
        typer.Option("--bpm", help="Tempo to use instead of the one danced, 40 to 240."),
    ] = None,
    beats: Annotated[
        Path | None,
        typer.Option("--beats", help="CSV of time_s,beat to use instead of the beats danced."),
    ] = None,
    num_dancers: Annotated[
        int, typer.Option("--num_dancers", min=1, help="Follow up to this many people.")
    ] = 1,
    save_rhythm: Annotated[
        Path | None, typer.Option("--save_rhythm", help="Write the beats read, as .csv.")
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
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Model: a directory or a released name.")
    ] = None,
    codec: Annotated[
        str | None, typer.Option("--codec", help="Codec: a directory, released name or hub id.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="CPU threads of the model.")
    ] = None,
) -> None:
    """Make music for a dance video."""
    from dancetomusic.media.mux import VIDEO_SUFFIXES

    started = time.perf_counter()
    _check_source(source)
    for output in outputs:
        _check_output(output, source, (SOUND_SUFFIX, *VIDEO_SUFFIXES))
    for extra, suffix in ((save_rhythm, ".csv"), (save_poses, POSE_SUFFIX)):
        if extra is not None:
            _check_output(extra, source, (suffix,))
    _check_choices(source, outputs, bpm, beats, overlay_skeleton, mix_original)
    sampling: dict[str, Any] = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "cfg_scale": cfg_scale,
    }

    from dancetomusic.inference.pipeline import DanceToMusic

    with _progress() as on_progress:
        model = DanceToMusic.from_pretrained(checkpoint, codec, threads=threads)
        music = model.generate(
            source,
            seed=seed,
            bpm=bpm,
            beats=beats,
            num_dancers=num_dancers,
            on_progress=on_progress,
            **{name: value for name, value in sampling.items() if value is not None},
        )
    written = _write(music, outputs, save_rhythm, save_poses, overlay_skeleton, mix_original)
    _print_summary(music, written, time.perf_counter() - started)


@app.command()
def train(
    model: Annotated[
        str, typer.Option("--model", help="What to train: codec, pose_encoder or pose2audio.")
    ],
    config: Annotated[Path, typer.Option("--config", help="Its settings, YAML or JSON.")],
    output: Annotated[Path, typer.Option("--output", help="Directory of the run.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace the file's."),
    ] = None,
) -> None:
    """Train a model."""
    values = dict(_parse_override(text) for text in overrides or [])

    from dancetomusic import training

    training.train(model, config, values, output)


@app.command()
def info() -> None:
    """Print what is installed: versions, released checkpoints, cache, optional parts."""
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version
    from shutil import which

    from platformdirs import user_cache_path

    from dancetomusic.released import released_checkpoints

    def installed(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    print(f"dancetomusic {__version__}, {Path(__file__).resolve().parent}")
    print(f"python       {python_version()}")
    for package in ("torch", "mediapipe", "av"):
        print(f"{package:<12} {installed(package)}")
    print("\nreleased checkpoints")
    for name, folder in released_checkpoints().items():
        size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
        print(f"  {name:<20} {size / 1e6:5.1f} MB  {folder}")
    print(f"\ncache        {user_cache_path('dancetomusic')}")
    print("\noptional parts")
    for package, purpose in (
        ("onnxruntime", "quicker token decoding"),
        ("transformers", "the EnCodec codec"),
        ("pyvista", "rendering a dancer"),
        ("mir_eval", "evaluation"),
    ):
        print(f"  {package:<14} {installed(package):<14} {purpose}")
    print(f"  {'fluidsynth':<14} {which('fluidsynth') or 'not installed':<14} training music")


def _is_video(output: Path) -> bool:
    return output.suffix.lower() != SOUND_SUFFIX


def _check_source(source: Path) -> None:
    if not source.is_file():
        state = "is not a file" if source.exists() else "does not exist"
        raise VideoError(f"{source} {state}", f"Name a video, or poses as {POSE_SUFFIX}.")


def _check_output(output: Path, source: Path, suffixes: Sequence[str]) -> None:
    """Refuse an output that could not be written, before any work is done for it."""
    if output.suffix.lower() not in suffixes:
        raise OutputError(
            f"output {output} has extension {output.suffix or '(none)'!r}",
            f"Use {', '.join(suffixes)}.",
        )
    if output.is_dir():
        raise OutputError(f"output {output} is a directory", "Name a file.")
    if output.exists() and output.samefile(source):
        raise OutputError(f"output {output} is the input", "Name another file.")
    if not output.parent.is_dir():
        raise OutputError(f"directory {output.parent} does not exist", "Create it first.")
    try:
        with tempfile.TemporaryFile(dir=output.parent):
            pass
    except OSError as error:
        raise OutputError(
            f"cannot write in {output.parent} ({error.strerror})", "Choose another output path."
        ) from error


def _check_choices(
    source: Path,
    outputs: Sequence[Path],
    bpm: float | None,
    beats: Path | None,
    overlay_skeleton: bool,
    mix_original: float,
) -> None:
    """Refuse options out of range, and options that exclude each other."""
    video_outputs = [output for output in outputs if _is_video(output)]
    low, high = BPM_RANGE
    if bpm is not None and not low <= bpm <= high:
        raise InputError(f"--bpm is {bpm:g}", f"Give a tempo from {low:g} to {high:g}.")
    if bpm is not None and beats is not None:
        raise InputError("--bpm and --beats both set the tempo", "Give one of them.")
    if beats is not None and not beats.is_file():
        raise InputError(f"--beats {beats} is not a file", "Name a CSV of time_s,beat.")
    if not 0.0 <= mix_original <= 1.0:
        raise InputError(f"--mix_original is {mix_original:g}", "Give a gain from 0 to 1.")
    if overlay_skeleton and not video_outputs:
        raise InputError("--overlay_skeleton draws on a video", "Name an output such as out.mp4.")
    if source.suffix.lower() == POSE_SUFFIX:
        if video_outputs:
            raise OutputError(f"{source} has no picture for {video_outputs[0]}", "Name a .wav.")
        if mix_original:
            raise InputError(f"{source} has no sound to mix", "Leave --mix_original out.")


def _parse_override(text: str) -> tuple[str, Any]:
    """Read ``key=value``, the value as YAML."""
    import yaml

    key, separator, value = text.partition("=")
    if not key or not separator:
        raise ConfigError(f"override {text!r} has no key and value", "Write key=value.")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ConfigError(f"override {text!r} is malformed", "Quote the value.") from error


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None] | None]:
    """Give a callback (stage, share done) that draws on stderr; none if that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, share: float) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=1.0)
            bars.update(tasks[stage], completed=share)

        yield report


def _write(
    music: Any,
    outputs: Sequence[Path],
    save_rhythm: Path | None,
    save_poses: Path | None,
    overlay_skeleton: bool,
    mix_original: float,
) -> list[Path]:
    written = []
    for output in outputs:
        music.save(
            output,
            overlay_skeleton=overlay_skeleton and _is_video(output),
            mix_original=mix_original,
        )
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
    print(f"tempo    {music.rhythm.bpm:.1f} BPM, {music.rhythm.beats_per_bar} beats a bar")
    print(f"dancer   in {share:.1%} of frames")
    print(f"stages   {stages}")
    print(
        f"total    {elapsed_s:.1f} s for {length_s:.1f} s of music "
        f"({length_s / elapsed_s:.2f} times real time)"
    )
    for path in written:
        print(f"wrote    {path}")


if __name__ == "__main__":
    main()
