import json
import shutil

import mido
import numpy as np
import pytest

from dancetomusic.errors import DependencyError, InputError
from dancetomusic.synthesis.corpus import CorpusConfig, load_or_render
from dancetomusic.synthesis.groove import (
    BASS_CHANNEL,
    DRUM_CHANNEL,
    KICKS,
    SOUND_FONT,
    STYLES,
    Groove,
    Note,
    Sound,
    arrange,
    compose_bass,
    load_grooves,
    plays_straight,
    render,
    style_of_label,
    to_waltz,
)
from tests.groove_factory import link_short_grooves

needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUND_FONT.is_file(),
    reason="fluidsynth or its sound font is not installed",
)


def four_bars():
    """Kick on 1 and 3, snare on 2 and 4."""
    notes = tuple(
        Note(float(beat), 0.2, 36 if beat % 2 == 0 else 38, 100, DRUM_CHANNEL) for beat in range(16)
    )
    return Groove(notes, 16, 4, 120.0, "rock", "drummer1", "test")


def grid(n, period=0.5, start=0.0, bar=4, first_number=1):
    times = start + np.arange(n) * period
    return times, (np.arange(n) + first_number - 1) % bar + 1


def test_notes_land_on_the_beats_they_are_given():
    times, numbers = grid(40, period=0.47, start=0.2)
    notes = arrange(four_bars(), (), times, numbers)
    assert np.allclose([n.time for n in notes], times)
    kicks = [n.time for n in notes if n.pitch in KICKS]
    assert np.allclose(kicks, times[::2])


@pytest.mark.parametrize("first_number", [1, 2, 3, 4])
def test_bars_start_on_downbeats(first_number):
    times, numbers = grid(40, first_number=first_number)
    notes = arrange(four_bars(), (), times, numbers)
    assert len(notes) == 40
    first_of_bar = set(np.round(times[numbers == 1], 3))
    assert first_of_bar <= {round(n.time, 3) for n in notes if n.pitch in KICKS}


def test_uneven_beats_are_followed():
    times = np.cumsum(np.linspace(0.4, 0.7, 32))
    notes = arrange(four_bars(), (), times, np.arange(32) % 4 + 1)
    assert np.allclose([n.time for n in notes], times)


def test_low_dynamics_play_fewer_and_softer_notes():
    groove = four_bars()
    extra = tuple(Note(b + 0.5, 0.1, 42, 80, DRUM_CHANNEL) for b in range(16))
    times, numbers = grid(64)
    counts, loudness = [], []
    for level in (0.0, 1.0):
        notes = arrange(
            groove, extra, times, numbers,
            dynamics=np.full(64, level), rng=np.random.default_rng(0),
        )  # fmt: skip
        counts.append(len(notes))
        loudness.append(np.mean([n.velocity for n in notes]))
    assert counts[0] < counts[1]
    assert loudness[0] < 0.6 * loudness[1]


def test_swing_delays_what_lies_between_the_beats():
    offbeats = tuple(Note(b + 0.5, 0.1, 42, 80, DRUM_CHANNEL) for b in range(16))
    times, numbers = grid(17, period=0.6)
    notes = arrange(four_bars(), offbeats, times, numbers, swing=1.0)
    played = np.array([n.time for n in notes if n.pitch == 42])
    assert np.allclose(played, times[:16] + 0.4)
    on_beats = [n.time for n in notes if n.pitch != 42]
    assert np.allclose(on_beats, times)


def test_a_groove_that_swings_is_told_from_a_straight_one():
    for place, straight in ((0.5, True), (0.66, False)):
        notes = tuple(Note(b + place, 0.1, 42, 80, DRUM_CHANNEL) for b in range(16))
        assert plays_straight(Groove(notes, 16, 4, 120.0, "rock", "d", "g")) is straight


@pytest.mark.parametrize(
    ("label", "style"),
    [
        ("rock", "rock"),
        ("rock/indie", "rock"),
        ("rock/shuffle", "blues"),
        ("latin/brazilian-samba", "latin"),
        ("neworleans/chacha", "cha-cha"),
        ("pop/soft", "rock"),
        ("middleeastern", ""),
    ],
)
def test_labels_are_gathered_in_styles(label, style):
    assert style_of_label(label) == style
    assert style == "" or style in STYLES


def test_a_waltz_keeps_three_beats_of_four():
    waltz = to_waltz(four_bars())
    assert (waltz.beats_per_bar, waltz.n_beats) == (3, 12)
    assert [n.time for n in waltz.notes] == [float(b) for b in range(12)]
    assert to_waltz(waltz) is waltz


def test_bass_lines_stay_in_range_and_differ():
    lines = [compose_bass(four_bars(), np.random.default_rng(seed)) for seed in range(20)]
    for line in lines:
        assert all(n.channel == BASS_CHANNEL and 20 <= n.pitch <= 70 for n in line)
        assert all(0 <= n.time < 16 for n in line)
    assert len({tuple(n.pitch for n in line) for line in lines}) > 15


@needs_fluidsynth
def test_rendered_sound_starts_where_the_note_does():
    note = Note(0.5, 0.2, 36, 120, DRUM_CHANNEL)
    sound = render([note], Sound(reverb=False), 1.5)
    assert sound.samples.shape == (1, 36_000)
    loud = np.flatnonzero(np.abs(sound.samples[0]) > 0.02)
    assert abs(loud[0] / 24_000 - 0.5) < 0.02


def test_a_missing_sound_font_is_one_clear_line(tmp_path):
    with pytest.raises(DependencyError, match="apt-get install fluidsynth"):
        render([], Sound(), 1.0, sound_font=tmp_path / "none.sf2")


def test_another_directory_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no info\.csv"):
        load_grooves(tmp_path)


def write_groove_folder(folder):
    track = mido.MidiTrack()
    for _ in range(32):
        track.append(mido.Message("note_on", channel=9, note=36, velocity=100, time=0))
        track.append(mido.Message("note_off", channel=9, note=36, velocity=0, time=480))
    midi = mido.MidiFile(ticks_per_beat=480)
    midi.tracks.append(track)
    midi.save(folder / "one.mid")
    (folder / "info.csv").write_text(
        "drummer,style,bpm,beat_type,time_signature,midi_filename\n"
        "drummer1,funk/groove1,100,beat,4-4,one.mid\n"
    )


@pytest.mark.slow(1)
@needs_fluidsynth
def test_a_corpus_is_rendered_once_and_has_its_beats(tmp_path):
    write_groove_folder(tmp_path)
    config = CorpusConfig(n_pieces=2, seconds=6.0, waltz_share=0.0, seed=3)
    corpus = load_or_render(config, tmp_path, tmp_path / "cache")
    assert corpus.samples.shape == (2, 144_000)
    assert corpus.styles == ["funk", "funk"]
    made = (tmp_path / "cache" / "samples.npy").stat().st_mtime_ns
    again = load_or_render(config, tmp_path, tmp_path / "cache")
    assert (tmp_path / "cache" / "samples.npy").stat().st_mtime_ns == made
    assert np.array_equal(again.beat_times[1], corpus.beat_times[1])
    # The kick sounds on every beat: the sound just after a beat is louder than just before.
    sound = corpus.samples[0].astype(float)
    beats = (corpus.beat_times[0][1:-1] * 24_000).astype(int)
    after = np.mean([np.abs(sound[b : b + 1200]).mean() for b in beats])
    before = np.mean([np.abs(sound[b - 1200 : b]).mean() for b in beats])
    assert after > 1.5 * before


@pytest.mark.slow
@needs_fluidsynth
def test_a_balanced_corpus_has_styles_that_nobody_played(tmp_path):
    write_groove_folder(tmp_path)
    config = CorpusConfig(
        n_pieces=6, seconds=3.0, waltz_share=0.0, balanced_share=1.0, swing_share=1.0, seed=3
    )
    corpus = load_or_render(config, tmp_path, tmp_path / "cache")
    assert "funk" in corpus.styles and len(set(corpus.styles)) > 1
    assert all(0.0 <= swing <= 1.0 for swing in corpus.swings)
    assert len(set(corpus.swings)) == 6


@pytest.mark.slow
@needs_fluidsynth
def test_waltzes_of_a_balanced_corpus_are_waltzes(tmp_path):
    write_groove_folder(tmp_path)
    config = CorpusConfig(n_pieces=3, seconds=2.0, waltz_share=1.0, balanced_share=1.0)
    corpus = load_or_render(config, tmp_path, tmp_path / "cache")
    assert corpus.styles == ["waltz"] * 3
    assert max(corpus.beat_numbers[0]) == 3


@pytest.mark.slow
@needs_fluidsynth
def test_a_corpus_from_before_a_setting_existed_is_kept(tmp_path):
    write_groove_folder(tmp_path)
    config = CorpusConfig(n_pieces=1, seconds=2.0, waltz_share=0.0)
    load_or_render(config, tmp_path, tmp_path / "cache")
    file = tmp_path / "cache" / "index.json"
    index = json.loads(file.read_text())
    del index["config"]["balanced_share"], index["config"]["swing_share"]
    del index["pieces"][0]["swing"]
    index["pieces"][0]["style"] = "pop"
    file.write_text(json.dumps(index))
    made = (tmp_path / "cache" / "samples.npy").stat().st_mtime_ns
    corpus = load_or_render(config, tmp_path, tmp_path / "cache")
    assert (tmp_path / "cache" / "samples.npy").stat().st_mtime_ns == made
    assert (corpus.styles, corpus.swings) == (["rock"], [0.0])


@pytest.mark.slow
def test_real_grooves_are_read(shared_data, tmp_path):
    folder = link_short_grooves(shared_data / "groove", tmp_path, per_drummer=60)
    grooves = load_grooves(folder)
    assert len(grooves) > 300
    assert {g.beats_per_bar for g in grooves} == {3, 4}
    assert {g.style for g in grooves} <= {*STYLES, ""}
    for groove in grooves[:50]:
        assert groove.n_beats % groove.beats_per_bar == 0
        assert all(n.time < groove.n_beats for n in groove.notes)
