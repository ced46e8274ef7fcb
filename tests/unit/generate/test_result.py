from __future__ import annotations

from pathlib import Path

import av
import mido
import numpy as np
import pytest
from scipy.signal import lfilter

from dancetomusic.data.dance import fully_visible
from dancetomusic.generate.result import MADE, MIXED, OUTPUT_SUFFIXES, RIGHTS, Music
from dancetomusic.io.audio import read_audio
from dancetomusic.io.loudness import integrated_loudness, true_peak
from dancetomusic.score.master import master
from dancetomusic.score.notes import BeatClock, Notes, Score, Track
from dancetomusic.types import RhythmTrack, Waveform
from tests.video_factory import write_video

RATE, SECONDS = 44_100, 4.0


def music(video: Path, *, with_score: bool = True) -> Music:
    """Noise as bright as music that swells and fades, in place of what a model made."""
    t = np.arange(round(SECONDS * RATE)) / RATE
    swell = 0.1 * np.sin(np.pi * t / SECONDS)
    noise = lfilter([0.1], [1, -0.95], np.random.default_rng(0).standard_normal((2, t.size)))
    sound = master(Waveform((swell * noise).astype(np.float32), RATE))
    beats = np.arange(8) * 0.5
    rhythm = RhythmTrack(
        beats, (np.arange(8) % 4 + 1).astype(np.int64), np.ones(96, np.float32), 24.0, SECONDS
    )
    score = Score(
        BeatClock(beats, rhythm.beat_numbers),
        (Track("bass", 33, False, Notes.of([(0, 1, 40, 90)])),),
    )
    n = round(SECONDS * 24)
    dancer = fully_visible(np.zeros((n, 33, 3), np.float32), 24.0)
    return Music(
        sound,
        rhythm,
        (dancer,),
        {},
        video,
        score=score if with_score else None,
        stems={"bass": sound} if with_score else {},
    )


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tone = 0.02 * np.sin(2 * np.pi * 300 * np.arange(round(SECONDS * 48_000)) / 48_000)
    return write_video(
        tmp_path_factory.mktemp("dance") / "dance.mp4",
        n_frames=round(SECONDS * 24),
        sound=tone.astype(np.float32),
        sound_rate=48_000,
    )


def comment(path: Path) -> str:
    with av.open(str(path)) as file:
        tags = {**file.metadata, **file.streams.audio[0].metadata}
    return next(text for name, text in tags.items() if name.lower() == "comment")


@pytest.mark.slow(1)
@pytest.mark.parametrize("suffix", OUTPUT_SUFFIXES)
def test_every_kind_of_file_says_whose_the_music_is(
    video: Path, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"out{suffix}"
    music(video).save(path)
    if suffix == ".mid":
        messages = [message for track in mido.MidiFile(path).tracks for message in track]
        assert [m.text for m in messages if m.type == "copyright"] == [RIGHTS]
        return
    assert comment(path) == RIGHTS
    music(video, with_score=False).save(path, mix_original=0.3)
    assert comment(path) == f"{MADE} {MIXED}"


def test_stems_say_whose_they_are(video: Path, tmp_path: Path) -> None:
    [path] = music(video).save_stems(tmp_path)
    assert comment(path) == RIGHTS


def test_the_original_is_ducked_in_the_video_at_full_quality(video: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    music(video).save(path, mix_original=0.5)
    with av.open(str(path)) as file:
        [track] = file.streams.audio
        assert track.codec_context.name == "aac"
        coded = sum(packet.size for packet in file.demux(track))
    assert 8 * coded / SECONDS >= 192_000
    heard = read_audio(path, RATE, 2)
    assert heard is not None
    assert integrated_loudness(heard) == pytest.approx(-14, abs=0.5)
    assert true_peak(heard) < -0.5
    spectrum = np.abs(np.fft.rfft(heard.samples[0, RATE : 2 * RATE]))
    assert spectrum[300] > 5 * np.median(spectrum[200:400])
