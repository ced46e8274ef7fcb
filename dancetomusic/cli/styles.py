"""``dancetomusic styles``."""

from __future__ import annotations


def styles() -> None:
    """List the styles of the score, with the tempo that each is at home in."""
    from dancetomusic.score.style import load_style, style_names

    for name in style_names():
        style = load_style(name)
        low, usual, high = style.tempo
        metres = " or ".join(f"{metre}/4" for metre in style.metres)
        print(
            f"{name:<16} {style.title:<28} {low:.0f}-{high:.0f} BPM, mostly {usual:.0f}, {metres}"
        )
