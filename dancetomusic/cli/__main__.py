"""``python -m dancetomusic.cli``."""

from dancetomusic.cli import main

if __name__ == "__main__":
    main()
