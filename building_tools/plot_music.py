"""Draw a dance and its music on one page: pictures, movement, score, sound, and beat positions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dancetomusic import DanceToMusic
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.video import read_frames
from dancetomusic.pose.draw import draw_skeleton

N_PICTURES = 9
COLOURS = ("black", "tab:blue", "tab:green", "tab:red")


def main(
    video: Annotated[Path, typer.Argument(help="A dance video.")],
    output: Annotated[Path, typer.Argument(help="The page, .png or .svg.")],
    seed: Annotated[int, typer.Option("--seed")] = 0,
) -> None:
    """Make music for a video and draw both, with the beats."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    music = DanceToMusic.from_pretrained().generate(video, seed=seed)
    poses, rhythm = music.poses, music.rhythm
    assert poses.image is not None
    wanted = np.linspace(0, len(poses) - 1, N_PICTURES).astype(int)
    pictures = [
        draw_skeleton(frame, poses.image[k])
        for k, frame in enumerate(read_frames(video, poses.fps, max_side=320))
        if k in wanted
    ]
    figure, (strip, strength, notes, sound) = plt.subplots(
        4, 1, figsize=(12, 10), height_ratios=(3, 1, 2, 2), layout="constrained"
    )
    strip.imshow(np.concatenate(pictures, axis=1))
    strip.set_axis_off()
    strip.set_title(f"{video.name}: {rhythm.bpm:.1f} BPM, {rhythm.beats_per_bar} beats a bar")
    strength.plot(np.arange(rhythm.energy.size) / rhythm.energy_rate, rhythm.energy)
    strength.set_ylabel("movement")
    score = music.score
    assert score is not None
    for track, colour in zip(
        score.tracks, ("black", "tab:blue", "tab:green", "tab:red"), strict=True
    ):
        start_s, end_s = score.seconds(track)
        end_s = start_s + 0.08 if track.is_drum else end_s
        notes.hlines(track.notes.pitch, start_s, end_s, colour, linewidth=2, label=track.name)
    notes.legend(loc="upper right", fontsize="small")
    notes.set_ylabel("pitch (MIDI)")
    notes.set_title(music.about, fontsize="medium")
    waveform = music.waveform
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
    sound.set_xlabel("seconds; lines are the beats read from the dance, red ones downbeats")
    for axis in (strength, notes, sound):
        axis.set_xlim(0, waveform.duration_s)
        for time, number in zip(rhythm.beat_times, rhythm.beat_numbers, strict=True):
            axis.axvline(time, color="red" if number == 1 else "white", linewidth=0.7)
    for axis in (strength, notes):
        axis.set_facecolor("0.85")
    with atomic_output(output) as temporary:
        figure.savefig(temporary, dpi=80)


if __name__ == "__main__":
    typer.run(main)
