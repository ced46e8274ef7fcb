"""The motiongram sampler: computing, latency on a paced video, and what its blocks sound like.

Beside it a naive sampler, trained here on the same kind of pairs: segments of raw samples from a
small autoencoder, cut hard, without beat or memory, as in the first instruments of this kind.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from block_faults import find_block_faults  # type: ignore[import-not-found]
from jaxtyping import Float32
from paced_video import perform_video  # type: ignore[import-not-found]
from torch import Tensor, nn

from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.models.motion_vae.motion_input import N_FEATURES, read_poses
from dancetomusic.models.motion_vae.network import MotionVae
from dancetomusic.models.motion_vae.sampler import MotionSampler, play
from dancetomusic.models.motion_vae.training_data import ride_fader
from dancetomusic.pose.silhouette import draw_silhouettes
from dancetomusic.released import locate_checkpoint
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.rhythm.energy import ENERGY_RATE, movement_energy
from dancetomusic.synthesis.choreography import choreograph
from dancetomusic.synthesis.dance_music import play_for_dance
from dancetomusic.synthesis.groove import Groove, load_grooves, select_grooves
from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

REPOSITORY = Path(__file__).resolve().parents[1]
VIDEO = REPOSITORY / "data" / "demo" / "steps_128bpm.mp4"
GROOVES = REPOSITORY.parent / "shared" / "data" / "groove"
RATE = 24_000
RAW_S, N_COLUMNS = 0.1, 4
RAW_STEPS, RAW_BATCH = 800, 128
TURN_S = 2.0


class TimedSampler(MotionSampler):
    """Notes the processor time of each block of sound, in seconds."""

    used_s: list[float]

    def step(self) -> Float32[np.ndarray, " samples"]:
        """Make the next block."""
        began = time.thread_time()
        block = super().step()
        self.used_s.append(time.thread_time() - began)
        return block


class RawSampler(nn.Module):
    """A variational autoencoder from a segment of movement to as many raw samples."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(
            nn.Linear(N_COLUMNS * N_FEATURES["poses"], 128), nn.GELU(), nn.Linear(128, 32)
        )
        self.decode = nn.Sequential(
            nn.Linear(16, 256), nn.GELU(), nn.Linear(256, round(RAW_S * RATE)), nn.Tanh()
        )

    def forward(
        self, segments: Float32[Tensor, "segments columns features"]
    ) -> tuple[Float32[Tensor, "segments samples"], Float32[Tensor, ""]]:
        """Samples, and the divergence of the latent space from a standard Gaussian."""
        mean, deviation = self.encode(segments.flatten(1)).chunk(2, dim=-1)
        point = mean + deviation.exp() * torch.randn_like(mean)
        divergence = 0.5 * (mean.square() + (2 * deviation).exp() - 1) - deviation
        return self.decode(point), divergence.sum(-1).mean()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Measure the motiongram sampler.")
    parser.add_argument("--checkpoint", default="motion_vae", help="directory or released name")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the paced video")
    options = parser.parse_args()
    torch.set_num_threads(1)
    codec = SpectralCodec.from_pretrained(locate_checkpoint("codec"))
    model = MotionVae.from_pretrained(locate_checkpoint(options.checkpoint))
    _print_latency(model, codec, options.seconds)
    if GROOVES.is_dir():
        _print_faults(model, codec)


def _print_latency(model: MotionVae, codec: SpectralCodec, seconds: float) -> None:
    sampler = TimedSampler(model, codec)
    sampler.used_s = []
    used, began = [], time.thread_time()
    latency = perform_video(
        sampler, VIDEO, seconds=seconds, on_sound=lambda block: used.append(time.thread_time())
    )
    begin = len(used) // 5
    paced_ms = 100 / sampler.block_s * np.diff([began, *used])[begin:].mean()
    sound_ms = 100 / sampler.block_s * np.array(sampler.used_s)[begin:].mean()
    segment_ms, newest_ms, wall_ms = (
        1e3 * values
        for values in (
            latency.segment_to_sound_s,
            latency.newest_to_sound_s,
            latency.compute_s,
        )
    )
    print(f"Segments of {model.config.segment_s:g} s, blocks of {1e3 * sampler.block_s:.1f} ms,")
    print(f"paced video {VIDEO.name}, {seconds:g} s\n")
    print("| from movement to sound | mean | 95th percentile |\n|---|---|---|")
    for name, values in (
        ("the whole segment, waiting, computing, output buffer, ms", segment_ms),
        ("the newest picture, waiting, computing, output buffer, ms", newest_ms),
        ("of this taking pictures and making a block, ms", wall_ms),
    ):
        print(f"| {name} | {values.mean():.1f} | {np.quantile(values, 0.95):.1f} |")
    print(f"| processor time for 0.1 s of sound and its pictures, ms | {paced_ms:.1f} | – |")
    print(f"| of this making the sound, ms | {sound_ms:.1f} | – |")
    mean_ms, late_ms = compute_ms(model, codec)
    print(f"| both at one go, without pauses, ms | {mean_ms:.1f} | {late_ms:.1f} |")
    print(f"| blocks that were late, % | {100 * latency.late_share:.1f} | – |")
    up, down = response_s(model, codec)
    print(f"| loudness half-way up after movement begins, ms | {1e3 * up:.0f} | – |")
    print(f"| loudness half-way down after it ends, ms | {1e3 * down:.0f} | – |\n")


def compute_ms(model: MotionVae, codec: SpectralCodec, n_blocks: int = 400) -> tuple[float, float]:
    """Processor time for 0.1 s of sound and three pictures of 640 x 480; mean, 95th percentile."""
    sampler, rng = MotionSampler(model, codec), np.random.default_rng(0)
    sampler.follow(steady_grid(120.0, n_blocks * sampler.block_s))
    pictures = rng.integers(0, 256, (5, 480, 640, 3), dtype=np.uint8)
    shown, used = 0, []
    for _ in range(n_blocks):
        began = time.thread_time()
        while shown / 30 <= sampler.now_s:
            sampler.push_frame(pictures[shown % len(pictures)], shown / 30)
            shown += 1
        sampler.step()
        used.append(time.thread_time() - began)
    each_ms = 100 / sampler.block_s * np.array(used[n_blocks // 10 :])
    return float(each_ms.mean()), float(np.quantile(each_ms, 0.95))


def response_s(model: MotionVae, codec: SpectralCodec, turns: int = 8) -> tuple[float, float]:
    """Until loudness is half-way between still and moving, output buffer included, in seconds.

    A silhouette dances for two seconds and stands for two in turn; loudness is taken over the
    last 50 ms of each moment and averaged over all turns.
    """
    dance = choreograph("disco", 120, TURN_S * turns, seed=5, fps=30, hold_share=0.0)
    per_turn = round(TURN_S * 30)
    turn, within = np.divmod(np.arange(2 * turns * per_turn), per_turn)
    world = dance.world[turn // 2 * per_turn + np.where(turn % 2, per_turn - 1, within)]
    sampler = MotionSampler(model, codec)
    sampler.follow(steady_grid(120.0, TURN_S * 2 * turns))
    blocks, fed = [], 0
    pictures = list(draw_silhouettes(world, np.random.default_rng(0)))
    while sampler.now_s < TURN_S * 2 * turns:
        while fed < len(pictures) and fed / 30 <= sampler.now_s:
            sampler.push_frame(pictures[fed], fed / 30)
            fed += 1
        blocks.append(sampler.step())
    buffer = np.zeros(sampler.block_samples, np.float32)
    sound = np.concatenate([buffer, *blocks]).astype(np.float64)
    step, window = RATE // 200, RATE // 20
    power = np.convolve(sound**2, np.ones(window) / window)[: sound.size : step]
    length = round(TURN_S * RATE / step)
    whole = power[: 2 * turns * length].reshape(turns, 2, length)
    moving, still = 10 * np.log10(whole[1:].mean(axis=0) + 1e-9)
    loud, quiet = np.median(moving[length // 3 :]), np.median(still[length // 2 :])
    middle = (loud + quiet) / 2
    smooth = [np.convolve(part, np.ones(10) / 10, "same") for part in (moving, still)]
    up = np.flatnonzero(smooth[0][5:] > middle)[0] + 5
    down = np.flatnonzero(smooth[1][5:] < middle)[0] + 5
    return up * step / RATE, down * step / RATE


def _print_faults(model: MotionVae, codec: SpectralCodec) -> None:
    pool = load_grooves(GROOVES)
    grooves = select_grooves(pool, held_out=False)
    naive = train_raw([_pair(number, grooves) for number in range(12)])
    print("| 6 dances of 20 s | hiss, dB | seams | pulse at the segment's rate, dB |")
    print("|---|---|---|---|")
    rows: dict[str, list[tuple[float, float, float]]] = {}
    held_out = select_grooves(pool, held_out=True)
    for number in range(6):
        poses, track, music = _pair(1000 + number, held_out, seconds=20.0)
        # The first block of the sampler began one fade-in before its first sample.
        lead = np.zeros((1, codec.model.fade_in), np.float32)
        sound = play(model, poses, seed=number, rhythm=track, codec=codec)
        ours = Waveform(np.concatenate([lead, sound.samples], axis=1), sound.sample_rate)
        for name, sound, block_s in (
            ("rendered music", music, RAW_S),
            ("naive sampler: raw samples, hard cuts", _play_raw(naive, poses), RAW_S),
            ("this sampler", ours, model.config.block_s),
        ):
            at_block = find_block_faults(sound, block_s)
            pulse = find_block_faults(sound, RAW_S).pulse_db
            rows.setdefault(name, []).append((at_block.hiss_db, at_block.seam_ratio, pulse))
    for name, values in rows.items():
        hiss, seams, pulse = np.mean(values, axis=0)
        print(f"| {name} | {hiss:.1f} | {seams:.2f} | {pulse:+.1f} |")


def train_raw(pairs: Sequence[tuple[PoseSequence, RhythmTrack, Waveform]]) -> RawSampler:
    """Fit the naive sampler to segments of movement and their samples."""
    torch.manual_seed(0)
    segments, samples = [], []
    length = round(RAW_S * RATE)
    for poses, _, sound in pairs:
        count = sound.samples.shape[1] // length
        ends = (np.arange(count) + 1) * RAW_S
        segments.append(read_poses(poses).segments(ends, RAW_S, N_COLUMNS))
        samples.append(sound.samples[0, : count * length].reshape(count, length))
    x, y = (torch.from_numpy(np.concatenate(parts)) for parts in (segments, samples))
    model = RawSampler()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(RAW_STEPS):
        chosen = torch.randint(len(x), (RAW_BATCH,))
        made, divergence = model(x[chosen])
        loss = (made - y[chosen]).square().mean() / y.square().mean() + 1e-4 * divergence
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@torch.inference_mode()
def _play_raw(model: RawSampler, poses: PoseSequence) -> Waveform:
    torch.manual_seed(0)
    ends = (np.arange(int(poses.duration_s / RAW_S)) + 1) * RAW_S
    segments = torch.from_numpy(read_poses(poses).segments(ends, RAW_S, N_COLUMNS))
    return Waveform(model(segments)[0].flatten()[None].numpy(), RATE)


def _pair(
    number: int, grooves: list[Groove], seconds: float = 40.0
) -> tuple[PoseSequence, RhythmTrack, Waveform]:
    rng = np.random.default_rng(number)
    bpm = float(rng.uniform(90.0, 140.0))
    dance = choreograph("disco", bpm, seconds, number, hold_share=0.1)
    frames = dance.world.shape[0]
    poses = PoseSequence(
        dance.world, np.ones(frames, bool), np.ones((frames, 33), np.float32), dance.fps
    )
    track = RhythmTrack(
        dance.beat_times, dance.beat_numbers, movement_energy(poses), ENERGY_RATE, seconds
    )
    return poses, track, ride_fader(play_for_dance(track, grooves, rng), poses)


if __name__ == "__main__":
    main()
