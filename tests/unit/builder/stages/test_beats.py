"""Beats of clips: one grid for a song, checked by what each clip says alone."""

import numpy as np
import pytest

from dancetomusic.builder.stages import beats
from dancetomusic.data.clip import BEATS_FILE, STEM_FILE
from dancetomusic.io.audio import write_flac
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.rhythm.files import load_beats
from dancetomusic.types import Waveform
from tests.sound_factory import drums

RATE, BPM = 24_000, 124.0


@pytest.fixture(scope="module")
def song():
    return drums(BPM, 30.0, rate=RATE)[0]


def test_clips_of_a_song_lie_on_one_grid(song, tmp_path):
    write_flac(tmp_path / "song.flac", song)
    spans = [(5.0 * k, 5.0 * k + 5.0) for k in range(6)]
    tracks = beats.find_song_beats(tmp_path / "song.flac", RATE, spans)
    times = np.concatenate(
        [track.beat_times + start for track, (start, _) in zip(tracks, spans, strict=True)]
    )
    assert np.abs(np.diff(times) - 60 / BPM).max() < 0.04
    numbers = np.concatenate([track.beat_numbers for track in tracks])
    assert ((np.diff(numbers) - 1) % 4 == 0).all()
    assert {track.duration_s for track in tracks} == {5.0}
    assert len({track.certainty for track in tracks}) == 1 and tracks[0].certainty > 0.8


def test_what_follows_the_end_of_a_short_sound_is_no_silence(song, tmp_path):
    short = Waveform(np.ascontiguousarray(song.samples[:, : 4 * RATE]), RATE)
    write_flac(tmp_path / "song.flac", short)
    spans = [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0)]
    first, _, after = beats.find_song_beats(tmp_path / "song.flac", RATE, spans)
    assert first.certainty > 0.8
    assert after.beat_times.size == 0


@pytest.mark.slow(1)
def test_a_long_section_is_analysed_in_stretches(song, tmp_path, monkeypatch):
    write_flac(tmp_path / "song.flac", song)
    monkeypatch.setattr(beats, "STRETCH_S", 12.0)
    analysed = []
    track = beats.track_audio_beats
    monkeypatch.setattr(
        beats, "track_audio_beats", lambda w, **_: analysed.append(w.duration_s) or track(w)
    )
    spans = [(5.0 * k, 5.0 * k + 5.0) for k in range(6)]
    tracks = beats.find_song_beats(tmp_path / "song.flac", RATE, spans)
    assert analysed == [20.0, 30.0, 20.0]  # two clips each, and ten seconds where there are any
    assert len(tracks) == 6


@pytest.mark.parametrize(("shift_s", "low", "high"), [(0.0, 0.9, 1.0), (0.24, 0.0, 0.2)])
def test_a_stem_confirms_the_beats_or_contradicts_them(song, tmp_path, shift_s, low, high):
    stem = Waveform(np.ascontiguousarray(song.samples[:, : 5 * RATE]), RATE)
    write_flac(tmp_path / STEM_FILE, stem)
    track = steady_grid(BPM, 5.0, first_beat_s=0.2 + shift_s)
    assert low <= beats.write_beats(track, tmp_path) <= high
    written = load_beats(tmp_path / BEATS_FILE, 5.0)
    np.testing.assert_allclose(written.beat_times, track.beat_times, atol=1e-3)


def test_what_is_too_short_is_no_check(tmp_path):
    assert beats.write_beats(steady_grid(120.0, 2.0), tmp_path) == 1.0
