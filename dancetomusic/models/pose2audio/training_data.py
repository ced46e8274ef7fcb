"""What Pose2Audio learns from: windows of music alone, and of music made for dances.

Rhythm is the interface: most of what the decoder learns comes from rendered grooves, whose
beats are known. A share of each batch is paired: grooves rendered on the exact beats of a
dance, as loud as the dance is strong, with the pose encoder's memory beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int, Int64
from torch import Tensor

from dancetomusic.codec.base import Codec
from dancetomusic.config import check_ranges, config_to_dict
from dancetomusic.data.clip import ACCEPTED, CLIP_FILES, Clip, clip_directory
from dancetomusic.data.clip_stream import ClipStream
from dancetomusic.data.dance import Dance
from dancetomusic.data.manifest import open_manifest
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import InputError
from dancetomusic.models.pose2audio.token_decoder import ANY_STYLE, TokenDecoderConfig
from dancetomusic.models.pose_encoder.network import (
    STRIDE,
    PoseEncoder,
    encode_poses,
)
from dancetomusic.pose.landmarks import mirror, resample_poses
from dancetomusic.rhythm.energy import ENERGY_RATE, danced_rhythm, loudness_energy
from dancetomusic.rhythm.features import RHYTHM_FEATURES, rhythm_features
from dancetomusic.synthesis.ballroom import ballroom_groove
from dancetomusic.synthesis.corpus import Corpus, CorpusConfig, load_or_render, waveform_of_piece
from dancetomusic.synthesis.dance_music import play_for_dance
from dancetomusic.synthesis.groove import BALLROOM_STYLES, Groove, load_grooves, select_grooves
from dancetomusic.training.clips import EndlessClips
from dancetomusic.training.config import LoopConfig
from dancetomusic.training.dataset import Sample, TrainingSet
from dancetomusic.training.distributed import DistributedContext
from dancetomusic.training.prepared import hash_arrays, load_or_make
from dancetomusic.types import POSE_FPS, PoseSequence, RhythmTrack, Waveform

MEMORY_RATE = round(POSE_FPS / STRIDE)
POSES_PER_S = round(POSE_FPS)
HIDDEN_RUN = 10


@dataclass(frozen=True)
class Pose2AudioTrainingConfig(LoopConfig):
    """How the token decoder is trained."""

    grooves: str = "../shared/data/groove"
    """Directory of the Groove MIDI Dataset."""
    dances: str = "../shared/data/tang2018"
    """Directory of dances with exact beats."""
    clips: str | None = None
    """Set of clips whose ``train`` split takes the dances' place."""
    codec: str = "checkpoints/codec"
    """Checkpoint whose codes are learned, or an EnCodec hub id."""
    pose_encoder: str = "runs/pose_encoder"
    """Checkpoint that reads the dances."""
    start_from: str | None = None
    """Pose2Audio checkpoint whose decoder to start from; it may have other styles, more layers
    (of which some are then taken) and memory layers."""
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
    memory_layers: int = 1
    causal: bool = False
    """Show the decoder no memory of what is danced later; needs memory_layers: 0."""
    dropout: float = 0.05
    styles: tuple[str, ...] = ()
    """Styles of music that can be asked for; none by default."""
    unnamed_share: float = 0.3
    """Share of windows without a style, so that none need be asked for."""
    style_rate: float = 6.0
    """Learning rate of the table of styles, as a multiple of the decoder's."""
    hidden_share: float = 0.0
    """Share of windows in which past codes are hidden, wholly in a third of them and in runs of
    10 frames in the others, so that codes have to be predicted from rhythm and style."""
    window_s: int = 6
    """Length of a training window, in whole seconds."""
    paired_share: float = 0.35
    """Share of windows with a dance beside the music."""
    unpaired_steps: int = 0
    """Steps at the start that learn from music alone."""
    withheld_share: float = 0.1
    """Share of unconditional windows, for classifier-free guidance."""
    teacher_forcing_ratio: float = 1.0
    """Share of past codes that are the true ones, in [0, 1]; the others are the model's samples."""
    perceptual_weight: float = 0.0
    """Of the distance between the sounds of sampled and true codes; 0 for none."""
    perceptual_s: int = 2
    """Length of sound that is compared, of each window."""
    adversarial_weight: float = 0.0
    """Of a critic that separates sampled from true codes; 0 for none."""
    critic_rate: float = 1e-4
    """Learning rate of the critic."""
    decoder_every: int = 1
    """Steps of the critic for each of the decoder."""
    train_encoder: bool = False
    """Train the pose encoder further beside the decoder, on windows instead of whole dances."""
    encoder_rate: float = 0.1
    """Its learning rate, as a share of the decoder's."""
    rhythm_weight: float = 1.0
    """Of its beat, downbeat, phase and energy losses while it is trained."""
    shown_s: int = 6
    """Length of the piece that is played at each validation, for TensorBoard."""
    max_steps: int = 2000
    warmup_steps: int = 150
    weight_decay: float = 0.05
    bf16: bool | None = True
    threads: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(
            self,
            shares="unnamed_share hidden_share paired_share withheld_share teacher_forcing_ratio",
            weights="perceptual_weight adversarial_weight rhythm_weight unpaired_steps",
            counts="window_s perceptual_s shown_s dance_versions decoder_every",
        )


@dataclass(frozen=True)
class Item:
    """One piece of music, ready for training.

    Attributes:
        codes: Its codes.
        rhythm: Rhythm features, one row per code frame.
        memory: The pose encoder's memory of the dance at 12 Hz; empty without one.
        world: The dance itself at 24 frames a second, where the encoder is trained; else empty.
        present: Its frames with a dancer.
        style: Name of its style; empty for none in particular.
    """

    codes: Int[np.ndarray, "codebooks frames"]
    rhythm: Float32[np.ndarray, "frames features"]
    memory: Float32[np.ndarray, "memory channels"] = field(
        default_factory=lambda: np.zeros((0, 1), np.float32)
    )
    world: Float32[np.ndarray, "poses 33 3"] = field(
        default_factory=lambda: np.zeros((0, 33, 3), np.float32)
    )
    present: Bool[np.ndarray, " poses"] = field(default_factory=lambda: np.zeros(0, bool))
    style: str = ""


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
        frames = decoder.frame_rate * config.window_s
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
        config, decoder = self.config, self.decoder
        frames = round(config.window_s * decoder.frame_rate)
        seconds = int(item.codes.shape[1] / decoder.frame_rate) - config.window_s
        start_s = int(rng.integers(max(1, seconds)))
        start = round(start_s * decoder.frame_rate)
        named = item.style in config.styles and rng.random() >= config.unnamed_share
        memory = item.memory[start_s * MEMORY_RATE :][: config.window_s * MEMORY_RATE]
        first_pose, n_poses = start_s * POSES_PER_S, config.window_s * POSES_PER_S
        if not config.train_encoder:
            n_poses = 0
        n_memory, channels = config.window_s * MEMORY_RATE, decoder.memory_dim
        return (
            item.codes[:, start : start + frames].astype(np.int64),
            _blurred(item.rhythm[start : start + frames], rng),
            _padded(memory, (n_memory, channels)),
            np.arange(n_memory) < len(memory),
            _padded(item.world[first_pose:], (n_poses, 33, 3)),
            _padded(item.present[first_pose:], (n_poses,)),
            np.array(decoder.style_index(item.style) if named else ANY_STYLE),
            np.array(rng.random() < config.withheld_share),
            _hide(frames, config.hidden_share, rng),
        )


def open_windows(
    config: Pose2AudioTrainingConfig,
    output: Path,
    context: DistributedContext,
    codec: Codec,
    encoder: PoseEncoder,
    encoder_hash: str,
    decoder: TokenDecoderConfig,
) -> tuple[MusicWindows, MusicWindows]:
    """The windows to learn from and the held-out ones; what is rendered is kept in ``output``.

    Raises:
        InputError: If data is missing, malformed, of another codec or shorter than a window.
        DependencyError: If music is to be rendered and FluidSynth is missing.
    """
    prepare = Preparation(config, output, codec, encoder)
    music = prepare.music("music", config.corpus, "corpus")
    held_out = prepare.music("held_out", config.validation, "validation")
    paired: list[Item] = []
    clips = None
    if config.paired_share and config.clips is None:
        paired = prepare.pairs(encoder_hash)
    elif config.paired_share:
        assert config.clips is not None
        clips = EndlessClips(config.clips, prepare.item_of_clip, config.seed, context)
        require_clips(clips.stream, codec, float(config.window_s))
        clips.try_one()
    return (
        MusicWindows(config, decoder, music, paired, clips),
        MusicWindows(replace(config, seed=0), decoder, held_out),
    )


class Preparation:
    """Makes items of rendered music, dances and clips.

    Args:
        config: The settings.
        output: Where they are kept.
        codec: Encodes the music.
        encoder: Reads the dances.
    """

    def __init__(
        self, config: Pose2AudioTrainingConfig, output: Path, codec: Codec, encoder: PoseEncoder
    ) -> None:
        self.config, self.output, self.codec, self.encoder = config, output, codec, encoder

    def music(self, name: str, corpus: CorpusConfig, folder: str) -> list[Item]:
        """Music without a dance."""

        def make() -> list[Item]:
            pieces = load_or_render(corpus, self.config.grooves, self.output / folder)
            return [music_item(pieces, n, self.codec) for n in range(len(pieces.samples))]

        source = [self.codec.identity, config_to_dict(corpus)]
        return load_or_make(self.output / f"{name}.npz", source, make, _pack, _unpack)

    def pairs(self, encoder_hash: str) -> list[Item]:
        """Music rendered for dances, which depend on the encoder that reads them."""
        config = self.config
        values = {
            "encoder": encoder_hash,
            "poses": config.train_encoder,
            "versions": config.dance_versions,
            "styles": list(config.styles),
            "seed": config.seed,
        }
        source = [self.codec.identity, values]
        return load_or_make(self.output / "paired.npz", source, self._render, _pack, _unpack)

    def _render(self) -> list[Item]:
        config = self.config
        dances = load_dances(config.dances, split="train", qualities=("A", "B"))
        pool = select_grooves(load_grooves(config.grooves), held_out=False)
        jobs = [
            (dance, version, pool, config.styles, config.seed)
            for dance in dances
            for version in range(config.dance_versions)
        ]
        with ProcessPoolExecutor(config.threads) as executor:
            rendered = list(executor.map(_render_dance, *zip(*jobs, strict=True)))
        return [
            self._paired_item(self.codec.encode(waveform).codes, track, poses, style)
            for poses, track, waveform, style in rendered
        ]

    def _paired_item(
        self,
        codes: Int[np.ndarray, "codebooks frames"],
        track: RhythmTrack,
        poses: PoseSequence,
        style: str = "",
    ) -> Item:
        features = rhythm_features(track, self.codec.frame_rate, codes.shape[1])
        if self.config.train_encoder:
            return Item(codes, features, world=poses.world, present=poses.present, style=style)
        memory = encode_poses(self.encoder, poses).memory[0].numpy()
        return Item(codes, features, memory, style=style)

    def item_of_clip(self, clip: Clip) -> Item:
        """A clip of a set.

        Raises:
            InputError: If it is shorter than a window, or has too few codebooks.
        """
        window_s, n_codebooks = self.config.window_s, self.config.n_codebooks
        if clip.codes.duration_s < window_s:
            raise _too_short(clip.record.key, clip.codes.duration_s, window_s)
        codes = clip.codes.codes[:n_codebooks]
        if len(codes) < n_codebooks:
            raise InputError(
                f"clip {clip.record.key} has {len(codes)} codebooks",
                "Set n_codebooks to what the set was built with.",
            )
        return self._paired_item(codes, clip.rhythm, clip.poses)


def require_clips(stream: ClipStream, codec: Codec, window_s: float) -> None:
    """Check what can be checked of a set before it is read: codec, lengths, and files.

    Raises:
        InputError: If another codec made its codes, a clip is shorter than a window, or lacks
            its sound or another file.
    """
    if stream.codec != codec.identity:
        raise InputError(
            f"the codes in {stream.root} are of {stream.codec}, not of {codec.identity}",
            "Build the set with --codec, or train on the codec that it was built with.",
        )
    manifest = open_manifest(stream.root)
    for record in manifest.records(split="train", status=ACCEPTED):
        length = record.end_s - record.start_s
        if length < window_s - 1e-3:
            raise _too_short(record.key, length, window_s)
        if not manifest.shards:
            folder = clip_directory(stream.root, record.key)
            missing = [name for name in CLIP_FILES if not (folder / name).is_file()]
            if missing:
                raise InputError(f"clip {record.key} lacks {missing[0]}", "Build the set again.")


def _too_short(key: str, length_s: float, window_s: float) -> InputError:
    return InputError(
        f"clip {key} lasts {length_s:g} s, a window {window_s:g} s",
        "Set window_s to the length of the clips.",
    )


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
    swing = corpus.swings[number]
    features = rhythm_features(track, codec.frame_rate, codes.shape[1], swing=swing)
    return Item(codes, features, style=corpus.styles[number])


def _pack(item: Item) -> dict[str, np.ndarray]:
    return {
        "codes": item.codes.astype(np.int16),
        "rhythm": item.rhythm.astype(np.float16),
        "memory": item.memory.astype(np.float16),
        "world": item.world.astype(np.float16),
        "present": item.present,
        "style": np.array(item.style),
    }


def _unpack(arrays: Mapping[str, np.ndarray]) -> Item:
    return Item(
        codes=arrays["codes"].astype(np.int16),
        rhythm=arrays["rhythm"].astype(np.float32),
        memory=arrays["memory"].astype(np.float32),
        world=arrays["world"].astype(np.float32),
        present=arrays["present"],
        style=str(arrays["style"]),
    )


def _render_dance(
    dance: Dance, version: int, pool: list[Groove], styles: Sequence[str], seed: int
) -> tuple[PoseSequence, RhythmTrack, Waveform, str]:
    """A dance, retimed and perhaps mirrored, with a groove on its beats, and the groove's style."""
    rng = np.random.default_rng([seed, version, *dance.dance_id.encode()])
    speed = 1.0 if version == 0 else float(rng.uniform(0.75, 1.35))
    world = mirror(dance.poses.world) if rng.random() < 0.5 else dance.poses.world
    faster = replace(dance.poses, world=world, fps=dance.poses.fps * speed)
    poses = resample_poses(faster, POSE_FPS)
    track = danced_rhythm(poses, dance.beat_times / speed, dance.beat_numbers)
    style = ""
    if styles:
        style = dance.genre if rng.random() < 0.5 else str(rng.choice(list(styles)))
        own = dance.genre in BALLROOM_STYLES and style == dance.genre
        played = [groove for groove in pool if groove.style == style]
        pool = [ballroom_groove(style, pool, rng)] if own else played or pool
        style = style if own or played else ""
    return poses, track, play_for_dance(track, pool, rng), style


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
