"""The recipe of Pose2Audio's token decoder: music alone, and music made for dances.

Rhythm is the interface: most of what the decoder learns comes from rendered grooves, whose
beats are known. A share of each batch is paired: grooves rendered on the exact beats of a
dance, as loud as the dance is strong, with the pose encoder's memory beside them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, Int64
from torch import Tensor, nn
from torch.nn import functional

from dancetomusic.checkpoint import Checkpoint, load_checkpoint, load_into
from dancetomusic.codec.base import Codec
from dancetomusic.codec.registry import load_codec
from dancetomusic.codec.soft import SoftDecoder
from dancetomusic.config import config_from_dict, config_to_dict
from dancetomusic.data.clip import ACCEPTED, CLIP_FILES, Clip, clip_directory
from dancetomusic.data.clip_stream import ClipStream
from dancetomusic.data.manifest import open_manifest
from dancetomusic.data.tang2018 import Dance, load_dances
from dancetomusic.errors import CheckpointError, ConfigError, InputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.models.beat_network.audio_beats import track_audio_beats
from dancetomusic.models.pose2audio.network import Pose2Audio, Pose2AudioConfig
from dancetomusic.models.pose2audio.token_decoder import ANY_STYLE, TokenDecoder, TokenDecoderConfig
from dancetomusic.models.pose_encoder.losses import rhythm_terms
from dancetomusic.models.pose_encoder.network import (
    POSE_FPS,
    STRIDE,
    PoseEncoder,
    PoseEncoderConfig,
    encode_poses,
)
from dancetomusic.models.registry import TrainingTask
from dancetomusic.nn.sampling import SamplingConfig
from dancetomusic.pose.landmarks import mirror, resample_poses
from dancetomusic.rhythm.energy import ENERGY_RATE, danced_rhythm, loudness_energy
from dancetomusic.rhythm.features import RHYTHM_FEATURES, rhythm_features
from dancetomusic.synthesis.ballroom import ballroom_groove
from dancetomusic.synthesis.corpus import Corpus, CorpusConfig, load_or_render, waveform_of_piece
from dancetomusic.synthesis.dance_music import play_for_dance
from dancetomusic.synthesis.groove import BALLROOM_STYLES, Groove, load_grooves, select_grooves
from dancetomusic.training.data_hash import hash_arrays
from dancetomusic.training.distributed import World
from dancetomusic.training.logger import Board
from dancetomusic.training.loop import Group, LoopConfig, Recipe, run_recipe
from dancetomusic.training.losses import (
    CodeCritic,
    PerceptualLoss,
    codebook_losses,
    critic_loss,
    draw_shares,
    scheduled_logits,
)
from dancetomusic.training.music_fit import fit_of_beats
from dancetomusic.types import CodeSequence, PoseSequence, RhythmTrack, Waveform

MEMORY_RATE = round(POSE_FPS / STRIDE)
POSES_PER_S = round(POSE_FPS)
HIDDEN_RUN = 10
VALIDATION_BATCHES = 4


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
    """Pose2Audio checkpoint whose decoder to go on from; it may have other styles, more layers
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
    """Share of windows whose style is not told, so that none need be asked for."""
    style_rate: float = 6.0
    """Learning rate of the table of styles, as a multiple of the decoder's."""
    hidden_share: float = 0.0
    """Share of windows in which past codes are hidden, wholly in a third of them and in runs of
    10 frames in the others, so that rhythm and style have to say what is played."""
    window_s: int = 6
    """Length of a training window, in whole seconds."""
    paired_share: float = 0.35
    """Share of windows with a dance beside the music."""
    unpaired_steps: int = 0
    """Steps at the start that learn from music alone."""
    withheld_share: float = 0.1
    """Share of windows without any condition, for guidance."""
    teacher_forcing_ratio: float = 1.0
    """Share of codes read as they are in truth, in [0, 1]; of the others the model's own."""
    perceptual_weight: float = 0.0
    """Of the distance between the sounds of drawn and true codes; 0 for none."""
    perceptual_s: int = 2
    """Length of sound that is compared, of each window."""
    adversarial_weight: float = 0.0
    """Of a critic that tells drawn from true codes; 0 for none."""
    critic_rate: float = 1e-4
    """Learning rate of the critic."""
    decoder_every: int = 1
    """Steps of the critic for each of the decoder."""
    train_encoder: bool = False
    """Go on training the pose encoder beside the decoder, on windows instead of whole dances."""
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
        shares = "unnamed_share hidden_share paired_share withheld_share teacher_forcing_ratio"
        for key in shares.split():
            if not 0 <= getattr(self, key) <= 1:
                raise ConfigError(f"{key} is {getattr(self, key)}", "Give a share in [0, 1].")
        for key in ("perceptual_weight", "adversarial_weight", "rhythm_weight", "unpaired_steps"):
            if not getattr(self, key) >= 0:
                raise ConfigError(f"{key} is {getattr(self, key)}", "Give 0 or more.")
        for key in ("window_s", "perceptual_s", "shown_s", "dance_versions", "decoder_every"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key} is {getattr(self, key)}", "Give at least 1.")


@dataclass(frozen=True)
class Item:
    """One piece of music, ready for training.

    Attributes:
        codes: Its codes.
        rhythm: Rhythm features, one row per code frame.
        memory: What the pose encoder remembers of the dance at 12 Hz; empty without one.
        world: The dance itself at 24 frames a second, where the encoder is trained; else empty.
        present: Its frames with a dancer.
        style: Name of its style; empty for none in particular.
    """

    codes: Int[np.ndarray, "codebooks frames"]
    rhythm: Float32[np.ndarray, "frames features"]
    memory: Float32[np.ndarray, "memory channels"]
    world: Float32[np.ndarray, "poses 33 3"]
    present: Bool[np.ndarray, " poses"]
    style: str = ""


@dataclass(frozen=True)
class CodeBatch:
    """Windows of music, with what is known beside them."""

    codes: Int64[Tensor, "batch codebooks frames"]
    rhythm: Float32[Tensor, "batch frames features"]
    memory: Float32[Tensor, "batch memory channels"]
    memory_mask: Bool[Tensor, "batch memory"]
    world: Float32[Tensor, "batch poses 33 3"]
    present: Bool[Tensor, "batch poses"]
    style: Int64[Tensor, " batch"]
    withheld: Bool[Tensor, " batch"]
    hidden: Bool[Tensor, "batch frames"]


class Pose2AudioRecipe(Recipe):
    """Trains a ``TokenDecoder`` on top of a trained codec and pose encoder.

    What is rendered and encoded for it is kept in the run's directory.

    Args:
        config: The settings.
        output: The run's directory.
        world: The processes that train together.

    Raises:
        InputError: If data is missing, malformed, of another codec or shorter than a window.
        CheckpointError: If a checkpoint is missing, of another schema, or does not fit.
        DependencyError: If music is to be rendered and FluidSynth is missing.
    """

    config: Pose2AudioTrainingConfig

    def __init__(self, config: Pose2AudioTrainingConfig, output: Path, world: World) -> None:
        self.config, self.output, self.device = config, output, world.device
        self.codec = load_codec(config.codec, config.n_codebooks)
        held = load_checkpoint(config.pose_encoder, model="pose_encoder")
        self.encoder = PoseEncoder(config_from_dict(PoseEncoderConfig, held.config))
        load_into(self.encoder, held, config.pose_encoder)
        self.encoder.eval().requires_grad_(False)
        self.encoder_metadata = held.metadata
        self.decoder = self._make_decoder()
        self.music = self._items(
            "music", config_to_dict(config.corpus), partial(self._music_items, config.corpus)
        )
        self.held_out = self._items(
            "held_out",
            config_to_dict(config.validation),
            partial(self._music_items, config.validation, "validation"),
        )
        self.paired: list[Item] = []
        self.clips: EndlessClips | None = None
        if config.paired_share == 0:
            clips_hash = ""
        elif config.clips is None:
            self.paired = self._items("paired", self._source_of_pairs(held), self._paired_items)
            clips_hash = ""
        else:
            self.clips = self._open_clips(config.clips, world)
            clips_hash = self.clips.stream.content_hash
        self._move_to_device()
        items = [*self.music, *self.paired]
        digest = hash_arrays(array for item in items for array in (item.codes, item.rhythm))
        self.data_hash = digest + (f" {clips_hash}" if clips_hash else "")
        rate = self.codec.frame_rate * config.window_s
        self.epoch_size = sum(int(item.codes.shape[1] / rate) for item in items) + (
            self.clips.stream.n_clips if self.clips else 0
        )

    def _make_decoder(self) -> TokenDecoder:
        config = self.config
        decoder = TokenDecoder(
            TokenDecoderConfig(
                rhythm_features=len(RHYTHM_FEATURES),
                memory_dim=self.encoder.config.channels,
                n_codebooks=config.n_codebooks,
                codebook_size=self.codec.codebook_size,
                d_model=config.d_model,
                n_layers=config.n_layers,
                n_heads=config.n_heads,
                memory_layers=config.memory_layers,
                causal=config.causal,
                dropout=config.dropout,
                frame_rate=self.codec.frame_rate,
                styles=config.styles,
            )
        )
        if config.start_from is not None:
            start = Pose2Audio.from_pretrained(config.start_from)
            if start.config.codec_id != self.codec.identity:
                raise CheckpointError(
                    f"{config.start_from} writes codes of {start.config.codec_id},"
                    f" not of {self.codec.identity}",
                    "Train on its own codec, or start anew.",
                )
            take_weights(decoder, start.decoder, config.start_from)
        return decoder

    def _move_to_device(self) -> None:
        """Decoder, and what its losses need; the rest works on the processor."""
        config = self.config
        self.decoder.to(self.device)
        self.modules: dict[str, nn.Module] = {"decoder": self.decoder}
        table = [] if self.decoder.styles is None else [self.decoder.styles.weight]
        others = [w for w in self.decoder.parameters() if not any(w is style for style in table)]
        parts: list[dict[str, Any]] = [{"params": others}]
        if table:
            parts.append({"params": table, "scale": config.style_rate, "weight_decay": 0.0})
        if config.train_encoder:
            self.encoder.to(self.device).requires_grad_(True)
            self.modules["encoder"] = self.encoder
            parts.append({"params": list(self.encoder.parameters()), "scale": config.encoder_rate})
        optimizer = torch.optim.AdamW(
            parts, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=config.weight_decay
        )
        self.groups: dict[str, Group] = {}
        if config.perceptual_weight or config.adversarial_weight:
            soft = load_codec(config.codec, config.n_codebooks)
            assert isinstance(soft, SoftDecoder)
            self.soft = soft.to(str(self.device))
            self.perceptual = PerceptualLoss(self.soft).to(self.device)
        if config.adversarial_weight:
            self.critic = CodeCritic(self.soft.latent_channels, len(RHYTHM_FEATURES))
            self.critic.to(self.device)
            self.modules["critic"] = self.critic
            weights = self.critic.parameters()
            adam = torch.optim.Adam(weights, lr=config.critic_rate, betas=(0.5, 0.9))
            self.groups["critic"] = Group(adam, config.critic_rate, clip_norm=0.0)
        every = config.decoder_every if config.adversarial_weight else 1
        self.groups["decoder"] = Group(
            optimizer, config.learning_rate, every=every, clip_norm=config.clip_norm
        )

    def batch(self, step: int, places: range) -> CodeBatch:
        """Windows of music, a share of them with a dance."""
        share = self.config.paired_share if step >= self.config.unpaired_steps else 0.0
        windows = []
        for place in places:
            rng = self.rng(step, place)
            if rng.random() < share:
                item = next(self.clips) if self.clips else self.paired[_any(rng, self.paired)]
            else:
                item = self.music[_any(rng, self.music)]
            windows.append(self._window(item, rng))
        return _stack(windows)

    def _window(self, item: Item, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """A random window of an item, which begins at a whole second."""
        config = self.config
        frames = round(config.window_s * self.codec.frame_rate)
        seconds = int(item.codes.shape[1] / self.codec.frame_rate) - config.window_s
        start_s = int(rng.integers(max(1, seconds)))
        start = round(start_s * self.codec.frame_rate)
        told = item.style in config.styles and rng.random() >= config.unnamed_share
        style = self.decoder.config.style_index(item.style) if told else ANY_STYLE
        seen = _cut(item.memory, start_s, MEMORY_RATE, config.window_s)
        poses = _cut(item.world, start_s, POSES_PER_S, config.window_s)
        present = item.present[start_s * POSES_PER_S :][: len(poses)]
        n_memory, n_poses = config.window_s * MEMORY_RATE, config.window_s * POSES_PER_S
        channels = self.encoder.config.channels
        if not config.train_encoder:
            n_poses = 0
        return (
            item.codes[:, start : start + frames].astype(np.int64),
            _blurred(item.rhythm[start : start + frames], rng),
            _padded(seen.reshape(len(seen), channels if len(seen) else 0), (n_memory, channels)),
            np.arange(n_memory) < len(seen),
            _padded(poses, (n_poses, 33, 3)),
            _padded(present, (n_poses,)),
            np.array(style),
            np.array(rng.random() < config.withheld_share),
            _hide(frames, config.hidden_share, rng),
        )

    def losses(self, group: str, batch: CodeBatch, step: int) -> dict[str, Tensor]:
        """Cross-entropy of the codes, and of sound, critic and rhythm what is switched on."""
        config = self.config
        if group == "critic":
            with torch.no_grad():
                logits = self._logits(batch)[0]
            with torch.autocast(self.device.type, enabled=False):
                drawn = self.soft.embed(draw_shares(logits))
                return critic_loss(self.critic, self._embedded(batch), drawn, batch.rhythm)
        logits, terms = self._logits(batch)
        codes = codebook_losses(logits, batch.codes)
        shown = {f"book_{number}": loss for number, loss in enumerate(codes)}
        terms["codes"] = codes.mean()
        if config.perceptual_weight:
            frames = round(config.perceptual_s * self.codec.frame_rate)
            last = batch.codes.shape[2] - min(frames, batch.codes.shape[2])
            first = int(self.rng(step, 2**31).integers(last + 1))
            part = slice(first, first + frames)
            terms["perceptual"] = config.perceptual_weight * self.perceptual(
                logits[:, :, part], batch.codes[:, :, part]
            )
        if config.adversarial_weight:
            with torch.autocast(self.device.type, enabled=False):
                drawn = self.soft.embed(draw_shares(logits))
                score = self.critic(drawn, batch.rhythm).mean()
            terms["adversarial"] = -config.adversarial_weight * score
        return {"total": torch.stack(list(terms.values())).sum(), **terms, **shown}

    def _logits(self, batch: CodeBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits of all codes, and the losses of the encoder where it is trained."""
        config = self.config
        memory, memory_mask = batch.memory, batch.memory_mask
        terms = {}
        if config.train_encoder:
            said = self.encoder(batch.world, batch.present)
            memory, memory_mask = said.memory, said.memory_mask
            frames = torch.arange(batch.rhythm.shape[1], device=self.device)
            at = (frames * (POSE_FPS / self.codec.frame_rate)).long()
            seen = batch.present[:, at.clamp(max=batch.present.shape[1] - 1)]
            columns = dict(zip(RHYTHM_FEATURES, batch.rhythm.unbind(-1), strict=True))
            found = rhythm_terms(
                said,
                phase=torch.stack([columns["beat_cos"], columns["beat_sin"]], dim=-1),
                beats=columns["beat_bump"],
                downbeats=columns["downbeat_bump"],
                energy=columns["energy"],
                mask=seen.float(),
            )
            terms = {name: config.rhythm_weight * value for name, value in found.items()}

        def logits_of(codes: Int64[Tensor, "batch codebooks frames"]) -> Tensor:
            past = codes.masked_fill(batch.hidden[:, None], self.decoder.config.empty)
            return self.decoder(
                past, batch.rhythm, memory, memory_mask,
                style=batch.style, withheld=batch.withheld,
            )  # fmt: skip

        return scheduled_logits(logits_of, batch.codes, config.teacher_forcing_ratio), terms

    def _embedded(self, batch: CodeBatch) -> Float32[Tensor, "batch frames channels"]:
        shares = functional.one_hot(batch.codes, self.codec.codebook_size).float()
        return self.soft.embed(shares)

    def validate(self) -> dict[str, float]:
        """Loss on held-out drummers, kits and basses; the same windows each time."""
        found = []
        for number in range(VALIDATION_BATCHES):
            windows = []
            for place in range(self.config.batch_size):
                rng = np.random.default_rng([0, number, place])
                item = self.held_out[_any(rng, self.held_out)]
                windows.append(self._window(item, rng))
            batch = _stack(windows)
            codes, rhythm = batch.codes.to(self.device), batch.rhythm.to(self.device)
            logits = self.decoder(codes, rhythm, style=batch.style.to(self.device))
            found.append(codebook_losses(logits, codes))
        books = torch.stack(found).mean(0).tolist()
        named = {f"book_{number}": loss for number, loss in enumerate(books)}
        return {"loss": float(np.mean(books)), **named}

    def show(self, board: Board, step: int) -> dict[str, float]:
        """Play on the rhythm of a held-out piece, and hear whether the beats are in place."""
        frames = round(self.config.shown_s * self.codec.frame_rate)
        rhythm = self.held_out[0].rhythm[:frames]
        generator = torch.Generator(self.device).manual_seed(self.config.seed)
        codes = self.decoder.generate(
            torch.from_numpy(rhythm)[None].to(self.device),
            sampling=SamplingConfig(top_k=250),
            generator=generator,
        )
        made = CodeSequence(codes[0].cpu().numpy(), self.codec.frame_rate, self.codec.identity)
        sound = self.codec.decode(made)
        bump = rhythm[:, RHYTHM_FEATURES.index("beat_bump")]
        peaks = 1 + np.flatnonzero(
            (bump[1:-1] >= bump[:-2]) & (bump[1:-1] > bump[2:]) & (bump[1:-1] > 0.5)
        )
        beats = peaks / self.codec.frame_rate
        board.sound("take", sound, beats, step)
        return fit_of_beats(beats, track_audio_beats(sound).beat_times)

    def write(self, directory: Path, metadata: dict[str, Any]) -> None:
        """Write encoder and decoder as one Pose2Audio checkpoint."""
        model = Pose2Audio(
            Pose2AudioConfig(self.encoder.config, self.decoder.config, self.codec.identity)
        )
        model.encoder.load_state_dict(self.encoder.state_dict())
        model.decoder.load_state_dict(self.decoder.state_dict())
        model.save_pretrained(directory, {**metadata, "pose_encoder": self.encoder_metadata})

    def state_dict(self) -> dict[str, int]:
        """Where the stream of clips is."""
        return self.clips.stream.state_dict() if self.clips else {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on in the stream of clips."""
        if self.clips:
            self.clips.go_on(state)

    def _items(self, name: str, source: Any, make: Callable[[], list[Item]]) -> list[Item]:
        """Prepared items, kept on disk with the codec and the source that they were made of."""
        file = self.output / f"{name}.npz"
        origin = json.dumps([self.codec.identity, source], sort_keys=True)
        if file.is_file():
            with np.load(file, allow_pickle=False) as arrays:
                if "origin" in arrays and str(arrays["origin"]) == origin:
                    return [_item_of(arrays, number) for number in range(int(arrays["n_items"]))]
        items = make()
        arrays = {"origin": np.array(origin), "n_items": np.array(len(items))}
        for number, item in enumerate(items):
            arrays[f"codes{number}"] = item.codes.astype(np.int16)
            arrays[f"rhythm{number}"] = item.rhythm.astype(np.float16)
            arrays[f"memory{number}"] = item.memory.astype(np.float16)
            arrays[f"world{number}"] = item.world.astype(np.float16)
            arrays[f"present{number}"] = item.present
            arrays[f"style{number}"] = np.array(item.style)
        with atomic_output(file) as temporary:
            np.savez(temporary, **arrays)
        return [_item_of(arrays, number) for number in range(len(items))]

    def _music_items(self, config: CorpusConfig, name: str = "corpus") -> list[Item]:
        corpus = load_or_render(config, self.config.grooves, self.output / name)
        return [music_item(corpus, number, self.codec) for number in range(len(corpus.samples))]

    def _source_of_pairs(self, encoder: Checkpoint) -> dict[str, Any]:
        """What prepared pairs depend on."""
        config = self.config
        return {
            "encoder": encoder.sha256,
            "poses": config.train_encoder,
            "versions": config.dance_versions,
            "styles": list(config.styles),
            "seed": config.seed,
        }

    def _paired_items(self) -> list[Item]:
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
        items = []
        for poses, track, waveform, style in rendered:
            codes = self.codec.encode(waveform).codes
            items.append(self._paired_item(codes, track, poses, style))
        return items

    def _paired_item(
        self,
        codes: Int[np.ndarray, "codebooks frames"],
        track: RhythmTrack,
        poses: PoseSequence,
        style: str = "",
    ) -> Item:
        features = rhythm_features(track, self.codec.frame_rate, codes.shape[1])
        if self.config.train_encoder:
            return Item(codes, features, _NO_MEMORY, poses.world, poses.present, style)
        memory = encode_poses(self.encoder, poses).memory[0].numpy()
        return Item(codes, features, memory, _NO_POSES, _NO_PRESENCE, style)

    def _open_clips(self, root: str, world: World) -> EndlessClips:
        stream = ClipStream(root, seed=self.config.seed, rank=world.rank, world_size=world.size)
        require_clips(stream, self.codec, float(self.config.window_s))
        clips = EndlessClips(stream, self._item_of_clip)
        next(clips)
        clips.go_on({"epoch": 0, "given": 0})
        return clips

    def _item_of_clip(self, clip: Clip) -> Item:
        if clip.codes.duration_s < self.config.window_s:
            raise InputError(
                f"clip {clip.record.key} lasts {clip.codes.duration_s:g} s,"
                f" a window {self.config.window_s} s",
                "Set window_s to the length of the clips.",
            )
        codes = clip.codes.codes[: self.config.n_codebooks]
        if len(codes) < self.config.n_codebooks:
            raise InputError(
                f"clip {clip.record.key} has {len(codes)} codebooks",
                "Set n_codebooks to what the set was built with.",
            )
        return self._paired_item(codes, clip.rhythm, clip.poses)


class EndlessClips(Iterator[Item]):
    """The clips of a stream, one epoch after the other.

    Args:
        stream: Reads them.
        make: Makes an item of a clip.
    """

    def __init__(self, stream: ClipStream, make: Callable[[Clip], Item]) -> None:
        self.stream, self._make = stream, make
        self._clips = iter(stream)

    def __next__(self) -> Item:
        for _ in range(2):
            clip = next(self._clips, None)
            if clip is not None:
                return self._make(clip)
            self.go_on({"epoch": self.stream.state_dict()["epoch"] + 1, "given": 0})
        raise InputError(
            f"{self.stream.root} has fewer clips than processes train", "Start fewer processes."
        )

    def go_on(self, state: dict[str, int]) -> None:
        """Go on from a state of the stream."""
        self.stream.load_state_dict(state)
        self._clips = iter(self.stream)


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
            raise InputError(
                f"clip {record.key} lasts {length:g} s, a window {window_s:g} s",
                "Set window_s to the length of the clips.",
            )
        if not manifest.shards:
            folder = clip_directory(stream.root, record.key)
            missing = [name for name in CLIP_FILES if not (folder / name).is_file()]
            if missing:
                raise InputError(f"clip {record.key} lacks {missing[0]}", "Build the set anew.")


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
    style = corpus.styles[number]
    return Item(codes, features, _NO_MEMORY, _NO_POSES, _NO_PRESENCE, style)


_NO_MEMORY = np.zeros((0, 1), np.float32)
_NOTHING = torch.zeros(0)
_NO_POSES = np.zeros((0, 33, 3), np.float32)
_NO_PRESENCE = np.zeros(0, bool)


def _item_of(arrays: Any, number: int) -> Item:
    return Item(
        codes=arrays[f"codes{number}"].astype(np.int16),
        rhythm=arrays[f"rhythm{number}"].astype(np.float32),
        memory=arrays[f"memory{number}"].astype(np.float32),
        world=arrays[f"world{number}"].astype(np.float32),
        present=arrays[f"present{number}"],
        style=str(arrays[f"style{number}"]),
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
    beat_times = dance.beat_times / speed
    numbers = np.arange(beat_times.size) % dance.beats_per_bar + 1
    track = danced_rhythm(poses, beat_times, numbers)
    style = ""
    if styles:
        style = dance.genre if rng.random() < 0.5 else str(rng.choice(list(styles)))
        own = dance.genre in BALLROOM_STYLES and style == dance.genre
        played = [groove for groove in pool if groove.style == style]
        pool = [ballroom_groove(style, pool, rng)] if own else played or pool
        style = style if own or played else ""
    return poses, track, play_for_dance(track, pool, rng), style


def _any(rng: np.random.Generator, items: Sequence[Item]) -> int:
    return int(rng.integers(len(items)))


def _stack(windows: Sequence[tuple[np.ndarray, ...]]) -> CodeBatch:
    return CodeBatch(*(torch.from_numpy(np.stack(part)) for part in zip(*windows, strict=True)))


def _cut(values: np.ndarray, start_s: int, rate: int, seconds: int) -> np.ndarray:
    return values[start_s * rate : (start_s + seconds) * rate]


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


def take_weights(decoder: TokenDecoder, start: TokenDecoder, origin: str) -> None:
    """Begin with the weights of a trained decoder.

    Of more layers than are needed, evenly spaced ones are taken; memory layers that are not
    needed are left, and a table of other styles is made anew.

    Raises:
        CheckpointError: If it has fewer layers or another width.
    """
    ours, theirs = decoder.config, start.config
    spaced = np.linspace(0, theirs.n_layers - 1, ours.n_layers).round().astype(int)
    sources = {f"blocks.{n}.": f"blocks.{layer}." for n, layer in enumerate(spaced)}
    held = start.state_dict()
    taken = {}
    for name, tensor in decoder.state_dict().items():
        if name.startswith("styles.") and ours.styles != theirs.styles:
            continue
        prefix = ".".join(name.split(".")[:2]) + "."
        source = name.replace(prefix, sources.get(prefix, prefix), 1)
        if ours.n_layers > theirs.n_layers or held.get(source, _NOTHING).shape != tensor.shape:
            raise CheckpointError(
                f"the decoder of {origin} has another shape",
                "Give its d_model, n_heads and n_codebooks, and at most its n_layers.",
            )
        taken[name] = held[source]
    decoder.load_state_dict(taken, strict=False)


def _blurred(
    rhythm: Float32[np.ndarray, "frames features"], rng: np.random.Generator
) -> Float32[np.ndarray, "frames features"]:
    """The features with an energy that is a little wrong, as movement is about loudness."""
    blurred = rhythm.copy()
    energy = RHYTHM_FEATURES.index("energy")
    blurred[:, energy] = np.clip(blurred[:, energy] + rng.normal(0, 0.08), 0, 1)
    return blurred


def train_pose2audio(config: Pose2AudioTrainingConfig, output: Path | str) -> Pose2Audio:
    """Train Pose2Audio on top of a trained codec and pose encoder; write its checkpoint.

    Raises:
        DanceToMusicError: See ``Pose2AudioRecipe`` and ``run_recipe``.
    """
    run_recipe(lambda world: Pose2AudioRecipe(config, Path(output), world), config, output)
    return Pose2Audio.from_pretrained(output)


TASK = TrainingTask(Pose2AudioTrainingConfig, train_pose2audio)
