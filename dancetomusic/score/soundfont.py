"""SoundFont 2 and 3 files: their presets, regions and samples, read and checked.

References:
    "SoundFont Technical Specification", version 2.04, E-mu Systems, 2006. SoundFont 3 is the same
    with samples in Ogg Vorbis, addressed in bytes, their loops counted from the sample's start.
"""

from __future__ import annotations

import io
import struct
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float32

from dancetomusic.errors import InputError

DRUM_BANK = 128
MAX_BYTES = 2 * 1024**3
MAX_REGIONS = 20_000
MAX_KEPT_BYTES = 64 * 1024**2
"""Of decoded samples; a piece plays a fifth of it at most."""
VORBIS = 0x10
"""Flag in a sample's type: its data are Ogg Vorbis."""

Range = tuple[int, int]


class Gen(IntEnum):
    """Generators that the player obeys, by their numbers in the file."""

    START = 0
    END = 1
    LOOP_START = 2
    LOOP_END = 3
    START_COARSE = 4
    FILTER_ENVELOPE = 11
    FILTER_CUTOFF = 8
    FILTER_Q = 9
    END_COARSE = 12
    PAN = 17
    FILTER_DELAY = 25
    FILTER_ATTACK = 26
    FILTER_HOLD = 27
    FILTER_DECAY = 28
    FILTER_SUSTAIN = 29
    DELAY = 33
    ATTACK = 34
    HOLD = 35
    DECAY = 36
    SUSTAIN = 37
    RELEASE = 38
    KEY_TO_HOLD = 39
    KEY_TO_DECAY = 40
    INSTRUMENT = 41
    KEYS = 43
    VELOCITIES = 44
    LOOP_START_COARSE = 45
    KEY = 46
    VELOCITY = 47
    ATTENUATION = 48
    LOOP_END_COARSE = 50
    COARSE_TUNE = 51
    FINE_TUNE = 52
    SAMPLE = 53
    LOOP_MODE = 54
    SCALE_TUNING = 56
    CHOKE_GROUP = 57
    ROOT_KEY = 58


DEFAULTS: Mapping[int, int] = {
    Gen.FILTER_CUTOFF: 13500,
    Gen.FILTER_DELAY: -12000,
    Gen.FILTER_ATTACK: -12000,
    Gen.FILTER_HOLD: -12000,
    Gen.FILTER_DECAY: -12000,
    Gen.DELAY: -12000,
    Gen.ATTACK: -12000,
    Gen.HOLD: -12000,
    Gen.DECAY: -12000,
    Gen.RELEASE: -12000,
    Gen.KEY: -1,
    Gen.VELOCITY: -1,
    Gen.SCALE_TUNING: 100,
    Gen.ROOT_KEY: -1,
}
"""Values of generators that a file leaves out, where they are not 0."""

_NOT_ADDITIVE = {
    Gen.START, Gen.END, Gen.LOOP_START, Gen.LOOP_END, Gen.START_COARSE, Gen.END_COARSE,
    Gen.LOOP_START_COARSE, Gen.LOOP_END_COARSE, Gen.KEY, Gen.VELOCITY, Gen.LOOP_MODE,
    Gen.CHOKE_GROUP, Gen.ROOT_KEY, Gen.KEYS, Gen.VELOCITIES, Gen.INSTRUMENT, Gen.SAMPLE,
}  # fmt: skip
"""Generators that only an instrument may set."""

_PRESET = np.dtype(
    [("name", "S20"), ("program", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("unused", "<u4", 3)]
)
_INSTRUMENT = np.dtype([("name", "S20"), ("bag", "<u2")])
_BAG = np.dtype([("gen", "<u2"), ("mod", "<u2")])
_GENERATOR = np.dtype([("oper", "<u2"), ("amount", "<i2")])
_SAMPLE = np.dtype(
    [
        ("name", "S20"),
        ("start", "<u4"),
        ("end", "<u4"),
        ("loop_start", "<u4"),
        ("loop_end", "<u4"),
        ("rate", "<u4"),
        ("root", "u1"),
        ("correction", "i1"),
        ("link", "<u2"),
        ("type", "<u2"),
    ]
)
TABLES: Mapping[str, np.dtype] = {
    "phdr": _PRESET,
    "pbag": _BAG,
    "pgen": _GENERATOR,
    "inst": _INSTRUMENT,
    "ibag": _BAG,
    "igen": _GENERATOR,
    "shdr": _SAMPLE,
}
"""The tables of a file by the names of their chunks; the two of modulators are not read."""


@dataclass(frozen=True)
class Sample:
    """A recorded or computed sound, one channel.

    Attributes:
        name: Up to 20 ASCII characters.
        samples: Amplitude in [-1, 1].
        sample_rate: In Hz.
        root: MIDI pitch at which it sounds when played at its rate.
        correction: To be added to its pitch, in cents.
        loop: First sample of the loop and the one after its last.
    """

    name: str
    samples: Float32[np.ndarray, " samples"]
    sample_rate: int
    root: int = 60
    correction: int = 0
    loop: Range = (0, 0)


@dataclass(frozen=True)
class Region:
    """Which keys and velocities play which sample, and how.

    Attributes:
        keys: Lowest and highest key.
        velocities: Lowest and highest velocity.
        sample: Index of the sample.
        generators: Value of each generator that is set, with the preset's share added.
    """

    keys: Range
    velocities: Range
    sample: int
    generators: Mapping[int, int]

    def __getitem__(self, generator: Gen) -> int:
        return self.generators.get(generator, DEFAULTS.get(generator, 0))

    def plays(self, key: int, velocity: int) -> bool:
        """Whether a note sounds in this region."""
        return (
            self.keys[0] <= key <= self.keys[1]
            and self.velocities[0] <= velocity <= self.velocities[1]
        )


@dataclass(frozen=True)
class Preset:
    """An instrument or drum kit.

    Attributes:
        bank: 0 for General MIDI, ``DRUM_BANK`` for kits.
        program: 0-127.
    """

    name: str
    bank: int
    program: int
    regions: tuple[Region, ...]


@dataclass(frozen=True)
class _Zone:
    """Generators of one zone, with those of the global zone before it."""

    generators: Mapping[int, int]

    def range(self, generator: Gen) -> Range:
        both = self.generators.get(generator, 127 << 8) & 0xFFFF
        return both & 0xFF, both >> 8


class SoundFont:
    """An opened SoundFont; presets and samples are decoded when first asked for.

    Of samples those are kept that were last asked for, up to ``MAX_KEPT_BYTES``: a server that
    plays everything would hold all, fifteen times the size of a compressed file.

    Args:
        path: An ``.sf2`` or ``.sf3`` file.

    Attributes:
        names: Names of the presets, by bank and program.

    Raises:
        InputError: If the file is missing, above ``MAX_BYTES``, no SoundFont, or damaged.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        chunks = dict(_chunks(_map_file(self.path), self.path))
        if "smpl" not in chunks:
            raise _damaged(self.path, "it has no samples")
        self._smpl = chunks["smpl"]
        self._tables = {
            name: _table(chunks, name, kind, self.path) for name, kind in TABLES.items()
        }
        headers = self._tables["phdr"][:-1]
        self._rows = {
            (int(header["bank"]), int(header["program"])): row for row, header in enumerate(headers)
        }
        self.names = {place: _text(headers["name"][row]) for place, row in self._rows.items()}
        self._presets: dict[tuple[int, int], Preset] = {}
        self._instruments: dict[int, list[_Zone]] = {}
        self._samples: OrderedDict[int, Sample] = OrderedDict()  # the last asked for stands last
        self._kept_bytes = 0

    def preset(self, program: int, *, drums: bool) -> Preset:
        """The preset of a General MIDI program, or a drum kit.

        Raises:
            InputError: If the file lacks it, or it is damaged.
        """
        place = (DRUM_BANK if drums else 0, program)
        what = "drum kit" if drums else "program"
        if place not in self._rows:
            programs = sorted(known for bank, known in self._rows if bank == place[0])
            raise InputError(
                f"SoundFont {self.path} has no {what} {program}",
                f"Choose one of {', '.join(map(str, programs))}."
                if programs
                else "Give another SoundFont.",
            )
        if place not in self._presets:
            regions = tuple(islice(self._regions(self._rows[place]), MAX_REGIONS + 1))
            if len(regions) > MAX_REGIONS:
                raise _damaged(self.path, f"{what} {program} has over {MAX_REGIONS} regions")
            self._presets[place] = Preset(self.names[place], *place, regions)
        return self._presets[place]

    def sample(self, index: int) -> Sample:
        """Sample ``index``, decoded.

        Raises:
            InputError: If its data are damaged.
        """
        if index not in self._samples:
            self._samples[index] = self._decode(index)
            self._kept_bytes += self._samples[index].samples.nbytes
        self._samples.move_to_end(index)
        sample = self._samples[index]
        while self._kept_bytes > MAX_KEPT_BYTES:
            _, oldest = self._samples.popitem(last=False)
            self._kept_bytes -= oldest.samples.nbytes
        return sample

    def _regions(self, row: int) -> Iterator[Region]:
        """The regions of the preset in a row of the file's table."""
        bags = self._tables["phdr"]["bag"]
        for outer in self._zones("p", int(bags[row]), int(bags[row + 1]), Gen.INSTRUMENT):
            for inner in self._instrument(outer.generators[Gen.INSTRUMENT] & 0xFFFF):
                region = _region(outer, inner)
                if region is not None:
                    yield region

    def _instrument(self, number: int) -> list[_Zone]:
        bags = self._tables["inst"]["bag"]
        if number >= bags.size - 1:
            raise _damaged(self.path, f"a preset names instrument {number}")
        if number not in self._instruments:
            zones = list(self._zones("i", int(bags[number]), int(bags[number + 1]), Gen.SAMPLE))
            last = self._tables["shdr"].size - 2
            if any(zone.generators[Gen.SAMPLE] & 0xFFFF > last for zone in zones):
                raise _damaged(self.path, f"instrument {number} names a missing sample")
            self._instruments[number] = zones
        return self._instruments[number]

    def _zones(self, kind: str, first: int, end: int, target: Gen) -> Iterator[_Zone]:
        """Zones that name a ``target``, from bag ``first`` up to ``end``."""
        bags, generators = self._tables[f"{kind}bag"], self._tables[f"{kind}gen"]
        if not 0 <= first <= end < bags.size:
            raise _damaged(self.path, "its zones lie outside their table")
        common: dict[int, int] = {}
        for index in range(first, end):
            start, stop = int(bags["gen"][index]), int(bags["gen"][index + 1])
            if not 0 <= start <= stop <= generators.size:
                raise _damaged(self.path, "its generators lie outside their table")
            chosen = generators[start:stop]
            own = dict(zip(chosen["oper"].tolist(), chosen["amount"].tolist(), strict=True))
            if target in own:
                yield _Zone({**common, **own})
            elif index == first:
                common = own

    def _decode(self, index: int) -> Sample:
        header = self._tables["shdr"][index]
        start, end = int(header["start"]), int(header["end"])
        vorbis = bool(header["type"] & VORBIS)
        width = 1 if vorbis else 2
        data = self._smpl[start * width : end * width]
        if data.size < max(width * (end - start), width):
            raise _damaged(self.path, f"sample {index} lies outside it")
        if vorbis:
            try:
                samples, _ = soundfile.read(
                    io.BytesIO(data.tobytes()), dtype="float32", always_2d=True
                )
            except soundfile.LibsndfileError as error:
                raise _damaged(self.path, f"sample {index} cannot be decoded") from error
            samples, origin = np.ascontiguousarray(samples[:, 0]), 0
        else:
            samples, origin = data.view("<i2").astype(np.float32) / 32768.0, start
        if not np.isfinite(samples).all():
            raise _damaged(self.path, f"sample {index} is not finite")
        return Sample(
            name=_text(header["name"]),
            samples=samples,
            sample_rate=int(np.clip(header["rate"], 400, 192_000)),
            root=int(header["root"]) if header["root"] <= 127 else 60,
            correction=int(header["correction"]),
            loop=(int(header["loop_start"]) - origin, int(header["loop_end"]) - origin),
        )


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is no usable SoundFont: {why}", "Give another .sf2 or .sf3 file.")


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("ascii", "replace").strip()


def _map_file(path: Path) -> np.ndarray:
    """The file's bytes, mapped into memory."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(
                f"SoundFont {path} has {size / 1024**3:.1f} GB",
                f"Give one of at most {MAX_BYTES // 1024**3} GB.",
            )
        mapped = np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)
    except OSError as error:
        raise InputError(
            f"cannot read SoundFont {path} ({error.strerror or error})", "Check the path."
        ) from error
    if mapped[:4].tobytes() != b"RIFF" or mapped[8:12].tobytes() != b"sfbk":
        raise _damaged(path, "it does not begin like one")
    return mapped


def _chunks(data: np.ndarray, path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and contents of the chunks inside the file's three lists."""
    ends, offset = [data.size], 12
    while offset + 8 <= data.size:
        if offset >= ends[-1]:
            ends.pop()
        name = data[offset : offset + 4].tobytes()
        (size,) = struct.unpack("<I", data[offset + 4 : offset + 8].tobytes())
        if name == b"LIST":  # step into it
            ends.append(offset + 8 + size)
            offset += 12
            continue
        body = data[offset + 8 : offset + 8 + size]
        if body.size < size:
            raise _damaged(path, "it is cut short")
        yield name.decode("latin-1"), body
        offset += 8 + size
        # An odd chunk is padded, but writers of SoundFont 3 forget it.
        if size % 2 and not data[offset : offset + 4].tobytes().isalnum():
            offset += 1


def _table(chunks: Mapping[str, np.ndarray], name: str, dtype: np.dtype, path: Path) -> np.ndarray:
    if name not in chunks:
        raise _damaged(path, f"it has no {name} table")
    body = chunks[name]
    if body.size % dtype.itemsize or body.size < dtype.itemsize:
        raise _damaged(path, f"its {name} table has {body.size} bytes")
    return np.frombuffer(body.tobytes(), dtype)


def _region(outer: _Zone, inner: _Zone) -> Region | None:
    """A preset's zone on top of an instrument's; none if their ranges do not meet."""
    ranges = []
    for generator in (Gen.KEYS, Gen.VELOCITIES):
        (low, high), (inner_low, inner_high) = outer.range(generator), inner.range(generator)
        ranges.append((max(low, inner_low), min(high, inner_high)))
    if any(low > high for low, high in ranges):
        return None
    merged = {
        number: value
        for number, value in inner.generators.items()
        if number not in (Gen.KEYS, Gen.VELOCITIES, Gen.SAMPLE)
    }
    for number, value in outer.generators.items():
        if number not in _NOT_ADDITIVE:
            merged[number] = merged.get(number, DEFAULTS.get(number, 0)) + value
    return Region(ranges[0], ranges[1], inner.generators[Gen.SAMPLE] & 0xFFFF, merged)
