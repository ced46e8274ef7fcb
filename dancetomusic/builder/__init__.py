"""Building a set of clips from dance videos."""
