"""A ballroom folder of dances to metronomes, for tests of the evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dancetomusic.evaluation.baselines import metronome_times, render_clicks
from dancetomusic.io.audio import write_audio
from dancetomusic.synthesis.choreography import choreograph

SECONDS = 12.0
DANCES = (
    ("A", "waltz", "val", 100.0),
    ("B", "waltz", "train", 105.0),
    ("C", "tango", "train", 83.0),
)


def write_dances(folder: Path) -> None:
    """Three dances of 12 s, each with clicks on its beats for music; one is held out."""
    (folder / "motion").mkdir()
    (folder / "audio").mkdir()
    rows = ["id,genre,split,sync_quality,bpm,snap"]
    for name, genre, split, bpm in DANCES:
        rows.append(f"{name},{genre},{split},A,{bpm},downbeat")
        beats = metronome_times(bpm, SECONDS)
        made = choreograph("steps", bpm, SECONDS, seed=1)
        np.savez(
            folder / "motion" / f"{name}.npz",
            mp33=made.world.astype(np.float16),
            mp_fps=24,
            beat_times=beats.astype(np.float32),
            cau=np.array(["T-1"]),
            cau_beat=np.array([0.0]),
            cau_beats=np.array([8.0]),
        )
        sound = folder / "audio" / f"{name}.wav"
        write_audio(sound, render_clicks(beats, SECONDS))
        sound.rename(sound.with_suffix(".opus"))
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
