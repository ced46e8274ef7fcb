"""Poses to beats, tempo and a memory of the movement."""
