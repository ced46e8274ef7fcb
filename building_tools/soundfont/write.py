"""Writes SoundFont files, with samples compressed to Ogg Vorbis (version 3) or not (version 2)."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from dancetomusic.io.atomic import atomic_output
from dancetomusic.score.soundfont import TABLES, VORBIS, Gen, Preset, Region, Sample

MONO = 1
_TERMINAL = {"phdr": b"EOP", "inst": b"EOI", "shdr": b"EOS"}
_FIRST = (Gen.KEYS, Gen.VELOCITIES)  # generators that must precede all others


def write_soundfont(
    path: Path | str,
    samples: Sequence[Sample],
    presets: Iterable[Preset],
    information: Mapping[str, str],
    *,
    quality: float | None = 0.6,
) -> None:
    """Write presets and the samples that they use.

    Presets whose regions are the same object share an instrument. The same input gives the same
    bytes.

    Args:
        path: File to write, ``.sf3``, or ``.sf2`` without compression.
        samples: What regions' indices mean; those that no region names are left out.
        presets: In any order.
        information: Texts by four-letter chunk name: ``INAM`` title, ``ICOP`` copyright, ``ICMT``
            comment and so on.
        quality: Of the compression, in [0, 1]; ``None`` keeps 16-bit samples as they are.

    Raises:
        OutputError: If the file cannot be written.
    """
    presets = sorted(presets, key=lambda preset: (preset.bank, preset.program))
    used = sorted({region.sample for preset in presets for region in preset.regions})
    numbers = {old: new for new, old in enumerate(used)}
    smpl, headers = _samples([samples[index] for index in used], quality)
    tables: dict[str, list[tuple]] = {name: [] for name in TABLES}
    tables["shdr"] = headers
    instruments: dict[int, int] = {}
    for preset in presets:
        tables["phdr"].append(
            (_name(preset.name), preset.program, preset.bank, len(tables["pbag"]), (0, 0, 0))
        )
        if id(preset.regions) not in instruments:
            instruments[id(preset.regions)] = len(tables["inst"])
            tables["inst"].append((_name(preset.name), len(tables["ibag"])))
            for region in preset.regions:
                tables["ibag"].append((len(tables["igen"]), 0))
                tables["igen"] += _generators(region, numbers[region.sample])
        tables["pbag"].append((len(tables["pgen"]), 0))
        tables["pgen"].append((int(Gen.INSTRUMENT), instruments[id(preset.regions)]))
    _terminate(tables)
    version = (2, 4) if quality is None else (3, 0)
    body = b"sfbk" + _list("INFO", _information(information, version))
    body += _list("sdta", _chunk("smpl", smpl))
    body += _list("pdta", b"".join(_pdta(tables)))
    with atomic_output(path) as temporary:
        temporary.write_bytes(_chunk("RIFF", body))


def _name(text: str) -> bytes:
    return text.encode("ascii", "replace")[:19]


def _generators(region: Region, sample: int) -> list[tuple[int, int]]:
    """A zone's generators in the order that the format demands."""
    ranges = {Gen.KEYS: region.keys, Gen.VELOCITIES: region.velocities}
    rows = [(int(gen), ranges[gen][0] | ranges[gen][1] << 8) for gen in _FIRST]
    rows += sorted((int(gen), value) for gen, value in region.generators.items())
    return [*rows, (int(Gen.SAMPLE), sample)]


def _terminate(tables: dict[str, list[tuple]]) -> None:
    """The last row of each table, which says where the one before ends."""
    tables["phdr"].append((_TERMINAL["phdr"], 0, 0, len(tables["pbag"]), (0, 0, 0)))
    tables["inst"].append((_TERMINAL["inst"], len(tables["ibag"])))
    tables["shdr"].append((_TERMINAL["shdr"], 0, 0, 0, 0, 0, 0, 0, 0, 0))
    for kind in "pi":
        tables[f"{kind}bag"].append((len(tables[f"{kind}gen"]), 0))
        tables[f"{kind}gen"].append((0, 0))


def _pdta(tables: Mapping[str, list[tuple]]) -> Iterable[bytes]:
    for name in ("phdr", "pbag", "pmod", "pgen", "inst", "ibag", "imod", "igen", "shdr"):
        if name.endswith("mod"):
            yield _chunk(name, bytes(10))  # no modulators: the terminal row alone
            continue
        yield _chunk(name, np.array(_wrapped(tables[name]), TABLES[name]).tobytes())


def _wrapped(rows: list[tuple]) -> list[tuple]:
    """Pairs of numbers with the second as a signed 16-bit value where it exceeds one."""
    return [
        (row[0], row[1] - 0x10000) if len(row) == 2 and row[1] > 0x7FFF else row for row in rows
    ]


def _samples(samples: Sequence[Sample], quality: float | None) -> tuple[bytes, list[tuple]]:
    """All samples one after another, and their headers."""
    parts, headers, offset = [], [], 0
    for index, sample in enumerate(samples):
        if quality is None:
            # Addresses count 16-bit samples from the first; zeros keep neighbours apart.
            whole = np.round(sample.samples * 32767.0).clip(-32768, 32767).astype("<i2")
            data, end, origin = whole.tobytes() + bytes(92), offset + whole.size, offset
            following, kind = end + 46, MONO
        else:
            # Addresses count bytes, and loops are counted from the sample's start.
            data, origin = _vorbis(sample, quality, serial=index), 0
            end = following = offset + len(data)
            kind = MONO | VORBIS
        headers.append(
            (
                _name(sample.name),
                offset,
                end,
                origin + sample.loop[0],
                origin + sample.loop[1],
                sample.sample_rate,
                sample.root,
                sample.correction,
                0,
                kind,
            )
        )
        parts.append(data)
        offset = following
    return b"".join(parts), headers


def _vorbis(sample: Sample, quality: float, *, serial: int) -> bytes:
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer,
        "w",
        sample.sample_rate,
        1,
        format="OGG",
        subtype="VORBIS",
        compression_level=1.0 - quality,
    ) as file:
        for start in range(0, sample.samples.size, 65536):
            file.write(sample.samples[start : start + 65536])
    return _renumbered(buffer.getvalue(), serial)


def _renumbered(stream: bytes, serial: int) -> bytes:
    """An Ogg stream with this serial number in place of a random one, checksums made good."""
    data, offset = bytearray(stream), 0
    while offset < len(data):
        n_segments = data[offset + 26]
        size = 27 + n_segments + sum(data[offset + 27 : offset + 27 + n_segments])
        struct.pack_into(
            "<II", data, offset + 14, serial, struct.unpack_from("<I", data, offset + 18)[0]
        )
        struct.pack_into("<I", data, offset + 22, 0)
        struct.pack_into("<I", data, offset + 22, _checksum(bytes(data[offset : offset + size])))
        offset += size
    return bytes(data)


def _checksum_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
        table.append(value)
    return table


_CHECKSUMS = _checksum_table()


def _checksum(page: bytes) -> int:
    """Ogg's checksum (RFC 3533) of a page whose own is set to 0."""
    value = 0
    for byte in page:
        value = (value << 8 & 0xFFFFFFFF) ^ _CHECKSUMS[value >> 24 ^ byte]
    return value


def _information(texts: Mapping[str, str], version: tuple[int, int]) -> bytes:
    body = _chunk("ifil", struct.pack("<HH", *version)) + _chunk("isng", b"EMU8000\0")
    for name, text in texts.items():
        raw = text.encode("ascii", "replace")[:65534] + b"\0"
        body += _chunk(name, raw + b"\0" * (len(raw) % 2))
    return body


def _list(kind: str, body: bytes) -> bytes:
    return _chunk("LIST", kind.encode() + body)


def _chunk(name: str, body: bytes) -> bytes:
    return name.encode() + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
