"""The values that cross module boundaries: frozen, validated, each carrying its own rate."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from dancetomusic.errors import InputError

N_LANDMARKS = 33
POSE_FPS = 24.0
"""Pose frames a second that every model is made for."""
SURE, FAIR = 0.8, 0.5
"""Certainty from which beats are called sure, and fair; below they are a guess."""


@dataclass(frozen=True)
class Waveform:
    """Sound, one or more channels.

    Attributes:
        samples: Amplitude, nominally in [-1, 1].
        sample_rate: Samples a second per channel, in Hz.

    Raises:
        InputError: If the rate is not positive or a sample is not finite.
    """

    samples: Float32[np.ndarray, "channels samples"]
    sample_rate: int

    def __post_init__(self) -> None:
        if self.sample_rate <= 0:
            raise InputError(f"sample rate is {self.sample_rate} Hz", "Give a positive rate.")
        if self.samples.ndim != 2:
            raise InputError(
                f"waveform has shape {self.samples.shape}", "Give [channels, samples]."
            )
        if not np.isfinite(self.samples).all():
            raise InputError("waveform has samples that are not finite", "Remove NaN and inf.")

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.sample_rate

    def to_mono(self) -> Waveform:
        """The mean of all channels, as one channel."""
        return Waveform(self.samples.mean(axis=0, keepdims=True), self.sample_rate)


@dataclass(frozen=True)
class PoseQuality:
    """How far a pose sequence can be trusted; every share is in [0, 1].

    Attributes:
        detected_share: Frames in which the detector saw the dancer.
        mean_visibility: Mean landmark visibility over detected frames.
        repaired_share: Landmark positions that cleaning replaced, among detected frames.
    """

    detected_share: float
    mean_visibility: float
    repaired_share: float


@dataclass(frozen=True)
class PoseSequence:
    """One dancer over time; frame ``k`` is at ``k / fps`` seconds, detected or not.

    Attributes:
        world: MediaPipe world landmarks in metres, hip-centred, x right in the image,
            y down, z away from the camera. Finite everywhere; meaningless where
            ``present`` is false.
        present: Frames with a usable pose, seen or interpolated.
        visibility: Landmark visibility in [0, 1].
        fps: Frames a second.
        image: Landmarks in the picture, x and y as a share of its width and height
            (origin top left), z on the scale of x; ``None`` when there is no picture.
        quality: Set by cleaning.

    Raises:
        InputError: If shapes disagree, a coordinate is not finite, or ``fps`` ≤ 0.
    """

    world: Float32[np.ndarray, "frames 33 3"]
    present: Bool[np.ndarray, " frames"]
    visibility: Float32[np.ndarray, "frames 33"]
    fps: float
    image: Float32[np.ndarray, "frames 33 3"] | None = None
    quality: PoseQuality | None = None

    def __post_init__(self) -> None:
        frames = self.world.shape[0]
        if self.world.shape != (frames, N_LANDMARKS, 3):
            raise InputError(
                f"poses have shape {self.world.shape}", f"Give [frames, {N_LANDMARKS}, 3]."
            )
        if self.present.shape != (frames,) or self.visibility.shape != (frames, N_LANDMARKS):
            raise InputError(
                "poses, presence and visibility differ in length", "Give one row per frame."
            )
        if self.fps <= 0:
            raise InputError(f"frame rate is {self.fps}", "Give a positive rate.")
        if not np.isfinite(self.world).all():
            raise InputError("poses have coordinates that are not finite", "Mask or repair them.")

    def __len__(self) -> int:
        return int(self.world.shape[0])

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self) / self.fps

    @property
    def present_share(self) -> float:
        """Share of frames with a usable pose."""
        return float(self.present.mean()) if len(self) else 0.0


@dataclass(frozen=True)
class CodeSequence:
    """Residual-quantiser indices of one sound.

    Attributes:
        codes: Index into each codebook, frame by frame.
        frame_rate: Code frames a second.
        codec_id: Identity of the codec that made them (see ``Codec.identity``).
    """

    codes: Int[np.ndarray, "codebooks frames"]
    frame_rate: float
    codec_id: str

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.codes.shape[1] / self.frame_rate


@dataclass(frozen=True)
class RhythmTrack:
    """Where the beats are and how strongly they are danced: movement's side of the music.

    Attributes:
        beat_times: Strictly increasing beat times, in seconds.
        beat_numbers: Position of each beat in its bar; 1 is the downbeat.
        energy: Strength of movement in [0, 1], ``energy_rate`` values a second from 0 s.
        energy_rate: In Hz.
        duration_s: Length of what the track describes, in seconds.
        confidence: Per beat, in [0, 1]; 1 for beats that were given, not estimated.
        source: Where the beats come from: ``"sound"``, ``"movement"`` or ``"file"``.
        certainty: Probability in [0, 1] that the beats as a whole are right, as calibrated on
            recordings that the estimator was not fitted to; 1 for beats that were given.

    Raises:
        InputError: If times do not increase or lengths disagree.
    """

    beat_times: Float[np.ndarray, " beats"]
    beat_numbers: Int[np.ndarray, " beats"]
    energy: Float32[np.ndarray, " energy_frames"]
    energy_rate: float
    duration_s: float
    confidence: Float[np.ndarray, " beats"] = field(default_factory=lambda: np.zeros(0))
    source: str = "movement"
    certainty: float = 1.0

    def __post_init__(self) -> None:
        if self.confidence.size == 0 and self.beat_times.size:
            object.__setattr__(self, "confidence", np.ones(self.beat_times.size))
        if not (self.beat_times.shape == self.beat_numbers.shape == self.confidence.shape):
            raise InputError(
                "beat times, numbers and confidences differ in length", "Give one per beat."
            )
        if not np.isfinite(self.beat_times).all() or (np.diff(self.beat_times) <= 0).any():
            raise InputError("beat times do not increase", "Sort them and remove duplicates.")

    @property
    def verdict(self) -> str:
        """``certainty`` in a word: ``"sure"``, ``"fair"`` or ``"guess"``."""
        if self.certainty >= SURE:
            return "sure"
        return "fair" if self.certainty >= FAIR else "guess"

    @property
    def bpm(self) -> float:
        """Tempo in beats a minute; NaN below two beats.

        Of the mean interval, leaving out those that differ from the median by more than a tenth.
        """
        if self.beat_times.size < 2:
            return float("nan")
        intervals = np.diff(self.beat_times)
        median = np.median(intervals)
        return float(60.0 / intervals[np.abs(intervals / median - 1.0) <= 0.1].mean())

    @property
    def beats_per_bar(self) -> int:
        """The largest position in a bar that occurs; 4 without beats."""
        return int(self.beat_numbers.max()) if self.beat_numbers.size else 4
