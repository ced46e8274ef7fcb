"""Draw the sound of one score three times: sampled, through the codec alone, and by Pose2Audio."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from building_tools.plot_music import draw_notes, save_page
from dancetomusic import DanceToMusic
from dancetomusic.errors import CheckpointError
from dancetomusic.generate.result import Music
from dancetomusic.io.audio import resample
from dancetomusic.models.pose2audio.model import Pose2AudioModel
from dancetomusic.types import Waveform

PEAK = 0.9


def main(
    video: Annotated[Path, typer.Argument(help="A dance video.")],
    output: Annotated[Path, typer.Argument(help="The page, a .png.")],
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="Pose2Audio that plays scores.")],
    style: Annotated[str | None, typer.Option("--style")] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    seconds: Annotated[float, typer.Option("--seconds", help="Of the beginning.")] = 10.0,
) -> None:
    """Compose for a video, and draw how the piece sounds when it is played in three ways."""
    neural = DanceToMusic.from_pretrained(checkpoint)
    if not isinstance(neural.model, Pose2AudioModel):
        raise CheckpointError(f"{checkpoint} writes no codes", "Name a pose2audio checkpoint.")
    codec = neural.model.codec
    sampled = DanceToMusic.from_pretrained("score").generate(video, style=style, seed=seed)
    played = neural.generate(video, style=style, seed=seed)
    rate = codec.sample_rate
    original = resample(sampled.waveform.to_mono(), rate)
    draw_sounds(
        {
            "played by the sampler": original,
            "the same, encoded and decoded": codec.decode(codec.encode(original)),
            "played by Pose2Audio": resample(played.waveform.to_mono(), rate),
        },
        sampled,
        output,
        seconds,
    )


def draw_sounds(sounds: dict[str, Waveform], music: Music, output: Path, seconds: float) -> None:
    """The notes above spectrograms of sounds that play them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (notes, *pictures) = plt.subplots(
        1 + len(sounds), 1, figsize=(12, 10), sharex=True, layout="constrained"
    )
    draw_notes(notes, music)
    for axis, (name, sound) in zip(pictures, sounds.items(), strict=True):
        samples = sound.samples[0] * (PEAK / max(float(np.abs(sound.samples).max()), 1e-6))
        axis.specgram(
            samples + 1e-6, NFFT=1024, noverlap=896, Fs=sound.sample_rate, vmin=-120, vmax=-30
        )
        axis.set_yscale("log")
        axis.set_ylim(40, 11_000)
        axis.set_ylabel("Hz")
        axis.set_title(name, fontsize="medium")
    pictures[-1].set_xlabel("seconds")
    notes.set_xlim(0, seconds)
    save_page(figure, output)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
