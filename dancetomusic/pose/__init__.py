"""Dancers in video: found, followed, cleaned, drawn, stored."""
