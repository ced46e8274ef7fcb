"""``dancetomusic dance``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancetomusic.cli.options import check_seed
from dancetomusic.cli.outputs import check_distinct, check_output
from dancetomusic.errors import InputError

if TYPE_CHECKING:
    from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

POSES_SUFFIX, CAPTURE_SUFFIX, PICTURE_SUFFIX = ".npz", ".bvh", ".png"
STAGES = {"music": "dance_gan", "sequences": "dance_gan_sequences", "poses": "dance_gan_poses"}
"""Released checkpoint of each stage."""

MOST_DANCERS = 4


def dance(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="[SONG] OUTPUT",
            help="Music, or a video with sound, unless --seconds or --pose is given; and a video, "
            "or poses: .npz, or .bvh for Blender and the like.",
        ),
    ],
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Directory or released name.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", min=1.0, help="Dance so long without a song, on steady beats."),
    ] = None,
    pose: Annotated[
        int | None,
        typer.Option("--pose", min=1, max=400, help="Still poses to make: a .png, or .npz."),
    ] = None,
    seed: Annotated[
        list[int] | None,
        typer.Option(
            "--seed", callback=check_seed, help="Another seed, another dance; repeat for several."
        ),
    ] = None,
    num_dancers: Annotated[
        int,
        typer.Option(
            "--num_dancers",
            min=1,
            max=MOST_DANCERS,
            help="Dancers side by side, each with a dance of its own on the same beats.",
        ),
    ] = 1,
    bpm: Annotated[
        float | None, typer.Option("--bpm", help="Dance on steady beats from the start.")
    ] = None,
    style: Annotated[
        str | None,
        typer.Option("--style", help="With --seconds: tempo and metre of a style of music."),
    ] = None,
    beats: Annotated[
        Path | None, typer.Option("--beats", help="CSV of beats to dance on: time_s,beat.")
    ] = None,
    variety: Annotated[
        float | None,
        typer.Option("--variety", min=0.0, help="More is bolder. [0.85 to music, without it 1]"),
    ] = None,
) -> None:
    """Make a dance for a piece of music, as long as it is; or on beats alone; or still poses."""
    from dancetomusic.io.mux import VIDEO_SUFFIXES
    from dancetomusic.models.dance_gan.generation import VARIETY
    from dancetomusic.models.dance_gan.network import load_dance_gan
    from dancetomusic.released import locate_checkpoint

    stage = "poses" if pose is not None else "music" if seconds is None else "sequences"
    song, output = _files(files, stage)
    of_dances = {"--seconds": seconds, "--beats": beats, "--bpm": bpm, "--style": style}
    several_dancers = num_dancers if num_dancers > 1 else None
    _refuse(stage == "poses", "--pose", {**of_dances, "--num_dancers": several_dancers})
    _refuse(stage == "music", "a song", {"--style": style})
    _refuse(stage == "sequences", "--seconds", {"--beats": beats})
    one_of = {"--bpm": bpm, "--beats": beats, "--style": style}
    if sum(value is not None for value in one_of.values()) > 1:
        raise InputError(
            f"{' and '.join(k for k, v in one_of.items() if v)} are given", "Give one."
        )
    suffixes = (POSES_SUFFIX, CAPTURE_SUFFIX, *VIDEO_SUFFIXES)
    several = seed is not None and len(seed) > 1
    targets = [numbered(output, number) for number in seed or []] if several else [output]
    for target in targets:
        check_output(target, (PICTURE_SUFFIX, POSES_SUFFIX) if stage == "poses" else suffixes)
    check_distinct(targets, [song, beats])
    model = load_dance_gan(locate_checkpoint(checkpoint or STAGES[stage]), stage=None)
    if variety is None:
        variety = VARIETY if song is not None else 1.0
    music, rhythm = _beats_to_dance_on(song, seconds, bpm, style, beats)
    for number, target in zip(seed or [0], targets, strict=True):
        if pose is not None:
            written = _make_poses(model, target, pose, number, variety)
        else:
            dancers = _make_dancers(model, music, rhythm, num_dancers, number, variety)
            written = _write_dancers(target, dancers, music)
        for path in written:
            print(f"wrote    {path}")


def _files(files: list[Path], stage: str) -> tuple[Path | None, Path]:
    """The song, where one is danced to, and the output."""
    wanted = 2 if stage == "music" else 1
    if len(files) != wanted:
        remedy = "Name a song and an output." if wanted == 2 else "Name the output alone."
        raise InputError(f"{len(files)} files are named", remedy)
    return (files[0] if wanted == 2 else None), files[-1]


def _refuse(applies: bool, what: str, options: Mapping[str, object]) -> None:
    for name, value in options.items():
        if applies and value is not None:
            raise InputError(f"{name} has no meaning with {what}", "Leave it out.")


def _beats_to_dance_on(
    song: Path | None,
    seconds: float | None,
    bpm: float | None,
    style: str | None,
    beats: Path | None,
) -> tuple[Waveform | None, RhythmTrack | None]:
    """The music, if there is any, and the beats, unless they are found in it."""
    from dancetomusic.io.audio import read_audio
    from dancetomusic.rhythm.beats import steady_grid
    from dancetomusic.rhythm.files import load_beats
    from dancetomusic.score.style import load_style

    if seconds is not None:
        if style is not None:
            chosen = load_style(style)
            return None, steady_grid(chosen.tempo[1], seconds, beats_per_bar=chosen.metres[0])
        return None, steady_grid(110.0 if bpm is None else bpm, seconds)
    if song is None:
        return None, None
    music = read_audio(song)
    if music is None:
        raise InputError(f"{song} has no sound", "Name a file with music.")
    if beats is not None:
        return music, load_beats(beats, music.duration_s)
    return music, None if bpm is None else steady_grid(bpm, music.duration_s)


def _make_dancers(
    model: object,
    music: Waveform | None,
    rhythm: RhythmTrack | None,
    count: int,
    seed: int,
    variety: float,
) -> list[PoseSequence]:
    """Dancers on the same beats, each with noise of its own."""
    from dancetomusic.models.dance_gan.generation import dance_on, dance_to
    from dancetomusic.models.dance_gan.mel import dancing_beats
    from dancetomusic.models.dance_gan.network import DanceGenerator

    assert isinstance(model, DanceGenerator)
    seeds = [seed + 1_000_003 * number for number in range(count)]
    if music is None:
        assert rhythm is not None
        return [dance_on(model, rhythm, seed=each, variety=variety) for each in seeds]
    track = rhythm or dancing_beats(music)
    return [dance_to(model, music, seed=each, rhythm=track, variety=variety) for each in seeds]


def _write_dancers(target: Path, dancers: list[PoseSequence], music: Waveform | None) -> list[Path]:
    """Write a video of all, or a file of poses for each."""
    from dancetomusic.models.dance_gan.generation import render_dance
    from dancetomusic.pose.bvh import save_bvh
    from dancetomusic.pose.files import save_poses

    savers = {POSES_SUFFIX: save_poses, CAPTURE_SUFFIX: save_bvh}
    save = savers.get(target.suffix.lower())
    if save is None:
        render_dance(target, dancers, music)
        return [target]
    alone = len(dancers) == 1
    paths = [target if alone else numbered(target, k + 1) for k in range(len(dancers))]
    for path, poses in zip(paths, dancers, strict=True):
        save(path, poses)
    return paths


def _make_poses(model: object, target: Path, count: int, seed: int, variety: float) -> list[Path]:
    """Still poses, drawn or as arrays."""
    from dancetomusic.data.dance import fully_visible
    from dancetomusic.models.dance_gan.generation import draw_poses, still_poses
    from dancetomusic.models.dance_gan.network import DanceGenerator
    from dancetomusic.pose.files import save_poses
    from dancetomusic.types import POSE_FPS

    assert isinstance(model, DanceGenerator)
    world = still_poses(model, count, seed=seed, variety=variety)
    if target.suffix.lower() == PICTURE_SUFFIX:
        draw_poses(target, world)
    else:
        save_poses(target, fully_visible(world, POSE_FPS))
    return [target]


def numbered(path: Path, number: int) -> Path:
    """A file beside ``path`` with a number in its name.

    Example:
        >>> numbered(Path("out/dance.mp4"), 3).name
        'dance_3.mp4'
    """
    return path.with_name(f"{path.stem}_{number}{path.suffix}")
