"""Fit the pattern of ``dancetomusic.rhythm.onset_pattern.py`` and print it as its source."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dancetomusic.data.tang2018 import load_dances
from dancetomusic.io.audio import read_audio
from dancetomusic.rhythm.onset_pattern_fit import BeatPatternConfig, Song, fit_beat_pattern
from dancetomusic.stems.base import Mix
from dancetomusic.stems.hpss import HpssSeparator
from dancetomusic.synthesis.corpus import CorpusConfig, load_or_render, waveform_of_piece


def main(
    grooves: Annotated[Path, typer.Argument(help="Directory of the Groove MIDI Dataset.")],
    dances: Annotated[Path, typer.Argument(help="Directory of Tang et al.'s dances.")],
    cache: Annotated[Path, typer.Argument(help="Directory that keeps the rendered music.")],
    pieces: Annotated[int, typer.Option("--pieces", min=1)] = 480,
    seed: Annotated[int, typer.Option("--seed")] = 1,
) -> None:
    """Fit to rendered grooves and to the training dances' music."""
    corpus = load_or_render(CorpusConfig(n_pieces=pieces, seed=seed), grooves, cache)
    songs = [
        Song(waveform_of_piece(corpus, number), times, numbers)
        for number, (times, numbers) in enumerate(
            zip(corpus.beat_times, corpus.beat_numbers, strict=True)
        )
    ]
    separator = HpssSeparator()
    for dance in load_dances(dances, split="train"):
        mix = read_audio(dance.audio_path)
        if mix is not None:
            count = np.arange(dance.beat_times.size if dance.downbeat_known else 0)
            numbers = count % dance.beats_per_bar + 1
            stem = separator.drum_and_bass([Mix("dance", mix)])[0]
            songs += 3 * [Song(stem, dance.beat_times, numbers)]  # real music is scarce
    pattern, downbeat = fit_beat_pattern(songs, BeatPatternConfig())
    for band in np.rint(100 * pattern).astype(int):
        typer.echo("    " + " ".join(f"{value:d}" for value in band))
    typer.echo(" ".join(f"{value:.2f}" for value in downbeat))


if __name__ == "__main__":
    typer.run(main)
