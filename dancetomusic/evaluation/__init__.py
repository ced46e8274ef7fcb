"""Measures of codecs and of how well music fits a dance; they know arrays, not models."""
