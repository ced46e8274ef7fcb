"""Sound to beats and downbeats."""
