"""Movement to raw samples."""
