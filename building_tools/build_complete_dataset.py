"""``python building_tools/build_complete_dataset.py …`` is ``dancetomusic build …``."""

import sys

from dancetomusic.cli import main

if __name__ == "__main__":
    main(["build", *sys.argv[1:]])
