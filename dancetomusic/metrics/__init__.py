"""Metrics on arrays; they know no model and no file."""
