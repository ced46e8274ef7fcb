"""Video in, music out: the stages in order, each timed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from dancetomusic.codec.base import Codec
from dancetomusic.codec.load import load_codec
from dancetomusic.errors import CheckpointError, OutputError, PoseError
from dancetomusic.inference.long_form import generate_codes
from dancetomusic.inference.onnx_decoder import OnnxTokenDecoder, onnx_available
from dancetomusic.media.audio import mix, read_audio, write_wav
from dancetomusic.media.mux import VIDEO_SUFFIXES, mux
from dancetomusic.media.video import probe_video, read_frames
from dancetomusic.models.pose2audio import Pose2Audio
from dancetomusic.models.pose_encoder import (
    POSE_FPS,
    PoseEncoding,
    encode_poses,
    rhythm_from_encoding,
)
from dancetomusic.pose.cleaning import MIN_DURATION_S
from dancetomusic.pose.draw import draw_skeleton
from dancetomusic.pose.extract import extract_poses
from dancetomusic.pose.files import load_poses
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.pose.mediapipe import DETECTION_SIDE
from dancetomusic.released import locate_checkpoint
from dancetomusic.rhythm.features import rhythm_features
from dancetomusic.rhythm.files import load_beats
from dancetomusic.rhythm.swing import offbeat_place
from dancetomusic.types import CodeSequence, PoseSequence, RhythmTrack, Waveform

logger = logging.getLogger(__name__)

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Music:
    """What was made of a dance.

    Attributes:
        waveform: The music, as long as the dance.
        codes: What the codec decoded it from.
        rhythm: The beats it plays on.
        dancers: All dancers followed, the most prominent first.
        timings: Seconds spent in each stage.
        video: The video it was made for; ``None`` for poses.
    """

    waveform: Waveform
    codes: CodeSequence
    rhythm: RhythmTrack
    dancers: tuple[PoseSequence, ...]
    timings: dict[str, float]
    video: Path | None = None

    @property
    def poses(self) -> PoseSequence:
        """The most prominent dancer."""
        return self.dancers[0]

    def save(
        self, path: Path | str, *, overlay_skeleton: bool = False, mix_original: float = 0.0
    ) -> None:
        """Write the sound as ``.wav``, or the video with its new sound.

        Args:
            path: ``.wav``, or a video suffix.
            overlay_skeleton: Draw the dancers' poses; the pictures are then coded anew.
            mix_original: Gain of the video's own sound in the mix, from 0 to 1.

        Raises:
            OutputError: If the file cannot be written or its suffix is unknown.
        """
        target = Path(path)
        sound = self.waveform
        if mix_original and self.video is not None:
            sound = mix(sound, read_audio(self.video, sound.sample_rate), mix_original)
        if target.suffix.lower() == ".wav":
            write_wav(target, sound)
            return
        if target.suffix.lower() not in VIDEO_SUFFIXES:
            raise OutputError(
                f"output {target} has extension {target.suffix or '(none)'!r}",
                f"Use .wav or one of {', '.join(VIDEO_SUFFIXES)}.",
            )
        if self.video is None:
            raise OutputError(f"poses have no picture for {target}", "Name a .wav file.")
        draw = self._draw if overlay_skeleton else None
        mux(self.video, sound, target, draw=draw, fps=POSE_FPS)

    def _draw(
        self, index: int, frame: UInt8[np.ndarray, "height width 3"]
    ) -> UInt8[np.ndarray, "height width 3"]:
        for dancer in self.dancers:
            if dancer.image is not None and index < len(dancer) and dancer.present[index]:
                frame = draw_skeleton(frame, dancer.image[index])
        return frame


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
        self._decoder = OnnxTokenDecoder(model.decoder) if onnx_available() else model.decoder

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

    def generate(
        self,
        source: Path | str | PoseSequence,
        *,
        seed: int = 0,
        bpm: float | None = None,
        beats: Path | str | None = None,
        style: str | None = None,
        swing: float = 0.0,
        num_dancers: int = 1,
        temperature: float = 1.1,
        top_k: int | None = None,
        top_p: float | None = 0.95,
        cfg_scale: float = 3.0,
        on_progress: Progress | None = None,
    ) -> Music:
        """Make music for a dance.

        Args:
            source: A video, poses as ``.npz``, or a pose sequence.
            seed: The same seed gives the same music.
            bpm: Tempo to play at; only the phase is then read from the dance.
            beats: CSV of beats to play on instead of those danced.
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
            VideoError: If the video cannot be read.
            PoseError: If nobody dances in it, or for less than a second.
            InputError: If an option is out of range, or the model does not know the style.
        """
        number = self.model.config.decoder.style_index(style)
        offbeat_place(swing)
        clock = _Clock(on_progress)
        video: Path | None = None
        with clock.stage("poses") as report:
            if isinstance(source, PoseSequence):
                dancers = [resample_poses(source, POSE_FPS)]
            elif Path(source).suffix.lower() == ".npz":
                dancers = [load_poses(source, POSE_FPS)]
            else:
                video = Path(source)
                dancers = _poses_of_video(video, num_dancers, report)
            _require_length(dancers[0])
        with clock.stage("rhythm"), torch.inference_mode():
            encodings = [encode_poses(self.model.encoder, dancer) for dancer in dancers]
            together = _together(encodings, dancers)
            rhythm = rhythm_from_encoding(together, dancers[0], self.codec.frame_rate, bpm=bpm)
            if beats is not None:
                given = load_beats(beats, rhythm.duration_s)
                rhythm = replace(given, energy=rhythm.energy, energy_rate=rhythm.energy_rate)
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
        return Music(waveform, sequence, rhythm, tuple(dancers), clock.timings, video)


class _Clock:
    """Times stages and reports their progress."""

    def __init__(self, on_progress: Progress | None) -> None:
        self.timings: dict[str, float] = {}
        self._on_progress = on_progress

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[float], None]]:
        def report(share: float) -> None:
            if self._on_progress is not None:
                self._on_progress(name, share)

        began = time.perf_counter()
        report(0.0)
        yield report
        report(1.0)
        self.timings[name] = time.perf_counter() - began


def _poses_of_video(
    video: Path, num_dancers: int, report: Callable[[float], None]
) -> list[PoseSequence]:
    info = probe_video(video)
    if info.truncated:
        logger.warning("%s is cut short: its first %.1f s are used", video, info.duration_s)
    expected = max(1, round(info.duration_s * POSE_FPS))
    return extract_poses(
        read_frames(video, POSE_FPS, max_side=DETECTION_SIDE),
        POSE_FPS,
        num_dancers=num_dancers,
        on_progress=lambda done: report(min(1.0, done / expected)),
    )


def _require_length(poses: PoseSequence) -> None:
    if poses.duration_s < MIN_DURATION_S:
        raise PoseError(
            f"the dance lasts {poses.duration_s:.2f} s", f"Give at least {MIN_DURATION_S:g} s."
        )
    if not poses.present.any():
        raise PoseError("no frame has a usable pose", "Give poses without NaN.")


def _together(encodings: list[PoseEncoding], dancers: list[PoseSequence]) -> PoseEncoding:
    """The first dancer's memory with the rhythm that all show, each weighted by presence."""
    if len(encodings) == 1:
        return encodings[0]
    weights = torch.tensor([dancer.present_share for dancer in dancers])
    weights = weights / weights.sum()
    values = (
        sum(w * getattr(e, name) for w, e in zip(weights, encodings, strict=True))
        for name in ("phase", "beat_logits", "downbeat_logits", "energy", "tempo_logits")
    )
    first = encodings[0]
    return PoseEncoding(first.memory, first.memory_mask, *values)
