"""Pose2Audio with its codec: codes are sampled on a rhythm, and decoded to sound."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from dancetomusic.codec.base import Codec
from dancetomusic.codec.encodec import is_encodec
from dancetomusic.codec.registry import load_codec
from dancetomusic.errors import CheckpointError, InputError
from dancetomusic.models.base import (
    Conditions,
    ModelOptions,
    MusicModel,
    ScoreChoice,
    Sound,
    StageClock,
)
from dancetomusic.models.pose2audio.long_form import generate_codes
from dancetomusic.models.pose2audio.network import DEFAULT_SAMPLING, SCORE_SAMPLING, Pose2Audio
from dancetomusic.models.pose2audio.onnx_decoder import OnnxTokenDecoder
from dancetomusic.models.pose2audio.score_condition import roll_of_notes, timed_notes
from dancetomusic.models.score.model import check_choice, write_score
from dancetomusic.nn.sampling import SAMPLING_FIELDS, SamplingConfig
from dancetomusic.rhythm.features import rhythm_features
from dancetomusic.score.style import style_names
from dancetomusic.types import CodeSequence, Waveform

WEIGHT_BITS = 8
"""Of the weights while playing: twice as fast as with 32, and the likeliest code is the same in
98 % of the steps (``benchmarks/bench_decoding.py``)."""


class Pose2AudioModel(MusicModel):
    """Samples codes on the rhythm of a dance.

    Raises:
        CheckpointError: If the network was trained on another codec.
    """

    def __init__(self, network: Pose2Audio, codec: Codec) -> None:
        if network.config.codec_id != codec.identity:
            raise CheckpointError(
                f"the model was trained on codec {network.config.codec_id}, not {codec.identity}",
                f"Give that codec with --codec; it was {network.config.codec} in training.",
            )
        self.network = network.eval()
        self.codec = codec
        self.encoder = network.encoder
        self._decoder = OnnxTokenDecoder(network.decoder, weight_bits=WEIGHT_BITS)

    @classmethod
    def from_pretrained(
        cls, directory: Path | str, codec: Path | str | None = None
    ) -> Pose2AudioModel:
        """Load a checkpoint and its codec: the one given, the one of its training, or the released.

        Raises:
            CheckpointError: If one is missing, corrupted, or does not fit the other.
            DependencyError: If a hub id cannot be reached.
        """
        network = Pose2Audio.from_pretrained(directory)
        trained_on = network.config.codec
        is_there = Path(trained_on).exists() or is_encodec(trained_on)
        name = codec or (trained_on if is_there else "codec")
        return cls(network, load_codec(name, network.config.decoder.n_codebooks))

    @property
    def options(self) -> ModelOptions:
        """All sampling settings; styles and swing, or the score of one that plays scores."""
        decoder = self.network.config.decoder
        if decoder.score:
            return ModelOptions(
                SCORE_SAMPLING, SAMPLING_FIELDS, style_names(), score=True, conditions=("score",)
            )
        return ModelOptions(
            DEFAULT_SAMPLING, SAMPLING_FIELDS, decoder.styles, swing=True, conditions=("rhythm",)
        )

    def check(self, choice: ScoreChoice) -> None:
        """As the score's own; there is no SoundFont, and programs are what is to be imitated."""
        if choice.soundfont is not None:
            raise InputError("this model plays from no SoundFont", "Leave --soundfont out.")
        check_choice(choice)

    def generate(
        self, conditions: Conditions, sampling: SamplingConfig, stages: StageClock
    ) -> Sound:
        """Sample codes for every frame, and decode them."""
        rhythm, encoding = conditions.rhythm, conditions.encoding
        config, frame_rate = self.network.config.decoder, self.codec.frame_rate
        n_frames = int(np.ceil(rhythm.duration_s * frame_rate - 1e-6))
        score, roll, about = None, None, ""
        if config.score:
            with stages.stage("score"):
                written = write_score(conditions, sampling)
                score, about = written.score, written.about
                notes = timed_notes(score, conditions.score.programs)
                roll = roll_of_notes(notes, frame_rate, n_frames)
        unknown = config.score and conditions.style not in config.styles
        style = None if unknown else conditions.style
        numbers = torch.tensor([config.style_index(style)])
        with stages.stage("codes") as report:
            codes = generate_codes(
                partial(self._decoder.generate, style=numbers, sampling=sampling),
                rhythm_features(rhythm, frame_rate, n_frames, swing=conditions.swing),
                encoding.memory,
                encoding.memory_mask,
                frame_rate=frame_rate,
                memory_rate=config.memory_rate,
                window_s=config.window_s,
                seed=conditions.seed,
                score=roll,
                on_progress=report,
            )
            sequence = CodeSequence(codes, frame_rate, self.codec.identity)
        with stages.stage("sound"):
            waveform = self.codec.decode(sequence)
            n_samples = round(rhythm.duration_s * waveform.sample_rate)
            waveform = Waveform(waveform.samples[:, :n_samples], waveform.sample_rate)
        return Sound(waveform, sequence, score, about=about)


open_model = Pose2AudioModel.from_pretrained
