from __future__ import annotations

import time
from pathlib import Path

import mido
import numpy as np
import pytest

from dancetomusic.errors import InputError
from dancetomusic.rhythm.beats import steady_grid
from dancetomusic.score.midi import load_midi_beats, read_midi, score_from_midi, write_midi
from dancetomusic.score.notes import BeatClock, Notes, Score, Section, Track

TICK = 1 / 480


def wandering_clock(
    first_s: float = 0.0, *, first: int = 1, bar: int = 4, n_beats: int = 33
) -> BeatClock:
    """Beats whose tempo drifts between 100 and 140 BPM."""
    intervals = 60.0 / (120.0 + 20.0 * np.sin(np.arange(n_beats - 1) / 5.0))
    times = first_s + np.concatenate([[0.0], np.cumsum(intervals)])
    numbers = (first - 1 + np.arange(n_beats)) % bar + 1
    return BeatClock(times, numbers.astype(np.int64), float(times[-1]))


def piece(clock: BeatClock, **more) -> Score:
    random = np.random.default_rng(0)
    beats = np.arange(1, clock.n_beats - 1)
    drums = [(b + 0.01 * random.normal(), 0.25, 36 + 2 * (b % 2), 60 + b % 60) for b in beats]
    bass = [(b + 0.5, 0.4, 33 + b % 12, 90) for b in beats]
    tracks = (
        Track("drums", 25, True, Notes.of(drums)),
        Track("bass", 38, False, Notes.of(bass)),
        Track(
            "chords", 89, False, Notes.of((b, 3.9, 57 + n, 70) for b in beats[::4] for n in (0, 3))
        ),
    )
    return Score(clock, tracks, **more)


def onsets(path) -> dict[str, list[float]]:
    """When notes start, by a reader of its own."""
    file = mido.MidiFile(path)
    tempi = []
    tick = 0
    for message in file.tracks[0]:
        tick += message.time
        if message.type == "set_tempo":
            tempi.append((tick, message.tempo))
    found: dict[str, list[float]] = {}
    for track in file.tracks[1:]:
        tick = 0
        for message in track:
            tick += message.time
            if message.type == "note_on":
                seconds = 0.0
                for (start, tempo), end in zip(
                    tempi, [t for t, _ in tempi[1:]] + [10**9], strict=True
                ):
                    seconds += max(0, min(tick, end) - start) * tempo / 480e6
                found.setdefault(track.name, []).append(seconds)
    return found


CLOCKS = {
    "on the beat": lambda: wandering_clock(),
    "within a beat": lambda: wandering_clock(-0.37),
    "just after a beat": lambda: wandering_clock(-0.499),
    "late start": lambda: wandering_clock(1.23),
    "pick-up": lambda: wandering_clock(first=3),
    "pick-up within a beat": lambda: wandering_clock(-0.2, first=4),
    "waltz": lambda: wandering_clock(bar=3),
    "twelve": lambda: wandering_clock(-0.1, bar=12, n_beats=40),
    "from a rhythm": lambda: BeatClock.from_rhythm(steady_grid(97.0, 21.0, first_beat_s=0.3)),
}


@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)
def test_file_plays_at_the_times_of_the_score(clock, tmp_path):
    score = piece(clock())
    write_midi(score, tmp_path / "a.mid")
    found = onsets(tmp_path / "a.mid")
    for track in score.tracks:
        heard = score.audible(track)
        expected = score.clock.seconds(heard.start)
        # half a tick of rounding at 100 BPM is 0.6 ms
        assert found[track.name] == pytest.approx(expected, abs=1.0e-3)


@pytest.mark.parametrize("clock", CLOCKS.values(), ids=CLOCKS)
def test_own_files_come_back_on_their_clock(clock, tmp_path):
    sections = (Section("intro", 0, 1), Section("groove", 1, 2))
    score = piece(clock(), sections=sections, key="Bb minor", style="house")
    write_midi(score, tmp_path / "a.mid")
    back = score_from_midi(tmp_path / "a.mid", score.clock)
    assert back.key == "Bb minor"
    assert [(s.name, s.first_bar) for s in back.sections] == [("intro", 0), ("groove", 1)]
    for track in score.tracks:
        heard, read = score.audible(track), back.track(track.name)
        inside = heard.start >= score.clock.beats(0.0) + 1  # the first beat may be stretched
        assert (read.program, read.is_drum) == (track.program, track.is_drum)
        assert read.notes.pitch.tolist() == heard.pitch.tolist()
        assert read.notes.velocity.tolist() == heard.velocity.tolist()
        assert read.notes.start[inside] == pytest.approx(heard.start[inside], abs=TICK)
        assert read.notes.length[inside] == pytest.approx(heard.length[inside], abs=1.01 * TICK)


def test_bars_tempo_and_names_are_where_other_programs_look(tmp_path):
    clock = BeatClock(np.arange(14) * 0.5, np.array([3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1]))
    score = piece(clock, sections=(Section("groove", 1, 2),), key="G# major", style="waltz")
    write_midi(score, tmp_path / "a.mid", credit="Grooves: Groove MIDI, CC BY 4.0")
    file = mido.MidiFile(tmp_path / "a.mid")
    assert file.type == 1
    messages = [m for m in file.tracks[0]]
    metres = [(m.numerator, m.denominator) for m in messages if m.type == "time_signature"]
    assert metres == [(1, 4), (3, 4)]
    assert [m.tempo for m in messages if m.type == "set_tempo"] == [500_000]
    assert [m.text for m in messages if m.type == "marker"] == ["groove"]
    assert [m.key for m in messages if m.type == "key_signature"] == ["Ab"]
    assert [m.text for m in messages if m.type == "copyright"] == [
        "Grooves: Groove MIDI, CC BY 4.0"
    ]
    assert [track.name for track in file.tracks] == ["waltz", "drums", "bass", "chords"]
    assert {m.channel for m in file.tracks[1] if not m.is_meta} == {9}
    assert next(m.program for m in file.tracks[2] if m.type == "program_change") == 38


def foreign(path, *, tempo=400_000, metre=(4, 4), ticks_per_beat=96, n_beats=8):
    file = mido.MidiFile(ticks_per_beat=ticks_per_beat, type=0)
    track = mido.MidiTrack()
    file.tracks.append(track)
    track.append(mido.MetaMessage("set_tempo", tempo=tempo))
    track.append(mido.MetaMessage("time_signature", numerator=metre[0], denominator=metre[1]))
    for _ in range(n_beats):
        track.append(mido.Message("note_on", note=36, velocity=100, channel=9))
        track.append(mido.Message("note_on", note=60, velocity=90, channel=2))
        track.append(mido.Message("note_off", note=36, channel=9, time=ticks_per_beat // 2))
        track.append(
            mido.Message("note_on", note=60, velocity=0, channel=2, time=ticks_per_beat // 2)
        )
    file.save(path)
    return path


def test_a_foreign_file_starts_with_the_first_whole_bar(tmp_path):
    clock = wandering_clock(first=3)
    score = score_from_midi(foreign(tmp_path / "f.mid"), clock)
    drums = score.track("drums")
    assert drums.notes.start == pytest.approx(2.0 + np.arange(8))
    assert score.track("track 0").notes.length == pytest.approx(np.ones(8))


def test_a_foreign_file_keeps_its_own_tempo_when_only_read(tmp_path):
    music = read_midi(foreign(tmp_path / "f.mid"))
    assert music.clock.seconds(np.arange(4)) == pytest.approx(0.4 * np.arange(4))
    assert len(music.tracks) == 2


def test_six_eight_has_two_beats(tmp_path):
    music = read_midi(foreign(tmp_path / "f.mid", metre=(6, 8), n_beats=9))
    assert music.clock.beat_numbers[:4].tolist() == [1, 2, 1, 2]
    assert music.tracks[0].notes.start == pytest.approx(np.arange(9) / 1.5)


def test_the_sustain_pedal_holds_notes(tmp_path):
    file = mido.MidiFile(ticks_per_beat=100)
    track = mido.MidiTrack()
    file.tracks.append(track)
    for kind, time_, fields in (
        ("control_change", 0, {"control": 64, "value": 127}),
        ("note_on", 0, {"note": 60, "velocity": 80}),
        ("note_on", 0, {"note": 64, "velocity": 80}),
        ("note_off", 50, {"note": 60}),
        ("note_off", 0, {"note": 64}),
        ("note_on", 50, {"note": 60, "velocity": 80}),
        ("note_off", 50, {"note": 60}),
        ("control_change", 50, {"control": 64, "value": 0}),
    ):
        track.append(mido.Message(kind, time=time_, **fields))
    file.save(tmp_path / "a.mid")
    notes = read_midi(tmp_path / "a.mid").tracks[0].notes
    assert notes.pitch.tolist() == [60, 64, 60]
    assert notes.length == pytest.approx([1.0, 2.0, 1.0])


def refused(path, data: bytes, said: str) -> None:
    path.write_bytes(data)
    with pytest.raises(InputError, match=said):
        read_midi(path)


def test_files_that_cannot_be_used_say_why(tmp_path):
    path = tmp_path / "a.mid"
    good = foreign(path).read_bytes()
    with pytest.raises(InputError, match="cannot read"):
        read_midi(tmp_path / "none.mid")
    refused(path, b"", "no MIDI file")
    refused(path, b"RIFF" + bytes(100), "no MIDI file")
    refused(path, good[:40], "damaged|no notes")
    refused(path, good[:9] + b"\x02" + good[10:], "type 2")
    refused(path, good[:10] + b"\x01\x00" + good[12:], "256 tracks")
    refused(path, good[:12] + b"\xe7\x28" + good[14:], "video frames")
    refused(path, good[:12] + b"\x00\x00" + good[14:], "video frames")
    refused(path, good + bytes(10_000_001), "10 MB")
    foreign(path, n_beats=0)
    with pytest.raises(InputError, match="no notes"):
        read_midi(path)
    foreign(path, tempo=0)
    with pytest.raises(InputError, match="tempo of 0"):
        read_midi(path)


def test_damaged_bytes_never_hang_or_escape(tmp_path):
    path = tmp_path / "a.mid"
    write_midi(piece(wandering_clock(n_beats=12)), path)
    good = path.read_bytes()
    random = np.random.default_rng(1)
    started = time.process_time()
    for _ in range(150):
        data = bytearray(good)
        for place in random.integers(0, len(data), random.integers(1, 12)):
            data[place] = random.integers(0, 256)
        if random.random() < 0.2:
            data = data[: random.integers(1, len(data))]
        path.write_bytes(bytes(data))
        try:
            score_from_midi(path, wandering_clock())
        except InputError as error:
            assert error.remedy
    assert time.process_time() - started < 30


def test_beats_are_those_of_the_tempo_map_also_without_notes(tmp_path: Path) -> None:
    file = mido.MidiFile(ticks_per_beat=96)
    conductor = mido.MidiTrack(
        [
            mido.MetaMessage("time_signature", numerator=3, denominator=4, time=0),
            mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(120), time=0),
            mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(90), time=96 * 6),
        ]
    )
    file.tracks.append(conductor)
    file.save(tmp_path / "map.mid")
    track = load_midi_beats(tmp_path / "map.mid", 12.0)
    assert np.allclose(track.beat_times[:8], [0, 0.5, 1, 1.5, 2, 2.5, 3, 3 + 60 / 90])
    assert track.beat_numbers[:5].tolist() == [1, 2, 3, 1, 2]
    assert 11.0 < track.beat_times[-1] < 12.0
