"""Styles of music, by name."""

from __future__ import annotations

from collections.abc import Sequence

from dancetomusic.errors import InputError


def require_style(style: str | None, styles: Sequence[str]) -> None:
    """Refuse a style that is asked for and not among those known.

    Raises:
        InputError: If it is not.
    """
    if style is None or style in styles:
        return
    known = (
        f"Choose one of {', '.join(styles)}."
        if styles
        else "This model knows no styles: leave the style out."
    )
    raise InputError(f"style is {style!r}", known)
