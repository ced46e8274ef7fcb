"""Draw a dance and its music on one page: pictures, movement, score, sound, beats and hits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from dancetomusic import DanceToMusic
from dancetomusic.generate.result import Music
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.video import read_frames
from dancetomusic.pose.draw import draw_skeleton
from dancetomusic.score.plan import make_plan

N_PICTURES = 9
COLOURS = 256
"""Of the page, which is then a third of its size."""

HIT = "magenta"
STROKE_S = 0.08
"""Length of a drum's stroke as drawn, in seconds."""


def main(
    video: Annotated[Path, typer.Argument(help="A dance video.")],
    output: Annotated[Path, typer.Argument(help="The page, a .png.")],
    seed: Annotated[int, typer.Option("--seed")] = 0,
    style: Annotated[str | None, typer.Option("--style")] = None,
    num_dancers: Annotated[int, typer.Option("--num_dancers")] = 1,
) -> None:
    """Make music for a video and draw both, with the beats."""
    model = DanceToMusic.from_pretrained()
    draw_page(video, model.generate(video, seed=seed, style=style, num_dancers=num_dancers), output)


def draw_page(video: Path, music: Music, output: Path) -> None:
    """Draw music that plays a score, and the video that it was made for."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rhythm, score, waveform = music.rhythm, music.score, music.waveform
    assert score is not None
    plan = make_plan(score.clock, rhythm, music.dancers)
    figure, (strip, strength, notes, sound) = plt.subplots(
        4, 1, figsize=(12, 9), height_ratios=(3, 1.2, 3, 2.4), layout="constrained"
    )
    strip.imshow(_strip(video, music))
    strip.set_axis_off()
    strip.set_title(f"{video.name}: {rhythm.bpm:.1f} BPM, {rhythm.beats_per_bar} beats a bar")
    strength.plot(np.arange(rhythm.energy.size) / rhythm.energy_rate, rhythm.energy)
    strength.set_ylabel("movement")
    strength.set_ylim(0, 1.45)
    strength.set_yticks((0, 1))
    strength.plot(plan.hits.times, np.full(plan.hits.times.size, 1.25), "v", color=HIT)
    draw_notes(notes, music)
    sound.specgram(
        waveform.to_mono().samples[0] + 1e-6,
        NFFT=2048,
        noverlap=1536,
        Fs=waveform.sample_rate,
        vmin=-140,
    )
    sound.set_yscale("log")
    sound.set_ylim(40, 16_000)
    sound.set_ylabel("Hz")
    sound.set_xlabel("seconds; white: beats, red: downbeats, dotted: hits of the dance")
    for axis in (strength, notes, sound):
        axis.set_xlim(0, waveform.duration_s)
        for time, number in zip(rhythm.beat_times, rhythm.beat_numbers, strict=True):
            axis.axvline(time, color="red" if number == 1 else "white", linewidth=0.7)
    for axis in (strength, notes):
        axis.set_facecolor("0.85")
        for time in plan.hits.times:
            axis.axvline(time, color=HIT, linewidth=1.5, linestyle=":")
    bottom, top = notes.get_ylim()
    notes.set_ylim(bottom, top + 7)
    starts = score.clock.seconds(
        np.array([score.clock.bar_starts[s.first_bar] for s in score.sections], np.float64)
    )
    for section, start in zip(score.sections, starts, strict=True):
        notes.text(max(start, 0.0), top + 6, f" {section.name}", va="top", weight="bold")
    save_page(figure, output)
    plt.close(figure)


def draw_notes(axis: Axes, music: Music) -> None:
    """A piano roll of the music's score, a colour a track."""
    score = music.score
    assert score is not None
    for track, colour in zip(
        score.tracks, ("black", "tab:blue", "tab:green", "tab:red"), strict=True
    ):
        start_s, end_s = score.seconds(track)
        end_s = start_s + STROKE_S if track.is_drum else end_s
        axis.hlines(track.notes.pitch, start_s, end_s, colour, linewidth=2, label=track.name)
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    axis.set_ylabel("pitch (MIDI)")
    axis.set_title(music.about, fontsize="medium")


def save_page(figure: Figure, output: Path) -> None:
    """Write a figure as a .png of few colours."""
    with atomic_output(output) as temporary:
        figure.savefig(temporary, dpi=90)
        page = Image.open(temporary).convert("RGB").quantize(COLOURS)
        page.save(temporary, optimize=True)


def _strip(video: Path, music: Music) -> np.ndarray:
    """Pictures of the video side by side, with the skeletons of all who are followed."""
    poses = music.poses
    wanted = set(np.linspace(0, len(poses) - 1, N_PICTURES).astype(int))
    pictures = []
    for k, frame in enumerate(read_frames(video, poses.fps, max_side=320)):
        if k in wanted:
            for dancer in music.dancers:
                assert dancer.image is not None
                frame = draw_skeleton(frame, dancer.image[k])
            pictures.append(frame)
    return np.concatenate(pictures, axis=1)


if __name__ == "__main__":
    typer.run(main)
