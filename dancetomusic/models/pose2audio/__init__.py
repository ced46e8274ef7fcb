"""Poses, rhythm and style to codes of sound, autoregressively."""
