"""Music for training: rendered or taken from clips, as codes with what they are conditioned on.

What is rendered is kept on disk, under a name that says what it was made from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int

from dancetomusic.codec.base import Codec
from dancetomusic.config import config_to_dict
from dancetomusic.data.clip import ACCEPTED, NEEDED_FILES, Clip, clip_directory
from dancetomusic.data.clip_stream import ClipStream
from dancetomusic.data.dance import Dance
from dancetomusic.data.manifest import open_manifest
from dancetomusic.data.tang2018 import load_dances
from dancetomusic.errors import InputError
from dancetomusic.models.pose2audio.score_condition import TimedNotes, timed_notes
from dancetomusic.models.pose2audio.score_data import load_or_play, pack_notes, unpack_notes
from dancetomusic.models.pose2audio.token_decoder import TokenDecoderConfig
from dancetomusic.models.pose2audio.training_config import Pose2AudioTrainingConfig
from dancetomusic.models.pose_encoder.network import PoseEncoder, encode_poses
from dancetomusic.pose.landmarks import mirror, resample_poses
from dancetomusic.rhythm.energy import ENERGY_RATE, danced_rhythm, loudness_energy
from dancetomusic.rhythm.features import rhythm_features
from dancetomusic.synthesis.ballroom import ballroom_groove
from dancetomusic.synthesis.corpus import Corpus, CorpusConfig, load_or_render, waveform_of_piece
from dancetomusic.synthesis.dance_music import play_for_dance
from dancetomusic.synthesis.groove import BALLROOM_STYLES, Groove, load_grooves, select_grooves
from dancetomusic.synthesis.score_pieces import ScoreCorpusConfig, play_score
from dancetomusic.training.prepared import hash_arrays, load_or_make
from dancetomusic.types import POSE_FPS, PoseSequence, RhythmTrack, Waveform

ITEM_FORMAT = 2
"""Of the files of items; others are rendered again."""


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
        notes: Its score, if that is known.
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
    notes: TimedNotes = field(default_factory=TimedNotes.none)


class Preparation:
    """Makes items of rendered music, dances and clips.

    Args:
        config: The settings.
        output: Where they are kept.
        codec: Encodes the music.
        encoder: Reads the dances.
        decoder: Which codebooks, styles and windows it takes.
    """

    def __init__(
        self,
        config: Pose2AudioTrainingConfig,
        output: Path,
        codec: Codec,
        encoder: PoseEncoder,
        decoder: TokenDecoderConfig,
    ) -> None:
        self.config, self.output, self.codec, self.encoder = config, output, codec, encoder
        self.decoder = decoder

    def music(self, name: str, corpus: CorpusConfig, folder: str, grooves: str) -> list[Item]:
        """Music without a dance."""

        def make() -> list[Item]:
            pieces = load_or_render(corpus, grooves, self.output / folder)
            return [music_item(pieces, n, self.codec) for n in range(len(pieces.samples))]

        source = [self.codec.identity, config_to_dict(corpus), ITEM_FORMAT]
        return load_or_make(self.output / f"{name}.npz", source, make, _pack, _unpack)

    def scores(self, name: str, corpus: ScoreCorpusConfig) -> list[Item]:
        """Pieces of the arranger without a dance."""
        pieces = load_or_play(corpus, self.codec, self.output / name, self.config.threads)
        return [
            Item(
                piece.codes[: self.decoder.n_codebooks],
                rhythm_features(piece.track, self.codec.frame_rate, piece.codes.shape[1]),
                notes=piece.notes,
            )
            for piece in pieces
        ]

    def pairs(self, split: str = "train") -> list[Item]:
        """Music rendered for dances of a split, which depend on the encoder that reads them.

        Raises:
            InputError: If the dances or the grooves are missing or malformed.
            DependencyError: If FluidSynth is missing.
        """
        config = self.config
        arranged = bool(config.scores.n_pieces)
        values = {
            "encoder": hash_arrays(t.numpy() for t in self.encoder.state_dict().values()),
            "poses": config.train_encoder,
            "versions": config.dance_versions,
            "styles": list(self.decoder.styles),
            "scores": config_to_dict(replace(config.scores, n_pieces=0)) if arranged else None,
            "seed": config.seed,
        }
        source = [self.codec.identity, values, ITEM_FORMAT]
        file = self.output / ("paired.npz" if split == "train" else f"paired_{split}.npz")
        render = partial(self._render, split)
        return load_or_make(file, source, render, _pack, _unpack)

    def _render(self, split: str) -> list[Item]:
        config = self.config
        dances = load_dances(config.dances, split=split, qualities=("A", "B"))
        music: ArrangedMusic | GrooveMusic
        if config.scores.n_pieces:
            music = ArrangedMusic(replace(config.scores, held_out=split != "train"))
        else:
            assert config.grooves is not None
            pool = select_grooves(load_grooves(config.grooves), held_out=split != "train")
            music = GrooveMusic(pool, self.decoder.styles)
        jobs = [(dance, v) for dance in dances for v in range(config.dance_versions)]
        with ProcessPoolExecutor(config.threads) as executor:
            render = partial(_render_dance, music, config.seed)
            rendered = list(executor.map(render, *zip(*jobs, strict=True)))
        return [
            self._paired_item(self.codec.encode(waveform).codes, track, poses, style, notes)
            for poses, track, (waveform, style, notes) in rendered
        ]

    def _paired_item(
        self,
        codes: Int[np.ndarray, "codebooks frames"],
        track: RhythmTrack,
        poses: PoseSequence,
        style: str = "",
        notes: TimedNotes | None = None,
    ) -> Item:
        notes = notes or TimedNotes.none()
        features = rhythm_features(track, self.codec.frame_rate, codes.shape[1])
        if self.config.train_encoder:
            return Item(
                codes, features, world=poses.world, present=poses.present, style=style, notes=notes
            )
        memory = encode_poses(self.encoder, poses).memory[0].numpy()
        return Item(codes, features, memory, style=style, notes=notes)

    def item_of_clip(self, clip: Clip) -> Item:
        """A clip of a set.

        Raises:
            InputError: If it is shorter than a window, or has too few codebooks.
        """
        window_s, n_codebooks = self.decoder.window_s, self.decoder.n_codebooks
        if clip.codes.duration_s < window_s:
            raise _too_short(clip.record.key, clip.codes.duration_s, window_s)
        codes = clip.codes.codes[:n_codebooks]
        if len(codes) < n_codebooks:
            raise InputError(
                f"clip {clip.record.key} has {len(codes)} codebooks",
                "Set n_codebooks to what the set was built with.",
            )
        return self._paired_item(codes, clip.rhythm, clip.poses)


def require_clips(stream: ClipStream, codec: Codec, window_s: float, split: str = "train") -> None:
    """Check what can be checked of a set before it is read: codec, lengths, and files.

    Raises:
        InputError: If another codec made its codes, a clip is shorter than a window, or lacks
            its sound or another file.
    """
    if stream.codec != codec.identity:
        raise InputError(
            f"the codes in {stream.root} are of {stream.codec}, not of {codec.identity}",
            "Name the codec it was built with: codec=DIRECTORY, or codec=OWNER/NAME on the hub.",
        )
    manifest = open_manifest(stream.root)
    for record in manifest.records(split=split, status=ACCEPTED):
        length = record.end_s - record.start_s
        if length < window_s - 1e-3:
            raise _too_short(record.key, length, window_s)
        if not manifest.shards:
            folder = clip_directory(stream.root, record.key)
            missing = [name for name in NEEDED_FILES if not (folder / name).is_file()]
            if missing:
                raise InputError(f"clip {record.key} lacks {missing[0]}", "Build the set again.")


def clip_seconds(root: str) -> int:
    """Whole seconds that all clips of the split ``train`` last.

    Raises:
        InputError: If there is no set, or no such clip.
    """
    records = open_manifest(root).records(split="train", status=ACCEPTED)
    lengths = [record.end_s - record.start_s for record in records]
    if not lengths:
        raise InputError(f"{root} has no accepted clip of split 'train'", "Name another.")
    return int(min(lengths) + 1e-3)


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
        **pack_notes(item.notes),
    }


def _unpack(arrays: Mapping[str, np.ndarray]) -> Item:
    return Item(
        codes=arrays["codes"].astype(np.int16),
        rhythm=arrays["rhythm"].astype(np.float32),
        memory=arrays["memory"].astype(np.float32),
        world=arrays["world"].astype(np.float32),
        present=arrays["present"],
        style=str(arrays["style"]),
        notes=unpack_notes(arrays),
    )


@dataclass(frozen=True)
class GrooveMusic:
    """Grooves of drummers, half of them in the dance's own style where styles are asked for."""

    pool: list[Groove]
    styles: Sequence[str]

    def __call__(
        self, dance: Dance, poses: PoseSequence, track: RhythmTrack, rng: np.random.Generator
    ) -> tuple[Waveform, str, TimedNotes]:
        """The sound for a dance, the name of its style, and its notes where they are known."""
        pool, style = self.pool, ""
        if self.styles:
            style = dance.genre if rng.random() < 0.5 else str(rng.choice(list(self.styles)))
            own = dance.genre in BALLROOM_STYLES and style == dance.genre
            played = [groove for groove in pool if groove.style == style]
            pool = [ballroom_groove(style, pool, rng)] if own else played or pool
            style = style if own or played else ""
        return play_for_dance(track, pool, rng), style, TimedNotes.none()


@dataclass(frozen=True)
class ArrangedMusic:
    """Scores of the arranger, in a style that suits the dance."""

    config: ScoreCorpusConfig

    def __call__(
        self, dance: Dance, poses: PoseSequence, track: RhythmTrack, rng: np.random.Generator
    ) -> tuple[Waveform, str, TimedNotes]:
        """The sound for a dance, the name of its style, and its notes where they are known."""
        sound, score = play_score(track, (poses,), None, rng, self.config)
        return sound, "", timed_notes(score)


def _render_dance(
    music: ArrangedMusic | GrooveMusic, seed: int, dance: Dance, version: int
) -> tuple[PoseSequence, RhythmTrack, tuple[Waveform, str, TimedNotes]]:
    """A dance, retimed and perhaps mirrored, with music on its beats."""
    rng = np.random.default_rng([seed, version, *dance.dance_id.encode()])
    speed = 1.0 if version == 0 else float(rng.uniform(0.75, 1.35))
    world = mirror(dance.poses.world) if rng.random() < 0.5 else dance.poses.world
    faster = replace(dance.poses, world=world, fps=dance.poses.fps * speed)
    poses = resample_poses(faster, POSE_FPS)
    track = danced_rhythm(poses, dance.beat_times / speed, dance.beat_numbers)
    return poses, track, music(dance, poses, track, rng)
