"""Training: one loop, its files, schedules and losses."""
