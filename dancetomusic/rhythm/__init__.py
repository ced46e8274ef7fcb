"""Rhythm tracks: read from movement, given by a file, or turned into model input."""
