"""A folder of real clips in miniature: clicks, movement on them, and their beats."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dancetomusic.evaluation.baselines import metronome_times, render_clicks, white_noise
from dancetomusic.io.audio import write_audio
from dancetomusic.synthesis.choreography import choreograph

SECONDS = 12.0
CLIPS = (
    # id, group, style, tempo, pulse, agreement
    ("one", "anna", "street", 100.0, 0.6, 1.0),
    ("two", "anna", "street", 120.0, 0.6, 0.9),
    ("three", "bert", "ballet", 90.0, 0.5, 0.9),
    ("doubtful", "carl", "ballet", 110.0, 0.5, 0.4),
    ("beatless", "dora", "ballet", 100.0, 0.05, 0.2),
)
SCORED = ("one", "two", "three")


def write_clips(folder: Path) -> None:
    """Five clips of 12 s: three with a sure reference, one without, one of noise."""
    rows = ["id,group,style,seconds,pulse,agreement"]
    for name, group, style, bpm, pulse, agreement in CLIPS:
        rows.append(f"{name},{group},{style},{SECONDS},{pulse},{agreement}")
        beats = metronome_times(bpm, SECONDS)
        made = choreograph("steps", bpm, SECONDS, seed=1)
        arrays = {
            "beats": beats,
            "bars": np.stack([beats, np.arange(beats.size) % 4 + 1], axis=1),
            "beats_second": beats,
        }
        if name != "two":
            arrays |= {
                "poses": made.world.astype(np.float16),
                "present": np.ones(made.world.shape[0], bool),
                "fps": np.array(24.0),
            }
        np.savez(folder / f"{name}.npz", **arrays)
        clicks = render_clicks(beats, SECONDS)
        sound = clicks if pulse > 0.15 else white_noise(SECONDS, 0)
        write_audio(folder / f"{name}.wav", sound)
        (folder / f"{name}.wav").rename(folder / f"{name}.opus")
    (folder / "index.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
