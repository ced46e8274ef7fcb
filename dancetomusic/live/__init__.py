"""Played live: frames of a camera in, sound out while they come."""
