"""What Pose2Audio learns from: windows of music alone, and of music made for dances.

Rhythm is the interface: most of what the decoder learns comes from rendered grooves or scores,
whose beats are known. A share of each batch is paired: music rendered on the exact beats of a
dance, as loud as the dance is strong, or that of a clip, with the pose encoder's memory beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from dancetomusic.codec.base import Codec
from dancetomusic.models.pose2audio.preparation import Item, Preparation, require_clips
from dancetomusic.models.pose2audio.score_condition import ScoreRoll, TimedNotes, piano_roll
from dancetomusic.models.pose2audio.token_decoder import ANY_STYLE, TokenDecoderConfig
from dancetomusic.models.pose2audio.training_config import Pose2AudioTrainingConfig
from dancetomusic.models.pose_encoder.network import STRIDE, PoseEncoder
from dancetomusic.rhythm.features import RHYTHM_FEATURES
from dancetomusic.training.clips import EndlessClips, validation_clips
from dancetomusic.training.dataset import Sample, TrainingSet
from dancetomusic.training.distributed import DistributedContext
from dancetomusic.training.prepared import hash_arrays
from dancetomusic.types import POSE_FPS

MEMORY_RATE = round(POSE_FPS / STRIDE)
POSES_PER_S = round(POSE_FPS)
HIDDEN_RUN = 10
VALIDATION_CLIPS = 64


@dataclass(frozen=True)
class CodeBatch:
    """Windows of music, and their conditions."""

    codes: Int64[Tensor, "batch codebooks frames"]
    rhythm: Float32[Tensor, "batch frames features"]
    memory: Float32[Tensor, "batch memory channels"]
    memory_mask: Bool[Tensor, "batch memory"]
    world: Float32[Tensor, "batch poses 33 3"]
    present: Bool[Tensor, "batch poses"]
    style: Int64[Tensor, " batch"]
    unconditional: Bool[Tensor, " batch"]
    hidden: Bool[Tensor, "batch frames"]
    roll: Float32[Tensor, "batch frames columns"]
    """Of the score; without columns for a decoder that plays none."""
    instruments: Int64[Tensor, "batch parts"]

    @property
    def score(self) -> ScoreRoll | None:
        """What the decoder is given of the score."""
        return ScoreRoll(self.roll, self.instruments) if self.roll.shape[-1] else None


class MusicWindows(TrainingSet):
    """Windows of music, a share of them with a dance.

    Args:
        config: The settings.
        decoder: Frame rate, styles and width of the memory.
        music: Pieces without a dance.
        paired: Pieces with one; ``None`` to take pieces without one only.
        clips: Pieces with one, from a set of clips; in place of ``paired``.
    """

    batch_type = CodeBatch

    def __init__(
        self,
        config: Pose2AudioTrainingConfig,
        decoder: TokenDecoderConfig,
        music: Sequence[Item],
        paired: Sequence[Item] | None = None,
        clips: EndlessClips[Item] | None = None,
    ) -> None:
        self.config, self.decoder, self.seed = config, decoder, config.seed
        self.music, self.paired, self.clips = music, paired, clips
        items = [*music, *(paired or ())]
        self.content_hash = hash_arrays(a for item in items for a in (item.codes, item.rhythm))
        frames = decoder.frame_rate * decoder.window_s
        self.epoch_size = sum(int(item.codes.shape[1] / frames) for item in items)
        if clips is not None:
            self.content_hash += f" {clips.stream.content_hash}"
            self.epoch_size += clips.stream.n_clips

    def sample(self, rng: np.random.Generator, step: int = 0) -> Sample:
        """A random window of a random piece."""
        share = self.config.paired_share if step >= self.config.unpaired_steps else 0.0
        if self.paired is not None and rng.random() < share:
            item = next(self.clips) if self.clips else _choose(self.paired, rng)
        else:
            item = _choose(self.music, rng)
        return self._window(item, rng)

    def _window(self, item: Item, rng: np.random.Generator) -> Sample:
        """A random window of an item, which begins at a whole second."""
        config, decoder, window_s = self.config, self.decoder, self.decoder.window_s
        frames = round(window_s * decoder.frame_rate)
        seconds = int(item.codes.shape[1] / decoder.frame_rate) - window_s
        start_s = int(rng.integers(max(1, seconds)))
        start = round(start_s * decoder.frame_rate)
        named = item.style in decoder.styles and rng.random() >= config.unnamed_share
        memory = item.memory[start_s * MEMORY_RATE :][: window_s * MEMORY_RATE]
        first_pose, n_poses = start_s * POSES_PER_S, window_s * POSES_PER_S
        if not config.train_encoder:
            n_poses = 0
        channels = decoder.memory_dim
        n_memory = window_s * MEMORY_RATE if channels else 0
        codes = np.full((decoder.n_codebooks, frames), decoder.empty)  # also past the end
        taken = item.codes[:, start : start + frames]
        codes[:, : taken.shape[1]] = taken
        rhythm = _blurred(item.rhythm[start : start + frames], rng)
        return (
            codes,
            _padded(rhythm, (frames, rhythm.shape[1])),
            _padded(memory, (n_memory, channels)),
            np.arange(n_memory) < len(memory),
            _padded(item.world[first_pose:], (n_poses, 33, 3)),
            _padded(item.present[first_pose:], (n_poses,)),
            np.array(decoder.style_index(item.style) if named else ANY_STYLE),
            np.array(rng.random() < config.withheld_share),
            _hide(frames, config.hidden_share, rng),
            *self._score(item.notes, start, frames, rng),
        )

    def _score(
        self, notes: TimedNotes, first_frame: int, frames: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The roll of a window and its instruments, with parts left out at random."""
        config, decoder = self.config, self.decoder
        if not decoder.score:
            return np.zeros((frames, 0), np.float32), np.zeros(0, np.int64)
        none = rng.random() < config.no_score_share
        shares = rng.random((2, notes.given.size))
        parts = none | (shares[0] < config.no_part_share)
        known = notes.without(parts, shares[1] < config.no_instrument_share)
        roll = piano_roll(known, decoder.frame_rate, frames, first_frame)
        return roll, known.instruments.astype(np.int64)


def open_windows(
    config: Pose2AudioTrainingConfig,
    output: Path,
    context: DistributedContext,
    codec: Codec,
    encoder: PoseEncoder,
    decoder: TokenDecoderConfig,
) -> tuple[MusicWindows, dict[str, MusicWindows], tuple[str, ...]]:
    """The windows to learn from and the held-out ones; what is rendered is kept in ``output``.

    Returns:
        Those to learn from; by name those to validate on, the first of which counts (grooves or
        clips have no name, scores are ``score`` and on held-out kits ``unheard``); and what is to
        be said of them.

    Raises:
        InputError: If data is missing, malformed, of another codec or shorter than a window.
        DependencyError: If music is to be rendered and FluidSynth is missing.
    """
    kept = Path(config.prepared or output)
    kept.mkdir(parents=True, exist_ok=True)
    prepare = Preparation(config, kept, codec, encoder, decoder)
    paired: list[Item] = []
    clips = None
    notes: tuple[str, ...] = ()
    if config.paired_share and config.clips is None:
        paired = prepare.pairs()
    elif config.paired_share:
        assert config.clips is not None
        clips = EndlessClips(config.clips, prepare.item_of_clip, config.seed, context)
        require_clips(clips.stream, codec, float(decoder.window_s))
        clips.try_one()
    music: list[Item] = []
    held_out: dict[str, list[Item]] = {}
    if config.grooves is not None:
        music = prepare.music("music", config.corpus, "corpus", config.grooves)
        held_out[""] = prepare.music("held_out", config.validation, "validation", config.grooves)
    if config.scores.n_pieces:
        music += prepare.scores("scores", config.scores)
        known, other = (replace(config.score_validation, held_out=held) for held in (False, True))
        held_out["score"] = prepare.scores("held_out_scores", known)
        held_out["unheard"] = prepare.scores("held_out_kits", other)
    if not held_out:
        assert config.clips is not None
        found, notes = validation_clips(config.clips, prepare.item_of_clip, VALIDATION_CLIPS)
        held_out[""] = found
    whole = replace(config, seed=0, no_score_share=0.0, no_part_share=0.0, no_instrument_share=0.0)
    return (
        MusicWindows(config, decoder, music, paired, clips),
        {name: MusicWindows(whole, decoder, items) for name, items in held_out.items()},
        notes,
    )


def _choose(items: Sequence[Item], rng: np.random.Generator) -> Item:
    return items[int(rng.integers(len(items)))]


def _padded(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The first values along the first axis, and zeros after them."""
    room = np.zeros(shape, values.dtype)
    n = min(len(values), shape[0])
    if n:
        room[:n] = values[:n]
    return room


def _hide(frames: int, share: float, rng: np.random.Generator) -> Bool[np.ndarray, " frames"]:
    """Frames whose codes are hidden: all of them, runs of 10, or mostly none."""
    kind, rate = rng.random(), rng.uniform(0.3, 1.0)
    if kind < share / 3:
        return np.ones(frames, bool)
    if kind >= share:
        return np.zeros(frames, bool)
    return np.repeat(rng.random(frames // HIDDEN_RUN + 1) < rate, HIDDEN_RUN)[:frames]


def _blurred(
    rhythm: Float32[np.ndarray, "frames features"], rng: np.random.Generator
) -> Float32[np.ndarray, "frames features"]:
    """The features with an energy that is a little wrong, as movement is about loudness."""
    blurred = rhythm.copy()
    energy = RHYTHM_FEATURES.index("energy")
    blurred[:, energy] = np.clip(blurred[:, energy] + rng.normal(0, 0.08), 0, 1)
    return blurred
