"""Every parser of foreign bytes, with the real files whose mutations it is given."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import mido
import numpy as np
import soundfile

from building_tools.soundfont.write import write_soundfont
from dancetomusic.app.uploads import media_type
from dancetomusic.builder.sources import read_links
from dancetomusic.checkpoint import CONFIG_FILE, TENSORS_FILE, load_checkpoint
from dancetomusic.config import config_from_dict, load_config_values
from dancetomusic.errors import DanceToMusicError
from dancetomusic.generate.beat_source import read_beats
from dancetomusic.io.audio import read_audio
from dancetomusic.io.video import probe_video
from dancetomusic.models.pose_encoder.training import PoseEncoderTrainingConfig
from dancetomusic.pose.files import load_poses
from dancetomusic.score.midi import read_midi
from dancetomusic.score.soundfont import DRUM_BANK, Gen, Preset, Region, Sample, SoundFont

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "data" / "demo"


@dataclass(frozen=True)
class Parser:
    """One parser.

    Attributes:
        suffix: Of the file that it is given.
        seeds: Real files to mutate.
        parse: Called with the path of a mutated file; raises ``DanceToMusicError`` or nothing.
    """

    suffix: str
    seeds: tuple[bytes, ...]
    parse: Callable[[Path], object]


def _beats(path: Path) -> object:
    return read_beats(path, 12.0)


def _config(path: Path) -> object:
    return config_from_dict(PoseEncoderTrainingConfig, load_config_values(path))


def _checkpoint(path: Path) -> object:
    """The file is the tensors' or, where it is JSON, the config of a checkpoint."""
    folder = path.with_suffix(".checkpoint")
    folder.mkdir(exist_ok=True)
    content, of_config = path.read_bytes(), _tiny_checkpoint()
    is_config = content.lstrip()[:1] == b"{"
    (folder / CONFIG_FILE).write_bytes(content if is_config else of_config[CONFIG_FILE])
    (folder / TENSORS_FILE).write_bytes(of_config[TENSORS_FILE] if is_config else content)
    return load_checkpoint(folder, model="pose_encoder")


def _sniff(path: Path) -> object:
    return media_type(path.read_bytes()[:64])


def _soundfont(path: Path) -> object:
    """Opened, and all that it names decoded."""
    font = SoundFont(path)
    for bank, program in font.names:
        for region in font.preset(program, drums=bank == DRUM_BANK).regions:
            font.sample(region.sample)
    return font


@cache
def _tiny_checkpoint() -> dict[str, bytes]:
    from safetensors.numpy import save

    config = {"schema_version": 1, "model": "pose_encoder", "config": {}, "metadata": {}}
    return {
        CONFIG_FILE: json.dumps(config).encode(),
        TENSORS_FILE: save({"a": np.zeros((2, 3), np.float32), "b": np.ones(4, np.float16)}),
    }


def _midi() -> bytes:
    file, out = mido.MidiFile(ticks_per_beat=96), io.BytesIO()
    notes = [
        mido.Message(kind, note=60 + k, velocity=90, time=48 * (kind == "note_off"))
        for k in range(12)
        for kind in ("note_on", "note_off")
    ]
    meta = [
        mido.MetaMessage("time_signature", numerator=6, denominator=8),
        mido.MetaMessage("set_tempo", tempo=500_000),
        mido.MetaMessage("key_signature", key="Am"),
        mido.MetaMessage("marker", text="chorus", time=96),
    ]
    file.tracks.append(mido.MidiTrack([*meta, *notes]))
    file.save(file=out)
    return out.getvalue()


def _font(quality: float | None) -> bytes:
    """A SoundFont of one drum and one looped tone; with a quality, of Vorbis samples."""
    tone = np.sin(np.arange(2000) / 20).astype(np.float32)
    samples = [Sample(name, tone, 22_050, root=69, loop=(500, 1500)) for name in ("a", "b")]
    drum = Region((36, 42), (0, 127), 0, {Gen.CHOKE_GROUP: 1})
    key = Region((0, 127), (0, 127), 1, {Gen.LOOP_MODE: 1, Gen.RELEASE: -1200})
    presets = [Preset("Kit", DRUM_BANK, 0, (drum,)), Preset("Tone", 0, 5, (key,))]
    with TemporaryDirectory() as folder:
        path = Path(folder, "font.sf2")
        write_soundfont(path, samples, presets, {"INAM": "test"}, quality=quality)
        return path.read_bytes()


def _sound(form: str) -> bytes:
    out = io.BytesIO()
    tone = np.sin(np.arange(4000) / 9).astype(np.float32)
    soundfile.write(out, np.stack([tone, tone], 1), 8000, format=form)
    return out.getvalue()


REKORDBOX = (
    b'<?xml version="1.0"?><DJ_PLAYLISTS><COLLECTION><TRACK Name="a"><TEMPO Inizio="0.1" '
    b'Bpm="120.00" Metro="4/4" Battito="1"/><TEMPO Inizio="6.1" Bpm="99.5" Metro="3/4" '
    b'Battito="2"/></TRACK></COLLECTION></DJ_PLAYLISTS>'
)
ABLETON = (
    b'<Ableton><AudioClip><Name Value="a"/><WarpMarkers><WarpMarker SecTime="0.5" BeatTime="0"/>'
    b'<WarpMarker SecTime="8.5" BeatTime="16"/></WarpMarkers></AudioClip></Ableton>'
)
LABELS = b"0.500000\t0.500000\t1\n1.000000\t1.000000\t2\n\\\t100\t200\n1.5\t1.5\tx\n"
LINKS = b"url;start;end\nhttps://example.org/a;1,5;0:20\nhttps://example.org/b;;\n"


@cache
def parsers() -> dict[str, Parser]:
    """All of them by name."""
    video = (DEMO / "bounce_104bpm.mp4").read_bytes()
    beats = (DEMO / "steps_128bpm.csv").read_bytes()
    yaml = (REPOSITORY / "configs" / "pose_encoder.yaml").read_bytes()
    poses = (DEMO / "steps_128bpm.npz").read_bytes()
    return {
        "beats": Parser(".csv", (beats, LABELS, beats.decode().encode("utf-16")), _beats),
        "beats_midi": Parser(".mid", (_midi(),), _beats),
        "beats_rekordbox": Parser(".xml", (REKORDBOX,), _beats),
        "beats_ableton": Parser(".als", (gzip.compress(ABLETON), ABLETON), _beats),
        "links": Parser(".csv", (LINKS, LINKS.replace(b";", b"\t")), read_links),
        "poses": Parser(".npz", (poses,), load_poses),
        "midi": Parser(".mid", (_midi(),), read_midi),
        "soundfont": Parser(".sf2", (_font(None), _font(0.3)), _soundfont),
        "config": Parser(".yaml", (yaml, b'{"max_steps": 10, "seed": 1}'), _config),
        "checkpoint": Parser(".bin", tuple(_tiny_checkpoint().values()), _checkpoint),
        "sound": Parser(".wav", (_sound("WAV"), _sound("FLAC"), _sound("OGG")), read_audio),
        "video": Parser(".mp4", (video[:60_000] + video[-20_000:], video[:100_000]), probe_video),
        "upload": Parser(".bin", (video[:64], b"RIFF....AVI ", b"\x1aE\xdf\xa3"), _sniff),
    }


def accepts(parser: Parser, path: Path) -> bool:
    """Whether a mutated file was taken; else it was refused in one line.

    Raises:
        Exception: Whatever else the parser raised: a finding.
    """
    try:
        parser.parse(path)
    except DanceToMusicError as error:
        assert "\n" not in str(error), "the message has several lines"
        return False
    return True
