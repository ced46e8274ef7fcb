"""From a dance to its music."""
