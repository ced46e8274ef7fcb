"""From music to a dance of the same length: poses, window by window, and a video of them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from dancetomusic.data.dance import fully_visible
from dancetomusic.errors import CheckpointError, InputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.io.mux import mux
from dancetomusic.models.dance_gan.audio_windows import OVERSAMPLING
from dancetomusic.models.dance_gan.mel import N_BANDS, dancing_beats, mel_levels
from dancetomusic.models.dance_gan.network import (
    BEATS_PER_KNOT,
    FRAMES_PER_STATE,
    DanceGenerator,
    clock,
)
from dancetomusic.pose.floor import follow, walk
from dancetomusic.pose.skeleton import turn_by
from dancetomusic.rhythm.features import beat_position
from dancetomusic.synthesis.demo import render_poses
from dancetomusic.synthesis.scene import render_frames, side_by_side, stand_on_floor
from dancetomusic.types import POSE_FPS, PoseSequence, RhythmTrack, Waveform

WINDOW_S = 20.0
VARIETY = 0.85
"""Of the noise of a dance to music: at 1 the released model is livelier than real dances."""
LISTEN_GRAIN = 8
"""Poses: where the audio encoder may be cut, so that its levels stay in step."""


def dance_to(
    model: DanceGenerator,
    music: Waveform,
    *,
    seed: int = 0,
    rhythm: RhythmTrack | None = None,
    variety: float = VARIETY,
) -> PoseSequence:
    """Dance to a piece of music of any length from one second on.

    Args:
        model: Of the stage ``music``; one of the stage ``sequences`` follows the beat alone.
        music: Any rate and number of channels.
        seed: The same seed gives the same dance.
        rhythm: Beats to dance on; by default those estimated from the music.
        variety: Above 1 bolder, below 1 safer; 0 takes the most likely noise at every turn.

    Returns:
        Poses at 24 frames a second over the whole length, the first facing the camera.

    Raises:
        InputError: If the music is silent or shorter than a second, no beat is found in it, or
            ``rhythm`` has fewer than two beats.
        CheckpointError: If the model makes still poses alone.
    """
    windows = list(dance_windows(model, music, seed=seed, rhythm=rhythm, variety=variety))
    return fully_visible(np.concatenate(windows), POSE_FPS)


def dance_on(
    model: DanceGenerator, rhythm: RhythmTrack, *, seed: int = 0, variety: float = 1.0
) -> PoseSequence:
    """Dance on beats alone, as long as they are described; without music.

    The model is of the stage ``sequences``; ``variety`` is as for :func:`dance_to`.

    Raises:
        InputError: If ``rhythm`` has fewer than two beats, or variety is below 0.
        CheckpointError: If the model makes still poses, or dances to music.
    """
    if model.config.stage != "sequences":
        raise CheckpointError(
            f"the model is of the stage {model.config.stage}", "Name one of the stage sequences."
        )
    if not variety >= 0:
        raise InputError(f"variety is {variety:g}", "Give 0 or more.")
    n_frames = max(1, round(rhythm.duration_s * POSE_FPS))
    silence = np.zeros((n_frames * OVERSAMPLING, N_BANDS), np.float32)
    size = FRAMES_PER_STATE * round(WINDOW_S * POSE_FPS / FRAMES_PER_STATE)
    windows = _windows(model, silence, _position(rhythm, n_frames), seed, variety, size)
    return fully_visible(np.concatenate(list(windows)), POSE_FPS)


@torch.inference_mode()
def still_poses(
    model: DanceGenerator, count: int, *, seed: int = 0, variety: float = 1.0
) -> Float32[np.ndarray, "count 33 3"]:
    """Bodies that hold a pose, each facing the camera.

    ``variety`` above 1 is bolder, below 1 nearer to the mean pose.
    """
    chance = torch.randn(count, model.config.latent, generator=torch.Generator().manual_seed(seed))
    return model.skeleton(model.pose(variety * chance)).numpy()


def dance_windows(
    model: DanceGenerator,
    music: Waveform,
    *,
    seed: int = 0,
    rhythm: RhythmTrack | None = None,
    variety: float = VARIETY,
    window_s: float = WINDOW_S,
) -> Iterator[Float32[np.ndarray, "_ 33 3"]]:
    """As :func:`dance_to`, landmarks window by window; the cut changes nothing.

    Raises:
        InputError: See :func:`dance_to`, before the first window.
        CheckpointError: See :func:`dance_to`.
    """
    if model.config.stage == "poses":
        raise CheckpointError(
            "the model makes still poses", "Name one of the stage sequences or music."
        )
    if not variety >= 0 or not window_s > 0:
        raise InputError(f"variety is {variety:g}, window_s {window_s:g}", "Give more than 0.")
    bands = mel_levels(music)
    n_frames = len(bands) // OVERSAMPLING
    track = rhythm if rhythm is not None else dancing_beats(music)
    position = _position(track, n_frames)
    size = FRAMES_PER_STATE * max(1, round(window_s * POSE_FPS / FRAMES_PER_STATE))
    return _windows(model, bands, position, seed, variety, size)


def _position(track: RhythmTrack, n_frames: int) -> np.ndarray:
    """Beats counted at each frame, from the first knot on."""
    position = beat_position(track.beat_times, np.arange(n_frames) / POSE_FPS)
    return np.asarray(position - BEATS_PER_KNOT * np.floor(position[0] / BEATS_PER_KNOT))


def _windows(
    model: DanceGenerator,
    bands: np.ndarray,
    position: np.ndarray,
    seed: int,
    variety: float,
    size: int,
) -> Iterator[Float32[np.ndarray, "_ 33 3"]]:
    with torch.inference_mode():
        audio_features = encode_audio_in_chunks(model, torch.from_numpy(bands))
        counted = clock(torch.from_numpy(position)[None], POSE_FPS)[0]
        knots = _choose(model, audio_features, counted, position, seed, variety)
    state, heading = None, 0.0
    for first in range(0, len(position), size):
        frames = slice(first, first + size)
        at = torch.from_numpy(position[frames] / BEATS_PER_KNOT)
        left = at.long()
        share = (at - left).float()[:, None]
        with torch.inference_mode():
            noise = knots[left] * (1 - share) + knots[left + 1] * share
            inputs = (noise[None], counted[frames][None], audio_features[frames][None])
            movement, state = model(*inputs, state)
            turned = heading + torch.cumsum(movement.turning[0].double() / POSE_FPS, 0)
            heading = float(turned[-1])
            world = turn_by(model.skeleton(movement.directions[0]), turned.float())
        yield world.numpy()


@torch.inference_mode()
def encode_audio_in_chunks(
    model: DanceGenerator, bands: Float[Tensor, "sound_frames bands"], *, chunk: int = 1024
) -> Float[Tensor, "frames audio_features"]:
    """Audio features at each pose, computed chunk by chunk; equal to one pass."""
    n_poses = bands.shape[0] // OVERSAMPLING
    margin = -(-model.windows.reach // (OVERSAMPLING * LISTEN_GRAIN)) * LISTEN_GRAIN
    chunk = -(-chunk // LISTEN_GRAIN) * LISTEN_GRAIN
    parts = []
    for first in range(0, n_poses, chunk):
        start, end = max(0, first - margin), min(n_poses, first + chunk + margin)
        part = model.encode_audio(bands[None, start * OVERSAMPLING : end * OVERSAMPLING])[0]
        parts.append(part[first - start : first - start + min(chunk, n_poses - first)])
    return torch.cat(parts)


def _choose(
    model: DanceGenerator,
    audio_features: Float[Tensor, "frames audio_features"],
    counted: Float[Tensor, "frames clock"],
    position: np.ndarray,
    seed: int,
    variety: float,
) -> Float[Tensor, "knots noise"]:
    """Noise at every knot that the frames need."""
    at = torch.from_numpy(position / BEATS_PER_KNOT)
    left = at.long()
    share = (at - left).float()[:, None]
    n_knots = int(left.max()) + 2
    values = torch.cat([audio_features, counted[:, -1:], torch.ones_like(share)], dim=1)
    sums = torch.zeros(n_knots, values.shape[1])
    sums.index_add_(0, left, values * (1 - share)).index_add_(0, left + 1, values * share)
    at_knots = sums[:, :-1] / (sums[:, -1:] + 1e-3)
    chance = torch.randn(n_knots, model.config.noise, generator=torch.Generator().manual_seed(seed))
    drawn = model.choose_noise(
        at_knots[None, :, :-1], at_knots[None, :, -1], variety * chance[None]
    )
    return drawn.noise[0]


def render_dance(path: Path | str, dancers: Sequence[PoseSequence], music: Waveform | None) -> None:
    """Write a video of dancers side by side on a floor, with the music as its sound.

    Args:
        path: ``.mp4``, ``.m4v``, ``.mov``, or ``.mkv``.
        dancers: One to four of one length, hip-centred; the feet that bear the weight stay in
            place.
        music: From the first pose on; ``None`` for a silent video.

    Raises:
        DependencyError: If PyVista is not installed.
        InputError: If there are more than four dancers.
        OutputError: If the file cannot be written.
    """
    rooms = [
        follow(walk(poses.world), poses.fps) + np.array([shift, 0, 0], np.float32)
        for poses, shift in zip(dancers, side_by_side(len(dancers)), strict=True)
    ]
    fps = dancers[0].fps
    width, height = (480, 640) if len(dancers) == 1 else (320 * len(dancers), 480)
    with tempfile.TemporaryDirectory() as folder:
        silent = Path(folder) / f"silent{Path(path).suffix}"
        render_poses(silent, rooms, fps, width=width, height=height)
        if music is not None:
            mux(silent, music, path)
        else:
            with atomic_output(path) as temporary:
                shutil.copyfile(silent, temporary)


def draw_poses(
    path: Path | str, poses: Float32[np.ndarray, "count 33 3"], *, side: int = 240
) -> None:
    """Write a picture of still poses in rows.

    Poses are hip-centred; a figure's picture has ``side`` pixels each way.

    Raises:
        DependencyError: If PyVista is not installed.
        OutputError: If the file cannot be written.
    """
    from PIL import Image

    pictures = list(render_frames([stand_on_floor(poses)], width=side, height=side))
    columns = int(np.ceil(np.sqrt(len(pictures))))
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * side, columns * side, 3), pictures[0][0, 0], np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * side, number % columns * side
        sheet[top : top + side, left : left + side] = picture
    with atomic_output(path) as temporary:
        Image.fromarray(sheet).save(temporary, format="PNG")
