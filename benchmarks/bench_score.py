"""A minute of the score, from its plan to the mastered sound, on one core.

Run by ``make bench``, or ``python benchmarks/bench_score.py``; prints Markdown.
"""

from __future__ import annotations

import statistics
import time

import numpy as np

SECONDS = 60.0
STYLES = ("house", "disco", "salsa", "jazz", "trap")


def stages(style_name: str) -> dict[str, float]:
    """CPU time of each stage for one style, in seconds; the SoundFont is opened in it."""
    from dancetomusic.score.arrange import arrange
    from dancetomusic.score.master import master
    from dancetomusic.score.mix import sum_stems
    from dancetomusic.score.notes import BeatClock
    from dancetomusic.score.performance import perform
    from dancetomusic.score.plan import make_plan
    from dancetomusic.score.sampler import render_stems
    from dancetomusic.score.style import load_style
    from dancetomusic.types import RhythmTrack

    style = load_style(style_name)
    beats = np.arange(0.0, SECONDS, 60 / style.tempo[1])
    numbers = (np.arange(beats.size) % style.metres[0] + 1).astype(np.int64)
    energy = 0.55 + 0.35 * np.sin(2 * np.pi * np.arange(SECONDS * 24) / 24 / 32)
    rhythm = RhythmTrack(beats, numbers, energy.astype(np.float32), 24.0, SECONDS)
    clock = BeatClock.from_rhythm(rhythm, SECONDS)

    marks = [time.process_time()]
    score = arrange(clock, make_plan(clock, rhythm), style_name)
    marks.append(time.process_time())
    for _ in render_stems(score):
        pass
    marks.append(time.process_time())
    stems = perform(score, style)
    marks.append(time.process_time())
    master(sum_stems(stems))
    marks.append(time.process_time())
    arranged, played, performed, mastered = np.diff(marks).tolist()
    return {
        "plan and arrangement": arranged,
        "sampler": played,
        "mix": max(performed - played, 0.0),
        "master": mastered,
    }


def main() -> None:
    """Print the table."""
    stages(STYLES[0])  # imports, performances
    times = [stages(style) for style in STYLES]
    median = {stage: statistics.median(row[stage] for row in times) for stage in times[0]}
    median["whole"] = statistics.median(sum(row.values()) for row in times)
    print(f"{SECONDS:.0f} s of {len(STYLES)} styles, CPU time, medians\n")
    print("| stage | s | times real time |\n|---|---|---|")
    for stage, seconds in median.items():
        print(f"| {stage} | {seconds:.2f} | {SECONDS / seconds:.0f} |")


if __name__ == "__main__":
    main()
