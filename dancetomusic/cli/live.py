"""``dancetomusic live``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dancetomusic.cli.options import CheckpointOption, check_seed, device_of
from dancetomusic.cli.outputs import check_distinct, check_output
from dancetomusic.errors import InputError

if TYPE_CHECKING:
    from dancetomusic.builder.capture import Picture
    from dancetomusic.live.perform import Player

FILE_LATENCY_MS = 40.0
BEAT_SOURCES = ("movement", "sound")


def live(
    camera: Annotated[
        str | None,
        typer.Option("--camera", help="The camera's number, its stream, or a file in its place."),
    ] = None,
    video: Annotated[
        Path | None, typer.Option("--video", help="A video, played as if a camera saw it.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", help="Write the sound as .wav instead of playing it."),
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", help="Write pictures and sound as .mp4.")
    ] = None,
    style: Annotated[
        str | None, typer.Option("--style", help="Style of music, as for generate.")
    ] = None,
    condition: Annotated[
        str | None,
        typer.Option(
            "--condition",
            help="What the instrument reads: motion_vae the motiongram of the camera (by default) "
            "or poses.",
        ),
    ] = None,
    bpm: Annotated[
        float | None, typer.Option("--bpm", help="Tempo to keep, 40 to 240; the phase is followed.")
    ] = None,
    beats_from: Annotated[
        str,
        typer.Option(
            "--beats_from",
            metavar="movement|sound",
            help="Whose beat is played: the dancer's, or that of the sound that is danced to: the "
            "video's own, or the microphone's beside a camera.",
        ),
    ] = "movement",
    sound_input: Annotated[
        str | None,
        typer.Option("--sound_input", help="The microphone by name or number; the system's own."),
    ] = None,
    follow: Annotated[
        str, typer.Option("--follow", help="Who leads: largest, all, or a dancer's number.")
    ] = "largest",
    num_dancers: Annotated[
        int, typer.Option("--num_dancers", min=1, help="Follow up to this many people.")
    ] = 1,
    seed: Annotated[
        int, typer.Option("--seed", callback=check_seed, help="Of the codes drawn.")
    ] = 0,
    cfg_scale: Annotated[
        float, typer.Option("--cfg_scale", help="Strength of guidance; 1 is none.")
    ] = 2.5,
    seconds: Annotated[
        float | None, typer.Option("--seconds", min=1.0, help="Stop after this long.")
    ] = None,
    checkpoint: CheckpointOption = None,
    sound_output: Annotated[
        str | None,
        typer.Option("--sound_output", help="Sound card by name or number; the system's own."),
    ] = None,
    output_latency_ms: Annotated[
        float | None,
        typer.Option(
            "--output_latency_ms",
            min=0.0,
            help="Output latency; what the sound card says, or 40 for a file.",
        ),
    ] = None,
    wait_for_movement: Annotated[
        bool,
        typer.Option("--wait_for_movement", help="Play beats when seen, not ahead (to compare)."),
    ] = False,
    latency_json: Annotated[
        Path | None, typer.Option("--latency_json", help="Write latencies and figures as .json.")
    ] = None,
    devices: Annotated[
        bool, typer.Option("--list_devices", help="List cameras and sound cards, and exit.")
    ] = False,
) -> None:
    """Play along with a dancer: camera in, music out, as it is danced.

    The space key taps the beat: from the third tap on, the taps lead. Ctrl-C ends it.
    """
    from dancetomusic.live.perform import list_devices

    if devices:
        print("\n".join(list_devices()))
        return
    if (camera is None) == (video is None):
        raise InputError("a camera or a video is needed", "Give either --camera 0 or --video FILE.")
    if beats_from not in BEAT_SOURCES:
        raise InputError(f"--beats_from is {beats_from!r}", f"Give {' or '.join(BEAT_SOURCES)}.")
    if camera is not None and Path(camera).is_file():
        video, camera = Path(camera), None
    _check_files(video, output, record, latency_json)

    import torch

    from dancetomusic.builder.capture import open_sound
    from dancetomusic.live.engine import LiveEngine
    from dancetomusic.live.perform import perform, write_summary

    torch.set_num_threads(1)
    player = _open_player(output, sound_output, output_latency_ms)
    latency_s = player.latency_s if output_latency_ms is None else output_latency_ms / 1000
    with ExitStack() as opened:
        sound = None
        if beats_from == "sound":
            heard = sound_input if video is None else str(video)
            sound = opened.enter_context(open_sound(heard))
        engine = opened.enter_context(
            LiveEngine(
                checkpoint,
                seed=seed,
                style=style,
                condition=condition,
                follow=follow,
                num_dancers=num_dancers,
                output_latency_s=latency_s,
                predict=not wait_for_movement,
                cfg_scale=cfg_scale,
                bpm=bpm,
            )
        )
        pictures = opened.enter_context(_open_pictures(camera, video))
        print("playing; space taps the beat, Ctrl-C ends it", flush=True)
        figures = perform(
            engine,
            pictures,
            player,
            seconds=seconds,
            output=output,
            record=record,
            sound=sound,
        )
    if latency_json is not None:
        write_summary(latency_json, figures)
    for line in report(figures):
        print(line)
    if figures["error"]:
        raise InputError(f"the engine stopped ({figures['error']})", "Start it again.")


def _check_files(
    video: Path | None, output: Path | None, record: Path | None, latency_json: Path | None
) -> None:
    from dancetomusic.io.video import probe_video

    for path, suffix in ((output, ".wav"), (record, ".mp4"), (latency_json, ".json")):
        if path is not None:
            check_output(path, (suffix,))
    check_distinct([output, record, latency_json], [video])
    if video is not None:
        probe_video(video)


def _open_player(
    output: Path | None, sound_output: str | None, output_latency_ms: float | None
) -> Player:
    """What plays: nothing but the file's clock, or a sound card."""
    from dancetomusic.live.perform import CardPlayer, PacedPlayer

    if output is None:
        return CardPlayer(sound_output and device_of(sound_output))
    return PacedPlayer((FILE_LATENCY_MS if output_latency_ms is None else output_latency_ms) / 1000)


def _open_pictures(
    camera: str | None, video: Path | None
) -> AbstractContextManager[Iterator[Picture]]:
    """What is seen: a video at its own speed, or a camera."""
    from dancetomusic.builder.capture import open_camera, paced_pictures
    from dancetomusic.pose.mediapipe import DETECTION_SIDE

    if video is not None:
        return closing(paced_pictures(video, max_side=DETECTION_SIDE))
    assert camera is not None
    return open_camera(device_of(camera))


def report(figures: dict[str, Any]) -> list[str]:
    """What is printed at the end."""
    lines = [f"{'':24}{'p50':>8}{'p95':>8}{'p99':>8}  ms"]
    for stage, times in figures["stages_ms"].items():
        row = "".join(f"{times[key]:8.1f}" for key in ("p50_ms", "p95_ms", "p99_ms"))
        lines.append(f"{stage:24}{row}")
    made = figures["sound_per_computing"]
    speed = "no music" if made is None else f"music composed {made:.1f} times as fast as played"
    lines += [
        f"played   {figures['seconds']:.1f} s at {figures['bpm']:.1f} BPM, beat of the "
        f"{figures['lead']}; {speed}",
        f"frames   {figures['frames_in']}, {figures['frames_dropped']} dropped; "
        f"{figures['underruns']} under-runs, {figures['bridged_s']:.1f} s of them bridged",
    ]
    if figures["leader"] and figures["lead"] == "movement":
        lines.append(f"leads    {figures['leader']}")
    if figures["relief"]:
        lines.append(
            f"slow     {'; '.join(figures['relief'])}: close other programs, or use a machine "
            "with more processors"
        )
    return lines
