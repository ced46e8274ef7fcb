"""Music to movement."""
