"""How well beats are found, in sound and in movement."""
