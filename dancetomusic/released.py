"""Where the released checkpoints are: inside an installed package, or in the checkout."""

from __future__ import annotations

from pathlib import Path

from dancetomusic.errors import CheckpointError

_PACKAGE = Path(__file__).resolve().parent
_FOLDERS = (_PACKAGE / "_checkpoints", _PACKAGE.parent / "checkpoints")


def released_checkpoints() -> dict[str, Path]:
    """Every released checkpoint by name; empty if the package came without weights."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    if folder is None:
        return {}
    return {file.parent.name: file.parent for file in sorted(folder.glob("*/config.json"))}


def released_checkpoint(name: str) -> Path:
    """The directory of a released checkpoint, from any working directory.

    Raises:
        CheckpointError: If no released checkpoint has this name.
    """
    released = released_checkpoints()
    if name not in released:
        known = ", ".join(released) or "none is installed"
        raise CheckpointError(
            f"no released checkpoint is named {name!r}",
            f"Give a checkpoint directory or a released name ({known}).",
        )
    return released[name]


def released_folder(name: str) -> Path:
    """A folder of data that comes beside the released checkpoints.

    Raises:
        CheckpointError: If it is not there.
    """
    folder = next((f / name for f in _FOLDERS if (f / name).is_dir()), None)
    if folder is None:
        raise CheckpointError(f"the package came without {name!r}", "Install it from its wheel.")
    return folder


def locate_checkpoint(name: Path | str) -> Path:
    """A directory as given, or a released checkpoint by its name.

    Raises:
        CheckpointError: If it is neither.
    """
    path = Path(name)
    return path if path.is_dir() else released_checkpoint(str(name))
