"""Which separator to use."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from dancetomusic.errors import ConfigError, DependencyError, InputError
from dancetomusic.stems.base import Mix, Separator
from dancetomusic.types import Waveform

SEPARATORS = ("auto", "spleeter", "demucs", "hpss", "none", "stems_dir")
_BEST_FIRST = ("spleeter", "demucs", "hpss")

_log = logging.getLogger(__name__)


def choose_separator(name: str, *, stems_dir: Path | None = None) -> Separator:
    """A separator that was seen to work, by separating one second of sound.

    Args:
        name: One of ``SEPARATORS``. ``auto`` takes the best that works, of Spleeter, Demucs and
            HPSS in this order, and says on the log which and why; any other is that or an error.
        stems_dir: The folder of ready stems, for ``stems_dir``.

    Raises:
        ConfigError: If the name is not known.
        DependencyError: If the separator named does not work.
        InputError: If the folder of stems is missing.
    """
    if name != "auto":
        separator = make_separator(name, stems_dir=stems_dir)
        if name != "stems_dir":
            _try_out(separator)
        return separator
    for candidate in _BEST_FIRST[:-1]:
        separator = make_separator(candidate)
        try:
            _try_out(separator)
        except DependencyError as error:
            _log.warning("%s cannot separate the stems: %s", candidate, error)
        else:
            break
    else:
        separator = make_separator(_BEST_FIRST[-1])
    _log.info("%s %s separates the stems", separator.identity.name, separator.identity.version)
    return separator


def make_separator(name: str, *, stems_dir: Path | None = None) -> Separator:
    """The separator of that name, not tried out; picklable, so that workers can be sent it.

    Args:
        name: One of ``SEPARATORS``, except ``auto``.
        stems_dir: The folder of ready stems, for ``stems_dir``.

    Raises:
        ConfigError: If the name is not known.
        InputError: If the folder of stems is missing.
    """
    if name == "spleeter":
        from dancetomusic.stems.spleeter import SpleeterSeparator

        return SpleeterSeparator()
    if name == "demucs":
        from dancetomusic.stems.demucs import DemucsSeparator

        return DemucsSeparator()
    if name == "hpss":
        from dancetomusic.stems.hpss import HpssSeparator

        return HpssSeparator()
    if name == "none":
        from dancetomusic.stems.none import NoSeparator

        return NoSeparator()
    if name == "stems_dir":
        from dancetomusic.stems.precomputed import PrecomputedStems

        if stems_dir is None or not stems_dir.is_dir():
            raise InputError(
                f"the folder of stems is {stems_dir or 'not named'}", "Name an existing folder."
            )
        return PrecomputedStems(stems_dir)
    raise ConfigError(f"separator is {name!r}", f"Choose one of {', '.join(SEPARATORS)}.")


def _try_out(separator: Separator) -> None:
    times = np.arange(24_000) / 24_000
    tone = 0.1 * np.sin(2 * np.pi * 110.0 * times)
    separator.drum_and_bass([Mix("trial", Waveform(tone[None].astype(np.float32), 24_000))])
