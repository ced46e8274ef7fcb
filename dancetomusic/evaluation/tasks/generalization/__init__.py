"""Beats estimated from movement that an encoder has not seen in training."""
