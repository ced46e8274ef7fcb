"""Music as notes on a dance's beats, from their arrangement to their sound."""
