"""Render drum-and-bass pieces from Groove MIDI as WAV files, to train on or to measure with."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from dancetomusic.io.audio import write_audio
from dancetomusic.synthesis.corpus import CorpusConfig, load_or_render, waveform_of_piece


def main(
    grooves: Annotated[Path, typer.Argument(help="Directory of the Groove MIDI Dataset.")],
    output: Annotated[Path, typer.Argument(help="Directory for the WAV files.")],
    pieces: Annotated[int, typer.Option("--pieces", min=1)] = 24,
    seconds: Annotated[float, typer.Option("--seconds", min=1.0)] = 10.0,
    held_out: Annotated[
        bool, typer.Option("--held_out", help="Only drummers, kits and basses never trained on.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed")] = 0,
) -> None:
    """Render pieces that differ in groove, kit, bass, tempo and dynamics."""
    output.mkdir(parents=True, exist_ok=True)
    config = CorpusConfig(n_pieces=pieces, seconds=seconds, held_out=held_out, seed=seed)
    with tempfile.TemporaryDirectory() as cache:
        corpus = load_or_render(config, grooves, cache)
        for number, style in enumerate(corpus.styles):
            write_audio(output / f"{number:03d}_{style}.wav", waveform_of_piece(corpus, number))


if __name__ == "__main__":
    typer.run(main)
