"""Quantity of motion to sound, block by block."""
