"""Drum and bass rendered on the beats of recorded dances, as pairs of movement and raw sound."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from dancetomusic.data.dance import Dance
from dancetomusic.data.dance_sound import DanceSound
from dancetomusic.io.atomic import atomic_output, make_directory
from dancetomusic.pose.landmarks import resample_poses
from dancetomusic.rhythm.energy import danced_rhythm
from dancetomusic.synthesis.ballroom import ballroom_groove
from dancetomusic.synthesis.dance_music import play_for_dance
from dancetomusic.synthesis.groove import BALLROOM_STYLES, Groove, load_grooves, select_grooves
from dancetomusic.types import POSE_FPS

MIN_RETIMING, MAX_RETIMING = 0.75, 1.35


def danced_grooves(
    dances: Sequence[Dance],
    grooves: Path | str,
    cache: Path | str,
    *,
    sample_rate: int,
    fps: float,
    versions: int = 1,
    held_out: bool = False,
    seed: int = 0,
) -> list[DanceSound]:
    """Each dance with a groove of its genre on its beats, as strong as it moves.

    Args:
        dances: With exact beats.
        grooves: Groove MIDI directory.
        cache: Where sounds are kept; what is there is not rendered again.
        sample_rate: Of the sounds, in Hz.
        fps: Frames of movement a second.
        versions: Renderings of each dance; all but the first are retimed by 0.75 to 1.35.
        held_out: Use the drummers, kits and basses that never sound in training material.
        seed: Chooses grooves, instruments and speeds.

    Raises:
        InputError: If there is no Groove MIDI directory.
        DependencyError: If FluidSynth or its sound font is missing.
        OutputError: If ``cache`` cannot be made or written.
    """
    folder = make_directory(cache)
    pool = select_grooves(load_grooves(grooves), held_out=held_out)
    return [
        _play(dance, version, pool, folder, sample_rate, fps, held_out, seed)
        for dance in dances
        for version in range(versions)
    ]


def _play(
    dance: Dance,
    version: int,
    pool: Sequence[Groove],
    folder: Path,
    sample_rate: int,
    fps: float,
    held_out: bool,
    seed: int,
) -> DanceSound:
    rng = np.random.default_rng([seed, version, held_out, *dance.dance_id.encode()])
    speed = float(rng.uniform(MIN_RETIMING, MAX_RETIMING)) if version else 1.0
    faster = replace(dance.poses, fps=dance.poses.fps * speed)
    beats = dance.beat_times / speed
    digest = hashlib.sha256(f"{dance.dance_id} {seed} {version} {held_out} {sample_rate}".encode())
    digest.update(beats.tobytes() + dance.poses.world.tobytes())
    file = folder / f"{digest.hexdigest()[:20]}.npy"
    if not file.is_file():
        poses = resample_poses(faster, POSE_FPS)
        track = danced_rhythm(poses, beats, np.arange(beats.size) % dance.beats_per_bar + 1)
        if dance.genre in BALLROOM_STYLES:
            pool = [ballroom_groove(dance.genre, pool, rng)]
        sound = play_for_dance(track, pool, rng, sample_rate=sample_rate, held_out=held_out)
        samples: Int16[np.ndarray, " samples"] = np.rint(sound.samples[0] * 32767).astype(np.int16)
        with atomic_output(file) as temporary:
            np.save(temporary, samples)
    return DanceSound(
        name=dance.dance_id,
        genre=dance.genre,
        samples=np.load(file, mmap_mode="r"),
        sample_rate=sample_rate,
        fps=fps,
        poses=resample_poses(faster, fps),
        pictures=None,
        beat_times=beats,
    )
