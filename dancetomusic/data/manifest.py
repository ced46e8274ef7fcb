"""The manifest: one Parquet row for every clip of a set, whatever became of it.

Rows stand in the order of source, start and key. The columns are the fields of ``ClipRecord``,
those of its quality as ``quality.NAME``; ``docs/data_format.md`` lists them.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

import numpy as np

from dancetomusic.data.clip import (
    ACCEPTED,
    SCHEMA_VERSION,
    ClipQuality,
    ClipRecord,
    clip_directories,
    clip_directory,
    read_record,
    record_to_values,
)
from dancetomusic.errors import DependencyError, InputError
from dancetomusic.io.atomic import atomic_output

MANIFEST_FILE = "manifest.parquet"
ROWS_AT_ONCE = 10_000

_METADATA = b"dancetomusic"
_QUALITY = "quality."
_REMEDY = "Build the set again with `dancetomusic build`, or name another."
_REPEATED = ["source", "source_id", "licence", "status", "reason", "split", "separator"]
_REPEATED += ["separator_version", "separator_weights", "codec", "beats_from"]


def _type_names(cls: type) -> dict[str, str]:
    hints = get_type_hints(cls)
    return {name: str(t) if get_args(t) else t.__name__ for name, t in hints.items()}


COLUMNS: dict[str, str] = {
    name: kind for name, kind in _type_names(ClipRecord).items() if name != "quality"
} | {_QUALITY + name: kind for name, kind in _type_names(ClipQuality).items()}
"""Every column, with the Python type of its values."""

Override = Mapping[str, str]
"""Fields of a clip's record with other values."""


@dataclass(frozen=True)
class Manifest:
    """A manifest on disk; columns are read when they are asked for.

    Attributes:
        content_hash: SHA-256 over all rows: equal for equal sets, wherever they were built.
        shards: Clips in each tar shard beside it, by file name; empty for a set of directories.
    """

    path: Path
    n_clips: int
    content_hash: str
    shards: Mapping[str, int]
    package_version: str

    @property
    def root(self) -> Path:
        """The directory of the set."""
        return self.path.parent

    def columns(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Values of some columns, row by row; text as objects.

        Raises:
            InputError: If there is no such column, or the file is damaged.
        """
        unknown = sorted(set(names) - COLUMNS.keys())
        if unknown:
            raise InputError(
                f"a manifest has no column {', '.join(unknown)}", f"Choose of {', '.join(COLUMNS)}."
            )
        with _reading(self.path) as file:
            table = file.read(columns=list(names))
        return {name: table.column(name).to_numpy() for name in names}

    def records(
        self, *, split: str | None = None, status: str | None = None
    ) -> Iterator[ClipRecord]:
        """The clips of a split, a status, or all, in order; few at a time are in memory.

        Raises:
            InputError: If the file is damaged.
        """
        import pyarrow.compute as pc

        with _reading(self.path) as file:
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
                for name, value in (("split", split), ("status", status)):
                    if value is not None:
                        batch = batch.filter(pc.equal(batch.column(name), value))
                yield from _records_of(batch.to_pydict())

    def counts(self) -> dict[str, dict[str, int]]:
        """Clips by split, then by status; what does not occur is left out."""
        with _reading(self.path) as file:
            table = file.read(columns=["split", "status"])
        rows = table.group_by(["split", "status"]).aggregate([([], "count_all")]).to_pylist()
        found: dict[str, dict[str, int]] = {}
        for row in sorted(rows, key=lambda row: (row["split"], row["status"])):
            found.setdefault(row["split"], {})[row["status"]] = row["count_all"]
        return found

    def require_one_codec(self) -> str:
        """The identity of the codec of all accepted clips.

        Raises:
            InputError: If they come from several, or none is accepted.
        """
        columns = self.columns(["codec", "status"])
        codecs = sorted(set(columns["codec"][columns["status"] == ACCEPTED]))
        if not codecs:
            raise InputError(f"{self.path} has no accepted clip", "Name another set.")
        if len(codecs) > 1:
            raise InputError(
                f"{self.path} mixes codes of {len(codecs)} codecs ({', '.join(codecs)})",
                "Build the set again with one codec.",
            )
        return str(codecs[0])


def write_manifest(
    root: Path | str,
    *,
    overrides: Mapping[str, Override] = MappingProxyType({}),
) -> Manifest:
    """Write ``manifest.parquet`` from the records of all clips under ``root``.

    ``overrides`` are, by key, what is known only where clips meet.

    Raises:
        InputError: If a clip's record is damaged, or lies under another key.
        OutputError: If the file cannot be written.
        DependencyError: If pyarrow is not installed.
    """
    directories = sorted(map(_order, clip_directories(root)))

    def rows() -> Iterator[ClipRecord]:
        for _, _, key in directories:
            record = read_record(clip_directory(root, key))
            yield replace(record, **overrides.get(record.key, {}))  # type: ignore[arg-type]

    path = Path(root) / MANIFEST_FILE
    write_records(path, rows())
    return open_manifest(path)


def write_records(
    path: Path | str, records: Iterable[ClipRecord], *, shards: Mapping[str, int] | None = None
) -> None:
    """Write a manifest of ``records`` as they come; few at a time are in memory.

    Raises:
        OutputError: If the file cannot be written.
        DependencyError: If pyarrow is not installed.
    """
    import dancetomusic

    pyarrow, parquet = _parquet()
    schema = _schema()
    digest = hashlib.sha256()
    remaining = iter(records)
    with (
        atomic_output(path) as temporary,
        parquet.ParquetWriter(
            temporary, schema, compression="zstd", use_dictionary=_REPEATED
        ) as writer,
    ):
        while batch := list(islice(remaining, ROWS_AT_ONCE)):
            rows = [record_to_values(record) for record in batch]
            for row in rows:
                digest.update(json.dumps(row, sort_keys=True).encode() + b"\n")
            columns = [pyarrow.array(_column(rows, f.name), f.type) for f in schema]
            writer.write_batch(pyarrow.record_batch(columns, schema=schema))
        facts = {
            "schema_version": SCHEMA_VERSION,
            "package_version": dancetomusic.__version__,
            "content_hash": digest.hexdigest(),
            "shards": dict(shards or {}),
        }
        writer.add_key_value_metadata({_METADATA: json.dumps(facts, sort_keys=True).encode()})


def open_manifest(path: Path | str) -> Manifest:
    """Open a manifest, given its file or the directory of its set; only its footer is read.

    Raises:
        InputError: If it is missing, empty, not Parquet, or of another schema.
        DependencyError: If pyarrow is not installed.
    """
    file = Path(path)
    if file.is_dir():
        file = file / MANIFEST_FILE
    with _reading(file) as content:
        stored = (content.metadata.metadata or {}).get(_METADATA)
        found = content.schema_arrow.remove_metadata()
        n_clips = content.metadata.num_rows
    try:
        facts = json.loads(stored or b"")
        version = facts["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is no manifest of clips", _REMEDY) from error
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{file} has schema version {version!r}, not {SCHEMA_VERSION}",
            "Read it with the package version that wrote it, or build the set again.",
        )
    if not found.equals(_schema()):
        odd = ", ".join(sorted(set(found.names) ^ COLUMNS.keys())) or "types"
        raise InputError(f"{file} has other columns than a manifest ({odd})", _REMEDY)
    try:
        return Manifest(
            path=file,
            n_clips=n_clips,
            content_hash=str(facts["content_hash"]),
            shards={str(name): int(count) for name, count in facts["shards"].items()},
            package_version=str(facts["package_version"]),
        )
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{file} is no manifest of clips", _REMEDY) from error


@contextmanager
def _reading(path: Path) -> Iterator[Any]:
    """An open Parquet file; whatever is wrong with it becomes an InputError."""
    pyarrow, parquet = _parquet()
    if not path.is_file():
        raise InputError(f"{path} does not exist", _REMEDY)
    if not path.stat().st_size:
        raise InputError(f"{path} is empty", _REMEDY)
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (OSError, pyarrow.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is no Parquet file, or damaged ({reason})", _REMEDY) from error


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise DependencyError(
            "manifests need pyarrow", "Run `pip install 'dancetomusic[build]'`."
        ) from error
    return pyarrow, pyarrow.parquet


def _schema() -> Any:
    pyarrow, _ = _parquet()
    types = {
        "str": pyarrow.string(),
        "int": pyarrow.int64(),
        "float": pyarrow.float64(),
        "dict[str, str]": pyarrow.map_(pyarrow.string(), pyarrow.string()),
    }
    return pyarrow.schema(
        [pyarrow.field(name, types[kind], nullable=name == "bpm") for name, kind in COLUMNS.items()]
    )


def _order(directory: Path) -> tuple[str, float, str]:
    record = read_record(directory)
    if record.key != directory.name:
        raise InputError(
            f"{directory} holds the record of clip {record.key}",
            "Delete the clip and build it again.",
        )
    return sys.intern(record.source), record.start_s, record.key


def _column(rows: list[dict[str, Any]], name: str) -> list[Any]:
    if name.startswith(_QUALITY):
        return [row["quality"][name.removeprefix(_QUALITY)] for row in rows]
    if name == "files":
        return [list(row["files"].items()) for row in rows]
    return [row[name] for row in rows]


def _records_of(columns: dict[str, list[Any]]) -> Iterator[ClipRecord]:
    columns["bpm"] = [math.nan if bpm is None else bpm for bpm in columns["bpm"]]
    columns["files"] = [dict(files) for files in columns["files"]]
    own = [name for name in columns if not name.startswith(_QUALITY)]
    of_quality = [name for name in columns if name.startswith(_QUALITY)]
    qualities = zip(*(columns[name] for name in of_quality), strict=True)
    rows = zip(*(columns[name] for name in own), strict=True)
    short = [name.removeprefix(_QUALITY) for name in of_quality]
    for row, quality in zip(rows, qualities, strict=True):
        judged = ClipQuality(**dict(zip(short, quality, strict=True)))
        yield ClipRecord(quality=judged, **dict(zip(own, row, strict=True)))
