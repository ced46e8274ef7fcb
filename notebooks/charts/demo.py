"""An evaluation small enough to watch: one dance with known beats, and no music of its own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from dancetomusic.evaluation.baselines import render_clicks
from dancetomusic.evaluation.pieces import Piece, cut_piece
from dancetomusic.evaluation.report import to_json
from dancetomusic.evaluation.tasks.music.measure import (
    Findings,
    make_plan,
    measure_baselines,
    measure_model,
)
from dancetomusic.evaluation.tasks.music.rows import TRUTH_STEM
from dancetomusic.evaluation.tasks.music.summary import summarise
from dancetomusic.io.audio import write_audio
from dancetomusic.pose.files import load_poses
from dancetomusic.rhythm.files import load_beats

CLICKS = "clicks on the true beats"


def demo_piece(poses: Path | str, beats: Path | str, sound: Path | str) -> Piece:
    """A dance whose beats are known as a piece to evaluate; clicks on them are its music.

    Args:
        poses: The dancer, ``.npz``.
        beats: True beats, ``.csv``.
        sound: Where the clicks are written, ``.wav``.

    Raises:
        InputError: If a file cannot be read.
        OutputError: If the clicks cannot be written.
    """
    dancer = load_poses(poses)
    track = load_beats(beats, dancer.duration_s)
    times = track.beat_times.astype(np.float64)
    write_audio(sound, render_clicks(times, dancer.duration_s))
    return Piece(
        name=Path(poses).stem,
        dance=Path(poses).stem,
        genre="",
        bpm=track.bpm,
        poses=dancer,
        beat_times=times,
        beat_numbers=track.beat_numbers.astype(np.int64),
        downbeat_known=True,
        sound=Path(sound),
        stem=Path(sound),
    )


def evaluate_demo(
    poses: Path | str,
    beats: Path | str,
    checkpoint: str = "pose2audio",
    *,
    seeds: int = 2,
    max_s: float = 8.0,
) -> dict[str, Any]:
    """Score a checkpoint on the start of one dance, beside baselines that know nothing of it.

    What needs the dance's own music, many dances or three minutes is left to ``dancetomusic
    evaluate``: onsets are those of the clicks, and the interval over one dance is its value.

    Args:
        poses: The dancer, ``.npz``.
        beats: True beats, ``.csv``.
        checkpoint: Directory or released name.
        seeds: Takes of the model, and samples of each random baseline.
        max_s: Length scored at most, in seconds.

    Returns:
        Values as in the ``report.json`` of ``dancetomusic evaluate``.

    Raises:
        CheckpointError: If the checkpoint is missing or makes no music.
        InputError: If a file cannot be read.
    """
    plan = make_plan([checkpoint], seeds=seeds)
    with tempfile.TemporaryDirectory() as folder:
        piece = demo_piece(poses, beats, Path(folder) / "clicks.wav")
        if piece.duration_s > max_s:
            piece = cut_piece(piece, 0.0, max_s)
        findings = Findings([piece])
        for row, directory in plan.models.items():
            for take in measure_model(piece, row, directory, plan, False):
                findings.add(take)
        for take in measure_baselines(piece, [], plan):
            if take.row != TRUTH_STEM:
                findings.add(take)
    return {
        "facts": {"data": f"the first {piece.duration_s:g} s of {Path(poses).stem}"},
        "summary": to_json(summarise(findings, list(plan.models))),
        "takes": [
            {"row": take.row, "piece": take.piece, "scores": to_json(take.scores)}
            for take in findings.takes
        ],
    }
