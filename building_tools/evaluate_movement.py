"""``python building_tools/evaluate_movement.py …`` is ``dancetomusic evaluate movement …``."""

import sys

from dancetomusic.cli import main

if __name__ == "__main__":
    main(["evaluate", "movement", *sys.argv[1:]])
