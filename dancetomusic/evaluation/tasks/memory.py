"""What the pose memory is worth to Pose2Audio: the loss of true codes beside it and others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import Float32

from dancetomusic.data.clip_stream import ClipStream
from dancetomusic.errors import InputError
from dancetomusic.evaluation.report import (
    Cell,
    cell_text,
    mean_cell,
    page_head,
    table,
    write_report,
)
from dancetomusic.metrics.bootstrap import known_mean
from dancetomusic.models.pose2audio.losses import codebook_losses
from dancetomusic.models.pose2audio.model import Pose2AudioModel
from dancetomusic.models.pose2audio.preparation import Item, Preparation, require_clips
from dancetomusic.models.pose2audio.score_condition import roll_of_notes
from dancetomusic.models.pose2audio.token_decoder import TokenDecoder
from dancetomusic.models.pose2audio.training_config import Pose2AudioTrainingConfig
from dancetomusic.released import locate_checkpoint
from dancetomusic.synthesis.score_pieces import ScoreCorpusConfig

LATER_S = 17
"""How far the movement of the last row is from its music, in seconds: no multiple of a phrase."""

ROWS = {
    "own": "its own memory",
    "none": "no memory",
    "other": "another dance's",
    "later": f"its own, {LATER_S} s later",
}
NOTE = f"""\
Cross-entropy in nats a code, mean over codebooks and windows, with 95 % bootstrap intervals over
dances. The codes before, the rhythm and (where the model plays one) the score are the true ones in
all rows: what lies above the first row is what the memory is worth. A dance that is shorter than
{LATER_S} s and a window has no last row."""


@torch.inference_mode()
def memory_losses(
    decoder: TokenDecoder, items: Sequence[Item], on_done: Callable[[], None] = lambda: None
) -> list[dict[str, float]]:
    """The loss of each item beside each memory of ``ROWS``, in nats a code; NaN where it has none.

    Each item lasts a window or longer; ``on_done`` is called after each.

    Raises:
        InputError: If there are fewer than two.
    """
    if len(items) < 2:
        raise InputError(f"there are {len(items)} dances", "Give two, to exchange their memories.")
    found = []
    for item, other in zip(items, [*items[1:], items[0]], strict=True):
        memories = {"own": item.memory, "none": None, "other": other.memory}
        rate = round(decoder.config.memory_rate)
        if len(item.memory) >= (LATER_S + decoder.config.window_s) * rate:
            memories["later"] = np.roll(item.memory, -LATER_S * rate, axis=0)
        losses = {name: _loss(decoder, item, memory) for name, memory in memories.items()}
        found.append({name: losses.get(name, math.nan) for name in ROWS})
        on_done()
    return found


def _loss(
    decoder: TokenDecoder, item: Item, memory: Float32[np.ndarray, "memory channels"] | None
) -> float:
    """Mean over the windows of an item that do not overlap."""
    config, losses = decoder.config, []
    frames, places = (
        round(config.window_s * rate) for rate in (config.frame_rate, config.memory_rate)
    )
    score = None
    if config.score:
        score = roll_of_notes(item.notes, config.frame_rate, item.codes.shape[1])
    for number in range(item.codes.shape[1] // frames):
        part = slice(number * frames, (number + 1) * frames)
        codes = torch.from_numpy(item.codes[None, :, part].astype(np.int64))
        beside = None
        if memory is not None:  # a shorter dance begins again
            at = np.arange(number * places, (number + 1) * places) % len(memory)
            beside = torch.from_numpy(memory[at])[None]
        logits = decoder(
            codes,
            torch.from_numpy(item.rhythm[None, part]),
            beside,
            score=None if score is None else score.window(part),
        )
        losses.append(float(codebook_losses(logits, codes).mean()))
    return known_mean(losses)


def evaluate(
    output: Annotated[Path, typer.Option("--output", help="The page, .md; a .json beside it.")],
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="A pose2audio checkpoint.")
    ] = "pose2audio",
    codec: Annotated[
        str | None, typer.Option("--codec", help="Its codec; the one of its training by default.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="A set that build made, in place of dances.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Of the set, or of the dances.")] = "val",
    dances: Annotated[
        Path | None,
        typer.Option("--dances", help="Folder of ballroom dances, for which music is rendered."),
    ] = None,
    grooves: Annotated[
        Path | None,
        typer.Option("--grooves", help="The Groove MIDI Dataset, for a model without score."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=2, help="Dances or clips at most.")] = 200,
    on_done: Callable[[int], None] = lambda total: None,
) -> None:
    """Measure what the pose memory is worth to the loss, beside none and wrong ones."""
    model = Pose2AudioModel.from_pretrained(locate_checkpoint(checkpoint), codec)
    network = model.network
    decoder = network.config.decoder
    if not decoder.memory_dim:
        raise InputError(f"{checkpoint} has no pose memory", "Name a checkpoint that has one.")
    config = Pose2AudioTrainingConfig(
        grooves=str(grooves),
        dances=str(dances),
        dance_versions=1,
        scores=ScoreCorpusConfig(n_pieces=int(decoder.score)),
    )
    with TemporaryDirectory() as folder:
        prepare = Preparation(config, Path(folder), model.codec, network.encoder, decoder)
        if data is not None:
            stream = ClipStream(data, split=split, shuffle=False, transform=prepare.item_of_clip)
            require_clips(stream, model.codec, float(decoder.window_s), split)
            items = list(islice(stream, limit))
        elif dances is not None and (grooves is not None or decoder.score):
            items = prepare.pairs(split)[:limit]
        else:
            raise InputError(
                "there is nothing to measure on", "Give --data, or --dances with --grooves."
            )
    values = memory_losses(network.decoder, items, lambda: on_done(len(items)))
    facts = {
        "model": f"`{checkpoint}`",
        "music": f"for {len(items)} dances of `{data or dances}`, split {split}",
    }
    rows: list[list[str]] = []
    cells: dict[str, Cell] = {}
    for name, title in ROWS.items():
        loss = mean_cell(value[name] for value in values)
        above = mean_cell(value[name] - value["own"] for value in values)
        rows.append([title, cell_text(loss, ".3f"), cell_text(above, ".3f")])
        cells |= {name: loss, f"{name}_above_own": above}
    lines = [*page_head("The pose memory", facts), "## What is measured", "", NOTE, ""]
    lines += ["## Losses", "", *table(["", "nats a code", "above its own"], rows)]
    write_report(output, "\n".join(lines) + "\n", cells)
    print("\n".join(lines))
