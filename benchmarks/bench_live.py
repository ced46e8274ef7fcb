"""The live engine: latency, speed, and where its beats fall against the dancer's true ones."""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Iterator, Sequence
from itertools import count, cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile
import torch

from dancetomusic.builder.capture import Picture, paced_pictures
from dancetomusic.io.audio import read_audio
from dancetomusic.io.video import read_frames
from dancetomusic.live.engine import LiveEngine
from dancetomusic.live.lead import SoundBeat
from dancetomusic.live.perform import PacedPlayer, perform
from dancetomusic.live.watcher import Watcher
from dancetomusic.models.beat_network.audio_beats import sound_rhythms
from dancetomusic.models.live import BeatEstimate, PlayedGrid
from dancetomusic.models.pose2audio.live import BLOCK_FRAMES
from dancetomusic.models.pose2audio.network import Pose2Audio
from dancetomusic.models.pose_encoder.network import PoseEncoder
from dancetomusic.pose.mediapipe import Detection, detect_poses
from dancetomusic.released import locate_checkpoint
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.synthesis.demo import render_dances
from dancetomusic.types import POSE_FPS

DEMO = Path(__file__).resolve().parents[1] / "data" / "demo"
DANCES = (
    ("bounce", 90.0, 31),
    ("steps", 104.0, 32),
    ("groove", 116.0, 33),
    ("disco", 128.0, 34),
    ("arms", 140.0, 35),
    ("bounce", 150.0, 36),
)
DANCE_S, SETTLED_S, SIDE = 24.0, 8.0, 320
OUTPUT_LATENCY_S = 0.04
LOOKING_S, LISTENING_S, READY_S, CODE_RATE = 0.04, 0.15, 0.13, 75.0
"""On the simulated clock: from a frame to its observation, from sound to its beat, and from
composing to playing."""

REAL_S = 30.0
"""Of a filmed dance, at most."""

LEAVES_S, RETURNS_S = 11.0, 16.0
IN_TIME_MS, SILENT_DB, LOUDNESS_S = 70.0, -50.0, 0.05

SAMPLE_EVERY_S = 10.0
WARM_S = 60.0


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure the live engine.")
    parser.add_argument("videos", nargs="*", type=Path, help="rendered dancers, beats beside them")
    parser.add_argument("--render", type=Path, help="render six dancers into this folder first")
    parser.add_argument("--late", action="store_true", help="also without looking ahead")
    parser.add_argument("--simulate", action="store_true", help="beats on a computed clock")
    parser.add_argument(
        "--real", action="store_true", help="filmed dancers with their song, on a computed clock"
    )
    parser.add_argument("--leave", action="store_true", help="the dancer leaves and comes back")
    parser.add_argument("--soak", type=float, default=0.0, help="then play for so many seconds")
    parser.add_argument("--num_dancers", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    videos = list(options.videos)
    if options.render is not None:
        videos += _render(options.render)
    print(f"load of the machine {os.getloadavg()[0]:.1f}, cores {os.cpu_count()}", flush=True)
    if options.simulate:
        _print_simulated(videos)
        return
    if options.real:
        _print_real(videos)
        return
    if options.leave:
        _print_leaving(videos)
        return
    for predict in (True, False) if options.late else (True,):
        print("beats played ahead" if predict else "beats played when seen")
        _print_table(videos, predict, options.num_dancers)
    if options.soak:
        _print_soak((videos or sorted(DEMO.glob("*.mp4")))[-1], options.soak)


def _render(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for style, bpm, seed in DANCES:
        paths.append(folder / f"{style}_{bpm:.0f}.mp4")
        if not paths[-1].exists():
            dance = choreograph(style, bpm, DANCE_S, seed, fps=POSE_FPS, hold_share=0.0)
            render_dances(paths[-1], [dance], width=SIDE, height=SIDE)
    return paths


def _print_table(videos: Sequence[Path], predict: bool, num_dancers: int) -> None:
    print(
        f"{'dancer':36}{'BPM':>7}{'error ms':>9}{'bias':>6}{'trivial':>8}{'accent p95':>11}"
        f"{'codes p95':>10}{'speed':>7}{'fps':>6}{'gaps':>5}"
    )
    errors: list[np.ndarray] = []
    trivial: list[np.ndarray] = []
    for video in videos:
        with LiveEngine(
            output_latency_s=OUTPUT_LATENCY_S, predict=predict, num_dancers=num_dancers
        ) as engine:
            figures = perform(engine, paced_pictures(video), PacedPlayer(OUTPUT_LATENCY_S))
        truth = _beats_of(video)
        errors.append(_errors(figures, truth))
        trivial.append(_metronome_errors(truth, figures["seconds"]))
        seen = figures["frames_in"] - figures["frames_dropped"]
        print(
            f"{video.stem[:35]:36}{figures['bpm']:7.1f}{_median(np.abs(errors[-1])):9.1f}"
            f"{_median(errors[-1]):6.0f}{_median(trivial[-1]):8.1f}"
            f"{figures['accent_to_sound']['p95_ms'] or np.nan:11.1f}"
            f"{figures['movement_to_sound']['p95_ms'] or np.nan:10.1f}"
            f"{figures['sound_per_computing']:7.2f}{seen / figures['seconds']:6.1f}"
            f"{figures['underruns']:5d}",
            flush=True,
        )
    if errors:
        away = np.abs(np.concatenate(errors))
        rng = np.random.default_rng(0)
        draws = [_median(rng.choice(away, away.size)) for _ in range(1000)] if away.size else [0]
        low, high = np.percentile(draws, [2.5, 97.5])
        print(
            f"{'all, median (95 % interval)':43}{_median(away):9.1f} ({low:.1f} to {high:.1f}), "
            f"metronome at 120 BPM {_median(np.concatenate(trivial)):.1f}"
        )


def _print_leaving(videos: Sequence[Path]) -> None:
    """How soon the sound ends when nobody is in view, and the beat is right when somebody is."""
    print(f"{'dancer who leaves':36}{'silent after, bars':>20}{'in time from beat':>20}")
    for video in videos:
        with (
            TemporaryDirectory() as folder,
            LiveEngine(output_latency_s=OUTPUT_LATENCY_S) as engine,
        ):
            pictures = _leaving(paced_pictures(video))
            figures = perform(
                engine, pictures, PacedPlayer(OUTPUT_LATENCY_S), output=Path(folder, "heard.wav")
            )
            sound, rate = soundfile.read(Path(folder, "heard.wav"), dtype="float32")
        size = round(LOUDNESS_S * rate)
        parts = sound[: sound.size // size * size].reshape(-1, size)
        loud_s = LOUDNESS_S * (1 + np.flatnonzero((parts**2).mean(axis=1) > 10 ** (SILENT_DB / 10)))
        last_s = loud_s[loud_s < RETURNS_S].max(initial=LEAVES_S)
        bar_s = figures["beats_per_bar"] * 60.0 / figures["bpm"]
        played = np.array([time_s for time_s, _ in figures["beats"]])
        truth = _beats_of(video)
        wanted = truth[(truth > RETURNS_S) & (truth < figures["seconds"] - 0.5)]
        away = 1000 * np.abs(played[played > RETURNS_S][:, None] - wanted).min(axis=0)
        wrong = np.flatnonzero(away > IN_TIME_MS)
        first = 1 + (wrong[-1] + 1 if wrong.size else 0)
        print(f"{video.stem[:35]:36}{(last_s - LEAVES_S) / bar_s:20.2f}{first:20d}", flush=True)


def _leaving(pictures: Iterator[Picture]) -> Iterator[Picture]:
    """The same pictures, but for a while nobody is in view."""
    began_s: float | None = None
    for taken_s, picture in pictures:
        began_s = taken_s if began_s is None else began_s
        gone = LEAVES_S <= taken_s - began_s < RETURNS_S
        yield taken_s, np.full_like(picture, 128) if gone else picture


def _print_simulated(videos: Sequence[Path]) -> None:
    """The same on a clock that is computed, as on a machine whose every stage is in time."""
    encoder = Pose2Audio.from_pretrained(locate_checkpoint("pose2audio_causal")).encoder
    print(f"{'dancer, simulated clock':36}{'BPM':>7}{'error ms':>9}{'bias':>6}{'when seen':>10}")
    ahead: list[np.ndarray] = []
    for video in videos:
        found = list(detect_poses(read_frames(video, POSE_FPS, max_side=480), POSE_FPS))
        seen, length_s = _watched(encoder, found), len(found) / POSE_FPS
        errors, bpm = _simulate(seen, length_s, _beats_of(video), predict=True)
        late, _ = _simulate(seen, length_s, _beats_of(video), predict=False)
        ahead.append(errors)
        print(
            f"{video.stem[:35]:36}{bpm:7.1f}{_median(np.abs(errors)):9.1f}{_median(errors):6.0f}"
            f"{_median(np.abs(late)):10.1f}",
            flush=True,
        )
    away = np.abs(np.concatenate(ahead))
    rng = np.random.default_rng(0)
    draws = [_median(rng.choice(away, away.size)) for _ in range(1000)]
    low, high = np.percentile(draws, [2.5, 97.5])
    print(f"{'all, median (95 % interval)':43}{_median(away):9.1f} ({low:.1f} to {high:.1f})")


def _print_real(videos: Sequence[Path]) -> None:
    """Beats led by the movement and by the video's own sound, against those of its whole sound."""
    encoder = Pose2Audio.from_pretrained(locate_checkpoint("pose2audio_causal")).encoder
    print(
        f"{'filmed dancer, computed clock':36}{'song BPM':>9}{'sure':>6}{'movement BPM':>14}"
        f"{'error ms':>9}{'sound BPM':>11}{'error ms':>9}"
    )
    for video in videos:
        sound = read_audio(video, 24_000)
        if sound is None:
            print(f"{video.stem[:35]:36} has no sound")
            continue
        song = sound_rhythms(sound)[0]
        frames = read_frames(video, POSE_FPS, max_side=480)
        found = list(islice(detect_poses(frames, POSE_FPS), round(REAL_S * POSE_FPS)))
        length_s = len(found) / POSE_FPS
        truth = song.beat_times[song.beat_times < length_s]
        row = f"{video.stem[:35]:36}{song.bpm:9.1f}{song.certainty:6.2f}"
        for width, estimates in (
            (14, _watched(encoder, found)),
            (11, _listened(sound.samples.mean(axis=0), length_s)),
        ):
            errors, bpm = _simulate(estimates, length_s, truth, predict=True)
            row += f"{bpm:{width}.1f}{_median(np.abs(errors)):9.1f}"
        print(row, flush=True)


def _watched(
    encoder: PoseEncoder, found: Sequence[list[Detection]]
) -> list[tuple[float, BeatEstimate]]:
    """When each estimate of a movement is known, and the estimate."""
    watcher = Watcher(encoder, num_dancers=1, follow="largest")
    return [
        (number / POSE_FPS + LOOKING_S, watcher.watch(people, number / POSE_FPS).beat)
        for number, people in enumerate(found)
    ]


def _listened(samples: np.ndarray, length_s: float) -> list[tuple[float, BeatEstimate]]:
    """Likewise of a sound, looked at once a second."""
    beat, estimates, before = SoundBeat(24_000), [], BeatEstimate()
    for second in range(int(length_s)):
        beat.push(samples[second * 24_000 : (second + 1) * 24_000], second + 1.0)
        found = beat.estimate()
        if found is not None:
            before = found.continuing(before)
            estimates.append((second + 1.0 + LISTENING_S, before))
    return estimates


def _simulate(
    estimates: list[tuple[float, BeatEstimate]],
    length_s: float,
    truth: np.ndarray,
    *,
    predict: bool,
) -> tuple[np.ndarray, float]:
    """Errors of the grid that would be played, in ms, and the tempo in the end."""
    grid, estimates = PlayedGrid(), list(estimates)
    beats: list[float] = []
    estimate, block_s = BeatEstimate(), BLOCK_FRAMES / CODE_RATE
    for number in range(int(length_s / block_s)):
        now_s = number * block_s
        while estimates and estimates[0][0] <= now_s:
            estimate = estimates.pop(0)[1]
        playback_s = now_s + READY_S + OUTPUT_LATENCY_S
        grid.aim(
            estimate.at(playback_s) if predict else estimate.position, at_once=now_s < SETTLED_S / 4
        )
        first = grid.position
        grid.advance(block_s, estimate)
        for beat in range(int(np.ceil(first)), int(np.ceil(grid.position))):
            beats.append(playback_s + (beat - first) * 60.0 / estimate.bpm)
    figures = {"beats": [(beat, 1) for beat in beats], "seconds": length_s}
    return _errors(figures, truth), estimate.bpm


def _beats_of(video: Path) -> np.ndarray:
    names = (video.with_suffix(".csv"), video.with_suffix(".beats.csv"))
    path = next(name for name in names if name.exists())
    with path.open(newline="") as file:
        return np.array([float(row["time_s"]) for row in csv.DictReader(file)])


def _errors(figures: dict[str, Any], truth: np.ndarray) -> np.ndarray:
    """For every true beat after 8 s, how late the nearest played one is, in ms."""
    played = np.array([time_s for time_s, _ in figures["beats"]])
    wanted = truth[(truth > SETTLED_S) & (truth < figures["seconds"] - 0.5)]
    if not played.size:
        return np.full(wanted.size, np.inf)
    nearest = played[np.abs(played[:, None] - wanted).argmin(axis=0)]
    return 1000 * (nearest - wanted)


def _metronome_errors(truth: np.ndarray, seconds: float) -> np.ndarray:
    wanted = truth[(truth > SETTLED_S) & (truth < seconds - 0.5)]
    return 1000 * np.abs((wanted + 0.25) % 0.5 - 0.25)


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if values.size else float("nan")


def _print_soak(video: Path, seconds: float) -> None:
    """Memory and latency of one long performance; the video is shown again and again."""
    frames = list(islice(read_frames(video, POSE_FPS, max_side=SIDE), 30 * int(POSE_FPS)))
    rows: list[tuple[float, float, float, int]] = []
    with LiveEngine(output_latency_s=OUTPUT_LATENCY_S) as engine:

        def pictures() -> Iterator[Picture]:
            began_s = time.monotonic()
            next_s = SAMPLE_EVERY_S
            for number, frame in zip(count(), cycle(frames)):
                due_s = began_s + number / POSE_FPS
                time.sleep(max(0.0, due_s - time.monotonic()))
                yield due_s, frame
                if number / POSE_FPS >= next_s:
                    next_s += SAMPLE_EVERY_S
                    status = engine.status()
                    latency = status.movement_to_sound.p50_ms
                    rows.append((number / POSE_FPS, _resident_mb(), latency, status.underruns))

        figures = perform(engine, pictures(), PacedPlayer(OUTPUT_LATENCY_S), seconds=seconds)
    warm = [row for row in rows if row[0] >= min(WARM_S, seconds / 3)]
    print(
        f"soak {figures['seconds']:.0f} s: memory {warm[0][1]:.0f} to {warm[-1][1]:.0f} MB "
        f"(most {max(row[1] for row in warm):.0f}) from {warm[0][0]:.0f} s on; "
        f"movement to sound p50 {warm[0][2]:.0f} to {warm[-1][2]:.0f} ms; "
        f"{figures['underruns']} under-runs, {warm[-1][3] - warm[0][3]} of them after the start; "
        f"sound {figures['sound_per_computing']:.2f} times as fast as played"
    )


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
