"""Training of the embedded codec; its network is codec.spectral."""
