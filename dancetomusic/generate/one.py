"""Video in, music out: the stages in order, each timed."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dancetomusic.codec.base import Codec
from dancetomusic.codec.registry import load_codec
from dancetomusic.errors import CheckpointError
from dancetomusic.generate.beat_source import BeatChoice, choose_rhythm, sound_of
from dancetomusic.generate.inputs import Source, read_dancers
from dancetomusic.generate.result import Music, Progress, StageClock
from dancetomusic.models.pose2audio.long_form import generate_codes
from dancetomusic.models.pose2audio.network import Pose2Audio
from dancetomusic.models.pose2audio.onnx_decoder import OnnxTokenDecoder
from dancetomusic.models.pose2audio.token_decoder import require_style
from dancetomusic.released import locate_checkpoint
from dancetomusic.rhythm.features import rhythm_features
from dancetomusic.rhythm.swing import offbeat_place
from dancetomusic.types import CodeSequence, RhythmTrack, Waveform


class DanceToMusic:
    """The whole chain with its weights loaded.

    Args:
        model: Reads the rhythm and writes codes.
        codec: Turns codes into sound; the one ``model`` was trained on.

    Raises:
        CheckpointError: If the model was trained on another codec.

    Example:
        >>> music = DanceToMusic.from_pretrained().generate("dance.mp4")  # doctest: +SKIP
        >>> music.save("out.wav")  # doctest: +SKIP
    """

    def __init__(self, model: Pose2Audio, codec: Codec) -> None:
        if model.config.codec_id != codec.identity:
            raise CheckpointError(
                f"the model was trained on codec {model.config.codec_id}, not {codec.identity}",
                "Give the codec it was trained on with --codec.",
            )
        self.model = model.eval()
        self.codec = codec
        self._decoder = OnnxTokenDecoder(model.decoder)

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: Path | str | None = None,
        codec: Path | str | None = None,
        *,
        threads: int | None = None,
    ) -> DanceToMusic:
        """Load a model and its codec.

        Args:
            checkpoint: A directory or a released name; ``"pose2audio"`` by default.
            codec: A directory, a released name, or an EnCodec hub id; ``"codec"`` by default.
            threads: CPU threads for PyTorch, process-wide.

        Raises:
            CheckpointError: If one is missing, corrupted, or does not fit the other.
            DependencyError: If a hub id cannot be reached.
        """
        if threads is not None:
            torch.set_num_threads(threads)
        model = Pose2Audio.from_pretrained(locate_checkpoint(checkpoint or "pose2audio"))
        n_codebooks = model.config.decoder.n_codebooks
        return cls(model, load_codec(codec or "codec", n_codebooks))

    @property
    def styles(self) -> tuple[str, ...]:
        """Styles of music that can be asked for."""
        return self.model.config.decoder.styles

    def check(self, choices: Mapping[str, Any]) -> None:
        """Refuse a style or swing that ``generate`` would.

        Raises:
            InputError: If there is none such.
        """
        require_style(choices.get("style"), self.styles)
        offbeat_place(choices.get("swing", 0.0))

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
        style: str | None = None,
        swing: float = 0.0,
        num_dancers: int = 1,
        temperature: float = 1.1,
        top_k: int | None = None,
        top_p: float | None = 0.95,
        cfg_scale: float = 2.5,
        on_progress: Progress | None = None,
    ) -> Music:
        """Make music for a dance.

        Args:
            source: A video, poses as ``.npz``, or dancers of one length.
            seed: The same seed gives the same music.
            bpm: Tempo to play at; only the phase is then estimated.
            beats: CSV of beats, or beats themselves, to play on instead of estimated ones.
            beats_from: ``"sound"`` takes the beats of the video's own sound, ``"movement"``
                those of the dance; ``"auto"`` the sound's where it has a clear pulse.
            tempo: ``"half"`` or ``"double"`` as fast as estimated.
            offset_ms: Play this much later (positive) or earlier.
            sound: File to find the beats in instead of the video's own sound.
            style: One of ``styles``; left to the model by default. The metre stays that of
                the dance.
            swing: How late the off-beats are played: 0 half-way between the beats, 1 at two
                thirds. Styles that swing by themselves then swing more.
            num_dancers: People to follow at most; they steer together.
            temperature: Above 1 bolder, below 1 safer; 0 always takes the likeliest code.
            top_k: Likeliest codes to choose among.
            top_p: Probability mass to choose within.
            cfg_scale: Classifier-free guidance; 1 is none, more follows the rhythm harder.
            on_progress: Called with a stage's name and the share of it done.

        Raises:
            VideoError: If the video cannot be read, or has no sound to take the beats from.
            PoseError: If nobody dances in it, or for less than a second.
            InputError: If an option is out of range, or the model does not know the style.
        """
        self.check({"style": style, "swing": swing})
        number = self.model.config.decoder.style_index(style)
        clock = StageClock(on_progress)
        with clock.stage("poses") as report:
            dancers, video = read_dancers(source, num_dancers, report)
        with clock.stage("rhythm"):
            choice = BeatChoice(beats_from, beats, bpm, tempo, offset_ms)
            together, rhythm, readings = choose_rhythm(
                self.model.encoder, dancers, choice, sound=sound_of(choice, sound or video)
            )
        with clock.stage("codes") as report:
            n_frames = int(np.ceil(rhythm.duration_s * self.codec.frame_rate - 1e-6))
            codes = generate_codes(
                partial(
                    self._decoder.generate,
                    style=torch.tensor([number]),
                    temperature=temperature,
                    top_k=top_k,
                    top_p=top_p,
                    cfg_scale=cfg_scale,
                ),
                rhythm_features(rhythm, self.codec.frame_rate, n_frames, swing=swing),
                together.memory,
                together.memory_mask,
                frame_rate=self.codec.frame_rate,
                memory_rate=self.model.config.decoder.memory_rate,
                seed=seed,
                on_progress=report,
            )
            sequence = CodeSequence(codes, self.codec.frame_rate, self.codec.identity)
        with clock.stage("sound"):
            waveform = self.codec.decode(sequence)
            n_samples = round(rhythm.duration_s * waveform.sample_rate)
            waveform = Waveform(waveform.samples[:, :n_samples], waveform.sample_rate)
        return Music(waveform, rhythm, tuple(dancers), clock.timings, video, sequence, readings)
