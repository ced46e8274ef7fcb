"""What estimates the beats of a clip, and the baselines that know nothing, or only the tempo."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from dancetomusic.checkpoint import load_checkpoint
from dancetomusic.data.wild import load_wild
from dancetomusic.errors import InputError
from dancetomusic.evaluation.baselines import metronome_times
from dancetomusic.evaluation.tasks.rhythm.set import RhythmClip, read_beat_file
from dancetomusic.generate.beat_source import CLEAR_PULSE, estimate_rhythms
from dancetomusic.io.audio import resample
from dancetomusic.metrics.beats import Times, track_beats
from dancetomusic.models.beat_network.audio_beats import NETWORK, track_audio_beats
from dancetomusic.models.beat_network.held_out import HeldOutNetworks
from dancetomusic.models.beat_network.network import BeatNetwork
from dancetomusic.models.encoders import load_encoder
from dancetomusic.models.pose_encoder.movement_rhythm import movement_rhythms
from dancetomusic.models.pose_encoder.network import PoseEncoder
from dancetomusic.released import locate_checkpoint
from dancetomusic.types import SURE, RhythmTrack, Waveform

logger = logging.getLogger(__name__)

SOUND, MOVEMENT, AUTO = "sound", "movement", "auto"
BEATS_FROM = (SOUND, MOVEMENT, AUTO)
LIBROSA = "librosa `beat_track`"

METRONOME = "120 BPM, random phase"
TRUE_TEMPO = "true tempo, random phase"
MEAN_TEMPO = "mean tempo of the style, random phase"
HALF_BEAT = "truth, half a beat late"
BASELINES = (METRONOME, TRUE_TEMPO, MEAN_TEMPO, HALF_BEAT)
RANDOM_BASELINES = (METRONOME, TRUE_TEMPO, MEAN_TEMPO)


@dataclass(frozen=True)
class Estimate:
    """Estimated beats of one clip.

    Attributes:
        beat_places: Position of each in its bar; ``None`` where that is not estimated.
        certainty: Probability that they are right; 0 without beats, NaN where none is stated.
        source: ``"sound"`` or ``"movement"``.
        compute_s: Processor time of the estimator alone, decoding and poses not included.
    """

    beat_times: Times
    beat_places: Int[np.ndarray, " _beats"] | None = None
    certainty: float = float("nan")
    source: str = SOUND
    compute_s: float = 0.0

    @property
    def sure(self) -> bool:
        """Whether it says that its beats are right."""
        return self.beat_times.size > 0 and self.certainty >= SURE


Estimator = Callable[[RhythmClip], Estimate | None]
"""Gives ``None`` for a clip that lacks what it reads."""

Tracker = Callable[[Waveform], tuple[Times, Int[np.ndarray, " _beats"] | None]]
"""Gives the beat times of a sound, and the position of each in its bar if it estimates that."""

Templates = Mapping[str, Float[np.ndarray, " knots"]]
Networks = Callable[[RhythmClip], BeatNetwork | None]
"""The beat network for a clip; ``None`` for the released one."""


def sound_estimator(network_of: Networks = lambda clip: None) -> Estimator:
    """Beats tracked in the clip's sound, by the network that is for the clip."""

    def estimate(clip: RhythmClip) -> Estimate | None:
        sound = clip.sound()
        if sound is None:
            return None
        return estimate_sound(sound, clip.duration_s, network=network_of(clip))

    return estimate


def estimate_sound(
    sound: Waveform, duration_s: float, *, network: BeatNetwork | None = None
) -> Estimate:
    """Beats tracked in a sound."""
    return _timed(lambda: track_audio_beats(sound, network=network), duration_s)


def networks_without(data: Path, directories: Sequence[Path]) -> Networks:
    """For each real clip the network that did not learn from its group; none for none.

    The checkpoints in ``directories`` were trained with folds of these clips held out.

    Raises:
        CheckpointError: If one is missing or corrupted.
        InputError: If one held nothing out, or the folder holds no real clips.
    """
    if not directories:
        return lambda clip: None
    held_out = HeldOutNetworks(load_wild(data), directories)
    return lambda clip: held_out.of(clip.group)


def load_templates(file: Path) -> dict[str, Float[np.ndarray, " knots"]]:
    """Tempo templates by the group that each was fitted without.

    Raises:
        InputError: If the file cannot be read.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {group: arrays[group].astype(np.float64) for group in arrays.files}
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {file} ({error})", "Make it with building_tools/hold_out_tempo.py."
        ) from error


def learned_from_clips() -> bool:
    """Whether the released beat network was trained on real clips."""
    held = load_checkpoint(locate_checkpoint(NETWORK), model=BeatNetwork.MODEL)
    return held.metadata.get("training", {}).get("wild") is not None


def movement_estimator(encoder: PoseEncoder, templates: Templates | None = None) -> Estimator:
    """Beats estimated from the clip's poses by ``encoder``.

    ``templates`` were fitted each without a group; clips of other groups have the released one.
    """
    template_of = templates or {}

    def estimate(clip: RhythmClip) -> Estimate | None:
        poses = clip.dancer()
        if poses is None or not poses.present.any():
            return None
        template = template_of.get(clip.learned_with)
        with torch.inference_mode():
            return _timed(
                lambda: movement_rhythms(encoder, [poses], template=template)[1][0],
                clip.duration_s,
            )

    return estimate


def auto_estimator(encoder: PoseEncoder) -> Estimator:
    """Beats as ``generate`` chooses them; those of the sound where nobody is seen."""

    def estimate(clip: RhythmClip) -> Estimate | None:
        sound, poses = clip.sound(), clip.dancer()
        if poses is None or not poses.present.any():
            return None if sound is None else estimate_sound(sound, clip.duration_s)
        return _timed(lambda: estimate_rhythms(encoder, [poses], sound)[1][0], clip.duration_s)

    return estimate


def choosing_estimator(sound: Estimator, movement: Estimator) -> Estimator:
    """The choice that ``generate`` makes, between any two estimators."""

    def estimate(clip: RhythmClip) -> Estimate | None:
        tracked = sound(clip)
        if tracked is not None and tracked.certainty >= CLEAR_PULSE:
            return tracked
        return movement(clip) or tracked

    return estimate


def estimators_of(
    beats_from: Sequence[str] = BEATS_FROM,
    checkpoint: str | None = None,
    *,
    network_of: Networks | None = None,
    templates: Templates | None = None,
) -> dict[str, Estimator]:
    """The package's own estimators by name.

    ``network_of`` gives the beat network for a clip, ``templates`` by group those fitted without
    it; ``None`` stands for the released ones. The pose encoder is that of ``checkpoint``.

    Raises:
        CheckpointError: If a checkpoint cannot be loaded.
    """
    sound = sound_estimator() if network_of is None else sound_estimator(network_of)
    own: dict[str, Estimator] = {SOUND: sound}
    if {MOVEMENT, AUTO} & set(beats_from):
        encoder = load_encoder(checkpoint)
        own[MOVEMENT] = movement_estimator(encoder, templates)
        own[AUTO] = (
            auto_estimator(encoder)
            if network_of is None and templates is None
            else choosing_estimator(sound, own[MOVEMENT])
        )
    return {name: own[name] for name in beats_from}


def file_estimator(folder: Path) -> Estimator:
    """Beats that some other system wrote as ``ID.csv``; none for clips without a file.

    Raises:
        InputError: If the folder is missing.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", "Name a folder of ID.csv files.")

    def estimate(clip: RhythmClip) -> Estimate | None:
        file = folder / f"{clip.name}.csv"
        if not file.is_file():
            return None
        times, positions = read_beat_file(file)
        inside = (times >= 0) & (times < clip.duration_s)
        known = bool((positions > 0).all())
        return Estimate(times[inside], positions[inside] if known else None)

    return estimate


def installed_trackers() -> dict[str, Estimator]:
    """Other trackers of sound that are installed here, librosa first.

    One whose weights cannot be loaded, such as those that need the network, is left out with a
    warning.
    """
    found: dict[str, Estimator] = {}
    for package, name, load in (
        ("librosa", LIBROSA, lambda: lambda sound: (track_beats(sound), None)),
        ("beat_this", "beat_this", _beat_this),
        ("BeatNet", "BeatNet", _beatnet),
    ):
        if importlib.util.find_spec(package) is None:
            continue
        try:
            found[name] = _tracker_estimator(load())
        except OSError as error:
            logger.warning("%s is left out: %s", name, error)
    return found


def baseline_beats(
    row: str, clip: RhythmClip, others: Sequence[RhythmClip], rng: np.random.Generator
) -> Times:
    """Beats of a baseline.

    Clips of other groups give the mean tempo, those of the same style where there are any; ``rng``
    draws the phase.
    """
    if row == HALF_BEAT:
        beats = clip.beat_times
        return beats + np.median(np.diff(beats)) / 2.0 if beats.size > 1 else beats
    bpm = {METRONOME: 120.0, TRUE_TEMPO: clip.bpm}.get(row) or _mean_bpm(clip, others)
    return metronome_times(bpm, clip.duration_s, float(rng.random()))


def _mean_bpm(clip: RhythmClip, others: Sequence[RhythmClip]) -> float:
    strangers = [o for o in others if o.group != clip.group and np.isfinite(o.bpm)]
    same_style = [other.bpm for other in strangers if other.style == clip.style]
    tempi = same_style or [other.bpm for other in strangers]
    return float(np.mean(tempi)) if tempi else 120.0


def _tracker_estimator(tracker: Tracker) -> Estimator:
    """Beats that another tracker finds in the clip's sound."""

    def estimate(clip: RhythmClip) -> Estimate | None:
        sound = clip.sound()
        if sound is None:
            return None
        began = time.process_time()
        times, positions = tracker(sound)
        compute_s = time.process_time() - began
        inside = (times >= 0) & (times < clip.duration_s)
        known = None if positions is None else positions[inside]
        return Estimate(times[inside], known, compute_s=compute_s)

    return estimate


def _timed(track_beats_of: Callable[[], RhythmTrack], duration_s: float) -> Estimate:
    """What an estimator of the package gives, within the clip, and how long it computes."""
    began = time.process_time()
    track = track_beats_of()
    compute_s = time.process_time() - began
    times = track.beat_times.astype(np.float64)
    inside = (times >= 0) & (times < duration_s)
    return Estimate(
        beat_times=times[inside],
        beat_places=track.beat_numbers[inside],
        certainty=track.certainty if inside.any() else 0.0,
        source=track.source,
        compute_s=compute_s,
    )


def _beat_this() -> Tracker:
    """Foscarin et al., "Beat this! Accurate beat tracking without DBN postprocessing", 2024."""
    tracker: Any = importlib.import_module("beat_this.inference").Audio2Beats(device="cpu")

    def track(sound: Waveform) -> tuple[Times, None]:
        beats, _ = tracker(sound.to_mono().samples[0], sound.sample_rate)
        return np.asarray(beats, np.float64), None

    return track


def _beatnet() -> Tracker:
    """Heydari et al., "BeatNet", 2021: the first model, offline, with its DBN."""
    module: Any = importlib.import_module("BeatNet.BeatNet")
    tracker = module.BeatNet(1, mode="offline", inference_model="DBN", plot=[], thread=False)

    def track(sound: Waveform) -> tuple[Times, Int[np.ndarray, " _beats"]]:
        mono = resample(sound.to_mono(), 22_050).samples[0]
        found = np.asarray(tracker.process(mono), np.float64).reshape(-1, 2)
        return found[:, 0], found[:, 1].astype(np.int64)

    return track
