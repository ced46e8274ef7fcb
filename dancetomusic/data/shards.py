"""Sets as WebDataset tar shards: a few large files in place of a million small ones.

A clip is consecutive members ``KEY.json`` (its ``clip.json``) and ``KEY.NAME`` for each other
file. Clips stand in the order of their keys, which are hashes, so each shard is a fair sample.

Breuel et al., "WebDataset", https://github.com/webdataset/webdataset.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from dancetomusic.data.clip import (
    ACCEPTED,
    CLIP_FILES,
    NEEDED_FILES,
    RECORD_FILE,
    SPLITS,
    clip_directory,
    read_record,
    verify_files,
)
from dancetomusic.data.manifest import MANIFEST_FILE, Manifest, open_manifest, write_records
from dancetomusic.errors import InputError, OutputError
from dancetomusic.io.atomic import atomic_output

SHARD_BYTES = 256 * 2**20

_RECORD_SUFFIX = "json"
_MEMBERS = {RECORD_FILE: _RECORD_SUFFIX} | {name: name for name in CLIP_FILES}
_FILES = {suffix: name for name, suffix in _MEMBERS.items()}
_MEMBER = re.compile(r"([0-9a-f]{20})\.(.+)")
_SHARD = re.compile(rf"({'|'.join(SPLITS)})-\d{{6}}\.tar")
_REMEDY = "Pack the set again with `dancetomusic build --pack`."


def pack(
    root: Path | str,
    output: Path | str,
    *,
    shard_bytes: int = SHARD_BYTES,
    split: str | None = None,
) -> Manifest:
    """Write the accepted clips of a set as ``SPLIT-NNNNNN.tar``, with a manifest of them.

    The same clips give the same bytes. The manifest is written last, so shards without one are
    an interrupted call's; calling again replaces them, and the shards of an earlier set.

    A shard has ``shard_bytes`` at most, unless by its only clip; with ``split``, that one alone is
    packed.

    Raises:
        InputError: If the set has no manifest or no accepted clip, or a file is damaged.
        OutputError: If the shards cannot be written, or ``output`` is the set itself.
    """
    if shard_bytes < 1:
        raise InputError(f"a shard of {shard_bytes} bytes holds nothing", "Give more.")
    source, target = open_manifest(root), Path(output)
    if source.shards:
        raise InputError(f"{root} is packed already", "Name a set of clip directories.")
    columns = source.columns(["key", "split", "status"])
    accepted = columns["status"] == ACCEPTED
    keys = {
        name: sorted(columns["key"][accepted & (columns["split"] == name)])
        for name in (SPLITS if split is None else (split,))
    }
    if not any(keys.values()):
        raise InputError(
            f"{root} has no accepted clip" + (f" of split {split!r}" if split else ""),
            "Look at the reasons with `dancetomusic inspect`.",
        )
    _clear(target, source.root)
    shards: dict[str, int] = {}
    for name, of_split in keys.items():
        for number, group in enumerate(_groups(source.root, of_split, shard_bytes)):
            file = f"{name}-{number:06d}.tar"
            write_shard(target / file, [clip_directory(source.root, key) for key in group])
            shards[file] = len(group)
    path = target / MANIFEST_FILE
    write_records(path, source.records(split=split, status=ACCEPTED), shards=shards)
    return open_manifest(path)


def write_shard(path: Path | str, directories: Sequence[Path]) -> None:
    """Write clips as one tar file; no times, owners or permissions of files go along.

    Raises:
        InputError: If a file is missing or differs from its checksum.
        OutputError: If the shard cannot be written.
    """
    with (
        atomic_output(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for directory in directories:
            record = read_record(directory)
            names = (RECORD_FILE, *record.files)
            files = {name: (directory / name).read_bytes() for name in names}
            verify_files(files, record)
            for name, content in files.items():
                member = tarfile.TarInfo(f"{record.key}.{_MEMBERS[name]}")
                member.size = len(content)
                member.mode = 0o644
                tar.addfile(member, io.BytesIO(content))


def read_shard(path: Path | str, *, n_clips: int | None = None) -> Iterator[dict[str, bytes]]:
    """Read a shard from its start to its end, one clip in memory at a time.

    The shard has to hold ``n_clips``.

    Yields:
        The contents of a clip's files by name, as ``load_clip`` takes them.

    Raises:
        InputError: If it is missing, damaged, cut off, or holds anything else.
    """
    count, key = 0, ""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|") as tar:
            for member in tar:
                match = _MEMBER.fullmatch(member.name)
                content = tar.extractfile(member) if member.isreg() else None
                if match is None or match[2] not in _FILES or content is None:
                    raise InputError(f"{path} holds {member.name!r}, no part of a clip", _REMEDY)
                if match[1] != key and files:
                    yield files
                    count, files = count + 1, {}
                key = match[1]
                files[_FILES[match[2]]] = content.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InputError(f"{path} is missing or damaged ({error})", _REMEDY) from error
    if files:
        yield files
        count += 1
    if n_clips is not None and count != n_clips:
        raise InputError(f"{path} holds {count} clips, not {n_clips}", _REMEDY)


def _clear(target: Path, root: Path) -> None:
    """Make the output, without shards or manifest of earlier calls."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        if target.samefile(root) or (target / "clips").exists():
            raise OutputError(f"{target} is a set of clips itself", "Name another directory.")
        (target / MANIFEST_FILE).unlink(missing_ok=True)
        for file in target.iterdir():
            if _SHARD.fullmatch(file.name):
                file.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write shards in {target} ({error.strerror})", "Name another directory."
        ) from error


def _groups(root: Path, keys: Sequence[str], shard_bytes: int) -> Iterator[list[str]]:
    """Consecutive keys whose clips fill a shard."""
    group: list[str] = []
    blocks = 0
    for key in keys:
        size = _n_blocks(clip_directory(root, key))
        if group and _tar_bytes(blocks + size) > shard_bytes:
            yield group
            group, blocks = [], 0
        group.append(key)
        blocks += size
    if group:
        yield group


def _n_blocks(directory: Path) -> int:
    """Blocks of a tar file that a clip takes: one of header a file, then its content."""
    try:
        names = {RECORD_FILE, *NEEDED_FILES, *(file.name for file in directory.iterdir())}
        sizes = [(directory / name).stat().st_size for name in names & _MEMBERS.keys()]
    except OSError as error:
        raise InputError(
            f"cannot read {error.filename} ({error.strerror})", "Build the set again."
        ) from error
    return sum(1 + -(-size // tarfile.BLOCKSIZE) for size in sizes)


def _tar_bytes(blocks: int) -> int:
    """Size of a tar file with its end of two blocks, filled up to a whole record."""
    return -(-(blocks + 2) * tarfile.BLOCKSIZE // tarfile.RECORDSIZE) * tarfile.RECORDSIZE
