"""Drum-and-bass music on given beats: human grooves re-timed, bass lines composed, then played.

Grooves are performances of the Groove MIDI Dataset (Gillick et al., "Learning to Groove with
Inverse Sequence Transformations", 2019, CC BY 4.0), played to a metronome, so a note's time in
beats is exact. Sound is rendered by the program ``fluidsynth`` with a General MIDI sound font.
"""

from __future__ import annotations

import csv
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from dancetomusic.errors import DependencyError, InputError
from dancetomusic.io.process import run_program
from dancetomusic.rhythm.swing import swing_beats
from dancetomusic.types import Waveform

SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
HELD_OUT_DRUMMERS = ("drummer3", "drummer7", "drummer9")
DRUM_CHANNEL = 9
BASS_CHANNEL = 0
HARMONY_CHANNEL = 1
LEAD_CHANNEL = 2

# General MIDI programs of the sound font; the held-out ones never sound in training material.
KITS = (0, 8, 16, 24, 25, 32, 40)
HELD_OUT_KITS = (8,)
BASSES = (32, 33, 34, 35, 36, 37, 38, 39)
HELD_OUT_BASSES = (35,)
HARMONY_PROGRAMS = (0, 4, 16, 21, 24, 25, 27, 48, 52, 61, 65, 73, 80, 81, 89)

PAD_TO_GM = {22: 42, 26: 46, 40: 38, 58: 43, 55: 49, 52: 57, 59: 51}
"""Pads of the recording drum kit that General MIDI does not know, to their nearest sound."""

KICKS = (35, 36)

BALLROOM_STYLES = ("cha-cha", "rumba", "tango", "waltz")
STYLES = (
    *BALLROOM_STYLES,
    *("rock", "funk", "soul", "hiphop", "dance", "jazz", "blues", "latin", "afrocuban"),
    *("afrobeat", "neworleans", "reggae"),
)
"""Names by which a style of music is asked for."""

_STYLE_OF_LABEL = {
    **{style: style for style in STYLES},
    **{"pop": "rock", "punk": "rock", "country": "rock", "gospel": "soul", "highlife": "afrobeat"},
    **{"rock/shuffle": "blues", "rock/rockabilly": "blues", "neworleans/shuffle": "blues"},
    "neworleans/chacha": "cha-cha",
}

_PROGRESSIONS = (
    (0, 0, 0, 0),
    (0, 0, 5, 7),
    (0, 7, 9, 5),
    (0, 8, 3, 10),
    (0, 5, 0, 7),
    (0, 10, 8, 7),
    (0, 3, 5, 0),
    (0, 9, 2, 7),
)


@dataclass(frozen=True)
class Note:
    """One note; time and length in beats or, once arranged, in seconds."""

    time: float
    length: float
    pitch: int
    velocity: int
    channel: int


@dataclass(frozen=True)
class Groove:
    """A drum performance in beats.

    Attributes:
        notes: Drum notes; time in beats from the first downbeat.
        n_beats: Length in beats, whole bars.
        style: One of ``STYLES``, or ``""`` where none of them fits.
        drummer: Who played it; held-out data is held out by this.
    """

    notes: tuple[Note, ...]
    n_beats: int
    beats_per_bar: int
    bpm: float
    style: str
    drummer: str
    name: str


@dataclass(frozen=True)
class Sound:
    """Which instruments play.

    Instruments are General MIDI programs, ``None`` for none; ``gain`` is the synthesiser's.
    """

    kit: int = 0
    bass: int = 33
    harmony: int | None = None
    lead: int | None = None
    reverb: bool = True
    gain: float = 0.7


def style_of_label(label: str) -> str:
    """The style that a label of the Groove MIDI Dataset belongs to.

    A label is a style, or a style and a substyle such as ``"latin/brazilian-samba"``.

    Returns:
        One of ``STYLES``; ``""`` where none of them fits.
    """
    primary = label.split("/")[0]
    return _STYLE_OF_LABEL.get(label) or _STYLE_OF_LABEL.get(primary, "")


def load_grooves(directory: Path | str, *, min_bars: int = 4) -> list[Groove]:
    """Read every 3/4 and 4/4 beat (no fills) of a Groove MIDI directory.

    Raises:
        InputError: If the directory has no ``info.csv``.
    """
    root = Path(directory)
    index = root / "info.csv"
    if not index.is_file():
        raise InputError(f"{root} has no info.csv", "Name the Groove MIDI directory.")
    grooves = []
    with index.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["beat_type"] != "beat" or row["time_signature"] not in ("3-4", "4-4"):
                continue
            groove = _read_groove(root / row["midi_filename"], row)
            if groove.n_beats >= min_bars * groove.beats_per_bar:
                grooves.append(groove)
    return grooves


def select_grooves(grooves: Iterable[Groove], *, held_out: bool) -> list[Groove]:
    """Those of the held-out drummers, or those of all others."""
    return [g for g in grooves if (g.drummer in HELD_OUT_DRUMMERS) == held_out]


def _read_groove(path: Path, row: dict[str, str]) -> Groove:
    import mido

    midi = mido.MidiFile(path)
    notes = []
    for track in midi.tracks:
        ticks = 0
        for message in track:
            ticks += message.time
            if message.type == "note_on" and message.velocity > 0:
                pitch = PAD_TO_GM.get(message.note, message.note)
                beat = ticks / midi.ticks_per_beat
                notes.append(Note(beat, 0.2, pitch, message.velocity, DRUM_CHANNEL))
    beats_per_bar = int(row["time_signature"][0])
    n_bars = int(max((n.time for n in notes), default=0) + 0.25) // beats_per_bar
    n_beats = max(n_bars, 1) * beats_per_bar
    return Groove(
        notes=tuple(sorted((n for n in notes if n.time < n_beats - 0.1), key=lambda n: n.time)),
        n_beats=n_beats,
        beats_per_bar=beats_per_bar,
        bpm=float(row["bpm"]),
        style=style_of_label(row["style"]),
        drummer=row["drummer"],
        name=path.stem,
    )


def plays_straight(groove: Groove) -> bool:
    """Whether more notes fall half-way between the beats than at two thirds, where they swing."""
    phases = np.array([note.time % 1.0 for note in groove.notes])
    half = np.count_nonzero(np.abs(phases - 0.5) < 0.07)
    return bool(half >= np.count_nonzero(np.abs(phases - 0.66) < 0.07))


def to_waltz(groove: Groove) -> Groove:
    """Three beats of every four-beat bar, so that a 4/4 groove plays in 3/4."""
    if groove.beats_per_bar == 3:
        return groove
    notes = []
    for note in groove.notes:
        bar, beat = divmod(note.time, 4.0)
        if beat < 2.9:
            notes.append(replace(note, time=bar * 3 + beat))
    return replace(groove, notes=tuple(notes), n_beats=groove.n_beats // 4 * 3, beats_per_bar=3)


_BASS_HABITS = ["kick", "kick", "eighths", "root-fifth", "walking", "octaves"]
_BALLROOM_BASS = {
    "cha-cha": ["tumbao", "tumbao", "kick"],
    "rumba": ["bolero", "bolero", "tumbao"],
    "tango": ["marcato", "marcato", "three-three-two"],
    "waltz": ["downbeat", "downbeat", "root-fifth"],
}
_BALLROOM_BASS_ONSETS = {
    "tumbao": [0.0, 1.5, 3.0],
    "bolero": [0.0, 2.0, 3.0],
    "marcato": [0.0, 1.0, 2.0, 3.0],
    "three-three-two": [0.0, 1.5, 3.0],
    "downbeat": [0.0],
}


def compose_bass(groove: Groove, rng: np.random.Generator) -> tuple[Note, ...]:
    """A bass line that fits the groove: a chord progression and one rhythmic habit.

    The habit is one of: with the kick drum, straight eighths, root and fifth on the beats,
    walking, octaves off the beat; a ballroom style has its own. Every fourth bar leads into
    the next.
    """
    progression = _PROGRESSIONS[rng.integers(len(_PROGRESSIONS))]
    key = int(rng.integers(28, 41))
    habit = str(rng.choice(_BALLROOM_BASS.get(groove.style, _BASS_HABITS)))
    bar_beats = groove.beats_per_bar
    kicks = np.array([n.time for n in groove.notes if n.pitch in KICKS])
    notes = []
    for bar in range(groove.n_beats // bar_beats):
        root = key + progression[bar % 4] - (12 if progression[bar % 4] > 7 else 0)
        following = key + progression[(bar + 1) % 4]
        onsets = _bass_onsets(habit, bar_beats, kicks - bar * bar_beats, rng)
        for index, onset in enumerate(onsets):
            end = onsets[index + 1] if index + 1 < len(onsets) else bar_beats
            pitch = _bass_pitch(habit, root, following, onset, index, bar_beats, rng)
            length = max(0.15, (end - onset) * rng.uniform(0.55, 0.95))
            if habit == "marcato":
                length /= 2
            velocity = int(np.clip(rng.normal(96 if onset == 0 else 84, 7), 40, 127))
            notes.append(
                Note(bar * bar_beats + onset, min(length, 1.5), pitch, velocity, BASS_CHANNEL)
            )
    return tuple(notes)


def _bass_onsets(
    habit: str, bar_beats: int, kicks: Float[np.ndarray, " kicks"], rng: np.random.Generator
) -> list[float]:
    if habit in _BALLROOM_BASS_ONSETS:
        return [onset for onset in _BALLROOM_BASS_ONSETS[habit] if onset < bar_beats]
    if habit == "kick":
        inside = kicks[(kicks > -0.1) & (kicks < bar_beats - 0.1)]
        grid = sorted({max(0.0, round(float(k) * 4) / 4) for k in inside})
        return grid or [0.0]
    if habit == "eighths":
        return [i / 2 for i in range(bar_beats * 2)]
    if habit == "octaves":
        return [i / 2 for i in range(bar_beats * 2) if i % 2 or rng.random() < 0.8]
    if habit == "walking":
        return [float(i) for i in range(bar_beats)]
    return [0.0, 2.0, 3.5] if bar_beats == 4 else [0.0, 2.0]


def _bass_pitch(
    habit: str,
    root: int,
    following: int,
    onset: float,
    index: int,
    bar_beats: int,
    rng: np.random.Generator,
) -> int:
    if onset == 0:
        return root
    if habit == "octaves":
        return root + 12 * (index % 2)
    if onset >= bar_beats - 1 and rng.random() < 0.3:
        return following + int(rng.choice([-1, 1, -2, 2]))
    if habit == "walking":
        return root + (0, 4, 7, 9)[index % 4]
    if habit == "marcato":
        return root + (0, 7)[index % 2]
    return root + int(rng.choice([0, 0, 0, 7, 12, 10], p=[0.3, 0.2, 0.1, 0.2, 0.1, 0.1]))


def compose_harmony(groove: Groove, rng: np.random.Generator) -> tuple[Note, ...]:
    """Chords and a sparse melody, to widen what a codec is trained on."""
    key = int(rng.integers(52, 66))
    progression = _PROGRESSIONS[rng.integers(len(_PROGRESSIONS))]
    notes = []
    for bar in range(groove.n_beats // groove.beats_per_bar):
        start = bar * groove.beats_per_bar
        root = key + progression[bar % 4]
        for interval in (0, int(rng.choice([3, 4])), 7):
            notes.append(
                Note(start, groove.beats_per_bar * 0.9, root + interval, 62, HARMONY_CHANNEL)
            )
        for place in range(groove.beats_per_bar * 2):
            if rng.random() < 0.35:
                pitch = root + 12 + int(rng.choice([0, 2, 3, 5, 7, 10, 12]))
                notes.append(Note(start + place / 2, 0.45, pitch, 74, HARMONY_CHANNEL))
    return tuple(notes)


def arrange(
    groove: Groove,
    parts: Iterable[Note],
    beat_times: Float[np.ndarray, " beats"],
    beat_numbers: Int[np.ndarray, " beats"],
    *,
    dynamics: Float[np.ndarray, " beats"] | None = None,
    rng: np.random.Generator | None = None,
    swing: float = 0.0,
) -> list[Note]:
    """Lay a groove and its other parts onto beats; bars start on downbeats.

    Args:
        groove: The drum part; repeated as often as the beats need.
        parts: Further notes in the groove's own beats.
        beat_times: Where the beats are, in seconds.
        beat_numbers: Position in the bar, from 1; bar length must equal the groove's.
        dynamics: Intensity per beat in [0, 1]: scales loudness and thins weak notes.
        rng: For the thinning; needed with ``dynamics``.
        swing: How late the off-beats are played; see ``dancetomusic.rhythm.swing``.

    Returns:
        Notes in seconds, in order of time.
    """
    if beat_times.size < 2:
        return []
    downbeats = np.flatnonzero(beat_numbers == 1)
    first = int(downbeats[0]) if downbeats.size else 0
    lead = -first % groove.beats_per_bar  # beats of a bar that lie before the first beat
    positions = np.arange(beat_times.size)
    loop = sorted([*groove.notes, *parts], key=lambda n: n.time)
    if swing:
        played = swing_beats(np.array([note.time for note in loop]), swing).tolist()
        loop = [replace(note, time=time) for note, time in zip(loop, played, strict=True)]
    arranged = []
    origin = first - groove.beats_per_bar * (1 if lead or first else 0)
    repeat = 0
    while origin + repeat * groove.n_beats < beat_times.size:
        base = origin + repeat * groove.n_beats
        for note in loop:
            beat = base + note.time
            if beat < -0.1 or beat > beat_times.size - 1:
                continue
            velocity = note.velocity
            if dynamics is not None and rng is not None:
                level = float(np.interp(beat, positions, dynamics))
                weak = abs(beat - round(beat)) > 0.1
                if weak and rng.random() > 0.35 + 1.1 * level:
                    continue
                velocity = int(np.clip(velocity * (0.45 + 0.75 * level), 8, 127))
            start = _beat_to_time(beat, beat_times)
            end = _beat_to_time(beat + note.length, beat_times)
            if start >= 0:
                arranged.append(Note(start, end - start, note.pitch, velocity, note.channel))
        repeat += 1
    return sorted(arranged, key=lambda n: n.time)


def _beat_to_time(beat: float, beat_times: Float[np.ndarray, " beats"]) -> float:
    if beat < 0:
        return float(beat_times[0] + beat * (beat_times[1] - beat_times[0]))
    last = beat_times.size - 1
    if beat > last:
        return float(beat_times[-1] + (beat - last) * (beat_times[-1] - beat_times[-2]))
    return float(np.interp(beat, np.arange(beat_times.size), beat_times))


def render(
    notes: Sequence[Note],
    sound: Sound,
    duration_s: float,
    *,
    sample_rate: int = 24_000,
    sound_font: Path | str = SOUND_FONT,
) -> Waveform:
    """Play notes in seconds with FluidSynth; mono, exactly ``duration_s`` long.

    Raises:
        DependencyError: If ``fluidsynth`` or the sound font is missing.
    """
    program = shutil.which("fluidsynth")
    if program is None or not Path(sound_font).is_file():
        raise DependencyError(
            "fluidsynth or its sound font is missing",
            "Install both: apt-get install fluidsynth fluid-soundfont-gm",
        )
    import soundfile

    with tempfile.TemporaryDirectory() as directory:
        midi_path, wav_path = Path(directory, "notes.mid"), Path(directory, "sound.wav")
        _write_midi(notes, sound, duration_s, midi_path)
        run_program(
            [
                *(program, "-ni", "-q", "-g", f"{sound.gain}", "-r", f"{sample_rate}"),
                *("-R", "1" if sound.reverb else "0", "-C", "0", "-O", "float"),
                *("-F", str(wav_path), str(sound_font), str(midi_path)),
            ],
        )
        stereo, _ = soundfile.read(os.fsencode(wav_path), dtype="float32", always_2d=True)
    wanted = round(duration_s * sample_rate)
    mono = np.zeros((1, wanted), np.float32)
    mixed = stereo.mean(axis=1)[:wanted]
    mono[0, : mixed.size] = mixed
    return Waveform(mono, sample_rate)


def _write_midi(notes: Sequence[Note], sound: Sound, duration_s: float, path: Path) -> None:
    import mido

    ticks_per_s = 960  # 480 ticks a beat at the default 120 beats a minute
    programs = {DRUM_CHANNEL: sound.kit, BASS_CHANNEL: sound.bass}
    if sound.harmony is not None:
        programs[HARMONY_CHANNEL] = sound.harmony
    if sound.lead is not None:
        programs[LEAD_CHANNEL] = sound.lead
    events = []
    for note in notes:
        if note.channel not in programs or note.time >= duration_s:
            continue
        start = round(note.time * ticks_per_s)
        end = max(start + 1, round((note.time + note.length) * ticks_per_s))
        events.append((start, 1, "note_on", note))
        events.append((end, 0, "note_off", note))
    events.sort(key=lambda e: (e[0], e[1]))
    track = mido.MidiTrack()
    for channel, number in programs.items():
        track.append(mido.Message("program_change", channel=channel, program=number, time=0))
    now = 0
    for ticks, _, kind, note in events:
        track.append(
            mido.Message(
                kind,
                channel=note.channel,
                note=int(np.clip(note.pitch, 0, 127)),
                velocity=note.velocity,
                time=ticks - now,
            )
        )
        now = ticks
    end = max(now, round(duration_s * ticks_per_s))
    track.append(mido.MetaMessage("end_of_track", time=end - now))
    midi = mido.MidiFile(ticks_per_beat=480)
    midi.tracks.append(track)
    midi.save(path)
