"""Beats of a minute of sound on one core, stage by stage, and of librosa beside them.

All take turns on the same sound, so that a busy machine slows them alike; times are of the
processor. The sound is a programmed groove of drums, without anything to download.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from dancetomusic.evaluation.baselines import metronome_times, render_clicks
from dancetomusic.metrics.beats import track_beats
from dancetomusic.models.beat_network.audio_beats import NETWORK, sound_rhythms
from dancetomusic.models.beat_network.bar_pointer import decode_beats
from dancetomusic.models.beat_network.network import beat_activations, load_beat_network, mel_power
from dancetomusic.released import locate_checkpoint
from dancetomusic.rhythm.onset_pattern import fit_onset_pattern

SECONDS = 60.0
REPEATS = 5


def main() -> None:
    """Print a Markdown table."""
    torch.set_num_threads(1)
    sound = render_clicks(metronome_times(112.0, SECONDS), SECONDS)
    network = load_beat_network(locate_checkpoint(NETWORK))
    power = mel_power(sound)
    odds = beat_activations(network, power)[0]
    fine = np.interp(np.arange(2 * odds.size) / 2, np.arange(odds.size), odds)
    activation = (1.0 / (1.0 + np.exp(-fine))).astype(np.float32)
    stages: dict[str, Callable[[], object]] = {
        "mel levels": lambda: mel_power(sound),
        "network": lambda: beat_activations(network, power),
        "bar-pointer model, one path": lambda: decode_beats(activation, 100.0),
        "second estimator": lambda: fit_onset_pattern(sound),
        "all readings": lambda: sound_rhythms(sound),
        "librosa `beat_track`": lambda: track_beats(sound),
    }
    for stage in stages.values():
        stage()
    times: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(REPEATS):
        for name, stage in stages.items():
            began = time.process_time()
            stage()
            times[name].append(time.process_time() - began)
    print(f"{SECONDS:.0f} s of sound, one thread, median of {REPEATS} turns\n")
    print("| stage | processor s |\n|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {statistics.median(taken):.2f} |")


if __name__ == "__main__":
    main()
