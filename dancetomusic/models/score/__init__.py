"""The score as an instrument: composed by rules and retrieval, played from a SoundFont."""
