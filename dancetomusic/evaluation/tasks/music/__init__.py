"""How well generated music fits the dance, and how it sounds."""
