"""Any model that makes sound from movement, played by the same words as ``DanceToMusic``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dancetomusic.checkpoint import checkpoint_family
from dancetomusic.codec.spectral import SpectralCodec
from dancetomusic.errors import CheckpointError, InputError
from dancetomusic.generate.beat_source import BeatChoice, choose_rhythm, sound_of
from dancetomusic.generate.inputs import Source, read_dancers
from dancetomusic.generate.one import DanceToMusic
from dancetomusic.generate.result import Music, Progress, StageClock
from dancetomusic.models.motion_vae import network as motion_vae
from dancetomusic.models.motion_vae import sampler as motion_sampler
from dancetomusic.models.motion_vae.network import MotionVae
from dancetomusic.models.pose2audio import network as pose2audio
from dancetomusic.models.pose2audio.token_decoder import require_style
from dancetomusic.models.pose_encoder.network import PoseEncoder
from dancetomusic.models.wavenet import generation as sample_writer
from dancetomusic.models.wavenet import network as wavenet
from dancetomusic.models.wavenet.network import WaveNet
from dancetomusic.released import locate_checkpoint
from dancetomusic.types import RhythmTrack

READER = "pose2audio"
"""The released checkpoint that reads the beat for models that do not."""


class Instrument:
    """A WaveNet or a motion sampler, beside an encoder that reads the beat.

    Args:
        model: Makes the sound.
        encoder: Reads the beat; a motion sampler plays on it, and the music says it.
        codec: Of a motion sampler; the released one by default.
    """

    def __init__(
        self,
        model: WaveNet | MotionVae,
        encoder: PoseEncoder,
        codec: SpectralCodec | None = None,
    ) -> None:
        self.model = model.eval()
        self.encoder = encoder.eval()
        self.codec = codec

    @property
    def styles(self) -> tuple[str, ...]:
        """Styles that can be asked for."""
        return self.model.config.genres if isinstance(self.model, WaveNet) else ()

    def check(self, choices: Mapping[str, Any]) -> None:
        """Refuse choices that ``generate`` would.

        Raises:
            InputError: If one is none of this model's.
        """
        known = {"temperature", "cfg_scale"} if isinstance(self.model, WaveNet) else {"temperature"}
        if self.styles:
            known.add("style")
        for name in sorted(choices.keys() - known):
            raise InputError(f"this model has no choice of {name}", f"Leave --{name} out.")
        require_style(choices.get("style"), self.styles)

    def generate(
        self,
        source: Source,
        *,
        seed: int = 0,
        bpm: float | None = None,
        beats: Path | str | RhythmTrack | None = None,
        beats_from: str = "auto",
        tempo: str | None = None,
        offset_ms: float = 0.0,
        sound: Path | str | None = None,
        num_dancers: int = 1,
        on_progress: Progress | None = None,
        **choices: Any,
    ) -> Music:
        """Play for the most prominent dancer; arguments as of ``DanceToMusic.generate``.

        Args:
            source: A video, poses as ``.npz``, or dancers of one length.
            seed: The same seed gives the same music.
            bpm: Tempo to hold.
            beats: CSV of beats, or beats themselves, to use instead of estimated ones.
            beats_from: ``"auto"``, ``"sound"`` or ``"movement"``.
            tempo: ``"half"`` or ``"double"`` as fast as estimated.
            offset_ms: Play this much later (positive) or earlier.
            sound: File to find the beats in instead of the video's own sound.
            num_dancers: People to follow at most; the beat is read from all.
            on_progress: Called with a stage's name and the share of it done.
            choices: ``temperature``; of a WaveNet also ``cfg_scale``, and ``style`` if it knows
                styles.

        Raises:
            VideoError: If the video cannot be read.
            PoseError: If nobody dances in it, or for less than a second.
            InputError: If a choice is none of this model's or out of range.
        """
        self.check(choices)
        clock = StageClock(on_progress)
        with clock.stage("poses") as report:
            dancers, video = read_dancers(source, num_dancers, report)
        with clock.stage("rhythm"):
            choice = BeatChoice(beats_from, beats, bpm, tempo, offset_ms)
            _, rhythm, readings = choose_rhythm(
                self.encoder, dancers, choice, sound=sound_of(choice, sound or video)
            )
        with clock.stage("sound"):
            if isinstance(self.model, WaveNet):
                choices["genre"] = choices.pop("style", None)
                waveform = sample_writer.play(self.model, dancers[0], seed=seed, **choices)
            else:
                waveform = motion_sampler.play(
                    self.model, dancers[0], seed=seed, rhythm=rhythm, codec=self.codec, **choices
                )
        return Music(waveform, rhythm, tuple(dancers), clock.timings, video, readings=readings)


def open_model(
    checkpoint: Path | str | None = None,
    codec: Path | str | None = None,
    *,
    threads: int | None = None,
) -> DanceToMusic | Instrument:
    """Load whatever plays for a dance, by the family of its checkpoint.

    Args:
        checkpoint: A directory or a released name; ``"pose2audio"`` by default.
        codec: As for ``DanceToMusic.from_pretrained``.
        threads: CPU threads for PyTorch, process-wide.

    Raises:
        CheckpointError: If it is missing, corrupted, or makes no sound from movement.
        DependencyError: If a hub id cannot be reached.
    """
    directory = locate_checkpoint(checkpoint or READER)
    family = checkpoint_family(directory)
    if family == pose2audio.MODEL:
        return DanceToMusic.from_pretrained(checkpoint, codec, threads=threads)
    if family not in (wavenet.MODEL, motion_vae.MODEL):
        raise CheckpointError(
            f"{directory} holds a {family!r} model, which plays no music",
            f"Name one of {pose2audio.MODEL}, {wavenet.MODEL} or {motion_vae.MODEL}.",
        )
    reader = DanceToMusic.from_pretrained(READER, threads=threads)
    if family == wavenet.MODEL:
        return Instrument(wavenet.load_wavenet(directory), reader.model.encoder)
    return Instrument(motion_vae.load_motion_vae(directory), reader.model.encoder, _codec(codec))


def _codec(name: Path | str | None) -> SpectralCodec | None:
    return None if name is None else SpectralCodec.from_pretrained(locate_checkpoint(name))
