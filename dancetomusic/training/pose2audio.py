"""Training of Pose2Audio's token decoder, on music alone and on music made for dances.

Rhythm is the interface: most of what the decoder learns comes from rendered grooves, whose
beats are known. A share of each batch is paired: grooves rendered on the exact beats of a
dance, as loud as the dance is strong, with the frozen pose encoder's memory beside them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int64
from torch import Tensor, nn

from dancetomusic.atomic import atomic_output
from dancetomusic.checkpoint import load_checkpoint
from dancetomusic.codec.base import Codec
from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.config import config_to_dict
from dancetomusic.datasets.tang2018 import Dance, load_dances
from dancetomusic.models.pose2audio import Pose2Audio, Pose2AudioConfig
from dancetomusic.models.pose_encoder import POSE_FPS, STRIDE, encode_poses, load_pose_encoder
from dancetomusic.models.token_decoder import TokenDecoder, TokenDecoderConfig, code_loss
from dancetomusic.pose.landmarks import mirror, resample_poses
from dancetomusic.rhythm.energy import ENERGY_RATE, loudness_energy, movement_energy
from dancetomusic.rhythm.features import RHYTHM_FEATURES, rhythm_features
from dancetomusic.synthesis.corpus import (
    SAMPLE_RATE,
    Corpus,
    CorpusConfig,
    load_or_render,
    random_sound,
    waveform_of_piece,
)
from dancetomusic.synthesis.groove import (
    Groove,
    arrange,
    compose_bass,
    load_grooves,
    render,
    select_grooves,
    to_waltz,
)
from dancetomusic.training.schedules import set_cosine_rate
from dancetomusic.types import PoseSequence, RhythmTrack, Waveform

MEMORY_RATE = round(POSE_FPS / STRIDE)


@dataclass(frozen=True)
class Pose2AudioTrainingConfig:
    """How the token decoder is trained."""

    grooves: str = "../shared/data/groove"
    """Directory of the Groove MIDI Dataset."""
    dances: str = "../shared/data/tang2018"
    """Directory of dances with exact beats."""
    codec: str = "checkpoints/codec"
    """Checkpoint whose codes are learned."""
    pose_encoder: str = "runs/pose_encoder"
    """Checkpoint that reads the dances."""
    corpus: CorpusConfig = field(default_factory=lambda: CorpusConfig(n_pieces=480, seed=1))
    validation: CorpusConfig = field(
        default_factory=lambda: CorpusConfig(n_pieces=30, seed=2, held_out=True)
    )
    dance_versions: int = 3
    """Renderings of each dance; all but the first are retimed by 0.75-1.35."""
    n_codebooks: int = 2
    d_model: int = 256
    n_layers: int = 6
    n_heads: int = 4
    dropout: float = 0.05
    window_s: int = 6
    """Length of a training window, in whole seconds."""
    batch_size: int = 8
    max_steps: int = 2000
    learning_rate: float = 1e-3
    warmup_steps: int = 150
    weight_decay: float = 0.05
    paired_share: float = 0.35
    """Share of windows with a dance beside the music."""
    withheld_share: float = 0.1
    """Share of windows without any condition, for guidance."""
    bf16: bool = True
    """Compute in bfloat16 where that is safe."""
    threads: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Item:
    """One piece of music, ready for training.

    Attributes:
        codes: Its codes.
        rhythm: Rhythm features, one row per code frame.
        memory: What the pose encoder remembers of the dance at 12 Hz; empty without one.
    """

    codes: Int[np.ndarray, "codebooks frames"]
    rhythm: Float32[np.ndarray, "frames features"]
    memory: Float32[np.ndarray, "memory channels"]


class Pose2AudioTrainer:
    """Prepares the data once, trains, keeps a log, and resumes where it was stopped."""

    def __init__(self, config: Pose2AudioTrainingConfig, output: Path) -> None:
        self.config = config
        self.output = output
        output.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.rng = np.random.default_rng(config.seed)
        self.codec = SpectralCodec.from_pretrained(config.codec, n_codebooks=config.n_codebooks)
        self.encoder = load_pose_encoder(config.pose_encoder)
        self.decoder = TokenDecoder(
            TokenDecoderConfig(
                rhythm_features=len(RHYTHM_FEATURES),
                memory_dim=self.encoder.config.channels,
                n_codebooks=config.n_codebooks,
                codebook_size=self.codec.codebook_size,
                d_model=config.d_model,
                n_layers=config.n_layers,
                n_heads=config.n_heads,
                dropout=config.dropout,
                frame_rate=self.codec.frame_rate,
            )
        )
        self.music = self._items("music", lambda: self._music_items(config.corpus, "corpus"))
        self.held_out = self._items(
            "held_out", lambda: self._music_items(config.validation, "validation")
        )
        self.paired = self._items("paired", self._paired_items)

    def run(self) -> Pose2Audio:
        """Train to the last step and write the checkpoint."""
        config = self.config
        optimizer = torch.optim.AdamW(
            self.decoder.parameters(),
            lr=config.learning_rate,
            betas=(0.9, 0.95),
            weight_decay=config.weight_decay,
        )
        start = self._resume(optimizer)
        began = time.monotonic()
        for step in range(start, config.max_steps):
            set_cosine_rate(
                optimizer, config.learning_rate, step, config.max_steps, config.warmup_steps
            )
            self.decoder.train()
            loss = self._loss(*self._batch(config.paired_share))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.decoder.parameters(), 1.0)
            optimizer.step()
            if step % 50 == 0:
                pace = (time.monotonic() - began) / max(step - start, 1)
                print(f"step {step} loss {loss.item():.3f} {pace:.2f} s/step", flush=True)
            if step % 250 == 249 and step + 1 < config.max_steps:
                self._keep(step + 1, optimizer)
                self._write(step + 1)
        self._keep(config.max_steps, optimizer)
        return self._write(config.max_steps)

    def _write(self, steps: int) -> Pose2Audio:
        """Write what there is after ``steps`` as a checkpoint."""
        print(f"step {steps} validation {self._validate():.3f}", flush=True)
        model = Pose2Audio(
            Pose2AudioConfig(
                encoder=self.encoder.config,
                decoder=self.decoder.config,
                codec_id=self.codec.identity,
            )
        )
        model.encoder.load_state_dict(self.encoder.state_dict())
        model.decoder.load_state_dict(self.decoder.state_dict())
        encoder = load_checkpoint(self.config.pose_encoder, model="pose_encoder")
        model.save_pretrained(
            self.output,
            {"training": config_to_dict(self.config), "pose_encoder": encoder.metadata},
        )
        return model

    def _loss(
        self,
        codes: Int64[Tensor, "batch codebooks frames"],
        rhythm: Float[Tensor, "batch frames features"],
        memory: Float[Tensor, "batch memory channels"],
        memory_mask: Bool[Tensor, "batch memory"],
        withheld: Bool[Tensor, " batch"],
    ) -> Float[Tensor, ""]:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bf16):
            logits = self.decoder(codes, rhythm, memory, memory_mask, withheld=withheld)
        return code_loss(logits.float(), codes)

    @torch.no_grad()
    def _validate(self) -> float:
        """Loss on held-out drummers, kits and basses; the same windows each time."""
        self.decoder.eval()
        rng, self.rng = self.rng, np.random.default_rng(0)
        losses = []
        for _ in range(4):
            codes, rhythm, memory, mask, _ = self._batch(0.0, self.held_out)
            nobody = torch.zeros(len(codes), dtype=torch.bool)
            losses.append(self._loss(codes, rhythm, memory, mask, nobody).item())
        self.rng = rng
        return float(np.mean(losses))

    def _batch(
        self, paired_share: float, music: list[Item] | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        config, rng = self.config, self.rng
        frames = round(config.window_s * self.codec.frame_rate)
        positions = config.window_s * MEMORY_RATE
        codes, rhythm, memory, mask = [], [], [], []
        for _ in range(config.batch_size):
            paired = rng.random() < paired_share
            items = self.paired if paired else (music or self.music)
            item = items[rng.integers(len(items))]
            seconds = int(item.codes.shape[1] / self.codec.frame_rate) - config.window_s
            start_s = int(rng.integers(max(1, seconds)))
            start = round(start_s * self.codec.frame_rate)
            codes.append(item.codes[:, start : start + frames].astype(np.int64))
            rhythm.append(_blurred(item.rhythm[start : start + frames], rng))
            seen = item.memory[start_s * MEMORY_RATE : start_s * MEMORY_RATE + positions]
            room = np.zeros((positions, self.encoder.config.channels), np.float32)
            room[: len(seen)] = seen
            memory.append(room)
            mask.append(np.arange(positions) < len(seen))
        return (
            torch.from_numpy(np.stack(codes)),
            torch.from_numpy(np.stack(rhythm)),
            torch.from_numpy(np.stack(memory)),
            torch.from_numpy(np.stack(mask)),
            torch.from_numpy(rng.random(config.batch_size) < config.withheld_share),
        )

    def _items(self, name: str, make: Callable[[], list[Item]]) -> list[Item]:
        """Prepared items, kept on disk under the identity of the codec that made them."""
        file = self.output / f"{name}.npz"
        if file.is_file():
            with np.load(file, allow_pickle=False) as arrays:
                if str(arrays["codec_id"]) == self.codec.identity:
                    return [
                        Item(
                            arrays[f"codes{i}"].astype(np.int16),
                            arrays[f"rhythm{i}"].astype(np.float32),
                            arrays[f"memory{i}"].astype(np.float32),
                        )
                        for i in range(int(arrays["n_items"]))
                    ]
        items = make()
        arrays = {"codec_id": np.array(self.codec.identity), "n_items": np.array(len(items))}
        for i, item in enumerate(items):
            arrays[f"codes{i}"] = item.codes.astype(np.int16)
            arrays[f"rhythm{i}"] = item.rhythm.astype(np.float16)
            arrays[f"memory{i}"] = item.memory.astype(np.float16)
        np.savez(file, **arrays)
        return items

    def _music_items(self, config: CorpusConfig, name: str) -> list[Item]:
        corpus = load_or_render(config, self.config.grooves, self.output / name)
        return [music_item(corpus, number, self.codec) for number in range(len(corpus.samples))]

    def _paired_items(self) -> list[Item]:
        dances = load_dances(self.config.dances, split="train", qualities=("A", "B"))
        pool = select_grooves(load_grooves(self.config.grooves), held_out=False)
        jobs = [
            (dance, version, pool, self.config.seed)
            for dance in dances
            for version in range(self.config.dance_versions)
        ]
        with ProcessPoolExecutor(self.config.threads) as executor:
            rendered = list(executor.map(_render_dance, *zip(*jobs, strict=True)))
        items = []
        for poses, track, waveform in rendered:
            codes = self.codec.encode(waveform).codes
            features = rhythm_features(track, self.codec.frame_rate, codes.shape[1])
            encoding = encode_poses(self.encoder, poses)
            items.append(Item(codes, features, encoding.memory[0].numpy()))
        return items

    def _keep(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        state = {
            "step": step,
            "decoder": self.decoder.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        with atomic_output(self.output / "resume") as temporary:
            torch.save(state, temporary)

    def _resume(self, optimizer: torch.optim.Optimizer) -> int:
        file = self.output / "resume"
        if not file.is_file():
            return 0
        state = torch.load(file, weights_only=True)
        self.decoder.load_state_dict(state["decoder"])
        optimizer.load_state_dict(state["optimizer"])
        self.rng = np.random.default_rng([self.config.seed, state["step"]])
        return int(state["step"])


def music_item(corpus: Corpus, number: int, codec: Codec) -> Item:
    """A rendered piece without a dance; its energy is its own loudness."""
    waveform = waveform_of_piece(corpus, number)
    codes = codec.encode(waveform).codes
    track = RhythmTrack(
        beat_times=corpus.beat_times[number],
        beat_numbers=corpus.beat_numbers[number],
        energy=loudness_energy(waveform),
        energy_rate=ENERGY_RATE,
        duration_s=waveform.duration_s,
    )
    features = rhythm_features(track, codec.frame_rate, codes.shape[1])
    return Item(codes, features, np.zeros((0, 1), np.float32))


def _render_dance(
    dance: Dance, version: int, pool: list[Groove], seed: int
) -> tuple[PoseSequence, RhythmTrack, Waveform]:
    """A dance, retimed and perhaps mirrored, with a groove on its beats."""
    rng = np.random.default_rng([seed, version, *dance.dance_id.encode()])
    speed = 1.0 if version == 0 else float(rng.uniform(0.75, 1.35))
    world = mirror(dance.poses.world) if rng.random() < 0.5 else dance.poses.world
    faster = replace(dance.poses, world=world, fps=dance.poses.fps * speed)
    poses = resample_poses(faster, POSE_FPS)
    beat_times = dance.beat_times / speed
    track = RhythmTrack(
        beat_times=beat_times,
        beat_numbers=np.arange(beat_times.size) % dance.beats_per_bar + 1,
        energy=movement_energy(poses),
        energy_rate=ENERGY_RATE,
        duration_s=poses.duration_s,
    )
    tempo = track.bpm
    near = [g for g in pool if 0.7 < tempo / g.bpm < 1.4] or pool
    groove = near[rng.integers(len(near))]
    if dance.beats_per_bar == 3:
        groove = to_waltz(groove)
    level = np.interp(beat_times, np.arange(track.energy.size) / ENERGY_RATE, track.energy)
    notes = arrange(
        groove,
        compose_bass(groove, rng),
        beat_times,
        track.beat_numbers,
        dynamics=level,
        rng=rng,
    )
    sound = render(notes, random_sound(rng), poses.duration_s, sample_rate=SAMPLE_RATE).samples
    sound = sound * np.float32(rng.uniform(0.5, 0.95) / (np.abs(sound).max() + 1e-6))
    return poses, track, Waveform(sound, SAMPLE_RATE)


def _blurred(
    rhythm: Float32[np.ndarray, "frames features"], rng: np.random.Generator
) -> Float32[np.ndarray, "frames features"]:
    """The features with an energy that is a little wrong, as movement is about loudness."""
    blurred = rhythm.copy()
    energy = RHYTHM_FEATURES.index("energy")
    blurred[:, energy] = np.clip(blurred[:, energy] + rng.normal(0, 0.08), 0, 1)
    return blurred


def train_pose2audio(config: Pose2AudioTrainingConfig, output: Path | str) -> Pose2Audio:
    """Train Pose2Audio on top of a trained codec and pose encoder; write its checkpoint."""
    return Pose2AudioTrainer(config, Path(output)).run()
