"""``python generate.py SOURCE OUTPUT`` is ``dancetomusic generate SOURCE OUTPUT``."""

import sys

from dancetomusic.cli import main

if __name__ == "__main__":
    main(["generate", *sys.argv[1:]])
