"""Cut an excerpt from a sound or video file, small enough for a page: Opus, fades at its ends."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from dancetomusic.generate.result import RIGHTS
from dancetomusic.io.audio import read_audio, sound_output

SAMPLE_RATE = 48_000  # of Opus
FADE_S = 0.05


def main(
    source: Annotated[Path, typer.Argument(help="Sound that the score was played to.")],
    output: Annotated[Path, typer.Argument(help="The excerpt, .ogg.")],
    start_s: Annotated[float, typer.Option("--start_s", min=0)] = 0.0,
    length_s: Annotated[float, typer.Option("--length_s", min=0.2)] = 10.0,
    compression: Annotated[float, typer.Option("--compression", min=0, max=1)] = 0.8,
) -> None:
    """Write the excerpt."""
    sound = read_audio(source, SAMPLE_RATE, 2)
    if sound is None:
        raise typer.BadParameter(f"{source} has no sound")
    first = round(start_s * SAMPLE_RATE)
    samples = sound.samples[:, first : first + round(length_s * SAMPLE_RATE)].copy()
    if samples.shape[1] < 0.2 * SAMPLE_RATE:
        raise typer.BadParameter(f"{source} ends before {start_s + 0.2:g} s")
    ramp = np.linspace(0, 1, round(FADE_S * SAMPLE_RATE), dtype=np.float32)
    if first:
        samples[:, : ramp.size] *= ramp
    samples[:, -ramp.size :] *= ramp[::-1]
    with (
        sound_output(output) as temporary,
        soundfile.SoundFile(
            temporary, "w", SAMPLE_RATE, 2, "OPUS", format="OGG", compression_level=compression
        ) as file,
    ):
        file.comment = RIGHTS
        file.write(samples.T)


if __name__ == "__main__":
    typer.run(main)
