"""Neural network parts that know nothing of dance or music."""
