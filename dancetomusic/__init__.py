"""A dance video goes in, music that fits the movement comes out.

Importing the package is quick: each public name loads what it needs at first use.

Example:
    >>> import dancetomusic
    >>> dancetomusic.Waveform.__name__
    'Waveform'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dancetomusic.generate.one import DanceToMusic
    from dancetomusic.types import PoseSequence, Waveform

__version__ = "0.1.0"
__all__ = ["DanceToMusic", "PoseSequence", "Waveform", "__version__"]

_HOMES = {
    "DanceToMusic": "dancetomusic.generate.one",
    "PoseSequence": "dancetomusic.types",
    "Waveform": "dancetomusic.types",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
