#!/usr/bin/env python3
"""Build the SoundFont that is shipped, from FluidR3 GM and from computed sounds."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from building_tools.soundfont.balance import level, loudness, match_kits
from building_tools.soundfont.sounds import add_aliases, build
from building_tools.soundfont.write import write_soundfont
from dancetomusic.score.soundfont import SoundFont

RECORDINGS = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
OUTPUT = Path(__file__).resolve().parents[1] / "checkpoints" / "sounds" / "dancetomusic.sf3"
HEADING = "## Presets"
INFORMATION = {
    "INAM": "dancetomusic",
    "IENG": "dancetomusic authors; recordings by Frank Wen and contributors (FluidR3)",
    "ICOP": "MIT. FluidR3: Copyright (c) 2000-2002, 2008 Frank Wen. Rest: dancetomusic authors",
    "ICMT": "Recorded presets from FluidR3 GM; electronic kits and synthesisers are computed.",
    "ISFT": "building_tools/build_soundfont.py",
}


def list_presets(font: SoundFont, readme: Path) -> None:
    """Put the table of presets at the end of a text, in place of the one that is there."""
    rows = [f"{bank},{program},{name}" for (bank, program), name in sorted(font.names.items())]
    text = readme.read_text().partition(HEADING)[0] if readme.exists() else ""
    readme.write_text(
        "\n".join([text + HEADING, "", "```csv", "bank,program,name", *rows, "```", ""])
    )


def main() -> None:
    """Build, measure, level and write; then print how loud each preset came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", default=RECORDINGS, help="FluidR3_GM.sf2")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--quality", type=float, default=0.45, help="of Ogg Vorbis, 0 to 1")
    options = parser.parse_args()

    sounds = build(SoundFont(options.recordings))
    with tempfile.TemporaryDirectory() as folder:
        for stage in ("kits", "levels"):
            draft = Path(folder) / f"{stage}.sf3"
            write_soundfont(draft, sounds.samples, sounds.presets.values(), INFORMATION)
            if stage == "kits":
                match_kits(sounds, SoundFont(draft), (24, 25), model=0)
            else:
                level(sounds, SoundFont(draft))
    add_aliases(sounds)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_soundfont(
        options.output,
        sounds.samples,
        sounds.presets.values(),
        INFORMATION,
        quality=options.quality,
    )
    font = SoundFont(options.output)
    for place, name in sorted(font.names.items()):
        print(f"{place}: {name}, {loudness(font, *place):.1f} LUFS")
    list_presets(font, options.output.with_name("README.md"))
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
