"""``python train.py --model MODEL`` is ``dancetomusic train --model MODEL``."""

import sys

from dancetomusic.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
